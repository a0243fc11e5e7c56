"""Kills writers at every step of every mutation, and at random, and servers; counts what broke.

    .venv/bin/python tests/crash/torture.py [--on sqlite,mysql,postgresql,grpc] [--kills 150]

Each round starts two writers on one model and kills both: at a named step of a named mutation (a
function that is about to be called or has returned), in the middle of the one call that writes, or
at any moment. In every third round on a server, that is killed, too, and started again. Then
everything is checked: no version lost, duplicate or missing in between, every acknowledged
operation there once, log and state equal. The next round first repeats the registrations that were
not acknowledged.
"""

from __future__ import annotations

import argparse
import contextlib
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

from torture_writer import MODEL, NAMED_STEPS, Step, Writer

from tfx_registry import ModelRegistry
from tfx_registry.registry.events import PublishStarted, Registered
from tfx_registry.testing import (
    DatabaseServer,
    GrpcServerProcess,
    MariaDbServer,
    PostgreSqlServer,
)

SERVERS: dict[str, type[DatabaseServer]] = {
    "mysql": MariaDbServer,
    "postgresql": PostgreSqlServer,
    "grpc": GrpcServerProcess,
}

_HUNG_SECONDS = 200.0
#: A server dies in each of so many rounds.
_SERVER_ROUND = 3


@dataclass
class Running:
    """A writer that runs until it is killed.

    Attributes:
        pid: Its process id.
        step: Where it is to be killed.
        stream: What it says, line after line.
        text: What it has said so far.
    """

    pid: int
    step: Step
    stream: int
    text: bytes = b""


@dataclass
class Score:
    """What happened so far.

    Attributes:
        kills: How often a writer was killed, by step.
        server_kills: How often the server was.
        acknowledged: Version of each operation that was acknowledged, by "KIND KEY".
        pending: Registrations that were begun and never acknowledged.
        violations: What must not be.
        events: How many events there are.
    """

    kills: Counter[Step] = field(default_factory=Counter)
    server_kills: int = 0
    acknowledged: dict[str, int] = field(default_factory=dict)
    pending: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    events: int = 0

    def __str__(self) -> str:
        """One line of summary."""
        total, at_random = sum(self.kills.values()), self.kills[Step()]
        named = len([step for step in self.kills if step.function])
        return (
            f"{total} kills of writers ({total - at_random} at {named} of {len(NAMED_STEPS)} named "
            f"steps, {at_random} at random), {self.server_kills} of the server, "
            f"{len(self.acknowledged)} operations acknowledged, {self.events} events, "
            f"{len(self.violations)} violations"
        )


def start(
    uri: str, path: Path, name: str, step: Step, pending: Sequence[str], seed: float
) -> Running:
    """Starts a writer as a fork, which saves the imports."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return Running(pid, step, reading)
    try:
        os.close(reading)
        Writer(uri, path, name, step, writing, seed).run(pending)
    except BaseException as error:  # noqa: BLE001 - the parent reports it
        os.write(writing, f"failed {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(1)


def listen(writers: Sequence[Running], seconds: float, word: bytes = b"") -> list[Running]:
    """Collects what the writers say.

    Args:
        writers: The writers.
        seconds: How long at most.
        word: Until each has said that, or has ended; "" means until all have ended.

    Returns:
        Those that have not in time.
    """
    deadline = time.monotonic() + seconds
    open_streams = {w.stream: w for w in writers if not word or word not in w.text}
    while open_streams and (left := deadline - time.monotonic()) > 0:
        for stream in select.select(list(open_streams), [], [], left)[0]:
            data = os.read(stream, 65536)
            open_streams[stream].text += data
            if not data or (word and word in open_streams[stream].text):
                del open_streams[stream]
    return list(open_streams.values())


def end(writer: Running, score: Score) -> None:
    """Waits for a writer that was killed, and takes down what it said."""
    _, status = os.waitpid(writer.pid, 0)
    listen([writer], 5.0)
    os.close(writer.stream)
    *whole, _cut = writer.text.decode().split("\n")
    if os.WIFSIGNALED(status):
        score.kills[writer.step] += 1
    else:
        score.violations.append(f"a writer was not killed {writer.step}: {whole[-1:]}")
    for _, kind, key, number in (line.split() for line in whole if line.startswith("done ")):
        operation = f"{kind} {key}"
        if score.acknowledged.setdefault(operation, int(number)) != int(number):
            score.violations.append(
                f"{operation} was {score.acknowledged[operation]} and then {number}"
            )
    begun = [line.split()[2] for line in whole if line.startswith("begin register ")]
    score.pending += [key for key in begun if f"register {key}" not in score.acknowledged]


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
    made = Counter[str]()
    registered = {}
    for event in events:
        if isinstance(event.payload, Registered):
            made[f"register {event.token}"] += 1
            registered[f"register {event.token}"] = event.payload.number
        else:
            made[event.actor if isinstance(event.payload, PublishStarted) else event.reason] += 1
    violations += [f"{key} is there {n} times" for key, n in made.items() if n > 1]
    violations += [
        f"{key} was acknowledged as {number} and is lost"
        for key, number in acknowledged.items()
        if key not in made or registered.get(key, number) != number
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


def plan(rng: random.Random) -> Iterator[Step]:
    """Says where the next writer is to be killed; the first while they make the database."""
    yield from (Step(), Step())
    while True:
        steps = [*NAMED_STEPS, *[Step()] * (len(NAMED_STEPS) // 5)]
        rng.shuffle(steps)
        yield from steps


def run(uri: str, kills: int, seed: int, server: DatabaseServer | None = None) -> Score:
    """Kills writers.

    Args:
        uri: The registry.
        kills: How many, at least.
        seed: Of everything random.
        server: The server behind it, if that is to be killed, too.

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
            if server is not None and rounds % _SERVER_ROUND == 0:
                # Who has not been let in yet does not wait for a server.
                listen(writers, _HUNG_SECONDS, b"begin ")
                time.sleep(rng.uniform(0.0, 0.3))
                server.kill()
                server.start()
                score.server_kills += 1
            for writer in writers:
                if not writer.step.function:
                    time.sleep(rng.uniform(0.0, 0.1 if rounds == 1 else 0.6))
                    os.kill(writer.pid, signal.SIGKILL)
            hung = listen(writers, _HUNG_SECONDS)
            for writer in writers:
                if writer in hung:
                    score.violations.append(f"a writer hung, to be killed {writer.step}")
                    os.kill(writer.pid, signal.SIGKILL)
                end(writer, score)
            # What was pending stays so until somebody has acknowledged it.
            score.pending += [k for k in pending if f"register {k}" not in score.acknowledged]
            score.pending = sorted(set(score.pending))
            result = in_a_fork(lambda: check(uri, score.acknowledged))
            score.violations += result["violations"]
            score.events = result["events"]
    return score


@contextlib.contextmanager
def database(kind: str) -> Iterator[tuple[str, DatabaseServer | None]]:
    """Makes a database of a kind; gives its URI, and its server if it has one."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/torture.sqlite", None
        return
    with SERVERS[kind]() as server:
        os.environ["TFX_REGISTRY_PASSWORD"] = server.password
        yield server.uri("torture"), server
        os.environ.pop("TFX_REGISTRY_PASSWORD")


def main() -> int:
    """Runs it, and prints one line for each violation and one of summary for each database."""
    kinds = ("sqlite", *SERVERS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--on", default=",".join(kinds), help="kinds of databases (default: all)")
    parser.add_argument("--uri", default="", help="a registry of yours instead")
    parser.add_argument("--kills", type=int, default=0, help="at least so many on each; default: "
                        "enough for each named step once")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="repeats the same order")
    options = parser.parse_args()
    kills = options.kills or len(NAMED_STEPS) * 6 // 5 + 2
    violations = 0
    for kind in [options.uri] if options.uri else options.on.split(","):
        if kind not in (*kinds, options.uri):
            parser.error(f"{kind!r} is none of {', '.join(kinds)}")
        began = time.monotonic()
        with database(kind) if not options.uri else contextlib.nullcontext((kind, None)) as made:
            score = run(made[0], kills, options.seed, made[1])
        for violation in score.violations:
            print(f"violation on {kind}: {violation}")  # noqa: T201 - it talks to a person
        seconds = time.monotonic() - began
        print(f"torture on {kind}: {score}, {seconds:.0f} s", flush=True)  # noqa: T201 - as above
        violations += len(score.violations)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
