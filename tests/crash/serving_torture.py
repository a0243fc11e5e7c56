"""Kills processes at every step of what they do to a serving directory, and counts what they broke.

    .venv/bin/python tests/crash/serving_torture.py [--kills 200] [--seed 1]

Each round starts two workers on one directory: they promote, roll back, prune and reconcile in any
order, until both are killed: at a named step (a function that is about to be called or has
returned) or at any moment. All the while a reader polls the directory by TensorFlow Serving's
rules. Every second round begins with what the one before has left, so recovery is killed, too;
before the others everything is reconciled and checked:

- a version that a server can see has the registered bytes, at every moment;
- the directory is never empty again once something has served;
- what was acknowledged is in the log, once; log and state are equal;
- after reconcile nothing is unfinished, what serves by the registry is what a server loads, and
  reconciling again does nothing.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torture import in_a_fork

from tfx_registry import ModelRegistry, Retention, promote, prune, reconcile, rollback
from tfx_registry.digest import digest_path
from tfx_registry.errors import ConflictError, IntegrityError, NotFoundError, RefusedError
from tfx_registry.operations import recovery, rollbacks
from tfx_registry.serving import ServingDirectory, list_version_directories, receipts, shelf
from tfx_registry.serving import publish as publish_module
from tfx_registry.serving.shelf import Shelf
from tfx_registry.testing.minimal_model import write_minimal_model

MODEL = "penguin"

#: Where a process can be told to die: the owner of a function, and its name.
CALLS: tuple[tuple[Any, str], ...] = (
    (ModelRegistry, "record_intent"),
    (ModelRegistry, "record_promotion"),
    (ModelRegistry, "record_rollback_intent"),
    (ModelRegistry, "record_rollback"),
    (ModelRegistry, "record_bytes_removed"),
    (ModelRegistry, "drop_intent"),
    (ServingDirectory, "publish"),
    (Shelf, "withdraw"),
    (Shelf, "restore"),
    (Shelf, "trash"),
    (Shelf, "empty"),
    (Shelf, "put_back"),
    (publish_module, "rename_no_replace"),
    (shelf, "rename_no_replace"),
    (shelf, "fsync_directory"),
    (recovery, "_finish_promotion"),
    (recovery, "_finish_rollback"),
    (rollbacks, "put_newer_away"),
    (receipts, "_write"),
    (shutil, "rmtree"),
    (os, "fsync"),
)
STEPS = [f"{when} {name}" for _, name in CALLS for when in ("before", "after")]
RANDOM = "at random"

#: A step that recovery alone reaches may not come up; then the worker dies at any moment.
_SECONDS_TO_REACH_A_STEP = 3.0
_HUNG_SECONDS = 120.0


@dataclass
class Worker:
    """A process that works until it is killed.

    Attributes:
        pid: Its process id.
        step: Where it is to be killed.
        log: File of what it says.
    """

    pid: int
    step: str
    log: Path


@dataclass
class Score:
    """What happened so far.

    Attributes:
        kills: How often a worker was killed, by step.
        done: What was acknowledged: promotions and rollbacks by their reasons.
        counts: How often each kind of work was finished.
        violations: What must not be.
        polls: How often the reader looked.
    """

    kills: Counter[str] = field(default_factory=Counter)
    done: dict[str, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    polls: int = 0


@dataclass(frozen=True)
class Place:
    """Where everything is.

    Attributes:
        folder: The temporary folder.
    """

    folder: Path

    @property
    def uri(self) -> str:
        """The registry."""
        return f"sqlite:///{self.folder}/registry.sqlite"

    @property
    def base(self) -> Path:
        """The serving base directory."""
        return self.folder / "serving"

    def expected(self, number: int) -> Path:
        """A file with the manifest digest that a version must have."""
        return self.folder / "expected" / str(number)


def die_at(step: str, countdown: int, calls: Sequence[tuple[Any, str]] = CALLS) -> None:
    """Arranges that this process kills itself at the `countdown`-th time that it gets there."""
    when, _, name = step.partition(" ")
    left = [countdown]
    for owner, known in calls:
        if known != name:
            continue
        original = getattr(owner, name)

        def wrapper(*args: Any, _original: Any = original, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == 0 and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return _original(*args, **kwargs)
            finally:
                if left[0] == 0 and when == "after":
                    os.kill(os.getpid(), signal.SIGKILL)

        setattr(owner, name, wrapper)


def work_until_killed(place: Place, rng: random.Random, out: int) -> None:
    """Promotes, rolls back, prunes and reconciles; says what was acknowledged."""
    with ModelRegistry.open(place.uri) as registry:
        while True:
            kind = rng.choices(["promote", "rollback", "prune", "reconcile"], [5, 3, 2, 1])[0]
            token = uuid.uuid4().hex
            try:
                number = work(kind, registry, place, rng, token)
            except IntegrityError:
                raise
            except (RefusedError, ConflictError, NotFoundError) as error:
                os.write(out, f"refused {kind} {error}\n".encode())
            else:
                os.write(out, f"done {kind} {token} {number}\n".encode())


def work(kind: str, registry: ModelRegistry, place: Place, rng: random.Random, token: str) -> int:
    """Does one thing; returns the version that serves then, or 0."""
    base = place.base
    if kind == "rollback":
        done = rollback(registry, MODEL, base, reason=token)
        # One that somebody else had begun was finished with the reason of that one.
        return done.version.number if done.withdrawn else 0
    if kind == "prune":
        prune(registry, MODEL, base, Retention(rng.randint(1, 3)), dry_run=False, reason=token)
        return 0
    if kind == "reconcile":
        reconcile(registry, base, MODEL)
        return 0
    path = write_minimal_model(place.folder / "models" / token, token)
    for index in range(3):
        (path / "assets.extra" / f"{index}.bin").write_bytes(rng.randbytes(40_000))
    version = registry.register(MODEL, path)
    unfinished = place.folder / token
    unfinished.write_text(version.facts.manifest, encoding="utf-8")
    unfinished.replace(place.expected(version.number))
    registry.override(MODEL, version.number, reason="torture", expires=datetime.timedelta(1))
    return promote(registry, MODEL, version.number, base, reason=token).version.number


def arm(step: str, rng: random.Random) -> None:
    """Arranges that this process dies at a step."""
    if step != RANDOM:
        die_at(step, rng.choice([1, 1, 2, 3]))


def start(
    place: Place,
    name: str,
    step: str,
    seed: float,
    arm: Callable[[str, random.Random], None] = arm,
) -> Worker:
    """Starts a worker as a fork, which saves the imports."""
    log = place.folder / f"{name}.log"
    pid = os.fork()
    if pid:
        return Worker(pid, step, log)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        rng = random.Random(seed)
        arm(step, rng)
        work_until_killed(place, rng, out)
    except BaseException as error:  # noqa: BLE001 - the parent reports it
        os.write(out, f"failed {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(1)


def poll(place: Place, stop: Path, report: Path) -> None:
    """Looks at the directory as a server does, again and again, and notes what it may not see."""
    seen, polls, whole = False, 0, dict[tuple[int, int], bool]()
    found: list[str] = []
    while not stop.exists():
        polls += 1
        versions = list_version_directories(place.base)
        if seen and not versions:
            found.append("the directory was empty")
        seen = seen or bool(versions)
        for number, names in versions.items():
            path = place.base / names[0]
            try:
                key = (number, path.stat().st_ino)
                if key not in whole:
                    expected = place.expected(number).read_text(encoding="utf-8")
                    whole[key] = digest_path(path).manifest == expected
                good = whole[key]
            except Exception as error:  # noqa: BLE001 - whatever it is, a server would stumble
                good = False
                detail = repr(error)
            else:
                detail = "its bytes are others"
            # A server that is reading while the version is put away finds it gone, too.
            if (len(names) > 1 or not good) and path.exists():
                found.append(f"version {number} was visible and not whole: {names}, {detail}")
        time.sleep(0.0005)
    report.write_text("\n".join([str(polls), *sorted(set(found))]), encoding="utf-8")


def start_reader(place: Place) -> int:
    """Starts the reader as a fork."""
    pid = os.fork()
    if pid == 0:
        try:
            poll(place, place.folder / "stop", place.folder / "report")
        finally:
            os._exit(0)
    return pid


def wait(
    workers: Sequence[Worker],
    rng: random.Random,
    score: Score,
    *,
    at_random_within: float = 0.4,
    reach_within: float = _SECONDS_TO_REACH_A_STEP,
    most_lines: int = sys.maxsize,
) -> None:
    """Waits until the workers have died, and sees to it where time is up or much is done."""
    started = time.monotonic()
    deadlines = {
        worker.pid: rng.uniform(0.0, at_random_within) if worker.step == RANDOM else reach_within
        for worker in workers
    }
    running = {worker.pid: worker for worker in workers}
    while running:
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                take_down(running.pop(pid), status, score)
            elif time.monotonic() - started > deadlines[pid] or _lines(running[pid]) >= most_lines:
                running[pid].step = RANDOM
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def _lines(worker: Worker) -> int:
    return worker.log.read_bytes().count(b"\n") if worker.log.exists() else 0


def take_down(worker: Worker, status: int, score: Score) -> None:
    """Notes what a worker has said, and that it was killed."""
    text = worker.log.read_text(encoding="utf-8") if worker.log.exists() else ""
    lines = text.split("\n")[:-1]
    if os.WIFSIGNALED(status):
        score.kills[worker.step] += 1
    else:
        score.violations.append(f"a worker was not killed {worker.step}: {lines[-1:]}")
    for line in lines:
        word, kind, *rest = line.split()
        score.counts[f"{word} {kind}" if word == "done" else word] += 1
        if word == "done" and int(rest[1]):
            score.done[rest[0]] = int(rest[1])


def check(place: Place, done: dict[str, int]) -> dict[str, Any]:
    """Reconciles, and returns what is wrong then."""
    wrong: list[str] = []
    with ModelRegistry.open(place.uri) as registry:
        wrong += [str(finding) for finding in registry.fsck().findings]
        if not registry.latest_number(MODEL):
            return {"violations": [*wrong, *(f"{token} is lost" for token in done)]}
        first = reconcile(registry, place.base, MODEL)
        wrong += [f"reconcile left: {problem}" for problem in first.problems]
        again = reconcile(registry, place.base, MODEL, hash_all=True)
        wrong += [f"reconcile did more when repeated: {action}" for action in again.actions]
        head = registry.head(MODEL)
        now = head.deployments.get(str(place.base))
        visible = list_version_directories(place.base)
        if head.unfinished:
            wrong.append(f"unfinished after reconcile: {head.unfinished}")
        if max(visible, default=None) != (now.number if now else None):
            wrong.append(f"{now} should serve, and a server sees {list(visible)}")
        wrong += [f"left in the trash: {left}" for left in Shelf(place.base).trashed()]
        if (place.base / ".tfx_registry" / "staging").exists():
            wrong.append("staging was left behind")
        wrong += lost(registry, done)
    return {"violations": wrong}


def lost(registry: ModelRegistry, done: dict[str, int]) -> Iterator[str]:
    """Names what was acknowledged and is not in the log, once."""
    made = Counter(event.reason for event in registry.history(MODEL) if is_deployment(event))
    for token, number in done.items():
        if made[token] != 1:
            yield f"{token}, acknowledged as {number}, is there {made[token]} times"


def is_deployment(event: Any) -> bool:
    """Whether an event put a version into service."""
    return event.kind in ("promoted", "rolled_back")


def plan(rng: random.Random, named: Sequence[str] = STEPS) -> Iterator[str]:
    """Says where the next worker is to be killed."""
    while True:
        steps = [*named, *[RANDOM] * 8]
        rng.shuffle(steps)
        yield from steps


def run(kills: int, seed: int, folder: Path) -> Score:
    """Kills workers.

    Args:
        kills: How many, at least.
        seed: Of everything random but the moments.
        folder: An empty folder.

    Returns:
        What happened.
    """
    rng, score, place = random.Random(seed), Score(), Place(folder)
    (folder / "expected").mkdir()
    (folder / "models").mkdir()
    steps = plan(rng)
    reader = start_reader(place)
    rounds = 0
    try:
        while sum(score.kills.values()) < kills and not score.violations:
            rounds += 1
            workers = [start(place, f"r{rounds}w{i}", next(steps), rng.random()) for i in range(2)]
            wait(workers, rng, score)
            if rounds % 2 == 0:
                score.violations += in_a_fork(lambda: check(place, score.done))["violations"]
        score.violations += in_a_fork(lambda: check(place, score.done))["violations"]
    finally:
        (folder / "stop").touch()
        os.waitpid(reader, 0)
    polls, *seen = (folder / "report").read_text(encoding="utf-8").split("\n")
    score.polls = int(polls)
    score.violations += seen
    return score


def main() -> int:
    """Runs it, and prints one line for each violation and one of summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=200, help="at least so many")
    parser.add_argument("--seed", type=int, default=1, help="of the steps")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # that recovery is at work is what is wanted here
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        score = run(options.kills, options.seed, Path(folder))
    return tell(score, "a serving directory", STEPS, time.monotonic() - started)


def tell(score: Score, of: str, named: Sequence[str], seconds: float) -> int:
    """Prints what happened; 1 where something was broken."""
    for violation in score.violations:
        print(f"violation: {violation}")  # noqa: T201 - it talks to a person
    total, at_random = sum(score.kills.values()), score.kills[RANDOM]
    work_done = ", ".join(
        f"{count} {kind.removeprefix('done ')}" for kind, count in sorted(score.counts.items())
    )
    print(  # noqa: T201 - it talks to a person
        f"torture of {of}: {total} kills ({total - at_random} at "
        f"{len(set(score.kills) - {RANDOM})} of {len(named)} named steps, {at_random} at random), "
        f"{work_done}, {score.polls} polls, {len(score.violations)} violations, "
        f"{seconds:.0f} s"
    )
    return 1 if score.violations else 0


if __name__ == "__main__":
    sys.exit(main())
