"""Versions whose text is read when something of them is first looked at.

A page of a hundred versions is 130 kB of JSON, and mostly a few fields of each are wanted, or only
some of the versions.
"""

from __future__ import annotations

from typing import Any

from tfx_registry import codec
from tfx_registry.errors import IntegrityError
from tfx_registry.records import Version

__all__ = ["UnreadVersion", "read_now", "unread"]


class UnreadVersion(Version):
    """A version that is still text; with the first look at it, it becomes a plain `Version`.

    Laws: it equals, prints, copies, pickles and encodes like the version that its text holds. The
    first look at any attribute raises `IntegrityError` if the text is none of that version.
    """

    def __getattribute__(self, name: str) -> Any:
        """Reads the text first, whatever is asked for: fields have defaults in the class."""
        _read(self)
        return object.__getattribute__(self, name)

    # What Python looks up in the class, past `__getattribute__`.

    def __eq__(self, other: object) -> bool:
        """Compares what the text holds."""
        _read(self)
        return bool(Version.__eq__(self, other))

    def __hash__(self) -> int:
        """Hashes what the text holds."""
        _read(self)
        return Version.__hash__(self)

    def __repr__(self) -> str:
        """Shows what the text holds."""
        _read(self)
        return Version.__repr__(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copies and pickles what the text holds."""
        _read(self)
        return object.__reduce_ex__(self, protocol)


def unread(model: str, number: int, text: str) -> Version:
    """Returns a version that is read when it is first looked at.

    Args:
        model: The model that it must be of, as it is spelled in keys.
        number: The number that it must have.
        text: Its JSON text.
    """
    made: Version = object.__new__(UnreadVersion)
    object.__setattr__(made, "_unread", (model, number, text))
    return made


def read_now(version: Version) -> Version:
    """Reads a version, unless that was done before.

    Raises:
        IntegrityError: Its text is none of that version.
    """
    if type(version) is UnreadVersion:
        _read(version)
    return version


def _read(version: Version) -> None:
    held = object.__getattribute__(version, "__dict__").get("_unread")
    if held is None:
        return  # another thread did it, and is about to say so
    model, number, text = held
    try:
        found = codec.decode(Version, codec.loads(text))
    except (ValueError, RecursionError) as error:
        raise _damaged(model, number, str(error)) from error
    if found.number != number:
        raise _damaged(model, number, f"it is that of version {found.number}")
    # All fields at once, so that no thread ever sees some of them.
    object.__setattr__(version, "__dict__", found.__dict__)
    object.__setattr__(version, "__class__", Version)


def _damaged(model: str, number: int, why: str) -> IntegrityError:
    return IntegrityError(
        f"cannot read version {number} of {model!r}",
        f"its record is damaged: {why}",
        f"see what is wrong, and whether the log can mend it, with 'tfx-registry fsck {model}'",
    )
