"""Servers that die and come back, connections that break, writers that race: nothing is lost."""

from __future__ import annotations

import os
import random
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.errors import StoreUnavailableError
from tfx_registry.registry import fold, session
from tfx_registry.registry.events import Registered
from tfx_registry.testing import (
    DatabaseServer,
    GrpcServerProcess,
    MariaDbServer,
    PostgreSqlServer,
)

KINDS: list[type[DatabaseServer]] = [MariaDbServer, PostgreSqlServer, GrpcServerProcess]

WORKER = """
import sys
from tfx_registry import ModelRegistry
from tfx_registry.registry import session
# On a busy machine a killed server may need long to come back.
session._DOWN_SECONDS = session._RACE_SECONDS = 200.0
uri, model_path, name, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
with ModelRegistry.open(uri) as registry:
    registry._retry_seconds = 200.0
    for index in range(count):
        version = registry.register("penguin", model_path, idempotency_key=f"{name}-{index}")
        if index % 3 == 0:
            registry.set_alias("penguin", f"by-{name}", version.number)
        print(f"{name}-{index}", version.number, flush=True)
"""


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.scheme)
def server(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    """A server that these tests may kill; the password is in the environment."""
    with request.param() as started:
        before = os.environ.get("TFX_REGISTRY_PASSWORD")
        os.environ["TFX_REGISTRY_PASSWORD"] = started.password
        yield started
        os.environ.pop("TFX_REGISTRY_PASSWORD")
        if before is not None:
            os.environ["TFX_REGISTRY_PASSWORD"] = before


@pytest.fixture
def uri(server: DatabaseServer) -> Iterator[str]:
    """An empty database on it."""
    if isinstance(server, GrpcServerProcess):
        server.kill()
        for file in server.folder.glob("metadata.sqlite*"):
            file.unlink()
        server.start()
        yield server.uri()
        return
    server.start()
    yield server.uri("fault")
    server.start()
    server.drop_database("fault")


@pytest.fixture
def start(uri: str, plain_model: Path) -> Iterator[Callable[[str, int], subprocess.Popen[str]]]:
    """Starts workers on the database, and ends those that are left."""
    started: list[subprocess.Popen[str]] = []

    def start_one(name: str, count: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, uri, str(plain_model), name, str(count)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


def check(uri: str) -> dict[str, int]:
    """Checks that log, head and versions agree; returns the versions by operation."""
    with ModelRegistry.open(uri, create=False) as registry:
        events = registry.history("penguin")
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        state = fold.replay(events)
        assert state.head == registry.head("penguin")
        listed = registry.list_versions("penguin", newest_first=False)
        assert list(state.versions.values()) == listed
    made = {e.token: e.payload.number for e in events if isinstance(e.payload, Registered)}
    assert sorted(made.values()) == list(range(1, len(made) + 1))
    return made


def acknowledged(lines: str) -> dict[str, int]:
    """The versions that a worker printed; the last line may be cut."""
    whole = [line.split() for line in lines.splitlines(keepends=True) if line.endswith("\n")]
    return {name: int(number) for name, number in whole}


def test_a_restart_between_two_calls_goes_unnoticed(
    server: DatabaseServer, uri: str, plain_model: Path
) -> None:
    with ModelRegistry.open(uri) as registry, ModelRegistry.open(uri) as reader:
        for number, end in enumerate((server.kill, server.stop, server.kill), start=1):
            assert registry.register("penguin", plain_model).number == number
            assert reader.latest("penguin").number == number
            end()
            server.start()
            assert [event.seq for event in reader.history("penguin")] == list(range(1, number + 1))
        assert registry.register("penguin", plain_model).number == 4
    assert len(check(uri)) == 4


def test_a_call_waits_for_a_server_that_restarts(
    server: DatabaseServer, uri: str, plain_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_DOWN_SECONDS", 200.0)
    with ModelRegistry.open(uri) as registry, ThreadPoolExecutor(1) as pool:
        registry._retry_seconds = 200.0
        registry.register("penguin", plain_model)
        for ask in (registry.latest, lambda model: registry.register(model, plain_model)):
            server.kill()
            answer = pool.submit(ask, "penguin")
            time.sleep(0.5)  # most of the time it has noticed by then that nobody is there
            assert not answer.done()
            server.start()
            last = answer.result(timeout=200)
    assert last.number == 2
    assert len(check(uri)) == 2


def test_a_server_that_stays_away_is_an_error(
    server: DatabaseServer, uri: str, plain_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_DOWN_SECONDS", 0.5)
    with ModelRegistry.open(uri) as registry:
        registry.register("penguin", plain_model)
        server.kill()
        for ask in (registry.list_models, lambda: registry.register("penguin", plain_model)):
            with pytest.raises(StoreUnavailableError, match="nobody listens there"):
                ask()
        server.start()
        assert registry.register("penguin", plain_model).number == 2


def test_a_database_that_was_dropped_is_an_error_not_a_wait(
    server: DatabaseServer, uri: str, plain_model: Path
) -> None:
    if isinstance(server, GrpcServerProcess):
        return  # the client knows of no database
    with ModelRegistry.open(uri) as registry:
        registry.register("penguin", plain_model)
        server.drop_database("fault")
        with pytest.raises(StoreUnavailableError):
            registry.list_models()
        with pytest.raises(StoreUnavailableError, match="does not exist"):
            registry.list_models()


def test_connections_that_an_administrator_ends(
    server: DatabaseServer, uri: str, plain_model: Path
) -> None:
    def end_all() -> None:
        if isinstance(server, PostgreSqlServer):
            server.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tfx'"
            )
        elif isinstance(server, MariaDbServer):
            server.sql("KILL USER 'tfx'@'%'")

    made: list[int] = []
    rng = random.Random(8)
    with ModelRegistry.open(uri) as registry:
        registry.register("penguin", plain_model)
        stop = threading.Event()

        def disturb() -> None:
            """Ends all connections at any moment, but lets each registration get done once."""
            before = -1
            while not stop.wait(rng.uniform(0.0, 0.05)):
                if len(made) > before:
                    before = len(made)
                    end_all()

        thread = threading.Thread(target=disturb)
        thread.start()
        try:
            for _ in range(40):
                number = registry.register("penguin", plain_model).number
                made.append(number)
        finally:
            stop.set()
            thread.join()
    assert made == list(range(2, 42))
    assert len(check(uri)) == 41


def test_a_server_that_takes_only_small_packets(plain_model: Path) -> None:
    """MySQL cuts the connection at a packet that it finds too large."""
    with MariaDbServer(["--max-allowed-packet=65536"]) as server, pytest.MonkeyPatch.context() as m:
        m.setenv("TFX_REGISTRY_PASSWORD", server.password)
        uri = server.uri("small")
        with ModelRegistry.open(uri) as registry:
            text = secrets.token_hex(200_000)
            registry.register("penguin", plain_model, description=text)
            registry.register("penguin", plain_model, reason=text)
            assert registry.get("penguin", 1).description == text
            assert len(registry.history("penguin")) == 2
        check(uri)


def test_a_server_starts_again_when_the_last_process_of_the_killed_one_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of PostgreSQL's: its kill misses a process that the server makes at this very moment."""
    with PostgreSqlServer() as server:
        said = "pre-existing shared memory block"
        of_writer = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"
        left, log = int(server.sql(of_writer)), server.folder / "server.log"
        os.kill(left, signal.SIGSTOP)
        monkeypatch.setattr("tfx_registry.testing.process._children", lambda _: [])
        server.kill()
        ends = threading.Thread(target=end_when_said, args=(log, said, left))
        ends.start()
        server.start()
        ends.join()
        assert said in log.read_text(encoding="utf-8")
        assert server.sql("SELECT 1").strip() == "1"


def test_a_server_leaves_no_shared_memory() -> None:
    def segments() -> set[str]:
        lines = Path("/proc/sysvipc/shm").read_text(encoding="utf-8").splitlines()
        return {line.split()[1] for line in lines[1:]}

    with PostgreSqlServer() as server:
        made = (server.folder / "data" / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        segment = made[6].split()[1]
        assert segment in segments()
        assert server.sql("SHOW dynamic_shared_memory_type").strip() == "mmap"
    assert segment not in segments()
    assert not server.folder.exists()


def end_when_said(log: Path, words: str, process_id: int) -> None:
    """Kills a process as soon as a log holds some words."""
    deadline = time.monotonic() + 60
    while words not in log.read_text(encoding="utf-8") and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process_id, signal.SIGKILL)


def test_first_starts_at_once_on_an_empty_database(
    start: Callable[[str, int], subprocess.Popen[str]], uri: str
) -> None:
    workers = [start(f"w{i}", 3) for i in range(8)]
    answers = {}
    for worker in workers:
        out, err = worker.communicate(timeout=250)
        assert worker.returncode == 0, err
        answers.update(acknowledged(out))
    assert len(answers) == 24
    assert check(uri) == answers


@pytest.mark.slow
def test_eight_processes_register_fifty_versions_each(
    start: Callable[[str, int], subprocess.Popen[str]], uri: str
) -> None:
    workers = [start(f"w{i}", 50) for i in range(8)]
    answers = {}
    for worker in workers:
        out, err = worker.communicate(timeout=250)
        assert worker.returncode == 0, err
        answers.update(acknowledged(out))
    assert sorted(answers.values()) == list(range(1, 401))
    assert check(uri) == answers


@pytest.mark.slow
def test_a_server_that_is_killed_under_its_writers(
    start: Callable[[str, int], subprocess.Popen[str]], server: DatabaseServer, uri: str
) -> None:
    """Three writers; the server dies six times in the middle and comes back each time."""
    rng = random.Random(5)
    workers = [start(f"w{i}", 10_000) for i in range(3)]
    collected: list[str] = ["", "", ""]

    def collect(index: int) -> None:
        stdout = workers[index].stdout
        assert stdout is not None
        for line in stdout:
            collected[index] += line

    threads = [threading.Thread(target=collect, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 100
    while not all(collected) and time.monotonic() < deadline:
        time.sleep(0.05)
    for _ in range(6):
        time.sleep(rng.uniform(0.2, 0.8))
        server.kill()
        server.start()
    before = [text.count("\n") for text in collected]

    def all_went_on() -> bool:
        return all(t.count("\n") > count for t, count in zip(collected, before, strict=True))

    # Recovery of a killed server takes seconds on a busy machine: wait for it, bounded.
    deadline = time.monotonic() + 120
    while not all_went_on() and time.monotonic() < deadline:
        time.sleep(0.05)
    alive = [worker.poll() is None for worker in workers]
    for worker in workers:
        worker.kill()
    for thread in threads:
        thread.join()
    errors = [worker.stderr.read() for worker in workers if worker.stderr is not None]
    assert alive == [True, True, True], errors
    # All of them went on after the last restart.
    assert all_went_on(), errors
    made = check(uri)
    for text in collected:
        assert {k: v for k, v in acknowledged(text).items() if made.get(k) != v} == {}


def test_writers_that_are_killed_lose_nothing_that_was_acknowledged(
    start: Callable[[str, int], subprocess.Popen[str]], uri: str
) -> None:
    rng = random.Random(6)
    answers: dict[str, int] = {}
    for number in range(5):
        worker = start(f"r{number}", 10_000)
        assert worker.stdout is not None
        first = worker.stdout.readline()
        time.sleep(rng.uniform(0, 0.1))
        worker.kill()
        rest, _ = worker.communicate()
        answers.update(acknowledged(first + rest))
        made = check(uri)
        assert {k: v for k, v in answers.items() if made.get(k) != v} == {}
    assert len(answers) >= 5
