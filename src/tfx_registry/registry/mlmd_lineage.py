"""Walks ML Metadata upstream: from a version over artifacts and executions to where data came in.

It uses look-ups by id, by URI and of events only, in batches, one step of the graph at a time. The
lineage queries of ML Metadata itself are not in every release.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_registry.records import LineageSource, Version
from tfx_registry.registry import mlmd_keys
from tfx_registry.registry.lineage_graph import (
    GraphBuilder,
    LineageGraph,
    Node,
    NodeKind,
    is_location_of,
    version_id,
    version_node,
)
from tfx_registry.registry.mlmd_text import decode_text, plain_text, read_version
from tfx_registry.registry.session import NothingFoundError

__all__ = [
    "INPUTS",
    "MAX_NODES",
    "OUTPUTS",
    "SERVING_FOLDER",
    "Read",
    "Reader",
    "role_of",
    "upstream",
]

#: Calls a function with the ML Metadata store, and turns errors into those of the registry.
Read = Callable[[Callable[[Any], Any]], Any]

#: The walk ends after so many nodes; a run of a pipeline has some twenty.
MAX_NODES = 500

_BATCH = 500
INPUTS = (pb.Event.INPUT, pb.Event.DECLARED_INPUT)
OUTPUTS = (pb.Event.OUTPUT, pb.Event.DECLARED_OUTPUT)

#: Properties of executions that tell where data and code came from; others may be long.
_TELLING = ("input_base", "input_fingerprint", "span", "run_fn", "module_file", "module_path")

#: Folder of the SavedModel in a Model artifact of TFX.
SERVING_FOLDER = "/Format-Serving"


def upstream(read: Read, version: Version) -> LineageGraph:
    """Returns what a version came from, as far as this ML Metadata knows.

    Args:
        read: Calls a function with the `MetadataStore`, such as `Session.read`.
        version: The version.

    Returns:
        The graph; its root is the version.
    """
    builder = GraphBuilder(version_id(version.model, version.number))
    builder.add(version_node(version))
    store = Reader(read)
    walk = _Walk(store, builder, {mlmd_keys.source_id(s): s for s in version.sources})
    for artifact_id, role in walk.sources_of(version):
        walk.artifacts.append(artifact_id)
        builder.connect(_artifact_id(artifact_id), version_id(version.model, version.number), role)
    while walk.artifacts:
        walk.step()
    _add_registered_models(store, builder, version)
    return builder.build()


class Reader:
    """Asks ML Metadata; where it answers "not found", the answer here is nothing."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def ask(self, method: str, argument: Any) -> list[Any]:
        """Calls one method of the store."""
        try:
            return list(self._read(operator.methodcaller(method, argument)))
        except NothingFoundError:
            return []

    def ask_many(self, method: str, ids: Sequence[int]) -> Iterable[Any]:
        """Calls one method of the store with many ids, some at a time."""
        for start in range(0, len(ids), _BATCH):
            yield from self.ask(method, ids[start : start + _BATCH])


class _Walk:
    """One walk; `artifacts` are the ids that are still to be looked at."""

    def __init__(
        self, store: Reader, builder: GraphBuilder, recorded: Mapping[str, LineageSource]
    ) -> None:
        self.artifacts: list[int] = []
        self._recorded = recorded
        self._store = store
        self._builder = builder

    def sources_of(self, version: Version) -> list[tuple[int, str]]:
        """Returns the inputs of the event that registered a version, each with its role."""
        external_id = mlmd_keys.version_id(version.model, version.number)
        nodes = self._store.ask("get_artifacts_by_external_ids", [external_id])
        makers = self._producers([node.id for node in nodes])
        events = self._events_of([execution for _, execution, _ in makers])
        return [(e.artifact_id, role_of(e)) for e in events if e.type in INPUTS]

    def step(self) -> None:
        """Goes from artifacts to the executions that made them, and to the inputs of those."""
        wanted = [i for i in dict.fromkeys(self.artifacts) if _artifact_id(i) not in self._builder]
        self.artifacts = []
        room = MAX_NODES - len(self._builder)
        self._builder.truncated = self._builder.truncated or len(wanted) > room
        wanted = wanted[: max(room, 0)]
        for artifact in self._store.ask_many("get_artifacts_by_id", wanted):
            source = self._recorded.get(artifact.external_id)
            self._builder.add(_artifact_node(artifact, source))
        made = self._producers(wanted)
        for artifact_id, execution_id, role in made:
            self._builder.connect(_execution_id(execution_id), _artifact_id(artifact_id), role)
        new = [
            i for i in dict.fromkeys(e for _, e, _ in made) if _execution_id(i) not in self._builder
        ]
        for execution in self._store.ask_many("get_executions_by_id", new):
            contexts = self._store.ask("get_contexts_by_execution", execution.id)
            self._builder.add(_execution_node(execution, contexts))
        for event in self._events_of(new):
            if event.type in INPUTS:
                given, taker = _artifact_id(event.artifact_id), _execution_id(event.execution_id)
                self._builder.connect(given, taker, role_of(event))
                self.artifacts.append(event.artifact_id)

    def _producers(self, artifact_ids: Sequence[int]) -> list[tuple[int, int, str]]:
        """Returns artifact, execution and role of each artifact's first producer.

        An execution that took its result from the cache claims the artifact as well, but later.
        """
        first: dict[int, Any] = {}
        for event in self._store.ask_many("get_events_by_artifact_ids", artifact_ids):
            known = first.get(event.artifact_id)
            if event.type in OUTPUTS and (known is None or event.execution_id < known.execution_id):
                first[event.artifact_id] = event
        return [(e.artifact_id, e.execution_id, role_of(e)) for e in first.values()]

    def _events_of(self, execution_ids: Sequence[int]) -> list[Any]:
        return list(self._store.ask_many("get_events_by_execution_ids", execution_ids))


def _add_registered_models(store: Reader, builder: GraphBuilder, version: Version) -> None:
    """Marks the artifacts that are themselves registered versions: the model was made from them."""
    for node in builder.nodes:
        if not _may_be_a_model(node) or is_location_of(version, node.uri):
            continue
        for place in (node.uri, node.uri.rstrip("/") + SERVING_FOLDER):
            uri = plain_text(place)
            for found in store.ask("get_artifacts_by_uri", uri):
                if found.type != mlmd_keys.VERSION_TYPE or found.state == pb.Artifact.DELETED:
                    continue
                base = read_version(found)
                if is_location_of(base, node.uri):
                    builder.add(version_node(base))
                    builder.connect(version_id(base.model, base.number), node.id, "is")


def _may_be_a_model(node: Node) -> bool:
    # Artifacts that TFX made are never models unless their type says so; each costs two look-ups.
    return node.kind is NodeKind.ARTIFACT and (
        node.type_name.endswith("Model") or "tfx_version" not in node.properties
    )


def _artifact_node(artifact: Any, source: LineageSource | None) -> Node:
    type_name, uri = artifact.type, artifact.uri
    properties = _texts(artifact.properties) | _texts(artifact.custom_properties)
    if type_name == mlmd_keys.SOURCE_TYPE:
        type_name = decode_text(properties.pop("type_name", ""))
        uri = decode_text(uri)
    if source is not None:  # beside the record, long or odd text is not stored as it is
        type_name, uri = source.type_name, source.uri
    return Node(
        _artifact_id(artifact.id),
        NodeKind.ARTIFACT,
        f"{type_name} {uri or artifact.name}",
        type_name,
        uri,
        properties,
    )


def _execution_node(execution: Any, contexts: Iterable[Any]) -> Node:
    known = _texts(execution.properties) | _texts(execution.custom_properties)
    properties = {key: known[key] for key in _TELLING if known.get(key)}
    named = {context.type: context.name for context in contexts}
    for key, kind in (("pipeline", "pipeline"), ("run", "pipeline_run"), ("node", "node")):
        if named.get(kind):
            properties[key] = named[kind]
    run = f", run {properties['run']}" if "run" in properties else ""
    return Node(
        _execution_id(execution.id),
        NodeKind.EXECUTION,
        f"{execution.type.rpartition('.')[2]}{run}",
        execution.type,
        properties=properties,
    )


def _texts(values: Any) -> dict[str, str]:
    found = {}
    for key, value in sorted(values.items()):
        kind = value.WhichOneof("value")
        if kind in ("int_value", "double_value", "string_value", "bool_value"):
            found[key] = str(getattr(value, kind))
    return found


def role_of(event: Any) -> str:
    """Returns in which role an edge connects its ends, "" if it says nothing."""
    keys = [step.key for step in event.path.steps if step.WhichOneof("value") == "key"]
    return decode_text(keys[0]) if keys else ""


def _artifact_id(number: int) -> str:
    return f"artifact:{number}"


def _execution_id(number: int) -> str:
    return f"execution:{number}"
