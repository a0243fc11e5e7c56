"""Turns frozen dataclasses into JSON values and back, by their type annotations.

Used for everything that is stored: events, versions, policies, reports. Fields that hold their
default are left out, so that adding a field later changes no stored text and no digest; for the
same reason a default never changes. Numbers go through `repr` (as `json` does), so a float comes
back as the same float. NaN and infinities are written as the strings "NaN", "Infinity" and
"-Infinity", which keeps the text strict JSON.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

__all__ = ["CodecError", "decode", "digest_json", "dumps", "encode", "loads"]

T = TypeVar("T")

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
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((f, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {f.name: encode(v) for f, v in pairs if not _is_default(f, v)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


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
    return typing.cast("T", _decode(cls, value, "", strict))


def dumps(value: Any) -> str:
    """Writes a value as canonical JSON text: sorted keys, no spaces, non-ASCII kept."""
    return json.dumps(
        encode(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def loads(text: str) -> Any:
    """Reads JSON text."""
    return json.loads(text)


def digest_json(value: Any) -> str:
    """Returns the hexadecimal SHA-256 of the canonical JSON text of a value."""
    return hashlib.sha256(dumps(value).encode("utf-8")).hexdigest()


def _is_default(field: dataclasses.Field[Any], value: Any) -> bool:
    if field.default_factory is not dataclasses.MISSING:
        return bool(value == field.default_factory())
    return field.default is not dataclasses.MISSING and bool(value == field.default)


def _decode(kind: Any, value: Any, path: str, strict: bool) -> Any:
    origin = typing.get_origin(kind)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        options = [a for a in typing.get_args(kind) if a is not type(None)]
        return None if value is None else _decode(options[0], value, path, strict)
    if origin is tuple:
        return _decode_tuple(typing.get_args(kind), value, path, strict)
    if origin is not None and issubclass(origin, Mapping):
        _expect(isinstance(value, dict), path, "an object", value)
        item = typing.get_args(kind)[1]
        return {k: _decode(item, v, f"{path}.{k}", strict) for k, v in value.items()}
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(typing.cast("type", kind), value, path, strict)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        allowed = [member.value for member in kind]
        _expect(value in allowed, path, "one of " + ", ".join(map(str, allowed)), value)
        return kind(value)
    return _decode_scalar(kind, value, path)


def _decode_tuple(args: tuple[Any, ...], value: Any, path: str, strict: bool) -> Any:
    _expect(isinstance(value, list), path, "a list", value)
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_decode(args[0], v, f"{path}[{i}]", strict) for i, v in enumerate(value))
    _expect(len(value) == len(args), path, f"a list of {len(args)}", value)
    return tuple(
        _decode(a, v, f"{path}[{i}]", strict)
        for i, (a, v) in enumerate(zip(args, value, strict=True))
    )


def _decode_dataclass(cls: type, value: Any, path: str, strict: bool) -> Any:
    _expect(isinstance(value, dict), path, "an object", value)
    hints, fields = _shape(cls)
    if strict and (unknown := sorted(set(value) - set(fields))):
        raise CodecError(
            f"{path or 'the document'} has the unknown field {unknown[0]!r}; "
            f"known are {', '.join(sorted(fields))}"
        )
    missing = [
        name
        for name, f in fields.items()
        if name not in value
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    _expect(not missing, f"{path}.{missing[0] if missing else ''}", "given", None)
    given = {
        k: _decode(hints[k], v, f"{path}.{k}", strict) for k, v in value.items() if k in fields
    }
    return cls(**given)


@functools.cache
def _shape(cls: type) -> tuple[dict[str, Any], dict[str, dataclasses.Field[Any]]]:
    """Type hints and fields of a dataclass; resolving annotations is slow, so once."""
    return typing.get_type_hints(cls), {f.name: f for f in dataclasses.fields(cls)}


def _decode_scalar(kind: Any, value: Any, path: str) -> Any:
    if kind is float:
        if isinstance(value, str) and value in _NON_FINITE:
            return _NON_FINITE[value]
        _expect(
            isinstance(value, (int, float)) and not isinstance(value, bool), path, "a number", value
        )
        return float(value)
    if kind is int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        _expect(whole, path, "a whole number", value)
        return value
    _expect(isinstance(value, kind), path, {str: "text", bool: "true or false"}[kind], value)
    return value


def _expect(condition: bool, path: str, expected: str, value: Any) -> None:
    if not condition:
        shown = "nothing" if value is None else repr(value)[:80]
        raise CodecError(f"{path.lstrip('.') or 'the document'} must be {expected}, not {shown}")
