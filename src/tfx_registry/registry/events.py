"""The events of a model: the only thing that is ever appended, and the source of all state.

One event is one decision of somebody. Its payload is one of the dataclasses below; the envelope
says who, when, why and in which order. Each event carries the digest of the one before it, so a
log that was edited afterwards does not verify. Kinds and fields are stored for ever: add, never
rename.
"""

from __future__ import annotations

import functools
import hashlib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tfx_registry import codec
from tfx_registry.records import (
    LineageSource,
    Metric,
    ModelFacts,
    Origin,
    PipelineRun,
    Verdict,
)
from tfx_registry.registry.directory_events import (
    Adopted,
    BytesFound,
    BytesRemoved,
    IntentDropped,
    Promoted,
    PublishStarted,
    RollbackStarted,
    RolledBack,
)
from tfx_registry.registry.rollout_events import (
    CanaryEnded,
    CanaryStarted,
    RolloutDropped,
    RolloutStarted,
    ServersChecked,
)

__all__ = [
    "Adopted",
    "AliasRemoved",
    "AliasSet",
    "Approved",
    "Archived",
    "BytesFound",
    "BytesRemoved",
    "CanaryEnded",
    "CanaryStarted",
    "Decided",
    "Event",
    "IntentDropped",
    "LabelRemoved",
    "LabelSet",
    "Overridden",
    "Payload",
    "PolicySet",
    "Promoted",
    "PublishStarted",
    "Registered",
    "Rejected",
    "RollbackStarted",
    "RolledBack",
    "RolloutDropped",
    "RolloutStarted",
    "ServersChecked",
    "payload_from_json",
]


@dataclass(frozen=True)
class Registered:
    """A new version. See `records.Version` for the fields.

    Attributes:
        adopted: The serving base directory that the version was found in; it keeps the number
            that it has there. "" for all others, which get the next number.
    """

    kind: ClassVar[str] = "registered"
    number: int
    facts: ModelFacts
    origin: Origin = field(default_factory=Origin)
    sources: tuple[LineageSource, ...] = ()
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    semantic_version: str = ""
    same_bytes_as: int | None = None
    adopted: str = ""


@dataclass(frozen=True)
class Decided:
    """A gate decision.

    Attributes:
        number: Version that was decided on.
        verdict: Passed or blocked.
        digest: Root digest of the candidate's bytes.
        alias: The alias whose serving version was the baseline.
        baseline: Version that it was compared with, or None.
        baseline_digest: Root digest of the baseline's bytes, or "".
        serving_seq: Sequence number of the deployment that served under the alias when the
            baseline was looked up, 0 for none.
        reasons: One readable line for each failure.
        notes: Remarks that did not block.
        metrics: The candidate's numbers that the decision looked at.
        report: The whole report as JSON (`gate.report.GateReport`).
        facts_compared: Whether size or signatures were compared with what served, though no
            metrics were.
        run: The pipeline run in which it was made; empty where it was made by hand, and in events
            of release 0.1.
    """

    kind: ClassVar[str] = "decided"
    number: int
    verdict: Verdict
    digest: str
    alias: str
    baseline: int | None = None
    baseline_digest: str = ""
    serving_seq: int = 0
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ()
    report: Mapping[str, Any] = field(default_factory=dict)
    facts_compared: bool = False
    run: PipelineRun = field(default_factory=PipelineRun)


@dataclass(frozen=True)
class AliasSet:
    """An alias points at a version from now on; `previous` is where it pointed, or None."""

    kind: ClassVar[str] = "alias_set"
    alias: str
    number: int
    previous: int | None = None


@dataclass(frozen=True)
class AliasRemoved:
    """An alias does not exist any more; `previous` is where it pointed."""

    kind: ClassVar[str] = "alias_removed"
    alias: str
    previous: int


@dataclass(frozen=True)
class Approved:
    """The actor of the event approves the version."""

    kind: ClassVar[str] = "approved"
    number: int


@dataclass(frozen=True)
class Rejected:
    """The actor of the event rejects the version."""

    kind: ClassVar[str] = "rejected"
    number: int


@dataclass(frozen=True)
class Overridden:
    """The actor of the event lets the version serve without the gate's pass until `expires`.

    Attributes:
        number: The version.
        expires: Until when.
        alias: The alias under which it may serve; "" for any, as in logs that are older.
    """

    kind: ClassVar[str] = "overridden"
    number: int
    expires: str
    alias: str = ""


@dataclass(frozen=True)
class LabelSet:
    """A label has this value from now on; `previous` is what it was, or None."""

    kind: ClassVar[str] = "label_set"
    number: int
    key: str
    value: str
    previous: str | None = None


@dataclass(frozen=True)
class LabelRemoved:
    """A label does not exist any more; `previous` is what it was."""

    kind: ClassVar[str] = "label_removed"
    number: int
    key: str
    previous: str


@dataclass(frozen=True)
class Archived:
    """The version was taken out of use."""

    kind: ClassVar[str] = "archived"
    number: int


@dataclass(frozen=True)
class PolicySet:
    """Who may do what from now on; an event of the registry itself, not of a model.

    Attributes:
        policy: The whole policy as JSON (`registry.access.AccessPolicy`).
    """

    kind: ClassVar[str] = "policy_set"
    policy: Mapping[str, Any]


Payload = (
    Registered
    | Decided
    | AliasSet
    | AliasRemoved
    | PublishStarted
    | Promoted
    | RollbackStarted
    | RolledBack
    | IntentDropped
    | Adopted
    | BytesRemoved
    | BytesFound
    | RolloutStarted
    | RolloutDropped
    | CanaryStarted
    | CanaryEnded
    | ServersChecked
    | Approved
    | Rejected
    | Overridden
    | LabelSet
    | LabelRemoved
    | Archived
    | PolicySet
)

_KINDS: dict[str, type[Payload]] = {cls.kind: cls for cls in typing.get_args(Payload)}


@dataclass(frozen=True)
class Event:
    """The envelope of one payload.

    Attributes:
        model: Name of the model.
        seq: 1, 2, 3, ... without a gap, per model.
        time: When, UTC.
        actor: Who.
        token: Makes a retry of the same operation find this event instead of adding another.
        previous: Digest of the event before; "" for the first.
        payload: What happened.
        reason: Why, in the actor's words.
    """

    model: str
    seq: int
    time: str
    actor: str
    token: str
    previous: str
    payload: Payload
    reason: str = ""

    @property
    def kind(self) -> str:
        """The kind of the payload."""
        return self.payload.kind

    @property
    def number(self) -> int | None:
        """The version that the event is about, if it is about one."""
        return getattr(self.payload, "number", None)

    def to_json(self) -> dict[str, Any]:
        """Returns the event as a JSON object; the payload carries its kind beside it."""
        return {
            "model": self.model,
            "seq": self.seq,
            "time": self.time,
            "actor": self.actor,
            "reason": self.reason,
            "token": self.token,
            "previous": self.previous,
            "kind": self.kind,
            "payload": codec.encode(self.payload),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Event:
        """Reads what `to_json` made.

        Raises:
            CodecError: The data does not fit.
        """
        return cls(
            model=data["model"],
            seq=data["seq"],
            time=data["time"],
            actor=data["actor"],
            reason=data.get("reason", ""),
            token=data["token"],
            previous=data["previous"],
            payload=payload_from_json(data["kind"], data["payload"]),
        )

    @functools.cached_property
    def text(self) -> str:
        """The event as canonical JSON: what is stored, and what the digest is of."""
        return codec.dumps(self.to_json())

    def digest(self) -> str:
        """Returns the SHA-256 of the canonical JSON of the event, with `previous` in it."""
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()


def payload_from_json(kind: str, data: Any) -> Payload:
    """Reads a payload.

    Args:
        kind: The kind, as stored.
        data: The JSON value.

    Returns:
        The payload.

    Raises:
        CodecError: The kind is unknown (a newer release wrote it) or the data does not fit.
    """
    if kind not in _KINDS:
        raise codec.CodecError(f"unknown kind of event {kind!r}: written by a newer release?")
    return codec.decode(_KINDS[kind], data)
