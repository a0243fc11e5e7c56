"""Rules that look at no metric."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tfx_registry.gate import (
    CheckKind,
    Contender,
    EvaluatedModel,
    Evaluation,
    GatePolicy,
    MetricId,
    Reason,
    Situation,
    ValueThreshold,
    blocked,
    decide,
)
from tfx_registry.gate.rules_facts import differences_of
from tfx_registry.records import Signature, TensorSpec

HOUR = 3600.0
GOOD = Evaluation(
    "/eval",
    EvaluatedModel("/c", "c", {(): {MetricId("auc"): 0.9}}),
    EvaluatedModel("/b", "b", {(): {MetricId("auc"): 0.9}}),
    made_at=100 * HOUR,
)


def signature(dtype: str = "float32", shape: Any = (None, 3), **outputs: Any) -> Signature:
    spec = {name: TensorSpec("float32", shape) for name, shape in outputs.items()}
    return Signature({"x": TensorSpec(dtype, shape)}, spec or {"y": TensorSpec("float32", (None,))})


SIGNATURES = {"serving_default": signature()}
CANDIDATE = Contender(2, "", "c", (), 120, SIGNATURES)
SERVING = Contender(1, "", "b", (), 100, SIGNATURES)
SITUATION = Situation(
    "m", "production", CANDIDATE, SERVING, labels={"team": "x"}, infra_blessing=True, now=110 * HOUR
)


def policy(**fields: Any) -> GatePolicy:
    return GatePolicy([ValueThreshold("auc", lower_bound=0.5)], **fields)


def facts(
    rules: GatePolicy, situation: Situation = SITUATION, evaluation: Evaluation = GOOD
) -> list[tuple[Reason | None, str]]:
    """Reason and message of every fact that was asked."""
    checks = decide(rules, evaluation, situation).checks
    return [(c.reason, c.message) for c in checks if c.kind is CheckKind.FACT]


def candidate(**fields: Any) -> Situation:
    return dataclasses.replace(SITUATION, candidate=dataclasses.replace(CANDIDATE, **fields))


def serving(**fields: Any) -> Situation:
    return dataclasses.replace(SITUATION, serving=dataclasses.replace(SERVING, **fields))


def test_nothing_is_asked_that_the_policy_does_not_ask() -> None:
    assert facts(policy()) == []


@pytest.mark.parametrize(
    ("made_at", "now", "reason", "message"),
    [
        (100 * HOUR, 124 * HOUR, None, "the evaluation is 24 hours old"),
        (100 * HOUR, 124 * HOUR + 1, Reason.EVALUATION_TOO_OLD,
         "the evaluation is 24.0003 hours old, at most 24 are allowed"),
        (100 * HOUR, 100 * HOUR, None, "the evaluation is 0 hours old"),
        (100 * HOUR, 99.75 * HOUR, None, "the evaluation is -0.25 hours old"),
        (100 * HOUR, 99.5 * HOUR, Reason.EVALUATION_UNDATED,
         "the evaluation is dated 0.5 hours in the future"),
        (None, 100 * HOUR, Reason.EVALUATION_UNDATED, "when the evaluation was made is not known"),
        (100 * HOUR, None, Reason.EVALUATION_UNDATED, "the time is not known"),
        (float("nan"), 100 * HOUR, Reason.EVALUATION_TOO_OLD,
         "the evaluation is NaN hours old, at most 24 are allowed"),
    ],
)  # fmt: skip
def test_age_of_the_evaluation(
    made_at: float | None, now: float | None, reason: Reason | None, message: str
) -> None:
    evaluation = dataclasses.replace(GOOD, made_at=made_at)
    situation = dataclasses.replace(SITUATION, now=now)
    asked = policy(max_evaluation_age_hours=24)
    assert facts(asked, situation, evaluation) == [(reason, message)]


@pytest.mark.parametrize(
    ("size", "reason"),
    [(120, None), (121, Reason.MODEL_TOO_LARGE), (0, None), (None, Reason.MODEL_SIZE_UNKNOWN)],
)
def test_size(size: int | None, reason: Reason | None) -> None:
    asked = policy(max_model_bytes=120)
    assert [r for r, _ in facts(asked, candidate(size_bytes=size))] == [reason]


@pytest.mark.parametrize(
    ("size", "before", "reason"),
    [
        (150, 100, None),
        (151, 100, Reason.MODEL_TOO_LARGE),
        (50, 100, None),
        (0, 0, None),
        (1, 0, Reason.MODEL_TOO_LARGE),
        (None, 100, Reason.MODEL_SIZE_UNKNOWN),
        (100, None, Reason.MODEL_SIZE_UNKNOWN),
    ],
)
def test_growth(size: int | None, before: int | None, reason: Reason | None) -> None:
    situation = dataclasses.replace(
        candidate(size_bytes=size), serving=dataclasses.replace(SERVING, size_bytes=before)
    )
    found = facts(policy(max_model_growth=0.5), situation)
    assert [r for r, _ in found] == [reason]
    if reason is Reason.MODEL_SIZE_UNKNOWN:
        assert ("the model" if size is None else "version 1") in found[0][1]


def test_the_first_version_is_compared_with_nothing() -> None:
    first = dataclasses.replace(SITUATION, serving=None)
    alone = dataclasses.replace(GOOD, baseline=None)
    report = decide(policy(max_model_growth=0.0, signatures="same"), alone, first)
    assert report.failures == ()
    assert "not compared, because nothing serves: size, signatures" in report.notes


@pytest.mark.parametrize(
    ("blessing", "reason"),
    [
        (True, None),
        (False, Reason.INFRA_NOT_BLESSED),
        (None, Reason.INFRA_BLESSING_MISSING),
    ],
)
def test_infra_blessing(blessing: bool | None, reason: Reason | None) -> None:
    situation = dataclasses.replace(SITUATION, infra_blessing=blessing)
    found = facts(policy(require_infra_blessing=True), situation)
    assert [r for r, _ in found] == [reason]
    notes = decide(policy(), GOOD, situation).notes
    assert any("InfraValidator did not bless" in note for note in notes) is (blessing is False)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"team": "x"}, None),
        ({"team": "y"}, None),
        ({"team": "z"}, Reason.LABEL_NOT_ALLOWED),
        ({}, Reason.LABEL_MISSING),
        ({"Team": "x"}, Reason.LABEL_MISSING),
    ],
)
def test_labels(labels: dict[str, str], reason: Reason | None) -> None:
    situation = dataclasses.replace(SITUATION, labels=labels)
    assert [r for r, _ in facts(policy(required_labels={"team": ["x", "y"]}), situation)] == [
        reason
    ]
    any_value = facts(policy(required_labels={"team": []}), situation)
    assert [r for r, _ in any_value] == [None if "team" in labels else Reason.LABEL_MISSING]


def test_all_facts_fail_at_once_and_beside_other_problems() -> None:
    asked = policy(
        max_evaluation_age_hours=1,
        max_model_bytes=1,
        max_model_growth=0,
        signatures="same",
        require_infra_blessing=True,
        required_labels={"risk": ["low"]},
    )
    situation = dataclasses.replace(
        candidate(signatures={"serving_default": signature("int64")}), infra_blessing=False
    )
    expected = {
        Reason.EVALUATION_TOO_OLD,
        Reason.MODEL_TOO_LARGE,
        Reason.SIGNATURES_DIFFER,
        Reason.INFRA_NOT_BLESSED,
        Reason.LABEL_MISSING,
    }
    reports = {
        Reason.PROMOTION_UNFINISHED: decide(
            asked, GOOD, dataclasses.replace(situation, unfinished="finish it")
        ),
        Reason.EVALUATION_UNREADABLE: blocked(
            asked, GOOD, situation, Reason.EVALUATION_UNREADABLE, "no"
        ),
    }
    for problem, report in reports.items():
        assert {check.reason for check in report.failures} == {problem, *expected}


def test_an_evaluation_that_is_not_there_has_no_age() -> None:
    report = decide(policy(max_evaluation_age_hours=1), Evaluation("/nowhere"), SITUATION)
    assert [check.reason for check in report.checks] == [Reason.EVALUATION_EMPTY]


@pytest.mark.parametrize("unknown", [None, {}])
def test_signatures_that_are_not_known_block(unknown: Any) -> None:
    asked = policy(signatures="additive")
    for situation, whose in (
        (candidate(signatures=unknown), "the model"),
        (serving(signatures=unknown), "version 1"),
    ):
        message = f"no signature of {whose} is known"
        assert facts(asked, situation) == [(Reason.SIGNATURES_UNKNOWN, message)]


X4 = {"serving_default": signature(shape=(None, 4))}

SIGNATURE_CASES = [
    # before, after, lines where they must be the same, lines where they may grow
    (SIGNATURES, SIGNATURES, [], []),
    (SIGNATURES, {}, ["signature serving_default is gone"], ["signature serving_default is gone"]),
    (SIGNATURES, {**SIGNATURES, "more": signature()}, ["signature more is new"], []),
    (SIGNATURES, {"serving_default": signature("int64")},
     ["serving_default input x: float32[?, 3] became int64[?, 3]"],
     ["serving_default input x: float32[?, 3] became int64[?, 3]"]),
    (SIGNATURES, X4,
     ["serving_default input x: float32[?, 3] became float32[?, 4]"],
     ["serving_default input x: float32[?, 3] became float32[?, 4]"]),
    (SIGNATURES, {"serving_default": signature(shape=(None, None))},
     ["serving_default input x: float32[?, 3] became float32[?, ?]"], []),
    (SIGNATURES, {"serving_default": signature(shape=None)},
     ["serving_default input x: float32[?, 3] became float32[...]"], []),
    ({"serving_default": signature(shape=None)}, SIGNATURES,
     ["serving_default input x: float32[...] became float32[?, 3]"],
     ["serving_default input x: float32[...] became float32[?, 3]"]),
    (SIGNATURES, {"serving_default": signature(shape=(1, 3))},
     ["serving_default input x: float32[?, 3] became float32[1, 3]"],
     ["serving_default input x: float32[?, 3] became float32[1, 3]"]),
    (SIGNATURES, {"serving_default": signature(shape=(None, 3, 1))},
     ["serving_default input x: float32[?, 3] became float32[?, 3, 1]"],
     ["serving_default input x: float32[?, 3] became float32[?, 3, 1]"]),
    (SIGNATURES, {"serving_default": signature(y=(None,), z=(1,))},
     ["serving_default output z is new"], []),
    (SIGNATURES, {"serving_default": signature(z=(1,))},
     ["serving_default output y is gone", "serving_default output z is new"],
     ["serving_default output y is gone"]),
    (SIGNATURES, {"serving_default": signature(y=(7,))},
     ["serving_default output y: float32[?] became float32[7]"], []),
    ({"serving_default": signature(y=(7,))}, SIGNATURES,
     ["serving_default output y: float32[7] became float32[?]"],
     ["serving_default output y: float32[7] became float32[?]"]),
    ({"f": Signature({})}, {"f": Signature({"x": TensorSpec("string")})},
     ["f input x is new"], ["f input x is new"]),
    ({"f": Signature({"x": TensorSpec("string")})}, {"f": Signature({})},
     ["f input x is gone"], ["f input x is gone"]),
    ({"f": Signature(method="predict")}, {"f": Signature(method="classify")},
     ["f method 'predict' became 'classify'"], []),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "same", "additive"), SIGNATURE_CASES)
def test_signatures(before: Any, after: Any, same: list[str], additive: list[str]) -> None:
    assert differences_of(before, after, additive=False) == same
    assert differences_of(before, after, additive=True) == additive


def test_differences_of_signatures_block_each() -> None:
    situation = candidate(signatures={"serving_default": signature("int64", z=(1,))})
    found = facts(policy(signatures="additive"), situation)
    assert [reason for reason, _ in found] == [Reason.SIGNATURES_DIFFER] * 2
    assert found[0][1].startswith("against version 1: serving_default input x")
    fitting = candidate(signatures={**SIGNATURES, "more": signature()})
    assert [r for r, _ in facts(policy(signatures="additive"), fitting)] == [None]
    assert [r for r, _ in facts(policy(signatures="same"), fitting)] == [Reason.SIGNATURES_DIFFER]
