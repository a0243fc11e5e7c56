"""Processes that work on one serving directory at once, and locks of dead ones."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry, promote, reconcile, rollback
from tfx_registry.registry import fold
from tfx_registry.serving import list_version_directories
from tfx_registry.testing.minimal_model import write_minimal_model

MODEL = "penguin"
WORKER = Path(__file__).with_name("serving_worker.py")


def start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WORKER), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def listen(process: subprocess.Popen[str]) -> Any:
    """Returns the next line that a process says."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    return json.loads(line)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six versions, overridden; 1, 2 and 3 were promoted."""
    with ModelRegistry.open(f"sqlite:///{tmp_path}/r.sqlite") as registry:
        for number in range(1, 7):
            path = write_minimal_model(tmp_path / "models" / str(number), f"model {number}")
            for index in range(4):
                (path / "assets.extra" / f"{index}.bin").write_bytes(os.urandom(200_000))
            registry.register(MODEL, path)
            day = datetime.timedelta(days=1)
            registry.override(MODEL, number, reason="race", expires=day)
        for number in (1, 2, 3):
            promote(registry, MODEL, number, tmp_path / "serving")
    return tmp_path


@pytest.fixture
def race(folder: Path) -> Iterator[Any]:
    """Lets several things happen at once under the eyes of a server; returns how each ended."""
    uri, base = f"sqlite:///{folder}/r.sqlite", folder / "serving"
    gate, stop = folder / "gate", folder / "stop"
    started: list[subprocess.Popen[str]] = []

    def run(*things: tuple[str, int]) -> dict[tuple[str, int], str]:
        reader = start("watch", uri, base, gate, stop)
        workers = {thing: start("act", uri, base, gate, *thing) for thing in things}
        started.extend([reader, *workers.values()])
        assert [listen(process) for process in started] == ["ready"] * len(started)
        gate.touch()
        ends = {thing: listen(process) for thing, process in workers.items()}
        stop.touch()
        assert listen(reader) == []
        with ModelRegistry.open(uri) as registry:
            events = registry.history(MODEL)
            head = registry.head(MODEL)
            assert fold.replay(events).head == head
            serving = head.deployments[str(base)].number
            assert max(list_version_directories(base)) == serving == head.aliases["production"]
            assert reconcile(registry, base).actions == ()
        return ends

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_promoters_of_different_versions(race) -> None:
    ends = race(("promote", 4), ("promote", 5), ("promote", 6))
    assert ends["promote", 6] == ""
    for end in ends.values():
        assert end == "" or "newer version" in end


@pytest.mark.slow
def test_a_promotion_and_two_rollbacks(race, folder: Path) -> None:
    ends = race(("promote", 4), ("rollback", 2), ("rollback", 1))
    assert ends["promote", 4] == "", "an override lets it pass whatever serves"
    # Once version 1 serves, version 2 has been rolled back itself.
    assert ends["rollback", 2] == "" or "was rolled back itself" in ends["rollback", 2]
    assert ends["rollback", 1] == ""


@pytest.mark.slow
def test_a_promotion_a_rollback_and_retention(race) -> None:
    ends = race(("promote", 4), ("rollback", 2), ("prune", 1), ("prune", 2))
    assert (ends["promote", 4], ends["prune", 1], ends["prune", 2]) == ("", "", "")
    # Retention keeps what a rollback would go back to, and nothing behind it.
    assert (
        ends["rollback", 2] == ""
        or "never served" in ends["rollback", 2]
        or ("rolled back itself" in ends["rollback", 2])
    )


@pytest.mark.slow
def test_a_lock_of_a_dead_process_blocks_nobody(folder: Path) -> None:
    base = folder / "serving"
    holder = start("hold", "", base)
    assert listen(holder) == "ready"
    holder.kill()
    holder.communicate()
    with ModelRegistry.open(f"sqlite:///{folder}/r.sqlite") as registry:
        assert rollback(registry, MODEL, base, reason="x").version.number == 2
        assert promote(registry, MODEL, 4, base).changed
    assert not (base / ".tfx_registry" / "staging").exists()


@pytest.mark.slow
def test_an_operator_who_waits_is_told(folder: Path) -> None:
    base = folder / "serving"
    holder = start("hold", "", base)
    assert listen(holder) == "ready"
    command = [sys.executable, "-m", "tfx_registry.cli.main"]
    waiting = subprocess.Popen(
        [*command, "--registry", f"sqlite:///{folder}/r.sqlite", "rollback", MODEL,
         "--serving-dir", str(base), "--reason", "x"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert waiting.stderr is not None
    assert "waiting until another process is done" in waiting.stderr.readline()
    holder.kill()
    holder.communicate()
    out, _ = waiting.communicate(timeout=250)
    assert waiting.returncode == 0
    assert out.startswith("penguin:2 serves again")
