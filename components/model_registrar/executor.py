"""The adapter between TFX and `ModelRegistry.register`."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import standard_artifacts

from tfx_registry import codec
from tfx_registry.components import artifacts, execution, places
from tfx_registry.components.data_digest import digest_of_files
from tfx_registry.components.execution import REGISTRY
from tfx_registry.errors import InvalidInputError
from tfx_registry.inspection import describe_model
from tfx_registry.records import LineageSource, Metric, ModelFacts, Origin

__all__ = ["Executor"]

_logger = logging.getLogger(__name__)

MODEL = "model"
EVALUATION = "evaluation"
MODEL_VERSION = "model_version"
MODEL_NAME = "model_name"
DESCRIPTION = "description"
LABELS = "labels"
HYPERPARAMETERS = "hyperparameters"
SEMANTIC_VERSION = "semantic_version"

__all__ += ["REGISTRY"]


class Executor(base_executor.BaseExecutor):
    """Registers the model artifact."""

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Registers the model and points the output at the version.

        Args:
            input_dict: `model`, optionally `evaluation`, and the lineage inputs.
            output_dict: `model_version`.
            exec_properties: See `ModelRegistrarSpec`.

        Raises:
            RegistryError: The model was not registered; the message says why.
        """
        model = execution.single_artifact(input_dict, MODEL)
        output = execution.single_artifact(output_dict, MODEL_VERSION)
        places.check_place(output.uri)
        origin = execution.origin_of(self._context, model.uri)
        facts = describe_model(model.uri)
        with execution.open_registry(exec_properties) as registry:
            version = registry.register(
                exec_properties[MODEL_NAME],
                model.uri,
                description=exec_properties.get(DESCRIPTION) or "",
                labels=_json(exec_properties, LABELS),
                hyperparameters={
                    **_tuned(input_dict),
                    **_json(exec_properties, HYPERPARAMETERS),
                },
                metrics=_metrics(input_dict, facts),
                semantic_version=exec_properties.get(SEMANTIC_VERSION) or "",
                origin=origin,
                sources=_sources(input_dict),
                idempotency_key=_operation(origin, facts),
            )
        _logger.info("registered %s as %s", model.uri, version.ref)
        output.set_string_custom_property(artifacts.MODEL_NAME, version.model)
        output.set_string_custom_property(artifacts.VERSION, str(version.number))
        output.set_string_custom_property(artifacts.DIGEST, version.digest)
        places.write_texts(output.uri, {artifacts.VERSION_FILE: codec.dumps(version)})


def _operation(origin: Origin, facts: ModelFacts) -> str:
    """Names the operation, so that a retry of the same execution is recognised.

    A model artifact belongs to one execution of its producer. Its URI may come back when somebody
    starts over with an empty pipeline root, so the bytes and, where known, the run count as well.
    """
    parts = (origin.pipeline_name, origin.run_id, origin.node_id, origin.artifact_uri)
    return hashlib.sha256("\n".join((*parts, facts.manifest)).encode()).hexdigest()


def _sources(input_dict: dict[str, list[Any]]) -> list[LineageSource]:
    return [
        LineageSource(
            key,
            source.type_name,
            source.uri,
            execution.properties_of(source),
            _digest(key, source.uri),
        )
        for key, found in sorted(input_dict.items())
        for source in found
    ]


def _digest(key: str, uri: str) -> str:
    """Computes the digest of a source; the model in a store is not fetched once more for it."""
    return "" if key == MODEL and places.is_in_store(uri) else digest_of_files(uri)


def _tuned(input_dict: dict[str, list[Any]]) -> dict[str, str]:
    """Reads what Tuner found (tfx/components/tuner/executor.py), if that is in the lineage."""
    found: dict[str, str] = {}
    for artifacts_of in input_dict.values():
        for artifact in artifacts_of:
            if artifact.type_name != standard_artifacts.HyperParameters.TYPE_NAME:
                continue
            with places.local_copy(artifact.uri) as folder:
                for path in sorted(folder.iterdir()):
                    values = json.loads(path.read_text(encoding="utf-8")).get("values", {})
                    found.update({str(key): str(value) for key, value in values.items()})
    return found


def _metrics(input_dict: dict[str, list[Any]], facts: ModelFacts) -> list[Metric]:
    evaluation = execution.optional_artifact(input_dict, EVALUATION)
    if evaluation is None:
        return []
    from tfx_registry.components.version_gate.tfma_results import load_evaluation

    loaded = load_evaluation(evaluation.uri)
    if loaded.candidate is None or loaded.candidate.manifest != facts.manifest:
        found = repr(loaded.candidate.location) if loaded.candidate else "nothing"
        raise InvalidInputError(
            f"cannot take metrics from the evaluation at {evaluation.uri!r}",
            f"it is of {found}, which is not the model at {facts.uri!r}",
            "connect the evaluation of this model",
        )
    return [
        Metric(str(metric), value, key)
        for key, values in sorted(loaded.numbers.items())
        for metric, value in sorted(values.items())
    ]


def _json(exec_properties: dict[str, Any], key: str) -> dict[str, str]:
    text = exec_properties.get(key)
    return dict(codec.loads(text)) if text else {}
