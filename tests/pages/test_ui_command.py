"""`tfx-registry ui` as a process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.cli.main import main

TOKEN = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{folder}/registry.sqlite"
    (folder / "model").write_text("bytes", encoding="utf-8")
    with ModelRegistry.open(uri) as registry:
        registry.register("penguin", folder / "model")
    return uri


@contextmanager
def running(
    uri: str, *arguments: str, token: str = ""
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    variables = {**os.environ, "TFX_REGISTRY_URI": uri}
    if token:
        variables["TFX_REGISTRY_UI_TOKEN"] = token
    command = [sys.executable, "-m", "tfx_registry.cli.main", "--json", "-v", "ui", "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables
    )
    try:
        assert process.stdout is not None
        lines = []
        while not lines or lines[-1] != "}\n":
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            lines.append(line)
        yield json.loads("".join(lines))["url"], process
    finally:
        process.kill()
        process.wait()


def read(address: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, timeout=60) as answer:
        return str(answer.read().decode("utf-8"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_stop(uri: str, number: signal.Signals) -> None:
    with running(uri) as (address, process):
        assert address.startswith("http://127.0.0.1:")
        assert "penguin" in read(address)
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors


def test_a_request_that_brings_much_along_is_refused_before_it_is_kept(uri: str) -> None:
    """Waitress would write up to a gigabyte of it to a disk before anybody looks at the token."""
    with running(uri, token=TOKEN) as (address, _):
        where = urlsplit(address)
        with closing(socket.create_connection((where.hostname, where.port), timeout=120)) as asked:
            asked.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
            assert asked.recv(100).startswith(b"HTTP/1.1 413 ")


def test_the_token_is_in_no_output(uri: str) -> None:
    with running(uri, token=TOKEN) as (address, process):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            read(address)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor()
        )
        with opener.open(f"{address}models/penguin?token={TOKEN}", timeout=60) as answer:
            assert TOKEN not in answer.url
            assert "penguin" in answer.read().decode("utf-8")
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=120)
    assert TOKEN not in out + errors


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--host", "0.0.0.0"], 4, "--allow-remote and a token are missing"),
        (["--host", "0.0.0.0", "--allow-remote"], 4, "a token is missing"),
        (["--host", "192.0.2.1", "--port", "0"], 4, "--allow-remote"),
        (["--token-file", "/nowhere/token"], 2, "No such file"),
    ],
)
def test_what_is_not_safe_is_refused(
    arguments: list[str], code: int, said: str, uri: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["--registry", uri, "ui", *arguments]) == code
    assert said in capfd.readouterr().err


def test_a_port_that_is_taken_is_named(uri: str, capfd: pytest.CaptureFixture[str]) -> None:
    with running(uri) as (address, _):
        port = address.rstrip("/").rpartition(":")[2]
        assert main(["--registry", uri, "ui", "--port", port]) == 2
    error = capfd.readouterr().err
    assert f"cannot listen on 127.0.0.1:{port}" in error
    assert "choose another --port" in error


def test_without_the_extra_it_is_named(
    uri: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from tfx_registry.pages import serve

    monkeypatch.setattr(serve.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    assert main(["--registry", uri, "ui"]) == 2
    error = capfd.readouterr().err
    assert "flask and waitress are not installed" in error
    assert "pip install 'tfx-registry[ui]'" in error


def test_a_registry_in_memory_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--registry", "memory://", "ui"]) == 2
    assert "lives in memory" in capfd.readouterr().err


def test_a_missing_database_is_not_made(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "none.sqlite"
    assert main(["--registry", f"sqlite:///{file}", "ui"]) == 6
    assert not file.exists()


@pytest.mark.parametrize("module", ["tfx_registry.pages", "tfx_registry.cli.pages"])
def test_the_server_is_loaded_only_when_it_is_used(module: str) -> None:
    server = "{'flask', 'waitress', 'werkzeug'}"
    check = f"import sys, {module}; print(sorted({server} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
