"""The numbers of an evaluation as rules ask for them: each slice found once, each text made once.

Decisions over thousands of slices spend their time here, so nothing in it may grow with the
square of the slices: slices are found by the features that they are cut by, not by asking all.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tfx_registry.gate.evaluation import (
    CrossSliceKey,
    EvaluatedModel,
    Evaluation,
    IntervalRow,
    MetricId,
    Row,
)
from tfx_registry.gate.report import describe
from tfx_registry.gate.slices import CrossSliceSpec, SliceSpec, normal_value
from tfx_registry.gate.thresholds import Rule
from tfx_registry.records import SliceKey, format_slice

__all__ = ["Lookup", "SpecKey", "Spot", "key_of"]

_NOTHING: Mapping[Any, Any] = {}

#: What a SliceSpec means, to look it up by; the spec itself holds a mapping.
SpecKey = tuple[bool, tuple[str, ...], tuple[tuple[str, str], ...]]


class Spot(NamedTuple):
    """All that is known of one slice, or of one pair of slices.

    A named tuple, because it is made for every slice and each rule looks into it.

    Attributes:
        slice: The slice; of a pair the baseline slice.
        versus: The slice that it is compared with, None for a single slice.
        place: How messages begin: `slice island=Dream`, `overall`.
        counted: How messages end: ` (40 examples)`, or nothing when they were not counted.
        examples: Number of examples; of a pair the smaller one; None when not counted.
        numbers: The candidate's numbers; None when it was not measured here.
        before: The baseline's numbers.
        intervals: Confidence intervals of the candidate's numbers.
        intervals_before: Confidence intervals of the baseline's numbers.
        differences: Confidence intervals of the paired differences.
    """

    slice: SliceKey
    versus: SliceKey | None
    place: str
    counted: str
    examples: int | None
    numbers: Row | None
    before: Row
    intervals: IntervalRow
    intervals_before: IntervalRow
    differences: IntervalRow


class Lookup:
    """Answers the questions of rules about one evaluation.

    Attributes:
        left_out: How many slices were left out because they are too small.
    """

    def __init__(self, evaluation: Evaluation, min_slice_size: int = 1) -> None:
        """Reads the evaluation.

        Args:
            evaluation: The evaluation.
            min_slice_size: Slices with fewer examples are left out; the whole data set never is.
        """
        self._evaluation = evaluation
        self._candidate = evaluation.candidate or EvaluatedModel("")
        self._baseline = evaluation.baseline or EvaluatedModel("")
        self._examples: dict[SliceKey, int | None] = {}
        self._matching: dict[SpecKey, list[Spot]] = {}
        small = {
            key
            for key in (self._candidate.metrics if min_slice_size > 1 else ())
            if key and (count := self.examples(key)) is not None and count < min_slice_size
        }
        self.left_out = len(small)
        known = {*self._candidate.metrics, *self._baseline.metrics} - small
        #: Every slice that either model was measured on, in order.
        self.slices = [self._spot(key) for key in sorted(known)]
        known_pairs = {*self._candidate.cross_slices, *self._baseline.cross_slices}
        #: Every pair of slices that either model was measured on, in order.
        self.pairs = [self._pair(pair) for pair in sorted(known_pairs)]

    def matching(self, spec: SliceSpec) -> list[Spot]:
        """Returns the slices that a spec means, in order."""
        if spec.all_slices:
            return self.slices
        key = key_of(spec)
        if key not in self._matching:
            self._matching[key] = self._find(spec)
        return self._matching[key]

    def _find(self, spec: SliceSpec) -> list[Spot]:
        fixed = spec.feature_values
        features = tuple(sorted({*spec.feature_keys, *fixed}))
        group = self._groups.get(features, {})
        if len(fixed) == len(features):
            return group.get(tuple(normal_value(fixed[name]) for name in features), [])
        found = [spot for spots in group.values() for spot in spots]
        if fixed:
            found = [spot for spot in found if spec.matches(spot.slice)]
        return sorted(found, key=lambda spot: spot.slice)

    def matching_pairs(self, spec: CrossSliceSpec) -> list[Spot]:
        """Returns the pairs of slices that a spec means, in order."""
        return [spot for spot in self.pairs if spec.matches((spot.slice, spot.versus or ()))]

    def variants(self, rule: Rule) -> list[MetricId]:
        """Returns the numbers of the candidate that a rule is about, in order."""
        return [m for m in self._metrics.get(_family(rule), []) if rule.is_about(m)]

    def pair_variants(self, rule: Rule) -> list[MetricId]:
        """Returns the candidate's numbers between slices that a rule is about, in order."""
        return [m for m in self._pair_metrics.get(_family(rule), []) if rule.is_about(m)]

    def examples(self, key: SliceKey) -> int | None:
        """Returns the number of examples in a slice, or None when it was not counted."""
        if key not in self._examples:
            self._examples[key] = self._evaluation.examples(key)
        return self._examples[key]

    def _spot(self, key: SliceKey) -> Spot:
        count = self.examples(key)
        return Spot(
            slice=key,
            versus=None,
            place=describe(key),
            counted="" if count is None else f" ({count} examples)",
            examples=count,
            numbers=self._candidate.metrics.get(key),
            before=self._baseline.metrics.get(key, _NOTHING),
            intervals=self._candidate.intervals.get(key, _NOTHING),
            intervals_before=self._baseline.intervals.get(key, _NOTHING),
            differences=self._evaluation.difference_intervals.get(key, _NOTHING),
        )

    def _pair(self, pair: CrossSliceKey) -> Spot:
        counts = [self.examples(key) for key in pair]
        known = [count for count in counts if count is not None]
        return Spot(
            slice=pair[0],
            versus=pair[1],
            place=f"{describe(pair[0])} against {format_slice(pair[1])}",
            counted=f" ({known[0]} and {known[1]} examples)" if len(known) == 2 else "",
            examples=min(known, default=None),
            numbers=self._candidate.cross_slices.get(pair),
            before=self._baseline.cross_slices.get(pair, _NOTHING),
            intervals=self._candidate.cross_intervals.get(pair, _NOTHING),
            intervals_before=self._baseline.cross_intervals.get(pair, _NOTHING),
            differences=self._evaluation.cross_difference_intervals.get(pair, _NOTHING),
        )

    @functools.cached_property
    def _groups(self) -> dict[tuple[str, ...], dict[tuple[object, ...], list[Spot]]]:
        """Slices by the features that they are cut by, then by the values of these."""
        groups: dict[tuple[str, ...], dict[tuple[object, ...], list[Spot]]] = {}
        for spot in self.slices:
            cut = dict(spot.slice)
            if len(cut) == len(spot.slice):
                features = tuple(sorted(cut))
                values = tuple(normal_value(cut[name]) for name in features)
                groups.setdefault(features, {}).setdefault(values, []).append(spot)
        return groups

    @functools.cached_property
    def _metrics(self) -> dict[tuple[str, ...], list[MetricId]]:
        return _families(spot.numbers for spot in self.slices)

    @functools.cached_property
    def _pair_metrics(self) -> dict[tuple[str, ...], list[MetricId]]:
        return _families(spot.numbers for spot in self.pairs)


def key_of(spec: SliceSpec) -> SpecKey:
    """Returns what a spec means, to look it up by."""
    return spec.all_slices, spec.feature_keys, tuple(sorted(spec.feature_values.items()))


def _families(rows: Iterable[Row | None]) -> dict[tuple[str, ...], list[MetricId]]:
    """Metrics by all that a rule names of them; the members differ in weighting."""
    known: set[MetricId] = set().union(*(row for row in rows if row is not None))
    found: dict[tuple[str, ...], list[MetricId]] = {}
    for metric in sorted(known):
        found.setdefault(metric[:4], []).append(metric)
    return found


def _family(rule: Rule) -> tuple[str, ...]:
    return (rule.metric, rule.output_name, rule.sub_key, rule.aggregation)
