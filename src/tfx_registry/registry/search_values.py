"""What values in search expressions mean: periods of time, patterns, numbers in text."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass

from tfx_registry.registry.search_tokens import fail, shorten

__all__ = ["MAX_PATTERN", "Period", "compile_like", "number_of"]

#: The longest pattern of `like`, in characters.
MAX_PATTERN = 256

_TIME = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d{2})(?:-(?P<day>\d{2})"
    r"(?:[T ](?P<hour>\d{2})(?::(?P<minute>\d{2})"
    r"(?::(?P<second>\d{2})(?:\.(?P<fraction>\d{1,6}))?)?)?"
    r"(?P<zone>Z|[+-]\d{2}:\d{2})?)?)?)?",
    re.ASCII,
)

_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*", re.ASCII)


@dataclass(frozen=True)
class Period:
    """The time that a text means: a whole year, month, day, hour, minute, second, or a moment.

    Attributes:
        start: Its beginning, as the registry stores times (UTC, microseconds, "Z").
        end: The first moment after it.
    """

    start: str
    end: str

    @classmethod
    def parse(cls, text: str, position: int = 1) -> Period:
        """Reads a time in ISO 8601; without a zone it is UTC.

        Args:
            text: The text.
            position: Where it stands in the expression.

        Returns:
            The period.

        Raises:
            InvalidExpressionError: It is no such time.
        """
        match = _TIME.fullmatch(text)
        try:
            if match is None:
                raise ValueError("it is not written so")
            start, end = _bounds(match)
        except (ValueError, OverflowError) as error:
            raise fail(
                position,
                f"{shorten(text)} is no time ({error})",
                "write '2024', '2024-05', '2024-05-17' or '2024-05-17T10:30:00+02:00'",
            ) from error
        return cls(_stored(start), _stored(end))

    def holds(self, time: str) -> bool:
        """Tells whether a stored time lies in the period."""
        return self.start <= time < self.end


def _bounds(match: re.Match[str]) -> tuple[datetime.datetime, datetime.datetime]:
    parts = {name: int(text) for name, text in match.groupdict().items() if _is_number(name, text)}
    fraction = match["fraction"]
    start = datetime.datetime(
        parts["year"],
        parts.get("month", 1),
        parts.get("day", 1),
        parts.get("hour", 0),
        parts.get("minute", 0),
        parts.get("second", 0),
        int(fraction.ljust(6, "0")) if fraction else 0,
    )
    end = _after(start, parts, fraction)
    if (zone := match["zone"]) not in (None, "Z"):
        shift = datetime.timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
        shift = -shift if zone[0] == "+" else shift
        return start + shift, end + shift
    return start, end


def _is_number(name: str, text: str | None) -> bool:
    return text is not None and name not in ("zone", "fraction")


def _after(
    start: datetime.datetime, parts: dict[str, int], fraction: str | None
) -> datetime.datetime:
    if "month" not in parts:
        return start.replace(year=start.year + 1)
    if "day" not in parts:
        return (start + datetime.timedelta(days=31)).replace(day=1)
    if fraction:
        return start + datetime.timedelta(microseconds=10 ** (6 - len(fraction)))
    for unit in ("second", "minute", "hour"):
        if unit in parts:
            return start + datetime.timedelta(**{f"{unit}s": 1})
    return start + datetime.timedelta(days=1)


def _stored(time: datetime.datetime) -> str:
    return f"{time.isoformat(timespec='microseconds')}Z"


def number_of(text: str) -> float | None:
    """Returns the number that a text holds, or None."""
    return float(text) if len(text) < 400 and _NUMBER.fullmatch(text) else None


def compile_like(pattern: str) -> Callable[[str], bool]:
    r"""Compiles a pattern of `like`.

    Each piece between two `%` is looked for once, so no pattern makes it slow.

    Args:
        pattern: `%` stands for any characters, `_` for one, `\%`, `\_` and `\\` for themselves.

    Returns:
        A function that tells whether a whole text fits.
    """
    pieces = [""]
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\" and pattern[at + 1 : at + 2] in ("%", "_", "\\"):
            at += 1
            pieces[-1] += re.escape(pattern[at])
        elif character == "%":
            pieces.append("")
        else:
            pieces[-1] += "." if character == "_" else re.escape(character)
        at += 1
    first, *middle = [re.compile(piece, re.DOTALL) for piece in pieces]
    if not middle:
        return lambda text: first.fullmatch(text) is not None
    last_length = _length(pieces[-1])
    last = middle.pop()

    def fits(text: str) -> bool:
        match = first.match(text)
        for piece in middle:
            if match is None:
                return False
            match = piece.search(text, match.end())
        start = len(text) - last_length
        return match is not None and start >= match.end() and last.match(text, start) is not None

    return fits


def _length(piece: str) -> int:
    """How many characters an escaped piece matches."""
    return len(re.sub(r"\\(.)", r"\1", piece, flags=re.DOTALL))
