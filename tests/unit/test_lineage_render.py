"""Trees and Graphviz, with names that somebody chose to break them."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from tfx_registry.registry.lineage_graph import Edge, GraphBuilder, LineageGraph, Node, NodeKind
from tfx_registry.registry.lineage_render import dot, printable, tree

QUOTED = r'"(?:[^"\\]|\\["\\])*"'
NODE = re.compile(
    rf" {{2}}n\d+ \[label=({QUOTED}), tooltip=({QUOTED}), shape=\w+(, style=bold)?\];"
)
EDGE = re.compile(rf" {{2}}n\d+ -> n\d+( \[label={QUOTED}\])?;")


def graph_of(*labels: str, role: str = "examples") -> LineageGraph:
    nodes = tuple(Node(f"id{i}", NodeKind.ARTIFACT, label) for i, label in enumerate(labels))
    edges = tuple(Edge(f"id{i}", f"id{i - 1}", role) for i in range(1, len(labels)))
    return LineageGraph("id0", nodes, edges)


@given(st.lists(st.text(max_size=100), min_size=1, max_size=4), st.text(max_size=20))
@settings(max_examples=300, deadline=None)
def test_no_text_leaves_its_quotes(labels: list[str], role: str) -> None:
    first, rank, node, *lines, last = dot(graph_of(*labels, role=role)).splitlines()
    assert (first, rank, node, last) == (
        "digraph lineage {",
        "  rankdir=LR;",
        "  node [fontsize=10];",
        "}",
    )
    for label, line in zip(labels, lines, strict=False):
        match = NODE.fullmatch(line)
        assert match is not None, line
        assert re.sub(r"\\(.)", r"\1", match[2][1:-1]) == printable(label)
    for line in lines[len(labels) :]:
        assert EDGE.fullmatch(line), line


@given(st.lists(st.text(max_size=100), min_size=1, max_size=4), st.integers(40, 120))
@settings(max_examples=300, deadline=None)
def test_a_tree_is_printable_and_fits(labels: list[str], width: int) -> None:
    text = tree(graph_of(*labels), width)
    lines = text.splitlines()
    assert len(lines) == len(labels) + 2
    for line in lines:
        assert line.isprintable()
        assert len(line) <= width
    text.encode()


def test_a_long_path_keeps_both_ends() -> None:
    [line, *_] = tree(graph_of("Examples /beginning/" + "x" * 200 + "/end"), 60).splitlines()
    assert line.startswith("Examples /beg")
    assert line.endswith("xxx/end")
    assert len(line) == 60


def test_the_builder_keeps_each_thing_once() -> None:
    builder = GraphBuilder("a")
    for _ in range(2):
        builder.add(Node("a", NodeKind.VERSION, "a"))
        builder.add(Node("b", NodeKind.ARTIFACT, "b"))
        builder.connect("b", "a", "examples")
        builder.connect("a", "a", "itself")
        builder.connect("nowhere", "a")
    builder.describe("b", span="7", empty="")
    graph = builder.build()
    assert [node.id for node in graph.nodes] == ["a", "b"]
    assert graph.edges == (Edge("b", "a", "examples"),)
    assert graph.node("b").properties == {"span": "7"}
