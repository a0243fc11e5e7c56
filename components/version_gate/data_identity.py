"""Which examples were evaluated: what artifacts say of themselves, and what ML Metadata knows.

An evaluation by Evaluator does not name its examples. ML Metadata does: the execution that made
the evaluation read them. Where the pipeline's own store is within reach, the driver of VersionGate
looks there and hands on what it found as text (`recorded_examples`); the executor, which runs near
the data, adds the digest of the files (`from_lineage`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format
from ml_metadata.proto import metadata_store_pb2
from tfx.types import artifact_utils, standard_artifacts

from tfx_registry import codec
from tfx_registry.components import execution
from tfx_registry.components.data_digest import combined, digest_of_files
from tfx_registry.gate import DataIdentity, DataSource

__all__ = ["DEFAULT_SPLITS", "from_lineage", "identify", "recorded_examples", "split_uris"]

_logger = logging.getLogger(__name__)

#: What Evaluator, and the gate, evaluate on unless they are told otherwise.
DEFAULT_SPLITS = ("eval",)
#: Components that take DEFAULT_SPLITS, by the last part of their execution type.
_EVALUATORS = frozenset({"Evaluator", "VersionGate"})
_OUTPUTS = frozenset({metadata_store_pb2.Event.OUTPUT, metadata_store_pb2.Event.DECLARED_OUTPUT})
_INPUTS = frozenset({metadata_store_pb2.Event.INPUT, metadata_store_pb2.Event.DECLARED_INPUT})


def identify(examples: Sequence[Any], splits: Sequence[str], source: DataSource) -> DataIdentity:
    """Says which examples some artifacts are.

    Args:
        examples: The Examples artifacts.
        splits: Names of the splits that count; none if it is not known which.
        source: How it is known that these were evaluated.

    Returns:
        Where they lie, what the artifacts say of themselves, and a digest of the files of the
        splits where these are known and within reach, see `components.data_digest`.
    """
    properties: dict[str, str] = {}
    for number, artifact in enumerate(examples):
        prefix = f"{number}." if len(examples) > 1 else ""
        for name, value in execution.properties_of(artifact).items():
            properties[prefix + name] = value
    try:
        digests = [digest_of_files(uri) for uri in split_uris(examples, splits)]
    except ValueError as error:
        _logger.warning("no digest of the examples: %s", error)
        digests = []
    return DataIdentity(
        location=",".join(str(artifact.uri) for artifact in examples),
        splits=tuple(splits),
        properties=properties,
        digest=combined(digests),
        source=source,
    )


def split_uris(examples: Sequence[Any], splits: Sequence[str]) -> list[str]:
    """Returns the folders of splits.

    Raises:
        ValueError: An artifact has no such split.
    """
    found = list(examples)
    return [uri for split in splits for uri in artifact_utils.get_split_uris(found, split)]


def recorded_examples(store: Any, evaluation_id: int) -> str:
    """Looks up which examples an evaluation was made of.

    Args:
        store: ML Metadata, the store of the pipeline.
        evaluation_id: Id of the ModelEvaluation artifact there.

    Returns:
        Text for `from_lineage`, the same for the same evaluation; "" where nothing is recorded.
    """
    events = store.get_events_by_artifact_ids([evaluation_id])
    # A run that took the evaluation from the cache has it as its output too; the first made it.
    makers = sorted(event.execution_id for event in events if event.type in _OUTPUTS)
    if not makers:
        return ""
    [maker] = store.get_executions_by_id(makers[:1])
    events = store.get_events_by_execution_ids([maker.id])
    read = sorted({event.artifact_id for event in events if event.type in _INPUTS})
    inputs = store.get_artifacts_by_id(read)
    kinds = {kind.id: kind.name for kind in store.get_artifact_types()}
    [maker_kind] = store.get_execution_types_by_id([maker.type_id])
    examples = [
        metadata_store_pb2.Artifact(
            uri=node.uri, properties=node.properties, custom_properties=node.custom_properties
        )
        for node in inputs
        if kinds.get(node.type_id) == standard_artifacts.Examples.TYPE_NAME
    ]
    if not examples:
        return ""
    return codec.dumps(
        {
            "examples": [json_format.MessageToDict(node) for node in examples],
            "splits": _splits_of(maker, maker_kind.name),
        }
    )


def from_lineage(text: str) -> DataIdentity:
    """Says which examples `recorded_examples` found.

    Args:
        text: What it returned, not "".

    Returns:
        The examples.
    """
    found = codec.loads(text)
    examples = []
    for node in found["examples"]:
        artifact = standard_artifacts.Examples()
        artifact.set_mlmd_artifact(json_format.ParseDict(node, metadata_store_pb2.Artifact()))
        examples.append(artifact)
    return identify(examples, found["splits"], DataSource.LINEAGE)


def _splits_of(maker: Any, kind: str) -> list[str]:
    """Returns the splits that an execution evaluated on; none if it does not say."""
    for properties in (maker.custom_properties, maker.properties):
        if "example_splits" in properties:
            splits = json.loads(properties["example_splits"].string_value or "null")
            if splits:
                return [str(split) for split in splits]
    return list(DEFAULT_SPLITS) if kind.split(".")[-1] in _EVALUATORS else []
