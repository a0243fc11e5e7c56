"""Writes logs to JSON Lines, and appends such a file to another registry.

The file has a header, then one line for each event exactly as stored with its digest, then a
trailer that says how many events each log has and how it ends. An import reads it twice: first
everything is verified, and compared with what the registry has already; then what is missing is
appended. So a damaged file or another history changes nothing, and an import that was interrupted
goes on where it stopped.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from tfx_registry import codec, names
from tfx_registry.errors import ConflictError, IntegrityError, InvalidInputError
from tfx_registry.names import model_key
from tfx_registry.records import Head
from tfx_registry.registry.access import POLICY_LOG
from tfx_registry.registry.events import Event
from tfx_registry.registry.replay import Replay
from tfx_registry.registry.same_history import Comparison, compare
from tfx_registry.registry.store import Store, StoredRecord
from tfx_registry.registry.verify import LogVerifier, Progress, canonical_text, read_log

__all__ = ["FORMAT", "Transfer", "export_logs", "import_logs"]

#: The name of the format, in the header.
FORMAT = "tfx-registry-log"

_FORMAT_VERSION = 1
_RETRY_SECONDS = 30.0

#: Appends an event to the state of a head; False when another writer was in the way.
Append = Callable[[Head | None, Event], bool]


@dataclass(frozen=True)
class Transfer:
    """What was exported or imported.

    Attributes:
        events: How many events the file has, by model.
        appended: How many of them were new to the registry, by model; empty for an export.
    """

    events: Mapping[str, int] = field(default_factory=dict)
    appended: Mapping[str, int] = field(default_factory=dict)


def export_logs(
    store: Store,
    heads: Sequence[Head],
    write: Callable[[str], object],
    header: Mapping[str, Any],
    progress: Progress,
) -> Transfer:
    """Writes logs, verified on the way.

    Args:
        store: The store.
        heads: Heads of the models.
        write: Writes text.
        header: What the header says besides the format.
        progress: Told of each event.

    Returns:
        What was written.

    Raises:
        IntegrityError: A log does not verify. What was written has no trailer.
    """
    write(codec.dumps({"format": FORMAT, "version": _FORMAT_VERSION, **header}) + "\n")
    ends: dict[str, dict[str, Any]] = {}
    # The access policy comes last: an import that stops before it can still be continued by all.
    for head in sorted(heads, key=lambda h: (h.model == POLICY_LOG, model_key(h.model))):
        verifier = LogVerifier(head.model)
        for seq, record in read_log(store, head.model, 1, head.seq):
            verifier.feed(seq, record)
            _refuse_damage(f"cannot export {head.model!r}", verifier)
            write(f'{{"digest":"{verifier.digest}","event":{record.text}}}\n')
            progress("exporting", 1)
        verifier.missing_until(head.seq)
        _refuse_damage(f"cannot export {head.model!r}", verifier)
        if verifier.seq == head.seq and verifier.digest != head.digest:
            raise IntegrityError(
                f"cannot export {head.model!r}",
                f"the last event, {head.seq}, and the head disagree on its digest",
                "see what is damaged with 'tfx-registry fsck'",
            )
        ends[head.model] = {"digest": verifier.digest, "events": verifier.count}
    write(codec.dumps({"end": ends}) + "\n")
    return Transfer({model: end["events"] for model, end in ends.items()})


def import_logs(store: Store, append: Append, source: BinaryIO, progress: Progress) -> Transfer:
    """Appends what a file has more than the registry.

    Args:
        store: The store.
        append: Appends one event.
        source: The file; it is read twice.
        progress: Told of each event.

    Returns:
        What was in the file, and how much of it was new.

    Raises:
        InvalidInputError: It is no such file, or of a later release.
        IntegrityError: It is cut or damaged. Nothing was written.
        ConflictError: A model has another history in the registry. Nothing was written.
    """
    start = source.tell()
    counts = _verify(store, source, progress)
    source.seek(start)
    appended = dict.fromkeys(counts, 0)
    heads: dict[str, Head | None] = {}
    for _, record in _lines(source):
        if "event" not in record:
            continue
        event = Event.from_json(record["event"])
        if event.model not in heads:
            heads[event.model] = store.read_head(event.model)
        head = heads[event.model]
        if event.seq > (head.seq if head else 0):
            heads[event.model] = _append(store, append, head, event)
            appended[event.model] += 1
        progress("importing", 1)
    return Transfer(counts, appended)


def _append(store: Store, append: Append, head: Head | None, event: Event) -> Head | None:
    deadline = time.monotonic() + _RETRY_SECONDS
    while not append(head, event):
        there = store.read_raw_events(event.model, event.seq, event.seq).get(event.seq)
        if there is not None:
            # Somebody imports the same, or an answer was lost: what counts is what was written.
            compare(event.model, event.seq, there, event.to_json())
            break
        if time.monotonic() > deadline:
            raise ConflictError(
                f"cannot import event {event.seq} of {event.model!r}",
                f"the registry was busy for {_RETRY_SECONDS:g} seconds",
                "repeat when it is less busy; the import goes on where it stopped",
            )
        time.sleep(random.uniform(0.005, 0.05))
    return store.read_head(event.model)


def _verify(store: Store, source: BinaryIO, progress: Progress) -> dict[str, int]:
    """Reads the whole file; returns the number of events by model."""
    logs: dict[str, Replay] = {}
    waiting = Comparison(store)
    end: Mapping[str, Any] | None = None
    for line, record in _lines(source):
        if line == 1:
            _check_header(record)
        elif end is not None:
            raise _damaged(line, "there is more after the end")
        elif "end" in record:
            end = record["end"]
        else:
            _verify_line(line, record, logs)
            waiting.add(record["event"])
            progress("verifying", 1)
    waiting.flush()
    found = {m: {"digest": r.verifier.digest, "events": r.verifier.count} for m, r in logs.items()}
    if end is None:
        raise IntegrityError(
            "cannot import this file",
            f"its end is missing after {sum(r.verifier.count for r in logs.values())} events",
            "export again, or copy the file again; nothing was imported",
        )
    if end != found:
        raise IntegrityError(
            "cannot import this file",
            "its events are not those that its last line counts",
            "export again; nothing was imported",
        )
    return {model: log.verifier.count for model, log in logs.items()}


def _verify_line(line: int, record: Mapping[str, Any], logs: dict[str, Replay]) -> None:
    event = record.get("event")
    if not isinstance(event, dict) or not isinstance(model := event.get("model"), str):
        raise _damaged(line, "it holds no event")
    if model not in logs:
        if any(model_key(model) == model_key(other) for other in logs):
            raise _damaged(line, f"the name {model!r} differs from an earlier one only in case")
        if model != POLICY_LOG:
            names.check_model_name(model)
        logs[model] = Replay(model, keep_versions=False)
    log = logs[model]
    seq = event.get("seq")
    if not isinstance(seq, int) or seq != log.verifier.seq + 1:
        raise _damaged(line, f"it holds event {seq} of {model!r} after event {log.verifier.seq}")
    try:
        text = canonical_text(event)
    except ValueError as error:
        raise _damaged(line, str(error)) from error
    log.feed(seq, StoredRecord(text))
    if log.verifier.digest != record.get("digest"):
        raise _damaged(line, f"event {seq} of {model!r} was edited: its digest is another")
    if log.all_findings:
        first = log.all_findings[0]
        todo = "nothing was imported"
        if first.code == "event.newer-release":
            todo = f"import it with a newer release; {todo}"
        raise IntegrityError(f"cannot import {model!r}", str(first), todo)


def _lines(source: BinaryIO) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(source, 1):
        try:
            record = codec.loads(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            if number == 1:
                raise _foreign("its first line is no JSON") from error
            raise _damaged(number, "it is no JSON") from error
        if not isinstance(record, dict):
            raise _foreign("it is not of this format") if number == 1 else _damaged(number, "odd")
        yield number, record


def _check_header(header: Mapping[str, Any]) -> None:
    if header.get("format") != FORMAT:
        raise _foreign(f"its first line does not say {FORMAT!r}")
    if header.get("version") != _FORMAT_VERSION:
        raise InvalidInputError(
            "cannot import this file",
            f"it is of version {header.get('version')!r} of the format, known is {_FORMAT_VERSION}",
            "import it with a newer release",
        )


def _refuse_damage(what: str, verifier: LogVerifier) -> None:
    if verifier.findings:
        raise IntegrityError(
            what, str(verifier.findings[0]), "see all damage with 'tfx-registry fsck'"
        )


def _foreign(why: str) -> InvalidInputError:
    return InvalidInputError(
        "cannot import this file", why, "give a file that 'tfx-registry export' wrote"
    )


def _damaged(line: int, why: str) -> IntegrityError:
    return IntegrityError(
        f"cannot import this file: line {line}",
        why,
        "the file is cut or was edited: export again; nothing was imported",
    )
