"""How long a rollback takes, by size of the model: nothing is copied, so it should not matter.

    python benchmarks/rollback_speed.py --folder /path/on/a/disk [--mebibytes 1024] [--rounds 9]

Two versions are promoted, and version 1 is brought back, again and again: by the receipt of its
bytes, hashing everything first (`--verify`), and as a command of its own from start to exit, in
turns. In between the registry and the directory are put back as they were. Prints one table in
Markdown.
"""

from __future__ import annotations

import argparse
import datetime
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from generate_model import generate

from tfx_registry import ModelRegistry, promote, rollback

__all__ = ["main"]

MODEL = "large"


def measure(folder: Path, mebibytes: int, files: int, rounds: int) -> dict[str, list[float]]:
    """Times rollbacks.

    Args:
        folder: An empty folder.
        mebibytes: Size of each model.
        files: Number of files in each.
        rounds: How often each kind is timed.

    Returns:
        Seconds by kind.
    """
    database, base = folder / "registry.sqlite", folder / "serving"
    uri = f"sqlite:///{database}"
    day = datetime.timedelta(days=1)
    with ModelRegistry.open(uri) as registry:
        for number in (1, 2):
            generate(folder / f"model{number}", files, mebibytes << 20)
            registry.register(MODEL, folder / f"model{number}")
            registry.override(MODEL, number, reason="benchmark", expires=day)
            promote(registry, MODEL, number, base)
    shutil.copyfile(database, folder / "before.sqlite")

    def call(hash_all: bool) -> float:
        with ModelRegistry.open(uri) as registry:
            registry.head(MODEL)
            started = time.perf_counter()
            rollback(registry, MODEL, base, reason="benchmark", hash_all=hash_all)
            return time.perf_counter() - started

    def command() -> float:
        line = [sys.executable, "-m", "tfx_registry.cli.main", "--registry", uri, "rollback", MODEL]
        line += ["--serving-dir", str(base), "--reason", "benchmark"]
        started = time.perf_counter()
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started

    kinds: dict[str, Callable[[], float]] = {
        "by receipt": lambda: call(False),
        "hashed first": lambda: call(True),
        "command, by receipt": command,
    }
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, timed in kinds.items():
            times[kind].append(timed())
            (base / ".tfx_registry" / "withdrawn" / "2").rename(base / "2")
            shutil.copyfile(folder / "before.sqlite", database)
    return times


def main() -> int:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--folder", type=Path, required=True, help="an empty folder on a disk")
    parser.add_argument("--mebibytes", type=int, default=1024, help="size of a model in MiB")
    parser.add_argument("--files", type=int, default=20, help="files in a model")
    parser.add_argument("--rounds", type=int, default=9, help="how often each is timed")
    options = parser.parse_args()
    times = measure(options.folder, options.mebibytes, options.files, options.rounds)
    print(f"| rollback, {options.mebibytes} MiB in {options.files} files | median s | slowest s |")
    print("|---|---|---|")
    for kind, seconds in times.items():
        print(f"| {kind} | {statistics.median(seconds):.3f} | {max(seconds):.3f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
