"""One process of the races in test_serving_processes.py.

python serving_worker.py act URI BASE GATE WHAT NUMBER    does one thing once GATE exists
python serving_worker.py watch URI BASE GATE STOP         polls as a server does until STOP exists
python serving_worker.py hold URI BASE                    takes the lock and never lets go

What it found is printed as one line of JSON.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

from tfx_registry import ModelRegistry, Retention, promote, prune, reconcile, rollback
from tfx_registry.digest import digest_path
from tfx_registry.errors import ConflictError, RefusedError
from tfx_registry.serving import ServingDirectory, list_version_directories

MODEL = "penguin"


def say(found: object) -> None:
    """Prints one line."""
    print(json.dumps(found), flush=True)  # noqa: T201 - the test reads it


def act(uri: str, base: str, gate: str, what: str, text: str) -> None:
    """Does one thing, and says why it was refused, or ""."""
    number = int(text)
    with ModelRegistry.open(uri) as registry:
        registry.head(MODEL)
        say("ready")
        while not Path(gate).exists():
            time.sleep(0.001)
        try:
            if what == "promote":
                promote(registry, MODEL, number, base, reason=what)
            elif what == "rollback":
                rollback(registry, MODEL, base, number, reason=what)
            elif what == "prune":
                prune(registry, MODEL, base, Retention(number), dry_run=False)
            else:
                reconcile(registry, base)
        except (RefusedError, ConflictError) as error:
            say(str(error))
        else:
            say("")


def watch(uri: str, base: str, gate: str, stop: str) -> None:
    """Says what a server may not see."""
    with ModelRegistry.open(uri) as registry:
        digests = {v.number: v.facts.manifest for v in registry.list_versions(MODEL)}
    wrong = set()
    say("ready")
    polls = 0
    while not Path(stop).exists() or not polls:
        polls += Path(gate).exists()
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
    say(sorted(wrong))


def hold(_: str, base: str) -> None:
    """Takes the lock of a directory, makes a mess in staging, and waits to be killed."""
    with ServingDirectory.lock(base):
        (Path(base) / ".tfx_registry" / "staging" / "half").mkdir(parents=True)
        say("ready")
        signal.pause()


if __name__ == "__main__":
    {"act": act, "watch": watch, "hold": hold}[sys.argv[1]](*sys.argv[2:])
