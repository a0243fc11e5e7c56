"""What the registry asks of a store: a few reads, and one atomic append.

`tests/contract` holds the suite that every implementation must pass.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tfx_registry.records import Head, Version
from tfx_registry.registry.events import Event
from tfx_registry.registry.lineage_graph import LineageGraph

__all__ = ["AppendConflict", "DerivedVersion", "StateRepair", "Store", "StoredKeys", "StoredRecord"]


class AppendConflict(Exception):  # noqa: N818 - not an error: the writer reads again and retries
    """The sequence number or the token is taken, or the store asks to try again.

    Attributes:
        why: What stood in the way where that was no faster writer, else "".
        todo: What to do about it, or "".
    """

    def __init__(self, text: str = "", *, why: str = "", todo: str = "") -> None:
        """Makes it."""
        super().__init__(text)
        self.why = why
        self.todo = todo


@dataclass(frozen=True)
class StoredRecord:
    """A record as it is stored, for checks that do not trust it.

    Attributes:
        text: The JSON text, or what is there in its place.
        wrong: One line for each thing that the store keeps beside the text (a name, an index) and
            that contradicts it.
    """

    text: str
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class StoredKeys:
    """Under which keys a store holds records of one model.

    Attributes:
        has_head: Whether there is a head.
        versions: Numbers of the versions.
        contents: Root digests in the content index.
        last_event: Number of the last event, 0 if there is none.
    """

    has_head: bool = False
    versions: frozenset[int] = frozenset()
    contents: frozenset[str] = frozenset()
    last_event: int = 0


@dataclass(frozen=True)
class StateRepair:
    """What the log says where the store says something else.

    Attributes:
        head: The head, or None when it is right.
        versions: The versions that are missing or wrong.
        contents: Newest versions by root digest, where the content index is missing or wrong.
        extra_versions: Numbers of versions that the log does not know.
        extra_contents: Root digests that the log does not know.
    """

    head: Head | None = None
    versions: Sequence[Version] = ()
    contents: Mapping[str, int] = field(default_factory=dict)
    extra_versions: Sequence[int] = ()
    extra_contents: Sequence[str] = ()


class DerivedVersion(Protocol):
    """A version that was made from another one, and as what that was given."""

    @property
    def model(self) -> str:
        """Its model."""

    @property
    def number(self) -> int:
        """Its number."""

    @property
    def role(self) -> str:
        """The role of the other one, such as "base_model"."""


class Store(Protocol):
    """Keeps events, and beside them the head and the versions as their fold."""

    def read_head(self, model: str) -> Head | None:
        """Returns the head of a model, compared case-insensitively, or None."""

    def read_heads(self, models: Sequence[str]) -> list[Head | None]:
        """Returns the heads of several models, all of one moment, in the order of their names."""

    def read_versions(self, model: str, numbers: Collection[int]) -> dict[int, Version]:
        """Returns those of the versions that exist, by number."""

    def read_events(self, model: str, first: int, last: int) -> list[Event]:
        """Returns the events `first` to `last`, both inclusive, in order, as far as they exist."""

    def find_operation(self, model: str, token: str) -> Event | None:
        """Returns the event that was appended with a token, or None."""

    def find_digest(self, model: str, digest: str) -> int | None:
        """Returns the newest version of a model whose bytes have a root digest, or None."""

    def list_heads(self) -> list[Head]:
        """Returns the heads of all models, ordered by name."""

    def append(self, event: Event, head: Head, versions: Sequence[Version]) -> None:
        """Appends an event together with the head and the versions that it changes; all or nothing.

        Raises:
            AppendConflict: An event with this sequence number, or this token, exists already, or
                another writer was in the way. Nothing was written, unless by an attempt whose
                answer was lost: look up the token before the next try.
            StoreUnavailableError: The store cannot be written.
        """

    def scan(self) -> dict[str, StoredKeys]:
        """Looks for records everywhere; returns the keys by case-folded model name."""

    def read_raw_head(self, model: str) -> StoredRecord | None:
        """Returns the head of a model as stored, or None."""

    def read_raw_versions(self, model: str, numbers: Collection[int]) -> dict[int, StoredRecord]:
        """Returns those of the versions that exist, as stored, by number."""

    def read_raw_events(self, model: str, first: int, last: int) -> dict[int, StoredRecord]:
        """Returns the events `first` to `last` as stored, by number, as far as they exist."""

    def read_raw_contents(self, model: str, digests: Collection[str]) -> dict[str, str]:
        """Returns what the content index says of root digests, as stored."""

    def put_state(self, model: str, repair: StateRepair) -> None:
        """Overwrites the head, versions and the content index; events stay as they are.

        Only for repairs: a writer at work may find its event without its state for a moment, or
        its state overwritten. The head is written last.

        Raises:
            AppendConflict: Another writer was in the way.
            StoreUnavailableError: The store cannot be written.
        """

    def upstream(self, version: Version) -> LineageGraph:
        """Returns what a version came from, with edges up to the node of the version.

        The caller adds the recorded sources. What else the store knows is up to it: the versions
        that those are, or, if it holds pipelines, what made them.
        """

    def derived(self, version: Version) -> Sequence[DerivedVersion]:
        """Returns the versions, of any model, that were made directly from a version."""

    def close(self) -> None:
        """Lets go of the connection."""
