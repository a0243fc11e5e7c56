"""Which versions in memory were made from which: an index of the places that they lie at.

Without it, the lineage of one version would look at all versions of all models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tfx_registry.records import Version
from tfx_registry.registry.lineage_graph import (
    GraphBuilder,
    LineageGraph,
    is_location_of,
    source_node,
    version_id,
    version_node,
)

__all__ = ["Derived", "Places"]

#: Key of a model and number of a version.
_Key = tuple[str, int]


@dataclass(frozen=True, order=True)
class Derived:
    """See `store.DerivedVersion`."""

    model: str
    number: int
    role: str


class Places:
    """Finds versions by where they were registered from, and by where their sources lie."""

    def __init__(self, read: Callable[[_Key], Version | None]) -> None:
        """Begins without any.

        Args:
            read: Reads a version, or returns None for one that is gone.
        """
        self._read = read
        self._at: dict[str, set[_Key]] = {}
        self._from: dict[str, set[_Key]] = {}

    def add(self, key: _Key, version: Version) -> None:
        """Takes up a version; its places never change."""
        for place in _places(version):
            self._at.setdefault(place, set()).add(key)
        for source in version.sources:
            self._from.setdefault(source.uri.rstrip("/"), set()).add(key)

    def upstream(self, version: Version) -> LineageGraph:
        """See `store.Store`."""
        root = version_node(version)
        builder = GraphBuilder(root.id)
        builder.add(root)
        for source in version.sources:
            if is_location_of(version, source.uri):
                continue
            node = source_node(source)
            for other in self._versions(self._at.get(source.uri.rstrip("/"), ())):
                builder.add(version_node(other))
                builder.add(node)
                builder.connect(version_id(other.model, other.number), node.id, "is")
        return builder.build()

    def derived(self, version: Version) -> list[Derived]:
        """See `store.Store`."""
        keys = {key for place in _places(version) for key in self._from.get(place, ())}
        return [
            Derived(other.model, other.number, source.key)
            for other in self._versions(keys)
            if not is_location_of(other, version.uri)
            for source in other.sources
            if is_location_of(version, source.uri)
        ]

    def _versions(self, keys: Iterable[_Key]) -> list[Version]:
        found = (self._read(key) for key in sorted(keys))
        return [version for version in found if version is not None]


def _places(version: Version) -> set[str]:
    return {version.uri.rstrip("/"), version.origin.artifact_uri.rstrip("/")} - {""}
