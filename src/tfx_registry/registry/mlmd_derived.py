"""Walks ML Metadata downstream: from a version to the versions that were made from it.

A version was made from another one if that was among the sources that it was registered with, or
if a pipeline gave that model to an execution which made its model (a warm start, a conversion).
The walk ends at each registered version: what was made from that is part of its own lineage.
"""

from __future__ import annotations

from dataclasses import dataclass

from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_registry import codec
from tfx_registry.records import Version
from tfx_registry.registry import mlmd_keys, mlmd_lineage
from tfx_registry.registry.events import Event, Registered
from tfx_registry.registry.lineage_graph import is_location_of
from tfx_registry.registry.mlmd_lineage import (
    INPUTS,
    OUTPUTS,
    SERVING_FOLDER,
    Read,
    Reader,
    role_of,
)
from tfx_registry.registry.mlmd_text import plain_text, read_text, read_version

__all__ = ["Derived", "derived"]


@dataclass(frozen=True, order=True)
class Derived:
    """A version that was made from another one.

    Attributes:
        model: Its model.
        number: Its number.
        role: As what the other one was given.
    """

    model: str
    number: int
    role: str


def derived(read: Read, version: Version) -> list[Derived]:
    """Returns the versions, of any model, that were made directly from a version.

    Args:
        read: Calls a function with the `MetadataStore`, such as `Session.read`.
        version: The version.

    Returns:
        Them, without the version itself, in order.
    """
    walk = _Walk(Reader(read), version)
    walk.begin()
    while walk.artifacts and len(walk.seen) < mlmd_lineage.MAX_NODES:
        walk.step()
    return sorted(walk.found)


class _Walk:
    """One walk; `artifacts` are those still to be looked at, with the role at the start."""

    def __init__(self, store: Reader, version: Version) -> None:
        self.artifacts: dict[int, str] = {}
        self.seen: set[int] = set()
        self.found: set[Derived] = set()
        self._store = store
        self._version = version

    def begin(self) -> None:
        """Finds the artifacts that lie where the version was registered from."""
        places = {self._version.uri, self._version.origin.artifact_uri} - {""}
        for place in sorted({p for uri in places for p in (uri, uri.rstrip("/"))}):
            for node in self._store.ask("get_artifacts_by_uri", plain_text(place)):
                if node.type != mlmd_keys.VERSION_TYPE:
                    self.artifacts[node.id] = ""

    def step(self) -> None:
        """Goes from artifacts to the executions that took them, and to the models these made."""
        artifacts, self.artifacts = self.artifacts, {}
        self.seen |= set(artifacts)
        takers: dict[int, str] = {}
        for event in self._store.ask_many("get_events_by_artifact_ids", list(artifacts)):
            if event.type in INPUTS:
                as_what = artifacts[event.artifact_id] or role_of(event)
                takers.setdefault(event.execution_id, as_what)
        made: dict[int, str] = {}
        for event in self._store.ask_many("get_events_by_execution_ids", list(takers)):
            if event.type in OUTPUTS and event.artifact_id not in self.seen:
                made.setdefault(event.artifact_id, takers[event.execution_id])
        for execution in self._store.ask_many("get_executions_by_id", list(takers)):
            if execution.type == mlmd_keys.EVENT_TYPE:
                self._registered(read_text(execution), takers[execution.id])
        for artifact in self._store.ask_many("get_artifacts_by_id", list(made)):
            if artifact.type.endswith("Model") and not self._versions_at(
                artifact.uri, made[artifact.id]
            ):
                self.artifacts[artifact.id] = made[artifact.id]

    def _registered(self, text: str, as_what: str) -> None:
        """Notes a version that was registered with an artifact of the walk as source."""
        event = Event.from_json(codec.loads(text))
        payload = event.payload
        if not isinstance(payload, Registered):
            return
        own = Version(event.model, payload.number, payload.facts, "", "", payload.origin)
        places = (self._version.uri, self._version.origin.artifact_uri)
        if not any(is_location_of(own, place) for place in places):
            self._note(own, as_what)

    def _versions_at(self, uri: str, as_what: str) -> bool:
        """Notes the versions that were registered from a place; tells whether there are any."""
        found = False
        for place in (uri, uri.rstrip("/") + SERVING_FOLDER):
            for node in self._store.ask("get_artifacts_by_uri", plain_text(place)):
                if node.type != mlmd_keys.VERSION_TYPE or node.state == pb.Artifact.DELETED:
                    continue
                version = read_version(node)
                if is_location_of(version, uri):
                    self._note(version, as_what)
                    found = True
        return found

    def _note(self, version: Version, as_what: str) -> None:
        if (version.model, version.number) != (self._version.model, self._version.number):
            self.found.add(Derived(version.model, version.number, as_what))
