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
    """

    kind: str
    bound: float
    asked: str


class _Finding(NamedTuple):
    """How a test came out.

    Attributes:
        test: The test.
        number: The change as the test measures it.
        reason: Why it failed, or None.
        interval: The interval of the difference that was looked at, or None.
        said: What to say of the interval, or "".
        level: The level at which the interval decided, or None.
    """

    test: _Test
    number: float
    reason: Reason | None
    interval: Interval | None
    said: str = ""
    level: float | None = None


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
        _Test(kind, bound, f"{least} {format_number(bound)}")
        for kind, bound in (("absolute", rule.absolute), ("relative", rule.relative))
        if bound is not None
    ]
    rule_text = " and ".join(f"{test.kind} change {test.asked}" for test in tests)
    rule_text += f" at {percent(demand.level)}" if demand.bound else ""

    def question(metric: MetricId) -> Answer:
        return functools.partial(answer, metric, str(metric))

    def answer(metric: MetricId, name: str, spot: Spot) -> Check:
        value = (spot.numbers or {}).get(metric)
        before = spot.before.get(metric)
        if value is None or before is None:
            return missing_metric(metric, spot)
        found = judge.judge(tests[0], value, before, metric, spot)
        if found.reason is None and len(tests) > 1:
            other = judge.judge(tests[1], value, before, metric, spot)
            found = found if other.reason is None else other
        test = found.test
        return make_check(
            found.reason is None,
            f"{spot.place}: {name} {format_number(value)} against the baseline's "
            f"{format_number(before)}: {test.kind} change {format_number(found.number)}, "
            f"{'which is' if found.reason is None else 'needs'} {test.asked}"
            f"{found.said}{spot.counted}",
            found.reason,
            rule_text,
            name,
            spot.slice,
            value,
            before,
            value - before,
            test.bound,
            spot.examples,
            CheckKind.CHANGE,
            spot.versus,
            found.interval,
            found.level,
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

    def judge(
        self, test: _Test, value: float, before: float, metric: MetricId, spot: Spot
    ) -> _Finding:
        """Judges one number by one test."""
        number = value - before
        if test.kind == "relative":
            # As in TFMA: a baseline of zero has no relative change.
            number = math.nan if math.isclose(before, 0.0) else number / before
        interval = spot.differences.get(metric)
        # Not `number < bound`, which NaN would pass.
        if not (number >= test.bound if self.higher else number <= test.bound):
            reason = Reason.NOT_A_NUMBER if math.isnan(number) else Reason.CHANGE_NOT_ENOUGH
            return _Finding(test, number, reason, interval)
        if self._demand.bound:
            return self._judge_interval(test, number, metric, spot)
        return _Finding(test, number, None, interval)

    def _judge_interval(self, test: _Test, number: float, metric: MetricId, spot: Spot) -> _Finding:
        """Judges the end of the interval that faces the threshold; the point value has passed."""
        given = spot.differences.get(metric)
        ends = self._demand.ends(given, f"the paired difference of {metric}")
        difference = ends.interval
        if difference is None:
            return _Finding(test, number, ends.reason, given, f"; {ends.problem}")
        low, high = difference.lower, difference.upper
        if test.kind == "relative":
            ends = self._demand.ends(spot.intervals_before.get(metric), f"the baseline's {metric}")
            if ends.interval is None:
                return _Finding(test, number, ends.reason, difference, f"; {ends.problem}")
            corners = quotient(difference, ends.interval)
            if corners is None:
                said = "; the interval of the baseline holds zero, so there is no relative bound"
                return _Finding(test, number, Reason.INTERVAL_UNUSABLE, difference, said)
            low, high = corners
        enough = low >= test.bound if self.higher else high <= test.bound
        shown = f"[{format_number(low)}, {format_number(high)}]"
        said = f"{', and so is its' if enough else ' in its'} whole interval {shown}"
        reason = None if enough else Reason.NOT_CONFIDENT
        return _Finding(test, number, reason, difference, said, self._demand.level)
