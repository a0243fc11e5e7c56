"""How does the gate's evaluation with TFMA get faster with Beam workers, and what does it hold?

    python benchmarks/beam_workers.py                        # some ten minutes
    python benchmarks/beam_workers.py --examples 2000 --workers 2

Each setting runs in a process of its own: in memory, with DirectRunner's own processes, by Beam's
portable job service with its pool of workers, and on Dask clusters of 1, 2, ... workers. The same
examples (eight files) go through the same model and its baseline, with 5 slices. The time is that
of the evaluation alone, from making the pipeline to the written result, so it has the start of the
workers in it, which load TensorFlow; the column with few examples shows that part. Clusters start
before the clock does. Memory is the peak of the process that runs the component, and "own
processor" the time that this process computes itself; the rest is done by workers. All numbers of
all settings are compared with the first one's. A table in Markdown goes to stdout, progress to
stderr.
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
from pathlib import Path
from typing import Any

import report

FILES = 8
FEW = 800
KINDS = 4
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
        [*command, "--", *beam_args], capture_output=True, text=True, check=False
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(beam_args)} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def settings(workers: Sequence[int]) -> Iterator[tuple[str, Any]]:
    """Yields each setting's name and a context that gives Beam's arguments."""
    from tfx_registry.testing.beam_workers import DaskCluster, PortableRunner

    yield "in memory", contextlib.nullcontext(IN_MEMORY)
    for count in workers:
        yield f"Dask, {count}", _args_of(DaskCluster(workers=count))
    processes = [*IN_MEMORY, "--direct_running_mode=multi_processing"]
    for count in (count for count in workers if count > 1):
        yield (
            f"multi_processing, {count}",
            contextlib.nullcontext([*processes, f"--direct_num_workers={count}"]),
        )
    yield "portable, 1", _args_of(PortableRunner())


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


def row(
    name: str, few: list[dict[str, Any]], many: list[dict[str, Any]], first: float
) -> list[str]:
    """Makes a row of the table."""
    median = statistics.median(one["seconds"] for one in many)
    spread = ", ".join(f"{one['seconds']:.0f}" for one in many)
    start = statistics.median(one["seconds"] for one in few)
    return [
        name,
        f"{start:.1f}",
        f"{median:.1f} ({spread})",
        f"{first / median:.2f}",
        f"{statistics.median(one['own'] for one in many):.1f}",
        f"{statistics.median(one['mebibytes'] for one in few):.0f}",
        f"{statistics.median(one['mebibytes'] for one in many):.0f}",
    ]


def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--units", type=int, default=256, help="width of the model's layers")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--which", help=argparse.SUPPRESS)
    parser.add_argument("beam_args", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        sys.argv = sys.argv[:1]
        print(json.dumps(run_one(options.one, options.which, options.beam_args)))
        return
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder / "candidate", 1.0, options.units)
        write_model(folder / "baseline", -1.0, options.units)
        write_examples(folder / "few", FEW)
        write_examples(folder / "many", options.examples)
        found: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for number in range(options.rounds):
            for setting, context in settings(options.workers):
                with context as beam_args:
                    for which in ("few", "many"):
                        one = measure(folder, which, beam_args)
                        sys.stderr.write(f"{number} {setting} {which} {one['seconds']:.1f} s\n")
                        kept = found.setdefault(setting, {}).setdefault(which, [])
                        kept.append(one)
                        check(one["numbers"], found["in memory"][which][0]["numbers"])
    first = statistics.median(one["seconds"] for one in found["in memory"]["many"])
    header = [
        "Beam workers",
        f"{FEW} examples, s",
        f"{options.examples:,} examples, s (each)",
        "times faster",
        "own processor, s",
        f"memory with {FEW}, MiB",
        "memory with all, MiB",
    ]
    rows = [row(name, sets["few"], sets["many"], first) for name, sets in found.items()]
    print(report.table(header, rows))


if __name__ == "__main__":
    main()
