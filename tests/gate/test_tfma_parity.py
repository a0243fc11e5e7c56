"""The gate's verdict beside TFMA's own, case by case.

Each case is an EvalConfig and numbers. TFMA's validator gets both as in a real run (defaults filled
in, all slices combined, missing slices looked for). The gate gets the policy that the EvalConfig
expresses, and the numbers as TFMA writes them to its files and as the gate's reader reads them.
Where the verdicts are to differ, a test at the end says so; docs/design/0003 says why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
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

NAN, INF = math.nan, math.inf
FEMALE, MALE = (("sex", "female"),), (("sex", "male"),)
DREAM = (("island", "Dream"),)
DREAM_FEMALE = (("island", "Dream"), ("sex", "female"))
ONE, TWO = (("floor", 1),), (("floor", 2),)
HALF = (("share", 0.5),)


def key(
    name: str = "auc",
    *,
    output: str = "",
    class_id: int | None = None,
    k: int | None = None,
    top_k: int | None = None,
    aggregation: str = "",
    weighted: bool | None = False,
) -> metric_types.MetricKey:
    """The key of a number, as TFMA writes it."""
    wanted = {"class_id": class_id, "k": k, "top_k": top_k}
    sub_key = {field: value for field, value in wanted.items() if value is not None}
    return metric_types.MetricKey(
        name,
        output_name=output,
        sub_key=metric_types.SubKey(**sub_key) if sub_key else None,
        aggregation_type=metric_types.AggregationType(**{aggregation: True})
        if aggregation
        else None,
        example_weighted=weighted,
    )


AUC, LOSS, COUNT = key(), key("binary_crossentropy"), key("example_count")


def estimate(value: float, error: float) -> Any:
    """A number with a confidence interval, as jackknife and bootstrap give it."""
    return tfma.types.ValueWithTDistribution(value, error, 19, value)


@dataclass(frozen=True)
class Case:
    """An EvalConfig as text, and numbers by slice and key; pairs are candidate and baseline."""

    name: str
    config: str
    rows: Mapping[Any, Mapping[Any, Any]]

    def eval_config(self) -> Any:
        """As users write it: a model spec, without a name if the case gives none."""
        config = text_format.Parse(self.config, tfma.EvalConfig())
        if not config.model_specs:
            config.model_specs.add(label_key="label")
        return config

    @property
    def has_baseline(self) -> bool:
        return any(type(v) is tuple for row in self.rows.values() for v in row.values())


def tfma_says(case: Case, *, as_it_is: bool = False) -> bool:
    config = config_util.update_eval_config_with_defaults(
        case.eval_config(),
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
    config = case.eval_config()
    names = [spec.name for spec in config.model_specs if not spec.is_baseline]
    found: dict[Any, dict[Any, Any]] = {}
    for slice_key, row in case.rows.items():
        found[slice_key] = metrics = {}
        for metric, value in row.items():
            if type(value) is not tuple:
                name = ((names or [""])[0] or "candidate") if case.has_baseline else ""
                metrics[metric._replace(model_name=name)] = value
                continue
            own = metric._replace(model_name=(names or [""])[0] or "candidate")
            metrics[own] = value[0]
            metrics[own.make_baseline_key("baseline")] = value[1]
            metrics[own.make_diff_key()] = difference_of(*value)
    return found


def difference_of(now: Any, before: Any) -> Any:
    """As TFMA does it: the difference of estimates is an estimate."""
    if not isinstance(now, tfma.types.ValueWithTDistribution):
        return now - before
    return estimate(now.unsampled_value - before.unsampled_value, 0.1)


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
    policy = GatePolicy.from_eval_config(case.eval_config())
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


# Parts of EvalConfigs.


def value(low: float | None = None, high: float | None = None) -> str:
    bounds = "" if low is None else f"lower_bound {{ value: {low} }} "
    bounds += "" if high is None else f"upper_bound {{ value: {high} }}"
    return f"value_threshold {{ {bounds} }}"


def change(
    absolute: float | None = None, relative: float | None = None, *, higher: bool = True
) -> str:
    text = f"direction: {'HIGHER' if higher else 'LOWER'}_IS_BETTER "
    text += "" if absolute is None else f"absolute {{ value: {absolute} }} "
    text += "" if relative is None else f"relative {{ value: {relative} }}"
    return f"change_threshold {{ {text} }}"


def metric(rule: str, *, name: str = "AUC", more: str = "") -> str:
    return f'metrics_specs {{ {more} metrics {{ class_name: "{name}" {rule} }} }}'


def everywhere(rule: str) -> str:
    return f"threshold {{ {rule} }}"


def on(specs: str, rule: str) -> str:
    return f"per_slice_thresholds {{ {specs} threshold {{ {rule} }} }}"


def across(baseline: str, compared: str, rule: str) -> str:
    specs = f"baseline_spec {{ {baseline} }} slicing_specs {{ {compared} }}"
    return f"cross_slice_thresholds {{ cross_slicing_specs {{ {specs} }} threshold {{ {rule} }} }}"


OVERALL = "slicing_specs {}"
EACH_SEX = 'slicing_specs { feature_keys: "sex" }'
IS_FEMALE = 'feature_values { key: "sex" value: "female" }'
IS_MALE = 'feature_values { key: "sex" value: "male" }'
GOOD, POOR = 0.9, 0.1
AT_LEAST_HALF = value(0.5)
NO_LOSS = change(0.0)


VALUE_CASES = [
    Case(f"value-{low}-{high}-{number}", metric(on(OVERALL, value(low, high))), {(): {AUC: number}})
    for low, high, number in [
        (0.9, None, 0.9), (0.9, None, 0.90000001), (0.9, None, 0.89999999), (0.9, None, NAN),
        (0.9, None, INF), (0.9, None, -INF), (None, 0.5, 0.5), (None, 0.5, 0.50000001),
        (None, 0.5, NAN), (None, 0.5, -INF), (0.1, 0.5, 0.3), (0.1, 0.5, 0.05), (0.1, 0.5, 0.6),
        (0.5, 0.5, 0.5), (0.5, 0.6, 0.7), (-1e300, None, NAN), (0.0, None, -0.0),
        (1e300, None, INF), (-1.0, None, -1.0), (None, 0.0, -0.0), (0.0, 1.0, 1.0),
        (0.0, 1.0, 1.0000001),
    ]
]  # fmt: skip

CHANGE_CASES = [
    Case(
        f"change-{'higher' if higher else 'lower'}-{absolute}-{relative}-{now}-{before}",
        metric(on(OVERALL, change(absolute, relative, higher=higher))),
        {(): {AUC: (now, before)}},
    )
    for higher, absolute, relative, now, before in [
        (True, 0.0, None, 0.5, 0.5), (True, 0.0, None, 0.4, 0.5), (True, -0.1, None, 0.4, 0.5),
        (True, -0.25, None, 0.25, 0.5), (True, -0.25, None, 0.2, 0.5),
        (False, 0.0, None, 0.4, 0.5), (False, 0.0, None, 0.6, 0.5),
        (False, 0.25, None, 0.75, 0.5), (False, -0.1, None, 0.45, 0.5),
        (True, None, 0.0, 0.5, 0.5), (True, None, 0.5, 0.75, 0.5), (True, None, 0.5, 0.7, 0.5),
        (True, None, 0.1, 0.5, 0.0), (True, None, -1.0, 0.5, 0.0), (False, None, 0.1, 0.0, 0.0),
        (False, None, -0.1, 0.4, 0.5), (False, None, -0.1, 0.49, 0.5),
        (True, 0.0, 0.2, 0.55, 0.5), (True, 0.0, 0.05, 0.55, 0.5), (True, 0.1, 0.05, 0.55, 0.5),
        (True, 0.0, None, NAN, 0.5), (True, 0.0, None, 0.5, NAN), (False, 0.0, None, NAN, NAN),
        (True, None, 0.1, NAN, 0.5), (True, None, 0.1, -0.4, -0.5),
        (True, None, -0.1, -0.6, -0.5), (False, None, 0.1, -0.6, -0.5),
        (True, 0.0, None, INF, 0.5), (True, 0.0, None, INF, INF), (True, None, 0.1, 0.5, 1e-10),
    ]
]  # fmt: skip

SLICE_CASES = [
    Case("slice-other-is-poor", metric(on(OVERALL, AT_LEAST_HALF)),
         {(): {AUC: GOOD}, FEMALE: {AUC: POOR}}),
    Case("slice-overall-is-poor", metric(on(EACH_SEX, AT_LEAST_HALF)),
         {(): {AUC: POOR}, FEMALE: {AUC: GOOD}}),
    Case("slice-one-of-two-is-poor", metric(on(EACH_SEX, AT_LEAST_HALF)),
         {(): {AUC: GOOD}, FEMALE: {AUC: GOOD}, MALE: {AUC: POOR}}),
    Case("slice-missing-feature", metric(on('slicing_specs { feature_keys: "island" }',
         AT_LEAST_HALF)), {(): {AUC: GOOD}, FEMALE: {AUC: GOOD}}),
    Case("slice-missing-value", metric(on(
         'slicing_specs { feature_values { key: "sex" value: "none" } }', AT_LEAST_HALF)),
         {(): {AUC: GOOD}, FEMALE: {AUC: GOOD}, MALE: {AUC: GOOD}}),
    Case("slice-value", metric(on(f"slicing_specs {{ {IS_FEMALE} }}", AT_LEAST_HALF)),
         {(): {AUC: POOR}, FEMALE: {AUC: GOOD}, MALE: {AUC: POOR}}),
    Case("slice-overall-and-each", metric(on(OVERALL + EACH_SEX, AT_LEAST_HALF)),
         {(): {AUC: GOOD}, FEMALE: {AUC: GOOD}, MALE: {AUC: GOOD}}),
    Case("slice-crossed-features", metric(on(
         'slicing_specs { feature_keys: ["sex", "island"] }', AT_LEAST_HALF)),
         {(): {AUC: GOOD}, FEMALE: {AUC: GOOD}, DREAM_FEMALE: {AUC: POOR}}),
    Case("slice-crossed-features-are-not-the-single-one", metric(on(EACH_SEX, AT_LEAST_HALF)),
         {(): {AUC: GOOD}, FEMALE: {AUC: GOOD}, DREAM_FEMALE: {AUC: POOR}}),
    Case("slice-key-and-value", metric(on(
         f'slicing_specs {{ feature_keys: "island" {IS_FEMALE} }}', AT_LEAST_HALF)),
         {(): {AUC: POOR}, FEMALE: {AUC: POOR}, DREAM_FEMALE: {AUC: GOOD}}),
    Case("slice-of-a-number", metric(on(
         'slicing_specs { feature_values { key: "floor" value: "1" } }', AT_LEAST_HALF)),
         {(): {AUC: POOR}, ONE: {AUC: GOOD}, TWO: {AUC: POOR}}),
    Case("slice-of-a-number-poor", metric(on(
         'slicing_specs { feature_values { key: "floor" value: "1" } }', AT_LEAST_HALF)),
         {(): {AUC: GOOD}, ONE: {AUC: POOR}, TWO: {AUC: GOOD}}),
    Case("slice-of-a-fraction", metric(on(
         'slicing_specs { feature_values { key: "share" value: "0.50" } }', AT_LEAST_HALF)),
         {(): {AUC: POOR}, HALF: {AUC: GOOD}}),
    Case("slices-with-rules-of-their-own", metric(
         on(OVERALL, value(0.8)) + on(f"slicing_specs {{ {IS_FEMALE} }}", value(0.6))),
         {(): {AUC: 0.8}, FEMALE: {AUC: 0.7}, MALE: {AUC: POOR}}),
    Case("slices-with-rules-of-their-own-one-fails", metric(
         on(OVERALL, value(0.8)) + on(f"slicing_specs {{ {IS_FEMALE} }}", value(0.75))),
         {(): {AUC: 0.8}, FEMALE: {AUC: 0.7}}),
    Case("everywhere-good", metric(everywhere(AT_LEAST_HALF)),
         {(): {AUC: GOOD}, FEMALE: {AUC: GOOD}}),
    Case("everywhere-one-poor", metric(everywhere(AT_LEAST_HALF)),
         {(): {AUC: GOOD}, FEMALE: {AUC: POOR}}),
    Case("change-on-slices", metric(on(EACH_SEX, NO_LOSS)),
         {(): {AUC: (0.5, 0.6)}, FEMALE: {AUC: (0.6, 0.6)}, MALE: {AUC: (0.7, 0.6)}}),
    Case("change-on-slices-one-loses", metric(on(EACH_SEX, NO_LOSS)),
         {(): {AUC: (0.7, 0.6)}, FEMALE: {AUC: (0.6, 0.6)}, MALE: {AUC: (0.59, 0.6)}}),
    Case("change-everywhere", metric(everywhere(NO_LOSS)),
         {(): {AUC: (0.7, 0.6)}, FEMALE: {AUC: (0.5, 0.6)}}),
    Case("value-and-change", metric(everywhere(f"{AT_LEAST_HALF} {NO_LOSS}")),
         {(): {AUC: (0.7, 0.6)}}),
    Case("value-and-change-value-fails", metric(everywhere(f"{value(0.8)} {NO_LOSS}")),
         {(): {AUC: (0.7, 0.6)}}),
    Case("value-and-change-change-fails", metric(everywhere(f"{AT_LEAST_HALF} {NO_LOSS}")),
         {(): {AUC: (0.5, 0.6)}}),
]  # fmt: skip

PRESENCE_CASES = [
    Case("metric-missing", metric(on(OVERALL, AT_LEAST_HALF)), {(): {LOSS: GOOD}}),
    Case("metric-missing-on-a-slice-of-the-rule", metric(on(EACH_SEX, AT_LEAST_HALF)),
         {(): {AUC: GOOD}, FEMALE: {AUC: GOOD}, MALE: {LOSS: GOOD}}),
    Case("metric-missing-on-another-slice", metric(on(OVERALL, AT_LEAST_HALF)),
         {(): {AUC: GOOD}, FEMALE: {LOSS: GOOD}}),
    Case("no-slice-at-all", metric(on(OVERALL, AT_LEAST_HALF)), {}),
    Case("no-overall-slice", metric(on(OVERALL, AT_LEAST_HALF)), {FEMALE: {AUC: GOOD}}),
    Case("second-metric-missing", metric(everywhere(AT_LEAST_HALF)) + metric(
         everywhere(value(None, 1.0)), name="BinaryCrossentropy"), {(): {AUC: GOOD}}),
    Case("both-metrics-there", metric(everywhere(AT_LEAST_HALF)) + metric(
         everywhere(value(None, 1.0)), name="BinaryCrossentropy"), {(): {AUC: GOOD, LOSS: 0.5}}),
    Case("no-baseline-drops-the-change", metric(everywhere(f"{AT_LEAST_HALF} {NO_LOSS}")),
         {(): {AUC: GOOD}}),
    Case("no-baseline-keeps-the-value", metric(everywhere(f"{AT_LEAST_HALF} {NO_LOSS}")),
         {(): {AUC: POOR}}),
    Case("thresholds-by-name", 'metrics_specs { metrics { class_name: "AUC" } '
         f'thresholds {{ key: "auc" value {{ {AT_LEAST_HALF} }} }} }}',
         {(): {key(weighted=None): GOOD}}),
    Case("thresholds-by-name-poor", 'metrics_specs { metrics { class_name: "AUC" } '
         f'thresholds {{ key: "auc" value {{ {AT_LEAST_HALF} }} }} }}',
         {(): {key(weighted=None): POOR}}),
    Case("thresholds-by-name-and-slice", 'metrics_specs { metrics { class_name: "AUC" } '
         f'per_slice_thresholds {{ key: "auc" value {{ thresholds {{ {EACH_SEX} threshold '
         f'{{ {AT_LEAST_HALF} }} }} }} }} }}',
         {(): {key(weighted=None): POOR}, MALE: {key(weighted=None): GOOD}}),
    Case("name-of-ones-own", metric(everywhere(AT_LEAST_HALF) + " config: '\"name\": \"mine\"'"),
         {(): {key("mine"): GOOD, AUC: POOR}}),
    Case("name-of-ones-own-poor", metric(everywhere(AT_LEAST_HALF)
         + " config: '\"name\": \"mine\"'"), {(): {key("mine"): POOR, AUC: GOOD}}),
]  # fmt: skip

BINARIZE = "binarize { class_ids { values: [0, 1] } }"
ZERO, FIRST = key(class_id=0), key(class_id=1)
MACRO = key(aggregation="macro_average")
MODEL_CASES = [
    Case("outputs-both-good", metric(everywhere(AT_LEAST_HALF), more='output_names: ["a", "b"]'),
         {(): {key(output="a"): GOOD, key(output="b"): GOOD}}),
    Case("outputs-one-poor", metric(everywhere(AT_LEAST_HALF), more='output_names: ["a", "b"]'),
         {(): {key(output="a"): GOOD, key(output="b"): POOR}}),
    Case("outputs-one-missing", metric(everywhere(AT_LEAST_HALF), more='output_names: ["a", "b"]'),
         {(): {key(output="a"): GOOD}}),
    Case("outputs-other-poor", metric(everywhere(AT_LEAST_HALF), more='output_names: ["a"]'),
         {(): {key(output="a"): GOOD, key(output="b"): POOR}}),
    Case("outputs-only-nameless", metric(everywhere(AT_LEAST_HALF), more='output_names: ["a"]'),
         {(): {AUC: GOOD}}),
    Case("outputs-change", metric(everywhere(NO_LOSS), more='output_names: ["a"]'),
         {(): {key(output="a"): (0.6, 0.7)}}),
    Case("classes-both-good", metric(everywhere(AT_LEAST_HALF), more=BINARIZE),
         {(): {ZERO: GOOD, FIRST: GOOD}}),
    Case("classes-one-poor", metric(everywhere(AT_LEAST_HALF), more=BINARIZE),
         {(): {ZERO: GOOD, FIRST: POOR}}),
    Case("classes-one-missing", metric(everywhere(AT_LEAST_HALF), more=BINARIZE),
         {(): {ZERO: GOOD}}),
    Case("classes-change", metric(everywhere(NO_LOSS), more=BINARIZE),
         {(): {ZERO: (0.7, 0.7), FIRST: (0.69, 0.7)}}),
    Case("classes-and-average", metric(everywhere(AT_LEAST_HALF),
         more=BINARIZE + " aggregate { macro_average: true }"),
         {(): {ZERO: GOOD, FIRST: GOOD, MACRO: GOOD}}),
    Case("classes-and-average-poor", metric(everywhere(AT_LEAST_HALF),
         more=BINARIZE + " aggregate { macro_average: true }"),
         {(): {ZERO: GOOD, FIRST: GOOD, MACRO: POOR}}),
    Case("top-k", metric(everywhere(AT_LEAST_HALF), name="Precision",
         more="binarize { top_k_list { values: [3] } }"),
         {(): {key("precision", top_k=3): GOOD}}),
    Case("top-k-of-another-size", metric(everywhere(AT_LEAST_HALF), name="Precision",
         more="binarize { top_k_list { values: [3] } }"),
         {(): {key("precision", top_k=5): GOOD}}),
    Case("k-th", metric(everywhere(AT_LEAST_HALF), name="Precision",
         more="binarize { k_list { values: [2] } }"), {(): {key("precision", k=2): POOR}}),
    Case("micro-average-of-top-k", metric(everywhere(AT_LEAST_HALF), name="Precision",
         more="aggregate { micro_average: true top_k_list { values: [2] } }"),
         {(): {key("precision", top_k=2, aggregation="micro_average"): GOOD}}),
    Case("weighted-macro-average", metric(everywhere(AT_LEAST_HALF),
         more=BINARIZE + " aggregate { weighted_macro_average: true }"),
         {(): {ZERO: GOOD, FIRST: GOOD, key(aggregation="weighted_macro_average"): GOOD}}),
    Case("weights-both-good", metric(everywhere(AT_LEAST_HALF),
         more="example_weights { weighted: true unweighted: true }"),
         {(): {key(weighted=True): GOOD, AUC: GOOD}}),
    Case("weights-weighted-poor", metric(everywhere(AT_LEAST_HALF),
         more="example_weights { weighted: true unweighted: true }"),
         {(): {key(weighted=True): POOR, AUC: GOOD}}),
    Case("weights-unweighted-poor", metric(everywhere(AT_LEAST_HALF),
         more="example_weights { weighted: true unweighted: true }"),
         {(): {key(weighted=True): GOOD, AUC: POOR}}),
    Case("weights-only-weighted-asked", metric(everywhere(AT_LEAST_HALF),
         more="example_weights { weighted: true }"),
         {(): {key(weighted=True): GOOD, AUC: POOR}}),
    Case("models-named", 'model_specs { name: "candidate" } '
         'model_specs { name: "baseline" is_baseline: true } ' + metric(everywhere(NO_LOSS)),
         {(): {AUC: (0.7, 0.7)}}),
    Case("models-named-worse", 'model_specs { name: "candidate" } '
         'model_specs { name: "baseline" is_baseline: true } ' + metric(everywhere(NO_LOSS)),
         {(): {AUC: (0.6, 0.7)}}),
    Case("models-of-ones-own-names", 'model_specs { name: "new" } '
         'model_specs { name: "baseline" is_baseline: true } '
         + metric(everywhere(AT_LEAST_HALF)), {(): {AUC: (0.6, 0.7)}}),
    Case("models-poor-baseline-is-no-matter", 'model_specs { name: "candidate" } '
         'model_specs { name: "baseline" is_baseline: true } '
         + metric(everywhere(AT_LEAST_HALF)), {(): {AUC: (GOOD, POOR)}}),
    Case("models-rule-on-the-candidate", 'model_specs { name: "candidate" } '
         'model_specs { name: "baseline" is_baseline: true } '
         + metric(everywhere(AT_LEAST_HALF), more='model_names: ["candidate", "baseline"]'),
         {(): {AUC: (POOR, GOOD)}}),
]  # fmt: skip

INTERVAL_CASES = [
    Case("interval-value-good", metric(everywhere(AT_LEAST_HALF)),
         {(): {AUC: estimate(0.5, 0.2)}}),
    Case("interval-value-poor", metric(everywhere(AT_LEAST_HALF)),
         {(): {AUC: estimate(0.499, 0.2)}}),
    Case("interval-upper", metric(everywhere(value(None, 0.5))), {(): {AUC: estimate(0.5, 0.2)}}),
    Case("interval-nan", metric(everywhere(AT_LEAST_HALF)), {(): {AUC: estimate(NAN, NAN)}}),
    Case("interval-change-good", metric(everywhere(NO_LOSS)),
         {(): {AUC: (estimate(0.75, 0.1), estimate(0.5, 0.1))}}),
    Case("interval-change-poor", metric(everywhere(NO_LOSS)),
         {(): {AUC: (estimate(0.5, 0.1), estimate(0.75, 0.1))}}),
    Case("interval-relative", metric(everywhere(change(None, 0.5))),
         {(): {AUC: (estimate(0.75, 0.1), estimate(0.5, 0.1))}}),
    Case("interval-on-slices", metric(on(EACH_SEX, AT_LEAST_HALF)),
         {(): {AUC: estimate(0.6, 0.1)}, FEMALE: {AUC: estimate(0.4, 0.2)}}),
]  # fmt: skip

F_M = (FEMALE, MALE)
ALL_F = ((), FEMALE)
CROSS_CASES = [
    Case("cross-good", metric(across(IS_FEMALE, IS_MALE, value(-0.1, 0.1))),
         {(): {AUC: GOOD}, F_M: {AUC: 0.05}}),
    Case("cross-poor", metric(across(IS_FEMALE, IS_MALE, value(-0.1, 0.1))),
         {(): {AUC: GOOD}, F_M: {AUC: 0.15}}),
    Case("cross-nan", metric(across(IS_FEMALE, IS_MALE, value(-0.1, 0.1))),
         {(): {AUC: GOOD}, F_M: {AUC: NAN}}),
    Case("cross-bound", metric(across(IS_FEMALE, IS_MALE, value(-0.1, 0.125))),
         {(): {AUC: GOOD}, F_M: {AUC: 0.125}}),
    Case("cross-with-the-whole", metric(across("", 'feature_keys: "sex"', value(-0.1, 0.1))),
         {(): {AUC: GOOD}, ALL_F: {AUC: 0.2}, ((), MALE): {AUC: 0.0}}),
    Case("cross-of-others-is-no-matter", metric(across(IS_FEMALE, IS_MALE, value(-0.1, 0.1))),
         {(): {AUC: GOOD}, F_M: {AUC: 0.0}, (MALE, FEMALE): {AUC: 0.5}}),
    Case("cross-beside-a-plain-rule", metric(
         on(OVERALL, AT_LEAST_HALF) + across(IS_FEMALE, IS_MALE, value(-0.1, 0.1))),
         {(): {AUC: POOR}, F_M: {AUC: 0.0}}),
    Case("cross-plain-rule-everywhere-leaves-it-alone", metric(everywhere(AT_LEAST_HALF)),
         {(): {AUC: GOOD}, F_M: {AUC: 0.0}}),
    Case("cross-metric-missing", metric(across(IS_FEMALE, IS_MALE, value(-0.1, 0.1))),
         {(): {AUC: GOOD}, F_M: {LOSS: 0.0}}),
    Case("cross-change", metric(across(IS_FEMALE, IS_MALE, change(0.02, higher=False))),
         {(): {AUC: (GOOD, GOOD)}, F_M: {AUC: (0.05, 0.05)}}),
    Case("cross-change-poor", metric(across(IS_FEMALE, IS_MALE, change(0.02, higher=False))),
         {(): {AUC: (GOOD, GOOD)}, F_M: {AUC: (0.25, 0.05)}}),
    Case("cross-missing", metric(across(IS_FEMALE, IS_MALE, value(-0.1, 0.1))),
         {(): {AUC: GOOD}}),
]  # fmt: skip

# TFMA has left small slices out when it validates; the gate gets the same numbers.
SMALL = "options { min_slice_size { value: 10 } } "
SIZE_CASES = [
    Case("small-slice-left-out", SMALL + metric(on(OVERALL, AT_LEAST_HALF)),
         {(): {AUC: GOOD, COUNT: 12.0}}),
    Case("small-slice-that-a-rule-names", SMALL + metric(
         on(f"slicing_specs {{ {IS_FEMALE} }}", AT_LEAST_HALF)), {(): {AUC: GOOD, COUNT: 12.0}}),
    Case("small-whole-is-never-left-out", SMALL + metric(on(OVERALL, AT_LEAST_HALF)),
         {(): {AUC: POOR, COUNT: 5.0}}),
    Case("small-whole-that-is-good", SMALL + metric(on(OVERALL, AT_LEAST_HALF)),
         {(): {AUC: GOOD, COUNT: 5.0}}),
    Case("slice-of-just-the-size", SMALL + metric(everywhere(AT_LEAST_HALF)),
         {(): {AUC: GOOD, COUNT: 20.0}, FEMALE: {AUC: POOR, COUNT: 10.0}}),
]  # fmt: skip

CASES = [
    *VALUE_CASES,
    *CHANGE_CASES,
    *SLICE_CASES,
    *PRESENCE_CASES,
    *MODEL_CASES,
    *INTERVAL_CASES,
    *CROSS_CASES,
    *SIZE_CASES,
]


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
        GatePolicy.from_eval_config(case.eval_config())
