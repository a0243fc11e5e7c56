"""The tree of a search expression. `str` writes each part back as an expression."""

from __future__ import annotations

from dataclasses import dataclass, field

from tfx_registry.registry.search_tokens import is_word, quote

__all__ = ["And", "Condition", "FieldRef", "Literal", "Node", "Not", "Or", "Order"]


@dataclass(frozen=True)
class Literal:
    """A value that the expression names.

    Attributes:
        value: Text, or a number that is not NaN.
        position: Where it stands.
    """

    value: str | int | float
    position: int = field(default=0, compare=False)

    def __str__(self) -> str:
        """As written in an expression."""
        return quote(self.value) if isinstance(self.value, str) else repr(self.value)


@dataclass(frozen=True)
class FieldRef:
    """A field as written, such as `metrics.auc[island='Dream']`.

    Attributes:
        path: The parts between the dots.
        slice: The pairs in brackets, sorted.
        position: Where it stands.
    """

    path: tuple[str, ...]
    slice: tuple[tuple[str, str], ...] = ()
    position: int = field(default=0, compare=False)

    def __str__(self) -> str:
        """As written in an expression."""
        name = ".".join([self.path[0], *map(_name, self.path[1:])])
        pairs = ", ".join(f"{_name(key)}={quote(value)}" for key, value in self.slice)
        return f"{name}[{pairs}]" if pairs else name


@dataclass(frozen=True)
class Condition:
    """One question about one field.

    Attributes:
        field: The field.
        operator: `=`, `!=`, `<`, `<=`, `>`, `>=`, `like`, `contains`, `in`, `is null`, `is nan`;
            all but the comparisons also with `not`, such as `not like` and `is not null`.
        values: What it is compared with.
    """

    field: FieldRef
    operator: str
    values: tuple[Literal, ...] = ()

    def __str__(self) -> str:
        """As written in an expression."""
        if self.operator.endswith("in"):
            return f"{self.field} {self.operator} ({', '.join(map(str, self.values))})"
        return " ".join([str(self.field), self.operator, *map(str, self.values)])


@dataclass(frozen=True)
class Not:
    """True where the part is false."""

    part: Node

    def __str__(self) -> str:
        """As written in an expression."""
        return f"not {_grouped(self.part)}"


@dataclass(frozen=True)
class And:
    """True where all parts are."""

    parts: tuple[Node, ...]

    def __str__(self) -> str:
        """As written in an expression."""
        return " and ".join(map(_grouped, self.parts))


@dataclass(frozen=True)
class Or:
    """True where one of the parts is."""

    parts: tuple[Node, ...]

    def __str__(self) -> str:
        """As written in an expression."""
        return " or ".join(map(_grouped, self.parts))


Node = Condition | Not | And | Or


@dataclass(frozen=True)
class Order:
    """By what to sort, and whether the largest comes first."""

    field: FieldRef
    descending: bool = False


def _name(text: str) -> str:
    return text if is_word(text) else quote(text)


def _grouped(node: Node) -> str:
    return f"({node})" if isinstance(node, (And, Or)) else str(node)
