"""What a model must show before it may serve: the gate's policy, as plain data.

A policy is written in Python, JSON or YAML, or taken from the EvalConfig of TFMA. All four forms
say the same, and each form can be written as another.
"""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfx_registry import codec
from tfx_registry.errors import InvalidPolicyError
from tfx_registry.gate.slices import CrossSliceSpec, SliceSpec, tuple_of
from tfx_registry.gate.thresholds import (
    ChangeThreshold,
    Confidence,
    Direction,
    NoWorse,
    Rule,
    ValueThreshold,
    Weighting,
    as_float,
    check_count,
    member,
)

__all__ = [
    "BaselineRule",
    "ChangeThreshold",
    "Confidence",
    "CrossSliceSpec",
    "Direction",
    "GatePolicy",
    "MissingInterval",
    "MovedBaseline",
    "NoWorse",
    "Rule",
    "SignatureRule",
    "SliceSpec",
    "ValueThreshold",
    "Weighting",
]


class BaselineRule(str, enum.Enum):
    """What happens without a baseline to compare with.

    `REQUIRE` blocks. `FIRST_VERSION_ONLY` passes only while nothing serves under the alias.
    `ALLOW` passes; rules on changes are left out, and the decision says so.
    """

    REQUIRE = "require"
    FIRST_VERSION_ONLY = "first_version_only"
    ALLOW = "allow"


class MovedBaseline(str, enum.Enum):
    """What happens when another version serves than when the evaluation was made.

    `BLOCK` blocks. `RE_EVALUATE` evaluates again against what serves now, where the gate evaluates
    by itself; where it was handed a finished evaluation, it blocks.
    """

    BLOCK = "block"
    RE_EVALUATE = "re_evaluate"


class MissingInterval(str, enum.Enum):
    """What happens when a rule asks for a confidence bound and there is no interval.

    `BLOCK` blocks. `USE_POINT_VALUE` lets the measured number decide, and the check says so.
    """

    BLOCK = "block"
    USE_POINT_VALUE = "use_point_value"


class SignatureRule(str, enum.Enum):
    """How the signatures must fit those of the version that serves.

    `ANY` does not ask. `ADDITIVE`: whoever calls the serving version can call the candidate; it
    may have further signatures and outputs. `SAME`: signatures, inputs and outputs are equal.
    """

    ANY = "any"
    ADDITIVE = "additive"
    SAME = "same"


@dataclass(frozen=True)
class GatePolicy:
    """Everything that VersionGate demands.

    Attributes:
        value_thresholds: Rules on the metrics themselves.
        change_thresholds: Rules on the change against what serves.
        required_slices: Slices that the evaluation must have, besides those that rules name.
        min_examples: Least number of examples in each slice that a rule looks at.
        baseline: What happens without a baseline.
        no_worse: Metrics that must be at least as good on every slice, and better on one.
        confidence: Whether the point value alone or also the confidence bound has to clear the
            thresholds, for rules that do not say it themselves.
        confidence_level: Level of the two-sided confidence intervals, between 0 and 1. TFMA gives
            0.95; others can be had where it gives standard error and degrees of freedom.
        missing_interval: What happens when a rule asks for a bound and there is no interval.
        min_slice_size: Slices with fewer examples are left out, and the decision says how many;
            the whole data set never is. The same as TFMA's `min_slice_size`.
        max_evaluation_age_hours: Oldest evaluation that may decide, in hours; None for any.
        max_model_bytes: Largest model, in bytes; None for any.
        max_model_growth: How much larger than the serving version the model may be, as a fraction
            of its size, such as 0.2; None for any.
        signatures: How the signatures must fit those of the version that serves.
        require_infra_blessing: Whether InfraValidator must have blessed the model.
        required_labels: Labels that the version must have, with the values that are allowed; an
            empty list allows any.
        moved_baseline: What happens when another version serves than when the evaluation was made.
    """

    value_thresholds: tuple[ValueThreshold, ...] = ()
    change_thresholds: tuple[ChangeThreshold, ...] = ()
    required_slices: tuple[SliceSpec, ...] = ()
    min_examples: int = 1
    baseline: BaselineRule = BaselineRule.FIRST_VERSION_ONLY
    no_worse: tuple[NoWorse, ...] = ()
    confidence: Confidence = Confidence.POINT
    confidence_level: float = 0.95
    missing_interval: MissingInterval = MissingInterval.BLOCK
    min_slice_size: int = 1
    max_evaluation_age_hours: float | None = None
    max_model_bytes: int | None = None
    max_model_growth: float | None = None
    signatures: SignatureRule = SignatureRule.ANY
    require_infra_blessing: bool = False
    required_labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    moved_baseline: MovedBaseline = MovedBaseline.BLOCK

    def __post_init__(self) -> None:
        """Checks the policy as a whole."""
        for name, kind in _SEQUENCES.items():
            object.__setattr__(self, name, tuple_of(kind, getattr(self, name), name))
        for name, (words, what) in _WORDS.items():
            object.__setattr__(self, name, member(words, getattr(self, name), what))
        if not self.rules:
            raise InvalidPolicyError(
                "invalid gate policy",
                "it has no threshold, so it would pass every model",
                "add a ValueThreshold, a ChangeThreshold or a NoWorse rule",
            )
        check_count(self.min_examples, "min_examples")
        check_count(self.min_slice_size, "min_slice_size")
        level: object = self.confidence_level
        if not isinstance(level, float) or not 0.5 <= level < 1:
            raise InvalidPolicyError(
                f"invalid confidence_level {self.confidence_level!r}",
                "it is a fraction of at least 0.5 and below 1",
                "write 0.95 for 95 %",
            )
        _check_limit(self, "max_evaluation_age_hours", float)
        _check_limit(self, "max_model_bytes", int)
        _check_limit(self, "max_model_growth", float)
        if type(self.require_infra_blessing) is not bool:
            raise InvalidPolicyError(
                f"invalid require_infra_blessing {self.require_infra_blessing!r}",
                "it is true or false",
                "correct the policy",
            )
        object.__setattr__(self, "required_labels", _labels(self.required_labels))

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All rules on metrics."""
        return (*self.value_thresholds, *self.change_thresholds, *self.no_worse)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of the policy."""
        return codec.digest_json(self)

    def to_json(self) -> str:
        """Writes the policy as canonical JSON text."""
        return codec.dumps(self)

    def to_yaml(self) -> str:
        """Writes the policy as YAML text. Fields that hold their default are left out."""
        from tfx_registry.gate import policy_text

        return policy_text.write_yaml(codec.encode(self))

    @classmethod
    def from_json(cls, text: str) -> GatePolicy:
        """Reads a policy.

        Args:
            text: JSON as `to_json` writes it; unknown fields are refused. It may hold or be an
                EvalConfig, see `from_dict`.

        Returns:
            The policy.

        Raises:
            InvalidPolicyError: The text is no JSON, or not a policy. The message names the place.
        """
        try:
            return cls.from_dict(json.loads(text, object_pairs_hook=_once))
        except (ValueError, RecursionError) as error:
            raise _unfit(error) from error

    @classmethod
    def from_yaml(cls, text: str) -> GatePolicy:
        """Reads a policy.

        Args:
            text: YAML as `to_yaml` writes it, in the words of YAML 1.2 (`true`, `false` and
                `null`; `yes` and `no` are text). Unknown and repeated fields are refused.

        Returns:
            The policy.

        Raises:
            InvalidPolicyError: The text is no YAML, or not a policy. The message names the place.
        """
        from tfx_registry.gate import policy_text

        return cls.from_dict(policy_text.read_yaml(text))

    @classmethod
    def from_dict(cls, document: Any) -> GatePolicy:
        """Reads a policy from what a JSON or YAML parser returned.

        Args:
            document: The fields of the policy. With the field `eval_config`, the thresholds of
                that EvalConfig are added to those of the policy. A document that is itself an
                EvalConfig is taken as one.

        Returns:
            The policy.

        Raises:
            InvalidPolicyError: It does not fit. The message names the place.
        """
        from tfx_registry.gate import eval_config

        if isinstance(document, Mapping) and eval_config.looks_like_one(document):
            return cls.from_eval_config(document)
        try:
            if isinstance(document, Mapping) and "eval_config" in document:
                document = eval_config.merge(document)
            return codec.decode(cls, document, strict=True)
        except (codec.CodecError, TypeError, OverflowError, RecursionError) as error:
            raise _unfit(error) from error

    @classmethod
    def load(cls, path: str | Path) -> GatePolicy:
        """Reads a policy from a file.

        Args:
            path: A file that ends in .json, .yaml or .yml, or an EvalConfig as text protocol
                buffer, ending in .pbtxt, .textproto or .txtpb.

        Returns:
            The policy.

        Raises:
            InvalidPolicyError: The file cannot be read, or is not a policy. The message names the
                file and the place.
        """
        from tfx_registry.gate import policy_text

        return policy_text.load(cls, Path(path))

    @classmethod
    def from_eval_config(cls, config: Any, *, candidate: str = "") -> GatePolicy:
        """Makes the policy that an EvalConfig of TFMA expresses.

        Args:
            config: A `tfma.EvalConfig`, or the same as dictionary, as JSON text or as text
                protocol buffer.
            candidate: Name of the model that is to be decided on; needed only where the config
                names several that are no baseline.

        Returns:
            The policy: the thresholds of the config, and the defaults for everything else; use
            `dataclasses.replace` for that.

        Raises:
            InvalidPolicyError: It is no EvalConfig, has no threshold, or has one that a policy
                cannot express; the message names the place.
        """
        from tfx_registry.gate import eval_config

        return cls(**eval_config.fields_of(config, candidate))

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Returns the JSON Schema (draft 2020-12) of a policy file, for editors and checks."""
        from tfx_registry.gate import policy_schema

        return policy_schema.schema_of(cls)


_SEQUENCES: dict[str, type] = {
    "value_thresholds": ValueThreshold,
    "change_thresholds": ChangeThreshold,
    "required_slices": SliceSpec,
    "no_worse": NoWorse,
}

_WORDS: dict[str, tuple[type[enum.Enum], str]] = {
    "baseline": (BaselineRule, "baseline rule"),
    "confidence": (Confidence, "confidence"),
    "missing_interval": (MissingInterval, "missing_interval"),
    "signatures": (SignatureRule, "signatures"),
    "moved_baseline": (MovedBaseline, "moved_baseline"),
}


def _unfit(error: Exception) -> InvalidPolicyError:
    if isinstance(error, InvalidPolicyError):
        return error
    return InvalidPolicyError("invalid gate policy", str(error), "correct the policy")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes an object of JSON; a field that is given twice is an error."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twice!r} is given twice")
    return found


def _check_limit(policy: GatePolicy, name: str, kind: type) -> None:
    """Checks a limit that may be left out; one that is no whole number is kept as float."""
    value = getattr(policy, name)
    if value is None:
        return
    number = as_float(value) if type(value) in (int, kind) else math.nan
    if not math.isfinite(number) or number < 0:
        what = "a number" if kind is float else "a whole number"
        raise InvalidPolicyError(
            f"invalid {name} {value!r}"[:200], f"it is {what} of at least 0", "correct the policy"
        )
    if kind is float:
        object.__setattr__(policy, name, number)


def _labels(labels: Any) -> dict[str, tuple[str, ...]]:
    """Checks required labels; one allowed value may stand without a list."""
    wrong = InvalidPolicyError(
        f"invalid required_labels {labels!r}"[:200],
        "it maps labels to lists of texts",
        "write required_labels={'label': ['value', ...]}",
    )
    found: dict[str, tuple[str, ...]] = {}
    try:
        for key, values in dict(labels).items():
            found[key] = (values,) if isinstance(values, str) else tuple(values)
    except (TypeError, ValueError) as error:
        raise wrong from error
    texts = [text for key, values in found.items() for text in (key, *values)]
    if not all(isinstance(text, str) for text in texts) or not all(found):
        raise wrong
    return found
