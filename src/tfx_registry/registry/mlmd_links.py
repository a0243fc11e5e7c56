"""What connects the records of a registry inside ML Metadata, as `fsck` sees it.

Records hold all that a registry says. Beside them ML Metadata keeps edges between events, versions
and sources, on which walks of lineage go. Here these are compared with the log, and put back where
they are missing. Nodes that nothing leads to are named, too: ML Metadata deletes nothing, so they
are left. Which nodes ML Metadata counts to a model (attributions and associations) is not looked
at: the registry does not read it.
"""

from __future__ import annotations

import operator
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_registry import codec
from tfx_registry.names import model_key
from tfx_registry.records import LineageSource
from tfx_registry.registry import mlmd_keys
from tfx_registry.registry.events import Event, Registered
from tfx_registry.registry.mlmd_scan import nodes_of_type
from tfx_registry.registry.mlmd_store import MlmdStore
from tfx_registry.registry.mlmd_text import read_text
from tfx_registry.registry.session import NothingFoundError
from tfx_registry.registry.verify import Damage

__all__ = ["check_links", "find_strays"]

_BATCH = 500


def check_links(store: MlmdStore, model: str, last: int, *, mend: bool) -> list[Damage]:
    """Compares the edges of a model's log with what they must be.

    Args:
        store: The store.
        model: Name of the model, as its log spells it.
        last: Number of the last event to look at.
        mend: Whether what is missing is written.

    Returns:
        What is, or was, wrong.
    """
    check = _Links(store, model, mend)
    for first in range(1, last + 1, _BATCH):
        check.events(range(first, min(first + _BATCH, last + 1)))
    check.write()
    return check.findings


class _Links:
    """One check; collects what has to be written."""

    def __init__(self, store: MlmdStore, model: str, mend: bool) -> None:
        self.findings: list[Damage] = []
        self._store = store
        self._model = model
        self._mend = mend
        self._events: list[Any] = []
        self._sources: dict[tuple[str, str], frozenset[int]] = {}

    def events(self, numbers: Iterable[int]) -> None:
        """Compares the edges of the registrations among some events."""
        ids = [mlmd_keys.event_id(self._model, seq) for seq in numbers]
        registrations = {}
        for node in self._store._find("executions", ids):
            if node.custom_properties["kind"].string_value == Registered.kind:
                registrations[node.id] = Event.from_json(codec.loads(read_text(node)))
        edges: dict[int, list[Any]] = defaultdict(list)
        for edge in self._ask("get_events_by_execution_ids", list(registrations)):
            edges[edge.execution_id].append(edge)
        numbers = [event.number or 0 for event in registrations.values()]
        keys = {mlmd_keys.version_id(self._model, number): number for number in numbers}
        found = {keys[n.external_id]: n.id for n in self._store._find("artifacts", list(keys))}
        for node_id, event in registrations.items():
            assert isinstance(event.payload, Registered)
            version_id = found.get(event.payload.number)
            if version_id is not None:
                self._registration(event.seq, event.payload, node_id, version_id, edges[node_id])

    def _registration(
        self, seq: int, payload: Registered, event_id: int, version_id: int, edges: Sequence[Any]
    ) -> None:
        if not any(e.artifact_id == version_id and e.type == pb.Event.OUTPUT for e in edges):
            self._find(
                f"event {seq}",
                f"no edge leads to version {payload.number}, which it registered; so `lineage` "
                "does not find what that came from",
            )
            edge = pb.Event(type=pb.Event.OUTPUT, path=mlmd_keys.edge_path("version"))
            self._add(edge, version_id, event_id)
        given = {edge.artifact_id for edge in edges if edge.type == pb.Event.INPUT}
        # One edge for each artifact, in the first of its roles.
        sources = {(s.type_name, s.uri): s for s in reversed(payload.sources)}
        for source in sources.values():
            if given & self._nodes_of(source):
                continue
            self._find(f"event {seq}", f"no edge leads from its source {source.key!r}")
            if self._mend:
                self._add_source(source, event_id)

    def write(self) -> None:
        """Writes what is missing."""
        if not self._mend:
            return
        if self._events:
            self._store._session.write(lambda s: s.put_events(self._events))

    def _add(self, edge: Any, artifact_id: int, execution_id: int) -> None:
        edge.artifact_id, edge.execution_id = artifact_id, execution_id
        self._events.append(edge)

    def _add_source(self, source: LineageSource, event_id: int) -> None:
        self._store._ensure_types()
        artifact, edge = self._store._source_node(source)
        artifact_id = edge.artifact_id
        if artifact is not None:
            put = operator.methodcaller("put_artifacts", [artifact])
            (artifact_id,) = self._store._session.write(put)
        self._add(edge, artifact_id, event_id)

    def _nodes_of(self, source: LineageSource) -> frozenset[int]:
        """Returns the ids of all nodes that may stand for a source.

        ML Metadata is never asked for a node by its id here: it ends the process where the row is
        gone and properties are left.
        """
        key = (source.type_name, source.uri)
        if key not in self._sources:
            found = {node.id for node in self._store._pipeline_artifacts(source)}
            found |= {n.id for n in self._store._find("artifacts", [mlmd_keys.source_id(source)])}
            self._sources[key] = frozenset(found)
        return self._sources[key]

    def _ask(self, method: str, ids: list[int]) -> list[Any]:
        if not ids:
            return []
        try:
            return list(self._store._session.read(operator.methodcaller(method, ids)))
        except NothingFoundError:
            return []

    def _find(self, thing: str, problem: str) -> None:
        self.findings.append(Damage("edge.missing", self._model, thing, problem, True))


def find_strays(store: MlmdStore) -> list[Damage]:
    """Names nodes of the registry's types that nothing leads to.

    They come from rows that were copied, or whose key was edited. What has a key of the registry
    is left to the checks of logs, versions and heads, and so is what a repair of these would take
    over: it has the name of a record that is missing.

    Args:
        store: The store.

    Returns:
        What was found; none of it can be repaired, because ML Metadata deletes nothing.
    """
    wrong = _WrongTypes()
    return [
        *_stray_heads(store, wrong),
        *_stray_nodes(store, "artifacts", mlmd_keys.VERSION_TYPE, "version", wrong),
        *_stray_nodes(store, "executions", mlmd_keys.EVENT_TYPE, "event", wrong),
        *wrong.findings(store),
    ]


#: Of which type a node is by its key.
_TYPES = {
    "contexts": {mlmd_keys.MODEL_KEY: mlmd_keys.MODEL_TYPE},
    "executions": {mlmd_keys.EVENT_KEY: mlmd_keys.EVENT_TYPE},
    "artifacts": {
        mlmd_keys.VERSION_KEY: mlmd_keys.VERSION_TYPE,
        mlmd_keys.CONTENT_KEY: mlmd_keys.CONTENT_TYPE,
        mlmd_keys.SOURCE_KEY: mlmd_keys.SOURCE_TYPE,
    },
}


class _WrongTypes:
    """Nodes whose type is not that of their key: the type was deleted, renamed or exchanged."""

    def __init__(self) -> None:
        self._count: Counter[tuple[str, str]] = Counter()
        self._first: dict[tuple[str, str], str] = {}
        self._seen: set[tuple[str, str]] = set()

    def walk(self, store: MlmdStore, kind: str, type_name: str) -> Iterator[Any]:
        """Walks over the nodes of a type, and notes all of the kind that have another one."""
        for node in nodes_of_type(store._session.read, kind, type_name, tuple(_TYPES[kind])):
            for prefix, expected in _TYPES[kind].items():
                if node.external_id.startswith(prefix) and node.type != expected:
                    key = expected, node.type
                    self._count[key] += 1
                    self._first.setdefault(key, f"{kind[:-1]} {node.id}")
            self._seen.add((kind, node.type))
            if node.type == type_name:
                yield node

    def findings(self, store: MlmdStore) -> Iterator[Damage]:
        """Names each type of which nodes were lost, once."""
        for (expected, found), count in sorted(self._count.items()):
            yield Damage(
                "type.lost",
                "",
                f"type {expected}",
                f"nodes with keys of it that have {f'the type {found!r}' if found else 'no type'} "
                f"in ML Metadata: {count}, the first is {self._first[expected, found]}; what looks "
                "for the type passes them over; restore the row of the type, or a backup",
            )
        for kind, name in sorted(self._seen):
            ask = operator.methodcaller(f"get_{kind[:-1]}_type", name)
            try:
                if name in _TYPES[kind].values():
                    store._session.read(ask)
            except NothingFoundError:
                yield Damage(
                    "type.lost",
                    "",
                    f"type {name}",
                    f"it is not one of {kind} any more in ML Metadata, so what looks for the type "
                    "finds nothing; restore the row of the type, or a backup",
                )


def _stray_heads(store: MlmdStore, wrong: _WrongTypes) -> Iterator[Damage]:
    found = list(wrong.walk(store, "contexts", mlmd_keys.MODEL_TYPE))
    keys = {node.external_id for node in found}
    for node in found:
        key = mlmd_keys.model_id(node.name)
        if node.external_id != key and key in keys:
            yield Damage(
                "head.stray",
                node.name,
                f"context {node.id}",
                f"a second head, without the key of one (its external id is {node.external_id!r}); "
                "nothing reads it",
            )


def _stray_nodes(
    store: MlmdStore, kind: str, type_name: str, word: str, wrong: _WrongTypes
) -> Iterator[Damage]:
    keys, strange = set(), []
    prefix = next(key for key, value in _TYPES[kind].items() if value == type_name)
    for node in wrong.walk(store, kind, type_name):
        keys.add(node.external_id)
        if not node.external_id.startswith(prefix):
            strange.append(node)
    for node in strange:
        if kind == "artifacts" and (
            node.state == pb.Artifact.DELETED or prefix + model_key(node.name) not in keys
        ):
            continue
        model, label = _named(node)
        yield Damage(
            f"{word}.stray",
            model,
            f"{kind[:-1]} {node.id}",
            f"it looks like {label}, and has not the key of one (its external id is "
            f"{node.external_id!r}); nothing reads it",
        )


def _named(node: Any) -> tuple[str, str]:
    """Says of which model a node seems to be, and what it seems to be."""
    try:
        record = codec.loads(read_text(node))
        model = str(record["model"])
        what = f"event {record['seq']}" if "token" in record else f"version {record['number']}"
    except (ValueError, RecursionError, KeyError, TypeError):
        return "", node.name
    return model, f"{what} of {model_key(model)!r}"
