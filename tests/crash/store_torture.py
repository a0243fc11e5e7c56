"""Kills processes at every step of what they do in an object store, and counts what they broke.

    .venv/bin/python tests/crash/store_torture.py [--kills 200] [--seed 1]

The store is moto's S3, in a process of its own. As in `serving_torture.py`, workers promote, roll
back, prune and reconcile until they are killed: at a named step (a function that is about to be
called or has returned; each changing request is one), at any request, or when they have done much.
In every third round two of them work at the same time, and take turns by a lease that is over after
two seconds, so that one takes over from the other one that has died or is only slow. A reader lists
the directory all the while:

- whatever has a `saved_model.pb` is a version, whole, with the registered bytes, at every moment;
- there is always such a version once something has served;
- what was acknowledged is in the log, once; log and state are equal;
- after reconcile nothing is unfinished, what serves by the registry is what a server loads, and
  reconciling again does nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving_torture import MODEL, RANDOM, Place, Score, die_at, lost, plan, start, tell, wait
from torture import in_a_fork

from tfx_registry import ModelRegistry, reconcile
from tfx_registry.errors import RegistryError
from tfx_registry.operations import status
from tfx_registry.operations.objects import recovery, rollbacks
from tfx_registry.saved_model import SAVED_MODEL_FILE
from tfx_registry.serving.layout import parse_version_name
from tfx_registry.serving.objects import ObjectDirectory, ObjectUrl, ObjectView, Seen
from tfx_registry.serving.objects.bucket import Bucket
from tfx_registry.serving.objects.lease import Lease
from tfx_registry.serving.objects.records import VersionRecord
from tfx_registry.serving.objects.s3 import S3Bucket
from tfx_registry.testing.object_stores import S3Server

URL = "s3://models/serving/penguin"
LOCK = "serving/penguin/.tfx_registry/lock"

#: Where a process can be told to die: the owner of a function, and its name.
CALLS: tuple[tuple[Any, str], ...] = (
    (ModelRegistry, "record_intent"),
    (ModelRegistry, "record_promotion"),
    (ModelRegistry, "record_rollback_intent"),
    (ModelRegistry, "record_rollback"),
    (ModelRegistry, "record_bytes_removed"),
    (ModelRegistry, "drop_intent"),
    (ObjectDirectory, "store"),
    (ObjectDirectory, "show"),
    (ObjectDirectory, "hide"),
    (ObjectDirectory, "drop"),
    (ObjectDirectory, "collect"),
    (Bucket, "create"),
    (Bucket, "copy"),
    (Bucket, "upload"),
    (S3Bucket, "delete"),
    (Lease, "acquire"),
    (Lease, "release"),
    (recovery, "_finish_promotion"),
    (recovery, "_finish_rollback"),
    (rollbacks, "put_newer_away"),
)
STEPS = [f"{when} {name}" for _, name in CALLS for when in ("before", "after")]

_LEASE_VARIABLE = "TFX_REGISTRY_OBJECTS_LEASE_SECONDS"
_LEASE_SECONDS = 2.0
#: A step that recovery alone reaches may not come up; then a worker dies after so many operations.
_MOST_OPERATIONS = 3
_LONGEST_LIFE_SECONDS = 60.0
#: About as many requests as so many operations need.
_MOST_REQUESTS = 120
_POLL_SECONDS = 0.05
#: A listing of more objects takes several requests, and is of no one instant.
_ONE_LISTING = 1000


@dataclass(frozen=True)
class StorePlace(Place):
    """Where everything is; the serving directory lies in the store."""

    @property
    def base(self) -> str:  # type: ignore[override]
        """Address of the serving base directory."""
        return URL


def arm(step: str, rng: random.Random) -> None:
    """Arranges that this process dies at a step, or at any request."""
    if step == RANDOM:
        when = rng.choice(["before", "after"])
        die_at(f"{when} _try", rng.randint(1, _MOST_REQUESTS), [(Bucket, "_try")])
    else:
        die_at(step, rng.choice([1, 1, 2, 3]), CALLS)


class Reader:
    """Looks at the store as a server does, and notes what it may not see."""

    def __init__(self, place: StorePlace) -> None:
        self.place = place
        self.view = ObjectView.open(ObjectUrl.parse(URL))
        self.records: dict[int, VersionRecord] = {}
        self.served = False
        self.polls = 0
        self.found: set[str] = set()

    def poll(self) -> None:
        """Looks once."""
        there = self.loadable()
        self.polls += 1
        if there is None:
            return
        if self.served and not there:
            self.found.add("no version could be loaded")
        self.served = self.served or bool(there)
        for seen in there:
            self.look_at(seen)

    def loadable(self) -> list[Seen] | None:
        """Lists what a server would begin to load, all of one instant; None where it is not."""
        prefix = self.view.url.key("")
        objects = self.view.bucket.objects(prefix)
        if len(objects) >= _ONE_LISTING:
            return None
        names: dict[str, dict[str, Any]] = {}
        for stored in objects:
            name, _, path = stored.key[len(prefix) :].partition("/")
            names.setdefault(name, {})[path] = stored
        return [
            Seen(name, files)
            for name, files in names.items()
            if parse_version_name(name) is not None and SAVED_MODEL_FILE in files
        ]

    def look_at(self, seen: Seen) -> None:
        """Compares a version with its record."""
        number = parse_version_name(seen.name)
        assert number is not None
        if number not in self.records:
            manifest = self.place.expected(number).read_text(encoding="utf-8")
            record = self.view.record(number, manifest)
            if record is None:
                if any(again.name == seen.name for again in self.loadable() or []):
                    self.found.add(f"version {number} could be loaded, and has no record")
                return
            self.records[number] = record
        wrong = self.view.difference(seen, self.records[number])
        if wrong:
            self.found.add(f"version {number} could be loaded and was not whole: {wrong}")


def start_reader(place: StorePlace) -> int:
    """Starts the reader as a fork."""
    pid = os.fork()
    if pid == 0:
        try:
            reader = Reader(place)
            while not (place.folder / "stop").exists():
                reader.poll()
                time.sleep(_POLL_SECONDS)
            lines = [str(reader.polls), *sorted(reader.found)]
        except BaseException as error:  # noqa: BLE001 - the parent reports it
            lines = ["0", f"the reader failed: {type(error).__name__}: {error}"]
        (place.folder / "report").write_text("\n".join(lines), encoding="utf-8")
        os._exit(0)
    return pid


def free_lock() -> dict[str, Any]:
    """Ends the turn of whoever has died, so that nobody waits for the lease."""
    ObjectView.open(ObjectUrl.parse(URL)).bucket.delete([LOCK])
    return {"violations": []}


def check(place: StorePlace, done: dict[str, int]) -> dict[str, Any]:
    """Reconciles, and returns what is wrong then."""
    free_lock()
    # Nobody else is at work any more, and on a busy machine two seconds are soon over.
    os.environ[_LEASE_VARIABLE] = str(_LONGEST_LIFE_SECONDS)
    wrong: list[str] = []
    with ModelRegistry.open(place.uri) as registry:
        wrong += [str(finding) for finding in registry.fsck().findings]
        if not registry.latest_number(MODEL):
            return {"violations": [*wrong, *(f"{token} is lost" for token in done)]}
        try:
            first = reconcile(registry, URL, MODEL)
            again = reconcile(registry, URL, MODEL, hash_all=True)
            wrong += [f"reconcile left: {problem}" for problem in first.problems]
            wrong += [f"reconcile did more when repeated: {action}" for action in again.actions]
            found = status(registry, URL, MODEL, hash_all=True)
            wrong += [f"status: {problem}" for problem in found.problems]
            serves = found.deployment.number if found.deployment else None
            if found.loads != serves:
                wrong.append(f"{serves} should serve, and a server loads {found.loads}")
        except RegistryError as error:
            wrong.append(f"reconcile failed: {error}")
        if registry.head(MODEL).unfinished:
            wrong.append(f"unfinished after reconcile: {registry.head(MODEL).unfinished}")
        wrong += lost(registry, done)
    return {"violations": wrong}


def run(kills: int, seed: int, folder: Path) -> Score:
    """Kills workers.

    Args:
        kills: How many, at least.
        seed: Of everything random but the moments.
        folder: An empty folder.

    Returns:
        What happened.
    """
    rng, score, place = random.Random(seed), Score(), StorePlace(folder)
    (folder / "expected").mkdir()
    (folder / "models").mkdir()
    steps = plan(rng, STEPS)
    reader = start_reader(place)
    rounds, checked = 0, 0
    try:
        while sum(score.kills.values()) < kills and not score.violations:
            rounds += 1
            count = 2 if rounds % 3 == 0 else 1
            workers = [
                start(place, f"r{rounds}w{i}", next(steps), rng.random(), arm) for i in range(count)
            ]
            wait(
                workers, rng, score, at_random_within=_LONGEST_LIFE_SECONDS,
                reach_within=_LONGEST_LIFE_SECONDS, most_lines=_MOST_OPERATIONS,
            )  # fmt: skip
            if rounds % 2:
                score.violations += in_a_fork(free_lock)["violations"]
            else:
                score.violations += in_a_fork(lambda: check(place, score.done))["violations"]
                checked = rounds
        if checked != rounds:
            score.violations += in_a_fork(lambda: check(place, score.done))["violations"]
    finally:
        (folder / "stop").touch()
        os.waitpid(reader, 0)
    polls, *seen = (folder / "report").read_text(encoding="utf-8").split("\n")
    score.polls = int(polls)
    score.violations += seen
    return score


def serve() -> int:
    """Is the store until standard input ends."""
    with S3Server() as server:
        server.make_bucket("models")
        sys.stdout.write(json.dumps(server.environment) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    return 0


def main() -> int:
    """Runs it, and prints one line for each violation and one of summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=200, help="at least so many")
    parser.add_argument("--seed", type=int, default=1, help="of the steps")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve()
    logging.disable(logging.WARNING)  # that recovery is at work is what is wanted here
    started = time.monotonic()
    with (
        subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # moto fails at reads of what is being deleted: tried again
        ) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        assert server.stdout is not None
        assert server.stdin is not None
        os.environ.update(json.loads(server.stdout.readline()))
        os.environ["TFX_REGISTRY_OBJECTS_BACKOFF_SECONDS"] = "0.01"
        os.environ[_LEASE_VARIABLE] = str(_LEASE_SECONDS)
        try:
            score = run(options.kills, options.seed, Path(folder))
        finally:
            server.stdin.close()
    return tell(score, "an object store", STEPS, time.monotonic() - started)


if __name__ == "__main__":
    sys.exit(main())
