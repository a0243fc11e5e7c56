"""The lineage of a version as a graph: from what it came from to what came of it."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tfx_registry.records import LineageSource, Version

__all__ = [
    "Edge",
    "GraphBuilder",
    "LineageGraph",
    "Node",
    "NodeKind",
    "is_location_of",
    "source_node",
    "version_id",
    "version_node",
]


class NodeKind(str, enum.Enum):
    """What a node stands for."""

    VERSION = "version"
    ARTIFACT = "artifact"
    EXECUTION = "execution"
    DECISION = "decision"
    ALIAS = "alias"
    DEPLOYMENT = "deployment"
    EVENT = "event"


@dataclass(frozen=True)
class Node:
    """One thing in the lineage.

    Attributes:
        id: Unique in the graph; stable for versions and events, else up to the store.
        kind: What it stands for.
        label: One line for people.
        type_name: Type of an artifact or execution, else "".
        uri: Where an artifact lies, else "".
        properties: What is known of it, as text.
    """

    id: str
    kind: NodeKind
    label: str
    type_name: str = ""
    uri: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Edge:
    """What `source` gave to `target`: an arrow in the direction of time.

    Attributes:
        source: Id of the cause.
        target: Id of the effect.
        role: In which role, such as "examples" or "baseline"; may be "".
    """

    source: str
    target: str
    role: str = ""


@dataclass(frozen=True)
class LineageGraph:
    """Everything around one version.

    Attributes:
        root: Id of the node of the version.
        nodes: All nodes, the root among them.
        edges: All arrows; both ends are nodes.
        truncated: Whether the walk upstream ended at its bound, so that more may exist.
    """

    root: str
    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    truncated: bool = False

    def node(self, node_id: str) -> Node:
        """Returns a node; raises KeyError where there is none."""
        for node in self.nodes:
            if node.id == node_id:
                return node
        raise KeyError(node_id)

    def upstream(self, node_id: str) -> list[tuple[str, Node]]:
        """Returns the direct causes of a node, each with its role."""
        return [
            (edge.role, self.node(edge.source)) for edge in self.edges if edge.target == node_id
        ]

    def downstream(self, node_id: str) -> list[tuple[str, Node]]:
        """Returns the direct effects of a node, each with its role."""
        return [
            (edge.role, self.node(edge.target)) for edge in self.edges if edge.source == node_id
        ]

    def _repr_html_(self) -> str:
        from tfx_registry.displays import lineage_html  # only notebooks need it

        return lineage_html(self)

    def to_json(self) -> dict[str, Any]:
        """Returns the graph as a JSON object; every key is always there."""
        return {
            "root": self.root,
            "truncated": self.truncated,
            "nodes": [
                {
                    "id": node.id,
                    "kind": node.kind.value,
                    "label": node.label,
                    "type": node.type_name,
                    "uri": node.uri,
                    "properties": dict(node.properties),
                }
                for node in self.nodes
            ],
            "edges": [dataclasses.asdict(edge) for edge in self.edges],
        }


class GraphBuilder:
    """Collects nodes and edges; adding one twice changes nothing."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._nodes: dict[str, Node] = {}
        self._edges: dict[Edge, None] = {}
        self.truncated = False

    def __contains__(self, node_id: str) -> bool:
        """Tells whether there is a node."""
        return node_id in self._nodes

    def __len__(self) -> int:
        """The number of nodes."""
        return len(self._nodes)

    @property
    def nodes(self) -> list[Node]:
        """The nodes so far."""
        return list(self._nodes.values())

    def add(self, node: Node) -> None:
        """Adds a node, unless one with its id is there."""
        self._nodes.setdefault(node.id, node)

    def connect(self, source: str, target: str, role: str = "") -> None:
        """Adds an edge, unless it leads from a node to itself."""
        if source != target:
            self._edges.setdefault(Edge(source, target, role))

    def describe(self, node_id: str, **properties: str) -> None:
        """Adds properties to a node; empty ones are left out."""
        node = self._nodes[node_id]
        known = {key: value for key, value in properties.items() if value}
        merged = {**node.properties, **known}
        self._nodes[node_id] = dataclasses.replace(node, properties=merged)

    def merge(self, graph: LineageGraph) -> None:
        """Adds all of another graph."""
        for node in graph.nodes:
            self.add(node)
        for edge in graph.edges:
            self.connect(edge.source, edge.target, edge.role)
        self.truncated = self.truncated or graph.truncated

    def build(self) -> LineageGraph:
        """Returns the graph; edges to nodes that were never added are left out."""
        edges = [e for e in self._edges if e.source in self._nodes and e.target in self._nodes]
        return LineageGraph(self._root, tuple(self._nodes.values()), tuple(edges), self.truncated)


def source_node(source: LineageSource) -> Node:
    """Returns the node of a recorded source."""
    properties = {**source.properties, "digest": source.digest}
    return Node(
        f"artifact:{source.type_name}:{source.uri}",
        NodeKind.ARTIFACT,
        f"{source.type_name} {source.uri}",
        source.type_name,
        source.uri,
        {key: value for key, value in properties.items() if value},
    )


def version_id(model: str, number: int) -> str:
    """Returns the id of the node of a version."""
    return f"version:{model}:{number}"


def version_node(version: Version) -> Node:
    """Returns the node of a version."""
    marks = [version.state.value, *(f"@{alias}" for alias in version.aliases)]
    if version.bytes_gone:
        marks.append("bytes gone")
    properties = {
        "model": version.model,
        "number": str(version.number),
        "state": version.state.value,
        "time": version.time,
        "actor": version.actor,
        "digest": version.digest,
        "bytes": "gone" if version.bytes_gone else "",
        "pipeline": version.origin.pipeline_name,
        "run": version.origin.run_id,
        "code_revision": version.origin.code_revision,
    }
    return Node(
        version_id(version.model, version.number),
        NodeKind.VERSION,
        f"{version.ref} ({', '.join(marks)})",
        uri=version.uri,
        properties={key: value for key, value in properties.items() if value},
    )


def is_location_of(version: Version, uri: str) -> bool:
    """Tells whether a URI is where a version was registered from."""
    return bool(uri) and uri.rstrip("/") in {
        version.uri.rstrip("/"),
        version.origin.artifact_uri.rstrip("/"),
    }
