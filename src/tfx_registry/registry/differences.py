"""How a stored record differs from what the log says; pure functions for `fsck`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

from tfx_registry import codec
from tfx_registry.records import Version
from tfx_registry.registry.store import StoredRecord

__all__ = ["content_problem", "decode", "differences", "shown", "version_problem"]

T = TypeVar("T")


def version_problem(
    expected: Version | None, record: StoredRecord | None, last: int
) -> tuple[str, str]:
    """Compares a version.

    Args:
        expected: What the log says.
        record: What is stored.
        last: Sequence number of the last event.

    Returns:
        The code of the finding and what is wrong; two empty texts if nothing is.
    """
    if record is None:
        return "version.missing", "it is in the log and not among the versions"
    version = decode(Version, record)
    if not isinstance(version, str) and version.seq > last:
        return "version.ahead", f"it is of event {version.seq}, and the log ends with {last}"
    if expected is None:
        return "version.extra", "it is among the versions and not in the log"
    if isinstance(version, str):
        return "version.unreadable", version
    if wrong := differences(version, expected):
        return "version.differs", shown(wrong)
    if record.wrong:
        return "version.index", "; ".join(record.wrong)
    return "", ""


def content_problem(expected: int | None, stored: str | None) -> tuple[str, str]:
    """Compares an entry of the content index; arguments and result as for `version_problem`."""
    if stored is None:
        return "content.missing", f"version {expected} is not found by it"
    if expected is None:
        return "content.extra", f"it leads to version {stored}, and no version has it"
    if stored != str(expected):
        return "content.differs", f"it leads to version {stored}, and the newest is {expected}"
    return "", ""


def decode(cls: type[T], record: StoredRecord) -> T | str:
    """Returns the object, or what is wrong with the text."""
    try:
        return codec.decode(cls, codec.loads(record.text))
    except (ValueError, RecursionError) as error:
        return f"its record cannot be read: {error if record.text else 'there is no text'}"


def differences(stored: Any, expected: Any) -> list[tuple[str, str, str]]:
    """Returns name, stored and expected value of each field that differs, as JSON text."""
    pairs = (
        (f.name, getattr(stored, f.name), getattr(expected, f.name))
        for f in dataclasses.fields(expected)
    )
    # NaN is not equal to itself, but its JSON text is.
    texts = ((n, codec.dumps(a), codec.dumps(b)) for n, a, b in pairs if a != b)
    return [(name, a, b) for name, a, b in texts if a != b]


def shown(wrong: Sequence[tuple[str, str, str]]) -> str:
    """Writes differences for people."""
    lines = [f"{name} is {_cut(a)}, the log says {_cut(b)}" for name, a, b in wrong[:5]]
    more = f"; and {len(wrong) - 5} more fields" if len(wrong) > 5 else ""
    return "; ".join(lines) + more


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
