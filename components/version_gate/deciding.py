"""Decides on one version and records it, however often what serves changes meanwhile."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from tfx_registry import codec
from tfx_registry.components import places
from tfx_registry.components.artifacts import VersionPointer
from tfx_registry.components.version_gate.baselines import find_bytes, served_earlier
from tfx_registry.components.version_gate.tfma_results import (
    AmbiguousEvaluationError,
    CandidateMissingError,
    UnreadableEvaluationError,
)
from tfx_registry.errors import ConflictError, InvalidModelError
from tfx_registry.gate import (
    BaselineRule,
    Evaluation,
    GatePolicy,
    GateReport,
    Reason,
    Situation,
    blocked,
    decide,
)
from tfx_registry.gate.policy import MovedBaseline
from tfx_registry.gating import Standing, decision_of, report_of, situation_of
from tfx_registry.records import PipelineRun, Verdict, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.registry.events import Decided

__all__ = ["Question", "decide_and_record"]

_logger = logging.getLogger(__name__)

_ATTEMPTS = 5
#: How often the gate evaluates for one decision. Whoever promotes more often than TFMA can run has
#: no use for a comparison.
_EVALUATIONS = 3

_REASONS = {
    UnreadableEvaluationError: Reason.EVALUATION_UNREADABLE,
    AmbiguousEvaluationError: Reason.EVALUATION_AMBIGUOUS,
    CandidateMissingError: Reason.EVALUATION_WITHOUT_CANDIDATE,
}


@dataclass(frozen=True)
class Question:
    """What VersionGate was asked.

    Attributes:
        pointer: The version.
        model_uri: The Model artifact that was registered.
        policy: What the version must show.
        alias: The alias whose serving version is the baseline.
        location: Where the evaluation lies, or will lie.
        read: Reads the evaluation that was handed over; None when there is none.
        make: Evaluates the model at a path, with the baseline at a path or with none; None when
            the gate cannot evaluate by itself.
        infra_blessing: What InfraValidator said; None when it was not asked.
        remarks: Says what to remark on the evaluation that was handed over.
    """

    pointer: VersionPointer
    model_uri: str
    policy: GatePolicy
    alias: str
    location: str
    read: Callable[[], Evaluation] | None = None
    make: Callable[[str, str | None], Evaluation] | None = None
    infra_blessing: bool | None = None
    remarks: Callable[[], tuple[str, ...]] = tuple


def decide_and_record(
    registry: ModelRegistry, question: Question, run: PipelineRun | None = None
) -> GateReport:
    """Decides against what serves now; if that moves meanwhile, decides again.

    Args:
        registry: The registry.
        question: What to decide on.
        run: The pipeline run in which it is decided, for the record.

    Returns:
        The recorded decision.

    Raises:
        ConflictError: What serves changed at every attempt.
        RegistryError: The decision could not be made or recorded.
    """
    version = registry.get(question.pointer.model, question.pointer.number)
    source = _Source(registry, question, version)
    promoted = source.repeated()
    if promoted is not None:
        return promoted
    for last in (*[False] * (_ATTEMPTS - 1), True):
        measured = source.measure(Standing.now(registry, version.model, question.alias))
        now = Standing.now(registry, version.model, question.alias)
        if not last and source.is_outdated(measured, now):
            _logger.warning("what serves under %r has changed; evaluating again", question.alias)
            continue
        # TFMA may have run for hours: labels are those of now as well.
        version = registry.get(version.model, version.number)
        dated = question.policy.max_evaluation_age_hours is not None
        situation = situation_of(
            registry,
            version,
            now,
            infra_blessing=question.infra_blessing,
            now=time.time() if dated else None,
        )
        report = measured.report(question.policy, situation)
        decided = decision_of(report, run)
        if _is_recorded(registry, version, decided):
            _logger.info("this very decision on %s is recorded already", version.ref)
            return report
        try:
            registry.record_decision(version.model, decided)
        except ConflictError:
            if last:
                raise
            _logger.warning("what serves under %r has changed; deciding again", question.alias)
        else:
            return report
    raise AssertionError("the loop ends with a report or an error")


def _is_recorded(registry: ModelRegistry, version: Version, decided: Decided) -> bool:
    """Tells whether a decision is the last that happened to its version, in the same run.

    So a task that is tried again, because its worker was lost after it decided, decides once.
    """
    if version.decision is None or version.seq != version.decision.seq:
        return False
    last = registry.decision(version.model, version.number)
    # As text: what is not a number does not equal itself.
    return codec.dumps(codec.encode(last)) == codec.dumps(codec.encode(decided))


@dataclass(frozen=True)
class _Measured:
    """An evaluation, or why there is none to decide on."""

    evaluation: Evaluation
    reason: Reason | None = None
    message: str = ""
    notes: tuple[str, ...] = ()

    def report(self, policy: GatePolicy, situation: Situation) -> GateReport:
        if self.reason is not None:
            made = blocked(policy, self.evaluation, situation, self.reason, self.message)
        else:
            made = decide(policy, self.evaluation, situation)
        return dataclasses.replace(made, notes=(*made.notes, *self.notes))


class _Source:
    """Gets evaluations: the one that was handed over, or the gate's own."""

    def __init__(self, registry: ModelRegistry, question: Question, version: Version) -> None:
        self._registry = registry
        self._question = question
        self._version = version
        self._own: _Measured | None = None
        self._evaluations = 0

    def measure(self, standing: Standing) -> _Measured:
        """Returns an evaluation against what serves, as far as the question lets it."""
        nothing = Evaluation(self._question.location)
        changed = _changed_bytes(self._version, self._question.model_uri)
        if changed:
            return _Measured(nothing, Reason.MODEL_BYTES_CHANGED, changed)
        try:
            if self._question.read is not None:
                given = self._question.read()
                if self._question.make is None or _fits(given, standing):
                    notes = self._question.remarks()
                    return _Measured(self._dated(given, standing), notes=notes)
                _logger.info("the evaluation is not against what serves; evaluating again")
            return self._evaluate(standing)
        except tuple(_REASONS) as error:
            return _Measured(nothing, _REASONS[type(error)], str(error))

    def repeated(self) -> GateReport | None:
        """Returns the decision by which the version serves, if the question is the same again.

        So a task that is repeated after the promotion says what it said before. Decided anew, the
        version would be compared with itself, or by a given evaluation with what served before.
        """
        question, version = self._question, self._version
        serving = self._registry.serving(version.model, question.alias)
        decided = self._registry.decision(version.model, version.number)
        if serving is None or decided is None or version.decision is None:
            return None
        policy = question.policy
        if policy.required_labels or (
            policy.require_infra_blessing and not question.infra_blessing
        ):
            return None  # what may have been taken back is asked again
        report = report_of(decided)
        if (
            serving.number != version.number
            or report is None
            or (report.verdict, report.alias) != (Verdict.PASSED, question.alias)
            or report.policy_digest != policy.digest
            or version.decision.seq < version.rolled_back
            or _changed_bytes(version, question.model_uri)
        ):
            return None
        if question.make is None and not self._is_given_again(report):
            return None
        _logger.info("%s serves by this very decision already", version.ref)
        return report

    def _is_given_again(self, report: GateReport) -> bool:
        """Tells whether the evaluation that was handed over is the one that was decided on."""
        try:
            given = self._question.read() if self._question.read is not None else None
        except tuple(_REASONS):
            return False
        if given is None or given.candidate is None or not given.digest:
            return False
        return (given.digest, given.candidate.manifest) == (
            report.evaluation_digest,
            self._version.facts.manifest,
        )

    def is_outdated(self, measured: _Measured, now: Standing) -> bool:
        """Tells whether an own evaluation is to be made again, because what serves has moved."""
        return (
            measured is self._own
            and self._question.policy.moved_baseline is MovedBaseline.RE_EVALUATE
            and self._evaluations < _EVALUATIONS
            and measured.evaluation.serving_seq != now.seq
        )

    def _evaluate(self, standing: Standing) -> _Measured:
        if self._own is not None and not self.is_outdated(self._own, standing):
            return self._own
        self._evaluations += 1
        self._own = self._evaluate_against(standing)
        return self._own

    def _evaluate_against(self, standing: Standing) -> _Measured:
        baseline: str | None = None
        notes: tuple[str, ...] = ()
        if standing.version is not None:
            found = find_bytes(self._registry, standing.version, standing.alias)
            if found.reason is not None:
                if self._question.policy.baseline is not BaselineRule.ALLOW:
                    nothing = Evaluation(self._question.location, serving_seq=standing.seq)
                    return _Measured(nothing, found.reason, found.message)
                found = dataclasses.replace(found, notes=(found.message,))
            baseline, notes = found.path or None, found.notes
        candidate = places.find_model(self._question.model_uri)
        if self._question.make is None:
            raise AssertionError("without an evaluation the component asks for examples")
        made = self._question.make(candidate, baseline)
        return _Measured(dataclasses.replace(made, serving_seq=standing.seq), notes=notes)

    def _dated(self, given: Evaluation, standing: Standing) -> Evaluation:
        """Says since when the baseline of a given evaluation does not serve any more."""
        if given.baseline is None or not given.baseline.manifest or _fits(given, standing):
            return given
        seq = served_earlier(
            self._registry,
            self._version.model,
            self._question.alias,
            given.baseline.manifest,
            standing.seq,
        )
        return dataclasses.replace(given, serving_seq=seq)


def _fits(evaluation: Evaluation, standing: Standing) -> bool:
    baseline = evaluation.baseline
    if baseline is None or standing.version is None:
        return baseline is None and standing.version is None
    return baseline.manifest == standing.version.facts.manifest


def _changed_bytes(version: Version, model_uri: str) -> str:
    """Says how the model in the pipeline differs from the registered bytes; "" if it does not."""
    try:
        root, manifest = places.digests_of(model_uri)
    except InvalidModelError as error:
        return f"the model at {model_uri!r} cannot be read: {error}"
    if (root, manifest) == (version.facts.digest, version.facts.manifest):
        return ""
    return (
        f"the model at {model_uri!r} does not hold the bytes of {version.ref}: its digest is "
        f"{root[:16]}, registered is {version.digest[:16]}"
    )
