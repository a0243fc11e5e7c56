"""Decides: policy and numbers in, report out. Pure functions; nothing is read or written here.

The gate fails closed: whatever is missing, unreadable, empty or about another model blocks, with
a reason of its own. All failures are reported at once.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator
from typing import Any

from tfx_registry import codec
from tfx_registry.gate.baseline import find_baseline
from tfx_registry.gate.collector import collector_paused
from tfx_registry.gate.evaluation import EXAMPLE_COUNT, Evaluation
from tfx_registry.gate.lookup import Lookup
from tfx_registry.gate.policy import GatePolicy
from tfx_registry.gate.presence import Asked, ask_present, failure, missing_slices
from tfx_registry.gate.report import Check, Compared, GateReport, Reason
from tfx_registry.gate.rules_change import answer_change
from tfx_registry.gate.rules_facts import check_facts
from tfx_registry.gate.rules_no_worse import Dominance
from tfx_registry.gate.rules_value import answer_value
from tfx_registry.gate.situation import Contender, Situation
from tfx_registry.gate.thresholds import Rule
from tfx_registry.records import SliceKey, Verdict

__all__ = ["Contender", "Situation", "blocked", "decide", "summarize"]


def decide(policy: GatePolicy, evaluation: Evaluation, situation: Situation) -> GateReport:
    """Decides on a candidate.

    Args:
        policy: What it must show.
        evaluation: What TFMA measured.
        situation: What the registry knows.

    Returns:
        The report. The same arguments give the same report. The order of rules and of slices
        changes neither the verdict nor the checks.

    Python's cyclic garbage collector is paused meanwhile, in the whole process, and is then as it
    was: see `tfx_registry.gate.collector`.
    """
    with collector_paused():
        return _decide(policy, evaluation, situation)


def _decide(policy: GatePolicy, evaluation: Evaluation, situation: Situation) -> GateReport:
    problems = list(_problems_of(evaluation, situation))
    checks, notes = check_facts(policy, evaluation, situation)
    if problems:
        return _report(policy, evaluation, situation, [*problems, *checks], notes, None)
    found = find_baseline(policy, evaluation, situation)
    lookup = Lookup(evaluation, policy.min_slice_size)
    checks += found.checks
    notes += found.notes
    checks += _ask_rules(policy, lookup, compare=found.baseline is not None)
    compared: tuple[Rule, ...] = (*policy.change_thresholds, *policy.no_worse)
    if found.baseline is None and compared:
        left_out = ", ".join(sorted({rule.metric for rule in compared}))
        notes.append(f"changes not checked, for want of a baseline: {left_out}")
    for spec in policy.required_slices:
        checks += missing_slices(lookup.matching(spec), spec)
    if lookup.left_out:
        few = f"slices with fewer than {policy.min_slice_size} examples"
        notes.append(f"{few} were left out: {lookup.left_out}")
    return _report(policy, evaluation, situation, checks, notes, found.baseline)


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
        A report that blocks. What the policy asks besides metrics is in it too.
    """
    checks, notes = check_facts(policy, evaluation, situation)
    return _report(policy, evaluation, situation, [failure(reason, message), *checks], notes, None)


def _problems_of(evaluation: Evaluation, situation: Situation) -> Iterator[Check]:
    if situation.unfinished:
        yield failure(Reason.PROMOTION_UNFINISHED, situation.unfinished)
    candidate = evaluation.candidate
    if candidate is not None and not candidate.metrics:
        yield failure(
            Reason.NO_EXAMPLES,
            f"the evaluation at {evaluation.location!r} has finished and measured no slice: there "
            "were no examples, or fewer than its min_slice_size",
        )
    elif candidate is None or not any(candidate.metrics.values()):
        yield failure(
            Reason.EVALUATION_EMPTY,
            f"the evaluation at {evaluation.location!r} holds no metric of the candidate",
        )
    elif candidate.manifest != situation.candidate.manifest:
        yield failure(
            Reason.EVALUATION_OF_ANOTHER_MODEL,
            f"the evaluation at {evaluation.location!r} is of the model at "
            f"{candidate.location!r}, which does not hold the bytes of version "
            f"{situation.candidate.number}",
        )


def _ask_rules(policy: GatePolicy, lookup: Lookup, *, compare: bool) -> list[Check]:
    checks: list[Check] = []
    asked = Asked(lookup, policy.min_examples)
    for value_rule in _once(policy.value_thresholds):
        checks += asked.ask(value_rule, answer_value(value_rule, policy))
    for change_rule in _once(policy.change_thresholds):
        # Without a baseline there is no change, but the numbers must be there all the same.
        question = answer_change(change_rule, policy) if compare else ask_present
        checks += asked.ask(change_rule, question)
    dominances = [Dominance(rule, policy) for rule in _once(policy.no_worse)]
    for dominance in dominances:
        checks += asked.ask(dominance.rule, dominance.question if compare else ask_present)
    checks += asked.answers()
    for dominance in dominances:
        checks += dominance.conclude()
    return checks


def _once(rules: Iterable[Rule]) -> Iterable[Any]:
    """Leaves out rules that stand twice."""
    return {codec.dumps(rule): rule for rule in rules}.values()


def _report(
    policy: GatePolicy,
    evaluation: Evaluation,
    situation: Situation,
    checks: Iterable[Check],
    notes: list[str],
    baseline: Contender | None,
) -> GateReport:
    ordered = _in_order(checks)
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
        metrics=tuple(_numbers(policy, evaluation)) if _is_of(evaluation, situation) else (),
        data=evaluation.data,
        made_at=evaluation.made_at,
        versions=evaluation.versions,
        serving_seq=situation.serving_seq,
    )


def _is_of(evaluation: Evaluation, situation: Situation) -> bool:
    """Tells whether the numbers are of the version; those of another model are not recorded."""
    candidate = evaluation.candidate
    return candidate is not None and candidate.manifest == situation.candidate.manifest


def _in_order(checks: Iterable[Check]) -> list[Check]:
    """Failures first, then by slice, metric and rule; what was found twice stands once."""
    groups: dict[SliceKey, list[Check]] = {}
    last: SliceKey | None = None
    for check in checks:
        if check.slice is not last:
            last = check.slice
            group = groups.setdefault(last, [])
        group.append(check)
    failed: list[Check] = []
    passed: list[Check] = []
    # Sorting within each slice takes a fraction of the time of sorting everything.
    for key in sorted(groups, key=lambda key: (len(key), key)):
        for check in _in_order_within(groups[key]):
            (passed if check.passed else failed).append(check)
    return failed + passed


def _in_order_within(group: list[Check]) -> list[Check]:
    """Sorts the checks of a slice; of those that say the same the first is kept."""
    metrics = list(map(_metric, group))
    if all(map(operator.lt, metrics, metrics[1:])):
        return group
    names = list(map(_roughly, group))
    order = sorted(range(len(group)), key=names.__getitem__)
    names = [names[place] for place in order]
    group = [group[place] for place in order]
    if all(map(operator.lt, names, names[1:])):
        return group
    ranked = {_rank(check): check for check in reversed(group)}
    return [ranked[rank] for rank in sorted(ranked)]


_metric = operator.attrgetter("metric")
#: Nearly always enough to tell two checks of a slice apart.
_roughly = operator.attrgetter("metric", "rule", "message")


def _rank(check: Check) -> tuple[Any, ...]:
    """Where a check stands within its slice; two checks of equal rank say the same."""
    # The bound: equal texts of a rule may stand for bounds that differ in the last digit.
    bound = -math.inf if check.bound is None else check.bound
    return check.metric, check.rule, check.message, check.versus or (), bound, check.passed


def _numbers(policy: GatePolicy, evaluation: Evaluation) -> Iterator[tuple[str, SliceKey, float]]:
    """The candidate's numbers worth keeping: all on the whole data, and those that rules name."""
    every = sorted(set().union(*evaluation.numbers.values()))
    rules = policy.rules
    kept = [
        (
            metric,
            str(metric),
            metric.name == EXAMPLE_COUNT or any(r.is_about(metric) for r in rules),
        )
        for metric in every
    ]
    for key in sorted(evaluation.numbers):
        row = evaluation.numbers[key]
        for metric, name, named in kept:
            if (named or not key) and metric in row:
                yield name, key, row[metric]


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
