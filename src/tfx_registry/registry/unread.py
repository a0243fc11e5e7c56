"""Versions that are read when something of them is first looked at.

A page of a hundred versions is 130 kB of JSON, and mostly a few fields of each are wanted, or only
some of the versions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tfx_registry.errors import IntegrityError
from tfx_registry.records import Version

__all__ = ["UnreadVersion", "read_now", "unread"]


class UnreadVersion(Version):
    """A version that is not read yet; with the first look at it, it becomes a plain `Version`.

    Laws: it equals, prints, copies, pickles and encodes like the version that it is read as. The
    first look at any attribute raises `IntegrityError` if its record is none of that version.
    """

    def __getattribute__(self, name: str) -> Any:
        """Reads it first, whatever is asked for: fields have defaults in the class."""
        _read(self)
        return object.__getattribute__(self, name)

    # What Python looks up in the class, past `__getattribute__`.

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


def unread(model: str, number: int, read: Callable[[], Version]) -> Version:
    """Returns a version that is read when it is first looked at.

    Args:
        model: The model that it must be of, as it is spelled in keys.
        number: The number that it must have.
        read: Reads it; may raise `ValueError`.
    """
    made: Version = object.__new__(UnreadVersion)
    object.__setattr__(made, "_unread", (model, number, read))
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


def _read(version: Version) -> None:
    held = object.__getattribute__(version, "__dict__").get("_unread")
    if held is None:
        return  # another thread did it, and is about to say so
    found = read_now(*held)
    # All fields at once, so that no thread ever sees some of them.
    object.__setattr__(version, "__dict__", dict(vars(found)))
    object.__setattr__(version, "__class__", Version)


def _damaged(model: str, number: int, why: str) -> IntegrityError:
    return IntegrityError(
        f"cannot read version {number} of {model!r}",
        f"its record is damaged: {why}",
        f"see what is wrong, and whether the log can mend it, with 'tfx-registry fsck {model}'",
    )
