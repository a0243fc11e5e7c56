"""Decides: policy and numbers in, report out. Pure functions; nothing is read or written here.

The gate fails closed: whatever is missing, unreadable, empty or about another model blocks, with
a reason of its own. All failures are reported at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from tfx_registry import codec
from tfx_registry.gate.evaluation import EXAMPLE_COUNT, Evaluation, MetricId, normalize_location
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
from tfx_registry.records import SliceKey, Verdict

__all__ = ["Contender", "Situation", "blocked", "decide", "summarize"]


@dataclass(frozen=True)
class Contender:
    """A registered version, and where its bytes may have been evaluated.

    Attributes:
        number: Number of the version.
        digest: Root digest of its bytes.
        locations: Paths and URIs that hold these bytes.
    """

    number: int
    digest: str
    locations: tuple[str, ...]

    def is_at(self, location: str) -> bool:
        """Tells whether a location is one of those that hold the bytes."""
        return normalize_location(location) in {normalize_location(x) for x in self.locations}


@dataclass(frozen=True)
class Situation:
    """What the registry knows at the time of the decision.

    Attributes:
        model: Name of the model.
        alias: The alias whose serving version is the baseline.
        candidate: The version that wants to serve.
        serving: The version that serves under the alias, or None.
    """

    model: str
    alias: str
    candidate: Contender
    serving: Contender | None = None


def decide(policy: GatePolicy, evaluation: Evaluation, situation: Situation) -> GateReport:
    """Decides on a candidate.

    Args:
        policy: What it must show.
        evaluation: What TFMA measured.
        situation: What the registry knows.

    Returns:
        The report. The same arguments give the same report, and neither the order of rules nor
        the order of slices changes it.
    """
    problems = list(_problems_of(evaluation, situation))
    if problems:
        return _report(policy, evaluation, situation, problems, [], None)
    baseline, checks, notes = _baseline(policy, evaluation, situation)
    for value_rule in policy.value_thresholds:
        checks += _apply(value_rule, policy, evaluation, _check_value)
    if baseline is not None:
        for change_rule in policy.change_thresholds:
            checks += _apply(change_rule, policy, evaluation, _check_change)
    elif policy.change_thresholds:
        left_out = ", ".join(sorted({str(_metric_of(r)) for r in policy.change_thresholds}))
        notes.append(f"changes not checked, for want of a baseline: {left_out}")
    for spec in policy.required_slices:
        if not _matching(evaluation, spec):
            checks.append(_slice_missing(spec))
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
    if not any(evaluation.candidate.values()):
        yield _failure(
            Reason.EVALUATION_EMPTY,
            f"the evaluation at {evaluation.location!r} holds no metric of the candidate",
        )
    elif not situation.candidate.is_at(evaluation.candidate_location):
        yield _failure(
            Reason.EVALUATION_OF_ANOTHER_MODEL,
            f"the evaluation at {evaluation.location!r} is of the model at "
            f"{evaluation.candidate_location!r}, not of version {situation.candidate.number}",
        )


def _baseline(
    policy: GatePolicy, evaluation: Evaluation, situation: Situation
) -> tuple[Contender | None, list[Check], list[str]]:
    """Finds the baseline to compare with; None with a failing check, or with a note."""
    serving = situation.serving
    if evaluation.baseline_location:
        if serving is not None and serving.is_at(evaluation.baseline_location):
            return serving, [], []
        now = f"version {serving.number} serves" if serving is not None else "no version serves"
        message = (
            f"the evaluation compared with the model at {evaluation.baseline_location!r}, but "
            f"{now} under {situation.alias!r}"
        )
        if policy.baseline is BaselineRule.ALLOW:
            return None, [], [message]
        hint = "; use ProductionModelStrategy to compare with what serves"
        return None, [_failure(Reason.BASELINE_IS_NOT_SERVING, message + hint)], []
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
            "baseline model to compare with"
        )
    return None, [_failure(Reason.BASELINE_MISSING, message)], []


R = TypeVar("R", ValueThreshold, ChangeThreshold)


def _apply(
    rule: R,
    policy: GatePolicy,
    evaluation: Evaluation,
    check: Callable[[R, Evaluation, SliceKey], Check],
) -> Iterator[Check]:
    """Asks one rule on each slice that it is about."""
    metric = _metric_of(rule)
    for spec in rule.slices:
        keys = _matching(evaluation, spec)
        if not keys:
            yield _slice_missing(spec, metric)
        for key in keys:
            yield check(rule, evaluation, key)
            yield from _check_examples(policy, evaluation, key)
    # TFMA fails a metric that has a threshold anywhere and is missing in any slice.
    for key in sorted(evaluation.candidate):
        if metric not in evaluation.candidate[key]:
            yield _metric_missing(metric, key, evaluation)


def _check_value(rule: ValueThreshold, evaluation: Evaluation, key: SliceKey) -> Check:
    metric = MetricId(rule.metric, rule.output_name, rule.sub_key)
    value = evaluation.candidate[key].get(metric)
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
        evaluation.baseline.get(key, {}).get(metric),
        evaluation.change(key, metric),
        bound,
        examples,
    )


def _check_change(rule: ChangeThreshold, evaluation: Evaluation, key: SliceKey) -> Check:
    metric = MetricId(rule.metric, rule.output_name, rule.sub_key)
    value = evaluation.candidate[key].get(metric)
    before = evaluation.baseline.get(key, {}).get(metric)
    change = evaluation.change(key, metric)
    if value is None or before is None or change is None:
        return _metric_missing(metric, key, evaluation)
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


def _matching(evaluation: Evaluation, spec: SliceSpec) -> list[SliceKey]:
    return sorted(key for key in evaluation.candidate if spec.matches(key))


def _metric_of(rule: ValueThreshold | ChangeThreshold) -> MetricId:
    return MetricId(rule.metric, rule.output_name, rule.sub_key)


def _metric_missing(metric: MetricId, key: SliceKey, evaluation: Evaluation) -> Check:
    in_candidate = metric in evaluation.candidate.get(key, {})
    known = evaluation.baseline if in_candidate else evaluation.candidate
    others = ", ".join(sorted({str(m) for m in known.get(key, {})})) or "none"
    whose = "the baseline" if in_candidate else "the candidate"
    return _failure(
        Reason.METRIC_MISSING,
        f"{describe(key, str(metric))} is missing for {whose}; evaluated were: {others}",
        slice_key=key,
        metric=str(metric),
    )


def _slice_missing(spec: SliceSpec, metric: MetricId | None = None) -> Check:
    asked = f", asked for {metric}" if metric else ""
    return _failure(
        Reason.SLICE_MISSING,
        f"slice {spec} is missing in the evaluation{asked}",
        slice_key=tuple(sorted(spec.feature_values.items())),
        metric=str(metric) if metric else "",
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
            evaluation.candidate_location,
        ),
        baseline=Compared(baseline.number, baseline.digest, evaluation.baseline_location)
        if baseline
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
    )


def _numbers(policy: GatePolicy, evaluation: Evaluation) -> Iterator[tuple[str, SliceKey, float]]:
    """The candidate's numbers worth keeping: all on the whole data, and those that rules name."""
    named = {_metric_of(rule) for rule in policy.value_thresholds}
    named |= {_metric_of(rule) for rule in policy.change_thresholds}
    for key in sorted(evaluation.candidate):
        for metric, value in sorted(evaluation.candidate[key].items()):
            if not key or metric in named or metric.name == EXAMPLE_COUNT:
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
