"""Which slices of the data a rule is about; the same as TFMA's SlicingSpec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tfx_registry.errors import InvalidPolicyError
from tfx_registry.gate.evaluation import CrossSliceKey
from tfx_registry.records import SliceKey

__all__ = ["CrossSliceSpec", "SliceSpec", "normal_value", "tuple_of"]


@dataclass(frozen=True)
class SliceSpec:
    """Which slices a rule is about; the same as TFMA's SlicingSpec.

    A spec names features, some of them with a value. It matches exactly the slices that are cut
    by these features and have these values. The empty spec matches the whole data set.

    Attributes:
        feature_keys: Features with any value.
        feature_values: Features with a fixed value, as text.
        all_slices: The whole data set and every slice that was evaluated, however it is cut; then
            no feature is named. TFMA's thresholds without slices mean this.
    """

    feature_keys: tuple[str, ...] = ()
    feature_values: Mapping[str, str] = field(default_factory=dict)
    all_slices: bool = False

    def __post_init__(self) -> None:
        """Takes any sequence of keys and keeps a tuple; pairs become a mapping."""
        keys: object = self.feature_keys
        if isinstance(keys, str):
            raise InvalidPolicyError(
                f"invalid slice {self.feature_keys!r}",
                "feature_keys is a list of features, not one text",
                f"write feature_keys=({self.feature_keys!r},)",
            )
        try:
            named = tuple(self.feature_keys)
            values = {k: str(v) for k, v in dict(self.feature_values).items()}
        except (TypeError, ValueError) as error:
            raise InvalidPolicyError(
                "invalid slice", str(error), "write SliceSpec(['island'], {'sex': 'female'})"
            ) from error
        if not all(isinstance(name, str) for name in (*named, *values)):
            raise InvalidPolicyError(
                f"invalid slice {named!r} {values!r}"[:200],
                "features are named by text",
                "write SliceSpec(['island'], {'sex': 'female'})",
            )
        object.__setattr__(self, "feature_keys", named)
        object.__setattr__(self, "feature_values", values)
        if type(self.all_slices) is not bool:
            raise InvalidPolicyError(
                f"invalid slice: all_slices is {self.all_slices!r}", "it is true or false", ""
            )
        if self.all_slices and (self.feature_keys or self.feature_values):
            raise InvalidPolicyError(
                f"invalid slice on {', '.join((*self.feature_keys, *self.feature_values))}",
                "all_slices means every slice, whatever it is cut by",
                "leave out the features, or all_slices",
            )

    def matches(self, key: SliceKey) -> bool:
        """Tells whether a slice is one of those that the spec means."""
        if self.all_slices:
            return True
        cut = dict(key)
        if len(cut) != len(key) or set(cut) != {*self.feature_keys, *self.feature_values}:
            return False
        return all(
            normal_value(cut[feature]) == normal_value(value)
            for feature, value in self.feature_values.items()
        )

    def __str__(self) -> str:
        """For people: `overall`, `each island`, `each island with sex=female`."""
        if self.all_slices:
            return "every slice"
        fixed = ", ".join(f"{k}={v}" for k, v in self.feature_values.items())
        keys = " x ".join(self.feature_keys)
        if not keys:
            return fixed or "overall"
        return f"each {keys}" + (f" with {fixed}" if fixed else "")


@dataclass(frozen=True)
class CrossSliceSpec:
    """Pairs of slices that are compared with each other; TFMA's CrossSlicingSpec.

    The number that a rule is asked of is that of the baseline slice minus that of the other. The
    evaluation must have been made with the same `cross_slicing_specs`.

    Attributes:
        baseline: The slice that the others are subtracted from.
        slices: The slices that it is compared with.
    """

    baseline: SliceSpec
    slices: tuple[SliceSpec, ...]

    def __post_init__(self) -> None:
        """Checks the slices."""
        object.__setattr__(self, "slices", tuple_of(SliceSpec, self.slices, "slices"))
        baseline: object = self.baseline
        if not isinstance(baseline, SliceSpec) or not self.slices:
            raise InvalidPolicyError(
                "invalid comparison of slices",
                "it needs a baseline slice and at least one slice to compare it with",
                "write CrossSliceSpec(SliceSpec(...), [SliceSpec(...)])",
            )

    def matches(self, key: CrossSliceKey) -> bool:
        """Tells whether a pair of slices is one of those that the spec means."""
        return self.baseline.matches(key[0]) and any(s.matches(key[1]) for s in self.slices)

    def __str__(self) -> str:
        """For people: `sex=female against each island`."""
        return f"{self.baseline} against {' or '.join(map(str, self.slices))}"


def normal_value(text: str) -> str | float:
    """Writes feature values so that equal ones are equal.

    Args:
        text: The value as text.

    Returns:
        The number where the text reads as one, as TFMA takes it; else the text.
    """
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text


def tuple_of(kind: type, values: Any, name: str) -> tuple[Any, ...]:
    """Takes any sequence of objects of a kind and returns a tuple.

    Args:
        kind: The class of the objects.
        values: The sequence.
        name: Name of the field, for the message.

    Returns:
        The tuple.

    Raises:
        InvalidPolicyError: It is no sequence, or holds something else.
    """
    alone = isinstance(values, (str, bytes, Mapping, kind)) or not hasattr(values, "__iter__")
    items = (values,) if alone else tuple(values)
    for item in items:
        if alone or not isinstance(item, kind):
            raise InvalidPolicyError(
                f"invalid {name}",
                f"it is a sequence of {kind.__name__}, and holds {item!r}"[:200],
                f"write {name}=[{kind.__name__}(...)]",
            )
    return items
