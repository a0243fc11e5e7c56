"""What a model must show before it may serve: the gate's policy, as plain data.

Thresholds mean what TFMA's own validator means (tensorflow_model_analysis,
evaluators/metrics_validator.py): bounds are inclusive, NaN never passes, a change is candidate
minus baseline, and a relative change is divided by the baseline, so that a baseline of zero never
passes a relative rule.
"""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tfx_registry import codec
from tfx_registry.errors import InvalidPolicyError
from tfx_registry.gate.evaluation import MetricId
from tfx_registry.records import SliceKey

__all__ = [
    "BaselineRule",
    "ChangeThreshold",
    "Direction",
    "GatePolicy",
    "SliceSpec",
    "ValueThreshold",
]


class Direction(str, enum.Enum):
    """Which way a metric improves."""

    HIGHER_IS_BETTER = "higher_is_better"
    LOWER_IS_BETTER = "lower_is_better"


class BaselineRule(str, enum.Enum):
    """What happens without a baseline to compare with.

    `REQUIRE` blocks. `FIRST_VERSION_ONLY` passes only while nothing serves under the alias.
    `ALLOW` passes; rules on changes are left out, and the decision says so.
    """

    REQUIRE = "require"
    FIRST_VERSION_ONLY = "first_version_only"
    ALLOW = "allow"


@dataclass(frozen=True)
class SliceSpec:
    """Which slices a rule is about; the same as TFMA's SlicingSpec.

    A spec names features, some of them with a value. It matches exactly the slices that are cut
    by these features and have these values. The empty spec matches the whole data set.

    Attributes:
        feature_keys: Features with any value.
        feature_values: Features with a fixed value, as text.
    """

    feature_keys: tuple[str, ...] = ()
    feature_values: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Takes any sequence of keys and keeps a tuple; pairs become a mapping."""
        keys: object = self.feature_keys
        if isinstance(keys, str):
            raise InvalidPolicyError(
                f"invalid slice {self.feature_keys!r}",
                "feature_keys is a list of features, not one text",
                f"write feature_keys=({self.feature_keys!r},)",
            )
        object.__setattr__(self, "feature_keys", tuple(self.feature_keys))
        object.__setattr__(
            self, "feature_values", {k: str(v) for k, v in dict(self.feature_values).items()}
        )

    def matches(self, key: SliceKey) -> bool:
        """Tells whether a slice is one of those that the spec means."""
        cut = dict(key)
        if len(cut) != len(key) or set(cut) != {*self.feature_keys, *self.feature_values}:
            return False
        return all(_same(cut[feature], value) for feature, value in self.feature_values.items())

    def __str__(self) -> str:
        """For people: `overall`, `each island`, `each island with sex=female`."""
        fixed = ", ".join(f"{k}={v}" for k, v in self.feature_values.items())
        keys = " x ".join(self.feature_keys)
        if not keys:
            return fixed or "overall"
        return f"each {keys}" + (f" with {fixed}" if fixed else "")


def _same(left: str, right: str) -> bool:
    """Compares feature values as TFMA does: text that reads as a number is that number."""
    return left == right or _number(left) == _number(right) is not None


def _number(text: str) -> float | None:
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return None


_OVERALL = (SliceSpec(),)


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
    """

    metric: str
    lower_bound: float | None = None
    upper_bound: float | None = None
    slices: tuple[SliceSpec, ...] = _OVERALL
    output_name: str = ""
    sub_key: str = ""
    aggregation: str = ""

    def __post_init__(self) -> None:
        """Checks the rule."""
        low, high = self.lower_bound, self.upper_bound
        _check_rule(self, low, high, "lower_bound or upper_bound")
        if low is not None and high is not None and low > high:
            raise InvalidPolicyError(
                f"invalid rule on {self.metric!r}",
                f"the lower bound {low} is above the upper bound {high}, so it would block all",
                "correct the bounds",
            )

    def is_about(self, metric: MetricId) -> bool:
        """Tells whether the rule is about a number; weighted and unweighted both count."""
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
    """

    metric: str
    direction: Direction = Direction.HIGHER_IS_BETTER
    absolute: float | None = None
    relative: float | None = None
    slices: tuple[SliceSpec, ...] = _OVERALL
    output_name: str = ""
    sub_key: str = ""
    aggregation: str = ""

    def is_about(self, metric: MetricId) -> bool:
        """Tells whether the rule is about a number; weighted and unweighted both count."""
        return _is_about(self, metric)

    def __post_init__(self) -> None:
        """Checks the rule."""
        try:
            object.__setattr__(self, "direction", Direction(self.direction))
        except ValueError as error:
            raise InvalidPolicyError(
                f"invalid direction {self.direction!r} of the rule on {self.metric!r}",
                "it is higher_is_better or lower_is_better",
                "correct the policy",
            ) from error
        _check_rule(self, self.absolute, self.relative, "absolute or relative")


@dataclass(frozen=True)
class GatePolicy:
    """Everything that VersionGate demands.

    Attributes:
        value_thresholds: Rules on the metrics themselves.
        change_thresholds: Rules on the change against what serves.
        required_slices: Slices that the evaluation must have, besides those that rules name.
        min_examples: Least number of examples in each slice that a rule looks at.
        baseline: What happens without a baseline.
    """

    value_thresholds: tuple[ValueThreshold, ...] = ()
    change_thresholds: tuple[ChangeThreshold, ...] = ()
    required_slices: tuple[SliceSpec, ...] = ()
    min_examples: int = 1
    baseline: BaselineRule = BaselineRule.FIRST_VERSION_ONLY

    def __post_init__(self) -> None:
        """Checks the policy as a whole."""
        for name, kind in (
            ("value_thresholds", ValueThreshold),
            ("change_thresholds", ChangeThreshold),
            ("required_slices", SliceSpec),
        ):
            object.__setattr__(self, name, _tuple_of(kind, getattr(self, name), name))
        try:
            object.__setattr__(self, "baseline", BaselineRule(self.baseline))
        except ValueError as error:
            raise InvalidPolicyError(
                f"invalid baseline rule {self.baseline!r}",
                "it is require, first_version_only or allow",
                "correct the policy",
            ) from error
        if not self.value_thresholds and not self.change_thresholds:
            raise InvalidPolicyError(
                "invalid gate policy",
                "it has no threshold, so it would pass every model",
                "add a ValueThreshold or a ChangeThreshold",
            )
        if type(self.min_examples) is not int or self.min_examples < 1:
            raise InvalidPolicyError(
                f"invalid min_examples {self.min_examples!r}",
                "a slice without examples shows nothing",
                "give a whole number of at least 1",
            )

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of the policy."""
        return codec.digest_json(self)

    def to_json(self) -> str:
        """Writes the policy as JSON text."""
        return codec.dumps(self)

    @classmethod
    def from_json(cls, text: str) -> GatePolicy:
        """Reads a policy.

        Args:
            text: JSON as `to_json` writes it; unknown fields are refused.

        Returns:
            The policy.

        Raises:
            InvalidPolicyError: The text is no JSON, or not a policy. The message names the place.
        """
        try:
            return codec.decode(cls, json.loads(text), strict=True)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise InvalidPolicyError(
                "invalid gate policy", str(error), "correct the policy"
            ) from error


def _check_rule(rule: Any, first: float | None, second: float | None, what: str) -> None:
    if not isinstance(rule.metric, str) or not rule.metric:
        raise InvalidPolicyError("invalid rule", "it names no metric", "name the metric")
    where = f"invalid rule on {rule.metric!r}"
    object.__setattr__(rule, "slices", _tuple_of(SliceSpec, rule.slices, "slices"))
    if first is None and second is None:
        raise InvalidPolicyError(where, "it has no threshold", f"give {what}")
    if not rule.slices:
        raise InvalidPolicyError(
            where,
            "it names no slice, so it would never apply",
            "leave slices out for the whole data set, or name slices",
        )
    for number in (first, second):
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise InvalidPolicyError(where, f"{number!r} is not a number", f"give {what}")
        if not math.isfinite(number):
            raise InvalidPolicyError(
                where, f"{number} is no threshold: it would decide nothing", f"give {what}"
            )


def _tuple_of(kind: type, values: Any, name: str) -> tuple[Any, ...]:
    """Takes any sequence of objects of a kind and returns a tuple."""
    items = () if isinstance(values, (str, kind)) else tuple(values)
    wrong = [values] if isinstance(values, (str, kind)) else items
    for item in wrong:
        if isinstance(values, (str, kind)) or not isinstance(item, kind):
            raise InvalidPolicyError(
                f"invalid {name}",
                f"it is a sequence of {kind.__name__}, and holds {item!r}"[:200],
                f"write {name}=[{kind.__name__}(...)]",
            )
    return items


def _is_about(rule: ValueThreshold | ChangeThreshold, metric: MetricId) -> bool:
    return (rule.metric, rule.output_name, rule.sub_key, rule.aggregation) == (
        metric.name,
        metric.output_name,
        metric.sub_key,
        metric.aggregation,
    )
