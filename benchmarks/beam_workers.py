"""How does the gate's evaluation with TFMA get faster with Beam workers, and what does it hold?

    python benchmarks/beam_workers.py                        # some six minutes on two idle cores
    python benchmarks/beam_workers.py --examples 4000 --workers 1 2

Each setting runs in a process of its own: in memory, on Dask clusters of 1, 2, ... workers, with as
many of Beam's own processes as there are cores, and if asked for (`--portable`) by Beam's portable
job service with its pool of workers. The same examples (eight files) go through the same model and
its baseline, with 5 slices. Every worker keeps to one thread, so that one worker is one core.

The time is that of the evaluation alone, from making the pipeline to the written result. Clusters
start before the clock does, their Beam workers after it, and these load TensorFlow and both models.
So each setting is measured twice: with few examples, which is the start, and with all of them. What
workers divide among them is the difference, and that is what "times faster" is about. Beside it
stands how much the machine's cores give at most: what so many processes that only count do together
in a second, against one. Two virtual cores are often less than two.

Memory is the peak of the process that runs the component, and "own processor" the time that this
process computes itself; the rest is done by workers. All numbers of all settings are compared with
the first one's. A table in Markdown goes to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import report

FILES = 8
FEW = 800
KINDS = 4
IN_PROCESS = "in memory"
CONFIG = """
    model_specs { label_key: "label" }
    metrics_specs {
      metrics { class_name: "BinaryAccuracy" }
      metrics { class_name: "AUC" }
      metrics { class_name: "ExampleCount" }
    }
    slicing_specs {}
    slicing_specs { feature_keys: "kind" }
"""
_COUNT_SECONDS = 3
_COUNT = f"""
import time
count, begin = 0, time.perf_counter()
while time.perf_counter() < begin + {_COUNT_SECONDS}:
    for _ in range(10_000):
        count += 1
print(count / (time.perf_counter() - begin))
"""
_ONE_THREAD = {
    "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1",
}  # fmt: skip
_MOST_SECONDS = 900
IN_MEMORY = ["--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"]


def write_model(folder: Path, sign: float, units: int) -> None:
    """Writes a SavedModel whose prediction takes some work: dense layers in a row."""
    import tensorflow as tf

    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            identity = sign * tf.eye(units)
            self.first, self.second = tf.Variable(identity), tf.Variable(tf.abs(identity))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def serve(self, examples: Any) -> dict[str, Any]:
            parsed = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([], tf.float32)})
            wide = tf.tile(parsed["x"][:, None], [1, units])
            wide = tf.matmul(tf.matmul(wide, self.first), self.second)
            return {"probability": tf.sigmoid(tf.reduce_mean(wide, axis=1, keepdims=True))}

    model = Model()
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.serve})


def write_examples(folder: Path, count: int) -> None:
    """Writes examples into files of the same size."""
    import tensorflow as tf

    split = folder / "Split-eval"
    split.mkdir(parents=True)
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    for file in range(FILES):
        path = split / f"data-{file:05d}-of-{FILES:05d}.gz"
        with tf.io.TFRecordWriter(str(path), options) as writer:
            for index in range(file, count, FILES):
                x = ((index * 7919) % 2001 - 1000) / 500
                label = float(x > 0) if index % 10 else float(x <= 0)
                kind = str(index % KINDS).encode()
                feature = {
                    "x": tf.train.Feature(float_list=tf.train.FloatList(value=[x])),
                    "label": tf.train.Feature(float_list=tf.train.FloatList(value=[label])),
                    "kind": tf.train.Feature(bytes_list=tf.train.BytesList(value=[kind])),
                }
                features = tf.train.Features(feature=feature)
                writer.write(tf.train.Example(features=features).SerializeToString())


def run_one(folder: Path, examples: str, beam_args: Sequence[str]) -> dict[str, Any]:
    """Evaluates once, in this process.

    Args:
        folder: Where models and examples are.
        examples: Which ones.
        beam_args: What to run on.

    Returns:
        Seconds, the peak of memory in MiB, and all numbers.
    """
    import apache_beam as beam
    import tensorflow_model_analysis as tfma
    from google.protobuf import text_format
    from tfx.types import standard_artifacts
    from tfx.utils import proto_utils

    from tfx_registry.components.version_gate import own_evaluation

    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder / examples)
    artifact.splits = ["eval"]
    config = proto_utils.proto_to_json(text_format.Parse(CONFIG, tfma.EvalConfig()))
    job = own_evaluation.Job(config, (artifact,), ("eval",))
    with tempfile.TemporaryDirectory(dir=folder) as output:
        begin, own_begin = time.perf_counter(), time.process_time()
        own_evaluation.evaluate(
            job,
            lambda: beam.Pipeline(argv=list(beam_args)),
            str(folder / "candidate"),
            str(folder / "baseline"),
            output,
        )
        seconds = time.perf_counter() - begin
        own = time.process_time() - own_begin
        numbers = {}
        for model in ("candidate", "baseline"):
            for key, found in tfma.load_eval_result(output, model_name=model).slicing_metrics:
                for metric, value in found[""][""].items():
                    numbers[f"{model} {key} {metric}"] = value["doubleValue"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "own": own, "mebibytes": peak, "numbers": numbers}


def measure(folder: Path, examples: str, beam_args: Sequence[str]) -> dict[str, Any]:
    """Calls `run_one` in a process of its own."""
    command = [sys.executable, __file__, "--one", str(folder), "--which", examples]
    done = subprocess.run(
        [*command, "--", *beam_args],
        capture_output=True, text=True, check=False, timeout=_MOST_SECONDS,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(beam_args)} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def at_once(processes: int) -> float:
    """Returns how often processes that run at the same time count in a second, all together."""
    running = [
        subprocess.Popen([sys.executable, "-c", _COUNT], stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    return sum(float(process.communicate()[0]) for process in running)


def settings(workers: Sequence[int], portable: bool) -> Iterator[tuple[str, int, Any]]:
    """Yields each setting's name, its workers, and a context that gives Beam's arguments."""
    from tfx_registry.testing.beam_workers import DaskCluster, PortableRunner

    yield IN_PROCESS, 1, contextlib.nullcontext(IN_MEMORY)
    for count in workers:
        yield f"Dask, {count}", count, _args_of(DaskCluster(workers=count))
    cores = os.cpu_count() or 1
    if cores > 1:
        processes = ["--direct_running_mode=multi_processing", f"--direct_num_workers={cores}"]
        args = contextlib.nullcontext([*IN_MEMORY, *processes])
        yield f"multi_processing, {cores}", cores, args
    if portable:
        yield "portable, 1", 1, _args_of(PortableRunner())


@contextlib.contextmanager
def _args_of(servers: Any) -> Iterator[list[str]]:
    with servers:
        yield servers.beam_args


def check(found: dict[str, float], expected: dict[str, float]) -> None:
    """Ends the program unless two evaluations have the same numbers."""
    assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
    for key, value in expected.items():
        # Sums of floating point numbers depend on the order.
        bound = 0.0 if "count" in key else 1e-6 * max(1.0, abs(value))
        assert abs(found[key] - value) <= bound, (key, found[key], value)


@dataclass(frozen=True)
class Measured:
    """What was found with one setting, in each round.

    Attributes:
        workers: How many workers it has.
        few: With few examples.
        many: With all of them.
    """

    workers: int
    few: list[dict[str, Any]] = field(default_factory=list)
    many: list[dict[str, Any]] = field(default_factory=list)

    @property
    def divided(self) -> float:
        """Seconds for the examples alone, without the start."""
        return _median(self.many, "seconds") - _median(self.few, "seconds")


def row(name: str, found: Measured, one_worker: float, machine: float) -> list[str]:
    """Makes a row of the table."""
    return [
        name,
        f"{_median(found.few, 'seconds'):.1f}",
        f"{_median(found.many, 'seconds'):.1f}",
        f"{found.divided:.1f}",
        # With few examples on a busy machine the start hides the rest.
        f"{one_worker / found.divided:.2f}" if found.divided > 0 else "-",
        f"{machine:.2f}",
        f"{_median(found.many, 'own'):.1f}",
        f"{_median(found.few, 'mebibytes'):.0f}",
        f"{_median(found.many, 'mebibytes'):.0f}",
    ]


def _median(found: list[dict[str, Any]], key: str) -> float:
    return float(statistics.median(one[key] for one in found))


def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=16_000)
    parser.add_argument("--units", type=int, default=256, help="width of the model's layers")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--portable", action="store_true", help="Beam's job service, too")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--which", help=argparse.SUPPRESS)
    parser.add_argument("beam_args", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        sys.argv = sys.argv[:1]
        print(json.dumps(run_one(options.one, options.which, options.beam_args)))
        return
    if options.examples < 2 * FEW:
        parser.error(f"--examples is to be {2 * FEW} or more: a start takes {FEW}")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.update(_ONE_THREAD)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder / "candidate", 1.0, options.units)
        write_model(folder / "baseline", -1.0, options.units)
        write_examples(folder / "few", FEW)
        write_examples(folder / "many", options.examples)
        found: dict[str, Measured] = {}
        for number in range(options.rounds):
            for setting, workers, context in settings(options.workers, options.portable):
                kept = found.setdefault(setting, Measured(workers))
                with context as beam_args:
                    for which, ones in (("few", kept.few), ("many", kept.many)):
                        one = measure(folder, which, beam_args)
                        sys.stderr.write(f"{number} {setting} {which} {one['seconds']:.1f} s\n")
                        ones.append(one)
                        first = getattr(found[IN_PROCESS], which)[0]
                        check(one["numbers"], first["numbers"])
    alone = at_once(1)
    machine = {count: at_once(count) / alone for count in {one.workers for one in found.values()}}
    header = [
        "Beam workers",
        f"{FEW} examples, s",
        f"{options.examples:,} examples, s",
        "the difference, s",
        "times faster",
        "the machine gives",
        "own processor, s",
        f"memory with {FEW}, MiB",
        "memory with all, MiB",
    ]
    # Where Dask with one worker is not asked for, the process itself is the one.
    base = found.get("Dask, 1", found[IN_PROCESS]).divided
    rows = [row(name, one, base, machine[one.workers]) for name, one in found.items()]
    print(report.table(header, rows))
    print(f"\n{os.cpu_count()} cores, load average before: {load:.1f}")


if __name__ == "__main__":
    main()
