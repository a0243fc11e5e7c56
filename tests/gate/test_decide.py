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
CANDIDATE = Contender(3, "c" * 64, ("/models/3",))
SERVING = Contender(1, "b" * 64, ("/models/1",))
WITH_BASELINE = Situation("penguin", "production", CANDIDATE, SERVING)
FIRST = Situation("penguin", "production", CANDIDATE)

GOOD = Evaluation(
    location="/eval",
    candidate_location="/models/3",
    baseline_location="/models/1",
    candidate={
        (): {AUC: 0.95, COUNT: 100.0},
        DREAM: {AUC: 0.9, COUNT: 60.0},
        TORGERSEN: {AUC: 0.8, COUNT: 40.0},
    },
    baseline={(): {AUC: 0.94}, DREAM: {AUC: 0.9}, TORGERSEN: {AUC: 0.85}},
)
ALONE = dataclasses.replace(GOOD, baseline={}, baseline_location="")
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


@pytest.mark.parametrize(
    ("evaluation", "reason"),
    [
        (Evaluation("/nowhere"), Reason.EVALUATION_EMPTY),
        (dataclasses.replace(GOOD, candidate={(): {}}), Reason.EVALUATION_EMPTY),
        (dataclasses.replace(GOOD, candidate_location="/models/2"),
         Reason.EVALUATION_OF_ANOTHER_MODEL),
        (dataclasses.replace(GOOD, candidate_location=""), Reason.EVALUATION_OF_ANOTHER_MODEL),
        (dataclasses.replace(GOOD, baseline_location="/models/2"), Reason.BASELINE_IS_NOT_SERVING),
        (ALONE, Reason.BASELINE_MISSING),
        (dataclasses.replace(GOOD, baseline={}), Reason.METRIC_MISSING),
        (dataclasses.replace(GOOD, candidate={(): {COUNT: 9.0}}), Reason.METRIC_MISSING),
        (dataclasses.replace(GOOD, candidate={DREAM: {AUC: 0.9}}), Reason.SLICE_MISSING),
        (dataclasses.replace(GOOD, candidate={(): {AUC: math.nan}}), Reason.NOT_A_NUMBER),
        (dataclasses.replace(GOOD, candidate={(): {AUC: 0.99, COUNT: 0.0}}),
         Reason.TOO_FEW_EXAMPLES),
    ],
)  # fmt: skip
def test_fails_closed(evaluation: Evaluation, reason: Reason) -> None:
    report = decide(CHANGE, evaluation, WITH_BASELINE)
    assert report.verdict is Verdict.BLOCKED
    assert reason in reasons(report)
    assert all(report.reasons)


def test_examples_that_were_not_counted_block_where_a_number_is_asked_for() -> None:
    uncounted = dataclasses.replace(GOOD, candidate={(): {AUC: 0.95}})
    assert decide(VALUE, uncounted, WITH_BASELINE).verdict is Verdict.PASSED
    report = decide(dataclasses.replace(VALUE, min_examples=2), uncounted, WITH_BASELINE)
    assert reasons(report) == [Reason.EXAMPLES_NOT_COUNTED]


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


def test_locations_are_compared_as_places() -> None:
    slash = dataclasses.replace(GOOD, candidate_location="/models/x/../3/")
    assert decide(VALUE, slash, WITH_BASELINE).verdict is Verdict.PASSED


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
    ValueThreshold, st.sampled_from(["auc", "loss"]), numbers, st.none() | numbers, slices
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
    lambda c, b: dataclasses.replace(GOOD, candidate=c, baseline=b), tables, tables
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
    turned = dataclasses.replace(
        evaluation, candidate=dict(reversed(list(evaluation.candidate.items())))
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
