"""Does a log hold together? Checked on the stored text, so newer fields and kinds do no harm.

The digest of an event is the SHA-256 of its canonical JSON text, `previous` included. A release
that does not know a field of a later release would lose it by decoding and encoding again, so
nothing here decodes a payload.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from tfx_registry import codec
from tfx_registry.names import model_key
from tfx_registry.registry.events import Payload
from tfx_registry.registry.store import Store, StoredRecord

__all__ = [
    "UNREADABLE_ROW",
    "Damage",
    "LogReport",
    "LogVerifier",
    "Progress",
    "canonical_text",
    "read_log",
    "silent",
    "text_digest",
    "verify_log",
]

#: How many events are read at once.
READ_BATCH = 200

#: The code of a row on which ML Metadata may end the process that reads it.
UNREADABLE_ROW = "file.row"

_KNOWN_KINDS = frozenset(cls.kind for cls in get_args(Payload))

_ENVELOPE: Mapping[str, type] = {
    "model": str,
    "seq": int,
    "time": str,
    "actor": str,
    "reason": str,
    "token": str,
    "previous": str,
    "kind": str,
    "payload": dict,
}


@dataclass(frozen=True)
class Damage:
    """One thing that is not as it must be.

    Attributes:
        code: Which kind of damage, such as "event.missing"; docs/audit.md lists them.
        model: Name of the model; "" for what belongs to none.
        thing: What is damaged, such as "event 7" or "version 3".
        problem: What is wrong with it.
        repairable: Whether `fsck --repair` can put it right from the log.
    """

    code: str
    model: str
    thing: str
    problem: str
    repairable: bool = False

    def __str__(self) -> str:
        """One line: `penguin event 7: ... [event.missing]`."""
        return f"{self.model} {self.thing}: {self.problem} [{self.code}]".lstrip()


@dataclass(frozen=True)
class LogReport:
    """What the check of one log found.

    Attributes:
        model: Name of the model, as the log spells it.
        events: How many events were read.
        seq: Sequence number of the last event.
        digest: Its digest, the end of the chain.
        findings: What is wrong; empty for a log that holds.
        unknown_kinds: How many events there are of each kind that this release does not know.
            Their digests were checked like all others.
    """

    model: str
    events: int
    seq: int
    digest: str
    findings: tuple[Damage, ...] = ()
    unknown_kinds: Mapping[str, int] = field(default_factory=dict)


def text_digest(text: str) -> str:
    """Returns the hexadecimal SHA-256 of a text in UTF-8.

    Raises:
        ValueError: The text cannot be written in UTF-8.
    """
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def canonical_text(value: Any) -> str:
    """Writes a JSON value, not an object of ours, as `codec.dumps` does; much faster.

    Raises:
        ValueError: It holds an infinite number.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


class LogVerifier:
    """Checks the events of one log, one after the other; knows only the last one and the tokens.

    Attributes:
        model: Name of the model, as the first event that can be read spells it.
        seq: Sequence number of the last event; 0 before the first.
        digest: Its digest.
        count: How many events were fed.
        findings: What is wrong so far.
        unknown_kinds: How many events of each unknown kind.
    """

    def __init__(self, model: str) -> None:
        """Begins with the first event of a model."""
        self.model = model
        self.seq = 0
        self.digest = ""
        self.count = 0
        self.findings: list[Damage] = []
        self.unknown_kinds: Counter[str] = Counter()
        self._tokens: set[bytes] = set()
        # The first event that can be read says how the name is spelled.
        self._spelled = False
        # The chain is not compared across an event that is missing or was reported already.
        self._chained = True

    def feed(self, seq: int, record: StoredRecord) -> Mapping[str, Any] | None:
        """Checks the next event.

        Args:
            seq: The number under which it is stored; greater than the last one.
            record: The event as stored.

        Returns:
            The JSON object, or None when it is none or its envelope is broken.
        """
        if seq > self.seq + 1:
            self._missing(self.seq + 1, seq - 1)
        self.count += 1
        for wrong in record.wrong:
            self._find("event.index", seq, wrong)
        event = self._read(seq, record.text)
        if event is not None:
            self._check_chain(seq, event["previous"])
            self._check_envelope(seq, event)
        self._chained = event is not None
        try:
            self.digest = text_digest(record.text)
        except ValueError:
            self.digest = ""
        self.seq = seq
        return event

    def missing_until(self, last: int) -> None:
        """Says that events up to `last` should have followed and did not."""
        if last > self.seq:
            self._missing(self.seq + 1, last)

    def report(self) -> LogReport:
        """Returns what was found so far."""
        return LogReport(
            self.model,
            self.count,
            self.seq,
            self.digest,
            tuple(self.findings),
            dict(sorted(self.unknown_kinds.items())),
        )

    def _read(self, seq: int, text: str) -> Mapping[str, Any] | None:
        try:
            event = codec.loads(text)
            canonical = canonical_text(event) == text
        except (ValueError, RecursionError) as error:
            why = str(error) if text else "there is no text"
            self._find("event.unreadable", seq, f"its record is no JSON: {why}")
            return None
        bad = _broken_field(event)
        if bad:
            self._find("event.unreadable", seq, bad)
            return None
        if not canonical:
            self._find("event.edited", seq, "its text is not as a registry writes it")
        assert isinstance(event, Mapping)
        return event

    def _check_chain(self, seq: int, previous: str) -> None:
        if seq != self.seq + 1 or not self._chained or previous == self.digest:
            return
        if seq == 1:
            self._find("event.edited", 1, "it follows an event, and it is the first")
            return
        self._find(
            "event.edited",
            self.seq,
            f"its digest is {self.digest[:12]}, and event {seq} follows one with the digest "
            f"{previous[:12]}: it was edited, or event {seq} was",
        )

    def _check_envelope(self, seq: int, event: Mapping[str, Any]) -> None:
        if not self._spelled:
            fits = model_key(event["model"]) == model_key(self.model)
            self.model = event["model"] if fits else self.model
            self._spelled = fits
        if event["model"] != self.model or event["seq"] != seq:
            self._find(
                "event.misplaced",
                seq,
                f"its record says event {event['seq']} of {event['model']!r}",
            )
        token = hashlib.sha256(event["token"].encode("utf-8", "replace")).digest()[:16]
        if token in self._tokens:
            self._find("event.token-twice", seq, "an earlier event has the same token")
        self._tokens.add(token)
        if event["kind"] not in _KNOWN_KINDS:
            self.unknown_kinds[event["kind"]] += 1

    def _missing(self, first: int, last: int) -> None:
        name = f"event {first}" if first == last else f"events {first} to {last}"
        verb = "is" if first == last else "are"
        self.findings.append(
            Damage("event.missing", self.model, name, f"{verb} missing in the log")
        )
        self._chained = False

    def _find(self, code: str, seq: int, problem: str) -> None:
        self.findings.append(Damage(code, self.model, f"event {seq}", problem))


def read_log(
    store: Store, model: str, first: int, at_least: int
) -> Iterator[tuple[int, StoredRecord]]:
    """Reads a log from an event to its end.

    Args:
        store: The store.
        model: Name of the model.
        first: The first event to read.
        at_least: Reads on over missing events up to here.

    Yields:
        Number and record of each event that exists, in order.
    """
    while True:
        found = store.read_raw_events(model, first, first + READ_BATCH - 1)
        yield from sorted(found.items())
        first += READ_BATCH
        if not found and first > at_least:
            return


#: Told what is done and to how many events since the last call.
Progress = Callable[[str, int], None]


def silent(_stage: str, _count: int) -> None:
    """Shows no progress."""


def verify_log(store: Store, model: str, at_least: int, progress: Progress = silent) -> LogReport:
    """Checks the whole log of one model.

    Args:
        store: The store.
        model: Name of the model.
        at_least: Number of the event that the log must reach.
        progress: Told of each event.

    Returns:
        The report.
    """
    verifier = LogVerifier(model)
    for seq, record in read_log(store, model, 1, at_least):
        verifier.feed(seq, record)
        progress("verifying", 1)
    verifier.missing_until(at_least)
    return verifier.report()


def _broken_field(event: Any) -> str:
    if not isinstance(event, dict):
        return "its record is no JSON object"
    for name, kind in _ENVELOPE.items():
        if name not in event:
            return f"its record has no field {name!r}"
        value = event[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            return f"the field {name!r} of its record is {str(value)[:40]!r}"
    return ""
