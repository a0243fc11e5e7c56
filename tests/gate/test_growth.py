"""The work of a decision grows with the slices, not with their square.

Calls are counted, not seconds, so the outcome is the same on a busy machine.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tfx_registry.gate import (
    ChangeThreshold,
    Contender,
    CrossSliceSpec,
    EvaluatedModel,
    Evaluation,
    GatePolicy,
    Interval,
    MetricId,
    NoWorse,
    Situation,
    SliceSpec,
    ValueThreshold,
    decide,
)

AUC, COUNT = MetricId("auc"), MetricId("example_count")
SITUATION = Situation("m", "production", Contender(2, "", "c"), Contender(1, "", "b"))
EACH = (SliceSpec(), SliceSpec(("city",)))
NOBODY = SliceSpec((), {"city": "none"})


def key(number: int) -> Any:
    return (("city", str(number)),)


def evaluation(slices: int, value: float) -> Evaluation:
    keys = [(), *map(key, range(slices))]

    def model(name: str, auc: float) -> EvaluatedModel:
        table = {k: {AUC: auc, COUNT: 9.0} for k in keys}
        crossed = {((), k): {AUC: 0.0} for k in keys[1:]}
        return EvaluatedModel(f"/{name}", name, table, cross_slices=crossed)

    intervals = {k: {AUC: Interval(-0.1, 0.1)} for k in keys}
    return Evaluation("/e", model("c", value), model("b", 0.8), difference_intervals=intervals)


def calls(policy: GatePolicy, found: Evaluation) -> int:
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    decide(policy, found, SITUATION)  # what is done once only is done now
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        decide(policy, found, SITUATION)
    finally:
        sys.setprofile(before)
    return count


def on_each(slices: int) -> GatePolicy:
    """Every kind of rule on every slice."""
    return GatePolicy(
        [ValueThreshold("auc", lower_bound=0.5, slices=EACH)],
        [ChangeThreshold("auc", absolute=0.0, slices=EACH, confidence="bound")],
        EACH,
        min_examples=10,
        no_worse=[NoWorse("auc")],
        min_slice_size=2,
    )


def of_each(slices: int) -> GatePolicy:
    """A rule for every slice."""
    specs = [SliceSpec((), {"city": str(number)}) for number in range(slices)]
    return GatePolicy(
        [ValueThreshold("auc", lower_bound=0.5, slices=[spec]) for spec in specs],
        [ChangeThreshold("auc", absolute=0.0, slices=[spec]) for spec in specs],
        specs,
    )


def between(slices: int) -> GatePolicy:
    """One rule between the whole and every slice."""
    spec = CrossSliceSpec(SliceSpec(), (SliceSpec(("city",)),))
    return GatePolicy([ValueThreshold("auc", lower_bound=-0.5, cross_slices=[spec])])


def missing(slices: int) -> GatePolicy:
    """Rules on a metric and on slices that are not there."""
    return GatePolicy(
        [ValueThreshold("recall", lower_bound=0.5, slices=[*EACH, NOBODY])],
        required_slices=[NOBODY],
    )


@pytest.mark.parametrize("value", [0.9, 0.1])
@pytest.mark.parametrize("policy", [on_each, of_each, between, missing])
def test_four_times_the_slices_take_four_times_the_work(policy: Any, value: float) -> None:
    small, large = (calls(policy(n), evaluation(n, value)) for n in (50, 200))
    assert large < 4.2 * small
