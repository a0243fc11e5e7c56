"""A store in memory, for tests and for trying things out. It is gone with the process."""

from __future__ import annotations

import functools
import threading
from collections.abc import Collection, Sequence

from tfx_registry import codec
from tfx_registry.names import model_key
from tfx_registry.records import Head, Version
from tfx_registry.registry.events import Event, Registered
from tfx_registry.registry.lineage_graph import LineageGraph
from tfx_registry.registry.memory_lineage import Derived, Places
from tfx_registry.registry.store import AppendConflict, StateRepair, StoredKeys, StoredRecord

__all__ = ["MemoryStore"]

#: So many records of each kind are kept as objects, for whoever goes through a log again and again.
_KEPT = 4096


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
        self._places = Places(self._version)

    def read_head(self, model: str) -> Head | None:
        """See `store.Store`."""
        text = self._heads.get(model_key(model))
        return codec.decode(Head, codec.loads(text)) if text else None

    def read_heads(self, models: Sequence[str]) -> list[Head | None]:
        """See `store.Store`."""
        with self._lock:
            return [self.read_head(model) for model in models]

    def read_versions(self, model: str, numbers: Collection[int]) -> dict[int, Version]:
        """See `store.Store`."""
        found = {n: self._versions.get((model_key(model), n)) for n in numbers}
        return {n: _version(t) for n, t in found.items() if t}

    def read_events(self, model: str, first: int, last: int) -> list[Event]:
        """See `store.Store`."""
        found = (self._events.get((model_key(model), seq)) for seq in range(first, last + 1))
        return [_event(text) for text in found if text]

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
                self._put_version(key, version)
            self._heads[key] = codec.dumps(head)

    def scan(self) -> dict[str, StoredKeys]:
        """See `store.Store`."""
        with self._lock:
            heads, versions = set(self._heads), set(self._versions)
            events, digests = set(self._events), set(self._digests)
        keys = heads | {key for key, _ in (*versions, *events, *digests)}
        return {
            key: StoredKeys(
                key in heads,
                frozenset(number for model, number in versions if model == key),
                frozenset(digest for model, digest in digests if model == key),
                max((seq for model, seq in events if model == key), default=0),
            )
            for key in sorted(keys)
        }

    def read_raw_head(self, model: str) -> StoredRecord | None:
        """See `store.Store`."""
        text = self._heads.get(model_key(model))
        return None if text is None else StoredRecord(text)

    def read_raw_versions(self, model: str, numbers: Collection[int]) -> dict[int, StoredRecord]:
        """See `store.Store`."""
        found = {n: self._versions.get((model_key(model), n)) for n in numbers}
        return {n: StoredRecord(text) for n, text in found.items() if text is not None}

    def read_raw_events(self, model: str, first: int, last: int) -> dict[int, StoredRecord]:
        """See `store.Store`."""
        key = model_key(model)
        records = {}
        with self._lock:
            tokens = {s: t for (k, t), s in self._tokens.items() if k == key and first <= s <= last}
            texts = {seq: self._events.get((key, seq)) for seq in range(first, last + 1)}
        for seq, text in texts.items():
            if text is not None:
                known = seq in tokens and f'"token":{codec.dumps(tokens[seq])}' in text
                wrong = () if known else ("the index of tokens does not lead to it",)
                records[seq] = StoredRecord(text, wrong)
        return records

    def read_raw_contents(self, model: str, digests: Collection[str]) -> dict[str, str]:
        """See `store.Store`."""
        found = {digest: self._digests.get((model_key(model), digest)) for digest in digests}
        return {digest: str(number) for digest, number in found.items() if number is not None}

    def put_state(self, model: str, repair: StateRepair) -> None:
        """See `store.Store`."""
        key = model_key(model)
        with self._lock:
            for number in repair.extra_versions:
                self._versions.pop((key, number), None)
            for digest in repair.extra_contents:
                self._digests.pop((key, digest), None)
            for version in repair.versions:
                self._put_version(key, version)
            for digest, number in repair.contents.items():
                self._digests[key, digest] = number
            if repair.head is not None:
                self._heads[key] = codec.dumps(repair.head)

    def upstream(self, version: Version) -> LineageGraph:
        """See `store.Store`."""
        with self._lock:
            return self._places.upstream(version)

    def derived(self, version: Version) -> list[Derived]:
        """See `store.Store`."""
        with self._lock:
            return self._places.derived(version)

    def close(self) -> None:
        """Nothing to let go of."""

    def _put_version(self, key: str, version: Version) -> None:
        if (key, version.number) not in self._versions:
            self._places.add((key, version.number), version)
        self._versions[key, version.number] = codec.dumps(version)

    def _version(self, key: tuple[str, int]) -> Version | None:
        text = self._versions.get(key)
        return _version(text) if text else None


# Equal text is the same record, and records do not change.


@functools.lru_cache(maxsize=_KEPT)
def _version(text: str) -> Version:
    return codec.decode(Version, codec.loads(text))


@functools.lru_cache(maxsize=_KEPT)
def _event(text: str) -> Event:
    return Event.from_json(codec.loads(text))
