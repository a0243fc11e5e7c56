"""Decisions: laws of the gate, and every reason to block."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfx_registry.gate import (
    ChangeThreshold,
    Contender,
    EvaluatedModel,
    Evaluation,
    GatePolicy,
    GateReport,
    MetricId,
    Reason,
    Situation,
    SliceSpec,
    ValueThreshold,
    decide,
    summarize,
)
from tfx_registry.records import Verdict

AUC, COUNT = MetricId("auc"), MetricId("example_count")
DREAM, TORGERSEN = (("island", "Dream"),), (("island", "Torgersen"),)
CANDIDATE = Contender(3, "c" * 64, "candidate bytes", ("/models/3",))
SERVING = Contender(1, "b" * 64, "serving bytes", ("/models/1",))
WITH_BASELINE = Situation("penguin", "production", CANDIDATE, SERVING)
FIRST = Situation("penguin", "production", CANDIDATE)

MEASURED = EvaluatedModel(
    "/models/3",
    "candidate bytes",
    {
        (): {AUC: 0.95, COUNT: 100.0},
        DREAM: {AUC: 0.9, COUNT: 60.0},
        TORGERSEN: {AUC: 0.8, COUNT: 40.0},
    },
)
BEFORE = EvaluatedModel(
    "/models/1", "serving bytes", {(): {AUC: 0.94}, DREAM: {AUC: 0.9}, TORGERSEN: {AUC: 0.85}}
)
GOOD = Evaluation("/eval", MEASURED, BEFORE)
ALONE = Evaluation("/eval", MEASURED)


def measured(table: object, **fields: object) -> Evaluation:
    """The good evaluation with other numbers of the candidate."""
    candidate = dataclasses.replace(MEASURED, metrics=table, **fields)  # type: ignore[arg-type]
    return dataclasses.replace(GOOD, candidate=candidate)


def baseline(**fields: object) -> Evaluation:
    """The good evaluation with another baseline."""
    return dataclasses.replace(GOOD, baseline=dataclasses.replace(BEFORE, **fields))  # type: ignore[arg-type]


VALUE = GatePolicy([ValueThreshold("auc", lower_bound=0.9)])
CHANGE = GatePolicy((), [ChangeThreshold("auc", absolute=0.0)])


def reasons(report: GateReport) -> list[Reason | None]:
    return [check.reason for check in report.failures]


def test_passes() -> None:
    report = decide(VALUE, GOOD, WITH_BASELINE)
    assert report.verdict is Verdict.PASSED
    assert report.reasons == ()
    assert report.baseline is not None
    assert (report.candidate.number, report.baseline.number) == (3, 1)
    assert ("auc", (), 0.95) in report.metrics


def test_a_failure_names_slice_metric_value_bound_and_examples() -> None:
    policy = GatePolicy([ValueThreshold("auc", lower_bound=0.9, slices=[SliceSpec(["island"])])])
    report = decide(policy, GOOD, WITH_BASELINE)
    assert report.verdict is Verdict.BLOCKED
    assert report.reasons == (
        "slice island=Torgersen: auc 0.8 is below the lower bound 0.9 (40 examples)",
    )
    check = report.failures[0]
    assert check.reason is Reason.BELOW_LOWER_BOUND
    assert (check.slice, check.metric, check.value, check.bound) == (TORGERSEN, "auc", 0.8, 0.9)
    assert (check.baseline_value, check.examples) == (0.85, 40)


def test_a_change_names_both_numbers() -> None:
    policy = GatePolicy(
        (), [ChangeThreshold("auc", absolute=-0.01, slices=[SliceSpec(["island"])])]
    )
    report = decide(policy, GOOD, WITH_BASELINE)
    assert reasons(report) == [Reason.CHANGE_NOT_ENOUGH]
    assert report.reasons == (
        "slice island=Torgersen: auc 0.8 against the baseline's 0.85: absolute change -0.05, "
        "needs at least -0.01 (40 examples)",
    )


def test_all_failures_are_reported_at_once() -> None:
    policy = GatePolicy(
        [
            ValueThreshold("auc", lower_bound=0.99, slices=[SliceSpec(), SliceSpec(["island"])]),
            ValueThreshold("recall", lower_bound=0.1),
            ValueThreshold("auc", lower_bound=0.1, slices=[SliceSpec(["sex"])]),
        ],
        required_slices=[SliceSpec((), {"island": "Biscoe"})],
        min_examples=50,
    )
    found = reasons(decide(policy, GOOD, WITH_BASELINE))
    assert set(found) == {
        Reason.BELOW_LOWER_BOUND,
        Reason.METRIC_MISSING,
        Reason.SLICE_MISSING,
        Reason.TOO_FEW_EXAMPLES,
    }
    assert found.count(Reason.BELOW_LOWER_BOUND) == 3
    assert found.count(Reason.SLICE_MISSING) == 2


def test_numbers_of_another_model_are_not_recorded() -> None:
    assert decide(VALUE, measured(MEASURED.metrics), WITH_BASELINE).metrics
    assert not decide(VALUE, measured(MEASURED.metrics, manifest="other"), WITH_BASELINE).metrics


@pytest.mark.parametrize(
    ("evaluation", "reason"),
    [
        (Evaluation("/nowhere"), Reason.EVALUATION_EMPTY),
        (measured({(): {}}), Reason.EVALUATION_EMPTY),
        (measured(MEASURED.metrics, manifest="other"), Reason.EVALUATION_OF_ANOTHER_MODEL),
        (measured(MEASURED.metrics, manifest=""), Reason.EVALUATION_OF_ANOTHER_MODEL),
        (baseline(manifest="other", location="/models/2"), Reason.BASELINE_IS_NOT_SERVING),
        (baseline(manifest="other"), Reason.BASELINE_BYTES_CHANGED),
        (baseline(manifest="", location="/models/../models/1/"), Reason.BASELINE_BYTES_GONE),
        (baseline(manifest="", location="/models/2"), Reason.BASELINE_IS_NOT_SERVING),
        (baseline(manifest="candidate bytes", location="/models/3"),
         Reason.BASELINE_IS_NOT_SERVING),
        (ALONE, Reason.BASELINE_MISSING),
        (baseline(metrics={}), Reason.METRIC_MISSING),
        (measured({(): {COUNT: 9.0}}), Reason.METRIC_MISSING),
        (measured({(): {AUC: 0.99, COUNT: 9.0}, DREAM: {COUNT: 9.0}}), Reason.METRIC_MISSING),
        (measured({DREAM: {AUC: 0.9}}), Reason.SLICE_MISSING),
        (measured({(): {AUC: math.nan}}), Reason.NOT_A_NUMBER),
        (measured({(): {AUC: 0.99, COUNT: 0.0}}), Reason.NO_EXAMPLES),
        (measured({(): {AUC: 0.99, COUNT: math.nan}}), Reason.NO_EXAMPLES),
        (measured({(): {AUC: 0.99, COUNT: math.inf}}), Reason.NO_EXAMPLES),
    ],
)  # fmt: skip
def test_fails_closed(evaluation: Evaluation, reason: Reason) -> None:
    report = decide(CHANGE, evaluation, WITH_BASELINE)
    assert report.verdict is Verdict.BLOCKED
    assert reason in reasons(report)
    assert all(report.reasons)


def test_examples_that_were_not_counted_block_where_a_number_is_asked_for() -> None:
    uncounted = measured({(): {AUC: 0.95}})
    assert decide(VALUE, uncounted, WITH_BASELINE).verdict is Verdict.PASSED
    report = decide(dataclasses.replace(VALUE, min_examples=2), uncounted, WITH_BASELINE)
    assert reasons(report) == [Reason.EXAMPLES_NOT_COUNTED]


def test_examples_are_counted_without_weights_where_both_are_known() -> None:
    weighted = COUNT._replace(weighting="weighted")
    both = measured({(): {AUC: 0.95, COUNT: 100.0, weighted: 3.0}})
    assert both.examples(()) == 100
    # A sum of weights says nothing of how many there were.
    assert measured({(): {AUC: 0.95, weighted: 3.0}}).examples(()) is None
    heads = [COUNT._replace(output_name=name) for name in ("a", "b")]
    assert measured({(): {heads[0]: 5.0, heads[1]: 4.0}}).examples(()) == 4


def test_a_rule_is_asked_of_every_variant_of_its_metric() -> None:
    weighted = AUC._replace(weighting="weighted")
    macro = AUC._replace(aggregation="macro_average")
    report = decide(VALUE, measured({(): {AUC: 0.95, weighted: 0.1, macro: 0.2}}), WITH_BASELINE)
    assert report.reasons == ("overall: auc (weighted) 0.1 is below the lower bound 0.9",)
    of_macro = GatePolicy([ValueThreshold("auc", lower_bound=0.9, aggregation="macro_average")])
    report = decide(of_macro, measured({(): {AUC: 0.95, macro: 0.2}}), WITH_BASELINE)
    assert report.reasons == ("overall: auc (macro_average) 0.2 is below the lower bound 0.9",)
    report = decide(of_macro, measured({(): {AUC: 0.95}}), WITH_BASELINE)
    assert reasons(report) == [Reason.METRIC_MISSING]


def test_a_slice_that_only_the_baseline_has_is_missing() -> None:
    policy = GatePolicy([ValueThreshold("auc", lower_bound=0.5, slices=[SliceSpec(["island"])])])
    evaluation = measured({(): {AUC: 0.95}, DREAM: {AUC: 0.9}})
    report = decide(policy, evaluation, WITH_BASELINE)
    assert reasons(report) == [Reason.SLICE_MISSING]
    assert "slice island=Torgersen was measured on the baseline" in report.reasons[0]


def test_a_metric_missing_in_a_slice_that_no_rule_names_blocks_as_in_tfma() -> None:
    report = decide(VALUE, measured({(): {AUC: 0.95}, DREAM: {COUNT: 60.0}}), WITH_BASELINE)
    assert reasons(report) == [Reason.METRIC_MISSING]
    assert report.failures[0].slice == DREAM


def test_a_misspelt_metric_blocks_the_first_version_too() -> None:
    policy = GatePolicy((), [ChangeThreshold("acu", absolute=0.0)])
    report = decide(policy, ALONE, FIRST)
    assert reasons(report) == [Reason.METRIC_MISSING]
    assert "evaluated were: auc, example_count" in report.reasons[0]


def test_too_few_examples_block_the_first_version_too() -> None:
    report = decide(dataclasses.replace(CHANGE, min_examples=101), ALONE, FIRST)
    assert reasons(report) == [Reason.TOO_FEW_EXAMPLES]


def test_the_message_names_the_bound_that_failed() -> None:
    policy = GatePolicy((), [ChangeThreshold("auc", absolute=0.0, relative=0.5)])
    report = decide(policy, GOOD, WITH_BASELINE)
    assert report.failures[0].bound == 0.5
    assert "relative change 0.0106383, needs at least 0.5" in report.reasons[0]


def test_an_unfinished_promotion_blocks() -> None:
    report = decide(VALUE, GOOD, dataclasses.replace(WITH_BASELINE, unfinished="finish it"))
    assert reasons(report) == [Reason.PROMOTION_UNFINISHED]


@pytest.mark.parametrize(
    ("rule", "situation", "evaluation", "verdict"),
    [
        ("first_version_only", FIRST, ALONE, Verdict.PASSED),
        ("first_version_only", WITH_BASELINE, ALONE, Verdict.BLOCKED),
        ("first_version_only", FIRST, GOOD, Verdict.BLOCKED),
        ("require", FIRST, ALONE, Verdict.BLOCKED),
        ("require", WITH_BASELINE, ALONE, Verdict.BLOCKED),
        ("require", WITH_BASELINE, GOOD, Verdict.PASSED),
        ("allow", FIRST, ALONE, Verdict.PASSED),
        ("allow", WITH_BASELINE, ALONE, Verdict.PASSED),
        ("allow", FIRST, GOOD, Verdict.PASSED),
    ],
)
def test_baseline_rules(
    rule: str, situation: Situation, evaluation: Evaluation, verdict: Verdict
) -> None:
    policy = dataclasses.replace(CHANGE, baseline=rule)
    report = decide(policy, evaluation, situation)
    assert report.verdict is verdict
    assert report.baseline_rule == rule
    compared = situation is WITH_BASELINE and evaluation is GOOD
    assert (report.baseline is not None) is compared
    if verdict is Verdict.PASSED and not compared:
        assert any("changes not checked" in note for note in report.notes)


def test_the_first_version_still_has_to_reach_its_bounds() -> None:
    policy = GatePolicy([ValueThreshold("auc", lower_bound=0.99)])
    assert reasons(decide(policy, ALONE, FIRST)) == [Reason.BELOW_LOWER_BOUND]


numbers = st.floats(min_value=-1e6, max_value=1e6)
tables = st.dictionaries(
    st.sampled_from([(), DREAM, TORGERSEN]),
    st.dictionaries(st.sampled_from([AUC, COUNT, MetricId("loss")]), numbers, max_size=3),
    max_size=3,
)
slices = st.lists(
    st.sampled_from([SliceSpec(), SliceSpec(["island"]), SliceSpec((), {"island": "Dream"})]),
    min_size=1,
    max_size=2,
)
value_rules = st.builds(
    lambda metric, bounds, slices: ValueThreshold(metric, min(bounds), max(bounds), slices),
    st.sampled_from(["auc", "loss"]),
    st.tuples(numbers, numbers),
    slices,
)
change_rules = st.builds(
    ChangeThreshold,
    st.sampled_from(["auc", "loss"]),
    st.sampled_from(["higher_is_better", "lower_is_better"]),
    numbers,
    st.none() | numbers,
    slices,
)
policies = st.builds(
    GatePolicy,
    st.lists(value_rules, min_size=1, max_size=3),
    st.lists(change_rules, max_size=3),
    min_examples=st.integers(1, 50),
)
evaluations = st.builds(
    lambda c, b: Evaluation(
        "/eval",
        dataclasses.replace(MEASURED, metrics=c),
        dataclasses.replace(BEFORE, metrics=b),
    ),
    tables,
    tables,
)


@given(policies, evaluations)
def test_the_order_of_rules_and_slices_never_matters(
    policy: GatePolicy, evaluation: Evaluation
) -> None:
    turned_policy = dataclasses.replace(
        policy,
        value_thresholds=policy.value_thresholds[::-1],
        change_thresholds=policy.change_thresholds[::-1],
    )
    assert evaluation.candidate is not None
    turned = dataclasses.replace(
        evaluation,
        candidate=dataclasses.replace(
            evaluation.candidate, metrics=dict(reversed(list(evaluation.numbers.items())))
        ),
    )
    first = decide(policy, evaluation, WITH_BASELINE)
    second = decide(turned_policy, turned, WITH_BASELINE)
    assert (first.verdict, first.checks) == (second.verdict, second.checks)


@given(policies, evaluations, value_rules, change_rules)
def test_a_further_rule_never_turns_a_block_into_a_pass(
    policy: GatePolicy, evaluation: Evaluation, value: ValueThreshold, change: ChangeThreshold
) -> None:
    stricter = dataclasses.replace(
        policy,
        value_thresholds=(*policy.value_thresholds, value),
        change_thresholds=(*policy.change_thresholds, change),
    )
    if decide(policy, evaluation, WITH_BASELINE).verdict is Verdict.BLOCKED:
        assert decide(stricter, evaluation, WITH_BASELINE).verdict is Verdict.BLOCKED


@given(policies, evaluations)
def test_a_report_comes_back_from_its_json(policy: GatePolicy, evaluation: Evaluation) -> None:
    report = decide(policy, evaluation, WITH_BASELINE)
    assert GateReport.from_json(report.to_json()) == report
    assert report.to_json() == decide(policy, evaluation, WITH_BASELINE).to_json()
    assert (report.verdict is Verdict.PASSED) == (not report.failures)
    assert len(summarize(report).splitlines()) == 1 + len(report.reasons) + len(report.notes)


def test_thresholds_that_only_look_alike_are_two_rules() -> None:
    near = 0.9 - 1e-12
    rules = [ValueThreshold("auc", lower_bound=bound) for bound in (near, 0.9)]
    for order in (rules, rules[::-1]):
        report = decide(GatePolicy(order), GOOD, WITH_BASELINE)
        assert [check.bound for check in report.checks] == [near, 0.9]
        assert len({check.rule for check in report.checks}) == 1


def test_the_numbers_that_are_kept() -> None:
    loss = MetricId("loss")
    table = {(): {AUC: 0.95, loss: 1.0, COUNT: 9.0}, DREAM: {AUC: 0.9, loss: 2.0, COUNT: 6.0}}
    report = decide(VALUE, measured(table), WITH_BASELINE)
    assert report.metrics == (
        ("auc", (), 0.95),
        ("example_count", (), 9.0),
        ("loss", (), 1.0),
        ("auc", DREAM, 0.9),
        ("example_count", DREAM, 6.0),
    )


@pytest.mark.parametrize(
    ("weighting", "name"), [("weighted", "auc (weighted)"), ("unweighted", "auc"), ("any", "auc")]
)
def test_a_missing_metric_is_called_by_what_was_asked(weighting: str, name: str) -> None:
    policy = GatePolicy([ValueThreshold("auc", lower_bound=0.5, weighting=weighting)])  # type: ignore[arg-type]
    report = decide(policy, measured({(): {COUNT: 9.0}}), WITH_BASELINE)
    assert [check.metric for check in report.failures] == [name]


def test_a_rule_may_be_about_one_weighting() -> None:
    both = measured({(): {AUC: 0.95, AUC._replace(weighting="weighted"): 0.1}})
    for weighting, passed in (("any", False), ("weighted", False), ("unweighted", True)):
        rule = ValueThreshold("auc", lower_bound=0.9, weighting=weighting)  # type: ignore[arg-type]
        report = decide(GatePolicy([rule]), both, WITH_BASELINE)
        assert (report.verdict is Verdict.PASSED) is passed


@pytest.mark.parametrize(
    ("count", "least", "reason"),
    [
        (5.0, 5, None),
        (5.0, 6, Reason.TOO_FEW_EXAMPLES),
        (1.0, 1, None),
        (0.0, 1, Reason.NO_EXAMPLES),
        (0.0, 9, Reason.NO_EXAMPLES),
    ],
)
def test_as_many_examples_as_asked_for_are_enough(
    count: float, least: int, reason: Reason | None
) -> None:
    found = measured({(): {AUC: 0.95, COUNT: count}})
    whole = dataclasses.replace(VALUE, min_examples=least)
    rule = dataclasses.replace(VALUE.value_thresholds[0], min_examples=least)
    for policy in (whole, GatePolicy([rule]), GatePolicy([rule], min_examples=99)):
        assert reasons(decide(policy, found, WITH_BASELINE)) == ([reason] if reason else [])
