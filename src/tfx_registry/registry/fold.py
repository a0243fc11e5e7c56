"""State as a pure fold of events.

`apply` is used twice: to compute the head and the versions that one new event changes, and to
replay a whole log. Therefore a replay gives what the writers stored, or something was damaged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tfx_registry.names import SemanticVersion
from tfx_registry.records import (
    Approval,
    DecisionSummary,
    Deployment,
    Head,
    Metric,
    Override,
    Version,
)
from tfx_registry.registry.events import (
    AliasRemoved,
    AliasSet,
    Approved,
    Archived,
    Decided,
    Event,
    LabelRemoved,
    LabelSet,
    Overridden,
    Payload,
    PolicySet,
    Promoted,
    PublishStarted,
    Registered,
    Rejected,
)

__all__ = ["Snapshot", "apply", "replay", "touched"]

#: Events that change one version and nothing else.
AboutOne = Decided | Approved | Rejected | Overridden | LabelSet | LabelRemoved | Archived


@dataclass(frozen=True)
class Snapshot:
    """A model's head and some of its versions (those that the next event touches, or all).

    Attributes:
        head: The head, or None before the first event.
        versions: Versions by number.
    """

    head: Head | None = None
    versions: Mapping[int, Version] = field(default_factory=dict)


def touched(head: Head | None, payload: Payload) -> frozenset[int]:
    """Tells which existing versions an event reads or changes.

    Args:
        head: The head before the event.
        payload: The event's payload.

    Returns:
        Their numbers. The version that a `Registered` creates is not among them.
    """
    aliases = head.aliases if head else {}
    numbers: set[int | None] = set()
    if isinstance(payload, AliasSet | Promoted | AboutOne):
        numbers.add(payload.number)
    if isinstance(payload, (AliasSet, AliasRemoved, Promoted)):
        numbers.add(aliases.get(payload.alias))
    if isinstance(payload, Promoted) and head and payload.destination in head.deployments:
        numbers.add(head.deployments[payload.destination].number)
    return frozenset(n for n in numbers if n is not None)


def apply(before: Snapshot, event: Event) -> Snapshot:
    """Applies one event.

    Args:
        before: The head, and at least the versions of `touched(before.head, event.payload)`.
        event: The event; its sequence number follows the head's.

    Returns:
        The new head, and only the versions that changed.

    Raises:
        ValueError: The event does not follow the head.
    """
    head = before.head or Head(event.model, 0, "", 0, 0, created=event.time)
    if event.seq != head.seq + 1 or event.previous != head.digest:
        raise ValueError(f"event {event.seq} of {event.model!r} does not follow event {head.seq}")
    changed: dict[int, Version] = {}
    payload = event.payload
    if isinstance(payload, Registered):
        changed[payload.number] = _new_version(event, payload)
        head = _with_version(head, payload)
    elif isinstance(payload, AboutOne):
        version = before.versions[payload.number]
        changes = _changes(version, payload, event)
        changed[payload.number] = dataclasses.replace(version, **changes, seq=event.seq)
    elif isinstance(payload, AliasSet):
        head, changed = _move_alias(head, before.versions, payload.alias, payload.number, event.seq)
    elif isinstance(payload, AliasRemoved):
        head, changed = _move_alias(head, before.versions, payload.alias, None, event.seq)
    elif isinstance(payload, Promoted):
        head, changed = _promote(head, before.versions, payload, event)
    elif isinstance(payload, PublishStarted):
        begun = _deployment(payload, event)
        head = dataclasses.replace(head, unfinished={**head.unfinished, payload.destination: begun})
    elif isinstance(payload, PolicySet):
        head = dataclasses.replace(head, policy=payload.policy)
    head = dataclasses.replace(head, seq=event.seq, digest=event.digest(), updated=event.time)
    return Snapshot(head, changed)


def replay(events: Iterable[Event]) -> Snapshot:
    """Folds a whole log.

    Args:
        events: All events of one model, in order.

    Returns:
        The head and every version.

    Raises:
        ValueError: The log has a gap, or the hash chain does not hold.
    """
    state = Snapshot()
    versions: dict[int, Version] = {}
    for event in events:
        state = apply(Snapshot(state.head, versions), event)
        versions.update(state.versions)
    return Snapshot(state.head, versions)


def _new_version(event: Event, payload: Registered) -> Version:
    return Version(
        model=event.model,
        number=payload.number,
        facts=payload.facts,
        time=event.time,
        actor=event.actor,
        origin=payload.origin,
        sources=payload.sources,
        hyperparameters=payload.hyperparameters,
        metrics=payload.metrics,
        description=payload.description,
        labels=payload.labels,
        semantic_version=payload.semantic_version,
        same_bytes_as=payload.same_bytes_as,
        seq=event.seq,
    )


def _with_version(head: Head, payload: Registered) -> Head:
    highest = dict(head.semantic_versions)
    if payload.semantic_version:
        new = SemanticVersion.parse(payload.semantic_version)
        old = highest.get(str(new.major))
        if old is None or SemanticVersion.parse(old) < new:
            highest[str(new.major)] = payload.semantic_version
    return dataclasses.replace(
        head,
        latest=max(head.latest, payload.number),
        count=head.count + 1,
        semantic_versions=dict(sorted(highest.items())),
    )


def _changes(version: Version, payload: AboutOne, event: Event) -> dict[str, Any]:
    """Says which fields of a version an event changes."""
    if isinstance(payload, Decided):
        summary = DecisionSummary(
            payload.verdict,
            event.seq,
            event.time,
            event.actor,
            payload.alias,
            payload.baseline,
            payload.serving_seq,
            payload.reasons,
            payload.notes,
        )
        return {"decision": summary, "metrics": _merge(version.metrics, payload.metrics)}
    if isinstance(payload, (Approved, Rejected)):
        word = Approval(
            isinstance(payload, Approved), event.actor, event.time, event.seq, event.reason
        )
        others = tuple(a for a in version.approvals if a.actor != event.actor)
        return {"approvals": (*others, word)}
    if isinstance(payload, Overridden):
        override = Override(event.actor, event.time, payload.expires, event.seq, event.reason)
        return {"override": override}
    if isinstance(payload, Archived):
        return {"archived": True}
    labels = {key: value for key, value in version.labels.items() if key != payload.key}
    if isinstance(payload, LabelSet):
        labels[payload.key] = payload.value
    return {"labels": dict(sorted(labels.items()))}


def _merge(old: tuple[Metric, ...], new: tuple[Metric, ...]) -> tuple[Metric, ...]:
    replaced = {(m.name, m.slice) for m in new}
    return tuple(m for m in old if (m.name, m.slice) not in replaced) + new


def _move_alias(
    head: Head, versions: Mapping[int, Version], alias: str, number: int | None, seq: int
) -> tuple[Head, dict[int, Version]]:
    changed: dict[int, Version] = {}
    old = head.aliases.get(alias)
    aliases = {a: n for a, n in head.aliases.items() if a != alias}
    if old is not None and old != number:
        version = versions[old]
        left = tuple(a for a in version.aliases if a != alias)
        changed[old] = dataclasses.replace(version, aliases=left, seq=seq)
    if number is not None:
        aliases[alias] = number
        version = versions[number]
        with_alias = tuple(sorted({*version.aliases, alias}))
        changed[number] = dataclasses.replace(version, aliases=with_alias, seq=seq)
    return dataclasses.replace(head, aliases=dict(sorted(aliases.items()))), changed


def _promote(
    head: Head, versions: Mapping[int, Version], payload: Promoted, event: Event
) -> tuple[Head, dict[int, Version]]:
    previous = head.deployments.get(payload.destination)
    head, changed = _move_alias(head, versions, payload.alias, payload.number, event.seq)
    if previous is not None and previous.number != payload.number:
        version = changed.get(previous.number, versions[previous.number])
        left = tuple(d for d in version.serving if d != payload.destination)
        changed[previous.number] = dataclasses.replace(version, serving=left, seq=event.seq)
    version = changed[payload.number]
    serving = tuple(sorted({*version.serving, payload.destination}))
    changed[payload.number] = dataclasses.replace(version, serving=serving, seq=event.seq)
    deployment = _deployment(payload, event)
    deployments = {**head.deployments, payload.destination: deployment}
    unfinished = {d: u for d, u in head.unfinished.items() if d != payload.destination}
    head = dataclasses.replace(
        head, deployments=dict(sorted(deployments.items())), unfinished=unfinished
    )
    return head, changed


def _deployment(payload: Promoted | PublishStarted, event: Event) -> Deployment:
    return Deployment(
        payload.destination, payload.alias, payload.number, event.seq, event.time, event.actor
    )
