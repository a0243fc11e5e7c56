"""Rules on the change against the baseline: candidate minus baseline, or that over the baseline."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

from tfx_registry.gate.bounds import Demand, percent, quotient
from tfx_registry.gate.evaluation import Interval, MetricId
from tfx_registry.gate.lookup import Spot
from tfx_registry.gate.policy import GatePolicy
from tfx_registry.gate.presence import Answer, Question, missing_metric
from tfx_registry.gate.report import Check, CheckKind, Reason, format_number, make_check
from tfx_registry.gate.thresholds import ChangeThreshold, Direction

__all__ = ["answer_change"]


class _Test(NamedTuple):
    """One of the tests of a rule.

    Attributes:
        kind: "absolute" or "relative".
        bound: The threshold.
        asked: The threshold in words.
        is_relative: Whether the change is divided by the baseline.
    """

    kind: str
    bound: float
    asked: str
    is_relative: bool


#: How a test came out: the change as the test measures it; why it failed, or None; the interval of
#: the difference that was looked at, or None; what to say of it, or ""; the level at which it
#: decided, or None. A plain tuple, because one is made for each number that is judged.
_Finding = tuple[float, Reason | None, Interval | None, str, float | None]


def answer_change(rule: ChangeThreshold, policy: GatePolicy) -> Question:
    """Makes the function that answers a rule.

    Args:
        rule: The rule.
        policy: The policy that it stands in.

    Returns:
        What makes of a number the function of a slice.
    """
    demand = Demand.of(rule, policy)
    judge = _Judge(rule.direction is Direction.HIGHER_IS_BETTER, demand)
    least = "at least" if judge.higher else "at most"
    tests = [
        _Test(kind, bound, f"{least} {format_number(bound)}", kind == "relative")
        for kind, bound in (("absolute", rule.absolute), ("relative", rule.relative))
        if bound is not None
    ]
    rule_text = " and ".join(f"{test.kind} change {test.asked}" for test in tests)
    rule_text += f" at {percent(demand.level)}" if demand.bound else ""

    first, second = tests[0], tests[1] if len(tests) > 1 else None
    kind = CheckKind.CHANGE

    def question(metric: MetricId) -> Answer:
        name = str(metric)
        return functools.partial(answer, metric, name, f"the paired difference of {name}")

    def answer(metric: MetricId, name: str, whose: str, spot: Spot) -> Check:
        key, versus, place, counted, examples, numbers_here, row_before, *_ = spot
        value = numbers_here.get(metric) if numbers_here is not None else None
        before = row_before.get(metric)
        if value is None or before is None:
            return missing_metric(metric, spot)
        test, found = first, judge(first, value, before, metric, whose, spot)
        if second is not None and found[1] is None:
            again = judge(second, value, before, metric, whose, spot)
            if again[1] is not None:
                test, found = second, again
        number, reason, interval, said, level = found
        if reason is None:  # then none of the numbers is NaN
            numbers = f"{value:.6g} against the baseline's {before:.6g}"
            came_out = f"{test.kind} change {number:.6g}, which is"
        else:
            numbers = f"{format_number(value)} against the baseline's {format_number(before)}"
            came_out = f"{test.kind} change {format_number(number)}, needs"
        return make_check(
            reason is None,
            f"{place}: {name} {numbers}: {came_out} {test.asked}{said}{counted}",
            reason,
            rule_text,
            name,
            key,
            value,
            before,
            value - before,
            test.bound,
            examples,
            kind,
            versus,
            interval,
            level,
        )

    return question


class _Judge:
    """Judges changes in one direction.

    Attributes:
        higher: Whether higher is better.
    """

    def __init__(self, higher: bool, demand: Demand) -> None:
        self.higher = higher
        self._demand = demand
        self._surely = demand.bound

    def __call__(
        self, test: _Test, value: float, before: float, metric: MetricId, whose: str, spot: Spot
    ) -> _Finding:
        """Judges one number by one test."""
        number, bound = value - before, test.bound
        if test.is_relative:
            # As in TFMA: a baseline of zero has no relative change.
            number = math.nan if math.isclose(before, 0.0) else number / before
        interval = spot.differences.get(metric)
        reason: Reason | None
        # Not `number < bound`, which NaN would pass.
        if not (number >= bound if self.higher else number <= bound):
            reason = Reason.NOT_A_NUMBER if math.isnan(number) else Reason.CHANGE_NOT_ENOUGH
            return number, reason, interval, "", None
        if not self._surely:
            return number, None, interval, "", None
        # The point value has passed; now the end of the interval that faces the threshold.
        ends, reason, problem = self._demand.ends(interval, whose)
        if ends is None:
            return number, reason, interval, f"; {problem}", None
        low, high = ends.lower, ends.upper
        if test.is_relative:
            corners, reason, problem = self._relative(ends, metric, spot)
            if corners is None:
                return number, reason, ends, f"; {problem}", None
            low, high = corners
        level = self._demand.level
        if low >= bound if self.higher else high <= bound:
            said = f", and so is its whole interval [{low:.6g}, {high:.6g}]"
            return number, None, ends, said, level
        said = f" in its whole interval [{low:.6g}, {high:.6g}]"
        return number, Reason.NOT_CONFIDENT, ends, said, level

    def _relative(
        self, difference: Interval, metric: MetricId, spot: Spot
    ) -> tuple[tuple[float, float] | None, Reason | None, str]:
        """Bounds the relative change; returns why it has no bounds, as `Demand.ends` does."""
        before, reason, problem = self._demand.ends(
            spot.intervals_before.get(metric), f"the baseline's {metric}"
        )
        if before is None:
            return None, reason, problem
        corners = quotient(difference, before)
        if corners is None:
            said = "the interval of the baseline holds zero, so there is no relative bound"
            return None, Reason.INTERVAL_UNUSABLE, said
        return corners, None, ""
