"""Decides: policy and numbers in, report out. Pure functions; nothing is read or written here.

The gate fails closed: whatever is missing, unreadable, empty or about another model blocks, with
a reason of its own. All failures are reported at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from tfx_registry import codec
from tfx_registry.gate.evaluation import (
    EXAMPLE_COUNT,
    EvaluatedModel,
    Evaluation,
    MetricId,
    normalize_location,
)
from tfx_registry.gate.policy import (
    BaselineRule,
    ChangeThreshold,
    Direction,
    GatePolicy,
    SliceSpec,
    ValueThreshold,
)
from tfx_registry.gate.report import (
    Check,
    Compared,
    GateReport,
    Reason,
    describe,
    format_number,
)
from tfx_registry.records import Signature, SliceKey, Verdict

__all__ = ["Contender", "Situation", "blocked", "decide", "summarize"]


@dataclass(frozen=True)
class Contender:
    """A registered version.

    Attributes:
        number: Number of the version.
        digest: Root digest of its bytes.
        manifest: Manifest digest of its bytes; what was evaluated must have the same.
        locations: Where its bytes were when it was registered, for messages.
        size_bytes: Sum of its file sizes; None when not known.
        signatures: Its signatures by name; None when they could not be read.
    """

    number: int
    digest: str
    manifest: str
    locations: tuple[str, ...] = ()
    size_bytes: int | None = None
    signatures: Mapping[str, Signature] | None = None

    def is_named_by(self, location: str) -> bool:
        """Tells whether a location is one where the bytes were when they were registered."""
        return normalize_location(location) in {normalize_location(x) for x in self.locations}


@dataclass(frozen=True)
class Situation:
    """What the registry knows at the time of the decision.

    Attributes:
        model: Name of the model.
        alias: The alias whose serving version is the baseline.
        candidate: The version that wants to serve.
        serving: The version that serves under the alias, or None.
        unfinished: What to say of a promotion that made a version visible and was not recorded;
            "" when there is none.
        serving_seq: Sequence number of the deployment that serves under the alias, 0 for none.
        labels: Labels of the candidate.
        infra_blessing: What InfraValidator said of the candidate; None when it was not asked.
        now: The time of the decision, in seconds since the epoch; None when the policy does not
            need it.
    """

    model: str
    alias: str
    candidate: Contender
    serving: Contender | None = None
    unfinished: str = ""
    serving_seq: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    infra_blessing: bool | None = None
    now: float | None = None


def decide(policy: GatePolicy, evaluation: Evaluation, situation: Situation) -> GateReport:
    """Decides on a candidate.

    Args:
        policy: What it must show.
        evaluation: What TFMA measured.
        situation: What the registry knows.

    Returns:
        The report. The same arguments give the same report. The order of rules and of slices
        changes neither the verdict nor the checks.
    """
    problems = list(_problems_of(evaluation, situation))
    if problems:
        return _report(policy, evaluation, situation, problems, [], None)
    baseline, checks, notes = _baseline(policy, evaluation, situation)
    for value_rule in policy.value_thresholds:
        checks += _apply(value_rule, policy, evaluation, _check_value)
    for change_rule in policy.change_thresholds:
        # Without a baseline there is no change, but the numbers must be there all the same.
        check = _check_change if baseline is not None else _check_present
        checks += _apply(change_rule, policy, evaluation, check)
    if baseline is None and policy.change_thresholds:
        left_out = ", ".join(sorted({rule.metric for rule in policy.change_thresholds}))
        notes.append(f"changes not checked, for want of a baseline: {left_out}")
    for spec in policy.required_slices:
        checks += _missing_slices(evaluation, spec)
    return _report(policy, evaluation, situation, checks, notes, baseline)


def blocked(
    policy: GatePolicy, evaluation: Evaluation, situation: Situation, reason: Reason, message: str
) -> GateReport:
    """Makes the report of a candidate whose numbers could not even be looked at.

    Args:
        policy: The policy that was to be applied.
        evaluation: What is known of the evaluation.
        situation: What the registry knows.
        reason: The reason.
        message: One readable line.

    Returns:
        A report that blocks.
    """
    return _report(policy, evaluation, situation, [_failure(reason, message)], [], None)


def _problems_of(evaluation: Evaluation, situation: Situation) -> Iterator[Check]:
    if situation.unfinished:
        yield _failure(Reason.PROMOTION_UNFINISHED, situation.unfinished)
    candidate = evaluation.candidate
    if candidate is None or not any(candidate.metrics.values()):
        yield _failure(
            Reason.EVALUATION_EMPTY,
            f"the evaluation at {evaluation.location!r} holds no metric of the candidate",
        )
    elif candidate.manifest != situation.candidate.manifest:
        yield _failure(
            Reason.EVALUATION_OF_ANOTHER_MODEL,
            f"the evaluation at {evaluation.location!r} is of the model at "
            f"{candidate.location!r}, which does not hold the bytes of version "
            f"{situation.candidate.number}",
        )


def _baseline(
    policy: GatePolicy, evaluation: Evaluation, situation: Situation
) -> tuple[Contender | None, list[Check], list[str]]:
    """Finds the baseline to compare with; None with a failing check, or with a note."""
    serving = situation.serving
    if evaluation.baseline is not None:
        if serving is not None and evaluation.baseline.manifest == serving.manifest:
            return serving, [], []
        reason, message = _wrong_baseline(evaluation.baseline, situation)
        if policy.baseline is BaselineRule.ALLOW:
            return None, [], [message]
        return None, [_failure(reason, message)], []
    if serving is None and policy.baseline is not BaselineRule.REQUIRE:
        return None, [], [f"first version: nothing serves under {situation.alias!r} yet"]
    if serving is not None and policy.baseline is BaselineRule.ALLOW:
        note = f"not compared with version {serving.number}, which serves under {situation.alias!r}"
        return None, [], [note]
    if serving is None:
        message = f"the policy requires a baseline, but nothing serves under {situation.alias!r}"
    else:
        message = (
            f"version {serving.number} serves under {situation.alias!r}, but the evaluation has no "
            "baseline model to compare with; use ProductionModelStrategy"
        )
    return None, [_failure(Reason.BASELINE_MISSING, message)], []


def _wrong_baseline(baseline: EvaluatedModel, situation: Situation) -> tuple[Reason, str]:
    serving = situation.serving
    if serving is not None and serving.is_named_by(baseline.location):
        return Reason.BASELINE_BYTES_CHANGED, (
            f"the model at {baseline.location!r}, which was compared with, does not hold the bytes "
            f"of version {serving.number} any more"
        )
    now = f"version {serving.number} serves" if serving is not None else "no version serves"
    return Reason.BASELINE_IS_NOT_SERVING, (
        f"the evaluation compared with the model at {baseline.location!r}, but {now} under "
        f"{situation.alias!r}; use ProductionModelStrategy to compare with what serves"
    )


R = TypeVar("R", ValueThreshold, ChangeThreshold)


def _apply(
    rule: R,
    policy: GatePolicy,
    evaluation: Evaluation,
    check: Callable[[R, MetricId, Evaluation, SliceKey], Check],
) -> Iterator[Check]:
    """Asks one rule on each slice that it is about, for each variant of its metric."""
    metrics = sorted({m for row in evaluation.numbers.values() for m in row if rule.is_about(m)})
    for spec in rule.slices:
        yield from _missing_slices(evaluation, spec, rule.metric)
        for key in filter(spec.matches, evaluation.numbers):
            if not metrics:
                yield _metric_missing(_metric_of(rule), key, evaluation)
            for metric in metrics:
                yield check(rule, metric, evaluation, key)
            yield from _check_examples(policy, evaluation, key)
    # TFMA fails a metric that has a threshold anywhere and is missing in any slice.
    for key, row in evaluation.numbers.items():
        for metric in metrics:
            if metric not in row:
                yield _metric_missing(metric, key, evaluation)


def _check_present(
    rule: ChangeThreshold, metric: MetricId, evaluation: Evaluation, key: SliceKey
) -> Check:
    value = evaluation.numbers[key].get(metric)
    if value is None:
        return _metric_missing(metric, key, evaluation)
    examples = evaluation.examples(key)
    return Check(
        True,
        f"{describe(key, str(metric))} {format_number(value)}, not compared" + _counted(examples),
        rule="present",
        metric=str(metric),
        slice=key,
        value=value,
        examples=examples,
    )


def _check_value(
    rule: ValueThreshold, metric: MetricId, evaluation: Evaluation, key: SliceKey
) -> Check:
    value = evaluation.numbers[key].get(metric)
    if value is None:
        return _metric_missing(metric, key, evaluation)
    low, high = rule.lower_bound, rule.upper_bound
    where = describe(key, str(metric))
    examples = evaluation.examples(key)
    passed, reason, bound = True, None, low if low is not None else high
    message = f"{where} {format_number(value)} is within {_bounds(low, high)}"
    if math.isnan(value):
        passed, reason, message = False, Reason.NOT_A_NUMBER, f"{where} is NaN"
    elif low is not None and value < low:
        passed, reason, bound = False, Reason.BELOW_LOWER_BOUND, low
        message = f"{where} {format_number(value)} is below the lower bound {format_number(low)}"
    elif high is not None and value > high:
        passed, reason, bound = False, Reason.ABOVE_UPPER_BOUND, high
        message = f"{where} {format_number(value)} is above the upper bound {format_number(high)}"
    return Check(
        passed,
        message + _counted(examples),
        reason,
        f"value {_bounds(low, high)}",
        str(metric),
        key,
        value,
        evaluation.baseline_numbers.get(key, {}).get(metric),
        bound=bound,
        examples=examples,
    )


def _check_change(
    rule: ChangeThreshold, metric: MetricId, evaluation: Evaluation, key: SliceKey
) -> Check:
    value = evaluation.numbers[key].get(metric)
    before = evaluation.baseline_numbers.get(key, {}).get(metric)
    if value is None or before is None:
        return _metric_missing(metric, key, evaluation)
    change = value - before
    higher = rule.direction is Direction.HIGHER_IS_BETTER
    # As in TFMA: a baseline of zero has no relative change.
    ratio = math.nan if math.isclose(before, 0.0) else change / before
    tests = [("absolute", change, rule.absolute), ("relative", ratio, rule.relative)]
    asked = [(kind, number, bound) for kind, number, bound in tests if bound is not None]
    failed = [
        (kind, number, bound)
        for kind, number, bound in asked
        if not (number >= bound if higher else number <= bound)
    ]
    least = "at least" if higher else "at most"
    rule_text = " and ".join(f"{k} change {least} {format_number(b)}" for k, _, b in asked)
    kind, number, bound = (failed or asked)[0]
    reason = None
    if failed:
        reason = Reason.NOT_A_NUMBER if math.isnan(number) else Reason.CHANGE_NOT_ENOUGH
    examples = evaluation.examples(key)
    message = (
        f"{describe(key, str(metric))} {format_number(value)} against the baseline's "
        f"{format_number(before)}: {kind} change {format_number(number)}, "
        f"{'needs' if failed else 'which is'} {least} {format_number(bound)}"
    )
    return Check(
        not failed,
        message + _counted(examples),
        reason,
        rule_text,
        str(metric),
        key,
        value,
        before,
        change,
        bound,
        examples,
    )


def _check_examples(policy: GatePolicy, evaluation: Evaluation, key: SliceKey) -> Iterator[Check]:
    examples = evaluation.examples(key)
    if examples is None and policy.min_examples > 1:
        yield _failure(
            Reason.EXAMPLES_NOT_COUNTED,
            f"{describe(key)}: the evaluation has no {EXAMPLE_COUNT}, the policy asks for at least "
            f"{policy.min_examples}",
            slice_key=key,
        )
    elif examples is not None and examples < policy.min_examples:
        yield Check(
            False,
            f"{describe(key)}: {examples} examples are fewer than {policy.min_examples}",
            Reason.TOO_FEW_EXAMPLES,
            f"at least {policy.min_examples} examples",
            EXAMPLE_COUNT,
            key,
            value=examples,
            bound=policy.min_examples,
            examples=examples,
        )


def _metric_of(rule: ValueThreshold | ChangeThreshold) -> MetricId:
    return MetricId(rule.metric, rule.output_name, rule.sub_key, rule.aggregation)


def _metric_missing(metric: MetricId, key: SliceKey, evaluation: Evaluation) -> Check:
    in_candidate = metric in evaluation.numbers.get(key, {})
    known = evaluation.baseline_numbers if in_candidate else evaluation.numbers
    others = ", ".join(sorted({str(m) for m in known.get(key, {})})) or "none"
    whose = "the baseline" if in_candidate else "the candidate"
    return _failure(
        Reason.METRIC_MISSING,
        f"{describe(key, str(metric))} is missing for {whose}; evaluated were: {others}",
        slice_key=key,
        metric=str(metric),
    )


def _missing_slices(evaluation: Evaluation, spec: SliceSpec, metric: str = "") -> Iterator[Check]:
    """Finds slices that a spec means and the candidate was not measured on."""
    asked = f", asked for {metric}" if metric else ""
    matching = [key for key in evaluation.slices() if spec.matches(key)]
    if not matching:
        yield _failure(
            Reason.SLICE_MISSING,
            f"slice {spec} is missing in the evaluation{asked}",
            slice_key=tuple(sorted(spec.feature_values.items())),
            metric=metric,
        )
    for key in matching:
        if key not in evaluation.numbers:
            yield _failure(
                Reason.SLICE_MISSING,
                f"{describe(key)} was measured on the baseline, not on the candidate{asked}",
                slice_key=key,
                metric=metric,
            )


def _failure(reason: Reason, message: str, *, slice_key: SliceKey = (), metric: str = "") -> Check:
    return Check(False, message, reason, metric=metric, slice=slice_key)


def _bounds(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        sign, bound = (">=", low) if low is not None else ("<=", high)
        return f"{sign} {format_number(bound if bound is not None else math.nan)}"
    return f"[{format_number(low)}, {format_number(high)}]"


def _counted(examples: int | None) -> str:
    return "" if examples is None else f" ({examples} examples)"


def _report(
    policy: GatePolicy,
    evaluation: Evaluation,
    situation: Situation,
    checks: Iterable[Check],
    notes: list[str],
    baseline: Contender | None,
) -> GateReport:
    ordered = sorted(
        set(checks), key=lambda c: (c.passed, len(c.slice), c.slice, c.metric, c.rule, c.message)
    )
    passed = all(check.passed for check in ordered)
    return GateReport(
        model=situation.model,
        verdict=Verdict.PASSED if passed else Verdict.BLOCKED,
        candidate=Compared(
            situation.candidate.number,
            situation.candidate.digest,
            evaluation.candidate.location if evaluation.candidate else "",
        ),
        baseline=Compared(baseline.number, baseline.digest, evaluation.baseline.location)
        if baseline and evaluation.baseline
        else None,
        baseline_rule=policy.baseline.value,
        alias=situation.alias,
        checks=tuple(ordered),
        notes=tuple(notes),
        policy=codec.encode(policy),
        policy_digest=policy.digest,
        evaluation=evaluation.location,
        evaluation_digest=evaluation.digest,
        data_location=evaluation.data_location,
        metrics=tuple(_numbers(policy, evaluation)),
        data=evaluation.data,
        made_at=evaluation.made_at,
        versions=evaluation.versions,
        serving_seq=situation.serving_seq,
    )


def _numbers(policy: GatePolicy, evaluation: Evaluation) -> Iterator[tuple[str, SliceKey, float]]:
    """The candidate's numbers worth keeping: all on the whole data, and those that rules name."""
    rules: list[ValueThreshold | ChangeThreshold] = []
    rules += policy.value_thresholds
    rules += policy.change_thresholds
    for key in sorted(evaluation.numbers):
        for metric, value in sorted(evaluation.numbers[key].items()):
            named = any(rule.is_about(metric) for rule in rules)
            if not key or named or metric.name == EXAMPLE_COUNT:
                yield str(metric), key, value


def summarize(report: GateReport) -> str:
    """Writes a report as text for a log.

    Args:
        report: The report.

    Returns:
        The verdict, then one line for each failure and each note.
    """
    against = f" against version {report.baseline.number}" if report.baseline else ""
    lines = [
        f"{report.model}:{report.candidate.number} {report.verdict.value}{against}: "
        f"{len(report.checks)} checks, {len(report.failures)} failed"
    ]
    lines += [f"  - {reason}" for reason in report.reasons]
    lines += [f"  * {note}" for note in report.notes]
    return "\n".join(lines)
