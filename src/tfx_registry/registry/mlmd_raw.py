"""The store in ML Metadata, as `fsck` sees it: records that are not trusted, and repairs.

ML Metadata deletes nothing and renames no artifact. So a version that the log does not know is
emptied and marked as deleted; reading passes over it, and the registration of that number takes
the node over.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_registry import codec
from tfx_registry.records import Version
from tfx_registry.registry import mlmd_keys
from tfx_registry.registry.mlmd_scan import nodes_of_type
from tfx_registry.registry.mlmd_store import MlmdStore
from tfx_registry.registry.mlmd_text import (
    encode_text,
    plain_text,
    read_text,
    write_record,
    write_text,
)
from tfx_registry.registry.store import StateRepair, StoredKeys, StoredRecord
from tfx_registry.registry.version_text import read_short, version_text

__all__ = ["put_state", "read_contents", "read_events", "read_head", "read_versions", "scan"]

_WRITE_BATCH = 200


def scan(store: MlmdStore) -> dict[str, StoredKeys]:
    """See `store.Store`."""
    heads, versions, contents = (
        _external_keys(store, kind, type_name, prefix)
        for kind, type_name, prefix in (
            ("contexts", mlmd_keys.MODEL_TYPE, mlmd_keys.MODEL_KEY),
            ("artifacts", mlmd_keys.VERSION_TYPE, mlmd_keys.VERSION_KEY),
            ("artifacts", mlmd_keys.CONTENT_TYPE, mlmd_keys.CONTENT_KEY),
        )
    )
    last: dict[str, int] = {}
    for key in _external_keys(store, "executions", mlmd_keys.EVENT_TYPE, mlmd_keys.EVENT_KEY):
        model, _, seq = key.rpartition("#")
        if seq.isdecimal():
            last[model] = max(last.get(model, 0), int(seq))
    numbers: dict[str, set[int]] = {}
    digests: dict[str, set[str]] = {}
    for model, _, number in (key.rpartition("@") for key in versions):
        if number.isdecimal():
            numbers.setdefault(model, set()).add(int(number))
    for model, _, digest in (key.rpartition("#") for key in contents):
        digests.setdefault(model, set()).add(digest)
    return {
        model: StoredKeys(
            model in heads,
            frozenset(numbers.get(model, ())),
            frozenset(digests.get(model, ())),
            last.get(model, 0),
        )
        for model in sorted({*heads, *numbers, *digests, *last})
    }


def read_head(store: MlmdStore, model: str) -> StoredRecord | None:
    """See `store.Store`."""
    found = store._find("contexts", [mlmd_keys.model_id(model)])
    return StoredRecord(read_text(found[0])) if found else None


def read_versions(
    store: MlmdStore, model: str, numbers: Collection[int]
) -> dict[int, StoredRecord]:
    """See `store.Store`."""
    records = {}
    by_id = {mlmd_keys.version_id(model, number): number for number in numbers}
    for node in _find_all(store, "artifacts", list(by_id)):
        text = read_text(node)
        records[by_id[node.external_id]] = StoredRecord(text, _wrong_version(node, text))
    return records


def read_events(store: MlmdStore, model: str, first: int, last: int) -> dict[int, StoredRecord]:
    """See `store.Store`."""
    records = {}
    by_id = {mlmd_keys.event_id(model, seq): seq for seq in range(first, last + 1)}
    for node in _find_all(store, "executions", list(by_id)):
        text = read_text(node)
        records[by_id[node.external_id]] = StoredRecord(text, _wrong_event(node, text, model))
    return dict(sorted(records.items()))


def read_contents(store: MlmdStore, model: str, digests: Collection[str]) -> dict[str, str]:
    """See `store.Store`."""
    by_id = {mlmd_keys.content_id(model, digest): digest for digest in digests}
    found = _find_all(store, "artifacts", list(by_id))
    return {by_id[n.external_id]: n.custom_properties["number"].string_value for n in found}


def put_state(store: MlmdStore, model: str, repair: StateRepair) -> None:
    """See `store.Store`."""
    store._ensure_types()
    artifacts = [_emptied(mlmd_keys.VERSION_TYPE, mlmd_keys.version_id(model, n), f"{model}@{n}")
                 for n in repair.extra_versions]  # fmt: skip
    artifacts += [
        _emptied(mlmd_keys.CONTENT_TYPE, mlmd_keys.content_id(model, digest))
        for digest in repair.extra_contents
    ]
    artifacts += [_version(version) for version in repair.versions]
    artifacts += [
        _content(mlmd_keys.content_id(model, digest), number)
        for digest, number in repair.contents.items()
    ]
    for start in range(0, len(artifacts), _WRITE_BATCH):
        batch = artifacts[start : start + _WRITE_BATCH]
        _take_ids(store, batch)
        store._session.write(operator.methodcaller("put_artifacts", batch))
    if repair.head is not None:
        name = repair.head.model
        context = pb.Context(
            type_id=store._types[mlmd_keys.MODEL_TYPE],
            name=name,
            external_id=mlmd_keys.model_id(name),
        )
        write_record(context, repair.head)
        if found := store._find("contexts", [context.external_id]):
            context.id = found[0].id
        elif node := store._session.read(
            lambda s: s.get_context_by_type_and_name(mlmd_keys.MODEL_TYPE, name)
        ):
            context.id = node.id
        store._session.write(lambda s: s.put_contexts([context]))
    store._ids.clear()


def _external_keys(store: MlmdStore, kind: str, type_name: str, prefix: str) -> set[str]:
    return {
        node.external_id.removeprefix(prefix)
        for node in nodes_of_type(store._session.read, kind, type_name, (prefix,))
        if node.external_id.startswith(prefix)
        and not (kind == "artifacts" and node.state == pb.Artifact.DELETED)
    }


def _find_all(store: MlmdStore, kind: str, ids: list[str]) -> list[Any]:
    found = [node for batch in mlmd_keys.batches(ids) for node in store._find(kind, batch)]
    if kind == "artifacts":
        return [node for node in found if node.state != pb.Artifact.DELETED]
    return found


def _wrong_version(node: Any, text: str) -> tuple[str, ...]:
    """Compares what stands beside the record, for people who look into ML Metadata."""
    try:
        version = codec.decode(Version, codec.loads(text))
    except (ValueError, RecursionError):
        return ()
    expected = {"digest": version.digest, "state": version.state.value}
    wrong = [
        f"its property {key!r} in ML Metadata is {node.custom_properties[key].string_value!r}"
        for key, value in expected.items()
        if node.custom_properties[key].string_value != value
    ]
    wrong += _wrong_short(text, version)
    if node.uri not in (plain_text(version.uri), encode_text(version.uri)):
        wrong.append(f"its uri in ML Metadata is {node.uri!r}")
    return tuple(wrong)


def _wrong_short(text: str, version: Version) -> list[str]:
    """Compares what lists read of a record with all of it: a name that stands twice differs."""
    if (short := read_short(text)) is None:
        return []
    return [
        f"lists read its {name!r} as {value!r}"
        for name, value in short.items()
        if value != getattr(version, name)
    ]


def _wrong_event(node: Any, text: str, model: str) -> tuple[str, ...]:
    try:
        record = codec.loads(text)
        token = record["token"]
        beside = {key: record[key] for key in ("kind", "actor", "time")}
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return ()
    wrong = [
        f"its property {key!r} in ML Metadata is {node.custom_properties[key].string_value!r}"
        for key, value in beside.items()
        # Earlier releases wrote long texts and control characters as they were.
        if node.custom_properties[key].string_value not in (plain_text(value), encode_text(value))
    ]
    if node.name != mlmd_keys.operation_name(model, token):
        wrong.append("its name in ML Metadata is not that of its token, so a retry misses it")
    return tuple(wrong)


def _emptied(type_name: str, external_id: str, name: str = "") -> pb.Artifact:
    artifact = pb.Artifact(type=type_name, external_id=external_id, state=pb.Artifact.DELETED)
    if name:
        artifact.name = name
    return artifact


def _version(version: Version) -> pb.Artifact:
    artifact = pb.Artifact(
        type=mlmd_keys.VERSION_TYPE,
        name=f"{version.model}@{version.number}",
        external_id=mlmd_keys.version_id(version.model, version.number),
        uri=plain_text(version.uri),
        state=pb.Artifact.LIVE,
    )
    write_text(artifact, version_text(version))
    artifact.custom_properties["digest"].string_value = version.digest
    artifact.custom_properties["state"].string_value = version.state.value
    return artifact


def _content(external_id: str, number: int) -> pb.Artifact:
    artifact = pb.Artifact(
        type=mlmd_keys.CONTENT_TYPE, external_id=external_id, state=pb.Artifact.LIVE
    )
    artifact.custom_properties["number"].string_value = str(number)
    return artifact


def _take_ids(store: MlmdStore, artifacts: Sequence[pb.Artifact]) -> None:
    """Gives the artifacts the ids of the nodes that they replace, and the ids of their types."""
    found = store._find("artifacts", [artifact.external_id for artifact in artifacts])
    ids = {node.external_id: node.id for node in found}
    for artifact in artifacts:
        artifact.type_id = store._types[artifact.type]
        if artifact.external_id in ids:
            artifact.id = ids[artifact.external_id]
        elif artifact.name and (
            node := store._session.read(
                operator.methodcaller("get_artifact_by_type_and_name", artifact.type, artifact.name)
            )
        ):
            artifact.id = node.id
        artifact.ClearField("type")
