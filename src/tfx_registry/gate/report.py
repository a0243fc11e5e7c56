"""The record of one gate decision: every rule with its numbers, and the verdict."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tfx_registry import codec, compiled
from tfx_registry.gate.evaluation import DataIdentity, Interval
from tfx_registry.records import SliceKey, Verdict, format_slice
from tfx_registry.text import format_number

__all__ = ["Check", "CheckKind", "Compared", "GateReport", "Reason", "format_number"]


class Reason(str, enum.Enum):
    """Why a check failed. The values are stored and stay as they are."""

    BELOW_LOWER_BOUND = "below_lower_bound"
    ABOVE_UPPER_BOUND = "above_upper_bound"
    CHANGE_NOT_ENOUGH = "change_not_enough"
    NOT_A_NUMBER = "not_a_number"
    METRIC_MISSING = "metric_missing"
    SLICE_MISSING = "slice_missing"
    NO_EXAMPLES = "no_examples"
    TOO_FEW_EXAMPLES = "too_few_examples"
    EXAMPLES_NOT_COUNTED = "examples_not_counted"
    EVALUATION_UNREADABLE = "evaluation_unreadable"
    EVALUATION_EMPTY = "evaluation_empty"
    EVALUATION_OF_ANOTHER_MODEL = "evaluation_of_another_model"
    EVALUATION_AMBIGUOUS = "evaluation_ambiguous"
    EVALUATION_WITHOUT_CANDIDATE = "evaluation_without_candidate"
    EVALUATION_TOO_OLD = "evaluation_too_old"
    EVALUATION_UNDATED = "evaluation_undated"
    INTERVAL_MISSING = "interval_missing"
    INTERVAL_UNUSABLE = "interval_unusable"
    NOT_CONFIDENT = "not_confident"
    NOT_BETTER_ANYWHERE = "not_better_anywhere"
    MODEL_BYTES_CHANGED = "model_bytes_changed"
    PROMOTION_UNFINISHED = "promotion_unfinished"
    BASELINE_MISSING = "baseline_missing"
    BASELINE_BYTES_CHANGED = "baseline_bytes_changed"
    BASELINE_BYTES_GONE = "baseline_bytes_gone"
    BASELINE_IS_NOT_SERVING = "baseline_is_not_serving"
    BASELINE_MOVED = "baseline_moved"
    MODEL_TOO_LARGE = "model_too_large"
    MODEL_SIZE_UNKNOWN = "model_size_unknown"
    SIGNATURES_DIFFER = "signatures_differ"
    SIGNATURES_UNKNOWN = "signatures_unknown"
    INFRA_BLESSING_MISSING = "infra_blessing_missing"
    INFRA_NOT_BLESSED = "infra_not_blessed"
    LABEL_MISSING = "label_missing"
    LABEL_NOT_ALLOWED = "label_not_allowed"


class CheckKind(str, enum.Enum):
    """What a check was about. The values are stored and stay as they are.

    `VALUE`: a metric against its bounds. `CHANGE`: its change against the baseline. `PRESENT`: a
    metric of a rule on changes, without a baseline. `NO_WORSE`: the change in one slice of a
    `NoWorse` rule; `BETTER`: whether it improved in any. `EXAMPLES`: number of examples. `FACT`:
    something about the model or the evaluation that is no metric. `PROBLEM`: what keeps the gate
    from deciding by numbers at all.
    """

    VALUE = "value"
    CHANGE = "change"
    PRESENT = "present"
    NO_WORSE = "no_worse"
    BETTER = "better"
    EXAMPLES = "examples"
    FACT = "fact"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """One question that the gate asked, and the answer.

    With slots, because a decision on thousands of slices makes as many times its number of rules.

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
        kind: What it was about; None in reports of release 0.1 and before.
        versus: The slice that `slice` was compared with in a cross-slice check, else None.
        interval: The confidence interval that belongs to the check: of the value, or, where the
            check is about a change, of the paired difference candidate minus baseline.
        level: The confidence level at which the end of the interval had to hold; None where the
            point value decided.
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
    kind: CheckKind | None = None
    versus: SliceKey | None = None
    interval: Interval | None = None
    level: float | None = None


#: Makes a check of the values of all its fields as the constructor does, in a third of the time:
#: rules make thousands of them.
make_check: Callable[..., Check] = compiled.maker(Check)


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
        data: Which examples were evaluated.
        made_at: When the evaluation was made, in seconds since the epoch, or None.
        versions: Versions of the libraries that made the evaluation.
        serving_seq: Sequence number of the deployment that served under the alias at the
            decision, 0 for none.

    Who decided, in which pipeline run and when stands in the event that stores the report, not
    here, so that the same inputs give the same report.
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
    data: DataIdentity = field(default_factory=DataIdentity)
    made_at: float | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    serving_seq: int = 0

    def _repr_html_(self) -> str:
        from tfx_registry.displays import report_html  # only notebooks need it

        return report_html(self)

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
        return _texts_of_reports([self], compiled.NumberTexts())[0]

    @classmethod
    def from_json(cls, text: str) -> GateReport:
        """Reads what `to_json` wrote.

        Raises:
            CodecError: The text does not fit.
        """
        return codec.decode(cls, codec.loads(text))


def describe(slice_key: SliceKey, metric: str = "") -> str:
    """Begins a message: `slice island=Dream: auc` or `overall: auc`."""
    where = f"slice {format_slice(slice_key)}" if slice_key else "overall"
    return f"{where}: {metric}" if metric else where


def _text_of(value: Any) -> str:
    """Writes a field of a report: checks and numbers are many, so what knows them writes them."""
    first = value[0] if value.__class__ is tuple and value else None
    if first.__class__ is Check:
        return f"[{','.join(_texts_of_checks(value, compiled.NumberTexts()))}]"
    if first.__class__ is tuple:
        return f"[{','.join(_texts_of_numbers(value))}]"
    return codec.dumps(value)


def _texts_of_numbers(rows: Iterable[tuple[str, SliceKey, float]]) -> Iterator[str]:
    """Writes (metric, slice, value); the rows of a slice stand together, and names come again."""
    names: dict[str, str] = {}
    last, where = None, ""
    for name, key, value in rows:
        if key is not last:
            last, where = key, codec.dumps(key)
        if (shown := names.get(name)) is None:
            shown = names[name] = codec.dumps(name)
        # The difference of a number to itself is 0, but for NaN and the infinities.
        plain = value.__class__ is float and value - value == 0.0
        yield f"[{shown},{where},{float.__repr__(value) if plain else codec.dumps(value)}]"


_texts_of_checks = compiled.text_writer(Check, codec.dumps)
_texts_of_reports = compiled.text_writer(GateReport, _text_of)
