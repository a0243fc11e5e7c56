"""The garbage collector is paused for a decision, and is afterwards as it was."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from tfx_registry.gate import (
    Contender,
    EvaluatedModel,
    Evaluation,
    GatePolicy,
    MetricId,
    Situation,
    ValueThreshold,
    decide,
)
from tfx_registry.gate.collector import collector_paused

POLICY = GatePolicy([ValueThreshold("auc", lower_bound=0.5)])
SITUATION = Situation("m", "production", Contender(2, "", "c"))


@pytest.fixture(autouse=True)
def collector_on() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


class Watched(dict[MetricId, float]):
    """Numbers that note whether the collector was on when they were asked for."""

    seen: list[bool]

    def get(self, *key: object) -> float:  # type: ignore[override]
        self.seen.append(gc.isenabled())
        return 0.9


def decide_on(numbers: dict[MetricId, float]) -> None:
    decide(POLICY, Evaluation("/e", EvaluatedModel("/c", "c", {(): numbers})), SITUATION)


def test_it_is_paused_for_a_decision_only() -> None:
    numbers = Watched({MetricId("auc"): 0.9})
    numbers.seen = []
    decide_on(numbers)
    assert numbers.seen == [False]
    assert gc.isenabled()


def test_it_is_on_again_after_an_error() -> None:
    with pytest.raises(TypeError):
        decide_on({MetricId("auc"): "not a number"})  # type: ignore[dict-item]
    assert gc.isenabled()


def test_a_program_that_has_it_off_keeps_it_off() -> None:
    gc.disable()
    decide_on({MetricId("auc"): 0.9})
    assert not gc.isenabled()


def test_an_inner_pause_does_not_end_the_outer_one() -> None:
    with collector_paused():
        with collector_paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.mark.parametrize("off_before", [False, True])
def test_a_process_forked_meanwhile_has_it_as_the_program_wants_it(off_before: bool) -> None:
    if off_before:
        gc.disable()
    with collector_paused():
        child = os.fork()
        if not child:
            os._exit(gc.isenabled())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == (not off_before)
