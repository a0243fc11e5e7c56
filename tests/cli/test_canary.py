"""Versions on trial and promotions that wait for servers, from a shell's point of view."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.serving.model_config_file import ModelConfigFile
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.model_server import ModelServerEmulator

Run = Callable[..., Any]


@pytest.fixture
def allowed(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Three versions that may be promoted."""
    monkeypatch.setenv("TFX_REGISTRY_ACTOR", "ada")
    with ModelRegistry.open(uri) as registry:
        for number in (1, 2, 3):
            registry.register(
                "penguin", write_minimal_model(tmp_path / "models" / str(number), str(number))
            )
            registry.override("penguin", number, reason="test", expires=datetime.timedelta(1))
    return uri


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "serving" / "penguin"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "models.config"


@pytest.fixture
def promote(run: Run, allowed: str, base: Path) -> Run:
    return lambda number, *options: run(
        "promote", f"penguin:{number}", "--serving-dir", base, *options
    )


@pytest.fixture
def server(promote: Run, config: Path) -> Iterator[ModelServerEmulator]:
    """A server of version 1, which is stable."""
    assert promote(1, "--model-config", config, "--no-wait").code == 0
    with ModelServerEmulator(
        model_config_file=config, model_config_file_poll_wait_seconds=0.01,
        file_system_poll_wait_seconds=0.01, max_num_load_retries=0,
        load_retry_interval_seconds=0.0, allow_version_labels_for_unavailable_models=True,
    ) as server:  # fmt: skip
        yield server.start()


def labels(config: Path) -> dict[str, int]:
    (model,) = ModelConfigFile.peek(config)
    return dict(model.labels)


def test_a_trial_that_succeeds(
    run: Run, promote: Run, server: ModelServerEmulator, config: Path, base: Path
) -> None:
    done = promote(2, "--canary", "--wait-for", server.url, "--reason", "try")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"promoted penguin:2 to 'canary' of penguin by {config}\n"
    assert labels(config) == {"stable": 1, "canary": 2}
    assert run("--json", "show", "penguin@canary").json["number"] == 2
    shown = run("status", "--serving-dir", base)
    assert "version 2 is on trial, " in shown.out
    assert f"servers load what {config} lists for 'penguin'" in shown.out
    assert run("--json", "status", "--serving-dir", base).json["canary"]["number"] == 2
    assert "version 2 is on trial in" in run("history", "penguin").out
    document = promote(2, "--stable", "--wait-for", server.url, "--json").json
    assert (document["label"], document["replaces"], document["changed"]) == ("stable", 1, True)
    assert (document["number"], document["model_config"]) == (2, str(config))
    assert labels(config) == {"stable": 2}
    assert server.resolve("penguin", label="stable")[0] == 2
    back = run("rollback", "penguin", "--serving-dir", base, "--reason", "x",
               "--wait-for", server.url)  # fmt: skip
    assert back.out == f"penguin:1 serves again at {base}/1, in place of version 2\n"
    assert labels(config) == {"stable": 1}
    assert run("fsck").code == 0


def test_a_trial_that_is_aborted(
    run: Run, promote: Run, server: ModelServerEmulator, config: Path, base: Path
) -> None:
    promote(2, "--canary", "--model-config", config, "--wait-for", server.url)
    refused = promote(3, "--canary", "--wait-for", server.url)
    assert (refused.code, "version 2 is on trial" in refused.err) == (4, True)
    assert promote(3, "--stable").code == 3
    done = run("abort", "penguin", "--serving-dir", base, "--wait-for", server.url)
    assert done.out == f"penguin:2 is not on trial any more, by {config}\n"
    assert labels(config) == {"stable": 1}
    assert run("abort", "penguin", "--serving-dir", base).code == 3
    assert run("show", "penguin@canary").code == 3


def test_without_servers_the_command_says_what_to_wait_for(
    promote: Run, server: ModelServerEmulator, config: Path
) -> None:
    refused = promote(2, "--model-config", config)
    assert refused.code == 4
    assert "/v1/models/penguin/versions/2 of every server says AVAILABLE" in refused.err
    assert labels(config) == {"stable": 1}
    assert promote(2, "--model-config", config, "--no-wait").code == 0
    assert labels(config) == {"stable": 2}
    again = promote(2, "--model-config", config)
    assert again.out == f"nothing to do: penguin:2 is already 'stable' of penguin by {config}\n"


def test_a_server_that_does_not_serve(run: Run, promote: Run, base: Path) -> None:
    assert promote(1).code == 0
    failed = promote(2, "--wait-for", "http://127.0.0.1:9", "--deadline", "0.01")
    assert failed.code == 4
    assert "rolled back to version 1" in failed.err
    assert run("--json", "show", "penguin@production").json["number"] == 1
    kept = promote(3, "--wait-for", "http://127.0.0.1:9", "--deadline", "0.01",
                   "--on-failure", "keep")  # fmt: skip
    assert (kept.code, "it stays where it is" in kept.err) == (4, True)
    assert run("--json", "show", "penguin@production").json["number"] == 3
    assert "version 3 is not available: http://127.0.0.1:9/v1/models/penguin: no answer" in run(
        "history", "penguin"
    ).out.replace("\n", " ")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--no-wait"], "servers load the newest version"),
        (["--keep-loaded", "2"], "servers load the newest version"),
        (["--server-base-path", "/models"], "servers load the newest version"),
        (["--served-name", "birds"], "no server is asked"),
        (["--deadline", "5"], "no server is asked"),
        (["--on-failure", "keep"], "no server is asked"),
        (["--stable", "--canary"], "--canary has no meaning here"),
        (["--stable", "--model-config", "x"], "--model-config has no meaning here"),
        (["--canary", "--no-wait", "--wait-for", "http://host"], "contradict"),
        (["--wait-for", "host:8501"], "invalid URL of a model server"),
        (["--canary"], "--model-config FILE"),
    ],
)
def test_options_that_make_no_sense(promote: Run, base: Path, options: list[str], why: str) -> None:
    refused = promote(1, *options)
    assert refused.code == 2
    assert why in refused.err
    assert not base.exists()
