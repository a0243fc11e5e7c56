"""The store in ML Metadata: docs/design/0001-event-log-in-mlmd.md explains the model.

What MLMD offers and this relies on: `put_execution` writes an execution, artifacts, contexts and
the edges between them in one transaction, and the external id of a node is unique. So the external
id `tfx_registry:e:<model>#<seq>` of the event decides who wins, and a retry is recognised by the
unique name `op:<token>`.
"""

from __future__ import annotations

import functools
import operator
import threading
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_registry import codec
from tfx_registry.names import model_key
from tfx_registry.records import Head, LineageSource, Version
from tfx_registry.registry import mlmd_keys
from tfx_registry.registry.events import Event, Registered
from tfx_registry.registry.lineage_graph import LineageGraph
from tfx_registry.registry.mlmd_text import (
    RECORD,
    decode_text,
    encode_text,
    is_safe_in_a_query,
    plain_text,
    read_record,
    read_version,
    write_record,
    write_text,
)
from tfx_registry.registry.session import NothingFoundError, Session
from tfx_registry.registry.store import (
    AppendConflict,
    StateRepair,
    StoredKeys,
    StoredRecord,
)
from tfx_registry.registry.uri import RegistryUri
from tfx_registry.registry.version_text import version_text

if TYPE_CHECKING:
    from tfx_registry.registry.mlmd_derived import Derived
    from tfx_registry.registry.verify import Damage

__all__ = ["RECORD", "MlmdStore", "decode_text", "encode_text", "plain_text"]

#: No event changes more versions than so many.
_CHANGED_AT_ONCE = 16
#: So many look-ups of digests may come to nothing before they are forgotten.
_UNUSED_CONTENTS = 64
_DELETED = pb.Artifact.DELETED
_DECODE_HEAD = functools.partial(codec.decode, Head)


class MlmdStore:
    """Implements `store.Store` on ML Metadata; may be shared by threads, not across a fork."""

    def __init__(self, uri: RegistryUri, *, create: bool) -> None:
        """Opens the store.

        Args:
            uri: Any but a "memory" URI.
            create: Whether a missing database is made.

        Raises:
            StoreUnavailableError: The database is missing, cannot be reached, or is not one of
                ML Metadata.
            InvalidInputError: The password cannot be read.
        """
        self._ids: dict[str, int] = {}
        self._contents: dict[str, int | None] = {}
        self._contested: set[str] = set()
        self._types: dict[str, int] = {}
        self._lock = threading.Lock()
        self._session = Session(uri, create=create)

    # Reads

    def read_head(self, model: str) -> Head | None:
        """See `store.Store`."""
        return self.read_heads([model])[0]

    def read_heads(self, models: Sequence[str]) -> list[Head | None]:
        """See `store.Store`."""
        ids = [mlmd_keys.model_id(model) for model in models]
        found = {node.external_id: node for node in self._contexts(ids)}
        return [_head(found[key]) if key in found else None for key in ids]

    def read_versions(self, model: str, numbers: Collection[int]) -> dict[int, Version]:
        """See `store.Store`."""
        versions = {}
        few = len(numbers) <= _CHANGED_AT_ONCE
        prefix = mlmd_keys.version_id(model, "")
        for ids in mlmd_keys.batches([f"{prefix}{n}" for n in numbers]):
            if not few and self._session.uri.scheme != "grpc":
                versions.update(self._read_later(ids))
                continue
            nodes = self._find("artifacts", ids)
            if few:
                self._ids.update({node.external_id: node.id for node in nodes})
            for node in nodes:
                if node.state == _DELETED:
                    continue  # taken out by a repair
                version = read_version(node)
                versions[version.number] = version
        return versions

    def _read_later(self, ids: list[str]) -> dict[int, Version]:
        """Finds versions, without reading them before they are looked at."""
        from tfx_registry.registry import mlmd_slim

        try:
            return self._session.read(lambda s: mlmd_slim.find_versions(s, ids))
        except NothingFoundError:
            return {}

    def read_events(self, model: str, first: int, last: int) -> list[Event]:
        """See `store.Store`."""
        events = []
        for ids in mlmd_keys.batches(
            [mlmd_keys.event_id(model, seq) for seq in range(first, last + 1)]
        ):
            found = self._find("executions", ids)
            events += [read_record(node, Event.from_json) for node in found]
        return sorted(events, key=lambda event: event.seq)

    def find_operation(self, model: str, token: str) -> Event | None:
        """See `store.Store`."""
        name = mlmd_keys.operation_name(model, token)
        node = self._session.read(
            lambda s: s.get_execution_by_type_and_name(mlmd_keys.EVENT_TYPE, name)
        )
        return read_record(node, Event.from_json) if node is not None else None

    def find_digest(self, model: str, digest: str) -> int | None:
        """See `store.Store`."""
        external_id = mlmd_keys.content_id(model, digest)
        found = self._find("artifacts", [external_id])
        # The registration that asks will write there next.
        if len(self._contents) > _UNUSED_CONTENTS:
            self._contents.clear()
        self._contents[external_id] = found[0].id if found else None
        if not found or found[0].state == _DELETED:
            return None  # there is none, or a repair took it out
        return int(found[0].custom_properties["number"].string_value)

    def list_heads(self) -> list[Head]:
        """See `store.Store`."""
        nodes = self._session.read(lambda s: s.get_contexts_by_type(mlmd_keys.MODEL_TYPE))
        # A copied row has no key of a model; `fsck` names it.
        heads = [
            _head(node) for node in nodes if node.external_id.startswith(mlmd_keys.model_id(""))
        ]
        return sorted(heads, key=lambda head: model_key(head.model))

    # Append

    def append(self, event: Event, head: Head, versions: Sequence[Version]) -> None:
        """See `store.Store`."""
        self._ensure_types()
        execution = pb.Execution(
            type_id=self._types[mlmd_keys.EVENT_TYPE],
            name=mlmd_keys.operation_name(event.model, event.token),
            external_id=mlmd_keys.event_id(event.model, event.seq),
            last_known_state=pb.Execution.COMPLETE,
        )
        write_text(execution, event.text)
        for key in ("kind", "actor", "time"):
            execution.custom_properties[key].string_value = plain_text(getattr(event, key))
        context = pb.Context(
            type_id=self._types[mlmd_keys.MODEL_TYPE],
            name=head.model,
            external_id=mlmd_keys.model_id(head.model),
        )
        write_record(context, head)
        if event.seq > 1:
            context.id = self._context_id(head.model)
        creates = event.number if isinstance(event.payload, Registered) else None
        nodes = [
            self._version_node(version, is_new=version.number == creates) for version in versions
        ]
        if isinstance(event.payload, Registered):
            nodes.append(self._content_node(event.model, event.payload))
            # One edge for each artifact: its further roles are in the record of the version.
            sources = {(s.type_name, s.uri): s for s in reversed(event.payload.sources)}
            nodes += [self._source_node(source) for source in reversed(sources.values())]
        try:
            self._session.write(lambda s: s.put_execution(execution, nodes, [context]))
        except AppendConflict:
            if creates is not None:
                self._contested.add(mlmd_keys.version_id(event.model, creates))
            raise

    # Checks and repairs; the work is in mlmd_raw, which only they load.

    def scan(self) -> dict[str, StoredKeys]:
        """See `store.Store`."""
        from tfx_registry.registry import mlmd_raw

        return mlmd_raw.scan(self)

    def read_raw_head(self, model: str) -> StoredRecord | None:
        """See `store.Store`."""
        from tfx_registry.registry import mlmd_raw

        return mlmd_raw.read_head(self, model)

    def read_raw_versions(self, model: str, numbers: Collection[int]) -> dict[int, StoredRecord]:
        """See `store.Store`."""
        from tfx_registry.registry import mlmd_raw

        return mlmd_raw.read_versions(self, model, numbers)

    def read_raw_events(self, model: str, first: int, last: int) -> dict[int, StoredRecord]:
        """See `store.Store`."""
        from tfx_registry.registry import mlmd_raw

        return mlmd_raw.read_events(self, model, first, last)

    def read_raw_contents(self, model: str, digests: Collection[str]) -> dict[str, str]:
        """See `store.Store`."""
        from tfx_registry.registry import mlmd_raw

        return mlmd_raw.read_contents(self, model, digests)

    def put_state(self, model: str, repair: StateRepair) -> None:
        """See `store.Store`."""
        from tfx_registry.registry import mlmd_raw

        mlmd_raw.put_state(self, model, repair)

    # Lineage; the walk is in mlmd_lineage, which only it loads.

    def check_links(self, model: str, last: int, *, mend: bool) -> list[Damage]:
        """See `fsck.LinkedStore`."""
        from tfx_registry.registry import mlmd_links

        return mlmd_links.check_links(self, model, last, mend=mend)

    def find_strays(self) -> list[Damage]:
        """See `fsck.LinkedStore`."""
        from tfx_registry.registry import mlmd_links

        return mlmd_links.find_strays(self)

    def check_file(self) -> list[Damage]:
        """See `fsck.FileStore`."""
        from tfx_registry.registry import sqlite_check

        file = self._session.file
        return list(sqlite_check.check_file(file)) if file is not None else []

    def upstream(self, version: Version) -> LineageGraph:
        """See `store.Store`."""
        from tfx_registry.registry import mlmd_lineage

        return mlmd_lineage.upstream(self._session.read, version)

    def derived(self, version: Version) -> list[Derived]:
        """See `store.Store`."""
        from tfx_registry.registry import mlmd_derived

        return mlmd_derived.derived(self._session.read, version)

    def close(self) -> None:
        """Lets go of the connection."""
        self._session.close()

    # Nodes

    def _version_node(self, version: Version, *, is_new: bool) -> tuple[pb.Artifact, pb.Event]:
        artifact = pb.Artifact(
            type_id=self._types[mlmd_keys.VERSION_TYPE],
            name=f"{version.model}@{version.number}",
            external_id=mlmd_keys.version_id(version.model, version.number),
            uri=plain_text(version.uri),
            state=pb.Artifact.LIVE,
        )
        if not is_new:
            artifact.id = self._version_id(version)
        elif artifact.external_id in self._contested:
            self._contested.discard(artifact.external_id)
            found = self._find("artifacts", [artifact.external_id])
            if found and found[0].state == _DELETED:
                artifact.id = found[0].id  # a repair took it out, but ML Metadata deletes nothing
        write_text(artifact, version_text(version))
        artifact.custom_properties["digest"].string_value = version.digest
        artifact.custom_properties["state"].string_value = version.state.value
        kind = pb.Event.OUTPUT if is_new else pb.Event.INPUT
        return artifact, pb.Event(type=kind, path=mlmd_keys.edge_path("version"))

    def _content_node(self, model: str, payload: Registered) -> tuple[pb.Artifact, pb.Event]:
        """The index from a digest to the newest version that has it."""
        artifact = pb.Artifact(
            type_id=self._types[mlmd_keys.CONTENT_TYPE],
            external_id=mlmd_keys.content_id(model, payload.facts.digest),
            state=pb.Artifact.LIVE,
        )
        # What `find_digest` saw holds as long as no other event of the model was faster; then this
        # one fails, and is tried again from there.
        if artifact.external_id not in self._contents:
            self.find_digest(model, payload.facts.digest)
        found = self._contents.pop(artifact.external_id, None)
        if found is not None:
            artifact.id = found
        artifact.custom_properties["number"].string_value = str(payload.number)
        return artifact, pb.Event(type=pb.Event.OUTPUT, path=mlmd_keys.edge_path("content"))

    def _source_node(self, source: LineageSource) -> tuple[pb.Artifact | None, pb.Event]:
        edge = pb.Event(type=pb.Event.INPUT, path=mlmd_keys.edge_path(source.key))
        known = self._pipeline_artifact(source)
        if known is not None:
            # Only the edge: passing the artifact itself would rewrite what the pipeline wrote.
            edge.artifact_id = known
            return None, edge
        artifact = pb.Artifact(
            type_id=self._types[mlmd_keys.SOURCE_TYPE],
            external_id=mlmd_keys.source_id(source),
            uri=plain_text(source.uri),
            state=pb.Artifact.LIVE,
        )
        artifact.custom_properties["type_name"].string_value = plain_text(source.type_name)
        if found := self._find("artifacts", [artifact.external_id]):
            edge.artifact_id = found[0].id
            return None, edge
        return artifact, edge

    def _pipeline_artifact(self, source: LineageSource) -> int | None:
        """Finds the newest artifact that a pipeline wrote into this same database."""
        return max((node.id for node in self._pipeline_artifacts(source)), default=None)

    def _pipeline_artifacts(self, source: LineageSource) -> list[Any]:
        if not is_safe_in_a_query(source.uri):
            return []
        nodes = self._session.read(lambda s: s.get_artifacts_by_uri(source.uri))
        return [node for node in nodes if node.type == source.type_name]

    def _context_id(self, model: str) -> int:
        external_id = mlmd_keys.model_id(model)
        if external_id not in self._ids:
            self._contexts([external_id])
        return self._ids[external_id]

    def _contexts(self, external_ids: list[str]) -> list[Any]:
        nodes = self._find("contexts", external_ids)
        self._ids.update({node.external_id: node.id for node in nodes})
        return nodes

    def _version_id(self, version: Version) -> int:
        external_id = mlmd_keys.version_id(version.model, version.number)
        if external_id not in self._ids:
            self.read_versions(version.model, [version.number])
        return self._ids[external_id]

    def _ensure_types(self) -> None:
        """Makes the node types once; their external ids are unique, unlike their names."""
        with self._lock:
            if self._types:
                return
            types = {}
            for name, kind, make in mlmd_keys.NODE_TYPES:
                key = mlmd_keys.type_id(name)
                found = self._find(f"{kind}_types", [key])
                if found:
                    types[name] = found[0].id
                    continue
                put = operator.methodcaller(f"put_{kind}_type", make(name=name, external_id=key))
                types[name] = self._session.write(put)
            self._types = types

    def _find(self, kind: str, external_ids: list[str]) -> list[Any]:
        """Returns the nodes of a kind that exist; MLMD answers "not found" where none does."""
        look_up = operator.methodcaller(f"get_{kind}_by_external_ids", external_ids)
        try:
            return list(self._session.read(look_up))
        except NothingFoundError:
            return []


def _head(node: Any) -> Head:
    return read_record(node, _DECODE_HEAD)
