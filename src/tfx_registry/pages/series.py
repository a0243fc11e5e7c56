"""Metrics over versions: value, confidence interval and thresholds of each, by metric and slice.

Numbers and bounds come from the last decision on a version as it was recorded, so that a threshold
that was changed later does not move under an old decision.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tfx_registry import codec
from tfx_registry.gate.chart import kind_of
from tfx_registry.gate.report import Check, CheckKind, GateReport
from tfx_registry.records import SliceKey, Version, format_slice

__all__ = ["POINT_COLUMNS", "MetricSeries", "bounds_of"]

#: What stands in a point, in this order; empty ends are left out.
POINT_COLUMNS = (
    "number",
    "value",
    "lower",
    "upper",
    "lower_bound",
    "upper_bound",
    "least_by_baseline",
    "most_by_baseline",
    "passed",
    "examples",
    "no_worse_than",
)

_ONE_SIDED = re.compile(r"value (>=|<=) ([-+.\w]+)")
_TWO_SIDED = re.compile(r"value \[([-+.\w]+), ([-+.\w]+)\]")
_CHANGE = re.compile(r"(absolute|relative) change (at least|at most|>=|<=) ([-+.\w]+)")


@dataclass
class _Point:
    """One version on one metric and slice; the attributes are those of `POINT_COLUMNS`."""

    value: float
    lower: float | None = None
    upper: float | None = None
    lower_bound: float | None = None
    upper_bound: float | None = None
    least_by_baseline: float | None = None
    most_by_baseline: float | None = None
    passed: bool | None = None
    examples: int | None = None
    no_worse_than: float | None = None

    def add(self, check: Check) -> None:
        """Takes over what a check says."""
        self.passed = check.passed and self.passed is not False
        if check.examples is not None:
            self.examples = check.examples
        kind = kind_of(check)
        if kind is CheckKind.VALUE and check.interval is not None:
            self.lower, self.upper = check.interval.lower, check.interval.upper
        if kind is CheckKind.NO_WORSE and self.no_worse_than is None:
            self.no_worse_than = _limit(check)
        low, high = bounds_of(check)
        if kind is CheckKind.VALUE:
            self.lower_bound = _tighter(max, self.lower_bound, low)
            self.upper_bound = _tighter(min, self.upper_bound, high)
        else:
            self.least_by_baseline = _tighter(max, self.least_by_baseline, low)
            self.most_by_baseline = _tighter(min, self.most_by_baseline, high)

    def row(self, number: int) -> list[Any]:
        """Returns the point as a JSON array."""
        cells = [number, *(codec.encode(getattr(self, name)) for name in POINT_COLUMNS[1:])]
        while cells[-1] is None:
            cells.pop()
        return cells


class MetricSeries:
    """Collects the numbers of one version after the other."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, SliceKey], list[list[Any]]] = {}

    def add(self, version: Version, report: GateReport | None) -> None:
        """Adds a version.

        Args:
            version: The version; versions come in the order of their numbers.
            report: The report of its last decision, or None.
        """
        points = {(m.name, m.slice): _Point(m.value) for m in reversed(version.metrics)}
        for check in report.checks if report else ():
            if not check.metric or check.value is None or check.versus is not None:
                continue
            key = (check.metric, check.slice)
            points.setdefault(key, _Point(check.value)).add(check)
        for key, point in points.items():
            self._series.setdefault(key, []).append(point.row(version.number))

    def to_json(self) -> list[dict[str, Any]]:
        """Returns the series, ordered by metric, the whole data before its slices."""
        ordered = sorted(self._series, key=lambda key: (key[0], len(key[1]), key[1]))
        return [
            {
                "metric": metric,
                "slice": format_slice(slice_key),
                "features": dict(slice_key),
                "points": self._series[metric, slice_key],
            }
            for metric, slice_key in ordered
        ]


def bounds_of(check: Check) -> tuple[float | None, float | None]:
    """Tells within which values a check would have passed, as far as its rule says so.

    A bound on the change is moved to the scale of the values by adding it to the baseline.

    Args:
        check: A check with a number.

    Returns:
        The least value and the greatest, each None where there is none or it cannot be told.
    """
    if kind_of(check) is CheckKind.VALUE:
        if found := _ONE_SIDED.search(check.rule):
            bound = _number(found[2])
            return (bound, None) if found[1] == ">=" else (None, bound)
        if found := _TWO_SIDED.search(check.rule):
            return _number(found[1]), _number(found[2])
        return None, None
    if kind_of(check) is not CheckKind.CHANGE or check.baseline_value is None:
        return None, None
    return _change_bounds(_CHANGE.findall(check.rule), check.baseline_value)


def _limit(check: Check) -> float | None:
    """Returns the value than which the candidate may not be worse, whichever way that is."""
    if check.baseline_value is None or check.bound is None:
        return None
    limit = check.baseline_value + check.bound
    return limit if math.isfinite(limit) else None


def _change_bounds(
    rules: Iterable[tuple[str, str, str]], baseline: float
) -> tuple[float | None, float | None]:
    low: float | None = None
    high: float | None = None
    for kind, side, text in rules:
        change = _number(text)
        if change is None or (kind == "relative" and not baseline > 0):
            continue
        bound = baseline + (change if kind == "absolute" else change * baseline)
        if not math.isfinite(bound):
            continue
        if side in ("at least", ">="):
            low = _tighter(max, low, bound)
        else:
            high = _tighter(min, high, bound)
    return low, high


def _tighter(choose: Any, a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return b if a is None else a
    return float(choose(a, b))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
