"""The gate on real TFMA results of other kinds: regression, several outputs, no TensorFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow_model_analysis as tfma
from google.protobuf import text_format
from tfx.types import standard_artifacts
from tfx_bsl.arrow import table_util

from tfx_registry import ModelRegistry
from tfx_registry.components.version_gate.tfma_records import parse_records
from tfx_registry.components.version_gate.tfma_results import load_evaluation
from tfx_registry.gate import (
    ChangeThreshold,
    GatePolicy,
    IntervalKind,
    MetricId,
    Reason,
    SliceSpec,
    ValueThreshold,
)
from tfx_registry.records import Verdict
from tfx_registry.registry.events import Decided

RUNNER = ["--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"]
OLD, YOUNG = (("age", "old"),), (("age", "young"),)


def serve_first(pipeline: Any, model: Path) -> None:
    """Makes a model version 1, which serves."""
    pipeline.register(model)
    with ModelRegistry.open(pipeline.uri) as registry:
        digest = registry.get("ages", 1).digest
        registry.record_decision("ages", Decided(1, Verdict.PASSED, digest, "production"))
        registry.record_promotion("ages", 1, str(pipeline.serving), "production")


# Regression and several outputs: houses, sold or not, at a price.


@dataclass(frozen=True)
class Houses:
    """Models of houses, as Trainer leaves them, and examples."""

    good: Path
    worse: Path
    examples: Any


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Houses:
    import tensorflow as tf

    root = tmp_path_factory.mktemp("houses")

    class House(tf.Module):
        def __init__(self, per_room: float) -> None:
            super().__init__()
            self.per_room = tf.Variable(per_room)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def serve(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
            spec = {"rooms": tf.io.FixedLenFeature([], tf.float32)}
            rooms = tf.reshape(tf.io.parse_example(examples, spec)["rooms"], [-1, 1])
            price = self.per_room * rooms
            return {"price": price, "sold": tf.sigmoid(10.0 * (4.5 - rooms))}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def price(self, examples: tf.Tensor) -> tf.Tensor:
            return self.serve(examples)["price"]

    places = {}
    for name, per_room in (("good", 100.0), ("worse", 110.0)):
        model = House(per_room)
        places[name] = root / name
        signatures = {"serving_default": model.serve, "price": model.price}
        path = root / name / "Format-Serving"
        tf.saved_model.save(model, str(path), signatures=signatures)
    (root / "examples" / "Split-test").mkdir(parents=True)
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    file = root / "examples" / "Split-test" / "data-00000-of-00001.gz"
    with tf.io.TFRecordWriter(str(file), options) as writer:
        for index in range(32):
            rooms = 1.0 + index % 8
            values = {"rooms": rooms, "asked": 100.0 * rooms, "sold": float(rooms < 4.5)}
            features = {
                name: tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
                for name, value in values.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    examples = standard_artifacts.Examples()
    examples.uri = str(root / "examples")
    examples.splits = ["test"]
    return Houses(places["good"], places["worse"], examples)


def test_regression(pipeline: Any, houses: Houses) -> None:
    serve_first(pipeline, houses.good)
    version = pipeline.register(houses.worse)
    config = """
        model_specs { signature_name: "price" label_key: "asked" }
        metrics_specs {
          metrics { class_name: "MeanSquaredError" }
          metrics { class_name: "MeanAbsoluteError" }
          metrics { class_name: "ExampleCount" }
        }
    """
    policy = GatePolicy(
        [ValueThreshold("mean_absolute_error", upper_bound=50.0)],
        [ChangeThreshold("mean_squared_error", "lower_is_better", absolute=0.0)],
    )
    _, report = pipeline.evaluate_and_gate(
        version,
        houses.worse,
        policy,
        eval_config=text_format.Parse(config, tfma.EvalConfig()),
        examples=houses.examples,
        splits=["test"],
    )
    assert pipeline.codes(report) == {Reason.CHANGE_NOT_ENOUGH}
    (failure,) = report.failures
    # 10 too much for each of 1 to 8 rooms: the mean of (10 r)^2.
    assert failure.value == pytest.approx(100 * sum(r * r for r in range(1, 9)) / 8, rel=1e-5)
    assert failure.baseline_value == pytest.approx(0.0, abs=1e-6)
    assert failure.examples == 32
    (passed,) = [check for check in report.checks if check.metric == "mean_absolute_error"]
    assert passed.passed
    assert passed.value == pytest.approx(45.0, rel=1e-5)


def test_several_outputs(pipeline: Any, houses: Houses) -> None:
    version = pipeline.register(houses.worse)
    config = """
        model_specs {
          label_keys { key: "price" value: "asked" }
          label_keys { key: "sold" value: "sold" }
        }
        metrics_specs { output_names: "price" metrics { class_name: "MeanAbsoluteError" } }
        metrics_specs { output_names: "sold" metrics { class_name: "BinaryAccuracy" } }
        metrics_specs { metrics { class_name: "ExampleCount" } }
    """
    policy = GatePolicy(
        [
            ValueThreshold("mean_absolute_error", upper_bound=40.0, output_name="price"),
            ValueThreshold("binary_accuracy", lower_bound=1.0, output_name="sold"),
            ValueThreshold("binary_accuracy", lower_bound=0.1),
        ]
    )
    _, report = pipeline.evaluate_and_gate(
        version,
        houses.worse,
        policy,
        eval_config=text_format.Parse(config, tfma.EvalConfig()),
        examples=houses.examples,
        splits=["test"],
    )
    failures = {check.metric: check.reason for check in report.failures}
    assert failures == {
        "price/mean_absolute_error": Reason.ABOVE_UPPER_BOUND,
        # A rule without an output is not about the accuracy of one output.
        "binary_accuracy": Reason.METRIC_MISSING,
    }
    passed = {check.metric for check in report.checks if check.passed}
    assert "sold/binary_accuracy" in passed


# Without TensorFlow: models of any kind, whose predictions were written down.


@dataclass(frozen=True)
class Predicted:
    """Two models that TensorFlow cannot read, and TFMA's word on their predictions."""

    new: Path
    old: Path
    jackknife: Path
    bootstrap: Path


CONFIG = """
    model_specs { name: "candidate" label_key: "label" prediction_key: "new" }
    model_specs { name: "baseline" label_key: "label" prediction_key: "old" is_baseline: true }
    metrics_specs {
      metrics { class_name: "BinaryAccuracy" }
      metrics { class_name: "ExampleCount" }
    }
    slicing_specs {}
    slicing_specs { feature_keys: "age" }
    cross_slicing_specs {
      baseline_spec { feature_values { key: "age" value: "old" } }
      slicing_specs { feature_values { key: "age" value: "young" } }
    }
    options {
      compute_confidence_intervals { value: true }
      confidence_intervals { method: METHOD }
    }
"""


def analyze(data: pd.DataFrame, config: str, models: dict[str, Path], output: Path) -> Path:
    """Evaluates predictions in a table; TFMA is told where the models lie that made them."""
    eval_config = text_format.Parse(config, tfma.EvalConfig())
    shared = [
        tfma.EvalSharedModel(model_path=str(path), model_name=name, is_baseline=name == "baseline")
        for name, path in models.items()
    ]
    batch = table_util.CanonicalizeRecordBatch(pa.RecordBatch.from_pandas(data))
    with beam.Pipeline(argv=RUNNER) as made:
        _ = (
            made
            | beam.Create([batch])
            | tfma.ExtractEvaluateAndWriteResults(
                eval_config=eval_config,
                output_path=str(output),
                writers=tfma.default_writers(
                    str(output), eval_shared_model=shared, eval_config=eval_config
                ),
            )
        )
    return output


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> Predicted:
    root = tmp_path_factory.mktemp("predicted")
    places = {}
    for name in ("new", "old"):
        places[name] = root / name
        places[name].mkdir()
        (places[name] / "trees.json").write_text(f'{{"trees": "{name}"}}', encoding="utf-8")
    count = 120
    random = np.random.default_rng(5)
    label = random.integers(0, 2, count).astype(float)
    noise = random.normal(0.0, 0.35, (2, count))
    data = pd.DataFrame(
        {
            "label": label,
            "age": np.where(np.arange(count) % 3 == 0, "old", "young"),
            "new": np.clip(0.5 + 0.35 * (2 * label - 1) + noise[0], 0, 1),
            "old": np.clip(0.5 + 0.2 * (2 * label - 1) + noise[1], 0, 1),
        }
    )
    models = {"candidate": places["new"], "baseline": places["old"]}
    results = [
        analyze(data, CONFIG.replace("METHOD", method), models, root / method.lower())
        for method in ("JACKKNIFE", "POISSON_BOOTSTRAP")
    ]
    return Predicted(places["new"], places["old"], *results)


#: Student's t with 19 degrees of freedom: 97.5 % lie below.
T_19 = 2.093024054408263


@pytest.mark.parametrize("method", ["jackknife", "bootstrap"])
def test_intervals_of_values_and_of_paired_differences(predicted: Predicted, method: str) -> None:
    location = getattr(predicted, method)
    evaluation = load_evaluation(str(location))
    assert evaluation.candidate is not None
    assert evaluation.baseline is not None
    accuracy = MetricId("binary_accuracy")
    for key in ((), OLD, YOUNG):
        intervals = [
            evaluation.candidate.intervals[key][accuracy],
            evaluation.baseline.intervals[key][accuracy],
            evaluation.difference_intervals[key][accuracy],
        ]
        for interval in intervals:
            assert interval.level == 0.95
            assert interval.kind is IntervalKind.T_DISTRIBUTION
            assert interval.degrees_of_freedom == 19
            assert interval.standard_error is not None
            assert interval.upper - interval.lower == pytest.approx(
                2 * T_19 * interval.standard_error
            )
        value = evaluation.numbers[key][accuracy]
        before = evaluation.baseline_numbers[key][accuracy]
        assert evaluation.differences[key][accuracy] == pytest.approx(value - before)
        assert intervals[0].lower < value < intervals[0].upper
        # Numbers of examples are counted, not estimated.
        assert MetricId("example_count") not in evaluation.candidate.intervals.get(key, {})
    crossed = evaluation.candidate.cross_slices[(OLD, YOUNG)][accuracy]
    own = evaluation.numbers
    assert crossed == pytest.approx(own[OLD][accuracy] - own[YOUNG][accuracy])
    assert (OLD, YOUNG) in evaluation.baseline.cross_slices
    assert accuracy in evaluation.candidate.cross_intervals[(OLD, YOUNG)]
    assert accuracy in evaluation.cross_difference_intervals[(OLD, YOUNG)]
    assert (OLD, YOUNG) not in evaluation.numbers
    assert evaluation.made_at == math.floor(min(f.stat().st_mtime for f in location.iterdir()))


@pytest.mark.parametrize("method", ["jackknife", "bootstrap"])
def test_all_numbers_are_those_of_tfma_s_own_classes(predicted: Predicted, method: str) -> None:
    location = str(getattr(predicted, method))
    evaluation = load_evaluation(location)
    models, differences = parse_records(tfma.load_metrics(location))
    for model, numbers in (
        (evaluation.candidate, models["candidate"]),
        (evaluation.baseline, models["baseline"]),
    ):
        assert model is not None
        assert repr(model.metrics) == repr(numbers.values)
        assert repr(model.intervals) == repr(numbers.intervals)
        assert repr(model.cross_slices) == repr(numbers.cross_values)
        assert repr(model.cross_intervals) == repr(numbers.cross_intervals)
    found = differences["candidate"]
    assert repr(evaluation.differences) == repr(found.values)
    assert repr(evaluation.difference_intervals) == repr(found.intervals)
    assert repr(evaluation.cross_difference_intervals) == repr(found.cross_intervals)


@pytest.mark.parametrize("method", ["jackknife", "bootstrap"])
def test_a_model_without_tensorflow_is_gated_by_its_predictions(
    pipeline: Any, predicted: Predicted, method: str
) -> None:
    serve_first(pipeline, predicted.old)
    version = pipeline.register(predicted.new)
    evaluation = getattr(predicted, method)
    point = GatePolicy(
        [
            ValueThreshold(
                "binary_accuracy", lower_bound=0.8, slices=[SliceSpec(), SliceSpec(["age"])]
            )
        ],
        [ChangeThreshold("binary_accuracy", absolute=0.0)],
        min_examples=40,
    )
    _, report = pipeline.gate(version, predicted.new, evaluation, point)
    assert report.reasons == ()
    assert report.baseline is not None
    assert report.baseline.number == 1
    # No interval lies above its own middle. What else is certain is up to the samples that TFMA
    # draws, so each verdict is held against its interval.
    whole = next(c.value for c in report.checks if not c.slice and c.change is None)
    confident = replace(
        point,
        confidence="bound",
        value_thresholds=[
            *point.value_thresholds,
            ValueThreshold("binary_accuracy", lower_bound=whole),
        ],
    )
    _, report = pipeline.gate(version, predicted.new, evaluation, confident)
    assert pipeline.codes(report) == {Reason.NOT_CONFIDENT}
    for check in report.checks:
        assert check.interval is not None
        assert check.bound is not None
        assert check.passed == (check.interval.lower >= check.bound)
    [change] = [check for check in report.checks if check.change is not None]
    assert change.interval is not None
    assert change.interval.lower < change.change < change.interval.upper


def test_predictions_of_nobody_knows_which_model(
    pipeline: Any, predicted: Predicted, tmp_path: Path
) -> None:
    data = pd.DataFrame({"label": [0.0, 1.0], "new": [0.1, 0.9]})
    config = """
        model_specs { label_key: "label" prediction_key: "new" }
        metrics_specs { metrics { class_name: "BinaryAccuracy" } }
    """
    evaluation = analyze(data, config, {}, tmp_path / "result")
    version = pipeline.register(predicted.new)
    policy = GatePolicy([ValueThreshold("binary_accuracy", lower_bound=0.5)])
    _, report = pipeline.gate(version, predicted.new, evaluation, policy)
    assert pipeline.codes(report) == {Reason.EVALUATION_OF_ANOTHER_MODEL}
