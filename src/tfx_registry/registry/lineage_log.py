"""What came of a version, read from the log of its model: a pure fold into a graph."""

from __future__ import annotations

from tfx_registry.records import Verdict, Version
from tfx_registry.registry.events import (
    Adopted,
    AliasRemoved,
    AliasSet,
    Decided,
    Event,
    IntentDropped,
    LabelRemoved,
    LabelSet,
    Promoted,
    PublishStarted,
    Registered,
    RollbackStarted,
    RolledBack,
    RolloutDropped,
    RolloutStarted,
)
from tfx_registry.registry.lineage_graph import (
    GraphBuilder,
    Node,
    NodeKind,
    is_location_of,
    version_id,
    version_node,
)

__all__ = ["Aftermath"]

#: Events that say nothing about where a version went.
_SKIPPED = (
    LabelRemoved, LabelSet, PublishStarted, RollbackStarted, IntentDropped, RolloutStarted,
    RolloutDropped,
)  # fmt: skip


class Aftermath:
    """Adds to a graph what events did to one version.

    Attributes:
        versions: Numbers of the other versions that the added edges name.
    """

    def __init__(self, builder: GraphBuilder, version: Version) -> None:
        self.versions: set[int] = set()
        self._builder = builder
        self._version = version
        self._root = version_node(version).id
        # What holds at this point of the log: node by alias, node by destination.
        self._aliases: dict[str, str] = {}
        self._deployments: dict[str, str] = {}

    def follow(self, event: Event) -> None:
        """Adds what one event did; events come in order and after the registration."""
        payload, number = event.payload, self._version.number
        if isinstance(payload, Registered):
            self._registered(payload)
        elif isinstance(payload, Decided):
            if number in (payload.number, payload.baseline):
                self._decided(event, payload)
        elif isinstance(payload, (AliasSet, AliasRemoved)):
            self._end(self._aliases, payload.alias, event)
            if isinstance(payload, AliasSet) and payload.number == number:
                label = f"alias {payload.alias}, set by {event.actor}"
                node_id = self._add(NodeKind.ALIAS, event, label, alias=payload.alias)
                self._aliases[payload.alias] = node_id
        elif isinstance(payload, Promoted | RolledBack | Adopted):
            self._deployed(event, payload)
        elif event.number == number and not isinstance(payload, _SKIPPED):
            why = f": {event.reason}" if event.reason else ""
            self._add(NodeKind.EVENT, event, f"{event.kind} by {event.actor}{why}")

    def finish(self) -> None:
        """Says of aliases and deployments whether they still hold; call it after the last event."""
        for alias, node_id in self._aliases.items():
            self._builder.describe(node_id, current=_yes(alias in self._version.aliases))
        for destination, node_id in self._deployments.items():
            self._builder.describe(node_id, current=_yes(destination in self._version.serving))

    def _registered(self, payload: Registered) -> None:
        own = Version("", payload.number, payload.facts, "", "", payload.origin)
        roles = [
            source.key
            for source in payload.sources
            if is_location_of(self._version, source.uri) and not is_location_of(own, source.uri)
        ]
        if payload.same_bytes_as == self._version.number:
            roles.append("same bytes")
        for role in roles:
            self._builder.connect(self._root, self._other(payload.number), role)

    def _decided(self, event: Event, payload: Decided) -> None:
        own = payload.number == self._version.number
        verb = "passed" if payload.verdict is Verdict.PASSED else "blocked"
        who = "" if own else f"{self._version.model}:{payload.number} "
        against = f" against version {payload.baseline}" if payload.baseline is not None else ""
        node_id = self._add(
            NodeKind.DECISION,
            event,
            f"{who}{verb}{against}, by {event.actor}",
            role="decision" if own else "baseline",
            verdict=payload.verdict.value,
            version=str(payload.number),
            baseline=str(payload.baseline or ""),
            reasons="; ".join(payload.reasons),
        )
        if not own:
            self._builder.connect(self._other(payload.number), node_id, "candidate")
        elif payload.baseline is not None:
            self._builder.connect(self._other(payload.baseline), node_id, "baseline")

    def _deployed(self, event: Event, payload: Promoted | RolledBack | Adopted) -> None:
        self._end(self._aliases, payload.alias, event)
        self._end(self._deployments, payload.destination, event)
        if payload.number == self._version.number:
            self._deployments[payload.destination] = self._add(
                NodeKind.DEPLOYMENT,
                event,
                f"serves as {payload.alias} in {payload.destination}",
                alias=payload.alias,
                destination=payload.destination,
                replaces="" if isinstance(payload, Adopted) else str(payload.replaces or ""),
            )
        elif isinstance(payload, RolledBack) and self._version.number in payload.withdrawn:
            why = f": {event.reason}" if event.reason else ""
            label = f"rolled back to version {payload.number} by {event.actor}{why}"
            self._add(NodeKind.EVENT, event, label, destination=payload.destination)

    def _add(
        self, kind: NodeKind, event: Event, label: str, role: str = "", **properties: str
    ) -> str:
        known = {
            "event": str(event.seq),
            "time": event.time,
            "actor": event.actor,
            "reason": event.reason,
            **properties,
        }
        known = {key: value for key, value in known.items() if value}
        node = Node(f"event:{event.seq}", kind, label, event.kind, properties=known)
        self._builder.add(node)
        self._builder.connect(self._root, node.id, role or kind.value)
        return node.id

    def _end(self, holding: dict[str, str], key: str, event: Event) -> None:
        if (node_id := holding.pop(key, None)) is not None:
            self._builder.describe(node_id, current="no", until=event.time)

    def _other(self, number: int) -> str:
        self.versions.add(number)
        return version_id(self._version.model, number)


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"
