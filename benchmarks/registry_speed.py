"""How fast is the registry: beside MLflow, with many versions, and as one command?

    python benchmarks/registry_speed.py                  # all of it, some 10 minutes
    python benchmarks/registry_speed.py --only scale

Three tables in Markdown on stdout, one for each question:

- `peer`: each operation beside MLflow's SQL store, both on SQLite, both with 10,000 versions.
- `scale`: what each operation costs with 10, 1,000, 10,000 and 100,000 versions.
- `process`: `tfx-registry show model@alias` beside the same with MLflow, each a new process.

What is compared takes turns in many short rounds, so that whatever else the machine does meets
all of it. Each table works on fresh copies of the databases, which are made when they are missing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import generate_registry
import mlflow_environment
import payload
import report
from report import Sample
from subject import Subject

__all__ = [
    "CALLS",
    "copy_of",
    "measure",
    "measure_first",
    "peer_table",
    "process_table",
    "registry_of",
    "scale_table",
    "start",
]

HERE = Path(__file__).resolve().parent
_OURS = [sys.executable, str(HERE / "subject_tfx_registry.py")]

#: Our operation, the peer's, how many times faster ours has to be, what it is.
PEER: tuple[tuple[str, str, float | None, str], ...] = (
    ("get", "get", 20, "get by number"),
    ("get_fresh", "get", 20, "get by number, not read before"),
    ("alias", "alias", 15, "get by alias"),
    ("alias_fresh", "alias", 15, "get by alias, not read before"),
    ("latest", "latest", 25, "get the latest"),
    ("latest", "latest_search", None, "get the latest, MLflow by a search"),
    ("page", "page", 15, "newest page of 100, again"),
    ("page_fresh", "page", 15, "newest page of 100, no version of it read before"),
    ("page_shown", "page_shown", 15, "newest page of 100, none read before, fields of each read"),
    ("page_read", "page", None, "newest page of 100, none read before, all of each read"),
    ("page", "page_by_number", None, "newest page of 100, again, MLflow ordered by number"),
    ("register", "register", 1.5, "register, each file as its registry makes it"),
    ("register_plain", "register", None, "register, origin not given"),
    ("set_alias", "set_alias", 50, "set an alias"),
)

#: SQLite's journal of both files, what it is, how many times faster ours has to be.
JOURNALS: tuple[tuple[str, str, float | None], ...] = (
    ("wal", "register, both files in WAL mode", 1.5),
    ("delete", "register, both files with a rollback journal", None),
)

#: Operation -> (smallest size that it is compared with, what it is).
SCALE: dict[str, tuple[int, str]] = {
    "get_fresh": (10, "get by number"),
    "alias_fresh": (10, "get by alias"),
    "latest_fresh": (10, "get the latest"),
    "page10_fresh": (10, "newest page of 10"),
    "page_fresh": (1000, "newest page of 100"),
    "register": (10, "register"),
    "set_alias": (10, "set an alias"),
}
SCALE_TARGET = 1.5
PROCESS_TARGETS = (12.0, 0.7)

#: Operation -> calls in one round; the slow ones of the peer get fewer.
CALLS = {"get": 50, "alias": 50, "latest": 50, "page": 10, "page10": 20, "register": 10,
         "register_plain": 5, "set_alias": 10, "get_fresh": 50, "alias_fresh": 50,
         "latest_fresh": 50, "page_fresh": 10, "page_shown": 10, "page_read": 10,
         "page10_fresh": 20}  # fmt: skip
PEER_CALLS = {"get": 20, "alias": 20, "latest": 1, "latest_search": 3, "page": 5,
              "page_by_number": 5, "page_shown": 5, "register": 10, "set_alias": 3}  # fmt: skip

Plan = Mapping[str, tuple[Subject, str, int]]


def measure(plan: Plan, rounds: int) -> dict[str, Sample]:
    """Lets subjects take turns at one operation.

    Args:
        plan: What to measure: by name the subject, its operation, and the calls in a round.
        rounds: How often each has its turn. One more round goes before, and does not count.

    Returns:
        The samples by name.
    """
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in plan}
    for turn in range(rounds + 1):
        names = list(plan) if turn % 2 else list(plan)[::-1]
        for name in names:
            subject, operation, calls = plan[name]
            seconds = tuple(subject.seconds(operation, calls))
            if turn:
                found[name].append(seconds)
    return {name: Sample(tuple(turns)) for name, turns in found.items()}


def peer_table(folder: Path, versions: int, rounds: int) -> str:
    """Measures each operation beside MLflow's."""
    rows = []
    with ExitStack() as stack:
        ours = stack.enter_context(start(copy_of(stack, registry_of(folder, versions))))
        script = [mlflow_environment.python(), str(HERE / "subject_mlflow.py")]
        uri = copy_of(stack, mlflow_of(folder, versions))
        peer = stack.enter_context(Subject([*script, uri]))
        for operation, other, target, title in PEER:
            plan = {
                "ours": (ours, operation, CALLS[operation]),
                "peer": (peer, other, PEER_CALLS[other]),
            }
            rows.append(_peer_row(title, measure(plan, rounds), target))
        found = measure_first(folder, versions, rounds)
        rows.append(_peer_row("newest page of 100, the first in a process", found, 15))
        both = (
            ("ours", _OURS, registry_of(folder, versions)),
            ("peer", script, mlflow_of(folder, versions)),
        )
        for journal, title, target in JOURNALS:
            plan = {
                name: (
                    stack.enter_context(
                        Subject([*command, _with_journal(copy_of(stack, of), journal)])
                    ),
                    "register",
                    10,
                )
                for name, command, of in both
            }
            rows.append(_peer_row(title, measure(plan, rounds), target))
    header = ["operation", "tfx-registry, ms", "MLflow, ms", "times faster", "target", "reached"]
    return report.table(header, rows)


def measure_first(folder: Path, versions: int, rounds: int) -> dict[str, Sample]:
    """Measures the first page that a process lists, in as many processes as rounds, in turns.

    It is the first question to the registry, too. Opening it is not part of it.
    """
    commands = {
        "ours": [*_OURS, registry_of(folder, versions)],
        "peer": [mlflow_environment.python(), str(HERE / "subject_mlflow.py"),
                 mlflow_of(folder, versions)],
    }  # fmt: skip
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            with Subject(command) as subject:
                seconds = tuple(subject.seconds("page", 1))
            if turn:  # before the first, files may not be in memory
                found[name].append(seconds)
    return {name: Sample(tuple(turns)) for name, turns in found.items()}


def _peer_row(title: str, found: Mapping[str, Sample], target: float | None) -> list[str]:
    times, lowest, highest = report.ratio(found["peer"], found["ours"])
    row = [
        title,
        report.milliseconds(found["ours"]),
        report.milliseconds(found["peer"]),
        f"{times:.1f} ({lowest:.1f} - {highest:.1f})",
        *_target(times, target),
    ]
    _progress(row)
    return row


def _with_journal(uri: str, journal: str) -> str:
    """Gives a database a journal of a kind; that stays in the file."""
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection:
        (mode,) = connection.execute(f"PRAGMA journal_mode={journal}").fetchone()
    if mode != journal:
        raise SystemExit(f"{uri} stays in the mode {mode!r}")
    return uri


def scale_table(folder: Path, sizes: Sequence[int], rounds: int) -> str:
    """Measures each operation with few and with many versions."""
    rows = []
    with ExitStack() as stack:
        copies = {size: copy_of(stack, registry_of(folder, size)) for size in sizes}
        subjects = {size: stack.enter_context(start(uri)) for size, uri in copies.items()}
        for operation, (smallest, title) in SCALE.items():
            plan = {
                str(size): (subject, operation, CALLS[operation])
                for size, subject in subjects.items()
                if size >= smallest
            }
            if len(plan) < 2:
                continue
            for uri in copies.values():
                _into_memory(uri)
            found = measure(plan, rounds)
            first, last = next(iter(plan)), list(plan)[-1]
            times, lowest, highest = report.ratio(found[last], found[first])
            cells = [
                report.milliseconds(found[str(n)]) if str(n) in found else "" for n in subjects
            ]
            reached = report.verdict(times <= SCALE_TARGET)
            rows.append([title, *cells, f"{times:.2f} ({lowest:.2f} - {highest:.2f})", reached])
            _progress(rows[-1])
    header = ["operation, ms", *(f"{n:,} versions" for n in sizes), "last / first",
              f"at most {SCALE_TARGET}"]  # fmt: skip
    return report.table(header, rows)


def process_table(folder: Path, versions: int, rounds: int) -> str:
    """Measures one command as a process of its own, beside the same with MLflow."""
    reference = f"{payload.MODEL}@{payload.ALIAS}"
    command = Path(sys.executable).with_name("tfx-registry")
    shown = "from mlflow import MlflowClient; import sys; client = MlflowClient(sys.argv[1]); "
    shown += f"print(client.get_model_version_by_alias({payload.MODEL!r}, {payload.ALIAS!r}))"
    ours = [str(command), "--registry", registry_of(folder, versions), "show", reference]
    peer = [mlflow_environment.python(), "-c", shown, mlflow_of(folder, versions)]
    samples: list[list[tuple[float, ...]]] = [[], []]
    for turn in range(rounds + 1):
        for found, words in zip(samples, (ours, peer), strict=True):
            seconds = _seconds_of_process(words)
            if turn:
                found.append((seconds,))
    mine, other = (Sample(tuple(found)) for found in samples)
    times, lowest, highest = report.ratio(other, mine)
    rows = [
        ["tfx-registry, ms", report.milliseconds(mine), f"{PROCESS_TARGETS[1] * 1e3:.0f}",
         report.verdict(mine.median <= PROCESS_TARGETS[1])],
        ["MLflow, ms", report.milliseconds(other), "", ""],
        ["times faster", f"{times:.1f} ({lowest:.1f} - {highest:.1f})",
         *_target(times, PROCESS_TARGETS[0])],
    ]  # fmt: skip
    return report.table(["one process", "measured", "target", "reached"], rows)


def _seconds_of_process(command: Sequence[str]) -> float:
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=nowhere, stderr=nowhere, env=variables)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return usage.ru_utime + usage.ru_stime if Subject.processor_time else seconds


def _target(times: float, target: float | None) -> list[str]:
    if target is None:
        return ["", ""]
    return [f"{target:g}", report.verdict(times >= target)]


def start(uri: str) -> Subject:
    """Starts a process that measures tfx-registry."""
    return Subject([*_OURS, uri])


def registry_of(folder: Path, versions: int) -> str:
    """Returns the URI of a registry of that size; makes it if it is missing."""
    path = folder / f"tfx-registry-{versions}.sqlite"
    if not path.exists():
        print(f"making {path.name}", file=sys.stderr)
        generate_registry.generate(f"sqlite:///{path}", versions)
    return f"sqlite:///{path}"


def mlflow_of(folder: Path, versions: int) -> str:
    """Returns the URI of an MLflow registry of that size; makes it if it is missing."""
    path = folder / f"mlflow-{versions}.sqlite"
    if not path.exists():
        print(f"making {path.name}", file=sys.stderr)
        generate_registry.generate_mlflow(f"sqlite:///{path}", versions)
    return f"sqlite:///{path}"


def copy_of(stack: ExitStack, uri: str) -> str:
    """Copies a database beside itself, on the same disk, for as long as the stack lasts."""
    path = Path(uri.removeprefix("sqlite:///"))
    made = stack.enter_context(tempfile.TemporaryDirectory(dir=path.parent))
    return f"sqlite:///{shutil.copy(path, made)}"


def _into_memory(uri: str) -> None:
    """Reads a file once: what is asked is not how fast the disk finds a place in a large file."""
    with Path(uri.removeprefix("sqlite:///")).open("rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


def _progress(row: Sequence[str]) -> None:
    print("  ".join(row), file=sys.stderr)


def main() -> None:
    """Measures, and prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["peer", "scale", "process"], action="append")
    parser.add_argument("--folder", type=Path, default=HERE / "results", help="for the databases")
    parser.add_argument("--rounds", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--versions", type=int, default=10_000, help="beside MLflow")
    parser.add_argument(
        "--processor-time", action="store_true",
        help="measure the processor's time; for a machine that does something else as well",
    )  # fmt: skip
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 1_000, 10_000, 100_000])
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    Subject.processor_time = options.processor_time
    wanted = options.only or ["peer", "scale", "process"]
    print(report.describe_machine(folder))
    if options.processor_time:
        print("- measured: the processor's time")
    if "peer" in wanted:
        print(f"\n{peer_table(folder, options.versions, options.rounds)}", flush=True)
    if "scale" in wanted:
        print(f"\n{scale_table(folder, options.sizes, options.rounds)}", flush=True)
    if "process" in wanted:
        print(f"\n{process_table(folder, options.versions, options.rounds)}", flush=True)


if __name__ == "__main__":
    main()
