"""The adapter between TFX and the gate."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from tfx.components.evaluator import constants as blessing_keys
from tfx.dsl.components.base import base_executor

from tfx_registry import codec
from tfx_registry.components import artifacts, execution
from tfx_registry.components.artifacts import VersionPointer
from tfx_registry.components.execution import REGISTRY
from tfx_registry.components.version_gate.tfma_results import (
    AmbiguousEvaluationError,
    UnreadableEvaluationError,
    load_evaluation,
)
from tfx_registry.digest import digest_path
from tfx_registry.errors import ConflictError, InvalidModelError
from tfx_registry.gate import (
    Contender,
    Evaluation,
    GatePolicy,
    GateReport,
    Reason,
    Situation,
    blocked,
    decide,
    summarize,
)
from tfx_registry.gate.html import render_html
from tfx_registry.records import Deployment, Head, Metric, Verdict, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.registry.events import Decided
from tfx_registry.saved_model import find_saved_model

__all__ = ["REGISTRY", "Executor"]

_logger = logging.getLogger(__name__)

MODEL_VERSION = "model_version"
MODEL = "model"
EVALUATION = "evaluation"
BLESSING = "blessing"
REPORT = "report"
POLICY = "policy"
ALIAS = "alias"

_DEFAULT_ALIAS = "production"
_ATTEMPTS = 5


class Executor(base_executor.BaseExecutor):
    """Decides on the version and writes blessing and report."""

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Decides.

        Args:
            input_dict: `model_version`, `model`, `evaluation`.
            output_dict: `blessing`, `report`.
            exec_properties: See `VersionGateSpec`.

        Raises:
            RegistryError: No decision could be made or recorded; the message says why.
        """
        pointer = VersionPointer.of(execution.single_artifact(input_dict, MODEL_VERSION))
        model = execution.single_artifact(input_dict, MODEL)
        evaluation = execution.single_artifact(input_dict, EVALUATION)
        policy = GatePolicy.from_json(exec_properties[POLICY])
        alias = exec_properties.get(ALIAS) or _DEFAULT_ALIAS
        with execution.open_registry(exec_properties) as registry:
            report = _decide_and_record(registry, pointer, model.uri, evaluation.uri, policy, alias)
            baseline = (
                registry.get(report.model, report.baseline.number) if report.baseline else None
            )
        log = _logger.info if report.verdict is Verdict.PASSED else _logger.warning
        log("%s", summarize(report))
        _write_report(execution.single_artifact(output_dict, REPORT), report)
        _write_blessing(execution.single_artifact(output_dict, BLESSING), report, model, baseline)


def _decide_and_record(
    registry: ModelRegistry,
    pointer: VersionPointer,
    model_uri: str,
    evaluation_uri: str,
    policy: GatePolicy,
    alias: str,
) -> GateReport:
    """Decides against what serves now; if that moves meanwhile, decides again."""
    version = registry.get(pointer.model, pointer.number)
    for attempt in range(_ATTEMPTS):
        deployment = registry.serving(version.model, alias)
        situation = _situation(registry, version, deployment, alias)
        report = _decide(policy, situation, version, model_uri, evaluation_uri)
        try:
            serving_seq = deployment.seq if deployment else 0
            registry.record_decision(version.model, _decided(report, serving_seq))
        except ConflictError:
            if attempt == _ATTEMPTS - 1:
                raise
            _logger.warning("what serves under %r has changed; deciding again", alias)
        else:
            return report
    raise AssertionError("the loop ends with a report or an error")


def _decide(
    policy: GatePolicy,
    situation: Situation,
    version: Version,
    model_uri: str,
    evaluation_uri: str,
) -> GateReport:
    nothing = Evaluation(evaluation_uri)
    changed = _changed_bytes(version, model_uri)
    if changed:
        return blocked(policy, nothing, situation, Reason.MODEL_BYTES_CHANGED, changed)
    try:
        evaluation = load_evaluation(evaluation_uri)
    except UnreadableEvaluationError as error:
        return blocked(policy, nothing, situation, Reason.EVALUATION_UNREADABLE, str(error))
    except AmbiguousEvaluationError as error:
        return blocked(policy, nothing, situation, Reason.EVALUATION_AMBIGUOUS, str(error))
    return decide(policy, evaluation, situation)


def _situation(
    registry: ModelRegistry, version: Version, deployment: Deployment | None, alias: str
) -> Situation:
    serving = registry.get(version.model, deployment.number) if deployment else None
    return Situation(
        model=version.model,
        alias=alias,
        candidate=_contender(version),
        serving=_contender(serving) if serving else None,
        unfinished=_unfinished(registry.head(version.model), version, alias),
    )


def _contender(version: Version) -> Contender:
    places = {version.uri, version.origin.artifact_uri} - {""}
    return Contender(version.number, version.digest, version.facts.manifest, tuple(sorted(places)))


def _unfinished(head: Head, version: Version, alias: str) -> str:
    """Finds a version that a server may load already though its promotion is not recorded."""
    for begun in head.unfinished.values():
        path = Path(begun.destination) / str(begun.number)
        if begun.alias == alias and begun.number != version.number and path.exists():
            return (
                f"version {begun.number} lies in {begun.destination!r}, but its promotion was "
                f"interrupted before it was recorded; finish it with 'tfx-registry promote "
                f"{head.model}:{begun.number} --serving-dir {begun.destination}' and evaluate again"
            )
    return ""


def _changed_bytes(version: Version, model_uri: str) -> str:
    """Says how the model in the pipeline differs from the registered bytes; "" if it does not."""
    try:
        now = digest_path(find_saved_model(model_uri) or model_uri)
    except InvalidModelError as error:
        return f"the model at {model_uri!r} cannot be read: {error}"
    if (now.root, now.manifest) == (version.facts.digest, version.facts.manifest):
        return ""
    return (
        f"the model at {model_uri!r} does not hold the bytes of {version.ref}: its digest is "
        f"{now.root[:16]}, registered is {version.digest[:16]}"
    )


def _decided(report: GateReport, serving_seq: int) -> Decided:
    return Decided(
        number=report.candidate.number,
        verdict=report.verdict,
        digest=report.candidate.digest,
        alias=report.alias,
        baseline=report.baseline.number if report.baseline else None,
        baseline_digest=report.baseline.digest if report.baseline else "",
        serving_seq=serving_seq,
        reasons=report.reasons,
        notes=report.notes,
        metrics=tuple(Metric(name, value, key) for name, key, value in report.metrics),
        report=codec.encode(report),
    )


def _write_report(output: Any, report: GateReport) -> None:
    output.set_string_custom_property(artifacts.VERDICT, report.verdict.value)
    output.set_string_custom_property(artifacts.MODEL_NAME, report.model)
    output.set_string_custom_property(artifacts.VERSION, str(report.candidate.number))
    folder = Path(output.uri)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / artifacts.REPORT_FILE).write_text(report.to_json(), encoding="utf-8")
    (folder / artifacts.REPORT_PAGE).write_text(render_html(report), encoding="utf-8")


def _write_blessing(
    blessing: Any, report: GateReport, model: Any, baseline: Version | None
) -> None:
    """Writes the blessing as Evaluator does (tfx/components/evaluator/executor.py)."""
    passed = report.verdict is Verdict.PASSED
    blessing.set_string_custom_property(
        blessing_keys.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri
    )
    blessing.set_int_custom_property(blessing_keys.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
    if baseline is not None:
        blessing.set_string_custom_property(
            blessing_keys.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY,
            baseline.origin.artifact_uri or baseline.uri,
        )
    blessing.set_int_custom_property(
        blessing_keys.ARTIFACT_PROPERTY_BLESSED_KEY,
        blessing_keys.BLESSED_VALUE if passed else blessing_keys.NOT_BLESSED_VALUE,
    )
    name = blessing_keys.BLESSED_FILE_NAME if passed else blessing_keys.NOT_BLESSED_FILE_NAME
    folder = Path(blessing.uri)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("", encoding="utf-8")
