"""The adapter between TFX and the gate."""

from __future__ import annotations

import functools
import logging
from typing import Any

from tfx.components.evaluator import constants as blessing_keys
from tfx.components.util import model_utils
from tfx.dsl.components.base import base_beam_executor, base_executor

from tfx_registry import codec
from tfx_registry.components import artifacts, execution, places
from tfx_registry.components.artifacts import VersionPointer
from tfx_registry.components.execution import REGISTRY
from tfx_registry.components.version_gate import data_identity, own_evaluation, staged_evaluation
from tfx_registry.components.version_gate.deciding import Question, decide_and_record
from tfx_registry.components.version_gate.driver import EVALUATED_EXAMPLES
from tfx_registry.components.version_gate.tfma_results import load_evaluation
from tfx_registry.errors import InvalidInputError
from tfx_registry.gate import (
    DataIdentity,
    DataSource,
    Evaluation,
    GatePolicy,
    GateReport,
    normalize_location,
    summarize,
)
from tfx_registry.gate.html import Recorded, render_html
from tfx_registry.records import Verdict, Version

__all__ = ["REGISTRY", "Executor"]

_logger = logging.getLogger(__name__)

MODEL_VERSION = "model_version"
MODEL = "model"
#: Input: the evaluation that is handed over. Output of a gate that evaluates by itself: its own.
EVALUATION = "evaluation"
#: Input: the evaluation that is handed over to a gate that also evaluates by itself. TFX allows a
#: name only once in a component.
GIVEN_EVALUATION = "given_evaluation"
EXAMPLES = "examples"
SCHEMA = "schema"
INFRA_BLESSING = "infra_blessing"
BLESSING = "blessing"
REPORT = "report"
POLICY = "policy"
ALIAS = "alias"
#: Execution property: TFMA's EvalConfig as JSON text.
EVAL_CONFIG = "eval_config"
#: Execution property: names of the splits to evaluate on, as a JSON list.
EXAMPLE_SPLITS = "example_splits"

_DEFAULT_ALIAS = "production"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Decides on the version and writes blessing and report."""

    def __init__(self, context: Any = None) -> None:
        """Leaves Beam alone until it is needed.

        BaseBeamExecutor packs up TFX for remote workers and parses the command line of the
        process, which takes seconds and may fail; only the gate's own evaluation needs that.
        """
        base_executor.BaseExecutor.__init__(self, context)

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Decides.

        Args:
            input_dict: `model_version`, `model`, and `evaluation` or `examples` or both; see
                `VersionGateSpec` and `EvaluatingGateSpec`.
            output_dict: `blessing`, `report`, and `evaluation` where the gate evaluates by itself.
            exec_properties: See `VersionGateSpec`.

        Raises:
            RegistryError: No decision could be made or recorded; the message says why. Errors of
                TFMA and Beam pass through.
        """
        model = execution.single_artifact(input_dict, MODEL)
        for outputs in output_dict.values():
            for output in outputs:
                places.check_place(output.uri)
        question = self._question(model, input_dict, output_dict, exec_properties)
        run = execution.run_of(self._context)
        with execution.open_registry(exec_properties) as registry:
            execution.version_of(registry, question.pointer, exec_properties)
            report = decide_and_record(registry, question, run)
            version = registry.get(report.model, report.candidate.number)
            decided = registry.decision(report.model, report.candidate.number)
            baseline = (
                registry.get(report.model, report.baseline.number) if report.baseline else None
            )
        log = _logger.info if report.verdict is Verdict.PASSED else _logger.warning
        log("%s", summarize(report))
        output = execution.single_artifact(output_dict, REPORT)
        _write_report(output, report, version, str(decided.run) if decided else "")
        _write_blessing(execution.single_artifact(output_dict, BLESSING), report, model, baseline)

    def _question(
        self,
        model: Any,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> Question:
        key = GIVEN_EVALUATION if input_dict.get(GIVEN_EVALUATION) else EVALUATION
        given = execution.optional_artifact(input_dict, key)
        make = None
        location = given.uri if given is not None else ""
        if exec_properties.get(EVAL_CONFIG) and input_dict.get(EXAMPLES):
            output = execution.single_artifact(output_dict, EVALUATION).uri
            location = location or output
            super().__init__(self._context)
            make = functools.partial(
                _evaluate, self._make_beam_pipeline, _job(input_dict, exec_properties), output
            )
        elif given is None:
            raise InvalidInputError(
                "cannot decide",
                "neither an evaluation nor examples resolved to an artifact",
                "connect evaluation to Evaluator, or examples to ExampleGen",
            )
        evaluation = None
        if given is not None:
            evaluation = _GivenEvaluation(given, input_dict, exec_properties)
        return Question(
            pointer=VersionPointer.of(execution.single_artifact(input_dict, MODEL_VERSION)),
            model_uri=model.uri,
            policy=GatePolicy.from_json(exec_properties[POLICY]),
            alias=exec_properties.get(ALIAS) or _DEFAULT_ALIAS,
            location=location,
            read=evaluation.read if evaluation is not None else None,
            remarks=evaluation.remarks if evaluation is not None else tuple,
            make=make,
            infra_blessing=_infra_blessing(input_dict),
        )


def _job(input_dict: dict[str, list[Any]], exec_properties: dict[str, Any]) -> own_evaluation.Job:
    return own_evaluation.Job(
        eval_config=exec_properties[EVAL_CONFIG],
        examples=tuple(input_dict[EXAMPLES]),
        splits=_splits(exec_properties),
        schema=execution.optional_artifact(input_dict, SCHEMA),
    )


def _evaluate(
    make_pipeline: Any,
    job: own_evaluation.Job,
    output: str,
    candidate: str,
    baseline: str | None,
) -> Evaluation:
    data = own_evaluation.identify(job)
    staged_evaluation.evaluate(job, make_pipeline, candidate, baseline, output)
    return load_evaluation(output, data=data)


class _GivenEvaluation:
    """The evaluation that was handed over, and what is known of its examples."""

    def __init__(
        self,
        artifact: Any,
        input_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        self._artifact = artifact
        self._examples = input_dict.get(EXAMPLES) or []
        self._splits = _splits(exec_properties)
        self._lineage = exec_properties.get(EVALUATED_EXAMPLES) or ""

    def read(self) -> Evaluation:
        # MLMD counts in milliseconds; 0 where the orchestrator does not say.
        created_at = self._artifact.mlmd_artifact.create_time_since_epoch / 1000 or None
        return load_evaluation(self._artifact.uri, created_at=created_at, data=self._data)

    @functools.cached_property
    def _data(self) -> DataIdentity | None:
        """The examples: what lineage proves counts more than what was given."""
        if self._lineage:
            return data_identity.from_lineage(self._lineage)
        if self._examples:
            return data_identity.identify(self._examples, self._splits, DataSource.GIVEN)
        return None

    def remarks(self) -> tuple[str, ...]:
        """Says where the given examples are not those that lineage names."""
        given = {normalize_location(artifact.uri) for artifact in self._examples}
        data = self._data
        if data is None or data.source is not DataSource.LINEAGE or not given:
            return ()
        read = {normalize_location(uri) for uri in data.location.split(",")}
        if given <= read:
            return ()
        shown = ", ".join(sorted(given - read))
        return (f"the examples at {shown}, given to the gate, are not those that were evaluated",)


def _splits(exec_properties: dict[str, Any]) -> tuple[str, ...]:
    splits = exec_properties.get(EXAMPLE_SPLITS)
    return tuple(codec.loads(splits)) if splits else data_identity.DEFAULT_SPLITS


def _infra_blessing(input_dict: dict[str, list[Any]]) -> bool | None:
    blessing = execution.optional_artifact(input_dict, INFRA_BLESSING)
    return None if blessing is None else bool(model_utils.is_infra_validated(blessing))


def _write_report(output: Any, report: GateReport, version: Version, run: str) -> None:
    decision = version.decision
    assert decision is not None
    recorded = Recorded(
        decision.seq, decision.time, decision.actor, override=version.override, run=run
    )
    output.set_string_custom_property(artifacts.VERDICT, report.verdict.value)
    output.set_string_custom_property(artifacts.MODEL_NAME, report.model)
    output.set_string_custom_property(artifacts.VERSION, str(report.candidate.number))
    texts = {
        artifacts.REPORT_FILE: report.to_json(),
        artifacts.REPORT_PAGE: render_html(report, recorded),
    }
    places.write_texts(output.uri, texts)


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
    places.write_texts(blessing.uri, {name: ""})
