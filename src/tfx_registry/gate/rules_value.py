"""Rules on the metrics themselves."""

from __future__ import annotations

import functools
import math

from tfx_registry.gate.bounds import Demand, percent
from tfx_registry.gate.evaluation import Interval, MetricId
from tfx_registry.gate.lookup import Spot
from tfx_registry.gate.policy import GatePolicy
from tfx_registry.gate.presence import Answer, Question, missing_metric
from tfx_registry.gate.report import Check, CheckKind, Reason, format_number, make_check
from tfx_registry.gate.thresholds import ValueThreshold

__all__ = ["answer_value"]


def answer_value(rule: ValueThreshold, policy: GatePolicy) -> Question:
    """Makes the function that answers a rule.

    Args:
        rule: The rule.
        policy: The policy that it stands in.

    Returns:
        What makes of a number the function of a slice.
    """
    low, high = rule.lower_bound, rule.upper_bound
    demand = Demand.of(rule, policy)
    surely, kind = demand.bound, CheckKind.VALUE
    bounds = _bounds(low, high)
    rule_text = f"value {bounds}" + (f" at {percent(demand.level)}" if demand.bound else "")

    def question(metric: MetricId) -> Answer:
        return functools.partial(answer, metric, str(metric))

    def answer(metric: MetricId, name: str, spot: Spot) -> Check:
        key, versus, place, counted, examples, numbers, before, intervals, _, _ = spot
        value = numbers.get(metric) if numbers is not None else None
        if value is None:
            return missing_metric(metric, spot)
        interval, level = intervals.get(metric), None
        reason, bound, said = _judge(value, low, high, bounds)
        more = ""
        if surely and reason is None:
            ends, reason, more = demand.ends(interval, name)
            if ends is not None:
                interval, level = ends, demand.level
                reason, bound, more = _judge_ends(ends, low, high, bound)
            more = f"; {more}"
        return make_check(
            reason is None,
            f"{place}: {name} {said}{more}{counted}",
            reason,
            rule_text,
            name,
            key,
            value,
            before.get(metric),
            None,
            bound,
            examples,
            kind,
            versus,
            interval,
            level,
        )

    return question


def _judge(
    value: float, low: float | None, high: float | None, bounds: str
) -> tuple[Reason | None, float | None, str]:
    """Compares the point value; returns the reason of a failure, the bound that decided, a text."""
    if math.isnan(value):
        return Reason.NOT_A_NUMBER, low if low is not None else high, "is NaN"
    if low is not None and value < low:
        said = f"{value:.6g} is below the lower bound {low:.6g}"
        return Reason.BELOW_LOWER_BOUND, low, said
    if high is not None and value > high:
        said = f"{value:.6g} is above the upper bound {high:.6g}"
        return Reason.ABOVE_UPPER_BOUND, high, said
    return None, low if low is not None else high, f"{value:.6g} is within {bounds}"


def _judge_ends(
    ends: Interval, low: float | None, high: float | None, bound: float | None
) -> tuple[Reason | None, float | None, str]:
    """Compares the ends of the interval that face the bounds; neither end is NaN."""
    shown = f"[{ends.lower:.6g}, {ends.upper:.6g}]"
    # Not `lower < low`, which NaN would pass.
    if low is not None and not ends.lower >= low:
        said = f"its interval {shown} reaches below the lower bound {low:.6g}"
        return Reason.NOT_CONFIDENT, low, said
    if high is not None and not ends.upper <= high:
        said = f"its interval {shown} reaches above the upper bound {high:.6g}"
        return Reason.NOT_CONFIDENT, high, said
    return None, bound, f"so is its interval {shown}"


def _bounds(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        sign, bound = (">=", low) if low is not None else ("<=", high)
        return f"{sign} {format_number(bound if bound is not None else math.nan)}"
    return f"[{format_number(low)}, {format_number(high)}]"
