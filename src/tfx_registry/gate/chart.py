"""Where the marks of a check stand on a scale: numbers in, percentages out.

All checks of one rule share a scale, so that their slices can be compared by eye.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tfx_registry.gate.report import Check, CheckKind, format_number

__all__ = ["Marks", "Scale", "Subject", "Tick", "kind_of", "subject_of"]

#: Blank space at either end, in percent of the width.
_MARGIN = 4.0
#: How far an interval may widen the scale, in spans of the other numbers; the rest is cut off.
_WIDEST = 3.0

_CHANGE = re.compile(r"(absolute|relative) change (?:at (?:least|most)|[<>]=) ([-+.\w]+)")
_CHANGE_KINDS = frozenset({CheckKind.CHANGE, CheckKind.NO_WORSE})


@dataclass(frozen=True)
class Subject:
    """The numbers of a check that belong on one scale.

    Attributes:
        value: What was held against the bound: a value, or a change.
        bound: The bound.
        baseline: The baseline's value, where it is on the same scale.
        interval: The ends of the confidence interval, where it is on the same scale.
    """

    value: float
    bound: float
    baseline: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Marks:
    """Where the marks of one check stand, in percent of the width.

    Attributes:
        value: The candidate.
        bound: The bound.
        baseline: The baseline, or None.
        lower: The lower end of the interval, or None.
        upper: Its upper end, or None.
        ends: Those of the two ends that lie on the scale; an interval may reach beyond it.
    """

    value: float
    bound: float
    baseline: float | None = None
    lower: float | None = None
    upper: float | None = None
    ends: tuple[float, ...] = ()


def kind_of(check: Check) -> CheckKind:
    """Tells what a check was about; older reports do not say, but their rules do."""
    if check.kind is not None:
        return check.kind
    if check.value is None:
        return CheckKind.PROBLEM
    if "change" in check.rule:
        return CheckKind.CHANGE
    return CheckKind.VALUE if check.bound is not None else CheckKind.PRESENT


def subject_of(check: Check) -> Subject | None:
    """Finds the numbers of a check that can be drawn, or None where there are none."""
    is_change = kind_of(check) in _CHANGE_KINDS
    value = check.change if is_change else check.value
    relative = is_change and _is_relative(check)
    if relative:
        value = _divided(check.change, check.baseline_value)
    if not _finite(value) or not _finite(check.bound):
        return None
    assert value is not None
    assert check.bound is not None
    interval = None
    if check.interval is not None and not relative:
        ends = (check.interval.lower, check.interval.upper)
        interval = ends if all(map(math.isfinite, ends)) else None
    baseline = check.baseline_value if not is_change and _finite(check.baseline_value) else None
    return Subject(value + 0.0, check.bound + 0.0, baseline, interval)  # -0 becomes 0


def _is_relative(check: Check) -> bool:
    """Tells whether the bound that decided is one for the relative change."""
    found = _CHANGE.findall(check.rule)
    shown = "" if check.bound is None else format_number(check.bound)
    return next((kind == "relative" for kind, bound in found if bound == shown), False)


def _divided(change: float | None, baseline: float | None) -> float | None:
    if change is None or not baseline:
        return None
    return change / baseline


def _finite(number: float | None) -> bool:
    return number is not None and math.isfinite(number)


@dataclass(frozen=True, order=True)
class Tick:
    """A label of a scale.

    Attributes:
        place: Where it stands, in percent of the width.
        text: What it says.
        anchor: Which part of the text stands there, as SVG calls it.
    """

    place: float
    text: str
    anchor: str


@dataclass(frozen=True)
class Scale:
    """A line from one number to another.

    Attributes:
        low: The number at its left end.
        high: The number at its right end.
        bounds: The bounds of the rule that lie on it.
    """

    low: float
    high: float
    bounds: tuple[float, ...]

    @classmethod
    def of(cls, subjects: Sequence[Subject], *, zero: bool = False) -> Scale:
        """Makes a scale on which all subjects have their marks.

        Args:
            subjects: At least one.
            zero: Whether zero is to be on it.
        """
        core = [0.0] if zero else []
        for subject in subjects:
            core += [subject.value, subject.bound]
            core += [] if subject.baseline is None else [subject.baseline]
        low, high = min(core), max(core)
        span = (high - low) or abs(high) or 1.0
        ends = [end for s in subjects if s.interval for end in s.interval]
        low = max(min([low, *ends]), low - _WIDEST * span)
        high = min(max([high, *ends]), high + _WIDEST * span)
        if low == high:
            low, high = low - span / 2, high + span / 2
        return cls(low, high, tuple(sorted({s.bound for s in subjects})))

    def place(self, number: float) -> float:
        """Returns where a number stands, in percent; what lies outside stands at the end."""
        half = self.high / 2 - self.low / 2
        part = (number / 2 - self.low / 2) / half if half else 0.5
        part = min(max(part, 0.0), 1.0) if math.isfinite(part) else 0.5
        return round(_MARGIN + part * (100 - 2 * _MARGIN), 1)

    def marks(self, subject: Subject) -> Marks:
        """Places a subject."""
        interval = subject.interval
        return Marks(
            self.place(subject.value),
            self.place(subject.bound),
            None if subject.baseline is None else self.place(subject.baseline),
            self.place(interval[0]) if interval else None,
            self.place(interval[1]) if interval else None,
            tuple(self.place(x) for x in interval or () if self.low <= x <= self.high),
        )

    def ticks(self) -> list[Tick]:
        """Returns labels for the scale, from left to right, with room between them."""
        wanted = [(self.place(bound), format_number(bound)) for bound in self.bounds[:2]]
        wanted += [(self.place(n), format_number(float(f"{n:.3g}"))) for n in (self.low, self.high)]
        kept: list[Tick] = []
        for place, text in wanted:
            if _far_enough(place, (tick.place for tick in kept)):
                anchor = "start" if place < 12 else "end" if place > 88 else "middle"
                kept.append(Tick(place, text, anchor))
        return sorted(kept)


def _far_enough(place: float, others: Iterable[float]) -> bool:
    return all(abs(place - other) > 30 for other in others)
