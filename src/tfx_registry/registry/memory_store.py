"""A store in memory, for tests and for trying things out. It is gone with the process."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence

from tfx_registry import codec
from tfx_registry.names import model_key
from tfx_registry.records import Head, Version
from tfx_registry.registry.events import Event, Registered
from tfx_registry.registry.store import AppendConflict

__all__ = ["MemoryStore"]


class MemoryStore:
    """Implements `store.Store`; safe for threads.

    It keeps the JSON texts that a database would keep, so that a record which does not survive
    its encoding fails here as well.
    """

    def __init__(self) -> None:
        """Makes an empty store."""
        self._lock = threading.Lock()
        self._heads: dict[str, str] = {}
        self._versions: dict[tuple[str, int], str] = {}
        self._events: dict[tuple[str, int], str] = {}
        self._tokens: dict[tuple[str, str], int] = {}
        self._digests: dict[tuple[str, str], int] = {}

    def read_head(self, model: str) -> Head | None:
        """See `store.Store`."""
        text = self._heads.get(model_key(model))
        return codec.decode(Head, codec.loads(text)) if text else None

    def read_versions(self, model: str, numbers: Collection[int]) -> dict[int, Version]:
        """See `store.Store`."""
        found = {n: self._versions.get((model_key(model), n)) for n in numbers}
        return {n: codec.decode(Version, codec.loads(t)) for n, t in found.items() if t}

    def read_events(self, model: str, first: int, last: int) -> list[Event]:
        """See `store.Store`."""
        found = (self._events.get((model_key(model), seq)) for seq in range(first, last + 1))
        return [Event.from_json(codec.loads(text)) for text in found if text]

    def find_operation(self, model: str, token: str) -> Event | None:
        """See `store.Store`."""
        seq = self._tokens.get((model_key(model), token))
        return self.read_events(model, seq, seq)[0] if seq else None

    def find_digest(self, model: str, digest: str) -> int | None:
        """See `store.Store`."""
        return self._digests.get((model_key(model), digest))

    def list_heads(self) -> list[Head]:
        """See `store.Store`."""
        with self._lock:
            keys = sorted(self._heads)
        heads = (self.read_head(key) for key in keys)
        return [head for head in heads if head is not None]

    def append(self, event: Event, head: Head, versions: Sequence[Version]) -> None:
        """See `store.Store`."""
        key = model_key(event.model)
        with self._lock:
            if (key, event.seq) in self._events or (key, event.token) in self._tokens:
                raise AppendConflict
            self._events[key, event.seq] = codec.dumps(event.to_json())
            self._tokens[key, event.token] = event.seq
            if isinstance(event.payload, Registered):
                self._digests[key, event.payload.facts.digest] = event.payload.number
            for version in versions:
                self._versions[key, version.number] = codec.dumps(version)
            self._heads[key] = codec.dumps(head)

    def close(self) -> None:
        """Nothing to let go of."""
