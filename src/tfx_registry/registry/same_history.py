"""Is the history in a file the one that a registry has already?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfx_registry import codec
from tfx_registry.errors import ConflictError, IntegrityError
from tfx_registry.registry.store import Store, StoredRecord
from tfx_registry.registry.verify import READ_BATCH, canonical_text

__all__ = ["Comparison", "compare"]


class Comparison:
    """Compares events of the file with those of the registry, many at once."""

    def __init__(self, store: Store) -> None:
        """Begins with nothing."""
        self._store = store
        self._events: list[Mapping[str, Any]] = []

    def add(self, event: Mapping[str, Any]) -> None:
        """Takes the next event of the file."""
        if self._events and event["model"] != self._events[0]["model"]:
            self.flush()
        self._events.append(event)
        if len(self._events) >= READ_BATCH:
            self.flush()

    def flush(self) -> None:
        """Compares what has come together."""
        if not self._events:
            return
        model, first = self._events[0]["model"], self._events[0]["seq"]
        there = self._store.read_raw_events(model, first, self._events[-1]["seq"])
        head = self._store.read_head(model)
        for event in self._events:
            seq = event["seq"]
            if seq in there:
                compare(model, seq, there[seq], event)
            elif head is not None and seq <= head.seq:
                raise IntegrityError(
                    f"cannot import {model!r}",
                    f"event {seq} is missing in the registry, which has later ones",
                    "see what is damaged with 'tfx-registry fsck'; nothing was imported",
                )
        self._events = []


def compare(model: str, seq: int, there: StoredRecord, event: Mapping[str, Any]) -> None:
    """Compares one event.

    Args:
        model: Name of the model.
        seq: Number of the event.
        there: What the registry has.
        event: What the file has, as a JSON object.

    Raises:
        ConflictError: They differ.
    """
    if there.text == canonical_text(event):
        return
    try:
        known = codec.loads(there.text)
        shown = f"{known['kind']!r} by {known['actor']} at {known['time']}"
    except (ValueError, RecursionError, KeyError, TypeError):
        shown = "not readable"
    raise ConflictError(
        f"cannot import {model!r}",
        f"event {seq} is the first that differs: in the registry it is {shown}, in the file "
        f"{event['kind']!r} by {event['actor']} at {event['time']}",
        "import into another registry; histories are never merged",
    )
