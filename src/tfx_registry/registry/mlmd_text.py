"""How records stand in nodes of ML Metadata: as JSON text that every database behind it takes.

Doubles lose digits there, and on PostgreSQL text of more than about 2.6 kB or with a backslash
breaks. So a record is text without backslashes, cut into pieces.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from tfx_registry import codec
from tfx_registry.errors import IntegrityError
from tfx_registry.records import Version
from tfx_registry.registry.unread import read_now

__all__ = [
    "RECORD",
    "VERSION_KEY",
    "decode_text",
    "encode_text",
    "forget_versions",
    "is_safe_in_a_query",
    "plain_text",
    "read_record",
    "read_text",
    "read_version",
    "split_version_id",
    "version_of",
    "write_record",
    "write_text",
]

T = TypeVar("T")

#: Custom property that holds the JSON record; what does not fit follows in `record.1`, ...
RECORD = "record"

#: What the external id of a version begins with; the key of the model, "@" and its number follow.
VERSION_KEY = "tfx_registry:v:"

_SECOND = f"{RECORD}.1"
_CHUNK_BYTES = 2000
_PLAIN_BYTES = 1000

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

#: Versions that are kept between reads, and the longest text of such a one: at most about 50 MB.
_KEPT = 1024
_KEPT_LENGTH = 8192


def plain_text(text: str) -> str:
    """Makes text safe for a column beside the record, for other programs to look at.

    Returns:
        The text as `encode_text` writes it, without control characters, cut to what the index of
        a column takes; the record holds all of it.
    """
    text = _CONTROL.sub("\ufffd", encode_text(text))
    data = text.encode("utf-8")
    if len(data) <= _PLAIN_BYTES:
        return text
    return data[:_PLAIN_BYTES].decode("utf-8", "ignore") + "~..."


def is_safe_in_a_query(text: str) -> bool:
    """Tells whether ML Metadata may be asked for text.

    On PostgreSQL it escapes a backslash wrongly, so the rest of the text would be SQL.
    """
    return "\\" not in text and not _CONTROL.search(text) and len(text) <= _PLAIN_BYTES


def encode_text(text: str) -> str:
    """Writes text without a backslash, reversibly: `~` becomes `~0` and the backslash `~1`."""
    return text.replace("~", "~0").replace("\\", "~1")


def decode_text(text: str) -> str:
    """Reads what `encode_text` made."""
    return text.replace("~1", "\\").replace("~0", "~")


def write_record(node: Any, record: Any) -> None:
    """Puts a record into a node."""
    write_text(node, codec.dumps(record))


def write_text(node: Any, text: str) -> None:
    """Puts the text of a record into a node."""
    for index, chunk in enumerate(_chunks(encode_text(text))):
        key = f"{RECORD}.{index}" if index else RECORD
        node.custom_properties[key].string_value = chunk


def read_record(node: Any, make: Callable[[Any], T]) -> T:
    """Returns what the record of an event or of a head says.

    Args:
        node: The node.
        make: Makes it of the JSON value.

    Raises:
        IntegrityError: The record is none.
    """
    try:
        return make(codec.loads(read_text(node)))
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        _, _, key = node.external_id.removeprefix("tfx_registry:").partition(":")
        model, _, number = key.partition("#")
        raise IntegrityError(
            f"cannot read {f'event {number}' if number else 'the head'} of {model!r}",
            f"its record is damaged: {error}",
            f"see what is wrong, and whether the log can mend it, with 'tfx-registry fsck {model}'",
        ) from error


def read_text(node: Any) -> str:
    """Returns the text of the record of a node, "" where there is none.

    Bytes that are no UTF-8 any more, as on a disk that rots, become a control character, which no
    record holds: so what reads the text finds it damaged.
    """
    properties = node.custom_properties
    first = properties.get(RECORD)
    text = _piece(first) if first is not None else ""
    if _SECOND in properties:
        number = 1
        while (key := f"{RECORD}.{number}") in properties:
            text += _piece(properties[key])
            number += 1
    return decode_text(text) if "~" in text else text


def _piece(value: Any) -> str:
    # Of what is no UTF-8 protobuf returns the bytes.
    found: str | bytes = value.string_value
    if isinstance(found, bytes):
        return found.decode("utf-8", "replace").replace("\ufffd", "\x00")
    return found


def read_version(node: Any) -> Version:
    """Returns the version that a node holds.

    Raises:
        IntegrityError: The record is none of that version.
    """
    model, number = split_version_id(node.external_id)
    return read_now(model, number, functools.partial(version_of, read_text(node)))


def split_version_id(external_id: str) -> tuple[str, int]:
    """Returns the key of the model and the number that the external id of a version holds."""
    model, _, number = external_id.removeprefix(VERSION_KEY).rpartition("@")
    return model, int(number)


def version_of(text: str) -> Version:
    """Returns the version of which this is the text.

    Equal text is the same version, and a version does not change: so the versions of the last
    reads are kept by their text, and shared by all who read them. The store is asked each time.

    Raises:
        ValueError: It is the text of none.
    """
    return _kept_version(text) if len(text) <= _KEPT_LENGTH else _version(text)


def forget_versions() -> None:
    """Drops the versions that are kept, for measurements of the first read."""
    _kept_version.cache_clear()


def _version(text: str) -> Version:
    return codec.decode(Version, codec.loads(text))


_kept_version = functools.lru_cache(maxsize=_KEPT)(_version)


def _chunks(text: str) -> Iterable[str]:
    """Cuts text into pieces of at most `_CHUNK_BYTES` bytes of UTF-8, never inside a character."""
    data = text.encode("utf-8")
    start = 0
    while start < len(data):
        end = min(start + _CHUNK_BYTES, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        yield data[start:end].decode("utf-8")
        start = end
