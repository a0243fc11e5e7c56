"""How long does a check of the whole registry take, and how much memory?

    python benchmarks/fsck_speed.py                       # 10,000 and 100,000 versions
    python benchmarks/fsck_speed.py --sizes 1000 10000

`fsck` reads every event, folds the log anew and compares everything that is stored with it. One
process for each size; prints a table in Markdown. The databases are those of `registry_speed.py`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import report
from registry_speed import HERE, registry_of

__all__ = ["check", "fsck_table"]


def check(uri: str) -> dict[str, float]:
    """Checks a registry in this process.

    Returns:
        Number of events; seconds in all, and those of the processor; the most memory that the
        process has used, in MB, before and after.

    Raises:
        SystemExit: Something is damaged.
    """
    from tfx_registry import ModelRegistry

    with ModelRegistry.open(uri, create=False) as registry:
        before, began, began_work = _peak_megabytes(), time.perf_counter(), time.process_time()
        found = registry.fsck()
        if found.findings:
            raise SystemExit(f"{uri} is damaged: {found.findings[0]}")
        return {
            "events": found.events,
            "seconds": time.perf_counter() - began,
            "processor_seconds": time.process_time() - began_work,
            "megabytes_before": before,
            "megabytes": _peak_megabytes(),
        }


def fsck_table(folder: Path, sizes: list[int]) -> str:
    """Checks a registry of each size, in a process of its own."""
    rows = []
    for size in sizes:
        command = [sys.executable, str(Path(__file__).resolve()), "--of", registry_of(folder, size)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout)
        each = found["processor_seconds"] / found["events"] * 1e6
        rows.append(
            [
                f"{size:,}",
                f"{found['seconds']:.1f}",
                f"{found['processor_seconds']:.1f}",
                f"{each:.0f}",
                f"{found['megabytes']:.0f} ({found['megabytes_before']:.0f})",
            ]
        )
        print("  ".join(rows[-1]), file=sys.stderr)
    header = ["versions", "seconds", "of the processor", "microseconds for each event",
              "most memory, MB (before)"]  # fmt: skip
    return report.table(header, rows)


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=HERE / "results", help="for the databases")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--of", metavar="URI", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.of:
        print(json.dumps(check(options.of)))
        return
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    print(report.describe_machine(folder))
    print(f"\n{fsck_table(folder, options.sizes)}")


if __name__ == "__main__":
    main()
