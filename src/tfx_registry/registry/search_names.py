"""Names in a search expression that no version has: most are misspelt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tfx_registry.records import Version
from tfx_registry.registry.search import parse
from tfx_registry.registry.search_tree import Condition, FieldRef, Node, Not
from tfx_registry.text import closest

__all__ = ["unseen_names"]

#: Families of fields: what one of them is called, and the names that a version has of it.
_FAMILIES: dict[str, tuple[str, Callable[[Version], Iterator[str]]]] = {
    "metrics": ("metric", lambda version: (metric.name for metric in version.metrics)),
    "labels": ("label", lambda version: iter(version.labels)),
    "hyperparameters": ("hyperparameter", lambda version: iter(version.hyperparameters)),
    "sources": ("source", lambda version: (source.key for source in version.sources)),
}


def unseen_names(expression: str, versions: Sequence[Version]) -> list[str]:
    """Tells which names of an expression none of some versions has.

    Args:
        expression: What was searched for; it can be read.
        versions: Versions that the search could have found.

    Returns:
        What each such name stands for, in the order of the expression, such as
        "a metric 'acuracy'; did you mean 'accuracy'?".
    """
    said = []
    for ref in _fields(parse(expression)) if expression else ():
        if ref.path[0] not in _FAMILIES or len(ref.path) < 2:
            continue
        kind, names_of = _FAMILIES[ref.path[0]]
        name = ref.path[1] if kind == "source" else ".".join(ref.path[1:])
        known = {known for version in versions for known in names_of(version)}
        if name not in known:
            meant = closest(name, sorted(known))
            said.append(f"a {kind} {name!r}" + (f"; {meant}" if meant else ""))
    return list(dict.fromkeys(said))


def _fields(node: Node) -> Iterator[FieldRef]:
    if isinstance(node, Condition):
        yield node.field
    elif isinstance(node, Not):
        yield from _fields(node.part)
    else:
        for part in node.parts:
            yield from _fields(part)
