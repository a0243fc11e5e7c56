"""Confidence bounds: the ends of an interval at the level that the policy asks for."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from tfx_registry.gate.evaluation import Interval, IntervalKind
from tfx_registry.gate.policy import GatePolicy, MissingInterval
from tfx_registry.gate.report import Reason, format_number
from tfx_registry.gate.student_t import two_sided_quantile
from tfx_registry.gate.thresholds import Confidence, Rule

__all__ = ["Demand", "Ends", "ends_at", "percent", "quotient"]


#: What an interval says at a level, or why it says nothing: the interval at that level, None where
#: there is none; the reason why it cannot be used, None where it can or where the point value
#: decides; the same in words. A plain tuple, because one is made for each number that is judged.
Ends = tuple[Interval | None, Reason | None, str]


@dataclass(frozen=True)
class Demand:
    """How sure a rule must be.

    Attributes:
        bound: Whether a confidence bound has to hold too.
        level: Level of the two-sided interval.
        missing: What happens without an interval.
    """

    bound: bool
    level: float
    missing: MissingInterval

    @classmethod
    def of(cls, rule: Rule, policy: GatePolicy) -> Demand:
        """Takes what the rule says, and what the policy says where the rule says nothing."""
        confidence = policy.confidence if rule.confidence is None else rule.confidence
        return cls(confidence is Confidence.BOUND, policy.confidence_level, policy.missing_interval)

    def ends(self, interval: Interval | None, whose: str) -> Ends:
        """Finds the interval that has to clear a threshold.

        Args:
            interval: What TFMA computed, or None.
            whose: What it would be the interval of, for the message.

        Returns:
            The interval at the level of the policy; or nothing, with a reason, or without one
            where the policy lets the point value decide.
        """
        if interval is not None:
            return ends_at(interval, self.level)
        if self.missing is MissingInterval.USE_POINT_VALUE:
            return None, None, "no interval, so the point value decides"
        return (
            None,
            Reason.INTERVAL_MISSING,
            f"there is no confidence interval of {whose}; evaluate with "
            "compute_confidence_intervals",
        )


def ends_at(interval: Interval, level: float) -> Ends:
    """Finds an interval at another level.

    Args:
        interval: An interval.
        level: The level, between 0 and 1.

    Returns:
        The interval itself where it has that level; else, for an interval of Student's t
        distribution, the one with the same middle; else the reason why it cannot be told.
    """
    low, high = interval.lower, interval.upper
    if not low <= high:  # not `low > high`, which NaN would pass
        shown = f"[{format_number(low)}, {format_number(high)}]"
        return None, Reason.INTERVAL_UNUSABLE, f"the confidence interval {shown} is none"
    if interval.level is not None and math.isclose(interval.level, level, abs_tol=1e-9):
        return interval, None, ""
    error, degrees = interval.standard_error, interval.degrees_of_freedom
    if interval.kind is not IntervalKind.T_DISTRIBUTION or error is None or degrees is None:
        known = "an unknown level" if interval.level is None else percent(interval.level)
        return (
            None,
            Reason.INTERVAL_UNUSABLE,
            f"the confidence interval is known at {known} only, not at {percent(level)}",
        )
    if not (math.isfinite(error) and error >= 0 and degrees >= 1):
        return (
            None,
            Reason.INTERVAL_UNUSABLE,
            f"a standard error of {format_number(error)} with {degrees} degrees of freedom "
            "makes no interval",
        )
    middle = (low + high) / 2
    if not math.isfinite(middle):
        shown = f"[{format_number(low)}, {format_number(high)}]"
        return None, Reason.INTERVAL_UNUSABLE, f"the confidence interval {shown} has no middle"
    reach = two_sided_quantile(level, degrees) * error
    moved = dataclasses.replace(interval, lower=middle - reach, upper=middle + reach, level=level)
    return moved, None, ""


def quotient(difference: Interval, baseline: Interval) -> tuple[float, float] | None:
    """Bounds a relative change by the corners of two intervals.

    The corners hold whatever the correlation of difference and baseline is, so the bound is never
    too narrow; for small thresholds it is hardly wider than the exact one.

    Args:
        difference: Interval of candidate minus baseline.
        baseline: Interval of the baseline.

    Returns:
        The least and the greatest quotient; None where the baseline may be zero or an end is
        infinite.
    """
    if baseline.lower <= 0 <= baseline.upper:
        return None
    corners = [
        change / before
        for change in (difference.lower, difference.upper)
        for before in (baseline.lower, baseline.upper)
    ]
    return None if any(map(math.isnan, corners)) else (min(corners), max(corners))


def percent(level: float) -> str:
    """Writes a level for people: `95 %`."""
    return f"{level * 100:.6g} %"
