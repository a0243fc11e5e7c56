"""How long does a decision take, and does the time grow with the slices only?

    python benchmarks/gate_speed.py                 # decisions on 100 to 10,000 slices
    python benchmarks/gate_speed.py --tfma          # and reading a TFMA result of 1,000 slices

A policy has a value and a change threshold for each of ten metrics, on the whole data set and on
each slice: 20 checks for each slice. On the TFMA result also only one of the two. Times are those
of `tfx_registry.gate.decide` in a warm process, and of `GateReport.to_json`. Wall time says what a
user waits; processor time says the same on a machine that does something else as well. The result
for --tfma is made by TFMA on Beam once and kept in benchmarks/results/, and with it a copy that has
an interval beside each number.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import os
import random
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from report import Sample, milliseconds, table

from tfx_registry.gate import (
    ChangeThreshold,
    Contender,
    EvaluatedModel,
    Evaluation,
    GatePolicy,
    Interval,
    IntervalKind,
    MetricId,
    Situation,
    SliceSpec,
    ValueThreshold,
    decide,
)
from tfx_registry.records import SliceKey

__all__ = ["evaluation", "main", "policy"]

METRICS = 10
SIZES = (100, 1_000, 10_000)
SITUATION = Situation("m", "production", Contender(2, "", "c"), Contender(1, "", "b"))
RESULTS = Path(__file__).resolve().parent / "results"


def policy(confidence: str = "point", names: Sequence[str] = ()) -> GatePolicy:
    """Makes the policy: two rules for each metric, on the whole and on each slice."""
    slices = (SliceSpec(), SliceSpec(("city",)))
    names = names or [f"metric_{i}" for i in range(METRICS)]
    return GatePolicy(
        tuple(ValueThreshold(name, lower_bound=0.5, slices=slices) for name in names),
        tuple(ChangeThreshold(name, absolute=-0.5, slices=slices) for name in names),
        min_examples=10,
        confidence=confidence,  # type: ignore[arg-type]
    )


def evaluation(slices: int) -> Evaluation:
    """Makes up an evaluation of that many slices, with intervals, in which every rule holds."""
    numbers = random.Random(slices)
    metrics = [MetricId(f"metric_{i}") for i in range(METRICS)]
    keys: list[SliceKey] = [(), *((("city", f"c{i:06d}"),) for i in range(slices - 1))]

    def model(name: str, level: float) -> EvaluatedModel:
        table = {key: {m: level + numbers.random() / 10 for m in metrics} for key in keys}
        intervals = {key: {m: around(v) for m, v in row.items()} for key, row in table.items()}
        for row in table.values():
            row[MetricId("example_count")] = 100.0
        return EvaluatedModel(f"/{name}", name, table, intervals)

    candidate, baseline = model("c", 0.8), model("b", 0.75)
    return Evaluation(
        "/evaluation",
        candidate,
        baseline,
        difference_intervals={
            key: {m: around(row[m] - baseline.metrics[key][m]) for m in metrics}
            for key, row in candidate.metrics.items()
        },
    )


def around(value: float) -> Interval:
    """An interval as TFMA's jackknife gives it."""
    return Interval(value - 0.02, value + 0.02, 0.95, IntervalKind.T_DISTRIBUTION, 0.00956, 19)


def measure(call: Callable[[], object], rounds: int) -> tuple[Sample, float]:
    """Returns wall times, and the least processor time, in seconds. One call does not count.

    What the garbage collector looks at next, when a decision that has paused it is made, counts.
    """
    call()
    walls, processors = [], []
    for _ in range(rounds):
        wall, processor = time.perf_counter(), time.process_time()
        made = call()
        gc.collect(0)
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
        del made
    return Sample((tuple(walls),)), min(processors)


def decisions(sizes: Sequence[int], rounds: int) -> list[list[str]]:
    """Measures decisions on made-up evaluations."""
    rows = []
    for confidence in ("point", "bound"):
        rules = policy(confidence)
        for size in sizes:
            found = evaluation(size)
            report = decide(rules, found, SITUATION)
            assert not report.failures, report.failures[0]
            count = max(3, rounds * 1_000 // max(size, 1_000))
            wall, processor = measure(lambda r=rules, f=found: decide(r, f, SITUATION), count)
            writing, written = measure(report.to_json, count)
            rows.append(
                [confidence, f"{size:,}", f"{len(report.checks):,}", milliseconds(wall),
                 f"{processor * 1e3:.3g}", f"{processor / size * 1e6:.3g}", milliseconds(writing),
                 f"{written * 1e3:.3g}"]
            )  # fmt: skip
    return rows


def tfma_result(slices: int) -> Path:
    """Returns a TFMA result of two models on that many slices, and makes it if there is none."""
    import numpy as np
    import pandas as pd
    import tensorflow_model_analysis as tfma
    from google.protobuf import text_format

    folder = RESULTS / f"tfma_{slices}"
    if (folder / "eval_config.json").exists():
        return folder
    numbers = np.random.default_rng(slices)
    rows = 20 * slices
    label = numbers.integers(0, 2, rows)
    frame = pd.DataFrame({"city": [f"c{i % (slices - 1):06d}" for i in range(rows)], "y": label})
    for name, noise in (("candidate", 0.3), ("baseline", 0.4)):
        frame[name] = np.clip(label * 0.6 + 0.2 + numbers.normal(0, noise, rows), 0, 1)
    metrics = "".join(f'metrics {{ class_name: "{name}" }} ' for name in TFMA_METRICS)
    config = text_format.Parse(
        f"""
        model_specs {{ name: "candidate" label_key: "y" prediction_key: "candidate" }}
        model_specs {{
          name: "baseline" label_key: "y" prediction_key: "baseline" is_baseline: true
        }}
        slicing_specs {{}} slicing_specs {{ feature_keys: "city" }}
        metrics_specs {{ {metrics} }}
        """,
        tfma.EvalConfig(),
    )
    tfma.analyze_raw_data(frame, config, output_path=str(folder))
    return folder


def with_intervals(result: Path) -> Path:
    """Returns a copy of a TFMA result that has an interval beside each number."""
    import tensorflow as tf
    import tensorflow_model_analysis as tfma

    folder = result.with_name(f"{result.name}_intervals")
    if (folder / "eval_config.json").exists():
        return folder
    folder.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / "metrics-00000-of-00001.tfrecord")) as writer:
        for record in tfma.load_metrics(str(result)):
            for pair in record.metric_keys_and_values:
                if pair.value.WhichOneof("type") == "double_value":
                    made, beside = around(pair.value.double_value.value), pair.confidence_interval
                    beside.lower_bound.double_value.value = made.lower
                    beside.upper_bound.double_value.value = made.upper
                    beside.standard_error.double_value.value = made.standard_error
                    beside.degrees_of_freedom.value = made.degrees_of_freedom
            writer.write(record.SerializeToString())
    shutil.copy(result / "eval_config.json", folder)
    return folder


TFMA_METRICS = (
    "ExampleCount", "AUC", "AUCPrecisionRecall", "BinaryAccuracy", "Precision", "Recall",
    "MeanLabel", "MeanPrediction", "Calibration", "BinaryCrossEntropy", "MeanSquaredError",
)  # fmt: skip


def reading(slices: int, rounds: int) -> list[list[str]]:
    """Measures reading a TFMA result, deciding on it, and both together."""
    result = tfma_result(slices)
    rows = reading_of(result, "no intervals", ("point",), rounds)
    return rows + reading_of(with_intervals(result), "intervals", ("point", "bound"), rounds)


def reading_of(folder: Path, what: str, confidences: Sequence[str], rounds: int) -> list[list[str]]:
    """Measures the same of one result."""
    from tfx_registry.components.version_gate.tfma_results import load_evaluation

    def load() -> Evaluation:
        found = load_evaluation(str(folder))
        assert found.candidate is not None
        assert found.baseline is not None
        # Predictions were evaluated, no models, so nothing has bytes to compare.
        candidate = dataclasses.replace(found.candidate, manifest="c")
        baseline = dataclasses.replace(found.baseline, manifest="b")
        return dataclasses.replace(found, candidate=candidate, baseline=baseline)

    def row(doing: str, of: str, call: Callable[[], object]) -> list[str]:
        wall, processor = measure(call, rounds)
        return [doing, of, milliseconds(wall), f"{processor * 1e3:.3g}"]

    found = load()
    metrics = sorted({m.name for row in found.numbers.values() for m in row})
    measured = [name for name in metrics if name != "example_count"]
    count = sum(map(len, found.numbers.values()))
    rows = [row("read it", f"{count:,} numbers of each model, {what}", load)]
    for confidence in confidences:
        rules = policy(confidence, measured)
        checks = f"{len(decide(rules, found, SITUATION).checks):,} checks, {what}"
        deciding = f"by {confidence}"
        rows += [
            row(f"decide {deciding}", checks, lambda r=rules: decide(r, found, SITUATION)),
            row(f"both, {deciding}", checks, lambda r=rules: decide(r, load(), SITUATION)),
        ]
        for one, kind in (("change_thresholds", "values"), ("value_thresholds", "changes")):
            rules = dataclasses.replace(policy(confidence, measured), **{one: ()})
            checks = f"{len(decide(rules, found, SITUATION).checks):,} checks of {kind}, {what}"
            rows.append(
                row(f"both, {deciding}", checks, lambda r=rules: decide(r, load(), SITUATION))
            )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--rounds", type=int, default=30, help="decisions on 1,000 slices")
    parser.add_argument("--tfma", action="store_true", help="also read a TFMA result")
    options = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    print(f"load average {load:.1f} on {os.cpu_count()} cores\n")
    head = ["rules decide by", "slices", "checks", "wall, ms", "processor, ms",
            "processor for a slice, µs", "writing the report, wall, ms",
            "writing the report, processor, ms"]  # fmt: skip
    print(table(head, decisions(options.sizes, options.rounds)))
    if options.tfma:
        head = ["on a real result of 1,000 slices", "of", "wall, ms", "processor, ms"]
        print(table(head, reading(1_000, max(3, options.rounds // 3))))


if __name__ == "__main__":
    main()
