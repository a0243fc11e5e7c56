"""Folds a log that is not trusted: names what does not follow, instead of failing on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from tfx_registry import codec
from tfx_registry.errors import RegistryError
from tfx_registry.records import Head, ModelFacts, ModelFormat, Version
from tfx_registry.registry import fold
from tfx_registry.registry.events import (
    Adopted,
    AliasRemoved,
    AliasSet,
    CanaryStarted,
    Decided,
    Event,
    Promoted,
    PublishStarted,
    Registered,
    RollbackStarted,
    RolledBack,
    RolloutStarted,
)
from tfx_registry.registry.store import StoredRecord
from tfx_registry.registry.verify import Damage, LogVerifier, canonical_text
from tfx_registry.registry.version_text import version_text

__all__ = ["Replay"]


class Replay:
    """The state that a log leads to, event after event, with all that is wrong on the way.

    Attributes:
        verifier: Checks digests and the chain.
        head: The head after the last event that could be applied.
        versions: All versions by number; without `keep_versions` only their digests are kept.
        findings: What the events say that cannot be, besides the verifier's findings.
        broken: Whether an event could not be applied; the state stays at the one before.
    """

    def __init__(self, model: str, *, keep_versions: bool = True) -> None:
        """Begins before the first event.

        Args:
            model: Name of the model.
            keep_versions: Whether the versions are folded, too. Without, the memory needed is a
                hundred bytes for each version.
        """
        self.verifier = LogVerifier(model)
        self.head: Head | None = None
        self._digests: dict[int, str] = {}
        self._texts: dict[int, str] = {}
        self._keep_versions = keep_versions
        self.versions: Mapping[int, Version] = (
            _Texts(self._texts) if keep_versions else _DigestsOnly(model, self._digests)
        )
        self.findings: list[Damage] = []
        self.broken = False

    @property
    def all_findings(self) -> list[Damage]:
        """The findings of the verifier and of the fold."""
        return [*self.verifier.findings, *self.findings]

    @property
    def contents(self) -> dict[str, int]:
        """The newest version with each root digest."""
        return {digest: number for number, digest in sorted(self._digests.items())}

    def version_text(self, number: int) -> str | None:
        """Returns the text that must be stored of a version, or None if there is no such."""
        return self._texts.get(number)

    def feed(self, seq: int, record: StoredRecord) -> Event | None:
        """Takes the next event.

        Args:
            seq: The number under which it is stored.
            record: The event as stored.

        Returns:
            The event, or None when it could not be read or applied.
        """
        data = self.verifier.feed(seq, record)
        if self.broken:
            return None
        event = self._decode(seq, data, record.text)
        if event is None or not self._apply(event):
            self.broken = True
            return None
        return event

    def _decode(self, seq: int, data: Mapping[str, object] | None, text: str) -> Event | None:
        if data is None:
            return None
        kind = str(data["kind"])
        if kind in self.verifier.unknown_kinds:
            self._find("event.newer-release", seq, f"this release does not know the kind {kind!r}")
            return None
        try:
            event = Event.from_json(data)
        except (codec.CodecError, RecursionError) as error:
            self._find("event.unreadable", seq, f"its payload does not fit: {error}")
            return None
        if event.text != text and event.text != canonical_text(data):
            # The state is folded all the same; but a repair would lose what is not known.
            self._find("event.newer-release", seq, "it has fields that this release does not know")
        return event

    def _apply(self, event: Event) -> bool:
        before = self.head
        if event.seq != (before.seq if before else 0) + 1:
            return False  # the verifier has named the gap
        problems = list(_contradictions(before, self._digests, event))
        for problem in problems:
            self._find("event.contradicts", event.seq, problem)
        if before is not None and before.digest != event.previous:
            before = dataclasses.replace(before, digest=event.previous)  # named by the verifier
        elif before is None and event.previous:
            return False
        try:
            after = fold.apply(fold.Snapshot(before, self.versions), event)
        except (KeyError, ValueError, RegistryError) as error:
            if not problems:
                self._find("event.contradicts", event.seq, f"it cannot be applied: {error}")
            return False
        assert after.head is not None
        # The digest of the text as stored: the event's own lacks fields of newer releases.
        self.head = dataclasses.replace(after.head, digest=self.verifier.digest)
        if self._keep_versions:
            self._texts.update({n: version_text(v) for n, v in after.versions.items()})
        if isinstance(event.payload, Registered):
            self._digests[event.payload.number] = event.payload.facts.digest
        return True

    def _find(self, code: str, seq: int, problem: str) -> None:
        self.findings.append(Damage(code, self.verifier.model, f"event {seq}", problem))


class _Texts(Mapping[int, Version]):
    """The versions, decoded at each look: the objects would need five times the memory."""

    def __init__(self, texts: dict[int, str]) -> None:
        self._texts = texts

    def __getitem__(self, number: int) -> Version:
        return codec.decode(Version, codec.loads(self._texts[number]))

    def __iter__(self) -> Iterator[int]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def __contains__(self, number: object) -> bool:
        return number in self._texts


class _DigestsOnly(Mapping[int, Version]):
    """Stands in for the versions where only the head is wanted from a fold."""

    def __init__(self, model: str, digests: dict[int, str]) -> None:
        self._model = model
        self._digests = digests

    def __getitem__(self, number: int) -> Version:
        facts = ModelFacts("", ModelFormat.OTHER, self._digests[number], "", 0, 0)
        return Version(self._model, number, facts, "", "")

    def __iter__(self) -> Iterator[int]:
        return iter(self._digests)

    def __len__(self) -> int:
        return len(self._digests)


def _contradictions(head: Head | None, digests: Mapping[int, str], event: Event) -> Iterator[str]:
    """Says where an event contradicts the state that it was written on."""
    payload = event.payload
    aliases = head.aliases if head else {}
    if isinstance(payload, Registered):
        expected = (head.latest if head else 0) + 1
        if payload.number != expected and not (payload.adopted and payload.number > expected):
            yield f"it registers version {payload.number}, the next was {expected}"
        return
    if event.number is not None and event.number not in digests:
        yield f"it is about version {event.number}, which was not registered"
        return
    on_bytes = (
        Decided
        | PublishStarted
        | Promoted
        | RollbackStarted
        | RolledBack
        | Adopted
        | RolloutStarted
        | CanaryStarted
    )
    if isinstance(payload, on_bytes) and (payload.digest != digests[payload.number]):
        yield f"its digest is not the one of version {payload.number}"
    if isinstance(payload, AliasSet | AliasRemoved) and (
        payload.previous != (now := aliases.get(payload.alias))
    ):
        yield (
            f"it says that the alias {payload.alias!r} pointed at {_shown(payload.previous)}, "
            f"which was {_shown(now)}"
        )
    if isinstance(payload, Promoted | RolledBack):
        there = head.deployments.get(payload.destination) if head else None
        replaced = there.number if there and there.number != payload.number else None
        if payload.replaces != replaced:
            yield (
                f"it says that {_shown(payload.replaces)} served in {payload.destination!r}, "
                f"which was {_shown(replaced)}"
            )


def _shown(number: int | None) -> str:
    return "nothing" if number is None else f"version {number}"
