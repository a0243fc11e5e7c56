"""How fast is a verified publish: beside `cp -r`, and beside TFX's Pusher?

    python benchmarks/publish_speed.py                 # both models, some six minutes
    python benchmarks/publish_speed.py --rounds 3 --models small

For each model two tables in Markdown on stdout. The first has the whole: `cp -r` and then
`sync -f`, the executor of TFX's Pusher and then `sync -f`, and `ServingDirectory.publish`, which
checks, copies, hashes, compares and makes durable. The second has its terms, each alone, beside
what the machine can do.

All take turns, each round in another order. Before each run what earlier runs wrote is removed and
synced, the disk has come to rest (it may take seconds to discard removed blocks), and the source is
read, so that it is in memory for all.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import generate_model
import report
from report import Sample

from tfx_registry.digest import DirectoryDigest, digest_path
from tfx_registry.parallel import for_each, worker_count
from tfx_registry.serving import ServingDirectory

__all__ = ["Bench", "terms_table", "whole_table"]

#: Name: files, MiB, at most so many times `cp`, at most so many times Pusher.
MODELS = {"big": (20, 1024, 1.25, 0.75), "small": (2_000, 200, 1.5, 1.0)}

_BLOCK = 1 << 18
_DIRECT_BLOCK = 16 << 20

Run = Callable[[Path], float]


class Bench:
    """One model, and what is done with it."""

    def __init__(self, source: Path, scratch: Path, rest_seconds: float) -> None:
        self.source = source
        self.rest_seconds = rest_seconds
        self.scratch = scratch
        self.digest: DirectoryDigest = digest_path(source)
        self.files = [source / file.path for file in self.digest.files]
        self.count = 0

    def run(self, action: Run) -> float:
        """Runs once, with the source in memory and nothing else to write; returns seconds."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        self.sync()
        _wait_for_rest(self.scratch, self.rest_seconds)
        for path in self.files:
            with path.open("rb", buffering=0) as stream:
                while stream.read(_BLOCK):
                    pass
        self.count += 1
        return action(self.scratch / f"run{self.count}")

    def sync(self) -> None:
        """Makes everything durable that was written to the disk."""
        subprocess.run(["sync", "-f", str(self.scratch)], check=True)

    def measure(self, actions: dict[str, Run], rounds: int) -> dict[str, Sample]:
        """Lets all take turns; one more round goes before and does not count."""
        seconds: dict[str, list[float]] = {name: [] for name in actions}
        names = list(actions)
        for number in range(rounds + 1):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                seconds[name].append(self.run(actions[name]))
            print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
        return {
            name: Sample(tuple((value,) for value in found[1:])) for name, found in seconds.items()
        }

    def copy(self, target: Path) -> float:
        """Copies with `cp -r` and syncs."""
        begin = time.perf_counter()
        subprocess.run(["cp", "-r", str(self.source), str(target)], check=True)
        self.sync()
        return time.perf_counter() - begin

    def publish(self, target: Path) -> float:
        """Publishes, verified and durable."""
        begin = time.perf_counter()
        with ServingDirectory.lock(target) as directory:
            published = directory.publish(
                self.source, 1, owner="m", digest=self.digest.root, manifest=self.digest.manifest
            )
        seconds = time.perf_counter() - begin
        assert not published.already_there
        return seconds

    def read(self, target: Path) -> float:
        """Reads all files into a buffer."""
        buffer = memoryview(bytearray(_BLOCK))

        def read_one(path: Path) -> None:
            with path.open("rb", buffering=0) as stream:
                while stream.readinto(buffer):
                    pass

        begin = time.perf_counter()
        for path in self.files:
            read_one(path)
        return time.perf_counter() - begin

    def hash(self, workers: int) -> Run:
        """Returns what hashes as many bytes, in files as long, without reading."""
        block = os.urandom(_BLOCK)

        def hash_one(size: int) -> None:
            sha = hashlib.sha256()
            for begin in range(0, size, _BLOCK):
                sha.update(memoryview(block)[: min(_BLOCK, size - begin)])

        def run(_: Path) -> float:
            begin = time.perf_counter()
            for_each(hash_one, [file.size_bytes for file in self.digest.files], workers)
            return time.perf_counter() - begin

        return run

    def _write(self, target: Path) -> None:
        block = memoryview(os.urandom(_BLOCK))
        target.mkdir()
        for index, file in enumerate(self.digest.files):
            with (target / str(index)).open("wb", buffering=0) as stream:
                for begin in range(0, file.size_bytes, _BLOCK):
                    stream.write(block[: min(_BLOCK, file.size_bytes - begin)])

    def write(self, target: Path) -> float:
        """Writes as many bytes, in files as long."""
        begin = time.perf_counter()
        self._write(target)
        return time.perf_counter() - begin

    def sync_written(self, target: Path) -> float:
        """Syncs what `write` has written."""
        self._write(target)
        begin = time.perf_counter()
        self.sync()
        return time.perf_counter() - begin

    def write_direct(self, target: Path) -> float:
        """The disk alone: the same number of bytes in one file, past the memory."""
        block = mmap.mmap(-1, _DIRECT_BLOCK)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
        try:
            begin = time.perf_counter()
            for _ in range(0, self.digest.size_bytes, _DIRECT_BLOCK):
                os.write(descriptor, block)
            os.fsync(descriptor)
            return time.perf_counter() - begin
        finally:
            os.close(descriptor)

    def pusher(self) -> Run:
        """Returns what TFX's Pusher does: it copies into the serving directory and the artifact."""
        from tfx.components.pusher import executor
        from tfx.types import standard_artifacts

        model = standard_artifacts.Model()
        model.uri = str(self.source.parent)

        def run(target: Path) -> float:
            pushed = standard_artifacts.PushedModel()
            pushed.uri = str(target / "artifact")
            destination = {"filesystem": {"base_directory": str(target / "serving")}}
            inputs: dict[str, Any] = {"model": [model]}
            begin = time.perf_counter()
            executor.Executor().Do(
                inputs, {"pushed_model": [pushed]}, {"push_destination": json.dumps(destination)}
            )
            self.sync()
            seconds = time.perf_counter() - begin
            assert pushed.get_int_custom_property("pushed") == 1
            return seconds

        return run


def _wait_for_rest(folder: Path, most_seconds: float) -> None:
    """Waits until the disk of a folder does nothing, as far as the system says what it does."""
    device = folder.stat().st_dev
    numbers = [str(os.major(device)), str(os.minor(device))]
    deadline = time.monotonic() + most_seconds
    before: list[str] = []
    while time.monotonic() < deadline:
        lines = Path("/proc/diskstats").read_text(encoding="ascii").splitlines()
        now = next((fields for line in lines if (fields := line.split())[:2] == numbers), [])
        if now[3:] == before[3:]:
            return
        before = now
        time.sleep(0.2)


def whole_table(bench: Bench, rounds: int, most: tuple[float, float], *, pusher: bool) -> str:
    """Measures the whole, and returns it as a table."""
    actions: dict[str, Run] = {"`cp -r`, `sync -f`": bench.copy}
    if pusher:
        actions["Pusher's executor, `sync -f`"] = bench.pusher()
    targets = dict(zip(actions, most, strict=False))
    actions["verified publish"] = bench.publish
    found = bench.measure(actions, rounds)
    ours = found["verified publish"]
    rows = []
    for name, sample in found.items():
        row = [name, report.milliseconds(sample), _rate(bench, sample)]
        if name in targets:
            middle, low, high = report.ratio(ours, sample)
            row += [f"{middle:.2f} ({low:.2f} - {high:.2f})", f"{targets[name]}"]
            row += [report.verdict(middle <= targets[name])]
        rows.append(row + [""] * (6 - len(row)))
    return report.table(["", "ms", "MiB/s", "publish / this", "at most", "reached"], rows)


def terms_table(bench: Bench, rounds: int) -> str:
    """Measures the terms, and returns them as a table."""
    workers = worker_count()
    actions: dict[str, Run] = {
        "read from memory, one thread": bench.read,
        "hash, one thread": bench.hash(1),
        f"hash, {workers} threads": bench.hash(workers),
        "write to memory, one thread": bench.write,
        "sync what was written": bench.sync_written,
        "limit: write past the memory to one file": bench.write_direct,
        "verified publish": bench.publish,
    }
    found = bench.measure(actions, rounds)
    rows = [[name, report.milliseconds(s), _rate(bench, s)] for name, s in found.items()]
    return report.table(["term", "ms", "MiB/s"], rows)


def _rate(bench: Bench, sample: Sample) -> str:
    return f"{bench.digest.size_bytes / sample.median / (1 << 20):.0f}"


def main() -> None:
    """Reads the command line, measures, and prints tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--scale", type=float, default=1.0, help="part of the files and bytes")
    parser.add_argument("--rest", type=float, default=10.0, help="wait so many seconds at most")
    parser.add_argument("--no-pusher", action="store_true", help="TFX takes long to import")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; made and removed")
    options = parser.parse_args()
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="publish_speed", dir=options.folder) as name:
        folder = Path(name)
        print(report.describe_machine(folder))
        for model in options.models:
            files, mebibytes, *most = MODELS[model]
            source = folder / model / "Format-Serving"
            count = max(3, round(files * options.scale))
            generate_model.generate(source, count, round((mebibytes << 20) * options.scale))
            bench = Bench(source, folder / "scratch", options.rest)
            title = f"{bench.digest.size_bytes / (1 << 20):.0f} MiB in {count:,} files"
            whole = whole_table(bench, options.rounds, _pair(most), pusher=not options.no_pusher)
            print(f"\n### {title}\n\n{whole}")
            print(f"\n{terms_table(bench, max(1, options.rounds // 3))}", flush=True)
            shutil.rmtree(folder / model)


def _pair(most: Sequence[float]) -> tuple[float, float]:
    first, second = most
    return first, second


if __name__ == "__main__":
    main()
