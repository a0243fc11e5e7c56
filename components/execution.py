"""What the executors share: registry, run identity, single artifacts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tfx.types import artifact_utils

from tfx_registry.components.artifacts import VersionPointer
from tfx_registry.errors import InvalidInputError, NotFoundError
from tfx_registry.gate import normalize_location
from tfx_registry.inspection import code_revision, installed_libraries
from tfx_registry.records import Origin, PipelineRun, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.registry.uri import default_uri

__all__ = [
    "REGISTRY",
    "open_registry",
    "optional_artifact",
    "origin_of",
    "properties_of",
    "run_of",
    "single_artifact",
    "version_of",
]

#: Execution property: the registry URI; missing means the variable TFX_REGISTRY_URI.
REGISTRY = "registry"

# Airflow gives its tasks no TFX context, but says which run they belong to.
_AIRFLOW_DAG = "AIRFLOW_CTX_DAG_ID"
_AIRFLOW_RUN = "AIRFLOW_CTX_DAG_RUN_ID"


def open_registry(exec_properties: Mapping[str, Any]) -> ModelRegistry:
    """Opens the registry that the execution properties, or the environment, name."""
    return ModelRegistry.open(exec_properties.get(REGISTRY) or None)


def version_of(
    registry: ModelRegistry, pointer: VersionPointer, exec_properties: Mapping[str, Any]
) -> Version:
    """Gets the version that a ModelVersion artifact points at.

    Args:
        registry: The registry that `open_registry` opened.
        pointer: Which version.
        exec_properties: What it was opened by, for the message.

    Returns:
        The version.

    Raises:
        NotFoundError: It is not there, as where the components do not name the same registry.
    """
    try:
        return registry.get(pointer.model, pointer.number)
    except NotFoundError as error:
        where = exec_properties.get(REGISTRY) or default_uri()
        raise NotFoundError(
            f"{error.what} in the registry at {where}",
            f"{error.why}, so ModelRegistrar wrote to another one, or this one was made anew",
            "give all components of the pipeline the same registry; if it is new, run "
            "ModelRegistrar again",
        ) from error


def single_artifact(artifacts: Mapping[str, Any], key: str) -> Any:
    """Returns the one artifact under a key.

    Raises:
        InvalidInputError: There is none, or more than one.
    """
    found = artifacts.get(key) or []
    if len(found) != 1:
        raise InvalidInputError(
            f"invalid input {key!r}",
            f"it resolved to {len(found)} artifacts, and exactly one is needed",
            "check what the pipeline connects to it",
        )
    return artifact_utils.get_single_instance(list(found))


def optional_artifact(artifacts: Mapping[str, Any], key: str) -> Any | None:
    """Returns the one artifact under a key, or None when the input is not connected.

    Raises:
        InvalidInputError: There is more than one.
    """
    return single_artifact(artifacts, key) if artifacts.get(key) else None


def properties_of(artifact: Any) -> dict[str, str]:
    """Collects what an artifact says of itself, such as span, version and splits.

    Args:
        artifact: Any TFX artifact.

    Returns:
        Its properties and custom properties as text; those that are no text or number are left
        out.
    """
    node = artifact.mlmd_artifact
    values: dict[str, str] = {}
    for properties in (node.properties, node.custom_properties):
        for name, value in properties.items():
            kind = value.WhichOneof("value")
            if kind in ("int_value", "double_value", "string_value"):
                values[name] = str(getattr(value, kind))
    return values


def run_of(context: Any) -> PipelineRun:
    """Finds out which run an executor belongs to.

    Args:
        context: The executor's context, or None; orchestrators fill in different parts of it.

    Returns:
        What is known; "" for what is not.
    """
    info = getattr(context, "pipeline_info", None)
    node = getattr(context, "pipeline_node", None)
    return PipelineRun(
        pipeline_name=getattr(info, "id", "") or os.environ.get(_AIRFLOW_DAG, ""),
        run_id=getattr(context, "pipeline_run_id", None) or os.environ.get(_AIRFLOW_RUN, ""),
        node_id=node.node_info.id if node is not None else "",
    )


def origin_of(context: Any, artifact_uri: str) -> Origin:
    """Finds out what made a version.

    Args:
        context: The executor's context, or None.
        artifact_uri: URI of the Model artifact.

    Returns:
        What is known; "" for what is not.
    """
    run = run_of(context)
    return Origin(
        pipeline_name=run.pipeline_name,
        run_id=run.run_id,
        node_id=run.node_id,
        artifact_uri=normalize_location(artifact_uri),
        code_revision=code_revision(),
        libraries=installed_libraries(),
    )
