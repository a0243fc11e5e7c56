"""The registry as the web pages see it: what it answers, and nothing that it does."""

from __future__ import annotations

from tfx_registry.registry.events import Decided, Event
from tfx_registry.registry.finding import Finding
from tfx_registry.registry.lineage import Lineage
from tfx_registry.registry.reader import RegistryReader

__all__ = ["RegistryView"]


class RegistryView(Finding, Lineage):
    """The reading half of `ModelRegistry`: whoever holds one cannot change a registry.

    It has no method that writes; a test compares it with `ModelRegistry`. Threads may share one, as
    they may share a store.
    """

    @classmethod
    def of(cls, reader: RegistryReader) -> RegistryView:
        """Returns a view of what somebody has open; it is theirs to close."""
        return cls(reader._store)

    def decisions(self, model: str, number: int) -> list[Event]:
        """Returns the events of all gate decisions on a version, oldest first.

        Only what came after its registration is read, so that pages about new versions are there
        soon however long the history is.

        Raises:
            NotFoundError: There is no such version.
        """
        version = self.get(model, number)
        if version.decision is None:
            return []
        return [
            event
            for event in self._log_since(version)
            if isinstance(event.payload, Decided) and event.number == number
        ]

    def events(self, model: str, first: int, last: int) -> list[Event]:
        """Returns a part of the history of a model.

        Args:
            model: Name of the model.
            first: Number of the first event.
            last: Number of the last event.

        Returns:
            Those of the events that exist, oldest first.
        """
        return self._store.read_events(model, first, last)
