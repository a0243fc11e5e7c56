"""Fills a registry with many versions of one model, for the benchmarks.

    python benchmarks/generate_registry.py sqlite:///big.sqlite --versions 100000
    python benchmarks/generate_registry.py sqlite:///peer.sqlite --versions 10000 --mlflow

The log that is made is a valid one: every event is folded by the registry's own code and appended
through the store's own `append`, and at the end the whole log is read back, folded again and
compared with what is stored. Left out is what costs time and is not needed for that: reading a
model from disk for each version, and looking for other writers.

A SQLite file is made in memory and moved to its place, where the machine offers that.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow_environment
import payload

from tfx_registry.inspection import describe_model
from tfx_registry.records import Head, Metric, ModelFacts, Origin
from tfx_registry.registry import fold
from tfx_registry.registry.events import AliasSet, Event, Payload, Registered
from tfx_registry.registry.mlmd_store import MlmdStore
from tfx_registry.registry.store import Store
from tfx_registry.registry.uri import RegistryUri
from tfx_registry.registry.writer import format_time

__all__ = ["fill", "generate", "generate_mlflow", "verify"]

_MEMORY = Path("/dev/shm")
_BLOCK = 500
_BEGIN = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
_LIBRARIES = {"keras": "3.15.0", "ml-metadata": "1.16.0", "numpy": "1.26.4", "tensorflow": "2.16.2"}


def generate(uri: str, versions: int, *, check: bool = True) -> None:
    """Makes a registry.

    Args:
        uri: Any registry URI but "memory://"; a SQLite file must not exist yet, a database must
            be empty.
        versions: How many.
        check: Whether the log is read back and compared with the state.
    """
    with _made_in_memory(uri) as place:
        store = MlmdStore(RegistryUri.parse(place), create=True)
        fill(store, versions)
        if check:
            verify(store)
        store.close()


def generate_mlflow(uri: str, versions: int) -> None:
    """Makes an MLflow registry with the same number of versions, through MLflow's own client.

    Args:
        uri: Of a SQLite file that does not exist yet.
        versions: How many.
    """
    with _made_in_memory(uri) as place:
        script = Path(__file__).with_name("subject_mlflow.py")
        command = [mlflow_environment.python(), str(script), place, "--fill", str(versions)]
        subprocess.run(command, check=True)


def fill(store: Store, versions: int) -> None:
    """Appends `versions` registrations, and points `payload.ALIAS` at the version in the middle."""
    with tempfile.TemporaryDirectory() as folder:
        facts = describe_model(payload.make_model(Path(folder), "template"))
    head = None
    for number in range(1, versions + 1):
        head = _append(store, head, _registration(number, facts), f"register {number}")
    _append(store, head, AliasSet(payload.ALIAS, (versions + 1) // 2), "alias")


def verify(store: Store) -> None:
    """Folds the whole log again and compares with the stored state.

    Raises:
        SystemExit: They differ.
    """
    head = store.read_head(payload.MODEL)
    assert head is not None
    replayed = fold.replay(
        event
        for first in range(1, head.seq + 1, _BLOCK)
        for event in store.read_events(payload.MODEL, first, first + _BLOCK - 1)
    )
    if replayed.head != head:
        raise SystemExit("the head is not what the log says")
    for first in range(1, head.latest + 1, _BLOCK):
        numbers = range(first, min(first + _BLOCK, head.latest + 1))
        stored = store.read_versions(payload.MODEL, numbers)
        if stored != {number: replayed.versions[number] for number in numbers}:
            raise SystemExit(f"versions from {first} on are not what the log says")


def _registration(number: int, facts: ModelFacts) -> Registered:
    return Registered(
        number=number,
        facts=dataclasses.replace(
            facts,
            uri=payload.uri(number),
            digest=payload.digest(number),
            manifest=payload.digest(number, "manifest"),
        ),
        origin=Origin(
            pipeline_name="churn-nightly",
            run_id=f"run-{number}",
            node_id="ModelRegistrar",
            code_revision=payload.digest(number // 50, "code")[:40],
            libraries=_LIBRARIES,
        ),
        hyperparameters=payload.hyperparameters(number),
        metrics=tuple(Metric(name, value) for name, value in payload.metrics(number).items()),
        description=payload.description(number),
        labels=payload.labels(number),
    )


def _append(store: Store, head: Head | None, what: Payload, token: str) -> Head:
    seq = head.seq + 1 if head else 1
    event = Event(
        model=payload.MODEL,
        seq=seq,
        time=format_time(_BEGIN + datetime.timedelta(minutes=seq)),
        actor="nightly",
        token=token,
        previous=head.digest if head else "",
        payload=what,
    )
    numbers = fold.touched(head, what)
    versions = store.read_versions(payload.MODEL, numbers) if numbers else {}
    after = fold.apply(fold.Snapshot(head, versions), event)
    assert after.head is not None
    store.append(event, after.head, list(after.versions.values()))
    return after.head


@contextmanager
def _made_in_memory(uri: str) -> Iterator[str]:
    """Gives a URI to fill in place of `uri`, and moves the file when it is done."""
    prefix = "sqlite:///"
    if not uri.startswith(prefix):
        yield uri
        return
    path = Path(uri[len(prefix) :])
    if path.exists():
        raise SystemExit(f"{path} exists already")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else path.parent) as folder:
        made = Path(folder) / "made.sqlite"
        yield f"{prefix}{made}"
        shutil.move(made, path)


def main() -> None:
    """Fills a registry."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("uri", help="URI of the registry to make")
    parser.add_argument("--versions", type=int, default=10_000, help="default: %(default)s")
    parser.add_argument("--mlflow", action="store_true", help="make an MLflow registry instead")
    parser.add_argument("--no-check", action="store_true", help="do not read the log back")
    options = parser.parse_args()
    if options.versions < 3:
        parser.error("--versions must be at least 3")
    start = time.perf_counter()
    if options.mlflow:
        generate_mlflow(options.uri, options.versions)
    else:
        generate(options.uri, options.versions, check=not options.no_check)
    print(f"{options.versions} versions in {time.perf_counter() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
