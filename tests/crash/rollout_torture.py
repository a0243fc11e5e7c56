"""Kills processes at every step of rollouts by a model config, and counts what they broke.

    .venv/bin/python tests/crash/rollout_torture.py [--kills 200] [--seed 1]

Each round starts a worker that promotes, puts versions on trial, ends trials and rolls back in any
order, until it is killed: at a named step (a function that is about to be called or has returned)
or at any moment. An emulated model server follows the config all the while, and a reader asks it
without a pause. After each kill:

- what serves has had its label at every moment, and the server never refused a file;
- what was acknowledged is in the log; log and state are equal;
- after reconcile the file says what the log says, the server follows, and reconciling again does
  nothing.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfx_registry import ModelRegistry, reconcile, rollback
from tfx_registry.errors import (
    ConflictError,
    ModelServerError,
    NotFoundError,
    NotServedError,
    RefusedError,
)
from tfx_registry.operations import (
    Servers,
    abort,
    label_moves,
    promote_by_config,
    promote_canary,
    rollout_steps,
)
from tfx_registry.registry import fold
from tfx_registry.serving import replacing
from tfx_registry.serving.model_config_file import ModelConfigFile
from tfx_registry.serving.status_client import ModelServer
from tfx_registry.serving.verification import wait_until_labelled
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.process import free_port

MODEL = "penguin"
CALLS: tuple[tuple[Any, str], ...] = (
    (ModelRegistry, "record_rollout"),
    (ModelRegistry, "record_canary"),
    (ModelRegistry, "record_config_promotion"),
    (ModelRegistry, "record_abort"),
    (ModelRegistry, "record_rollback"),
    (ModelRegistry, "record_servers"),
    (label_moves, "write_entry"),
    (rollout_steps, "check_servers"),
    (ModelConfigFile, "_swap"),
    (replacing, "exchange"),
    (os, "fsync"),
)
STEPS = [f"{when} {name}" for _, name in CALLS for when in ("before", "after")]
RANDOM = "at random"
_START_SECONDS = 120.0  # to import everything, on a busy machine
_SECONDS_TO_REACH_A_STEP = 10.0
_FOLLOW_SECONDS = 30.0


class Torture:
    """A registry, a directory, a config and a server, and what happened to them."""

    def __init__(self, folder: Path, seed: int, url: str = "") -> None:
        self.rng = random.Random(seed)
        self.folder = folder
        self.uri = f"sqlite:///{folder}/registry.sqlite"
        self.base, self.config = folder / "serving", folder / "models.config"
        self.url = url or f"http://127.0.0.1:{free_port()}"
        self.servers = Servers((self.url,), deadline_seconds=60, poll_seconds=0.01)
        self.client = ModelServer(self.url, MODEL)
        self.kills: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.polls = 0

    def version(self, registry: ModelRegistry) -> int:
        """Registers a version that may be promoted."""
        token = uuid.uuid4().hex
        path = write_minimal_model(self.folder / "models" / token, token)
        number = registry.register(MODEL, path).number
        registry.override(MODEL, number, reason="torture", expires=datetime.timedelta(1))
        return number

    def begin(self) -> subprocess.Popen[bytes]:
        """Starts the server with an empty file, and lets a first version serve."""
        self.config.touch()
        server = subprocess.Popen(
            [sys.executable, "-m", "tfx_registry.testing.model_server",
             "--model_config_file", str(self.config),
             "--model_config_file_poll_wait_seconds", "0.01",
             "--file_system_poll_wait_seconds", "0.01", "--max_num_load_retries", "0",
             "--rest_api_port", self.url.rpartition(":")[2]],
            stderr=(self.folder / "server.log").open("wb"),
        )  # fmt: skip
        with ModelRegistry.open(self.uri) as registry:
            number = self.version(registry)
            promote_by_config(registry, MODEL, number, self.base, self.config, servers=self.servers)
        return server

    def work(self) -> None:
        """Does one thing after the other; says what was acknowledged."""
        kinds: dict[str, Callable[[ModelRegistry, str], int]] = {
            "promote": lambda r, t: (
                promote_by_config(
                    r, MODEL, self.version(r), self.base, reason=t, servers=self.servers
                ).version.number
            ),
            "canary": lambda r, t: (
                promote_by_config(
                    r,
                    MODEL,
                    self.version(r),
                    self.base,
                    canary=True,
                    reason=t,
                    servers=self.servers,
                ).version.number
            ),
            "stable": lambda r, t: (
                promote_canary(r, MODEL, self.base, reason=t, servers=self.servers).version.number
            ),
            "abort": lambda r, t: (
                abort(r, MODEL, self.base, reason=t, servers=self.servers).version.number
            ),
            "rollback": lambda r, t: (
                rollback(r, MODEL, self.base, reason=t, servers=self.servers).version.number
            ),
        }
        with ModelRegistry.open(self.uri) as registry:
            sys.stdout.write("ready worker -\n")
            sys.stdout.flush()
            while True:
                kind = self.rng.choices(list(kinds), [4, 4, 3, 2, 2])[0]
                token = uuid.uuid4().hex
                try:
                    kinds[kind](registry, token)
                except (RefusedError, NotFoundError, ConflictError) as error:
                    if isinstance(error, NotServedError):
                        raise
                    sys.stdout.write(f"refused {kind} -\n")
                else:
                    sys.stdout.write(f"done {kind} {token}\n")
                sys.stdout.flush()

    def round(self, index: int, step: str) -> None:
        """Starts a worker, waits for its end, and checks."""
        log = self.folder / f"{index}.log"
        command = [sys.executable, __file__, "--worker", str(self.folder), self.url, step]
        with log.open("wb") as out:
            worker = subprocess.Popen(
                [*command, "--seed", str(self.rng.randrange(2**32))], stdout=out
            )
        self.wait_until_ready(worker, log)
        limit = self.rng.uniform(0.0, 3.0) if step == RANDOM else _SECONDS_TO_REACH_A_STEP
        try:
            worker.wait(limit)
        except subprocess.TimeoutExpired:
            step = RANDOM
            worker.kill()
            worker.wait()
        lines = log.read_text(encoding="utf-8").split("\n")[:-1]
        if worker.returncode == -signal.SIGKILL:
            self.kills[step] += 1
        else:
            self.violations.append(f"a worker was not killed {step}: {lines[-1:]}")
        done = {}
        for line in lines:
            word, kind, *rest = line.split()
            self.counts[f"{word} {kind}"] += 1
            if word == "done":
                done[rest[0]] = kind
        self.check(done)

    @staticmethod
    def wait_until_ready(worker: subprocess.Popen[bytes], log: Path) -> None:
        """Waits until a worker begins: killed before, it would have done nothing."""
        deadline = time.monotonic() + _START_SECONDS
        while not log.stat().st_size and worker.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)

    def check(self, done: dict[str, str]) -> None:
        """Reconciles, and notes what is wrong then."""
        with ModelRegistry.open(self.uri) as registry:
            reconcile(registry, self.base, MODEL)
            again = reconcile(registry, self.base, MODEL)
            head, events = registry.head(MODEL), registry.history(MODEL)
        wrong = [*again.problems, *again.actions]
        if fold.replay(events).head != head:
            wrong.append("the head is not what follows from the log")
        place = str(self.base)
        recorded = {"stable": head.deployments[place].number}
        if place in head.canaries:
            recorded["canary"] = head.canaries[place].number
        (entry,) = ModelConfigFile.peek(self.config)
        if dict(entry.labels) != recorded:
            wrong.append(f"the file says {dict(entry.labels)}, the log {recorded}")
        reasons = Counter(event.reason for event in events)
        wrong += [f"{kind} {token} is lost" for token, kind in done.items() if not reasons[token]]
        for label in ("stable", "canary"):
            try:
                wait_until_labelled(
                    [self.client], label, recorded.get(label), deadline_seconds=_FOLLOW_SECONDS
                )
            except NotServedError as error:  # noqa: PERF203 - both labels are looked at
                wrong.append(str(error))
        self.violations += wrong

    def read(self, stop: threading.Event) -> None:
        """Asks the server for what serves, again and again."""
        while not stop.is_set():
            self.polls += 1
            try:
                if self.client.label("stable") is None:
                    self.violations.append("nothing was stable")
            except ModelServerError as error:
                self.violations.append(str(error))
            time.sleep(0.005)


def _die_at(step: str, countdown: int) -> None:
    when, _, name = step.partition(" ")
    owner = next(owner for owner, known in CALLS if known == name)
    original, left = getattr(owner, name), [countdown]

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return original(*args, **kwargs)
        finally:
            if left[0] == 0 and when == "after":
                os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, wrapper)


def main() -> int:
    """Runs the torture; 1 where something was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.worker:
        folder, url, step = options.worker
        torture = Torture(Path(folder), options.seed, url)
        if step != RANDOM:
            _die_at(step, torture.rng.choice([1, 1, 2, 3]))
        torture.work()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        torture = Torture(Path(folder), options.seed)
        server = torture.begin()
        stop = threading.Event()
        reader = threading.Thread(target=torture.read, args=(stop,))
        try:
            steps: list[str] = []
            reader.start()
            while sum(torture.kills.values()) < options.kills and not torture.violations:
                if not steps:
                    steps = [*STEPS, *[RANDOM] * len(STEPS)]
                    torture.rng.shuffle(steps)
                torture.round(sum(torture.kills.values()), steps.pop())
        finally:
            stop.set()
            reader.join()
            server.terminate()
            server.wait()
        said = (Path(folder) / "server.log").read_text(encoding="utf-8")
        torture.violations += re.findall(r"(?m)^WARNING .*$", said)
    named = [step for step in torture.kills if step != RANDOM]
    done = sum(count for what, count in torture.counts.items() if what.startswith("done"))
    at_random = torture.kills[RANDOM]
    sys.stdout.write(
        f"torture of rollouts: {sum(torture.kills.values())} kills ({at_random} at random, "
        f"the others at {len(named)} of {len(STEPS)} named steps), {done} operations done, "
        f"{torture.polls} polls, {len(torture.violations)} violations, "
        f"{time.monotonic() - started:.0f} s\n"
    )
    for violation in torture.violations[:20]:
        sys.stdout.write(f"violation: {violation}\n")
    return 1 if torture.violations else 0


if __name__ == "__main__":
    sys.exit(main())
