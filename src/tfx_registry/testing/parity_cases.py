"""A table of EvalConfigs and numbers, on which the gate is to say what TFMA's validator says.

Nothing here needs TFMA: configs are text protocol buffers, numbers are named by `Key`. What both
say of each case is asked by tests/gate/test_tfma_parity.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = [
    "AT_LEAST_HALF",
    "AUC",
    "CASES",
    "COUNT",
    "CROSS_CASES",
    "GOOD",
    "NO_LOSS",
    "POOR",
    "Case",
    "Estimate",
    "Key",
    "change",
    "everywhere",
    "metric",
    "value",
]

NAN, INF = math.nan, math.inf
FEMALE, MALE = (("sex", "female"),), (("sex", "male"),)
DREAM = (("island", "Dream"),)
DREAM_FEMALE = (("island", "Dream"), ("sex", "female"))
ONE, TWO = (("floor", 1),), (("floor", 2),)
HALF = (("share", 0.5),)


class Key(NamedTuple):
    """Which number, in the words of TFMA's MetricKey.

    Attributes:
        name: Name of the metric.
        output: Output of the model, or "".
        class_id: Class of a binarized metric, or None.
        k: Rank of a binarized metric, or None.
        top_k: Number of best classes of a binarized metric, or None.
        aggregation: How classes were aggregated, or "".
        weighted: Whether examples counted by their weight; None where it is not said.
    """

    name: str = "auc"
    output: str = ""
    class_id: int | None = None
    k: int | None = None
    top_k: int | None = None
    aggregation: str = ""
    weighted: bool | None = False


class Estimate(NamedTuple):
    """A number with a confidence interval, as jackknife and bootstrap give it.

    Attributes:
        value: The number.
        error: Its standard error.
    """

    value: float
    error: float


AUC, LOSS, COUNT = Key(), Key("binary_crossentropy"), Key("example_count")


@dataclass(frozen=True)
class Case:
    """An EvalConfig and numbers.

    Attributes:
        name: What it is about.
        config: The EvalConfig as text protocol buffer.
        rows: Numbers by TFMA's slice key and `Key`; pairs are candidate and baseline.
    """

    name: str
    config: str
    rows: Mapping[Any, Mapping[Any, Any]]

    @property
    def has_baseline(self) -> bool:
        """Whether there are numbers of a baseline."""
        return any(type(v) is tuple for row in self.rows.values() for v in row.values())


# Parts of EvalConfigs.


def value(low: float | None = None, high: float | None = None) -> str:
    """A threshold on the value itself."""
    bounds = "" if low is None else f"lower_bound {{ value: {low} }} "
    bounds += "" if high is None else f"upper_bound {{ value: {high} }}"
    return f"value_threshold {{ {bounds} }}"


def change(
    absolute: float | None = None, relative: float | None = None, *, higher: bool = True
) -> str:
    """A threshold on the change against the baseline."""
    text = f"direction: {'HIGHER' if higher else 'LOWER'}_IS_BETTER "
    text += "" if absolute is None else f"absolute {{ value: {absolute} }} "
    text += "" if relative is None else f"relative {{ value: {relative} }}"
    return f"change_threshold {{ {text} }}"


def metric(rule: str, *, name: str = "AUC", more: str = "") -> str:
    """A metric with a rule; `more` stands in its MetricsSpec."""
    return f'metrics_specs {{ {more} metrics {{ class_name: "{name}" {rule} }} }}'


def everywhere(rule: str) -> str:
    """A rule that holds on every slice."""
    return f"threshold {{ {rule} }}"


def on(specs: str, rule: str) -> str:
    """A rule that holds on some slices."""
    return f"per_slice_thresholds {{ {specs} threshold {{ {rule} }} }}"


def across(baseline: str, compared: str, rule: str) -> str:
    """A rule on the difference of two slices."""
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
         {(): {Key(weighted=None): GOOD}}),
    Case("thresholds-by-name-poor", 'metrics_specs { metrics { class_name: "AUC" } '
         f'thresholds {{ key: "auc" value {{ {AT_LEAST_HALF} }} }} }}',
         {(): {Key(weighted=None): POOR}}),
    Case("thresholds-by-name-and-slice", 'metrics_specs { metrics { class_name: "AUC" } '
         f'per_slice_thresholds {{ key: "auc" value {{ thresholds {{ {EACH_SEX} threshold '
         f'{{ {AT_LEAST_HALF} }} }} }} }} }}',
         {(): {Key(weighted=None): POOR}, MALE: {Key(weighted=None): GOOD}}),
    Case("name-of-ones-own", metric(everywhere(AT_LEAST_HALF) + " config: '\"name\": \"mine\"'"),
         {(): {Key("mine"): GOOD, AUC: POOR}}),
    Case("name-of-ones-own-poor", metric(everywhere(AT_LEAST_HALF)
         + " config: '\"name\": \"mine\"'"), {(): {Key("mine"): POOR, AUC: GOOD}}),
]  # fmt: skip

BINARIZE = "binarize { class_ids { values: [0, 1] } }"
ZERO, FIRST = Key(class_id=0), Key(class_id=1)
MACRO = Key(aggregation="macro_average")
MODEL_CASES = [
    Case("outputs-both-good", metric(everywhere(AT_LEAST_HALF), more='output_names: ["a", "b"]'),
         {(): {Key(output="a"): GOOD, Key(output="b"): GOOD}}),
    Case("outputs-one-poor", metric(everywhere(AT_LEAST_HALF), more='output_names: ["a", "b"]'),
         {(): {Key(output="a"): GOOD, Key(output="b"): POOR}}),
    Case("outputs-one-missing", metric(everywhere(AT_LEAST_HALF), more='output_names: ["a", "b"]'),
         {(): {Key(output="a"): GOOD}}),
    Case("outputs-other-poor", metric(everywhere(AT_LEAST_HALF), more='output_names: ["a"]'),
         {(): {Key(output="a"): GOOD, Key(output="b"): POOR}}),
    Case("outputs-only-nameless", metric(everywhere(AT_LEAST_HALF), more='output_names: ["a"]'),
         {(): {AUC: GOOD}}),
    Case("outputs-change", metric(everywhere(NO_LOSS), more='output_names: ["a"]'),
         {(): {Key(output="a"): (0.6, 0.7)}}),
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
         {(): {Key("precision", top_k=3): GOOD}}),
    Case("top-k-of-another-size", metric(everywhere(AT_LEAST_HALF), name="Precision",
         more="binarize { top_k_list { values: [3] } }"),
         {(): {Key("precision", top_k=5): GOOD}}),
    Case("k-th", metric(everywhere(AT_LEAST_HALF), name="Precision",
         more="binarize { k_list { values: [2] } }"), {(): {Key("precision", k=2): POOR}}),
    Case("micro-average-of-top-k", metric(everywhere(AT_LEAST_HALF), name="Precision",
         more="aggregate { micro_average: true top_k_list { values: [2] } }"),
         {(): {Key("precision", top_k=2, aggregation="micro_average"): GOOD}}),
    Case("weighted-macro-average", metric(everywhere(AT_LEAST_HALF),
         more=BINARIZE + " aggregate { weighted_macro_average: true }"),
         {(): {ZERO: GOOD, FIRST: GOOD, Key(aggregation="weighted_macro_average"): GOOD}}),
    Case("weights-both-good", metric(everywhere(AT_LEAST_HALF),
         more="example_weights { weighted: true unweighted: true }"),
         {(): {Key(weighted=True): GOOD, AUC: GOOD}}),
    Case("weights-weighted-poor", metric(everywhere(AT_LEAST_HALF),
         more="example_weights { weighted: true unweighted: true }"),
         {(): {Key(weighted=True): POOR, AUC: GOOD}}),
    Case("weights-unweighted-poor", metric(everywhere(AT_LEAST_HALF),
         more="example_weights { weighted: true unweighted: true }"),
         {(): {Key(weighted=True): GOOD, AUC: POOR}}),
    Case("weights-only-weighted-asked", metric(everywhere(AT_LEAST_HALF),
         more="example_weights { weighted: true }"),
         {(): {Key(weighted=True): GOOD, AUC: POOR}}),
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
         {(): {AUC: Estimate(0.5, 0.2)}}),
    Case("interval-value-poor", metric(everywhere(AT_LEAST_HALF)),
         {(): {AUC: Estimate(0.499, 0.2)}}),
    Case("interval-upper", metric(everywhere(value(None, 0.5))), {(): {AUC: Estimate(0.5, 0.2)}}),
    Case("interval-nan", metric(everywhere(AT_LEAST_HALF)), {(): {AUC: Estimate(NAN, NAN)}}),
    Case("interval-change-good", metric(everywhere(NO_LOSS)),
         {(): {AUC: (Estimate(0.75, 0.1), Estimate(0.5, 0.1))}}),
    Case("interval-change-poor", metric(everywhere(NO_LOSS)),
         {(): {AUC: (Estimate(0.5, 0.1), Estimate(0.75, 0.1))}}),
    Case("interval-relative", metric(everywhere(change(None, 0.5))),
         {(): {AUC: (Estimate(0.75, 0.1), Estimate(0.5, 0.1))}}),
    Case("interval-on-slices", metric(on(EACH_SEX, AT_LEAST_HALF)),
         {(): {AUC: Estimate(0.6, 0.1)}, FEMALE: {AUC: Estimate(0.4, 0.2)}}),
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
