"""What is different between two decisions."""

from __future__ import annotations

import dataclasses
import math

from tfx_registry.gate import (
    Contender,
    EvaluatedModel,
    Evaluation,
    GatePolicy,
    GateReport,
    MetricId,
    Reason,
    Situation,
    SliceSpec,
    ValueThreshold,
    decide,
)
from tfx_registry.gate.differences import differences

AUC = MetricId("auc")
MALE = (("sex", "m"),)
EACH = (SliceSpec(), SliceSpec(("sex",)))
SITUATION = Situation("penguin", "production", Contender(1, "1" * 64, "c"))


def report(male: float, bound: float = 0.8, slices: tuple[SliceSpec, ...] = EACH) -> GateReport:
    candidate = EvaluatedModel("c", "c", {(): {AUC: 0.9}, MALE: {AUC: male}})
    policy = GatePolicy((ValueThreshold("auc", bound, slices=slices),))
    return decide(policy, Evaluation("/results", candidate), SITUATION)


def test_equal_decisions_do_not_differ() -> None:
    assert differences(report(0.9), report(0.9)) == []
    assert differences(report(math.nan), report(math.nan)) == []


def test_another_number_is_one_difference() -> None:
    (found,) = differences(report(0.9), report(0.4))
    assert found.before is not None
    assert found.after is not None
    assert (found.before.value, found.after.value) == (0.9, 0.4)
    assert (found.before.passed, found.after.passed) == (True, False)
    assert found.check is found.after


def test_another_bound_shows_each_slice_failures_first() -> None:
    found = differences(report(0.85, 0.8), report(0.85, 0.88))
    assert [(d.check.slice, d.check.passed) for d in found] == [(MALE, False), ((), True)]
    assert [d.before.rule for d in found if d.before] == ["value >= 0.8"] * 2
    assert [d.after.rule for d in found if d.after] == ["value >= 0.88"] * 2


def test_what_only_one_of_them_asked_is_shown() -> None:
    only = differences(report(0.9, slices=(SliceSpec(),)), report(0.9))
    assert [(d.before, d.check.slice) for d in only] == [(None, MALE)]
    gone = differences(report(0.9), report(0.9, slices=(SliceSpec(),)))
    assert [(d.after, d.check.slice) for d in gone] == [(None, MALE)]


def test_two_rules_on_one_number_are_not_mixed_up() -> None:
    twice = report(0.9)
    more = dataclasses.replace(
        twice, checks=(*twice.checks, dataclasses.replace(twice.checks[0], rule="value >= 0.5"))
    )
    (found,) = differences(twice, more)
    assert (found.before, found.check.rule) == (None, "value >= 0.5")
    lost = dataclasses.replace(twice.checks[0], passed=False, reason=Reason.NOT_A_NUMBER)
    swapped = dataclasses.replace(twice, checks=(lost, *twice.checks[1:]))
    assert [d.check.reason for d in differences(twice, swapped)] == [Reason.NOT_A_NUMBER]
