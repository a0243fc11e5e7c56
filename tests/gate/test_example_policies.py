"""The examples of policies pass what they are meant to pass, and block what they are meant to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tfx_registry.gate import (
    Contender,
    EvaluatedModel,
    Evaluation,
    GatePolicy,
    Interval,
    MetricId,
    Reason,
    Situation,
    decide,
)
from tfx_registry.records import SliceKey

pytestmark = pytest.mark.source_tree

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "policies"

COUNT = MetricId("example_count")
AUC, CALIBRATION, RATE = MetricId("auc"), MetricId("calibration"), MetricId("false_positive_rate")
ERROR, PRICE = MetricId("mean_squared_error"), MetricId("calibration", output_name="price")
NDCG = MetricId("ndcg", sub_key="topK:10")
FEMALE, MALE = (("sex", "female"),), (("sex", "male"),)
NORTH, SOUTH = (("market", "north"),), (("market", "south"),)
YOUNG = (("age_group", "young"),)

Numbers = dict[SliceKey, dict[MetricId, float]]


def reasons(
    name: str,
    new: Numbers,
    old: Numbers | None = None,
    *,
    infra: bool | None = True,
    cross: dict[Any, Any] | None = None,
    intervals: dict[Any, Any] | None = None,
) -> set[Reason | None]:
    """Decides by an example; every slice has 5,000 examples."""

    def model(digest: str, numbers: Numbers) -> EvaluatedModel:
        counted = {key: {COUNT: 5000.0, **values} for key, values in numbers.items()}
        return EvaluatedModel(digest, digest, counted, cross_slices=cross or {})

    evaluation = Evaluation(
        "result",
        model("new", new),
        model("old", old) if old is not None else None,
        digest="0" * 64,
        difference_intervals=intervals or {},
    )
    situation = Situation(
        "model", "production", Contender(2, "new", "new"),
        Contender(1, "old", "old") if old is not None else None, infra_blessing=infra,
    )  # fmt: skip
    report = decide(GatePolicy.load(FOLDER / f"{name}.yaml"), evaluation, situation)
    return {check.reason for check in report.failures}


def people(female: float, male: float = 0.85) -> Numbers:
    return {
        (): {AUC: 0.85, RATE: 0.1},
        FEMALE: {AUC: female, RATE: 0.1},
        MALE: {AUC: male, RATE: 0.1},
        YOUNG: {AUC: 0.85, RATE: 0.1},
    }


def test_fairness_blocks_a_classifier_that_is_bad_for_one_group() -> None:
    alike = {(FEMALE, MALE): {RATE: 0.01}}
    assert reasons("binary_fairness", people(0.85), people(0.85), cross=alike) == set()
    bad = reasons("binary_fairness", people(0.7), people(0.85), cross=alike)
    assert bad == {Reason.BELOW_LOWER_BOUND, Reason.CHANGE_NOT_ENOUGH}


def test_fairness_blocks_a_difference_between_groups() -> None:
    apart = {(FEMALE, MALE): {RATE: 0.05}}
    found = reasons("binary_fairness", people(0.85), people(0.85), cross=apart)
    assert found == {Reason.ABOVE_UPPER_BOUND}


def test_fairness_blocks_when_a_group_has_vanished() -> None:
    numbers = people(0.85)
    del numbers[MALE]
    found = reasons("binary_fairness", numbers, people(0.85))
    assert Reason.SLICE_MISSING in found


def test_a_regression_must_not_have_a_larger_error() -> None:
    old: Numbers = {(): {ERROR: 3.0, PRICE: 1.0}}
    proof = {(): {ERROR: Interval(-0.02, 0.03)}}
    assert reasons("regression", {(): {ERROR: 3.0, PRICE: 1.0}}, old, intervals=proof) == set()
    worse = reasons("regression", {(): {ERROR: 3.2, PRICE: 1.2}}, old)
    assert worse == {Reason.CHANGE_NOT_ENOUGH, Reason.ABOVE_UPPER_BOUND}


def markets(whole: float, north: float, south: float) -> Numbers:
    return {(): {NDCG: whole}, NORTH: {NDCG: north}, SOUTH: {NDCG: south}}


def test_a_ranking_may_lose_a_little_in_one_market_if_it_wins_in_another() -> None:
    old = markets(0.4, 0.4, 0.4)
    assert reasons("ranking", markets(0.41, 0.395, 0.43), old) == set()
    assert Reason.CHANGE_NOT_ENOUGH in reasons("ranking", markets(0.41, 0.3, 0.5), old)
    assert reasons("ranking", markets(0.4, 0.4, 0.4), old) == {Reason.NOT_BETTER_ANYWHERE}


def test_a_first_launch_needs_no_baseline_but_a_server_that_has_loaded_it() -> None:
    good: Numbers = {(): {AUC: 0.8, CALIBRATION: 1.0}}
    assert reasons("first_launch", good) == set()
    assert reasons("first_launch", good, infra=None) == {Reason.INFRA_BLESSING_MISSING}
    assert reasons("first_launch", {(): {AUC: 0.8, CALIBRATION: 1.3}}) == {Reason.ABOVE_UPPER_BOUND}


def test_in_an_emergency_little_is_asked_and_something() -> None:
    assert reasons("emergency", {(): {AUC: 0.72}}) == set()
    assert reasons("emergency", {(): {AUC: 0.6}}) == {Reason.BELOW_LOWER_BOUND}
