"""The emulator as a server of its own: in a thread, as a process, and with TensorFlow."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tfx_registry.serving.status_client import ModelServer
from tfx_registry.serving.verification import wait_until_available
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.model_server import (
    ModelServerEmulator,
    ModelServerStartError,
    TensorFlowLoader,
)
from tfx_registry.testing.process import free_port


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "penguin").mkdir()
    return tmp_path / "penguin"


def test_a_server_polls_by_itself(base: Path, tmp_path: Path) -> None:
    config = tmp_path / "models.config"
    text = (
        f'model_config_list {{ config {{ name: "penguin" base_path: "{base}" '
        'model_platform: "tensorflow" model_version_policy { specific { versions: 1 } } } }'
    )
    config.write_text(text)
    with ModelServerEmulator(
        model_config_file=config, model_config_file_poll_wait_seconds=0.02,
        file_system_poll_wait_seconds=0.02,
    ) as server:  # fmt: skip
        client = ModelServer(server.start().url, "penguin")
        write_minimal_model(base / "new")
        (base / "new").rename(base / "1")
        wait_until_available([client], 1, deadline_seconds=60, poll_seconds=0.02)
        write_minimal_model(base / "2")
        config.write_text(text.replace("versions: 1", "versions: [1, 2]"))
        wait_until_available([client], 2, deadline_seconds=60, poll_seconds=0.02)
        assert client.available() == (1, 2)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_server_may_be_closed_while_it_starts(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, there = ModelServerEmulator(model_base_path=base), threading.Event()

    def closed_meanwhile() -> bool:
        there.set()
        assert server._ending.wait(60)
        time.sleep(0.2)  # for as much of `close` as does not wait for this thread
        return True

    monkeypatch.setattr(server, "_first_models_are_there", closed_meanwhile)
    server.start()
    assert there.wait(60)
    server.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(server.url, timeout=10)


def test_a_start_that_fails_is_told_to_who_waits(base: Path) -> None:
    (base / "1").mkdir()
    with (
        ModelServerEmulator(
            model_base_path=base, max_num_load_retries=1, load_retry_interval_seconds=0.0
        ) as server,
        pytest.raises(ModelServerStartError, match="did not become available"),
    ):
        server.start().wait()


def start(base: Path, *options: str) -> tuple[subprocess.Popen[str], ModelServer]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tfx_registry.testing.model_server", "--model_name", "penguin",
         "--model_base_path", str(base), "--rest_api_port", str(port),
         "--file_system_poll_wait_seconds", "0.05", *options],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    return process, ModelServer(f"http://127.0.0.1:{port}", "penguin")


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_the_command(base: Path, sign: signal.Signals) -> None:
    write_minimal_model(base / "1")
    process, client = start(base)
    try:
        wait_until_available([client], 1, deadline_seconds=100, poll_seconds=0.05)
        process.send_signal(sign)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert "emulated" in said


def test_the_command_ends_where_a_server_would(base: Path) -> None:
    (base / "1").mkdir()
    process, _ = start(base, "--max_num_load_retries", "0")
    _, said = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "did not become available" in said


@pytest.fixture(scope="module")
def predicting(
    saved_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelServerEmulator]:
    base = tmp_path_factory.mktemp("predicting")
    (base / "7").symlink_to(saved_model)
    with ModelServerEmulator(
        model_name="penguin", model_base_path=base, loader=TensorFlowLoader(),
        max_num_load_retries=0, load_retry_interval_seconds=0.0,
    ) as server:  # fmt: skip
        server.poll_once()
        yield server


def predict(server: ModelServerEmulator, request: Any, path: str = "") -> Any:
    question = urllib.request.Request(
        f"{server.url}/v1/models/penguin{path}:predict", data=json.dumps(request).encode()
    )
    try:
        with urllib.request.urlopen(question, timeout=120) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return json.load(error)["error"]


@pytest.mark.slow
def test_predictions(predicting: ModelServerEmulator) -> None:
    columns = predict(predicting, {"inputs": [[1.0, 2.0], [3.0, 4.0]]})
    assert columns == {"outputs": {"y": [[3.0, 6.0], [9.0, 12.0]], "count": 4}}
    named = predict(predicting, {"inputs": {"x": [[1.0, 2.0]]}}, "/versions/7")
    assert named["outputs"]["y"] == [[3.0, 6.0]]
    # Outputs that are no rows can be asked for by column only.
    assert "no batch size" in predict(predicting, {"instances": [[1.0, 2.0]]})


@pytest.mark.slow
def test_predictions_that_cannot_be_made(predicting: ModelServerEmulator) -> None:
    assert "not found in signature def" in predict(
        predicting, {"inputs": [], "signature_name": "no"}
    )
    assert "and not both" in predict(predicting, {})
    assert "is not object" in predict(predicting, [])
    assert predict(predicting, {"inputs": "text"})
    assert predict(predicting, {"inputs": [[1.0, 2.0]]})["outputs"]["y"] == [[3.0, 6.0]]


@pytest.mark.slow
def test_what_tensorflow_cannot_load_is_an_error(
    predicting: ModelServerEmulator, tmp_path: Path
) -> None:
    base = Path(predicting._watched[0].base_path)
    (base / "8").mkdir()
    predicting.poll_once()
    status = predicting.statuses("penguin")[8]
    assert (status.state, status.error_code) == ("END", "NOT_FOUND")
    assert predicting.resolve("penguin")[0] == 7
    assert not list((base / "8").iterdir())
