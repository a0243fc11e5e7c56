"""The rules on metrics, as plain data.

Thresholds mean what TFMA's own validator means (tensorflow_model_analysis,
evaluators/metrics_validator.py): bounds are inclusive, NaN never passes, a change is candidate
minus baseline, and a relative change is divided by the baseline, so that a baseline of zero never
passes a relative rule.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Any, TypeVar

from tfx_registry.errors import InvalidPolicyError
from tfx_registry.gate.evaluation import MetricId
from tfx_registry.gate.slices import CrossSliceSpec, SliceSpec, tuple_of

__all__ = [
    "ChangeThreshold",
    "Confidence",
    "Direction",
    "NoWorse",
    "Rule",
    "ValueThreshold",
    "Weighting",
    "as_float",
    "check_count",
    "member",
]

E = TypeVar("E", bound=enum.Enum)

_OVERALL = (SliceSpec(),)
_EVERYWHERE = (SliceSpec(all_slices=True),)


class Direction(str, enum.Enum):
    """Which way a metric improves."""

    HIGHER_IS_BETTER = "higher_is_better"
    LOWER_IS_BETTER = "lower_is_better"


class Confidence(str, enum.Enum):
    """What has to clear a threshold.

    `POINT`: the measured number. `BOUND`: the number and the worse end of its confidence interval.
    """

    POINT = "point"
    BOUND = "bound"


class Weighting(str, enum.Enum):
    """Which variants of a metric a rule is asked of.

    `ANY`: every one that was computed. `WEIGHTED`, `UNWEIGHTED`: only the one with, or without,
    example weights.
    """

    ANY = "any"
    WEIGHTED = "weighted"
    UNWEIGHTED = "unweighted"


@dataclass(frozen=True)
class ValueThreshold:
    """The metric itself must lie within bounds, both inclusive.

    Attributes:
        metric: Name of the metric in the TFMA result, such as "auc".
        lower_bound: The least value, or None.
        upper_bound: The greatest value, or None.
        slices: Where the rule holds.
        output_name: Output of a multi-output model, or "".
        sub_key: TFMA sub key as text, such as "classId:0" or "topK:5", or "".
        aggregation: "micro_average", "macro_average", "weighted_macro_average", or "".
        weighting: Which variants of the metric are meant: any, weighted or unweighted.
        cross_slices: Pairs of slices whose difference must lie within the bounds. A rule with
            cross slices is about these alone; `slices` is left out.
        confidence: Whether the confidence bound has to hold too; None leaves it to the policy.
        min_examples: Least number of examples in each slice of this rule; None leaves it to the
            policy.
    """

    metric: str
    lower_bound: float | None = None
    upper_bound: float | None = None
    slices: tuple[SliceSpec, ...] = _OVERALL
    output_name: str = ""
    sub_key: str = ""
    aggregation: str = ""
    weighting: Weighting = Weighting.ANY
    cross_slices: tuple[CrossSliceSpec, ...] = ()
    confidence: Confidence | None = None
    min_examples: int | None = None

    def __post_init__(self) -> None:
        """Checks the rule."""
        _check_rule(self)
        _check_bounds(self, "lower_bound", "upper_bound")
        low, high = self.lower_bound, self.upper_bound
        if low is not None and high is not None and low > high:
            raise InvalidPolicyError(
                f"invalid rule on {self.metric!r}",
                f"the lower bound {low} is above the upper bound {high}, so it would block all",
                "correct the bounds",
            )

    def is_about(self, metric: MetricId) -> bool:
        """Tells whether the rule is about a number."""
        return _is_about(self, metric)


@dataclass(frozen=True)
class ChangeThreshold:
    """The change against the baseline must be good enough.

    The change is candidate minus baseline. Where higher is better it must be at least the
    threshold, where lower is better at most; so `absolute=-0.01` with `higher_is_better` allows a
    loss of 0.01. With both an absolute and a relative threshold, both must hold.

    Attributes:
        metric: Name of the metric in the TFMA result.
        direction: Which way the metric improves.
        absolute: Threshold for the change, in units of the metric.
        relative: Threshold for the change divided by the baseline.
        slices: Where the rule holds.
        output_name: Output of a multi-output model, or "".
        sub_key: TFMA sub key as text, or "".
        aggregation: "micro_average", "macro_average", "weighted_macro_average", or "".
        weighting: Which variants of the metric are meant: any, weighted or unweighted.
        cross_slices: Pairs of slices whose difference is compared with the baseline's difference.
            A rule with cross slices is about these alone; `slices` is left out.
        confidence: Whether the confidence bound of the paired difference has to hold too; None
            leaves it to the policy.
        min_examples: Least number of examples in each slice of this rule; None leaves it to the
            policy.
    """

    metric: str
    direction: Direction = Direction.HIGHER_IS_BETTER
    absolute: float | None = None
    relative: float | None = None
    slices: tuple[SliceSpec, ...] = _OVERALL
    output_name: str = ""
    sub_key: str = ""
    aggregation: str = ""
    weighting: Weighting = Weighting.ANY
    cross_slices: tuple[CrossSliceSpec, ...] = ()
    confidence: Confidence | None = None
    min_examples: int | None = None

    def is_about(self, metric: MetricId) -> bool:
        """Tells whether the rule is about a number."""
        return _is_about(self, metric)

    def __post_init__(self) -> None:
        """Checks the rule."""
        _check_rule(self)
        _check_bounds(self, "absolute", "relative")


@dataclass(frozen=True)
class NoWorse:
    """At least as good as the baseline on every slice, and better on at least one.

    Attributes:
        metric: Name of the metric in the TFMA result.
        direction: Which way the metric improves.
        tolerance: How much worse a slice may be, in units of the metric, 0 or more.
        better_somewhere: Whether it must be better, by more than 0, on at least one of the slices.
        slices: Where the rule holds; every slice by default.
        output_name: Output of a multi-output model, or "".
        sub_key: TFMA sub key as text, or "".
        aggregation: "micro_average", "macro_average", "weighted_macro_average", or "".
        weighting: Which variants of the metric are meant: any, weighted or unweighted.
        confidence: Whether the confidence bound of the paired difference has to hold too; None
            leaves it to the policy.
        min_examples: Least number of examples in each slice of this rule; None leaves it to the
            policy.
    """

    metric: str
    direction: Direction = Direction.HIGHER_IS_BETTER
    tolerance: float = 0.0
    better_somewhere: bool = True
    slices: tuple[SliceSpec, ...] = _EVERYWHERE
    output_name: str = ""
    sub_key: str = ""
    aggregation: str = ""
    weighting: Weighting = Weighting.ANY
    confidence: Confidence | None = None
    min_examples: int | None = None

    def __post_init__(self) -> None:
        """Checks the rule."""
        _check_rule(self)
        _check_bounds(self, "tolerance")
        if self.tolerance < 0:
            raise InvalidPolicyError(
                f"invalid rule on {self.metric!r}",
                f"the tolerance {self.tolerance} is negative",
                "give how much worse a slice may be, or use a ChangeThreshold to ask for a gain",
            )
        if type(self.better_somewhere) is not bool:
            raise InvalidPolicyError(
                f"invalid rule on {self.metric!r}", "better_somewhere is true or false", ""
            )

    def is_about(self, metric: MetricId) -> bool:
        """Tells whether the rule is about a number."""
        return _is_about(self, metric)


#: Any rule on a metric.
Rule = ValueThreshold | ChangeThreshold | NoWorse


def member(kind: type[E], value: Any, what: str, where: str = "") -> E:
    """Reads a word of an enumeration.

    Args:
        kind: The enumeration.
        value: A member or its text.
        what: What the word is, for the message.
        where: Where it stands, for the message.

    Returns:
        The member.

    Raises:
        InvalidPolicyError: There is no such word.
    """
    try:
        return kind(value)
    except ValueError as error:
        *first, last = [str(item.value) for item in kind]
        raise InvalidPolicyError(
            f"invalid {what} {value!r} {where}".rstrip(),
            f"it is {', '.join(first)} or {last}",
            "correct the policy",
        ) from error


def check_count(value: Any, what: str) -> None:
    """Refuses what is no number of examples.

    Args:
        value: The value.
        what: Name of the field, for the message.

    Raises:
        InvalidPolicyError: It is no whole number, or less than 1.
    """
    if type(value) is not int or value < 1:
        raise InvalidPolicyError(
            f"invalid {what} {value!r}",
            "a slice without examples shows nothing",
            "give a whole number of at least 1",
        )


def _check_rule(rule: Any) -> None:
    """Checks what all rules have in common, and puts lists and words into their own types."""
    if not isinstance(rule.metric, str) or not rule.metric:
        raise InvalidPolicyError("invalid rule", "it names no metric", "name the metric")
    where = f"invalid rule on {rule.metric!r}"
    of_rule = f"of the rule on {rule.metric!r}"
    put = object.__setattr__
    put(rule, "slices", tuple_of(SliceSpec, rule.slices, "slices"))
    put(rule, "weighting", member(Weighting, rule.weighting, "weighting", of_rule))
    if hasattr(rule, "direction"):
        put(rule, "direction", member(Direction, rule.direction, "direction", of_rule))
    if rule.confidence is not None:
        put(rule, "confidence", member(Confidence, rule.confidence, "confidence", of_rule))
    if rule.min_examples is not None:
        check_count(rule.min_examples, f"min_examples {of_rule}:")
    for name in ("output_name", "sub_key", "aggregation"):
        if not isinstance(getattr(rule, name), str):
            raise InvalidPolicyError(where, f"{name} is text", f"give {name} as text")
    if not rule.slices:
        raise InvalidPolicyError(
            where,
            "it names no slice, so it would never apply",
            "leave slices out for the whole data set, or name slices",
        )
    if hasattr(rule, "cross_slices"):
        crossed = tuple_of(CrossSliceSpec, rule.cross_slices, "cross_slices")
        put(rule, "cross_slices", crossed)
        if crossed and rule.slices != _OVERALL:
            raise InvalidPolicyError(
                where,
                "it names slices and cross slices, whose numbers mean different things",
                "write two rules",
            )


def _check_bounds(rule: Any, *names: str) -> None:
    """Checks the thresholds of a rule, and keeps them as floats so that equal ones look equal."""
    where, what = f"invalid rule on {rule.metric!r}", " or ".join(names)
    if all(getattr(rule, name) is None for name in names):
        raise InvalidPolicyError(where, "it has no threshold", f"give {what}")
    for name in names:
        number = getattr(rule, name)
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise InvalidPolicyError(where, f"{number!r} is not a number", f"give {what}")
        object.__setattr__(rule, name, as_float(number))
        if not math.isfinite(getattr(rule, name)):
            raise InvalidPolicyError(
                where, f"{number} is no threshold: it would decide nothing", f"give {what}"
            )


def as_float(number: float) -> float:
    """Turns a whole number into a float; one that is too large becomes infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _is_about(rule: Rule, metric: MetricId) -> bool:
    return (rule.metric, rule.output_name, rule.sub_key, rule.aggregation) == (
        metric.name,
        metric.output_name,
        metric.sub_key,
        metric.aggregation,
    ) and (
        rule.weighting is Weighting.ANY
        or (rule.weighting is Weighting.WEIGHTED) == bool(metric.weighting)
    )
