"""The status client against the emulator's REST API, and against what is no model server."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tfx_registry.errors import InvalidUriError, ModelServerError, NotFoundError, NotServedError
from tfx_registry.serving import status_client
from tfx_registry.serving.status_client import ModelServer, ServerState, VersionStatus
from tfx_registry.serving.verification import look, wait_until_available
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.model_server import ModelServerEmulator


@pytest.fixture
def base(tmp_path: Path) -> Path:
    write_minimal_model(tmp_path / "penguin" / "1")
    return tmp_path / "penguin"


def emulator(base: Path) -> ModelServerEmulator:
    return ModelServerEmulator(
        model_name="penguin", model_base_path=base, max_num_load_retries=0,
        load_retry_interval_seconds=0.0,
    )  # fmt: skip


@pytest.fixture
def server(base: Path) -> Iterator[ModelServerEmulator]:
    with emulator(base) as server:
        server.poll_once()
        yield server


# Asking


def test_versions_and_their_states(server: ModelServerEmulator, base: Path) -> None:
    client = ModelServer(server.url, "penguin")
    assert client.versions() == {1: VersionStatus(1, ServerState.AVAILABLE)}
    (base / "2").mkdir()
    server.poll_once()
    failed = client.status(2)
    assert failed is not None
    assert (failed.state, failed.error_code, failed.failed) == (ServerState.END, "NOT_FOUND", True)
    assert "Could not find SavedModel" in str(failed)
    assert client.status(3) is None
    assert client.available() == (1,)


def test_a_model_that_is_not_there(server: ModelServerEmulator) -> None:
    client = ModelServer(server.url, "tuna")
    with pytest.raises(NotFoundError, match="Could not find any versions of model tuna"):
        client.versions()
    assert client.status(1) is None
    assert client.available() == ()


def test_labels_are_asked_where_the_server_resolves_them(tmp_path: Path, base: Path) -> None:
    write_minimal_model(base / "2")
    config = tmp_path / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "penguin" base_path: "{base}" '
        'model_platform: "tensorflow" model_version_policy { specific { versions: [1, 2] } } '
        'version_labels { key: "stable" value: 1 } } }'
    )
    with ModelServerEmulator(
        model_config_file=config, allow_version_labels_for_unavailable_models=True
    ) as server:
        server.poll_once()
        client = ModelServer(server.url, "penguin")
        assert client.label("stable") == 1
        assert client.label("canary") is None
        assert ModelServer(server.url, "tuna").label("stable") is None
        # The status API takes any label, and answers for all versions.
        with urllib.request.urlopen(f"{client}/labels/nonsense", timeout=30) as response:
            assert len(json.load(response)["model_version_status"]) == 2


@pytest.mark.parametrize(
    ("method", "path", "code", "words"),
    [
        ("GET", "/v1/models", 400, "Malformed"),
        ("GET", "/v1/models/penguin/versions/9", 404, "Could not find version 9"),
        ("GET", "/v1/models/penguin/versions/x", 400, "Malformed"),
        ("GET", "/other", 404, "Not Found"),
        ("GET", "/v1/models/penguin/labels/x/metadata", 400, "Unrecognized"),
        ("POST", "/v1/models/penguin:predict", 501, "--load tensorflow"),
        ("POST", "/v1/models/penguin/versions/9:predict", 404, "Servable not found"),
        ("POST", "/v1/models/penguin:regress", 501, "does not regress"),
    ],
)
def test_errors_of_the_rest_api(
    server: ModelServerEmulator, method: str, path: str, code: int, words: str
) -> None:
    request = urllib.request.Request(server.url + path, data=b"{}" if method == "POST" else None)
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=30)
    with raised.value as error:
        assert error.code == code
        assert words in json.load(error)["error"]


@pytest.mark.parametrize(
    ("url", "base", "model"),
    [
        ("http://host:8501", "http://host:8501", "penguin"),
        ("http://host:8501/", "http://host:8501", "penguin"),
        ("https://host/tfs/", "https://host/tfs", "penguin"),
        ("http://host:8501/v1/models/other%20one", "http://host:8501", "other one"),
        ("http://host:8501/v1/models/", "http://host:8501", "penguin"),
        ("http://host/prefix/v1/models/x", "http://host/prefix", "x"),
        ("http://[::1]:8501", "http://[::1]:8501", "penguin"),
    ],
)
def test_urls(url: str, base: str, model: str) -> None:
    client = ModelServer(url, "penguin")
    assert (client.url, client.model) == (base, model)


@pytest.mark.parametrize(
    "url",
    ["host:8501", "ftp://host", "grpc://host:8500", "http://", "http://user:word@host:8501",
     "http://host:99999", "http://host?x=1", "http://host/v1/models/a/versions/1",
     "http://host/v1/models/a:predict", "http://[::1", ""],
)  # fmt: skip
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(InvalidUriError):
        ModelServer(url, "penguin")


# What is no model server


Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def listen() -> Iterator[Callable[[Answer], str]]:
    servers = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def reply(code: int, body: bytes, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def raw(data: bytes) -> Answer:
    """What listens at another port, or dies in the middle of an answer."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(data)

    return answer


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (raw(b"\x00\x00\x18\x04\x00\x00\x00\x00\x00\r\n\r\n"), "did not answer"),
        (
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"),
            "did not answer",
        ),
        (reply(200, b'{"model_version_status": [{"version": Infinity}]}'), "no version states"),
        (reply(200, b"hello"), "no JSON"),
        (reply(200, b"[" * 100000), "no JSON"),
        (reply(200, b"{}"), "no version states"),
        (reply(200, b'{"model_version_status": [{"version": "x"}]}'), "no version states"),
        (reply(200, b'{"model_version_status": [5]}'), "no version states"),
        (reply(500, b'{"error": "it burns"}'), "it burns"),
        (reply(503, b"<html>"), "Service Unavailable"),
        (reply(400, b'{"error": "Malformed request"}'), "Malformed"),
    ],
)
def test_strange_answers(listen: Callable[[Answer], str], answer: Answer, why: str) -> None:
    with pytest.raises(ModelServerError, match=why):
        ModelServer(listen(answer), "penguin").versions()


def test_redirects_are_not_followed(
    listen: Callable[[Answer], str], server: ModelServerEmulator
) -> None:
    url = listen(reply(302, b"", Location=f"{server.url}/v1/models/penguin"))
    with pytest.raises(ModelServerError, match="redirects are not followed"):
        ModelServer(url, "penguin").versions()


def test_unknown_states_and_fields_of_later_releases_are_read(
    listen: Callable[[Answer], str],
) -> None:
    body = b'{"model_version_status": [{"version": "4", "state": "DREAMING", "x": 1}], "y": 2}'
    assert ModelServer(listen(reply(200, body)), "penguin").versions() == {
        4: VersionStatus(4, ServerState.UNKNOWN)
    }


def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        with pytest.raises(ModelServerError, match="rest_api_port"):
            ModelServer(f"http://127.0.0.1:{port}", "penguin").versions()


def test_a_server_that_never_answers_costs_its_timeout_only(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        client = ModelServer(
            f"http://127.0.0.1:{silent.getsockname()[1]}", "penguin", timeout_seconds=0.2
        )
        with pytest.raises(ModelServerError, match="timed out"):
            client.versions()


def test_a_server_that_answers_by_the_byte_does_not_hold_up_anybody(
    listen: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes in time; all of them would take for ever."""
    enough = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not enough.wait(0.05):
            handler.wfile.write(b"x")

    # The whole answer may take half a second, and each byte so long that none is late.
    monkeypatch.setattr(status_client, "_GRACE_SECONDS", 0.5 - 120.0)
    try:
        with pytest.raises(ModelServerError, match="timed out while the answer came in"):
            ModelServer(listen(drip), "penguin", timeout_seconds=5.0).versions(
                timeout_seconds=120.0
            )
    finally:
        enough.set()


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (200, {"model_version_status": [{"version": "4", "state": "END", "status": "WORDS"}]}),
        (500, {"error": "WORDS"}),
        (404, {"error": "WORDS"}),
    ],
)
def test_what_a_server_says_cannot_steer_a_terminal_and_can_be_printed(
    listen: Callable[[Answer], str], code: int, body: dict[str, Any]
) -> None:
    words = "\x1b]0;owned\x07\ud800\n" + "x" * 10_000
    text = json.dumps(body).replace('"WORDS"', json.dumps(words))
    if code == 200:
        said = json.dumps({"error_code": words, "error_message": words})
        text = json.dumps(body).replace('"WORDS"', said)
    try:
        found = ModelServer(listen(reply(code, text.encode())), "penguin").versions()
        shown = str(found[4])
    except (ModelServerError, NotFoundError) as error:
        shown = str(error)
    assert "owned" in shown
    assert shown.isprintable()
    assert len(shown.encode("utf-8")) < 2000


@pytest.mark.parametrize("version", ["4.7", "true", "null", "[4]", '"4.0"', "9" * 5000])
def test_what_is_no_version_is_not_taken_for_one(
    listen: Callable[[Answer], str], version: str
) -> None:
    body = f'{{"model_version_status": [{{"version": {version}, "state": "AVAILABLE"}}]}}'
    with pytest.raises(ModelServerError, match=r"no version states|no JSON") as caught:
        ModelServer(listen(reply(200, body.encode())), "penguin").versions()
    assert len(str(caught.value)) < 1000


def test_a_proxy_of_the_environment_does_not_get_loopback_questions(
    server: ModelServerEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert ModelServer(server.url, "penguin").available() == (1,)


# Waiting


class Clock:
    """Time passes only while somebody sleeps; each sleep lets something happen."""

    def __init__(self, *happens: Callable[[], object]) -> None:
        self.now = 0.0
        self.happens = list(happens)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.happens:
            self.happens.pop(0)()


def wait(servers: list[ModelServer], number: int, clock: Clock, **options: Any) -> list[str]:
    reports = wait_until_available(
        servers, number, deadline_seconds=10, clock=clock, sleep=clock.sleep, **options
    )
    return [report.detail for report in reports]


def test_waiting_until_all_servers_have_it(base: Path) -> None:
    with emulator(base) as one, emulator(base) as other:
        one.poll_once()
        other.poll_once()
        clients = [ModelServer(server.url, "penguin") for server in (one, other)]
        write_minimal_model(base / "2")
        clock = Clock(lambda: None, one.poll_once, lambda: None, other.poll_once)
        assert wait(clients, 2, clock) == ["AVAILABLE", "AVAILABLE"]
        assert clock.happens == []


def test_a_server_that_starts_late_is_waited_for(base: Path) -> None:
    with emulator(base) as server:
        client = ModelServer(server.url, "penguin", timeout_seconds=5)
        clock = Clock(lambda: None, server.poll_once)
        assert wait([client], 1, clock) == ["AVAILABLE"]


def test_a_failed_load_ends_the_wait_at_once(server: ModelServerEmulator, base: Path) -> None:
    client = ModelServer(server.url, "penguin")
    (base / "2").mkdir()
    clock = Clock(server.poll_once)
    with pytest.raises(NotServedError, match="Could not find SavedModel") as raised:
        wait([client], 2, clock)
    assert clock.now < 10
    (report,) = raised.value.reports
    assert report.failed
    assert not report.available


def test_the_deadline_says_what_each_server_said(
    server: ModelServerEmulator, base: Path, tmp_path: Path
) -> None:
    dead = ModelServer("http://127.0.0.1:9", "penguin", timeout_seconds=1)
    clock = Clock()
    with pytest.raises(NotServedError, match="2 of 2 model servers: after 10 seconds") as raised:
        wait([ModelServer(server.url, "penguin"), dead], 7, clock)
    assert clock.now >= 10
    assert "does not know the version" in str(raised.value)
    assert "no answer" in str(raised.value)


def test_a_failure_from_before_is_not_taken_for_one_of_now(
    server: ModelServerEmulator, base: Path
) -> None:
    client = ModelServer(server.url, "penguin")
    (base / "2").mkdir()
    server.poll_once()
    (base / "2").rmdir()
    before = look([client], 2)
    status = before[str(client)]
    assert status is not None
    assert status.failed
    write_minimal_model(base / "3")  # the server forgets 2 once something else is asked of it
    server.poll_once()
    (base / "3").rename(base / "away")
    write_minimal_model(base / "2")
    clock = Clock(lambda: None, server.poll_once)
    assert wait([client], 2, clock, before=before) == ["AVAILABLE"]


def test_a_failure_from_before_that_stays_is_shown_at_the_deadline(
    server: ModelServerEmulator, base: Path
) -> None:
    client = ModelServer(server.url, "penguin")
    (base / "2").mkdir()
    server.poll_once()
    with pytest.raises(NotServedError, match=r"has failed before.*Could not find SavedModel"):
        wait([client], 2, Clock(), before=look([client], 2))


def test_looking_at_a_server_that_is_away_is_no_error() -> None:
    dead = ModelServer("http://127.0.0.1:9", "penguin")
    assert look([dead], 1) == {str(dead): None}
