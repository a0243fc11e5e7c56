"""The record of one gate decision: every rule with its numbers, and the verdict."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tfx_registry import codec
from tfx_registry.records import SliceKey, Verdict, format_slice

__all__ = ["Check", "Compared", "GateReport", "Reason", "format_number"]


class Reason(str, enum.Enum):
    """Why a check failed. The values are stored and stay as they are."""

    BELOW_LOWER_BOUND = "below_lower_bound"
    ABOVE_UPPER_BOUND = "above_upper_bound"
    CHANGE_NOT_ENOUGH = "change_not_enough"
    NOT_A_NUMBER = "not_a_number"
    METRIC_MISSING = "metric_missing"
    SLICE_MISSING = "slice_missing"
    TOO_FEW_EXAMPLES = "too_few_examples"
    EXAMPLES_NOT_COUNTED = "examples_not_counted"
    EVALUATION_UNREADABLE = "evaluation_unreadable"
    EVALUATION_EMPTY = "evaluation_empty"
    EVALUATION_OF_ANOTHER_MODEL = "evaluation_of_another_model"
    EVALUATION_AMBIGUOUS = "evaluation_ambiguous"
    MODEL_BYTES_CHANGED = "model_bytes_changed"
    PROMOTION_UNFINISHED = "promotion_unfinished"
    BASELINE_MISSING = "baseline_missing"
    BASELINE_BYTES_CHANGED = "baseline_bytes_changed"
    BASELINE_IS_NOT_SERVING = "baseline_is_not_serving"


@dataclass(frozen=True)
class Check:
    """One question that the gate asked, and the answer.

    Attributes:
        passed: Whether it was answered well.
        message: One readable line with slice, metric, value and bound.
        reason: Why it failed; None when it passed.
        rule: The rule in words, such as "value >= 0.9".
        metric: The metric, or "".
        slice: The slice.
        value: The candidate's value.
        baseline_value: The baseline's value.
        change: Candidate minus baseline.
        bound: The bound that decided.
        examples: Number of examples in the slice.
    """

    passed: bool
    message: str
    reason: Reason | None = None
    rule: str = ""
    metric: str = ""
    slice: SliceKey = ()
    value: float | None = None
    baseline_value: float | None = None
    change: float | None = None
    bound: float | None = None
    examples: int | None = None


@dataclass(frozen=True)
class Compared:
    """One of the two models of a decision.

    Attributes:
        number: Number of the version.
        digest: Root digest of its bytes.
        evaluated_at: Where the evaluated bytes lay.
    """

    number: int
    digest: str
    evaluated_at: str = ""


@dataclass(frozen=True)
class GateReport:
    """The whole decision.

    Attributes:
        model: Name of the model.
        verdict: Passed only if every check passed.
        candidate: The version that wants to serve.
        baseline: The version that it was compared with, or None.
        baseline_rule: What the policy says about a missing baseline.
        alias: The alias whose serving version is the baseline.
        checks: All checks, failures first.
        notes: Remarks that did not block.
        policy: The policy as JSON.
        policy_digest: SHA-256 of the policy.
        evaluation: Where the TFMA result lies.
        evaluation_digest: SHA-256 over the files of the result.
        data_location: Where the examples lay, as far as TFMA says.
        metrics: The candidate's numbers by metric and slice, as (metric, slice, value).
    """

    model: str
    verdict: Verdict
    candidate: Compared
    baseline: Compared | None = None
    baseline_rule: str = ""
    alias: str = ""
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    policy: Mapping[str, Any] = field(default_factory=dict)
    policy_digest: str = ""
    evaluation: str = ""
    evaluation_digest: str = ""
    data_location: str = ""
    metrics: tuple[tuple[str, SliceKey, float], ...] = ()

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def reasons(self) -> tuple[str, ...]:
        """One readable line for each failure."""
        return tuple(check.message for check in self.failures)

    def to_json(self) -> str:
        """Writes the report as canonical JSON; equal decisions give equal text."""
        return codec.dumps(self)

    @classmethod
    def from_json(cls, text: str) -> GateReport:
        """Reads what `to_json` wrote.

        Raises:
            CodecError: The text does not fit.
        """
        return codec.decode(cls, codec.loads(text))


def format_number(value: float) -> str:
    """Writes a number for people: six significant digits, `NaN`, `inf`."""
    return "NaN" if math.isnan(value) else f"{value:.6g}"


def describe(slice_key: SliceKey, metric: str = "") -> str:
    """Begins a message: `slice island=Dream: auc` or `overall: auc`."""
    where = f"slice {format_slice(slice_key)}" if slice_key else "overall"
    return f"{where}: {metric}" if metric else where
