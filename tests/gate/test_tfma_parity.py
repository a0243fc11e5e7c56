"""The gate's verdict beside TFMA's own, case by case.

Each case of `tfx_registry.testing.parity_cases` is an EvalConfig and numbers. TFMA's validator gets
both as in a real run (defaults filled in, all slices combined, missing slices looked for). The gate
gets the policy that the EvalConfig expresses, and the numbers as TFMA writes them to its files and
as the gate's reader reads them.
Where the verdicts are to differ, a test at the end says so; docs/design/0003 says why.
"""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow_model_analysis as tfma
from google.protobuf import text_format
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.slicer import slicer_lib as slicer
from tensorflow_model_analysis.utils import config_util
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as writer

from tfx_registry.components.version_gate.tfma_bytes import parse_serialized
from tfx_registry.components.version_gate.tfma_records import Numbers, parse_records
from tfx_registry.errors import InvalidPolicyError
from tfx_registry.gate import (
    Contender,
    EvaluatedModel,
    Evaluation,
    GatePolicy,
    Situation,
    decide,
)
from tfx_registry.records import Verdict
from tfx_registry.testing.parity_cases import (
    AT_LEAST_HALF,
    AUC,
    CASES,
    COUNT,
    CROSS_CASES,
    GOOD,
    NO_LOSS,
    POOR,
    Case,
    Estimate,
    Key,
    everywhere,
    metric,
    value,
)


def eval_config_of(case: Case) -> Any:
    """As users write it: a model spec, without a name if the case gives none."""
    config = text_format.Parse(case.config, tfma.EvalConfig())
    if not config.model_specs:
        config.model_specs.add(label_key="label")
    return config


def key_of(key: Key) -> metric_types.MetricKey:
    """The key of a number, as TFMA writes it."""
    wanted = {"class_id": key.class_id, "k": key.k, "top_k": key.top_k}
    sub_key = {field: value for field, value in wanted.items() if value is not None}
    return metric_types.MetricKey(
        key.name,
        output_name=key.output,
        sub_key=metric_types.SubKey(**sub_key) if sub_key else None,
        aggregation_type=metric_types.AggregationType(**{key.aggregation: True})
        if key.aggregation
        else None,
        example_weighted=key.weighted,
    )


def number_of(value: Any) -> Any:
    """A number, or an estimate as TFMA computes it."""
    if isinstance(value, Estimate):
        return tfma.types.ValueWithTDistribution(value.value, value.error, 19, value.value)
    return value


def tfma_says(case: Case, *, as_it_is: bool = False) -> bool:
    config = config_util.update_eval_config_with_defaults(
        eval_config_of(case),
        has_baseline=case.has_baseline,
        rubber_stamp=True,
    )
    combine = writer.CombineValidations(config)
    merged = combine.create_accumulator()
    for slice_key, metrics in metrics_of(case).items():
        validated = metrics_validator.validate_metrics((slice_key, metrics), config)
        merged = combine.add_input(merged, validated)
    result = combine.extract_output(merged)
    if result.missing_cross_slices and not result.missing_slices and not as_it_is:
        # TFMA calls every cross slice of a threshold missing, also one that it has checked: it
        # looks for it among the plain slices. The rest of its verdict is right.
        return all_there(case, result) and not result.metric_validations_per_slice
    return bool(result.validation_ok)


def all_there(case: Case, result: Any) -> bool:
    """Tells whether the numbers have the cross slices that TFMA calls missing."""
    crossed = [row for row in case.rows if slicer.is_cross_slice_key(row)]
    return all(
        any(slicer.is_cross_slice_applicable(row, spec) for row in crossed)
        for spec in result.missing_cross_slices
    )


def metrics_of(case: Case) -> dict[Any, dict[Any, Any]]:
    """Names the models, and adds the differences, as TFMA does."""
    config = eval_config_of(case)
    names = [spec.name for spec in config.model_specs if not spec.is_baseline]
    found: dict[Any, dict[Any, Any]] = {}
    for slice_key, row in case.rows.items():
        found[slice_key] = metrics = {}
        for key, number in row.items():
            if type(number) is not tuple:
                name = ((names or [""])[0] or "candidate") if case.has_baseline else ""
                metrics[key_of(key)._replace(model_name=name)] = number_of(number)
                continue
            own = key_of(key)._replace(model_name=(names or [""])[0] or "candidate")
            metrics[own] = number_of(number[0])
            metrics[own.make_baseline_key("baseline")] = number_of(number[1])
            metrics[own.make_diff_key()] = number_of(difference_of(*number))
    return found


def difference_of(now: Any, before: Any) -> Any:
    """As TFMA does it: the difference of estimates is an estimate."""
    if not isinstance(now, Estimate):
        return now - before
    return Estimate(now.value - before.value, 0.1)


def gate_says(case: Case, *, something_serves: bool = False) -> bool:
    records = [
        writer.convert_slice_metrics_to_proto(item, None) for item in metrics_of(case).items()
    ]
    models, differences = parse_serialized(record.SerializeToString() for record in records)
    assert repr((models, differences)) == repr(parse_records(records))
    name = next((name for name in models if name != "baseline"), "")
    difference = differences.get(name, Numbers())
    evaluation = Evaluation(
        "/eval",
        evaluated("c", models.get(name, Numbers())),
        evaluated("b", models["baseline"]) if case.has_baseline else None,
        differences=difference.values,
        difference_intervals=difference.intervals,
        cross_difference_intervals=difference.cross_intervals,
    )
    serving = Contender(1, "", "b") if case.has_baseline or something_serves else None
    situation = Situation("m", "production", Contender(2, "", "c"), serving)
    policy = GatePolicy.from_eval_config(eval_config_of(case))
    return decide(policy, evaluation, situation).verdict is Verdict.PASSED


def evaluated(manifest: str, numbers: Numbers) -> EvaluatedModel:
    return EvaluatedModel(
        f"/{manifest}",
        manifest,
        numbers.values,
        numbers.intervals,
        numbers.cross_values,
        numbers.cross_intervals,
    )


def test_the_table_is_a_table() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) >= 140
    verdicts = [tfma_says(case) for case in CASES]
    # A gate that always says the same would not get far.
    assert 0.3 < sum(verdicts) / len(verdicts) < 0.7


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_gate_says_what_tfma_says(case: Case) -> None:
    assert gate_says(case) is tfma_says(case)


# Where the gate is to say something else.


def test_a_cross_slice_that_is_there_is_not_missing() -> None:
    (good,) = [case for case in CROSS_CASES if case.name == "cross-good"]
    assert not tfma_says(good, as_it_is=True), "TFMA passes no cross-slice threshold at all"
    assert gate_says(good)


def test_thresholds_by_name_find_metrics_that_tfma_computes() -> None:
    config = f'metrics_specs {{ thresholds {{ key: "auc" value {{ {AT_LEAST_HALF} }} }} }}'
    good = Case("", config, {(): {AUC: GOOD}})
    assert not tfma_says(good), "TFMA looks only for metrics saved with the model"
    assert gate_says(good)
    assert not gate_says(Case("", config, {(): {AUC: POOR}}))


def test_a_slice_without_examples_shows_nothing() -> None:
    empty = Case("", metric(everywhere(AT_LEAST_HALF)), {(): {AUC: GOOD, COUNT: 0.0}})
    assert tfma_says(empty)
    assert not gate_says(empty)


def test_changes_are_not_waved_through_while_something_serves() -> None:
    alone = Case("", metric(everywhere(f"{AT_LEAST_HALF} {NO_LOSS}")), {(): {AUC: GOOD}})
    assert tfma_says(alone), "TFMA calls it a rubber stamp"
    assert gate_says(alone), "nothing serves: a first version"
    assert not gate_says(alone, something_serves=True)


@pytest.mark.parametrize(
    "rule",
    [
        everywhere(value(0.9, 0.1)),
        everywhere("value_threshold { lower_bound { value: inf } }"),
        everywhere("value_threshold { upper_bound { value: nan } }"),
        everywhere("change_threshold { absolute { value: 0.1 } }"),
        "",
    ],
    ids=["contradictory", "infinite", "nan", "no-direction", "no-threshold"],
)
def test_rules_that_decide_nothing_are_refused(rule: str) -> None:
    case = Case("", metric(rule), {(): {AUC: (GOOD, POOR)}})
    assert not tfma_says(case), "TFMA finds out after it has evaluated"
    with pytest.raises(InvalidPolicyError):
        GatePolicy.from_eval_config(eval_config_of(case))
