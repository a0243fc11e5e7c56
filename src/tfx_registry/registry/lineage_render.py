"""Writes a lineage as a tree for people and as Graphviz dot: pure functions of the graph."""

from __future__ import annotations

from collections import defaultdict

from tfx_registry.registry.lineage_graph import LineageGraph, Node, NodeKind
from tfx_registry.text import display_width

__all__ = ["dot", "printable", "tree"]

_SHAPES = {
    NodeKind.VERSION: "box",
    NodeKind.ARTIFACT: "folder",
    NodeKind.EXECUTION: "ellipse",
    NodeKind.DECISION: "diamond",
    NodeKind.ALIAS: "cds",
    NodeKind.DEPLOYMENT: "house",
    NodeKind.EVENT: "plaintext",
}

#: Narrower than this a line says nothing any more, however deep it is indented.
_MIN_TEXT = 16

#: Roles that repeat what the label of the node says.
_SILENT_ROLES = frozenset(kind.value for kind in NodeKind)

Arrows = dict[str, list[tuple[str, Node]]]


def tree(graph: LineageGraph, width: int | None = None) -> str:
    """Writes a graph as a tree: above the version what it came from, below what came of it.

    Something that is reached twice is written out once, and only named the second time.

    Args:
        graph: The graph.
        width: Longer lines are cut in the middle; None cuts nothing.

    Returns:
        Lines of text without control characters.
    """
    root = graph.node(graph.root)
    nodes = {node.id: node for node in graph.nodes}
    up: Arrows = defaultdict(list)
    down: Arrows = defaultdict(list)
    for edge in graph.edges:
        up[edge.target].append((edge.role, nodes[edge.source]))
        if edge.source == root.id:
            down[root.id].append((edge.role, nodes[edge.target]))
    lines = [_fit(root.label, width)]
    came = _branch("came from", root.id, up, follow=True)
    if graph.truncated:
        came.append(("└── ", "... more: the walk ended at its bound"))
    led = _branch("led to", root.id, down, follow=False)
    for branch, corner, bar in ((came, "├── ", "│   "), (led, "└── ", "    ")):
        title, *rest = branch
        lines.append(corner + title[1])
        lines += [_line(bar + indent, text, width) for indent, text in rest]
    return "\n".join(lines)


def dot(graph: LineageGraph) -> str:
    """Writes a graph in the language of Graphviz.

    Args:
        graph: The graph.

    Returns:
        A `digraph`. Names are quoted, so no text in them can end its place.
    """
    names = {node.id: f"n{index}" for index, node in enumerate(graph.nodes)}
    lines = ["digraph lineage {", "  rankdir=LR;", "  node [fontsize=10];"]
    for node in graph.nodes:
        style = ", style=bold" if node.id == graph.root else ""
        label, whole = _quote(_fit(node.label, 60)), _quote(node.label)
        shape = _SHAPES[node.kind]
        lines.append(f"  {names[node.id]} [label={label}, tooltip={whole}, shape={shape}{style}];")
    for edge in graph.edges:
        role = "" if edge.role in _SILENT_ROLES else edge.role
        label = f" [label={_quote(role)}]" if role else ""
        lines.append(f"  {names[edge.source]} -> {names[edge.target]}{label};")
    return "\n".join([*lines, "}"])


def printable(text: str) -> str:
    """Writes what no terminal should get, such as line ends and escapes, as Python would."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _branch(title: str, root: str, arrows: Arrows, *, follow: bool) -> list[tuple[str, str]]:
    """Returns indentation and text of each line; a stack, because a lineage may be deep."""
    lines = [("", title if arrows[root] else f"{title}: nothing that is recorded")]
    seen = {root}
    stack = _children("", root, arrows)
    while stack:
        indent, last, role, node = stack.pop()
        named = "" if not role or role in _SILENT_ROLES else f"{role}: "
        named = "made by " if node.kind is NodeKind.EXECUTION else named
        again = node.id in seen and follow and bool(arrows[node.id])
        lines.append((indent + ("└── " if last else "├── "), f"{named}{_label(node)}"))
        if again:
            lines[-1] = (lines[-1][0], f"{named}{_label(node)} (as above)")
        elif follow:
            seen.add(node.id)
            stack += _children(indent + ("    " if last else "│   "), node.id, arrows)
    return lines


def _children(indent: str, node_id: str, arrows: Arrows) -> list[tuple[str, bool, str, Node]]:
    found = arrows[node_id]
    rows = [(indent, at == len(found) - 1, role, node) for at, (role, node) in enumerate(found)]
    return rows[::-1]


def _label(node: Node) -> str:
    said = [node.label]
    properties = node.properties
    if node.kind is NodeKind.ARTIFACT and properties.get("span", "0") != "0":
        said.append(f"span {properties['span']}")
    if node.kind is NodeKind.EXECUTION and "input_base" in properties:
        said.append(f"from {properties['input_base']}")
    if "time" in properties and node.kind is not NodeKind.VERSION:
        said.append(properties["time"][:19].replace("T", " "))
    if properties.get("current") == "no":
        until = properties.get("until", "")[:19].replace("T", " ")
        said.append(f"until {until}" if until else "not any more")
    return ", ".join(said)


def _line(indent: str, text: str, width: int | None) -> str:
    return indent + _fit(text, None if width is None else max(width - len(indent), _MIN_TEXT))


def _fit(text: str, width: int | None) -> str:
    """Makes text printable and short: both ends of a path say more than its middle."""
    text = printable(text)
    if width is None or display_width(text) <= width:
        return text
    head = (width - 1) // 3
    return _cut(text, head) + "…" + _cut(text[::-1], width - 1 - head)[::-1]


def _cut(text: str, width: int) -> str:
    """Returns as much of the beginning as fits."""
    end = min(len(text), width)
    while display_width(text[:end]) > width:
        end -= 1
    return text[:end]


def _quote(text: str) -> str:
    # In a label a backslash begins an escape of Graphviz, and a quote ends the text.
    return '"' + printable(text).replace("\\", "\\\\").replace('"', '\\"') + '"'
