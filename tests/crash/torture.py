"""Kills writers at every step of a mutation, and at random, and counts what they broke.

    .venv/bin/python tests/crash/torture.py [--kills 100] [--uri URI] [--seed 1]

Each round starts two writers on one model and kills both: at a named step (a function that is
about to be called or has returned), in the middle of the one call that writes, or at any moment.
Then everything is checked: no version lost, duplicate or missing in between, every acknowledged
operation there once, log and state equal. The next round first repeats what was not acknowledged.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_metadata import metadata_store

from tfx_registry import ModelRegistry
from tfx_registry.records import Origin
from tfx_registry.registry.events import Registered
from tfx_registry.registry.mlmd_store import MlmdStore

MODEL = "penguin"
ORIGIN = Origin(pipeline_name="torture")

CALLS: tuple[tuple[type, str], ...] = (
    (MlmdStore, "read_head"),
    (MlmdStore, "find_operation"),
    (MlmdStore, "read_versions"),
    (MlmdStore, "append"),
    (metadata_store.MetadataStore, "put_execution"),
)
STEPS = [f"{when} {name}" for _, name in CALLS for when in ("before", "after")]
DURING = "during put_execution"
RANDOM = "at random"

_HUNG_SECONDS = 120.0


@dataclass
class Writer:
    """A process that writes until it is killed.

    Attributes:
        pid: Its process id.
        step: Where it is to be killed.
        stream: What it says, line after line.
    """

    pid: int
    step: str
    stream: int
    text: bytes = b""


@dataclass
class Score:
    """What happened so far.

    Attributes:
        kills: How often a writer was killed, by step.
        acknowledged: Result of each operation that was acknowledged, by its key.
        pending: Operations that were begun and never acknowledged.
        violations: What must not be.
        events: How many events there are.
    """

    kills: Counter[str] = field(default_factory=Counter)
    acknowledged: dict[str, int] = field(default_factory=dict)
    pending: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    events: int = 0


def die_at(step: str, countdown: int, rng: random.Random) -> None:
    """Arranges that this process kills itself at the `countdown`-th time that it gets there."""
    when, _, name = step.partition(" ")
    owner = next((owner for owner, known in CALLS if known == name), None)
    if owner is None:
        return
    original = getattr(owner, name)
    left = [countdown]

    def wrapper(*arguments: Any, **keywords: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        if left[0] == 0 and when == "during":
            kill_soon(os.getpid(), rng.uniform(0.0, 0.003))
        try:
            return original(*arguments, **keywords)
        finally:  # it may have lost a race
            if left[0] == 0 and when == "after":
                os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, wrapper)


def kill_soon(pid: int, seconds: float) -> None:
    """Kills a process from another one, so that no lock of the interpreter delays it."""
    if os.fork() == 0:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        os._exit(0)


def write_until_killed(uri: str, path: Path, name: str, pending: Sequence[str], out: int) -> None:
    """Registers, moves aliases, sets labels; says what it begins and what was acknowledged."""

    def say(*words: object) -> None:
        os.write(out, (" ".join(map(str, words)) + "\n").encode())

    say("ready")
    with ModelRegistry.open(uri) as registry:
        for index, key in enumerate([*pending, *(f"{name}-{i}" for i in range(5000))]):
            say("begin", key)
            version = registry.register(MODEL, path, idempotency_key=key, origin=ORIGIN)
            say("done", key, version.number)
            if index % 3 == 0:
                registry.set_alias(MODEL, f"by-{name}", version.number, reason=f"alias {key}")
                say("done", f"alias:{key}", version.number)
            if index % 4 == 0:
                registry.set_label(MODEL, version.number, "by", name, reason=f"label {key}")
                say("done", f"label:{key}", version.number)


def start(uri: str, path: Path, name: str, step: str, pending: Sequence[str], seed: int) -> Writer:
    """Starts a writer as a fork, which saves the imports."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return Writer(pid, step, reading)
    try:
        os.close(reading)
        rng = random.Random(seed)
        die_at(step, rng.randint(1, 12), rng)
        write_until_killed(uri, path, name, pending, writing)
    except BaseException as error:  # noqa: BLE001 - the parent reports it
        os.write(writing, f"failed {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(1)


def listen(writers: Sequence[Writer], seconds: float) -> list[Writer]:
    """Collects what the writers say until all have ended; returns those that have not in time."""
    deadline = time.monotonic() + seconds
    open_streams = {writer.stream: writer for writer in writers}
    while open_streams and (left := deadline - time.monotonic()) > 0:
        for stream in select.select(list(open_streams), [], [], left)[0]:
            data = os.read(stream, 65536)
            open_streams[stream].text += data
            if not data:
                del open_streams[stream]
    return list(open_streams.values())


def end(writer: Writer, score: Score) -> None:
    """Waits for a writer that was killed, and takes down what it said."""
    _, status = os.waitpid(writer.pid, 0)
    listen([writer], 5.0)
    os.close(writer.stream)
    *whole, _cut = writer.text.decode().split("\n")
    if os.WIFSIGNALED(status):
        score.kills[writer.step] += 1
    else:
        score.violations.append(f"a writer was not killed {writer.step}: {whole[-1:]}")
    begun = [line.split()[1] for line in whole if line.startswith("begin ")]
    for key, number in (line.split()[1:] for line in whole if line.startswith("done ")):
        if score.acknowledged.setdefault(key, int(number)) != int(number):
            score.violations.append(f"{key} was {score.acknowledged[key]} and then {number}")
    score.pending += [key for key in begun if key not in score.acknowledged]


def check(uri: str, acknowledged: dict[str, int]) -> dict[str, Any]:
    """Returns violations and the number of events."""
    violations = []
    with ModelRegistry.open(uri) as registry:
        violations += [str(finding) for finding in registry.fsck().findings]
        if not registry.list_models():
            missing = [f"{key} is lost with everything" for key in acknowledged]
            return {"violations": violations + missing, "events": 0}
        events = registry.history(MODEL)
        latest = registry.head(MODEL).latest
        if [v.number for v in registry.list_versions(MODEL, newest_first=False)] != list(
            range(1, latest + 1)
        ):
            violations.append("the versions have a gap")
    made = Counter[tuple[str, int]]()
    for event in events:
        word, _, key = event.reason.partition(" ")
        name = event.token if isinstance(event.payload, Registered) else f"{word}:{key}"
        made[name, event.number or 0] += 1
    violations += [f"{key} is there {n} times" for key, n in made.items() if n > 1]
    violations += [
        f"{key} was acknowledged as {number} and is lost"
        for key, number in acknowledged.items()
        if (key, number) not in made
    ]
    return {"violations": violations, "events": len(events)}


def in_a_fork(function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Calls a function in a process of its own: connections do not survive a fork."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - the parent reports it
            result = {"violations": [f"check: {type(error).__name__}: {error}"], "events": 0}
        with os.fdopen(writing, "w") as stream:
            json.dump(result, stream)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    found: dict[str, Any] = json.loads(text)
    return found


def plan(rng: random.Random) -> Iterator[str]:
    """Says where the next writer is to be killed; the first while they make the database."""
    yield from (RANDOM, RANDOM)
    while True:
        steps = [*STEPS, *[DURING] * 4, *[RANDOM] * 4]
        rng.shuffle(steps)
        yield from steps


def run(uri: str, kills: int, seed: int) -> Score:
    """Kills writers.

    Args:
        uri: The registry.
        kills: How many, at least.
        seed: Of everything random.

    Returns:
        What happened.
    """
    rng = random.Random(seed)
    steps = plan(rng)
    score = Score()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.txt"
        path.write_text("a model", encoding="utf-8")
        if not uri.startswith("sqlite:"):
            # MySQL cannot undo half-made tables: ML Metadata has to be left to make them.
            score.violations += in_a_fork(lambda: check(uri, {}))["violations"]
        rounds = 0
        while sum(score.kills.values()) < kills and not score.violations:
            rounds += 1
            pending, score.pending = score.pending, []
            writers = [
                start(uri, path, f"r{rounds}w{i}", next(steps), pending if i else (), rng.random())
                for i in range(2)
            ]
            for writer in writers:
                if writer.step == RANDOM:
                    time.sleep(rng.uniform(0.0, 0.1 if rounds == 1 else 0.6))
                    os.kill(writer.pid, signal.SIGKILL)
            hung = listen(writers, _HUNG_SECONDS)
            for writer in writers:
                if writer in hung:
                    score.violations.append(f"a writer hung, to be killed {writer.step}")
                    os.kill(writer.pid, signal.SIGKILL)
                end(writer, score)
            # What was pending stays so until somebody has acknowledged it.
            score.pending += [key for key in pending if key not in score.acknowledged]
            score.pending = sorted(set(score.pending))
            result = in_a_fork(lambda: check(uri, score.acknowledged))
            score.violations += result["violations"]
            score.events = result["events"]
    return score


def main() -> int:
    """Runs it, and prints one line for each violation and one of summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=100, help="at least so many")
    parser.add_argument("--uri", default="", help="the registry; a new SQLite file if left out")
    parser.add_argument("--seed", type=int, default=1, help="repeats the same run")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        uri = options.uri or f"sqlite:///{folder}/torture.sqlite"
        score = run(uri, options.kills, options.seed)
    for violation in score.violations:
        print(f"violation: {violation}")  # noqa: T201 - it talks to a person
    total, at_random = sum(score.kills.values()), score.kills[RANDOM]
    kind = uri.partition(":")[0]
    print(  # noqa: T201 - it talks to a person
        f"torture on {kind}: {total} kills ({total - at_random} at {len(score.kills) - 1} named "
        f"steps, {at_random} at random), {len(score.acknowledged)} operations acknowledged, "
        f"{score.events} events, {len(score.violations)} violations, "
        f"{time.monotonic() - started:.0f} s"
    )
    return 1 if score.violations else 0


if __name__ == "__main__":
    sys.exit(main())
