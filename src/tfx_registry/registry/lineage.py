"""What a version came from, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator

from tfx_registry.records import Version
from tfx_registry.registry.events import Event, Registered
from tfx_registry.registry.lineage_graph import (
    GraphBuilder,
    LineageGraph,
    NodeKind,
    source_node,
    version_id,
    version_node,
)
from tfx_registry.registry.lineage_log import Aftermath
from tfx_registry.registry.reader import RegistryReader

__all__ = ["Lineage"]

_BATCH = 500


class Lineage(RegistryReader):
    """The part of `ModelRegistry` that follows a version backwards and forwards."""

    def lineage(self, model: str, number: int) -> LineageGraph:
        """Returns the lineage of a version.

        Upstream: the artifacts that it was registered with and, where the store is also the
        pipeline's own ML Metadata, the executions and artifacts that those came from; versions
        that it was made from. Downstream, by the log of the model: decisions, approvals, aliases,
        deployments, versions that were compared with it or have its bytes; and the versions of any
        model that were made directly from it.

        Args:
            model: Name of the model.
            number: The version.

        Returns:
            The graph.

        Raises:
            NotFoundError: There is no such version.
        """
        version = self.get(model, number)
        root = version_node(version)
        builder = GraphBuilder(root.id)
        builder.add(root)
        builder.merge(self._store.upstream(version))
        _add_sources(builder, version)
        if version.same_bytes_as is not None:
            self._add_version(builder, version.model, version.same_bytes_as)
            twin = version_id(version.model, version.same_bytes_as)
            builder.connect(twin, root.id, "same bytes")
        after = Aftermath(builder, version)
        for event in self._log_since(version):
            after.follow(event)
        after.finish()
        for other in self._store.read_versions(version.model, after.versions).values():
            builder.add(version_node(other))
        self._add_derived(builder, version)
        return builder.build()

    def _add_derived(self, builder: GraphBuilder, version: Version) -> None:
        """Adds the versions of all models that were made from this one."""
        root = version_id(version.model, version.number)
        for found in self._store.derived(version):
            self._add_version(builder, found.model, found.number)
            builder.connect(root, version_id(found.model, found.number), found.role)

    def _add_version(self, builder: GraphBuilder, model: str, number: int) -> None:
        if version_id(model, number) not in builder:
            builder.add(version_node(self.get(model, number)))

    def _log_since(self, version: Version) -> Iterator[Event]:
        """Reads the events of the model that come after the registration of a version.

        Times lead to the place in the log, roughly: clocks differ between machines. So the place
        counts only if the registration is found there; else everything is read.
        """
        last = self.head(version.model).seq
        for start in (self._first_at(version, last), 1):
            found = False
            for first in range(start, last + 1, _BATCH):
                batch = self._store.read_events(version.model, first, min(first + _BATCH - 1, last))
                for event in batch:
                    if found:
                        yield event
                    elif isinstance(event.payload, Registered):
                        found = event.payload.number == version.number
            if found:
                return

    def _first_at(self, version: Version, last: int) -> int:
        low, high = 1, last
        while low < high:
            middle = (low + high) // 2
            events = self._store.read_events(version.model, middle, middle)
            if events and events[0].time < version.time:
                low = middle + 1
            else:
                high = middle
        return low


def _add_sources(builder: GraphBuilder, version: Version) -> None:
    """Adds the recorded sources that the store did not find, and what is recorded of the others."""
    root = version_id(version.model, version.number)
    known = {
        (node.type_name, node.uri): node.id
        for node in builder.nodes
        if node.kind is NodeKind.ARTIFACT
    }
    for source in version.sources:
        node = source_node(source)
        node_id = known.get((source.type_name, source.uri), node.id)
        builder.add(node) if node_id == node.id else builder.describe(node_id, **node.properties)
        builder.connect(node_id, root, source.key)
