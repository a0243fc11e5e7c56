"""Dominance, rules between slices, small slices, and where the baseline went."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from tfx_registry.gate import (
    ChangeThreshold,
    CheckKind,
    Contender,
    CrossSliceSpec,
    EvaluatedModel,
    Evaluation,
    GatePolicy,
    Interval,
    MetricId,
    NoWorse,
    Reason,
    Situation,
    SliceSpec,
    ValueThreshold,
    decide,
)
from tfx_registry.records import SliceKey, Verdict

AUC, COUNT = MetricId("auc"), MetricId("example_count")
FEMALE: SliceKey = (("sex", "female"),)
MALE: SliceKey = (("sex", "male"),)
OLD: SliceKey = (("age", "old"),)
SITUATION = Situation(
    "m", "production", Contender(2, "", "c"), Contender(1, "", "b", ("/b",)), serving_seq=7
)
PAIR = (FEMALE, MALE)


def evaluation(
    after: dict[SliceKey, float], before: dict[SliceKey, float], **fields: Any
) -> Evaluation:
    def table(numbers: dict[SliceKey, float]) -> Any:
        return {key: {AUC: value, COUNT: 50.0} for key, value in numbers.items()}

    return Evaluation(
        "/eval", EvaluatedModel("/c", "c", table(after)), EvaluatedModel("/b", "b", table(before)),
        **fields,
    )  # fmt: skip


def failed(
    policy: GatePolicy, found: Evaluation, situation: Situation = SITUATION
) -> list[tuple[Reason | None, SliceKey]]:
    report = decide(policy, found, situation)
    assert (report.verdict is Verdict.PASSED) == (not report.failures)
    return [(check.reason, check.slice) for check in report.failures]


BEFORE = {(): 0.8, FEMALE: 0.8, MALE: 0.8}


@pytest.mark.parametrize(
    ("rule", "after", "expected"),
    [
        (NoWorse("auc"), {(): 0.8, FEMALE: 0.8, MALE: 0.9}, []),
        (NoWorse("auc"), {(): 0.8, FEMALE: 0.7, MALE: 0.9}, [(Reason.CHANGE_NOT_ENOUGH, FEMALE)]),
        (NoWorse("auc"), BEFORE, [(Reason.NOT_BETTER_ANYWHERE, ())]),
        (NoWorse("auc", better_somewhere=False), BEFORE, []),
        (NoWorse("auc", tolerance=0.1), {(): 0.9, FEMALE: 0.75, MALE: 0.8}, []),
        (NoWorse("auc", tolerance=0.1), {(): 0.75, FEMALE: 0.75, MALE: 0.75},
         [(Reason.NOT_BETTER_ANYWHERE, ())]),
        (NoWorse("auc", tolerance=0.25), {(): 0.9, FEMALE: 0.55, MALE: 0.5},
         [(Reason.CHANGE_NOT_ENOUGH, MALE)]),
        (NoWorse("auc", "lower_is_better"), {(): 0.8, FEMALE: 0.7, MALE: 0.8}, []),
        (NoWorse("auc", "lower_is_better"), {(): 0.8, FEMALE: 0.7, MALE: 0.9},
         [(Reason.CHANGE_NOT_ENOUGH, MALE)]),
        (NoWorse("auc", slices=[SliceSpec()]), {(): 0.9, FEMALE: 0.7, MALE: 0.7}, []),
        (NoWorse("auc", slices=[SliceSpec(["sex"])]), {(): 0.1, FEMALE: 0.9, MALE: 0.8}, []),
        (NoWorse("auc"), {(): 0.9, FEMALE: math.nan, MALE: 0.8}, [(Reason.NOT_A_NUMBER, FEMALE)]),
        (NoWorse("auc"), {(): 0.9, FEMALE: 0.8}, [(Reason.SLICE_MISSING, MALE)]),
        (NoWorse("auc"), {(): 0.9, FEMALE: 0.8, MALE: 0.8, OLD: 0.9},
         [(Reason.METRIC_MISSING, OLD)]),
        (NoWorse("recall"), BEFORE, [(Reason.METRIC_MISSING, key) for key in ((), FEMALE, MALE)]),
        (NoWorse("auc", min_examples=51), {(): 0.9, FEMALE: 0.8, MALE: 0.8},
         [(Reason.TOO_FEW_EXAMPLES, key) for key in ((), FEMALE, MALE)]),
    ],
)  # fmt: skip
def test_at_least_as_good_everywhere_and_better_somewhere(
    rule: NoWorse, after: Any, expected: Any
) -> None:
    assert failed(GatePolicy(no_worse=[rule]), evaluation(after, BEFORE)) == expected


def test_a_slice_that_is_not_as_good_is_not_better_either() -> None:
    """With confidence a slice may gain and still be doubtful."""
    paired = {
        (): {AUC: Interval(-0.02, 0.3)},
        FEMALE: {AUC: Interval(-0.005, 0.2)},
        MALE: {AUC: Interval(0.0, 0.1)},
    }
    after = {(): 0.9, FEMALE: 0.9, MALE: 0.85}
    found = evaluation(after, BEFORE, difference_intervals=paired)
    rule = NoWorse("auc", tolerance=0.01, confidence="bound")
    assert failed(GatePolicy(no_worse=[rule]), found) == [
        (Reason.NOT_BETTER_ANYWHERE, ()),
        (Reason.NOT_CONFIDENT, ()),
    ]
    wide = dataclasses.replace(rule, tolerance=0.02)
    assert failed(GatePolicy(no_worse=[wide]), found) == [(Reason.NOT_BETTER_ANYWHERE, ())]
    paired[MALE] = {AUC: Interval(0.001, 0.1)}
    assert failed(GatePolicy(no_worse=[wide]), found) == []
    lower = dataclasses.replace(wide, direction="lower_is_better", tolerance=0.3)
    assert failed(GatePolicy(no_worse=[lower]), found) == [(Reason.NOT_BETTER_ANYWHERE, ())]
    paired[MALE] = {AUC: Interval(-0.2, -0.1)}
    assert failed(GatePolicy(no_worse=[lower]), found) == []


def test_dominance_without_an_interval() -> None:
    found = evaluation({(): 0.9}, {(): 0.8})
    rule = NoWorse("auc", confidence="bound")
    assert failed(GatePolicy(no_worse=[rule]), found) == [
        (Reason.NOT_BETTER_ANYWHERE, ()),
        (Reason.INTERVAL_MISSING, ()),
    ]
    assert failed(GatePolicy(no_worse=[rule], missing_interval="use_point_value"), found) == []


def test_dominance_says_where() -> None:
    keys = [(("island", name),) for name in "abcd"]
    found = evaluation(dict.fromkeys(keys, 0.9), dict.fromkeys(keys, 0.8))
    report = decide(GatePolicy(no_worse=[NoWorse("auc", tolerance=0.05)]), found, SITUATION)
    (better,) = (check for check in report.checks if check.kind is CheckKind.BETTER)
    assert better.message == (
        "auc is better on 4 of 4 slices: island=a, island=b, island=c and 1 more"
    )
    few = evaluation(dict.fromkeys(keys[:3], 0.9), dict.fromkeys(keys[:3], 0.8))
    report_of_few = decide(GatePolicy(no_worse=[NoWorse("auc")]), few, SITUATION)
    (better,) = (check for check in report_of_few.checks if check.kind is CheckKind.BETTER)
    assert better.message == "auc is better on 3 of 3 slices: island=a, island=b, island=c"
    worse = next(check for check in report.checks if check.kind is CheckKind.NO_WORSE)
    assert worse.rule == "no worse than the baseline by more than 0.05"
    assert worse.bound == -0.05
    assert worse.message == (
        "slice island=a: auc 0.9 against the baseline's 0.8: change 0.1, which is no worse "
        "(50 examples)"
    )


def test_dominance_is_not_asked_of_the_first_version() -> None:
    first = dataclasses.replace(SITUATION, serving=None)
    found = dataclasses.replace(evaluation({(): 0.9}, {}), baseline=None)
    report = decide(GatePolicy(no_worse=[NoWorse("auc")]), found, first)
    assert report.verdict is Verdict.PASSED
    assert "changes not checked, for want of a baseline: auc" in report.notes
    assert [check.kind for check in report.checks] == [CheckKind.PRESENT]


def crossed(after: float | None, before: float | None, **fields: Any) -> Evaluation:
    found = evaluation({(): 0.9, FEMALE: 0.9, MALE: 0.8}, BEFORE)
    assert found.candidate is not None
    assert found.baseline is not None

    def put(model: EvaluatedModel, value: float | None) -> EvaluatedModel:
        table = {} if value is None else {PAIR: {AUC: value}}
        return dataclasses.replace(model, cross_slices=table)

    return dataclasses.replace(
        found, candidate=put(found.candidate, after), baseline=put(found.baseline, before), **fields
    )


SEXES = CrossSliceSpec(SliceSpec((), {"sex": "female"}), [SliceSpec(["sex"])])
APART = ValueThreshold("auc", -0.05, 0.05, cross_slices=[SEXES])
CLOSER = ChangeThreshold("auc", "lower_is_better", absolute=0.0, cross_slices=[SEXES])


@pytest.mark.parametrize(
    ("policy", "found", "reasons"),
    [
        (GatePolicy([APART]), crossed(0.05, None), []),
        (GatePolicy([APART]), crossed(0.1, None), [Reason.ABOVE_UPPER_BOUND]),
        (GatePolicy([APART]), crossed(-0.1, None), [Reason.BELOW_LOWER_BOUND]),
        (GatePolicy([APART]), crossed(None, None), [Reason.SLICE_MISSING]),
        (GatePolicy([APART]), crossed(None, 0.1), [Reason.SLICE_MISSING]),
        (GatePolicy([dataclasses.replace(APART, metric="recall")]), crossed(0.0, 0.0),
         [Reason.METRIC_MISSING]),
        (GatePolicy([dataclasses.replace(APART, min_examples=51)]), crossed(0.0, 0.0),
         [Reason.TOO_FEW_EXAMPLES] * 2),
        (GatePolicy((), [CLOSER]), crossed(0.05, 0.06), []),
        (GatePolicy((), [CLOSER]), crossed(0.06, 0.05), [Reason.CHANGE_NOT_ENOUGH]),
        (GatePolicy((), [CLOSER]), crossed(0.05, None), [Reason.METRIC_MISSING]),
        (GatePolicy((), [dataclasses.replace(CLOSER, confidence="bound")]), crossed(0.05, 0.06),
         [Reason.INTERVAL_MISSING]),
        (GatePolicy((), [dataclasses.replace(CLOSER, confidence="bound")]),
         crossed(0.05, 0.06, cross_difference_intervals={PAIR: {AUC: Interval(-0.1, 0.0)}}), []),
        (GatePolicy((), [dataclasses.replace(CLOSER, confidence="bound")]),
         crossed(0.05, 0.06, cross_difference_intervals={PAIR: {AUC: Interval(-0.1, 0.01)}}),
         [Reason.NOT_CONFIDENT]),
    ],
)  # fmt: skip
def test_rules_between_slices(policy: GatePolicy, found: Evaluation, reasons: list[Reason]) -> None:
    assert [reason for reason, _ in failed(policy, found)] == reasons


def test_a_check_between_slices_names_both() -> None:
    (check,) = decide(GatePolicy([APART]), crossed(0.1, None), SITUATION).checks
    assert (check.slice, check.versus, check.examples) == (FEMALE, MALE, 50)
    assert check.message == (
        "slice sex=female against sex=male: auc 0.1 is above the upper bound 0.05 "
        "(50 and 50 examples)"
    )
    missing = decide(GatePolicy([APART]), crossed(None, None), SITUATION).checks
    assert "slice sex=female against each sex is missing in the evaluation" in missing[0].message


def test_every_slice_may_be_meant() -> None:
    rule = ValueThreshold("auc", lower_bound=0.85, slices=[SliceSpec(all_slices=True)])
    found = evaluation({(): 0.9, FEMALE: 0.8, OLD: 0.8}, {(): 0.9, MALE: 0.8})
    assert failed(GatePolicy([rule]), found) == [
        (Reason.BELOW_LOWER_BOUND, OLD),
        (Reason.BELOW_LOWER_BOUND, FEMALE),
        (Reason.SLICE_MISSING, MALE),
    ]


def test_slices_that_are_too_small_are_left_out_and_counted() -> None:
    small = evaluation({(): 0.9, FEMALE: 0.1, MALE: 0.9}, {(): 0.9, FEMALE: 0.9, MALE: 0.9})
    assert small.candidate is not None
    small.candidate.metrics[FEMALE][COUNT] = 19.0  # type: ignore[index]
    small.candidate.metrics[()][COUNT] = 3.0  # type: ignore[index]
    rule = ValueThreshold("auc", lower_bound=0.5, slices=[SliceSpec(), SliceSpec(["sex"])])
    assert failed(GatePolicy([rule]), small) == [(Reason.BELOW_LOWER_BOUND, FEMALE)]
    assert failed(GatePolicy([rule], min_slice_size=19), small) == [
        (Reason.BELOW_LOWER_BOUND, FEMALE)
    ]
    report = decide(GatePolicy([rule], min_slice_size=20), small, SITUATION)
    assert report.verdict is Verdict.PASSED
    assert report.notes == ("slices with fewer than 20 examples were left out: 1",)
    named = dataclasses.replace(rule, slices=[SliceSpec((), {"sex": "female"})])
    assert failed(GatePolicy([named], min_slice_size=20), small) == [(Reason.SLICE_MISSING, FEMALE)]


MOVED = [
    # serving_seq of the evaluation, the baseline's manifest and location, reason
    (7, "other", "/x", Reason.BASELINE_IS_NOT_SERVING),
    (None, "other", "/x", Reason.BASELINE_IS_NOT_SERVING),
    (5, "other", "/x", Reason.BASELINE_MOVED),
    (0, "other", "/x", Reason.BASELINE_MOVED),
    (5, "other", "/b", Reason.BASELINE_BYTES_CHANGED),
    (5, "", "/b", Reason.BASELINE_BYTES_GONE),
    (5, "b", "/x", None),
    (5, None, "", Reason.BASELINE_MOVED),
    (7, None, "", Reason.BASELINE_MISSING),
    (None, None, "", Reason.BASELINE_MISSING),
]


@pytest.mark.parametrize(("seq", "manifest", "location", "reason"), MOVED)
def test_a_baseline_that_moved_is_noticed(
    seq: int | None, manifest: str | None, location: str, reason: Reason | None
) -> None:
    found = evaluation({(): 0.9}, {(): 0.8}, serving_seq=seq)
    assert found.baseline is not None
    baseline = (
        None
        if manifest is None
        else dataclasses.replace(found.baseline, manifest=manifest, location=location)
    )
    found = dataclasses.replace(found, baseline=baseline)
    policy = GatePolicy([ValueThreshold("auc", lower_bound=0.5)])
    assert [r for r, _ in failed(policy, found)] == ([reason] if reason else [])
    report = decide(policy, found, SITUATION)
    assert (report.baseline is None) is (reason is not None)
    if reason is Reason.BASELINE_MOVED:
        assert "version 1 serves under 'production' since event 7" in report.reasons[0]
        assert "evaluate again" in report.reasons[0]
    allowed = decide(dataclasses.replace(policy, baseline="allow"), found, SITUATION)
    assert allowed.verdict is Verdict.PASSED
    assert len(allowed.notes) == (1 if reason else 0)


def test_nothing_serves_any_more() -> None:
    found = evaluation({(): 0.9}, {(): 0.8}, serving_seq=5)
    nothing = dataclasses.replace(SITUATION, serving=None, serving_seq=0)
    policy = GatePolicy([ValueThreshold("auc", lower_bound=0.5)])
    assert [r for r, _ in failed(policy, found, nothing)] == [Reason.BASELINE_MOVED]
