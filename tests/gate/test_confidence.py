"""Confidence bounds: rules that ask for more than the measured number."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfx_registry.gate import (
    ChangeThreshold,
    Check,
    Contender,
    EvaluatedModel,
    Evaluation,
    GatePolicy,
    Interval,
    IntervalKind,
    MetricId,
    Reason,
    Situation,
    ValueThreshold,
    decide,
)
from tfx_registry.gate.bounds import ends_at, quotient
from tfx_registry.gate.student_t import two_sided_quantile

AUC = MetricId("auc")
T, QUANTILES = IntervalKind.T_DISTRIBUTION, IntervalKind.QUANTILES
SITUATION = Situation("m", "production", Contender(2, "", "c"), Contender(1, "", "b"))


def evaluation(
    value: float = 0.9,
    before: float = 0.8,
    *,
    own: Interval | None = None,
    theirs: Interval | None = None,
    paired: Interval | None = None,
) -> Evaluation:
    def table(interval: Interval | None) -> Any:
        return {(): {AUC: interval}} if interval else {}

    return Evaluation(
        "/eval",
        EvaluatedModel("/c", "c", {(): {AUC: value}}, table(own)),
        EvaluatedModel("/b", "b", {(): {AUC: before}}, table(theirs)),
        difference_intervals=table(paired),
    )


def only_check(rule: ValueThreshold | ChangeThreshold, found: Evaluation, **fields: Any) -> Check:
    name = "value_thresholds" if isinstance(rule, ValueThreshold) else "change_thresholds"
    (check,) = decide(GatePolicy(**{name: [rule], **fields}), found, SITUATION).checks
    return check


def at_least(bound: float) -> ValueThreshold:
    return ValueThreshold("auc", lower_bound=bound, confidence="bound")


def at_most(bound: float) -> ValueThreshold:
    return ValueThreshold("auc", upper_bound=bound, confidence="bound")


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (at_least(0.85), None),
        (at_least(0.86), Reason.NOT_CONFIDENT),
        (at_least(0.91), Reason.BELOW_LOWER_BOUND),
        (at_most(0.95), None),
        (at_most(0.94), Reason.NOT_CONFIDENT),
        (at_most(0.89), Reason.ABOVE_UPPER_BOUND),
        (ValueThreshold("auc", 0.85, 0.95, confidence="bound"), None),
        (ValueThreshold("auc", 0.85, 0.94, confidence="bound"), Reason.NOT_CONFIDENT),
        (ValueThreshold("auc", 0.86, 0.95, confidence="bound"), Reason.NOT_CONFIDENT),
    ],
)
def test_the_end_that_faces_the_bound_has_to_clear_it(
    rule: ValueThreshold, reason: Reason | None
) -> None:
    own = Interval(0.85, 0.95, 0.95, T, 0.02, 19)
    check = only_check(rule, evaluation(own=own))
    assert check.reason is reason
    assert check.interval == own
    pointwise = only_check(dataclasses.replace(rule, confidence="point"), evaluation(own=own))
    if reason in (None, Reason.NOT_CONFIDENT):
        assert check.level == 0.95
        assert pointwise.passed
    assert (pointwise.level, pointwise.interval) == (None, own)


def test_the_messages_say_what_decided() -> None:
    own = Interval(0.85, 0.95)
    assert only_check(at_least(0.86), evaluation(own=own)).message == (
        "overall: auc 0.9 is within >= 0.86; its interval [0.85, 0.95] reaches below the lower "
        "bound 0.86"
    )
    assert only_check(at_least(0.85), evaluation(own=own)).message == (
        "overall: auc 0.9 is within >= 0.85; so is its interval [0.85, 0.95]"
    )
    check = only_check(at_least(0.85), evaluation(own=own))
    assert (check.rule, check.bound, check.value) == ("value >= 0.85 at 95 %", 0.85, 0.9)
    gain = ChangeThreshold("auc", absolute=0.0, confidence="bound")
    check = only_check(gain, evaluation(paired=Interval(-0.01, 0.2)))
    assert check.message == (
        "overall: auc 0.9 against the baseline's 0.8: absolute change 0.1, needs at least 0 in its "
        "whole interval [-0.01, 0.2]"
    )
    assert check.rule == "absolute change at least 0 at 95 %"


def test_the_policy_says_it_for_rules_that_do_not() -> None:
    rule = ValueThreshold("auc", lower_bound=0.86)
    own = evaluation(own=Interval(0.85, 0.95))
    assert only_check(rule, own).passed
    assert not only_check(rule, own, confidence="bound").passed
    pointwise = dataclasses.replace(rule, confidence="point")
    assert only_check(pointwise, own, confidence="bound").passed


@pytest.mark.parametrize("rule", [at_least(0.5), ChangeThreshold("auc", absolute=0.0)])
def test_a_missing_interval_blocks_unless_the_policy_says_otherwise(rule: Any) -> None:
    rule = dataclasses.replace(rule, confidence="bound")
    check = only_check(rule, evaluation())
    assert check.reason is Reason.INTERVAL_MISSING
    assert "compute_confidence_intervals" in check.message
    check = only_check(rule, evaluation(), missing_interval="use_point_value")
    assert check.passed
    assert check.level is None
    assert "the point value decides" in check.message


def test_separate_intervals_never_stand_for_the_paired_difference() -> None:
    rule = ChangeThreshold("auc", absolute=0.0, confidence="bound")
    apart = evaluation(own=Interval(0.89, 0.91), theirs=Interval(0.79, 0.81))
    check = only_check(rule, apart)
    assert check.reason is Reason.INTERVAL_MISSING
    assert "paired difference of auc" in check.message


@pytest.mark.parametrize(
    ("direction", "absolute", "interval", "reason"),
    [
        ("higher_is_better", 0.05, (0.05, 0.15), None),
        ("higher_is_better", 0.05, (0.04, 0.16), Reason.NOT_CONFIDENT),
        ("higher_is_better", 0.11, (0.2, 0.3), Reason.CHANGE_NOT_ENOUGH),
        ("lower_is_better", 0.15, (0.05, 0.15), None),
        ("lower_is_better", 0.15, (0.05, 0.16), Reason.NOT_CONFIDENT),
        ("lower_is_better", 0.05, (0.0, 0.01), Reason.CHANGE_NOT_ENOUGH),
    ],
)
def test_the_interval_of_the_difference_has_to_clear_the_change(
    direction: str, absolute: float, interval: tuple[float, float], reason: Reason | None
) -> None:
    rule = ChangeThreshold("auc", direction, absolute, confidence="bound")  # type: ignore[arg-type]
    check = only_check(rule, evaluation(paired=Interval(*interval)))
    assert check.reason is reason
    assert check.interval == Interval(*interval)
    assert check.change == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("direction", "relative", "paired", "theirs", "reason"),
    [
        # 0.08 / 0.8 = 0.1 at the worst corner.
        ("higher_is_better", 0.0999, (0.08, 0.12), (0.4, 0.8), None),
        ("higher_is_better", 0.1001, (0.08, 0.12), (0.4, 0.8), Reason.NOT_CONFIDENT),
        ("higher_is_better", -0.05, (-0.02, 0.12), (0.4, 0.8), None),
        ("higher_is_better", -0.049, (-0.02, 0.12), (0.4, 0.8), Reason.NOT_CONFIDENT),
        ("lower_is_better", 0.3001, (0.08, 0.12), (0.4, 0.8), None),
        ("lower_is_better", 0.2999, (0.08, 0.12), (0.4, 0.8), Reason.NOT_CONFIDENT),
        ("higher_is_better", 0.0, (0.08, 0.12), (-0.1, 0.9), Reason.INTERVAL_UNUSABLE),
        ("higher_is_better", 0.0, (0.08, 0.12), (0.0, 0.9), Reason.INTERVAL_UNUSABLE),
        ("higher_is_better", 0.0, (0.08, 0.12), None, Reason.INTERVAL_MISSING),
    ],
)
def test_a_relative_change_holds_in_every_corner_of_both_intervals(
    direction: str,
    relative: float,
    paired: tuple[float, float],
    theirs: tuple[float, float] | None,
    reason: Reason | None,
) -> None:
    rule = ChangeThreshold("auc", direction, relative=relative, confidence="bound")  # type: ignore[arg-type]
    found = evaluation(paired=Interval(*paired), theirs=Interval(*theirs) if theirs else None)
    assert only_check(rule, found).reason is reason


@pytest.mark.parametrize(
    ("direction", "absolute", "relative", "reason"),
    [
        ("higher_is_better", 0.25, None, None),
        ("higher_is_better", 0.26, None, Reason.CHANGE_NOT_ENOUGH),
        ("lower_is_better", 0.25, None, None),
        ("lower_is_better", 0.24, None, Reason.CHANGE_NOT_ENOUGH),
        ("higher_is_better", None, 1.0, None),
        ("higher_is_better", None, 1.1, Reason.CHANGE_NOT_ENOUGH),
        ("lower_is_better", None, 1.0, None),
        ("lower_is_better", None, 0.9, Reason.CHANGE_NOT_ENOUGH),
    ],
)
@pytest.mark.parametrize("confidence", ["point", "bound"])
def test_a_change_that_meets_its_threshold_exactly_is_enough(
    direction: str,
    absolute: float | None,
    relative: float | None,
    reason: Reason | None,
    confidence: str,
) -> None:
    rule = ChangeThreshold("auc", direction, absolute, relative, confidence=confidence)  # type: ignore[arg-type]
    exact = Interval(0.25, 0.25)
    assert only_check(rule, evaluation(0.5, 0.25, paired=exact, theirs=exact)).reason is reason


def test_both_tests_of_a_rule_have_to_hold_with_confidence() -> None:
    rule = ChangeThreshold("auc", absolute=0.0, relative=0.12, confidence="bound")
    found = evaluation(paired=Interval(0.05, 0.15), theirs=Interval(0.7, 0.9))
    check = only_check(rule, found)
    assert check.reason is Reason.NOT_CONFIDENT
    assert "relative change 0.125, needs at least 0.12 in its whole interval" in check.message


USELESS = [
    Interval(math.nan, 1.0),
    Interval(0.0, math.nan),
    Interval(1.0, 0.9),
    Interval(0.89, 0.91, None),
    Interval(0.89, 0.91, 0.9),
    Interval(0.89, 0.91, 0.9, QUANTILES, 0.01, 19),
    Interval(0.89, 0.91, 0.9, T, None, 19),
    Interval(0.89, 0.91, 0.9, T, 0.01, None),
    Interval(0.89, 0.91, 0.9, T, 0.01, 0),
    Interval(0.89, 0.91, 0.9, T, -0.01, 19),
    Interval(0.89, 0.91, 0.9, T, math.nan, 19),
]


@pytest.mark.parametrize("interval", USELESS)
@pytest.mark.parametrize("missing", ["block", "use_point_value"])
def test_a_useless_interval_blocks(interval: Interval, missing: str) -> None:
    check = only_check(at_least(0.1), evaluation(own=interval), missing_interval=missing)
    assert check.reason is Reason.INTERVAL_UNUSABLE
    assert check.level is None


def test_other_levels_follow_from_standard_error_and_degrees_of_freedom() -> None:
    ninety_five = Interval(0.88, 0.92, 0.95, T, 0.01, 19)
    wider = ends_at(ninety_five, 0.99)[0]
    assert wider is not None
    assert (wider.level, wider.kind) == (0.99, T)
    assert wider.lower == pytest.approx(0.9 - 2.860934606 * 0.01)
    assert wider.upper == pytest.approx(0.9 + 2.860934606 * 0.01)
    found = evaluation(own=ninety_five)
    assert only_check(at_least(0.875), found, confidence_level=0.95).passed
    check = only_check(at_least(0.875), found, confidence_level=0.99)
    assert check.reason is Reason.NOT_CONFIDENT
    assert (check.level, check.interval) == (0.99, wider)
    # An interval of zero width: both models gave the same for every example.
    same = Interval(0.0, 0.0, 0.95, T, 0.0, 19)
    assert ends_at(same, 0.99)[0] == dataclasses.replace(same, level=0.99)


def test_one_degree_of_freedom_is_enough() -> None:
    wide = ends_at(Interval(0.88, 0.92, 0.95, T, 0.01, 1), 0.99)[0]
    assert wide is not None
    assert wide.upper == pytest.approx(0.9 + 63.656741 * 0.01)


@pytest.mark.parametrize(("low", "high", "bound"), [(0.1, None, 0.1), (None, 0.2, 0.2)])
def test_nan_fails_at_the_bound_there_is(
    low: float | None, high: float | None, bound: float
) -> None:
    check = only_check(ValueThreshold("auc", low, high), evaluation(value=math.nan))
    assert (check.reason, check.bound) == (Reason.NOT_A_NUMBER, bound)


def test_an_interval_without_a_middle_passes_nothing() -> None:
    endless = Interval(-math.inf, math.inf, 0.95, T, 0.01, 19)
    assert ends_at(endless, 0.9)[1] is Reason.INTERVAL_UNUSABLE


def test_a_level_that_cannot_be_told_is_named() -> None:
    _, reason, problem = ends_at(Interval(0.88, 0.92, 0.95, QUANTILES), 0.99)
    assert reason is Reason.INTERVAL_UNUSABLE
    assert problem == "the confidence interval is known at 95 % only, not at 99 %"


#: scipy.stats.t.ppf((1 + level) / 2, degrees) of SciPy 1.12.
QUANTILES_OF_SCIPY = [
    (0.5, 1, 1.0000000000133888),
    (0.95, 1, 12.706204736432095),
    (0.99, 1, 63.65674116287399),
    (0.95, 2, 4.302652729911275),
    (0.95, 3, 3.182446305284263),
    (0.9, 4, 2.13184678133629),
    (0.95, 5, 2.5705818366147395),
    (0.999, 5, 6.868826639865215),
    (0.8, 9, 1.3830287383964925),
    (0.95, 9, 2.2621571627409915),
    (0.95, 10, 2.2281388519649385),
    (0.9, 19, 1.729132811521367),
    (0.95, 19, 2.093024054408263),
    (0.99, 19, 2.860934606449914),
    (0.95, 20, 2.0859634472658364),
    (0.95, 99, 1.9842169515086827),
    (0.99, 100, 2.6258905205863337),
    (0.95, 399, 1.965927295920809),
    (0.95, 400, 1.965912343229391),
    (0.99, 1000, 2.580754698065942),
    (0.95, 1000000, 1.9599663568141066),
]


@pytest.mark.parametrize(("level", "degrees", "expected"), QUANTILES_OF_SCIPY)
def test_quantiles_are_those_of_scipy(level: float, degrees: int, expected: float) -> None:
    assert two_sided_quantile(level, degrees) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(("level", "degrees"), [(0.0, 5), (1.0, 5), (-0.1, 5), (0.95, 0)])
def test_quantiles_of_nothing_are_refused(level: float, degrees: int) -> None:
    with pytest.raises(ValueError, match="no quantile"):
        two_sided_quantile(level, degrees)


ends = st.tuples(st.floats(-10, 10), st.floats(-10, 10)).map(sorted)


@given(ends, ends, st.floats(0, 1), st.floats(0, 1))
def test_a_quotient_lies_between_its_corners(
    difference: list[float], baseline: list[float], x: float, y: float
) -> None:
    found = quotient(Interval(*difference), Interval(*baseline))
    if baseline[0] <= 0 <= baseline[1]:
        assert found is None
        return
    change = difference[0] + x * (difference[1] - difference[0])
    before = baseline[0] + y * (baseline[1] - baseline[0])
    if found is not None and before:
        slack = 1e-9 * (1 + max(map(abs, found)))
        assert found[0] - slack <= change / before <= found[1] + slack


def test_no_quotient_of_infinite_ends() -> None:
    assert quotient(Interval(1.0, math.inf), Interval(1.0, math.inf)) is None
