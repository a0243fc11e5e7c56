"""Processes that work on one serving directory at once, and locks of dead ones."""

from __future__ import annotations

import datetime
import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry, Retention, promote, prune, reconcile, rollback
from tfx_registry.digest import digest_path
from tfx_registry.errors import ConflictError, RefusedError
from tfx_registry.registry import fold
from tfx_registry.serving import ServingDirectory, list_version_directories
from tfx_registry.testing.minimal_model import write_minimal_model

MODEL = "penguin"
SPAWN: SpawnContext = multiprocessing.get_context("spawn")
_SECONDS = 250


def act(uri: str, base: str, what: str, argument: int, gate: Any, said: Any) -> None:
    """Does one thing once all others are ready, and says how it ended."""
    with ModelRegistry.open(uri) as registry:
        registry.head(MODEL)
        gate.wait(_SECONDS)
        try:
            if what == "promote":
                promote(registry, MODEL, argument, base, reason=what)
            elif what == "rollback":
                rollback(registry, MODEL, base, argument, reason=what)
            elif what == "prune":
                prune(registry, MODEL, base, Retention(argument), dry_run=False)
            else:
                reconcile(registry, base)
        except (RefusedError, ConflictError) as error:
            said.put((what, argument, str(error)))
        else:
            said.put((what, argument, ""))


def hold_and_say(base: str, said: Any) -> None:
    """Takes the lock of a directory, makes a mess in staging, and never lets go."""
    with ServingDirectory.lock(base):
        (Path(base) / ".tfx_registry" / "staging" / "half").mkdir(parents=True)
        said.put(os.getpid())
        signal.pause()


def watch(base: str, digests: dict[int, str], stop: Any, said: Any) -> None:
    """Polls as a server does, and says what it may not see."""
    wrong, polls = set(), 0
    while not stop.is_set() or not polls:
        polls += 1
        versions = list_version_directories(Path(base))
        if not versions:
            wrong.add("the directory was empty")
        for number, names in versions.items():
            path = Path(base) / names[0]
            try:
                good = digest_path(path).manifest == digests[number]
            except Exception:  # noqa: BLE001 - gone while it was read, or not whole
                good = False
            if not good and path.exists():
                wrong.add(f"version {number} was visible and not whole")
    said.put(sorted(wrong))


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
    with ModelRegistry.open(uri) as registry:
        digests = {v.number: v.facts.manifest for v in registry.list_versions(MODEL)}
    started: list[Any] = []

    def run(*things: tuple[str, int]) -> dict[tuple[str, int], str]:
        gate, stop = SPAWN.Barrier(len(things)), SPAWN.Event()
        said, seen = SPAWN.Queue(), SPAWN.Queue()
        reader = SPAWN.Process(target=watch, args=(str(base), digests, stop, seen))
        workers = [
            SPAWN.Process(target=act, args=(uri, str(base), what, argument, gate, said))
            for what, argument in things
        ]
        started.extend([reader, *workers])
        for process in started:
            process.start()
        ends = [said.get(timeout=_SECONDS) for _ in workers]
        stop.set()
        assert seen.get(timeout=_SECONDS) == []
        for process in started:
            process.join(_SECONDS)
        with ModelRegistry.open(uri) as registry:
            events = registry.history(MODEL)
            head = registry.head(MODEL)
            assert fold.replay(events).head == head
            serving = head.deployments[str(base)].number
            assert max(list_version_directories(base)) == serving == head.aliases["production"]
            assert reconcile(registry, base).actions == ()
        return {(what, argument): why for what, argument, why in ends}

    yield run
    for process in started:
        if process.is_alive():
            process.kill()


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
    said = SPAWN.Queue()
    holder = SPAWN.Process(target=hold_and_say, args=(str(base), said))
    holder.start()
    assert said.get(timeout=_SECONDS) == holder.pid
    holder.kill()
    holder.join(_SECONDS)
    with ModelRegistry.open(f"sqlite:///{folder}/r.sqlite") as registry:
        assert rollback(registry, MODEL, base, reason="x").version.number == 2
        assert promote(registry, MODEL, 4, base).changed
    assert not (base / ".tfx_registry" / "staging").exists()
