"""The store in ML Metadata: docs/design/0001-event-log-in-mlmd.md explains the model.

What MLMD offers and this relies on: `put_execution` writes an execution, artifacts, contexts and
the edges between them in one transaction, and the external id of a node is unique. So the external
id `tfx_registry:e:<model>#<seq>` of the event decides who wins, and a retry is recognised by the
unique name `op:<token>`.

What MLMD cannot do and this works around: doubles lose digits and text of more than about 2.6 kB or
with a backslash breaks on PostgreSQL. So records are JSON text without backslashes, cut into
chunks.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("GLOG_minloglevel", "3")  # before the C++ library reads it

from ml_metadata import errors as mlmd_errors
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_registry import codec
from tfx_registry.errors import StoreUnavailableError
from tfx_registry.names import model_key
from tfx_registry.records import Head, LineageSource, Version
from tfx_registry.registry.events import Event, Registered
from tfx_registry.registry.store import AppendConflict
from tfx_registry.registry.uri import RegistryUri

__all__ = ["MlmdStore", "decode_text", "encode_text"]

T = TypeVar("T")

MODEL_TYPE = "tfx_registry.registry.Model"
VERSION_TYPE = "tfx_registry.registry.Version"
EVENT_TYPE = "tfx_registry.registry.Event"
SOURCE_TYPE = "tfx_registry.registry.Source"
CONTENT_TYPE = "tfx_registry.registry.Content"

#: Custom property that holds the JSON record; what does not fit follows in `record.1`, ...
RECORD = "record"

_CHUNK_BYTES = 2000
_READ_BATCH = 500

_NODE_TYPES = (
    (EVENT_TYPE, "execution", pb.ExecutionType),
    (VERSION_TYPE, "artifact", pb.ArtifactType),
    (SOURCE_TYPE, "artifact", pb.ArtifactType),
    (CONTENT_TYPE, "artifact", pb.ArtifactType),
    (MODEL_TYPE, "context", pb.ContextType),
)

_RETRYABLE = (
    mlmd_errors.AbortedError,
    mlmd_errors.AlreadyExistsError,
    mlmd_errors.UnavailableError,
    mlmd_errors.DeadlineExceededError,
)


class _NothingFoundError(Exception):
    """MLMD's answer to a look-up by external id that finds nothing."""


class _RetryNoise(logging.Filter):
    """Drops MLMD's error line for a lost race: the registry retries by itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "failed after retrying" not in str(record.msg)


logging.getLogger("absl").addFilter(_RetryNoise())


def encode_text(text: str) -> str:
    """Writes text without a backslash, reversibly: `~` becomes `~0` and the backslash `~1`."""
    return text.replace("~", "~0").replace("\\", "~1")


def decode_text(text: str) -> str:
    """Reads what `encode_text` made."""
    return text.replace("~1", "\\").replace("~0", "~")


class MlmdStore:
    """Implements `store.Store` on ML Metadata; may be shared by threads, not across a fork."""

    def __init__(self, uri: RegistryUri, *, create: bool) -> None:
        """Opens the store.

        Args:
            uri: A "sqlite" URI.
            create: Whether a missing database is made.

        Raises:
            StoreUnavailableError: The database is missing, or is not one of ML Metadata.
        """
        self._uri = uri
        self._ids: dict[str, int] = {}
        self._types: dict[str, int] = {}
        self._lock = threading.Lock()
        path = Path(uri.path)
        if not create and not path.exists():
            raise StoreUnavailableError(
                f"no registry at {uri}",
                "the database file does not exist",
                "check the path (three slashes mean relative to the working directory), or "
                "register a first version to create it",
            )
        if create and not path.parent.is_dir():
            raise StoreUnavailableError(
                f"cannot create a registry at {uri}",
                f"the directory {str(path.parent)!r} does not exist",
                "create it first",
            )
        config = pb.ConnectionConfig()
        config.sqlite.filename_uri = uri.path
        config.sqlite.connection_mode = (
            pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
            if create
            else pb.SqliteMetadataSourceConfig.READWRITE
        )
        config.retry_options.max_num_retries = 1
        self._store = self._call(lambda: metadata_store.MetadataStore(config), conflict=False)

    # Reads

    def read_head(self, model: str) -> Head | None:
        """See `store.Store`."""
        found = self._contexts([_model_id(model)])
        return codec.decode(Head, _read_record(found[0])) if found else None

    def read_versions(self, model: str, numbers: Collection[int]) -> dict[int, Version]:
        """See `store.Store`."""
        versions = {}
        for ids in _batches([_version_id(model, n) for n in numbers]):
            for node in self._find("artifacts", ids):
                self._ids[node.external_id] = node.id
                version = codec.decode(Version, _read_record(node))
                versions[version.number] = version
        return versions

    def read_events(self, model: str, first: int, last: int) -> list[Event]:
        """See `store.Store`."""
        events = []
        for ids in _batches([_event_id(model, seq) for seq in range(first, last + 1)]):
            found = self._find("executions", ids)
            events += [Event.from_json(_read_record(node)) for node in found]
        return sorted(events, key=lambda event: event.seq)

    def find_operation(self, model: str, token: str) -> Event | None:
        """See `store.Store`."""
        node = self._call(
            lambda: self._store.get_execution_by_type_and_name(
                EVENT_TYPE, _operation_name(model, token)
            )
        )
        return Event.from_json(_read_record(node)) if node is not None else None

    def find_digest(self, model: str, digest: str) -> int | None:
        """See `store.Store`."""
        found = self._find("artifacts", [_content_id(model, digest)])
        return int(found[0].custom_properties["number"].string_value) if found else None

    def list_heads(self) -> list[Head]:
        """See `store.Store`."""
        nodes = self._call(lambda: self._store.get_contexts_by_type(MODEL_TYPE))
        heads = [codec.decode(Head, _read_record(node)) for node in nodes]
        return sorted(heads, key=lambda head: model_key(head.model))

    # Append

    def append(self, event: Event, head: Head, versions: Sequence[Version]) -> None:
        """See `store.Store`."""
        self._ensure_types()
        execution = pb.Execution(
            type_id=self._types[EVENT_TYPE],
            name=_operation_name(event.model, event.token),
            external_id=_event_id(event.model, event.seq),
            last_known_state=pb.Execution.COMPLETE,
        )
        _write_record(execution, event.to_json())
        for key in ("kind", "actor", "time"):
            execution.custom_properties[key].string_value = encode_text(getattr(event, key))
        context = pb.Context(
            type_id=self._types[MODEL_TYPE], name=head.model, external_id=_model_id(head.model)
        )
        _write_record(context, head)
        if event.seq > 1:
            context.id = self._context_id(head.model)
        creates = event.number if isinstance(event.payload, Registered) else None
        nodes = [
            self._version_node(version, is_new=version.number == creates) for version in versions
        ]
        if isinstance(event.payload, Registered):
            nodes.append(self._content_node(event.model, event.payload))
            nodes += [self._source_node(source) for source in event.payload.sources]
        self._call(lambda: self._store.put_execution(execution, nodes, [context]), conflict=True)

    def close(self) -> None:
        """Lets go of the connection."""
        self._store = None

    # Nodes

    def _version_node(self, version: Version, *, is_new: bool) -> tuple[pb.Artifact, pb.Event]:
        artifact = pb.Artifact(
            type_id=self._types[VERSION_TYPE],
            name=f"{version.model}@{version.number}",
            external_id=_version_id(version.model, version.number),
            uri=encode_text(version.uri),
            state=pb.Artifact.LIVE,
        )
        if not is_new:
            artifact.id = self._version_id(version)
        _write_record(artifact, version)
        artifact.custom_properties["digest"].string_value = version.digest
        artifact.custom_properties["state"].string_value = version.state.value
        kind = pb.Event.OUTPUT if is_new else pb.Event.INPUT
        return artifact, pb.Event(type=kind, path=_path("version"))

    def _content_node(self, model: str, payload: Registered) -> tuple[pb.Artifact, pb.Event]:
        """The index from a digest to the newest version that has it."""
        artifact = pb.Artifact(
            type_id=self._types[CONTENT_TYPE],
            external_id=_content_id(model, payload.facts.digest),
            state=pb.Artifact.LIVE,
        )
        if found := self._find("artifacts", [artifact.external_id]):
            artifact.id = found[0].id
        artifact.custom_properties["number"].string_value = str(payload.number)
        return artifact, pb.Event(type=pb.Event.OUTPUT, path=_path("content"))

    def _source_node(self, source: LineageSource) -> tuple[pb.Artifact | None, pb.Event]:
        edge = pb.Event(type=pb.Event.INPUT, path=_path(source.key))
        known = self._pipeline_artifact(source)
        if known is not None:
            # Only the edge: passing the artifact itself would rewrite what the pipeline wrote.
            edge.artifact_id = known
            return None, edge
        key = hashlib.sha256(f"{source.type_name}\n{source.uri}".encode()).hexdigest()
        artifact = pb.Artifact(
            type_id=self._types[SOURCE_TYPE],
            external_id=f"tfx_registry:s:{key}",
            uri=encode_text(source.uri),
            state=pb.Artifact.LIVE,
        )
        artifact.custom_properties["type_name"].string_value = encode_text(source.type_name)
        if found := self._find("artifacts", [artifact.external_id]):
            edge.artifact_id = found[0].id
            return None, edge
        return artifact, edge

    def _pipeline_artifact(self, source: LineageSource) -> int | None:
        """Finds the artifact that a pipeline wrote into this same database."""
        nodes = self._call(lambda: self._store.get_artifacts_by_uri(source.uri))
        ids = [n.id for n in nodes if n.type == source.type_name]
        return max(ids, default=None)

    def _context_id(self, model: str) -> int:
        external_id = _model_id(model)
        if external_id not in self._ids:
            self._contexts([external_id])
        return self._ids[external_id]

    def _contexts(self, external_ids: list[str]) -> list[Any]:
        nodes = self._find("contexts", external_ids)
        self._ids.update({node.external_id: node.id for node in nodes})
        return nodes

    def _version_id(self, version: Version) -> int:
        external_id = _version_id(version.model, version.number)
        if external_id not in self._ids:
            self.read_versions(version.model, [version.number])
        return self._ids[external_id]

    def _ensure_types(self) -> None:
        """Makes the node types once; their external ids are unique, unlike their names."""
        with self._lock:
            if self._types:
                return
            types = {}
            for name, kind, make in _NODE_TYPES:
                key = f"tfx_registry:t:{name}"
                found = self._find(f"{kind}_types", [key])
                if found:
                    types[name] = found[0].id
                    continue
                put = getattr(self._store, f"put_{kind}_type")
                types[name] = self._call(
                    functools.partial(put, make(name=name, external_id=key)), conflict=True
                )
            self._types = types

    def _find(self, kind: str, external_ids: list[str]) -> list[Any]:
        """Returns the nodes of a kind that exist; MLMD answers "not found" where none does."""
        look_up = getattr(self._store, f"get_{kind}_by_external_ids")
        try:
            return list(self._call(functools.partial(look_up, external_ids)))
        except _NothingFoundError:
            return []

    def _call(self, function: Callable[[], T], *, conflict: bool = False) -> T:
        """Calls MLMD and turns its errors into ours.

        Args:
            function: The call.
            conflict: Whether "already exists" and "aborted" mean that another writer was faster.

        Raises:
            AppendConflict: Another writer was faster, or held the lock.
            StoreUnavailableError: Anything else.
        """
        try:
            return function()
        except mlmd_errors.NotFoundError as error:
            raise _NothingFoundError from error
        except _RETRYABLE as error:
            if conflict:
                raise AppendConflict(str(error)) from error
            raise self._unavailable(error) from error
        except (mlmd_errors.StatusError, RuntimeError) as error:
            # RuntimeError is what the C++ library raises when it cannot connect.
            if conflict and "locked" in str(error).lower():
                raise AppendConflict(str(error)) from error
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> StoreUnavailableError:
        why = " ".join(str(error).split()) or type(error).__name__
        return StoreUnavailableError(
            f"the registry at {self._uri} did not answer",
            why[:500],
            "check that the file is a database of ML Metadata, readable and writable, with free "
            "space on its disk; then repeat: nothing was half-written",
        )


def _model_id(model: str) -> str:
    return f"tfx_registry:m:{model_key(model)}"


def _version_id(model: str, number: int) -> str:
    return f"tfx_registry:v:{model_key(model)}@{number}"


def _content_id(model: str, digest: str) -> str:
    return f"tfx_registry:d:{model_key(model)}#{digest}"


def _event_id(model: str, seq: int) -> str:
    return f"tfx_registry:e:{model_key(model)}#{seq}"


def _operation_name(model: str, token: str) -> str:
    # MLMD names end at 255 characters and must be unique among all events of all models.
    return "op:" + hashlib.sha256(f"{model_key(model)}\n{token}".encode()).hexdigest()


def _path(key: str) -> pb.Event.Path:
    return pb.Event.Path(steps=[pb.Event.Path.Step(key=key), pb.Event.Path.Step(index=0)])


def _write_record(node: Any, record: Any) -> None:
    for index, chunk in enumerate(_chunks(encode_text(codec.dumps(record)))):
        key = f"{RECORD}.{index}" if index else RECORD
        node.custom_properties[key].string_value = chunk


def _read_record(node: Any) -> Any:
    properties = node.custom_properties
    parts = [properties[RECORD].string_value]
    while (key := f"{RECORD}.{len(parts)}") in properties:
        parts.append(properties[key].string_value)
    return codec.loads(decode_text("".join(parts)))


def _chunks(text: str) -> Iterable[str]:
    """Cuts text into pieces of at most `_CHUNK_BYTES` bytes of UTF-8, never inside a character."""
    data = text.encode("utf-8")
    start = 0
    while start < len(data):
        end = min(start + _CHUNK_BYTES, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        yield data[start:end].decode("utf-8")
        start = end


def _batches(ids: list[str]) -> Iterable[list[str]]:
    for start in range(0, len(ids), _READ_BATCH):
        yield ids[start : start + _READ_BATCH]
