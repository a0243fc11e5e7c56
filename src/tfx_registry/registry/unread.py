"""Versions that are read when something of them is first looked at.

A page of a hundred versions is 130 kB of JSON, and mostly a few fields of each are wanted, or only
some of the versions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

from tfx_registry.errors import IntegrityError
from tfx_registry.records import Version
from tfx_registry.registry.version_text import RUN_ID, SHORT_FIELDS, URI

__all__ = ["Record", "UnreadVersion", "read_now", "unread"]

_SHORT = frozenset((*SHORT_FIELDS, RUN_ID, URI))
_UNREAD = "_unread"

# Past what the class below says of them.
_DICT: Any = Version.__dict__["__dict__"]
_CLASS: Any = object.__dict__["__class__"]


class Record(Protocol):
    """A stored version.

    Attributes:
        model: The model that it must be of, as it is spelled in keys.
        number: The number that it must have.
    """

    model: str
    number: int

    def read_short(self) -> dict[str, Any] | None:
        """Reads what `version_text.read_short` does, or returns None."""

    def read(self) -> Version:
        """Reads all of it; may raise `ValueError`."""


class _Field:
    """A field that is read when it is looked at; found only where the object does not hold it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, version: Version | None, owner: Any = None) -> Any:
        if version is None:
            return getattr(Version, self._name)
        return _look(version, self._name)


class UnreadVersion(Version):
    """A version of which nothing is read yet, or only the short fields of its record.

    Laws: it equals, prints, copies, pickles and encodes like the version that it is read as. The
    first look at what is not read yet raises `IntegrityError` if that is none of that version.
    With the first look at any other than a short field it becomes a plain `Version`.
    """

    # What asks for everything: all fields at once, the class, or Python itself.

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        """The fields of what it is read as."""
        _read(self)
        found: dict[str, Any] = _DICT.__get__(self)
        return found

    @property  # type: ignore[misc]
    def __class__(self) -> type[Version]:  # type: ignore[override]
        """The class of what it is read as."""
        _read(self)
        return Version

    def __eq__(self, other: object) -> bool:
        """Compares what it is read as."""
        _read(self)
        return bool(Version.__eq__(self, other))

    def __hash__(self) -> int:
        """Hashes what it is read as."""
        _read(self)
        return Version.__hash__(self)

    def __repr__(self) -> str:
        """Shows what it is read as."""
        _read(self)
        return Version.__repr__(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copies and pickles what it is read as."""
        _read(self)
        return object.__reduce_ex__(self, protocol)


for _name in (*(field.name for field in dataclasses.fields(Version)), RUN_ID, URI):
    setattr(UnreadVersion, _name, _Field(_name))


def unread(record: Record) -> Version:
    """Returns a version that is read when it is first looked at.

    Args:
        record: Its record.
    """
    made: Version = object.__new__(UnreadVersion)
    _DICT.__get__(made)[_UNREAD] = record
    return made


def read_now(model: str, number: int, read: Callable[[], Version]) -> Version:
    """Reads a version.

    Args:
        model: The model that it must be of, as it is spelled in keys.
        number: The number that it must have.
        read: Reads it; may raise `ValueError`.

    Raises:
        IntegrityError: There is none, or another one.
    """
    try:
        found = read()
    except (ValueError, RecursionError) as error:
        raise _damaged(model, number, str(error)) from error
    if found.number != number:
        raise _damaged(model, number, f"it is that of version {found.number}")
    return found


def _look(version: Version, name: str) -> Any:
    """Returns a field, or what the short part of a record calls so."""
    values = _DICT.__get__(version)
    if name in values:
        return values[name]
    record = values.get(_UNREAD)
    if name in _SHORT and record is not None:
        found = record.read_short()
        if found is not None and found["number"] == record.number:
            # Into this very dictionary: if another thread has read all, it is not used any more.
            values.update(found)
            return values[name]
    _read(version)
    values = _DICT.__get__(version)
    # Another thread may have read it, and not yet have said that it is a plain version.
    return values[name] if name in values else getattr(Version, name).__get__(version)


def _read(version: Version) -> None:
    record = _DICT.__get__(version).get(_UNREAD)
    if record is None:
        return  # another thread did it, and is about to say so
    found = read_now(record.model, record.number, record.read)
    # All fields at once, so that no thread ever sees some of them.
    _DICT.__set__(version, dict(vars(found)))
    _CLASS.__set__(version, Version)


def _damaged(model: str, number: int, why: str) -> IntegrityError:
    return IntegrityError(
        f"cannot read version {number} of {model!r}",
        f"its record is damaged: {why}",
        f"see what is wrong, and whether the log can mend it, with 'tfx-registry fsck {model}'",
    )
