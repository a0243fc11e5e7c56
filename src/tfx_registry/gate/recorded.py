"""Takes the numbers back out of a report, so that another policy can be asked of them.

A report keeps what its rules looked at, not all that was evaluated. So a decision on these numbers
holds only if nothing that the new policy asks for was left behind; `left_behind` tells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tfx_registry import codec
from tfx_registry.gate.chart import kind_of
from tfx_registry.gate.evaluation import (
    CrossSliceKey,
    EvaluatedModel,
    Evaluation,
    Interval,
    MetricId,
)
from tfx_registry.gate.policy import Confidence, GatePolicy, MissingInterval
from tfx_registry.gate.report import Check, CheckKind, GateReport, Reason
from tfx_registry.records import SliceKey

__all__ = ["evaluation_of", "infra_blessing_of", "left_behind", "looked_at_numbers", "metric_of"]

_METRIC = re.compile(r"(?:(?P<output>.*)/)?(?P<name>[^/]+?)(?: \((?P<more>[^()]*)\))?")
_AGGREGATIONS = frozenset({"micro_average", "macro_average", "weighted_macro_average"})

#: Failures after which the numbers in a report, if any, say nothing of the version.
_UNUSABLE = frozenset(
    {
        Reason.EVALUATION_UNREADABLE,
        Reason.EVALUATION_EMPTY,
        Reason.EVALUATION_OF_ANOTHER_MODEL,
        Reason.EVALUATION_AMBIGUOUS,
        Reason.EVALUATION_WITHOUT_CANDIDATE,
        Reason.MODEL_BYTES_CHANGED,
        Reason.PROMOTION_UNFINISHED,
    }
)
#: How the gate's remarks begin where an evaluation had no baseline.
_WITHOUT_BASELINE = ("first version: ", "not compared with version ")
#: Failures that may come from what a report does not keep.
_MISSING = frozenset(
    {
        Reason.METRIC_MISSING,
        Reason.SLICE_MISSING,
        Reason.EXAMPLES_NOT_COUNTED,
        Reason.INTERVAL_MISSING,
        Reason.BASELINE_MISSING,
        Reason.EVALUATION_UNDATED,
    }
)


def looked_at_numbers(report: GateReport) -> bool:
    """Tells whether a report is about numbers of its version at all."""
    return bool(report.metrics) and not any(check.reason in _UNUSABLE for check in report.checks)


def evaluation_of(report: GateReport, manifest: str, baseline_manifest: str = "") -> Evaluation:
    """Takes the numbers out of a report.

    Args:
        report: A report for which `looked_at_numbers` is true.
        manifest: Manifest digest of the candidate's bytes.
        baseline_manifest: Manifest digest of the baseline's bytes, if there was a baseline.

    Returns:
        An evaluation with the numbers that the report keeps: the candidate's, and what its checks
        say of the baseline, of intervals and of pairs of slices.
    """
    numbers: dict[SliceKey, dict[MetricId, float]] = {}
    for name, key, value in report.metrics:
        numbers.setdefault(key, {})[metric_of(name)] = value
    found = _Found()
    for check in report.checks:
        if check.value is not None and check.metric:
            found.add(check)
        elif check.reason is Reason.METRIC_MISSING and check.versus is None:
            numbers.setdefault(check.slice, {})  # a slice of which no number was kept
    baseline = None
    if report.baseline is not None:
        baseline = EvaluatedModel(
            report.baseline.evaluated_at,
            baseline_manifest,
            found.baseline,
            cross_slices=found.baseline_pairs,
        )
    return Evaluation(
        location=report.evaluation,
        candidate=EvaluatedModel(
            report.candidate.evaluated_at,
            manifest,
            numbers,
            found.intervals,
            found.pairs,
            found.pair_intervals,
        ),
        baseline=baseline,
        data_location=report.data_location,
        digest=report.evaluation_digest,
        difference_intervals=found.difference_intervals,
        cross_difference_intervals=found.pair_difference_intervals,
        made_at=report.made_at,
        versions=report.versions,
        data=report.data,
    )


class _Found:
    """What the checks of a report say besides the candidate's numbers."""

    def __init__(self) -> None:
        self.baseline: dict[SliceKey, dict[MetricId, float]] = {}
        self.intervals: dict[SliceKey, dict[MetricId, Interval]] = {}
        self.difference_intervals: dict[SliceKey, dict[MetricId, Interval]] = {}
        self.pairs: dict[CrossSliceKey, dict[MetricId, float]] = {}
        self.baseline_pairs: dict[CrossSliceKey, dict[MetricId, float]] = {}
        self.pair_intervals: dict[CrossSliceKey, dict[MetricId, Interval]] = {}
        self.pair_difference_intervals: dict[CrossSliceKey, dict[MetricId, Interval]] = {}

    def add(self, check: Check) -> None:
        metric, key, versus = metric_of(check.metric), check.slice, check.versus
        value, before, interval = check.value, check.baseline_value, check.interval
        is_change = kind_of(check) in (CheckKind.CHANGE, CheckKind.NO_WORSE)
        if versus is None:
            if before is not None:
                self.baseline.setdefault(key, {})[metric] = before
            if interval is not None:
                known = self.difference_intervals if is_change else self.intervals
                known.setdefault(key, {})[metric] = interval
            return
        pair = (key, versus)
        if value is not None:
            self.pairs.setdefault(pair, {})[metric] = value
        if before is not None:
            self.baseline_pairs.setdefault(pair, {})[metric] = before
        if interval is not None:
            between = self.pair_difference_intervals if is_change else self.pair_intervals
            between.setdefault(pair, {})[metric] = interval


def infra_blessing_of(report: GateReport) -> bool | None:
    """Tells what InfraValidator had said of the candidate, as far as the report does."""
    for check in report.checks:
        if check.reason is Reason.INFRA_NOT_BLESSED:
            return False
        if check.passed and check.rule == "blessed by InfraValidator":
            return True
    return None


def left_behind(recorded: GateReport, policy: GatePolicy, decided: GateReport) -> list[str]:
    """Lists what a policy asks for and a report does not keep.

    Args:
        recorded: The report that the numbers came from.
        policy: The policy that was asked of them.
        decided: What came of it.

    Returns:
        One line for each thing; empty if the decision holds.
    """
    lines = []
    reasons = {check.reason for check in recorded.checks}
    if recorded.baseline is None and not _had_no_baseline(recorded):
        lines.append("the numbers of a baseline that did not serve")
    elif recorded.baseline is not None and Reason.SLICE_MISSING in reasons:
        lines.append("slices that were measured on the baseline alone")
    elif recorded.baseline is not None:
        # Slices of the baseline alone are known where the recorded policy asked for them.
        lines += sorted(_open_slices(codec.encode(policy)) - _open_slices(recorded.policy))
    known = {_question(check) for check in recorded.checks}
    lines += [
        check.message
        for check in decided.checks
        if check.reason in _MISSING and _question(check) not in known
    ]
    if policy.missing_interval is MissingInterval.USE_POINT_VALUE and _asks_bounds(policy):
        lines.append("all intervals, which missing_interval: use_point_value would need to know")
    if _pairs_of_slices(codec.encode(policy)) - _pairs_of_slices(recorded.policy):
        lines.append("comparisons between slices that the recorded policy did not ask for")
    return list(dict.fromkeys(lines))


def _question(check: Check) -> tuple[object, ...]:
    return (check.reason, check.metric, check.slice, check.versus)


def _had_no_baseline(report: GateReport) -> bool:
    """Tells whether the evaluation surely had no baseline; remarks of the gate prove it."""
    missing = any(check.reason is Reason.BASELINE_MISSING for check in report.checks)
    return missing or any(note.startswith(_WITHOUT_BASELINE) for note in report.notes)


def _open_slices(policy: Mapping[str, Any]) -> set[str]:
    """Collects the specs of a policy that may mean several slices."""
    kinds = ("value_thresholds", "change_thresholds", "no_worse")
    rules = [rule for kind in kinds for rule in policy.get(kind, ())]
    specs = [*policy.get("required_slices", ())]
    specs += [spec for rule in rules for spec in rule.get("slices", ())]
    if any("slices" not in rule for rule in policy.get("no_worse", ())):
        specs.append({"all_slices": True})
    return {
        f"all slices of the kind {codec.dumps(spec)}"
        for spec in specs
        if spec.get("feature_keys") or spec.get("all_slices")
    }


def _pairs_of_slices(policy: Mapping[str, Any]) -> set[tuple[str, str]]:
    rules = [*policy.get("value_thresholds", ()), *policy.get("change_thresholds", ())]
    return {
        (rule["metric"], codec.dumps(spec))
        for rule in rules
        for spec in rule.get("cross_slices", ())
    }


def _asks_bounds(policy: GatePolicy) -> bool:
    return any(
        (policy.confidence if rule.confidence is None else rule.confidence) is Confidence.BOUND
        for rule in policy.rules
    )


def metric_of(text: str) -> MetricId:
    """Reads what `str(MetricId(...))` wrote.

    Args:
        text: Such as `auc`, `auc (classId:0)` or `head/auc (macro_average, weighted)`.

    Returns:
        The metric; `str` of it is the text.
    """
    found = _METRIC.fullmatch(text)
    if found is None:
        return MetricId(text)
    sub_key = aggregation = weighting = ""
    for part in (found["more"] or "").split(", "):
        if part == "weighted":
            weighting = part
        elif part in _AGGREGATIONS:
            aggregation = part
        else:
            sub_key = part
    metric = MetricId(found["name"], found["output"] or "", sub_key, aggregation, weighting)
    return metric if str(metric) == text else MetricId(text)
