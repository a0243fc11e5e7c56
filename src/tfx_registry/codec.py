"""Turns frozen dataclasses into JSON values and back, by their type annotations.

Used for everything that is stored: events, versions, policies, reports. Fields that hold their
default are left out, so that adding a field later changes no stored text and no digest; for the
same reason a default never changes. Numbers go through `repr` (as `json` does), so a float comes
back as the same float. NaN and infinities are written as the strings "NaN", "Infinity" and
"-Infinity", which keeps the text strict JSON.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import hashlib
import json
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from tfx_registry import compiled
from tfx_registry.frozen import FrozenDict

__all__ = ["CodecError", "decode", "digest_json", "dumps", "encode", "loads"]

T = TypeVar("T")

#: Types whose values are JSON values as they are.
_PLAIN = frozenset({str, int, bool, type(None)})

_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)
_SCAN: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class CodecError(ValueError):
    """The JSON value does not fit the type. The message begins with the path to the place."""


def encode(value: Any) -> Any:
    """Converts a value to what `json` can write strictly.

    Args:
        value: Dataclasses, enums, mappings with text keys, sequences, text, numbers, None.

    Returns:
        The JSON value. Fields of dataclasses that hold their default are left out.
    """
    kind: Any = type(value)
    return _encoder(kind)(value)


@functools.cache
def _encoder(kind: Any) -> Callable[[Any], Any]:
    """Returns what encodes values of a type. Looking at types is slow, so it is done once."""
    if (write := compiled.writer(kind, encode)) is not None:
        return write
    if issubclass(kind, enum.Enum):
        return lambda value: value.value
    if issubclass(kind, Mapping):
        return lambda value: {
            str(k): v if v.__class__ in _PLAIN else encode(v) for k, v in value.items()
        }
    if issubclass(kind, (list, tuple)):
        return lambda value: [v if v.__class__ in _PLAIN else encode(v) for v in value]
    return _encode_float if issubclass(kind, float) else lambda value: value


def _encode_float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def decode(cls: type[T], value: Any, *, strict: bool = False) -> T:
    """Converts a JSON value back to a dataclass.

    Args:
        cls: The dataclass.
        value: What `encode` made.
        strict: Whether unknown fields are an error. Stored records are read leniently, because a
            newer release may have written more; policies that people write are read strictly.

    Returns:
        The object.

    Raises:
        CodecError: The value does not fit.
    """
    kind: Any = cls
    if not strict:
        with contextlib.suppress(*compiled.MISFITS):
            return typing.cast("T", compiled.reader(kind)(value))
    try:
        return typing.cast("T", _reader(kind, strict)(value))
    except _MisfitError as misfit:
        raise CodecError(misfit.message()) from None


def dumps(value: Any) -> str:
    """Writes a value as canonical JSON text: sorted keys, no spaces, non-ASCII kept."""
    return _ENCODER.encode(encode(value))


def loads(text: str) -> Any:
    """Reads JSON text."""
    try:
        value, end = _SCAN(text, 0)
    except StopIteration:
        end = -1
    # Texts as `dumps` writes them begin and end with their value.
    return value if end == len(text) else json.loads(text)


def digest_json(value: Any) -> str:
    """Returns the hexadecimal SHA-256 of the canonical JSON text of a value."""
    return hashlib.sha256(dumps(value).encode("utf-8")).hexdigest()


@functools.cache
def _fields(cls: Any) -> tuple[tuple[str, Any], ...] | None:
    """Names and defaults of a dataclass' fields, MISSING where there is none; None for others."""
    if not dataclasses.is_dataclass(cls):
        return None
    return tuple(
        (f.name, f.default if f.default_factory is dataclasses.MISSING else f.default_factory())
        for f in dataclasses.fields(cls)
    )


class _MisfitError(Exception):
    """A value does not fit; the path to it grows on the way out."""

    def __init__(self, expected: str, value: Any, *, text: str = "") -> None:
        self.path = ""
        self._expected, self._value, self._text = expected, value, text

    def message(self) -> str:
        place = self.path.lstrip(".") or "the document"
        if self._text:
            return f"{place} {self._text}"
        shown = "nothing" if self._value is None else repr(self._value)[:80]
        return f"{place} must be {self._expected}, not {shown}"


#: Reads a JSON value of one type, or raises `_MisfitError`.
_Reader = Callable[[Any], Any]


@functools.cache
def _reader(kind: Any, strict: bool) -> _Reader:
    """Makes the reader of a type. Looking at annotations is slow, so it is done once for each."""
    origin = typing.get_origin(kind)
    if kind is Any:
        return lambda value: value
    if origin in (typing.Union, types.UnionType):
        inner = _reader(next(a for a in typing.get_args(kind) if a is not type(None)), strict)
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        return _tuple_reader(typing.get_args(kind), strict)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping_reader(_reader(typing.get_args(kind)[1], strict))
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(typing.cast("type", kind), strict)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _enum_reader(kind)
    return _float if kind is float else _scalar_reader(kind)


def _dataclass_reader(cls: type, strict: bool) -> _Reader:
    hints, fields = typing.get_type_hints(cls), {f.name: f for f in dataclasses.fields(cls)}
    defaults = dict(_fields(cls) or ())
    needed = [name for name, default in defaults.items() if default is dataclasses.MISSING]
    factories = {
        name: f.default_factory
        for name, f in fields.items()
        if f.default_factory is not dataclasses.MISSING
    }
    constants = {k: v for k, v in defaults.items() if k not in factories and k not in needed}
    checks_itself = hasattr(cls, "__post_init__") or hasattr(cls, "__slots__")
    readers: dict[str, _Reader] = {}

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _MisfitError("an object", value)
        if not readers:  # at the first use, because a class may hold others of its kind
            readers.update({name: _reader(hints[name], strict) for name in fields})
        if strict and (unknown := sorted(set(value) - set(fields))):
            known = ", ".join(sorted(fields))
            hint = _hint(unknown[0], fields)
            text = f"has the unknown field {unknown[0]!r}{hint}; known are {known}"
            raise _MisfitError("", value, text=text)
        for name in needed:
            if name not in value:
                raise _at(f".{name}", _MisfitError("given", None))
        try:
            given = {k: readers[k](v) for k, v in value.items() if k in readers}
        except _MisfitError:
            parts = ((f".{k}", readers[k], v) for k, v in value.items() if k in readers)
            raise _locate(parts) from None
        if checks_itself:
            return cls(**given)
        # What the constructor does, without a call for each field of a frozen class.
        made: Any = object.__new__(cls)
        made.__dict__.update(constants)
        for name, make in factories.items():
            if name not in given:
                given[name] = make()
        made.__dict__.update(given)
        return made

    return read


def _hint(name: str, known: Iterable[str]) -> str:
    """Asks for the known name that was probably meant; "" if none is alike."""
    import difflib  # here, because stored records never need it

    close = difflib.get_close_matches(str(name)[:60], list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _mapping_reader(inner: _Reader) -> _Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _MisfitError("an object", value)
        try:
            return FrozenDict({k: inner(v) for k, v in value.items()})
        except _MisfitError:
            raise _locate((f".{k}", inner, v) for k, v in value.items()) from None

    return read


def _tuple_reader(args: tuple[Any, ...], strict: bool) -> _Reader:
    repeated = len(args) == 2 and args[1] is Ellipsis
    readers = [_reader(a, strict) for a in (args[:1] if repeated else args)]

    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise _MisfitError("a list", value)
        if not repeated and len(value) != len(readers):
            raise _MisfitError(f"a list of {len(readers)}", value)
        each = readers * len(value) if repeated else readers
        try:
            return tuple([one(v) for one, v in zip(each, value, strict=True)])
        except _MisfitError:
            pairs = enumerate(zip(each, value, strict=True))
            raise _locate((f"[{i}]", one, v) for i, (one, v) in pairs) from None

    return read


def _enum_reader(kind: type[enum.Enum]) -> _Reader:
    members = {member.value: member for member in kind}
    allowed = "one of " + ", ".join(map(str, members))

    def read(value: Any) -> Any:
        try:
            return members[value]
        except (KeyError, TypeError):
            raise _MisfitError(allowed, value) from None

    return read


def _scalar_reader(kind: type) -> _Reader:
    expected = {str: "text", bool: "true or false", int: "a whole number"}[kind]

    def read(value: Any) -> Any:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise _MisfitError(expected, value)
        return value

    return read


def _float(value: Any) -> float:
    if isinstance(value, str) and value in _NON_FINITE:
        return _NON_FINITE[value]
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise _MisfitError("a number", value)
    try:
        return float(value)
    except OverflowError:  # a whole number of more than 308 digits
        raise _MisfitError("a number that a float can hold", value) from None


def _locate(parts: Iterable[tuple[str, _Reader, Any]]) -> _MisfitError:
    """Finds the part that does not fit, and puts its step before the path to it."""
    for step, read, value in parts:
        try:
            read(value)
        except _MisfitError as misfit:  # noqa: PERF203 - it ends here
            return _at(step, misfit)
    raise AssertionError("every part fits")


def _at(step: str, misfit: _MisfitError) -> _MisfitError:
    misfit.path = step + misfit.path
    return misfit
