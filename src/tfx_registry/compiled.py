"""Functions that read and write one dataclass each, made as Python source when first needed.

Reading a page of versions is mostly the work of turning JSON into records, and a function that
knows its class does it three times faster than one that looks at annotations. The functions here
only say whether a value fits. `tfx_registry.codec` asks its own, slower readers what is wrong with
one that does not; a test holds the two against each other.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from tfx_registry.frozen import FrozenDict

__all__ = [
    "MISFITS",
    "Misfit",
    "NumberTexts",
    "TextWriter",
    "fields_reader",
    "maker",
    "reader",
    "text_writer",
    "writer",
]


class Misfit(Exception):  # noqa: N818 - not an error: the caller looks closer
    """A value does not fit its type, or is of a kind that only the slower readers know."""


#: What a reader raises where a value does not fit.
MISFITS = (Misfit, KeyError, TypeError)

_quoted = json.encoder.encode_basestring

_SCALARS = (str, int, bool)
_PLAIN = frozenset({str, int, bool, type(None)})
_EMPTY: FrozenDict[Any, Any] = FrozenDict()


@functools.cache
def reader(kind: Any) -> Callable[[Any], Any]:
    """Returns a function that makes a dataclass, or another kind of value, from what `json` reads.

    Unknown fields are passed over. Mappings of the object are frozen, and shared where they are
    empty; so the object cannot be changed, down to values whose type is `Any`.

    Args:
        kind: A dataclass; or the type of one of its fields: text, numbers, booleans, enums,
            dataclasses, mappings, tuples and options of these.

    Returns:
        The function; it raises one of `MISFITS` where the value does not fit.
    """
    source = _Source()
    if dataclasses.is_dataclass(kind):
        source.dataclass(kind)
    else:
        source.value(kind)
    return source.compile()


def fields_reader(cls: Any, names: Collection[str]) -> Callable[[Any], dict[str, Any]]:
    """Returns a function that reads some fields of a dataclass, and makes no object of them.

    Args:
        cls: The dataclass.
        names: The fields that are read; all others are passed over.

    Returns:
        The function; it returns these fields by name, and raises as what `reader` returns.
    """
    source = _Source()
    source.fields(cls, names)
    return source.compile()


@functools.cache
def writer(cls: Any, encode: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]] | None:
    """Returns a function that makes what `json` writes from a dataclass, or None for other types.

    Fields that hold their default are left out.

    Args:
        cls: The type.
        encode: Encodes the values of fields that are not plain.
    """
    if not dataclasses.is_dataclass(cls):
        return None
    names: dict[str, Any] = {"plain": _PLAIN, "encode": encode}
    lines = ["def write(value):", "    made = {}"]
    # In the order of canonical text, so that whoever sorts the keys finds them sorted.
    for field in sorted(dataclasses.fields(cls), key=lambda field: field.name):
        indent = _unless_default(lines, names, field)
        lines.append(f"    {indent}c = x.__class__")
        # The difference of a number to itself is 0, but for NaN and the infinities.
        lines.append(
            f"    {indent}made[{field.name!r}] = "
            "x if c in plain or (c is float and x - x == 0.0) else encode(x)"
        )
    lines.append("    return made")
    function: Callable[[Any], dict[str, Any]] = _execute(lines, names, "write")
    return function


#: Writes many objects of one dataclass as text, with the texts of numbers met before.
TextWriter = Callable[[Iterable[Any], "NumberTexts"], list[str]]


class NumberTexts(dict[float, str]):
    """Texts of numbers, each made once as long as there are few: making one is slow.

    Law: `texts[x] == float.__repr__(x)`.
    """

    def __missing__(self, number: float) -> str:
        """Writes a number that was not met lately."""
        text = float.__repr__(number)
        if number:  # 0.0 and -0.0 are one key, and two texts
            if len(self) == _KEPT_TEXTS:
                self.clear()
            self[number] = text
        return text


#: So many that those of a slice, or of some, stay near to the processor.
_KEPT_TEXTS = 4096


@functools.cache
def text_writer(cls: Any, dumps: Callable[[Any], str]) -> TextWriter:
    """Returns a function that writes objects of a dataclass as canonical JSON text.

    The texts are those of `json` for what `writer` makes, in a third of the time: no dictionary is
    made, no key is sorted, and the same number is not written twice.

    Args:
        cls: The dataclass.
        dumps: Writes the values of fields that are not plain as canonical JSON text.

    Returns:
        The function; it returns the text of each object.
    """
    names: dict[str, Any] = {"quoted": _quoted, "dumps": dumps, "whole": int.__repr__}
    hints = typing.get_type_hints(cls)
    fields = sorted(dataclasses.fields(cls), key=lambda field: field.name)
    # Neighbours often share a value, such as a slice: `l`, the last one, and `t`, its text.
    lines = [
        "def write(values, numbers):",
        "    texts = []",
        "    " + "; ".join(f"l_{f.name} = t_{f.name} = None" for f in fields),
        "    for value in values:",
        "        s = ''",
    ]
    for field in fields:
        body: list[str] = []
        indent = _unless_default(body, names, field)
        body += [f"    {indent}{line}" for line in _text_lines(field.name, hints, names, dumps)]
        lines += [f"    {line}" for line in body]
    lines += ["        texts.append('{' + s[1:] + '}')", "    return texts"]
    function: TextWriter = _execute(lines, names, "write")
    return function


def _text_lines(
    name: str, hints: Mapping[str, Any], names: dict[str, Any], dumps: Callable[[Any], str]
) -> list[str]:
    """Writes what appends the field `x` to the text `s`."""
    key = f"',\"{name}\":'"
    lines = [
        "c = x.__class__",
        f"if c is str: s += {key} + quoted(x)",
        # The difference of a number to itself is 0, but for NaN and the infinities.
        f"elif c is float and x - x == 0.0: s += {key} + numbers[x]",
        f"elif c is bool: s += {key} + ('true' if x else 'false')",
        f"elif c is int: s += {key} + whole(x)",
    ]
    for kind in (hints[name], *typing.get_args(hints[name])):
        if isinstance(kind, type) and issubclass(kind, enum.Enum) and issubclass(kind, str):
            names[f"k_{name}"] = kind
            lines.append(f"elif c is k_{name}: s += {key} + quoted(x._value_)")
        elif isinstance(kind, type) and dataclasses.is_dataclass(kind):
            names[f"k_{name}"], names[f"w_{name}"] = kind, text_writer(kind, dumps)
            lines.append(f"elif c is k_{name}: s += {key} + w_{name}((x,), numbers)[0]")
    lines += [
        "else:",
        f"    if x is not l_{name} or t_{name} is None:",
        f"        l_{name}, t_{name} = x, {key} + dumps(x)",
        f"    s += t_{name}",
    ]
    return lines


@functools.cache
def maker(cls: Any) -> Callable[..., Any]:
    """Returns a function that makes a frozen dataclass as its constructor does, but faster.

    The constructor of a frozen dataclass sets each field by a call of its own. For a class with
    slots this function fills an object of a class that is the same but not frozen, and then
    declares it frozen.

    Args:
        cls: A dataclass without `__post_init__`, with slots.

    Returns:
        A function of the values of all fields, in their order.
    """
    fields = [field.name for field in dataclasses.fields(cls)]
    draft = type("Draft", (), {"__slots__": tuple(fields)})
    lines = [f"def make({', '.join(fields)}):", "    made = new(draft)"]
    lines += [f"    made.{name} = {name}" for name in fields]
    lines += ["    made.__class__ = cls", "    return made"]
    names = {"new": object.__new__, "draft": draft, "cls": cls}
    function: Callable[..., Any] = _execute(lines, names, "make")
    return function


def _unless_default(lines: list[str], names: dict[str, Any], field: dataclasses.Field[Any]) -> str:
    """Writes what takes a field as `x`, and passes over its default; returns the indentation."""
    lines.append(f"    x = value.{field.name}")
    default = _default(field)
    if default is dataclasses.MISSING:
        return ""
    if default is None:
        lines.append("    if x is not None:")
    else:
        names[f"d_{field.name}"] = default
        lines.append(f"    if x != d_{field.name}:")
    return "    "


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


class _Source:
    """The text of a reader, and what its names mean."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._names: dict[str, Any] = {
            "Misfit": Misfit, "missing": dataclasses.MISSING, "frozen": FrozenDict,
            "new": object.__new__, "put": object.__setattr__, "number": _number,
        }  # fmt: skip

    def compile(self) -> Callable[[Any], Any]:
        function: Callable[[Any], Any] = _execute(self._lines, self._names, "read")
        return function

    def value(self, kind: Any) -> None:
        """Writes the function that reads a value which is no dataclass."""
        self._lines = ["def read(x):"]
        self._check("x", kind, "    ")
        self._lines.append("    return x")

    def fields(self, cls: Any, names: Collection[str]) -> None:
        """Writes the function that reads some fields of a dataclass into a dictionary."""
        given = self._given(cls, [f for f in dataclasses.fields(cls) if f.name in names])
        self._lines.append(f"    return {given}")

    def dataclass(self, cls: Any) -> None:
        """Writes the function that reads a dataclass."""
        fields = dataclasses.fields(cls)
        given = self._given(cls, fields)
        if hasattr(cls, "__slots__") and not hasattr(cls, "__post_init__"):
            values = ", ".join(f"f{index}" for index in range(len(fields)))
            self._lines.append(f"    return {self._name(maker(cls))}({values})")
            return
        cls_name = self._name(cls)
        if hasattr(cls, "__post_init__"):
            self._lines.append(f"    return {cls_name}(**{given})")
            return
        # What the constructor does, without a call for each field of a frozen class.
        self._lines += [
            f"    made = new({cls_name})",
            f"    put(made, '__dict__', {given})",
            "    return made",
        ]

    def _given(self, cls: Any, fields: Sequence[dataclasses.Field[Any]]) -> str:
        """Writes the lines that read fields; returns the text of a dictionary of them."""
        hints = typing.get_type_hints(cls)
        self._lines = [
            "def read(data):",
            "    if data.__class__ is not dict: raise Misfit",
            "    get = data.get",
        ]
        for index, field in enumerate(fields):
            self._field(f"f{index}", field, hints[field.name])
        given = ", ".join(f"{field.name!r}: f{index}" for index, field in enumerate(fields))
        return f"{{{given}}}"

    def _field(self, x: str, field: dataclasses.Field[Any], kind: Any) -> None:
        default = _default(field)
        if default is dataclasses.MISSING:
            self._lines.append(f"    {x} = data[{field.name!r}]")
            self._check(x, kind, "    ")
            return
        if field.default_factory is not dataclasses.MISSING:
            default = _shared(default)
        self._lines.append(f"    {x} = get({field.name!r}, missing)")
        self._lines.append(f"    if {x} is missing: {x} = {self._name(default)}")
        self._lines.append("    else:")
        self._check(x, kind, "        ")

    def _check(self, x: str, kind: Any, indent: str) -> None:
        """Writes the lines that check the variable `x`, and put in its place what it becomes."""
        begin = len(self._lines)
        origin, args = typing.get_origin(kind), typing.get_args(kind)
        put = self._lines.append
        if kind in _SCALARS:
            put(f"{indent}if {x}.__class__ is not {kind.__name__}: raise Misfit")
        elif kind is float:
            put(f"{indent}if {x}.__class__ is not float: {x} = number({x})")
        elif origin in (typing.Union, types.UnionType):
            put(f"{indent}if {x} is not None:")
            self._check(x, next(a for a in args if a is not type(None)), indent + "    ")
        elif origin is tuple and len(args) == 2 and args[1] is Ellipsis:
            put(f"{indent}if {x}.__class__ is not list: raise Misfit")
            self._items(
                x, args[0], indent, f"{x}", f"tuple({x})", "tuple([{each}(y) for y in {x}])"
            )
        elif origin is tuple:
            put(f"{indent}if {x}.__class__ is not list or len({x}) != {len(args)}: raise Misfit")
            parts = [f"{self._each(a)}({x}[{i}])" for i, a in enumerate(args)]
            put(f"{indent}{x} = ({', '.join(parts)},)")
        elif isinstance(origin, type) and issubclass(origin, Mapping):
            put(f"{indent}if {x}.__class__ is not dict: raise Misfit")
            self._items(x, args[1], indent, f"{x}.values()", f"frozen({x})",
                        "frozen({{k: {each}(y) for k, y in {x}.items()}})")  # fmt: skip
        elif kind is not Any:
            put(f"{indent}{x} = {self._each(kind)}({x})")
        if len(self._lines) == begin:
            put(f"{indent}pass")

    def _items(
        self, x: str, kind: Any, indent: str, items: str, as_they_are: str, one_by_one: str
    ) -> None:
        """Writes what makes a tuple or a mapping; scalars are only looked at."""
        inner = next((a for a in typing.get_args(kind) if a is not type(None)), kind)
        if kind is Any:
            self._lines.append(f"{indent}{x} = {as_they_are}")
        elif inner in _SCALARS and typing.get_origin(kind) in (None, typing.Union, types.UnionType):
            self._lines.append(f"{indent}for y in {items}:")
            self._check("y", kind, indent + "    ")
            self._lines.append(f"{indent}{x} = {as_they_are}")
        else:
            made = one_by_one.format(each=self._each(kind), x=x)
            self._lines.append(f"{indent}{x} = {made}")

    def _each(self, kind: Any) -> str:
        """Returns the name of a function that reads one value of a kind."""
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return self._name({member.value: member for member in kind}.__getitem__)
        name, names = f"n{len(self._names)}", self._names

        def make(value: Any) -> Any:
            # At the first use: many are never used, and a class may hold others of its kind.
            names[name] = made = reader(kind)
            return made(value)

        return self._name(make)

    def _name(self, thing: Any) -> str:
        name = f"n{len(self._names)}"
        self._names[name] = thing
        return name


def _execute(lines: list[str], names: dict[str, Any], name: str) -> Any:
    exec("\n".join(lines), names)
    return names[name]


def _shared(default: Any) -> Any:
    """Returns a default that all objects may share."""
    if isinstance(default, dict) and not default:
        return _EMPTY
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        # Its own fields hold their defaults.
        return reader(type(default))({})
    return default


def _number(value: Any) -> float:
    if value.__class__ is not int:
        raise Misfit  # the slower readers know NaN and the infinities, which are written as text
    try:
        return float(value)
    except OverflowError:
        raise Misfit from None
