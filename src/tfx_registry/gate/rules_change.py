"""Rules on the change against the baseline: candidate minus baseline, or that over the baseline."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from tfx_registry.gate.bounds import Demand, percent, quotient
from tfx_registry.gate.evaluation import Interval, MetricId
from tfx_registry.gate.lookup import Spot
from tfx_registry.gate.policy import GatePolicy
from tfx_registry.gate.presence import Answer, missing_metric
from tfx_registry.gate.report import Check, CheckKind, Reason, format_number
from tfx_registry.gate.thresholds import ChangeThreshold, Direction

__all__ = ["answer_change"]


class _Test(NamedTuple):
    """One of the tests of a rule.

    Attributes:
        kind: "absolute" or "relative".
        bound: The threshold.
    """

    kind: str
    bound: float


class _Finding(NamedTuple):
    """How a test came out.

    Attributes:
        test: The test.
        number: The change as the test measures it.
        reason: Why it failed, or None.
        said: What to say of the interval, or "".
        level: The level at which the interval decided, or None.
        interval: The interval of the difference that was looked at, or None.
    """

    test: _Test
    number: float
    reason: Reason | None
    said: str
    level: float | None
    interval: Interval | None


def answer_change(rule: ChangeThreshold, policy: GatePolicy) -> Answer:
    """Makes the function that answers a rule.

    Args:
        rule: The rule.
        policy: The policy that it stands in.

    Returns:
        The function of a number and a slice.
    """
    higher = rule.direction is Direction.HIGHER_IS_BETTER
    demand = Demand.of(rule, policy)
    tests = [
        _Test(kind, bound)
        for kind, bound in (("absolute", rule.absolute), ("relative", rule.relative))
        if bound is not None
    ]
    least = "at least" if higher else "at most"
    rule_text = " and ".join(f"{t.kind} change {least} {format_number(t.bound)}" for t in tests)
    rule_text += f" at {percent(demand.level)}" if demand.bound else ""

    def answer(metric: MetricId, spot: Spot) -> Check:
        value = (spot.numbers or {}).get(metric)
        before = spot.before.get(metric)
        if value is None or before is None:
            return missing_metric(metric, spot)
        change = value - before
        findings = list(_findings(tests, higher, demand, value, before, metric, spot))
        found = next((f for f in findings if f.reason is not None), findings[0])
        name = str(metric)
        message = (
            f"{spot.place}: {name} {format_number(value)} against the baseline's "
            f"{format_number(before)}: {found.test.kind} change {format_number(found.number)}, "
            f"{'which is' if found.reason is None else 'needs'} {least} "
            f"{format_number(found.test.bound)}{found.said}{spot.counted}"
        )
        return Check(
            found.reason is None,
            message,
            found.reason,
            rule_text,
            name,
            spot.slice,
            value,
            before,
            change,
            found.test.bound,
            spot.examples,
            CheckKind.CHANGE,
            spot.versus,
            found.interval,
            found.level,
        )

    return answer


def _findings(
    tests: list[_Test],
    higher: bool,
    demand: Demand,
    value: float,
    before: float,
    metric: MetricId,
    spot: Spot,
) -> Iterator[_Finding]:
    change = value - before
    interval = spot.differences.get(metric)
    for test in tests:
        number = change
        if test.kind == "relative":
            # As in TFMA: a baseline of zero has no relative change.
            number = math.nan if math.isclose(before, 0.0) else change / before
        if not (number >= test.bound if higher else number <= test.bound):
            reason = Reason.NOT_A_NUMBER if math.isnan(number) else Reason.CHANGE_NOT_ENOUGH
            yield _Finding(test, number, reason, "", None, interval)
        elif demand.bound:
            yield _with_confidence(test, higher, demand, number, metric, spot)
        else:
            yield _Finding(test, number, None, "", None, interval)


def _with_confidence(
    test: _Test, higher: bool, demand: Demand, number: float, metric: MetricId, spot: Spot
) -> _Finding:
    """Judges the end of the interval that faces the threshold; the point value has passed."""
    given = spot.differences.get(metric)
    difference = demand.ends(given, f"the paired difference of {metric}")
    if difference.interval is None:
        said = f"; {difference.problem}"
        return _Finding(test, number, difference.reason, said, None, given)
    low, high = difference.interval.lower, difference.interval.upper
    if test.kind == "relative":
        baseline = demand.ends(spot.intervals_before.get(metric), f"the baseline's {metric}")
        if baseline.interval is None:
            said = f"; {baseline.problem}"
            return _Finding(test, number, baseline.reason, said, None, difference.interval)
        quotients = quotient(difference.interval, baseline.interval)
        if quotients is None:
            said = "; the interval of the baseline holds zero, so there is no relative bound"
            reason = Reason.INTERVAL_UNUSABLE
            return _Finding(test, number, reason, said, None, difference.interval)
        low, high = quotients
    end = low if higher else high
    enough = end >= test.bound if higher else end <= test.bound
    shown = f"[{format_number(low)}, {format_number(high)}]"
    said = (
        f", and so is its whole interval {shown}" if enough else f" in its whole interval {shown}"
    )
    doubt = None if enough else Reason.NOT_CONFIDENT
    return _Finding(test, number, doubt, said, demand.level, difference.interval)
