"""What a candidate is compared with: the version that serves, if that is what was evaluated."""

from __future__ import annotations

from dataclasses import dataclass

from tfx_registry.gate.evaluation import EvaluatedModel, Evaluation
from tfx_registry.gate.policy import BaselineRule, GatePolicy
from tfx_registry.gate.presence import failure
from tfx_registry.gate.report import Check, Reason
from tfx_registry.gate.situation import Contender, Situation

__all__ = ["Found", "find_baseline"]


@dataclass(frozen=True)
class Found:
    """The baseline, or why there is none.

    Attributes:
        baseline: The version to compare with, or None.
        checks: A failing check, where having none blocks.
        notes: A remark, where it does not.
    """

    baseline: Contender | None = None
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()


def find_baseline(policy: GatePolicy, evaluation: Evaluation, situation: Situation) -> Found:
    """Finds the baseline to compare with.

    Args:
        policy: The policy.
        evaluation: The evaluation.
        situation: What the registry knows.

    Returns:
        The serving version if it is what was evaluated, byte for byte; else the reason.
    """
    serving = situation.serving
    if evaluation.baseline is not None:
        if serving is not None and evaluation.baseline.manifest == serving.manifest:
            return Found(serving)
        reason, message = _wrong_baseline(evaluation, evaluation.baseline, situation)
        if policy.baseline is BaselineRule.ALLOW:
            return Found(notes=(message,))
        return Found(checks=(failure(reason, message),))
    if serving is None and policy.baseline is not BaselineRule.REQUIRE:
        note = f"first version: nothing serves under {situation.alias!r} yet"
        return Found(notes=(note,))
    if serving is not None and policy.baseline is BaselineRule.ALLOW:
        note = f"not compared with version {serving.number}, which serves under {situation.alias!r}"
        return Found(notes=(note,))
    reason, message = _no_baseline(evaluation, situation)
    return Found(checks=(failure(reason, message),))


def _no_baseline(evaluation: Evaluation, situation: Situation) -> tuple[Reason, str]:
    serving = situation.serving
    if serving is None:
        return Reason.BASELINE_MISSING, (
            f"the policy requires a baseline, but nothing serves under {situation.alias!r}"
        )
    if _has_moved(evaluation, situation):
        return Reason.BASELINE_MOVED, (
            f"version {serving.number} serves under {situation.alias!r} since event "
            f"{situation.serving_seq}, after the evaluation was made without a baseline; "
            "evaluate again"
        )
    return Reason.BASELINE_MISSING, (
        f"version {serving.number} serves under {situation.alias!r}, but the evaluation has no "
        "baseline model to compare with; use ProductionModelStrategy"
    )


def _wrong_baseline(
    evaluation: Evaluation, baseline: EvaluatedModel, situation: Situation
) -> tuple[Reason, str]:
    serving = situation.serving
    if serving is not None and serving.is_named_by(baseline.location):
        if not baseline.manifest:
            return Reason.BASELINE_BYTES_GONE, (
                f"the model at {baseline.location!r}, which was compared with, is out of reach, so "
                f"nothing tells that it was version {serving.number}"
            )
        return Reason.BASELINE_BYTES_CHANGED, (
            f"the model at {baseline.location!r}, which was compared with, does not hold the bytes "
            f"of version {serving.number} any more"
        )
    now = f"version {serving.number} serves" if serving is not None else "no version serves"
    if _has_moved(evaluation, situation):
        return Reason.BASELINE_MOVED, (
            f"{now} under {situation.alias!r} since event {situation.serving_seq}; the evaluation "
            f"compared with what served since event {evaluation.serving_seq}, the model at "
            f"{baseline.location!r}; evaluate again"
        )
    return Reason.BASELINE_IS_NOT_SERVING, (
        f"the evaluation compared with the model at {baseline.location!r}, but {now} under "
        f"{situation.alias!r}; use ProductionModelStrategy to compare with what serves"
    )


def _has_moved(evaluation: Evaluation, situation: Situation) -> bool:
    """Tells whether another deployment serves than when the baseline was chosen."""
    return evaluation.serving_seq is not None and evaluation.serving_seq != situation.serving_seq
