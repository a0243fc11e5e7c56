"""What the registry asks of a store: a few reads, and one atomic append.

`tests/contract` holds the suite that every implementation must pass.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from tfx_registry.records import Head, Version
from tfx_registry.registry.events import Event

__all__ = ["AppendConflict", "Store"]


class AppendConflict(Exception):  # noqa: N818 - not an error: the writer reads again and retries
    """The sequence number or the token is taken, or the store asks to try again."""


class Store(Protocol):
    """Keeps events, and beside them the head and the versions as their fold."""

    def read_head(self, model: str) -> Head | None:
        """Returns the head of a model, compared case-insensitively, or None."""

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

    def close(self) -> None:
        """Lets go of the connection."""
