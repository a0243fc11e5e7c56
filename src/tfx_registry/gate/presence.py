"""Whether what a rule asks about is there at all: slices, metrics, examples."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfx_registry.gate.evaluation import EXAMPLE_COUNT, MetricId
from tfx_registry.gate.lookup import Lookup, Spot, key_of
from tfx_registry.gate.report import Check, CheckKind, Reason, describe, format_number
from tfx_registry.gate.slices import CrossSliceSpec, SliceSpec
from tfx_registry.gate.thresholds import NoWorse, Rule, Weighting
from tfx_registry.records import SliceKey

__all__ = [
    "Answer",
    "Asked",
    "Question",
    "ask_present",
    "failure",
    "missing_metric",
    "missing_slices",
]

#: Answers one rule for one number on one slice, or pair of slices.
Answer = Callable[[Spot], Check]
#: Makes the answer of a rule for a number.
Question = Callable[[MetricId], Answer]

_BY_NAME = operator.itemgetter(0)


@dataclass(frozen=True)
class _Place:
    """The slices that some rules are about, or the pairs of slices.

    Attributes:
        spots: Those that the candidate was measured on, each once.
        gaps: Specs by which something is missing, with what they mean.
        keys: The slices, for counting examples; of pairs both.
        answers: Answers of rules, to be given on each of the slices, with the name of the number.
        counted: Least numbers of examples that were asked for already.
    """

    spots: Sequence[Spot]
    gaps: Sequence[tuple[list[Spot], SliceSpec | CrossSliceSpec]]
    keys: Sequence[SliceKey]
    answers: list[tuple[str, Answer]] = field(default_factory=list)
    counted: set[int] = field(default_factory=set)


class Asked:
    """Asks rules of an evaluation; what several rules would find missing is said once."""

    def __init__(self, lookup: Lookup, min_examples: int) -> None:
        """Keeps what is the same for all rules.

        Args:
            lookup: The evaluation.
            min_examples: Least number of examples, for rules that do not say it themselves.
        """
        self._lookup = lookup
        self._min_examples = min_examples
        self._counted: dict[int, set[SliceKey]] = {}
        self._looked_for: set[MetricId] = set()
        self._rows = [spot.numbers for spot in lookup.slices if spot.numbers is not None]
        self._places: dict[object, _Place] = {}

    def ask(self, rule: Rule, question: Question) -> list[Check]:
        """Asks one rule on each slice that it is about, for each variant of its metric.

        Args:
            rule: The rule.
            question: Makes what answers it for a number that is there, or is missing in a slice.

        Returns:
            A failing check for whatever is missing. The answers are given by `answers`.
        """
        crossed = () if isinstance(rule, NoWorse) else rule.cross_slices
        if crossed:
            place = self._pairs_of(crossed)
            metrics = self._lookup.pair_variants(rule)
        else:
            place = self._slices_of(rule.slices)
            metrics = self._lookup.variants(rule)
        checks: list[Check] = []
        for matching, spec in place.gaps:
            checks += missing_slices(matching, spec, rule.metric)
        place.answers.extend((str(metric), question(metric)) for metric in metrics)
        if not metrics:
            metric = _metric_of(rule)
            place.answers.append((str(metric), functools.partial(missing_metric, metric)))
        checks += self._check_examples(rule, place)
        if not crossed:
            checks += self._missing_anywhere(metrics)
        return checks

    def answers(self) -> Iterator[Check]:
        """Gives the answers to all rules that were asked, slice by slice.

        In this order the numbers of a slice are looked at while they are near to the processor,
        which for thousands of slices takes half the time of going rule by rule.
        """
        for place in self._places.values():
            # By name, as the report has them: then there is little left to sort.
            answers = [answer for _, answer in sorted(place.answers, key=_BY_NAME)]
            for spot in place.spots:
                for answer in answers:
                    yield answer(spot)

    def _slices_of(self, specs: Sequence[SliceSpec]) -> _Place:
        name = tuple(map(key_of, specs))
        if name not in self._places:
            found = [(self._lookup.matching(spec), spec) for spec in specs]
            spots = {
                spot.slice: spot
                for matching, _ in found
                for spot in matching
                if spot.numbers is not None
            }
            self._places[name] = _Place(
                tuple(spots.values()), list(filter(_has_gap, found)), tuple(spots)
            )
        return self._places[name]

    def _pairs_of(self, specs: Sequence[CrossSliceSpec]) -> _Place:
        name = tuple((key_of(s.baseline), tuple(map(key_of, s.slices))) for s in specs)
        if name not in self._places:
            found = [(self._lookup.matching_pairs(spec), spec) for spec in specs]
            spots = {
                (spot.slice, spot.versus): spot
                for matching, _ in found
                for spot in matching
                if spot.numbers is not None
            }
            both = tuple(key for pair in spots for key in (pair[0], pair[1] or ()))
            self._places[name] = _Place(tuple(spots.values()), list(filter(_has_gap, found)), both)
        return self._places[name]

    def _missing_anywhere(self, metrics: Iterable[MetricId]) -> Iterator[Check]:
        """TFMA fails a metric that has a threshold anywhere and is missing in any slice."""
        for metric in metrics:
            if metric in self._looked_for:
                continue
            self._looked_for.add(metric)
            if all(map(operator.contains, self._rows, itertools.repeat(metric))):
                continue
            for spot in self._lookup.slices:
                if spot.numbers is not None and metric not in spot.numbers:
                    yield missing_metric(metric, spot)

    def _check_examples(self, rule: Rule, place: _Place) -> Iterator[Check]:
        least = self._min_examples if rule.min_examples is None else rule.min_examples
        if least in place.counted:
            return
        place.counted.add(least)
        counted = self._counted.setdefault(least, set())
        for key in place.keys:
            if key not in counted:
                counted.add(key)
                yield from self._check_count(key, least)

    def _check_count(self, key: SliceKey, least: int) -> Iterator[Check]:
        examples = self._lookup.examples(key)
        if examples is None and least > 1:
            yield failure(
                Reason.EXAMPLES_NOT_COUNTED,
                f"{describe(key)}: the evaluation has no {EXAMPLE_COUNT}, the policy asks for at "
                f"least {least}",
                kind=CheckKind.EXAMPLES,
                slice_key=key,
            )
        elif examples is not None and examples < least:
            none, where = examples == 0, describe(key)
            yield Check(
                False,
                f"{where}: there are no examples"
                if none
                else f"{where}: {examples} examples are fewer than {least}",
                Reason.NO_EXAMPLES if none else Reason.TOO_FEW_EXAMPLES,
                f"at least {least} examples",
                EXAMPLE_COUNT,
                key,
                value=float(examples),
                bound=float(least),
                examples=examples,
                kind=CheckKind.EXAMPLES,
            )


def ask_present(metric: MetricId) -> Answer:
    """Asks only that a number is there, where there is no baseline to compare it with.

    Args:
        metric: The number.

    Returns:
        The function of a slice that answers it.
    """
    return functools.partial(_answer_present, metric)


def _answer_present(metric: MetricId, spot: Spot) -> Check:
    value = (spot.numbers or {}).get(metric)
    if value is None:
        return missing_metric(metric, spot)
    return Check(
        True,
        f"{spot.place}: {metric} {format_number(value)}, not compared{spot.counted}",
        rule="present",
        metric=str(metric),
        slice=spot.slice,
        value=value,
        examples=spot.examples,
        kind=CheckKind.PRESENT,
        versus=spot.versus,
        interval=spot.intervals.get(metric),
    )


def missing_metric(metric: MetricId, spot: Spot) -> Check:
    """Says that a number is missing, and which ones there are.

    Args:
        metric: The number.
        spot: The slice.

    Returns:
        A failing check.
    """
    in_candidate = metric in (spot.numbers or {})
    known = spot.before if in_candidate else spot.numbers or {}
    others = ", ".join(sorted({str(m) for m in known})) or "none"
    whose = "the baseline" if in_candidate else "the candidate"
    return failure(
        Reason.METRIC_MISSING,
        f"{spot.place}: {metric} is missing for {whose}; evaluated were: {others}",
        kind=CheckKind.PRESENT,
        slice_key=spot.slice,
        versus=spot.versus,
        metric=str(metric),
    )


def missing_slices(
    matching: list[Spot], spec: SliceSpec | CrossSliceSpec, metric: str = ""
) -> Iterator[Check]:
    """Finds slices that a spec means and the candidate was not measured on.

    Args:
        matching: The slices that it means.
        spec: The spec.
        metric: The metric of the rule that asks, or "".

    Yields:
        A failing check for each.
    """
    asked = f", asked for {metric}" if metric else ""
    if not matching:
        fixed = spec if isinstance(spec, SliceSpec) else spec.baseline
        yield failure(
            Reason.SLICE_MISSING,
            f"slice {spec} is missing in the evaluation{asked}",
            kind=CheckKind.PRESENT,
            slice_key=tuple(sorted(fixed.feature_values.items())),
            metric=metric,
        )
    for spot in matching:
        if spot.numbers is None:
            yield failure(
                Reason.SLICE_MISSING,
                f"{spot.place} was measured on the baseline, not on the candidate{asked}",
                kind=CheckKind.PRESENT,
                slice_key=spot.slice,
                versus=spot.versus,
                metric=metric,
            )


def _has_gap(found: tuple[list[Spot], Any]) -> bool:
    """Tells whether `missing_slices` finds something."""
    matching, _ = found
    return not matching or any(spot.numbers is None for spot in matching)


def failure(
    reason: Reason,
    message: str,
    *,
    kind: CheckKind = CheckKind.PROBLEM,
    slice_key: SliceKey = (),
    versus: SliceKey | None = None,
    metric: str = "",
) -> Check:
    """Makes a failing check that has no number.

    Args:
        reason: Why it failed.
        message: One readable line.
        kind: What it is about.
        slice_key: The slice.
        versus: The slice that it is compared with, or None.
        metric: The metric, or "".

    Returns:
        The check.
    """
    return Check(False, message, reason, metric=metric, slice=slice_key, kind=kind, versus=versus)


def _metric_of(rule: Rule) -> MetricId:
    weighting = "weighted" if rule.weighting is Weighting.WEIGHTED else ""
    return MetricId(rule.metric, rule.output_name, rule.sub_key, rule.aggregation, weighting)
