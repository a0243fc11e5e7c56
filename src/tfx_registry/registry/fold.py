"""State as a pure fold of events.

`apply` is used twice: to compute the head and the versions that one new event changes, and to
replay a whole log. Therefore a replay gives what the writers stored, or something was damaged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tfx_registry.errors import InvalidNameError
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
    Adopted,
    AliasRemoved,
    AliasSet,
    Approved,
    Archived,
    BytesFound,
    BytesRemoved,
    CanaryEnded,
    CanaryStarted,
    Decided,
    Event,
    IntentDropped,
    LabelRemoved,
    LabelSet,
    Overridden,
    Payload,
    PolicySet,
    Promoted,
    PublishStarted,
    Registered,
    Rejected,
    RollbackStarted,
    RolledBack,
    RolloutDropped,
    RolloutStarted,
)

__all__ = ["Snapshot", "apply", "replay", "touched"]

#: Events that change one version and nothing else.
AboutOne = (
    Decided
    | Approved
    | Rejected
    | Overridden
    | LabelSet
    | LabelRemoved
    | Archived
    | BytesRemoved
    | BytesFound
)

#: Events after which a version serves somewhere.
Deployed = Promoted | RolledBack | Adopted

#: Events of a rollout by a model config, besides the `Promoted` at its end.
RolledOut = RolloutStarted | RolloutDropped | CanaryStarted | CanaryEnded


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
    if isinstance(payload, AliasSet | Deployed | AboutOne | CanaryStarted | CanaryEnded):
        numbers.add(payload.number)
    if isinstance(payload, AliasSet | AliasRemoved | Deployed | CanaryStarted | CanaryEnded):
        numbers.add(aliases.get(payload.alias))
    if isinstance(payload, Deployed) and head and payload.destination in head.deployments:
        numbers.add(head.deployments[payload.destination].number)
    if isinstance(payload, RolledBack):
        numbers.update(payload.withdrawn)
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
    elif isinstance(payload, Deployed):
        head, changed = _deploy(head, before.versions, payload, event)
    elif isinstance(payload, PublishStarted | RollbackStarted):
        begun = _deployment(payload, event)
        head = dataclasses.replace(head, unfinished={**head.unfinished, payload.destination: begun})
    elif isinstance(payload, RolledOut):
        head, changed = _roll_out(head, before.versions, payload, event)
    elif isinstance(payload, IntentDropped):
        head = dataclasses.replace(head, unfinished=_without(head.unfinished, payload.destination))
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
    new = _semantic_version(payload)
    if new is not None:
        old = highest.get(str(new.major))
        if old is None or SemanticVersion.parse(old) < new:
            highest[str(new.major)] = payload.semantic_version
    gap = (head.latest + 1, payload.number - 1)
    return dataclasses.replace(
        head,
        gaps=(*head.gaps, gap) if gap[0] <= gap[1] else head.gaps,
        latest=max(head.latest, payload.number),
        count=head.count + 1,
        semantic_versions=dict(sorted(highest.items())),
    )


def _semantic_version(payload: Registered) -> SemanticVersion | None:
    """Reads the semantic version; None also for a text that is none, which no log may fail on."""
    try:
        return SemanticVersion.parse(payload.semantic_version)
    except InvalidNameError:
        return None


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
            payload.facts_compared,
        )
        return {"decision": summary, "metrics": _merge(version.metrics, payload.metrics)}
    if isinstance(payload, (Approved, Rejected)):
        word = Approval(
            isinstance(payload, Approved), event.actor, event.time, event.seq, event.reason
        )
        others = tuple(a for a in version.approvals if a.actor != event.actor)
        return {"approvals": (*others, word)}
    if isinstance(payload, Overridden):
        override = Override(
            event.actor, event.time, payload.expires, event.seq, event.reason, payload.alias
        )
        given = (version.override, *version.other_overrides)
        stand = tuple(o for o in given if o is not None and o.alias != payload.alias)
        return {"override": override, "other_overrides": stand}
    if isinstance(payload, Archived):
        return {"archived": True}
    if isinstance(payload, BytesRemoved):
        places = tuple(sorted({*version.removed_from, payload.destination}))
        return {"removed_from": places, "bytes_gone": version.bytes_gone or payload.last}
    if isinstance(payload, BytesFound):
        return _holding(version, payload.destination)
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


def _deploy(
    head: Head, versions: Mapping[int, Version], payload: Deployed, event: Event
) -> tuple[Head, dict[int, Version]]:
    previous = head.deployments.get(payload.destination)
    head, changed = _move_alias(head, versions, payload.alias, payload.number, event.seq)
    if previous is not None and previous.number != payload.number:
        version = changed.get(previous.number, versions[previous.number])
        left = tuple(d for d in version.serving if d != payload.destination)
        changed[previous.number] = dataclasses.replace(version, serving=left, seq=event.seq)
    for number in payload.withdrawn if isinstance(payload, RolledBack) else ():
        version = changed.get(number, versions[number])
        changed[number] = dataclasses.replace(version, rolled_back=event.seq, seq=event.seq)
    version = changed[payload.number]
    changed[payload.number] = dataclasses.replace(
        version,
        serving=tuple(sorted({*version.serving, payload.destination})),
        seq=event.seq,
        **_holding(version, payload.destination),
    )
    deployment = _deployment(payload, event)
    if previous is not None and not isinstance(payload, Promoted):
        deployment = dataclasses.replace(deployment, config=previous.config)
    deployments = {**head.deployments, payload.destination: deployment}
    head = dataclasses.replace(
        head,
        deployments=dict(sorted(deployments.items())),
        unfinished=_without(head.unfinished, payload.destination),
        rollouts=_without(head.rollouts, payload.destination),
    )
    return _end_canary(head, changed, payload, event)


def _end_canary(
    head: Head, changed: dict[int, Version], payload: Deployed, event: Event
) -> tuple[Head, dict[int, Version]]:
    """A version on trial that has come to serve is not on trial any more."""
    canary = head.canaries.get(payload.destination)
    if canary is None or canary.number != payload.number:
        return head, changed
    head = dataclasses.replace(head, canaries=_without(head.canaries, payload.destination))
    if head.aliases.get(canary.alias) == canary.number and canary.alias != payload.alias:
        head, moved = _move_alias(head, changed, canary.alias, None, event.seq)
        changed = {**changed, **moved}
    return head, changed


def _roll_out(
    head: Head, versions: Mapping[int, Version], payload: RolledOut, event: Event
) -> tuple[Head, dict[int, Version]]:
    where = payload.destination
    if isinstance(payload, RolloutStarted):
        begun = _deployment(payload, event)
        return dataclasses.replace(head, rollouts={**head.rollouts, where: begun}), {}
    head = dataclasses.replace(head, rollouts=_without(head.rollouts, where))
    if isinstance(payload, RolloutDropped):
        return head, {}
    if isinstance(payload, CanaryEnded):
        head = dataclasses.replace(head, canaries=_without(head.canaries, where))
        return _move_alias(head, versions, payload.alias, None, event.seq)
    canaries = dict(sorted({**head.canaries, where: _deployment(payload, event)}.items()))
    head = dataclasses.replace(head, canaries=canaries)
    return _move_alias(head, versions, payload.alias, payload.number, event.seq)


def _holding(version: Version, destination: str) -> dict[str, Any]:
    """Says what changes when a destination is known to hold the bytes of a version."""
    left = tuple(place for place in version.removed_from if place != destination)
    return {"removed_from": left, "bytes_gone": False}


def _without(deployments: Mapping[str, Deployment], destination: str) -> dict[str, Deployment]:
    return {d: found for d, found in deployments.items() if d != destination}


def _operation(payload: object) -> str:
    if isinstance(payload, RollbackStarted):
        return "rollback"
    return "canary" if isinstance(payload, RolloutStarted) and payload.canary else ""


def _deployment(
    payload: Deployed | PublishStarted | RollbackStarted | RolloutStarted | CanaryStarted,
    event: Event,
) -> Deployment:
    return Deployment(
        payload.destination,
        payload.alias,
        payload.number,
        event.seq,
        event.time,
        event.actor,
        trail=payload.trail if isinstance(payload, Deployed) else (),
        operation=_operation(payload),
        config=getattr(payload, "config", None),
    )
