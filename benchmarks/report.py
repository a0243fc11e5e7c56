"""Medians, spread and tables for the benchmarks."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

__all__ = ["Sample", "describe_machine", "milliseconds", "ratio", "table", "verdict"]

_LIBRARIES = ("ml-metadata", "protobuf", "click", "rich", "tfx-registry")


@dataclass(frozen=True)
class Sample:
    """How long one operation took, each time.

    Attributes:
        rounds: Seconds of each call, by the round that it was made in.
    """

    rounds: tuple[tuple[float, ...], ...]

    @property
    def seconds(self) -> list[float]:
        """All of them, sorted."""
        return sorted(second for found in self.rounds for second in found)

    @property
    def median(self) -> float:
        """The median of all, in seconds."""
        return statistics.median(self.seconds)

    def quantile(self, part: float) -> float:
        """Returns the call that is slower than `part` of all, in seconds."""
        found = self.seconds
        return found[min(int(len(found) * part), len(found) - 1)]


def milliseconds(sample: Sample) -> str:
    """Writes a sample as `median (10 % - 90 %)`."""
    parts = (sample.median, sample.quantile(0.1), sample.quantile(0.9))
    median, low, high = (_digits(part * 1e3) for part in parts)
    return f"{median} ({low} - {high})"


def ratio(slow: Sample, fast: Sample) -> tuple[float, float, float]:
    """Compares two samples that took turns.

    Returns:
        The ratio of the medians, and the lowest and the highest of the single rounds.
    """
    rounds = [
        statistics.median(a) / statistics.median(b)
        for a, b in zip(slow.rounds, fast.rounds, strict=True)
    ]
    return slow.median / fast.median, min(rounds), max(rounds)


def verdict(reached: bool) -> str:
    """Says whether a target was reached."""
    return "yes" if reached else "**no**"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Writes a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def describe_machine(folder: Path) -> str:
    """Says what was measured on, as a list in Markdown.

    Args:
        folder: Where the databases lie.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = ", ".join(f"{part:.2f}" for part in os.getloadavg())
    libraries = ", ".join(f"{name} {metadata.version(name)}" for name in _LIBRARIES)
    return "\n".join(
        [
            f"- {_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory",
            f"- {_file_system(folder)}; Linux {platform.release()}",
            f"- Python {platform.python_version()}, {libraries}",
            f"- load average before: {load}",
        ]
    )


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _file_system(folder: Path) -> str:
    command = ["df", "--output=fstype,source", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    kind, _, source = done.stdout.splitlines()[-1].strip().partition(" ")
    return f"{kind} on {source.strip()}"


def _digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"
