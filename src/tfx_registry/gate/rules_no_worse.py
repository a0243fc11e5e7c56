"""Dominance: at least as good as the baseline on every slice, and better on at least one."""

from __future__ import annotations

import functools
import math

from tfx_registry.gate.bounds import Demand, percent
from tfx_registry.gate.evaluation import Interval, MetricId
from tfx_registry.gate.lookup import Spot
from tfx_registry.gate.policy import GatePolicy
from tfx_registry.gate.presence import Answer, missing_metric
from tfx_registry.gate.report import Check, CheckKind, Reason, format_number, make_check
from tfx_registry.gate.thresholds import Direction, NoWorse
from tfx_registry.records import format_slice

__all__ = ["Dominance"]


class Dominance:
    """Answers one `NoWorse` rule, and remembers where the candidate was better.

    Attributes:
        rule: The rule.
    """

    def __init__(self, rule: NoWorse, policy: GatePolicy) -> None:
        """Takes the rule.

        Args:
            rule: The rule.
            policy: The policy that it stands in.
        """
        self.rule = rule
        self._higher = rule.direction is Direction.HIGHER_IS_BETTER
        self._demand = Demand.of(rule, policy)
        within = f" by more than {format_number(rule.tolerance)}" if rule.tolerance else ""
        at = f" at {percent(self._demand.level)}" if self._demand.bound else ""
        self._rule_text = f"no worse than the baseline{within}{at}"
        self._better_text = f"better than the baseline on at least one slice{at}"
        self._compared: dict[MetricId, int] = {}
        self._better: dict[MetricId, list[Spot]] = {}

    def question(self, metric: MetricId) -> Answer:
        """Makes the function that asks whether the candidate is as good in one slice.

        Args:
            metric: The number.

        Returns:
            The function of a slice.
        """
        return functools.partial(self._answer, metric, str(metric))

    def _answer(self, metric: MetricId, name: str, spot: Spot) -> Check:
        value = (spot.numbers or {}).get(metric)
        before = spot.before.get(metric)
        if value is None or before is None:
            return missing_metric(metric, spot)
        change = value - before
        gain = change if self._higher else -change
        interval, level = spot.differences.get(metric), None
        reason, more = None, ""
        # Not `gain < -tolerance`, which NaN would pass.
        if not gain >= -self.rule.tolerance:
            reason = Reason.NOT_A_NUMBER if math.isnan(gain) else Reason.CHANGE_NOT_ENOUGH
        elif self._demand.bound:
            ends, reason, more = self._demand.ends(interval, f"the paired difference of {name}")
            more = f"; {more}"
            if ends is not None:
                interval, level = ends, self._demand.level
                gain = self._worst_gain(ends)
                enough = gain >= -self.rule.tolerance
                reason = None if enough else Reason.NOT_CONFIDENT
                more = f", in the interval {_shown(ends)}"
        self._compared[metric] = self._compared.get(metric, 0) + 1
        if reason is None and gain > 0:
            self._better.setdefault(metric, []).append(spot)
        said = "which is no worse" if reason is None else "which is worse"
        if reason not in (None, Reason.CHANGE_NOT_ENOUGH, Reason.NOT_A_NUMBER):
            said = "which may be worse"
        return make_check(
            reason is None,
            f"{spot.place}: {name} {format_number(value)} against the baseline's "
            f"{format_number(before)}: change {format_number(change)}, {said}{more}{spot.counted}",
            reason,
            self._rule_text,
            name,
            spot.slice,
            value,
            before,
            change,
            0.0 - self.rule.tolerance if self._higher else self.rule.tolerance,
            spot.examples,
            CheckKind.NO_WORSE,
            spot.versus,
            interval,
            level,
        )

    def conclude(self) -> list[Check]:
        """Asks whether the candidate was better anywhere, once all slices were asked.

        Returns:
            One check for each variant of the metric that was compared.
        """
        if not self.rule.better_somewhere:
            return []
        return [self._conclusion(metric, count) for metric, count in self._compared.items()]

    def _conclusion(self, metric: MetricId, compared: int) -> Check:
        better = sorted(self._better.get(metric, []), key=lambda spot: spot.slice)
        surely = "surely " if self._demand.bound else ""
        if better:
            first = ", ".join(format_slice(spot.slice) for spot in better[:3])
            more = f" and {len(better) - 3} more" if len(better) > 3 else ""
            message = (
                f"{metric} is {surely}better on {len(better)} of {compared} slices: {first}{more}"
            )
        else:
            message = f"{metric} is {surely}better on none of {compared} slices"
        return Check(
            bool(better),
            message,
            None if better else Reason.NOT_BETTER_ANYWHERE,
            self._better_text,
            str(metric),
            kind=CheckKind.BETTER,
        )

    def _worst_gain(self, ends: Interval) -> float:
        return ends.lower if self._higher else -ends.upper


def _shown(interval: Interval) -> str:
    return f"[{format_number(interval.lower)}, {format_number(interval.upper)}]"
