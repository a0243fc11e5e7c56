"""The gate's thresholds against TFMA's own validator, case by case."""

from __future__ import annotations

import math
from typing import Any

import pytest
import tensorflow_model_analysis as tfma
from google.protobuf import text_format
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.metrics import metric_types

from tfx_registry.gate import (
    ChangeThreshold,
    Contender,
    EvaluatedModel,
    Evaluation,
    GatePolicy,
    MetricId,
    Situation,
    SliceSpec,
    ValueThreshold,
    decide,
)
from tfx_registry.records import Verdict

NAN, INF = math.nan, math.inf
AUC = MetricId("auc")
FEMALE, MALE = (("sex", "female"),), (("sex", "male"),)

# lower bound, upper bound, value
VALUE_CASES = [
    (0.9, None, 0.9), (0.9, None, 0.90000001), (0.9, None, 0.89999999), (0.9, None, NAN),
    (0.9, None, INF), (0.9, None, -INF), (None, 0.5, 0.5), (None, 0.5, 0.50000001),
    (None, 0.5, NAN), (None, 0.5, -INF), (0.1, 0.5, 0.3), (0.1, 0.5, 0.05), (0.1, 0.5, 0.6),
    (0.5, 0.5, 0.5), (0.5, 0.6, 0.7), (-1e300, None, NAN), (0.0, None, -0.0), (1e300, None, INF),
    (-1.0, None, -1.0), (None, 0.0, -0.0), (0.0, 1.0, 1.0), (0.0, 1.0, 1.0000001),
]  # fmt: skip

# higher is better, absolute, relative, candidate, baseline
CHANGE_CASES = [
    (True, 0.0, None, 0.5, 0.5), (True, 0.0, None, 0.4, 0.5), (True, -0.1, None, 0.4, 0.5),
    (True, -0.25, None, 0.25, 0.5), (True, -0.25, None, 0.2, 0.5), (False, 0.0, None, 0.4, 0.5),
    (False, 0.0, None, 0.6, 0.5), (False, 0.25, None, 0.75, 0.5), (False, -0.1, None, 0.45, 0.5),
    (True, None, 0.0, 0.5, 0.5), (True, None, 0.5, 0.75, 0.5), (True, None, 0.5, 0.7, 0.5),
    (True, None, 0.1, 0.5, 0.0), (True, None, -1.0, 0.5, 0.0), (False, None, 0.1, 0.0, 0.0),
    (False, None, -0.1, 0.4, 0.5), (False, None, -0.1, 0.49, 0.5), (True, 0.0, 0.2, 0.55, 0.5),
    (True, 0.0, 0.05, 0.55, 0.5), (True, 0.1, 0.05, 0.55, 0.5), (True, 0.0, None, NAN, 0.5),
    (True, 0.0, None, 0.5, NAN), (False, 0.0, None, NAN, NAN), (True, None, 0.1, NAN, 0.5),
    (True, None, 0.1, -0.4, -0.5), (True, None, -0.1, -0.6, -0.5), (False, None, 0.1, -0.6, -0.5),
    (True, 0.0, None, INF, 0.5), (True, 0.0, None, INF, INF), (True, None, 0.1, 0.5, 1e-10),
]  # fmt: skip


def tfma_says(
    threshold: str, candidate: dict[Any, float], baseline: dict[Any, float] | None, specs: str = ""
) -> bool:
    """Asks TFMA's validator, slice by slice, and for slices that are missing."""
    rule = f"per_slice_thresholds {{ {specs} threshold {{ {threshold} }} }}"
    models = 'model_specs { name: "candidate" }' if baseline is not None else "model_specs {}"
    if baseline is not None:
        models += ' model_specs { name: "baseline" is_baseline: true }'
    config = text_format.Parse(
        f'{models} metrics_specs {{ metrics {{ class_name: "AUC" {rule} }} }}', tfma.EvalConfig()
    )
    if baseline is not None:
        config.metrics_specs[0].model_names.extend(["candidate", "baseline"])
    name = "candidate" if baseline is not None else ""
    key = metric_types.MetricKey("auc", model_name=name)
    merged = None
    for slice_key, value in candidate.items():
        metrics = {key: value}
        if baseline is not None:
            metrics[key.make_baseline_key("baseline")] = baseline[slice_key]
            metrics[key.make_diff_key()] = value - baseline[slice_key]
        result = metrics_validator.validate_metrics((slice_key, metrics), config)
        if merged is None:
            merged = result
        else:
            merged.validation_ok &= result.validation_ok
            metrics_validator.merge_details(merged, result)
    assert merged is not None
    details = merged.validation_details.slicing_details
    missing = metrics_validator.get_missing_slices(details, config)
    return merged.validation_ok and not missing


def gate_says(
    policy: GatePolicy, candidate: dict[Any, float], baseline: dict[Any, float] | None
) -> bool:
    before = {key: {AUC: value} for key, value in (baseline or {}).items()}
    evaluation = Evaluation(
        "/eval",
        EvaluatedModel("/c", "c", {key: {AUC: value} for key, value in candidate.items()}),
        EvaluatedModel("/b", "b", before) if baseline is not None else None,
    )
    serving = Contender(1, "", "b") if baseline is not None else None
    situation = Situation("m", "production", Contender(2, "", "c"), serving)
    return decide(policy, evaluation, situation).verdict is Verdict.PASSED


@pytest.mark.parametrize(("low", "high", "value"), VALUE_CASES)
def test_value_thresholds(low: float | None, high: float | None, value: float) -> None:
    bounds = "" if low is None else f"lower_bound {{ value: {low} }} "
    bounds += "" if high is None else f"upper_bound {{ value: {high} }}"
    expected = tfma_says(f"value_threshold {{ {bounds} }}", {(): value}, None, "slicing_specs {}")
    policy = GatePolicy([ValueThreshold("auc", low, high)])
    assert gate_says(policy, {(): value}, None) is expected


@pytest.mark.parametrize(("higher", "absolute", "relative", "value", "before"), CHANGE_CASES)
def test_change_thresholds(
    higher: bool, absolute: float | None, relative: float | None, value: float, before: float
) -> None:
    direction = "HIGHER_IS_BETTER" if higher else "LOWER_IS_BETTER"
    text = f"direction: {direction} "
    text += "" if absolute is None else f"absolute {{ value: {absolute} }} "
    text += "" if relative is None else f"relative {{ value: {relative} }}"
    expected = tfma_says(
        f"change_threshold {{ {text} }}", {(): value}, {(): before}, "slicing_specs {}"
    )
    policy = GatePolicy((), [ChangeThreshold("auc", direction.lower(), absolute, relative)])
    assert gate_says(policy, {(): value}, {(): before}) is expected


@pytest.mark.parametrize(
    ("specs", "slices", "candidate"),
    [
        ("slicing_specs {}", [SliceSpec()], {(): 0.9, FEMALE: 0.1}),
        ('slicing_specs { feature_keys: "sex" }', [SliceSpec(["sex"])], {(): 0.1, FEMALE: 0.9}),
        ('slicing_specs { feature_keys: "sex" }', [SliceSpec(["sex"])],
         {(): 0.9, FEMALE: 0.9, MALE: 0.1}),
        ('slicing_specs { feature_keys: "island" }', [SliceSpec(["island"])],
         {(): 0.9, FEMALE: 0.9}),
        ('slicing_specs { feature_values { key: "sex" value: "female" } }',
         [SliceSpec((), {"sex": "female"})], {(): 0.1, FEMALE: 0.9, MALE: 0.1}),
        ('slicing_specs { feature_values { key: "sex" value: "none" } }',
         [SliceSpec((), {"sex": "none"})], {(): 0.9, FEMALE: 0.9, MALE: 0.9}),
        ('slicing_specs {} slicing_specs { feature_keys: "sex" }',
         [SliceSpec(), SliceSpec(["sex"])], {(): 0.9, FEMALE: 0.9, MALE: 0.9}),
    ],
)  # fmt: skip
def test_slices(specs: str, slices: list[SliceSpec], candidate: dict[Any, float]) -> None:
    expected = tfma_says("value_threshold { lower_bound { value: 0.5 } }", candidate, None, specs)
    policy = GatePolicy([ValueThreshold("auc", lower_bound=0.5, slices=slices)])
    assert gate_says(policy, candidate, None) is expected
