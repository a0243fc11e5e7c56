"""Several processes on one SQLite registry; and processes that are killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.registry import fold
from tfx_registry.registry.events import Registered

WORKER = """
import sys
from tfx_registry import ModelRegistry
uri, model_path, name, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
with ModelRegistry.open(uri) as registry:
    for index in range(count):
        version = registry.register("penguin", model_path, idempotency_key=f"{name}-{index}")
        if index % 3 == 0:
            registry.set_alias("penguin", f"by-{name}", version.number)
        print(index, version.number, flush=True)
"""


@pytest.fixture
def start(tmp_path: Path, plain_model: Path) -> Iterator[object]:
    """Starts workers, and ends those that are left."""
    started: list[subprocess.Popen[str]] = []

    def start_one(name: str, count: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, f"sqlite:///{tmp_path}/r.sqlite", str(plain_model),
             name, str(count)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


def check(registry: ModelRegistry) -> dict[str, int]:
    """Checks that log, head and versions agree; returns the versions by operation."""
    events = registry.history("penguin")
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    state = fold.replay(events)
    assert state.head == registry.head("penguin")
    assert list(state.versions.values()) == registry.list_versions("penguin", newest_first=False)
    made = {e.token: e.payload.number for e in events if isinstance(e.payload, Registered)}
    assert sorted(made.values()) == list(range(1, len(made) + 1))
    return made


def test_processes_that_start_together_on_an_empty_database(start, tmp_path: Path) -> None:
    workers = [start(f"w{i}", 15) for i in range(5)]
    answers = {}
    for index, worker in enumerate(workers):
        out, err = worker.communicate(timeout=250)
        assert worker.returncode == 0, err
        for line in out.splitlines():
            operation, number = line.split()
            answers[f"w{index}-{operation}"] = int(number)
    with ModelRegistry.open(f"sqlite:///{tmp_path}/r.sqlite", create=False) as registry:
        assert check(registry) == answers
    assert len(answers) == 75


def test_killed_writers_lose_nothing_that_was_acknowledged(start, tmp_path: Path) -> None:
    rng = random.Random(4)
    acknowledged: dict[str, int] = {}
    for round_number in range(12):
        name = f"r{round_number}"
        worker = start(name, 10_000)
        first = worker.stdout.readline()
        time.sleep(rng.uniform(0, 0.05))
        worker.send_signal(signal.SIGKILL)
        rest, _ = worker.communicate()
        for line in (first + rest).splitlines():
            if line.count(" ") == 1 and line.split()[1]:
                operation, number = line.split()
                acknowledged[f"{name}-{operation}"] = int(number)
        with ModelRegistry.open(f"sqlite:///{tmp_path}/r.sqlite", create=False) as registry:
            made = check(registry)
        # The last line may be cut; what is whole must be there.
        assert {k: v for k, v in acknowledged.items() if made.get(k) != v} == {}
    assert len(acknowledged) >= 12


def test_the_registry_goes_on_after_a_kill(start, tmp_path: Path) -> None:
    victim = start("victim", 10_000)
    victim.stdout.readline()
    victim.kill()
    victim.communicate()
    # A repeat of the victim's first operation finds it; new ones follow without a gap.
    again = start("victim", 3)
    out, err = again.communicate(timeout=250)
    assert again.returncode == 0, err
    assert out.splitlines()[0] == "0 1"
    with ModelRegistry.open(f"sqlite:///{tmp_path}/r.sqlite", create=False) as registry:
        check(registry)
