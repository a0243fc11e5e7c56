"""Promotions that are killed, and promotions that race, watched by TensorFlow Serving's rules."""

from __future__ import annotations

import datetime
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.digest import DirectoryDigest, digest_path
from tfx_registry.promotion import promote
from tfx_registry.records import Verdict
from tfx_registry.registry import fold
from tfx_registry.registry.events import Decided, Promoted
from tfx_registry.serving import list_version_directories

# Kills itself at a step, named by a function that is about to be called or has returned.
WORKER = """
import os, signal, sys
from tfx_registry import ModelRegistry
from tfx_registry.promotion import promote
from tfx_registry.serving import publish as publish_module
from tfx_registry.registry import registry as registry_module

uri, number, base, step = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]

def die_around(owner, name, when):
    original = getattr(owner, name)
    def wrapper(*args, **kwargs):
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(owner, name, wrapper)

if step != "none":
    when, _, name = step.partition(" ")
    owner = registry_module.ModelRegistry if name.startswith("record_") else publish_module
    die_around(owner, name, when)
print("ready", flush=True)
with ModelRegistry.open(uri) as registry:
    promote(registry, "triple", number, base)
print("promoted", flush=True)
"""

STEPS = [
    f"{when} {name}"
    for name in (
        "_check_space", "copy_tree", "_compare", "check_servable", "record_intent",
        "rename_no_replace", "fsync_directory", "record_promotion",
    )
    for when in ("before", "after")
]  # fmt: skip


@pytest.fixture
def uri(tmp_path: Path, saved_model: Path) -> str:
    """A registry with six versions; an override holds for the last three."""
    text = f"sqlite:///{tmp_path}/r.sqlite"
    with ModelRegistry.open(text) as registry:
        for _ in range(6):
            registry.register("triple", saved_model)
        for number in (4, 5, 6):
            registry.override("triple", number, reason="race", expires=datetime.timedelta(1))
    return text


def decide(uri: str, number: int) -> None:
    """Lets a version pass, against what serves now."""
    with ModelRegistry.open(uri) as registry:
        serving = registry.serving("triple")
        decision = Decided(
            number,
            Verdict.PASSED,
            registry.get("triple", number).digest,
            "production",
            baseline=serving.number if serving else None,
            serving_seq=serving.seq if serving else 0,
        )
        registry.record_decision("triple", decision)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "serving"


@pytest.fixture
def digest(saved_model: Path) -> DirectoryDigest:
    return digest_path(saved_model)


def start(uri: str, number: int, base: Path, step: str = "none") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, uri, str(number), str(base), step],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def check(uri: str, base: Path, digest: DirectoryDigest) -> set[int]:
    """Checks that what a server would load is whole, and that log and state agree."""
    versions = list_version_directories(base)
    for number, found in versions.items():
        assert found == [str(number)]
        assert digest_path(base / str(number)) == digest
    with ModelRegistry.open(uri) as registry:
        events = registry.history("triple")
        assert fold.replay(events).head == registry.head("triple")
        promoted = {e.payload.number for e in events if isinstance(e.payload, Promoted)}
    assert promoted <= set(versions)
    return promoted


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step_then_repeated(
    uri: str, base: Path, digest: DirectoryDigest, step: str
) -> None:
    decide(uri, 1)
    with ModelRegistry.open(uri) as registry:
        promote(registry, "triple", 1, base)
    decide(uri, 2)
    victim = start(uri, 2, base, step)
    out, err = victim.communicate(timeout=250)
    assert victim.returncode == -signal.SIGKILL, err
    assert out == "ready\n"
    promoted = check(uri, base, digest)
    assert promoted == ({1, 2} if step == "after record_promotion" else {1})
    with ModelRegistry.open(uri) as registry:
        serving = registry.serving("triple")
        assert serving is not None
        assert serving.number == max(promoted)
        promote(registry, "triple", 2, base)
        assert registry.resolve("triple@production").number == 2
    assert check(uri, base, digest) == {1, 2}
    assert {p.name for p in (base / ".tfx_registry").iterdir()} <= {"lock", "model", "receipts"}


def watch(base: Path, digest: DirectoryDigest, stop: threading.Event, seen: list[str]) -> None:
    """Polls as a server does, and notes each version that is not whole."""
    while not stop.is_set():
        seen += [
            f"version {number} is not whole"
            for number in list_version_directories(base)
            if digest_path(base / str(number)) != digest
        ]
        time.sleep(0.001)


@pytest.fixture
def watched(base: Path, digest: DirectoryDigest) -> Callable[[], list[str]]:
    stop, seen = threading.Event(), list[str]()
    thread = threading.Thread(target=watch, args=(base, digest, stop, seen))
    thread.start()

    def end() -> list[str]:
        stop.set()
        thread.join()
        return seen

    yield end
    end()


def test_killed_at_random(
    uri: str, base: Path, digest: DirectoryDigest, watched: Callable[[], list[str]]
) -> None:
    rng = random.Random(7)
    for number in range(1, 6):
        decide(uri, number)
        for _ in range(3):
            victim = start(uri, number, base)
            victim.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.12))
            victim.kill()
            out, _ = victim.communicate()
            promoted = check(uri, base, digest)
            if "promoted" in out:
                assert number in promoted
        with ModelRegistry.open(uri) as registry:
            promote(registry, "triple", number, base)
    assert watched() == []
    assert check(uri, base, digest) == {1, 2, 3, 4, 5}


def test_promoters_that_race(
    uri: str, base: Path, digest: DirectoryDigest, watched: Callable[[], list[str]]
) -> None:
    workers = [start(uri, number, base) for number in (4, 5, 6, 6)]
    results = [worker.communicate(timeout=250) for worker in workers]
    assert watched() == []
    promoted = check(uri, base, digest)
    assert 6 in promoted
    for worker, number, (_, err) in zip(workers, (4, 5, 6, 6), results, strict=True):
        # A version that came too late was refused, and the registry knows nothing else of it.
        assert (worker.returncode == 0) == (number in promoted), err
        assert worker.returncode == 0 or "newer version" in err
    with ModelRegistry.open(uri) as registry:
        assert registry.resolve("triple@production").number == 6
        deployment = registry.serving("triple")
        assert deployment is not None
        assert deployment.number == max(list_version_directories(base)) == 6
