"""What the nodes of a registry are called in ML Metadata: their types, keys and names.

External ids are unique in every database behind ML Metadata, so they are the keys of the registry.
All of them are stored for ever: docs/design/0001-event-log-in-mlmd.md has the table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_registry.names import model_key
from tfx_registry.records import LineageSource
from tfx_registry.registry.mlmd_text import VERSION_KEY, plain_text

__all__ = [
    "CONTENT_KEY",
    "CONTENT_TYPE",
    "EVENT_KEY",
    "EVENT_TYPE",
    "MODEL_KEY",
    "MODEL_TYPE",
    "NODE_TYPES",
    "SOURCE_KEY",
    "SOURCE_TYPE",
    "VERSION_KEY",
    "VERSION_TYPE",
    "batches",
    "content_id",
    "edge_path",
    "event_id",
    "model_id",
    "operation_name",
    "source_id",
    "type_id",
    "version_id",
]

#: What the keys of nodes begin with; those of versions with `VERSION_KEY`.
MODEL_KEY = "tfx_registry:m:"
EVENT_KEY = "tfx_registry:e:"
CONTENT_KEY = "tfx_registry:d:"
SOURCE_KEY = "tfx_registry:s:"

MODEL_TYPE = "tfx_registry.registry.Model"
VERSION_TYPE = "tfx_registry.registry.Version"
EVENT_TYPE = "tfx_registry.registry.Event"
SOURCE_TYPE = "tfx_registry.registry.Source"
CONTENT_TYPE = "tfx_registry.registry.Content"

#: Each type, what its nodes are, and the message that makes it.
NODE_TYPES = (
    (EVENT_TYPE, "execution", pb.ExecutionType),
    (VERSION_TYPE, "artifact", pb.ArtifactType),
    (SOURCE_TYPE, "artifact", pb.ArtifactType),
    (CONTENT_TYPE, "artifact", pb.ArtifactType),
    (MODEL_TYPE, "context", pb.ContextType),
)

_READ_BATCH = 500


def type_id(name: str) -> str:
    """Returns the external id of a type; its name need not be unique."""
    return f"tfx_registry:t:{name}"


def model_id(model: str) -> str:
    """Returns the external id of the head of a model; of "", what all of them begin with."""
    return f"{MODEL_KEY}{model_key(model)}"


def version_id(model: str, number: int | str) -> str:
    """Returns the external id of a version; of the number "", what all of a model begin with."""
    return f"{VERSION_KEY}{model_key(model)}@{number}"


def content_id(model: str, digest: str) -> str:
    """Returns the external id of the node that tells which version has some bytes."""
    return f"{CONTENT_KEY}{model_key(model)}#{digest}"


def source_id(source: LineageSource) -> str:
    """Returns the external id of a source: one for each type and URI."""
    key = hashlib.sha256(f"{source.type_name}\n{source.uri}".encode()).hexdigest()
    return f"{SOURCE_KEY}{key}"


def event_id(model: str, seq: int) -> str:
    """Returns the external id of an event: it decides which of two writers was first."""
    return f"{EVENT_KEY}{model_key(model)}#{seq}"


def operation_name(model: str, token: str) -> str:
    """Returns the name of an event, by which a retry finds it.

    Names end at 255 characters and must be unique among all events of all models.
    """
    return "op:" + hashlib.sha256(f"{model_key(model)}\n{token}".encode()).hexdigest()


def edge_path(key: str) -> pb.Event.Path:
    """Returns the path of an edge that says which role an artifact has."""
    step = pb.Event.Path.Step(key=plain_text(key))
    return pb.Event.Path(steps=[step, pb.Event.Path.Step(index=0)])


def batches(external_ids: list[str]) -> Iterable[list[str]]:
    """Cuts external ids into lists of which each is asked for at once."""
    for start in range(0, len(external_ids), _READ_BATCH):
        yield external_ids[start : start + _READ_BATCH]
