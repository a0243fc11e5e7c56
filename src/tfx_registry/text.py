"""Text for people: what somebody else wrote made safe to show, and times."""

from __future__ import annotations

import datetime
import math
import re
import unicodedata
from collections.abc import Iterable

__all__ = ["closest", "display_width", "format_number", "format_seconds", "printable"]

# Control characters, line separators, marks that change the direction of what follows, and
# surrogates, which no encoder takes. Joiners stay: Persian and emoji need them.
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_DRAWN_ON = frozenset({"Mn", "Me"})
_JOINING = "\u200b\u200c\u200d\u2060\ufeff"


def printable(text: str) -> str:
    """Writes control characters visibly, so that no stored text can steer a terminal or a page.

    Args:
        text: Any text.

    Returns:
        The text, with Python's escapes in place of such characters.
    """
    return _UNSEEN.sub(lambda match: repr(match[0])[1:-1], text)


def display_width(text: str) -> int:
    """Returns how many columns of a terminal a text takes.

    Ideographs take two, and none what is drawn onto the character before it or joins two: accents,
    the vowels of Thai, the parts of an emoji.
    """
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in _DRAWN_ON or character in _JOINING:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def closest(word: str, known: Iterable[str]) -> str:
    """Asks whether the most similar of the known words was meant.

    Args:
        word: What somebody wrote; upper and lower case make no difference.
        known: What exists.

    Returns:
        Such as "did you mean 'penguin'?", or "" where nothing is similar.
    """
    import difflib  # only errors need it

    words = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.casefold(), words, n=1, cutoff=0.6)
    return f"did you mean {words[found[0]]!r}?" if found else ""


def format_number(value: float) -> str:
    """Writes a number for people: six significant digits, `NaN`, `inf`."""
    return "NaN" if math.isnan(value) else f"{value:.6g}"


def format_seconds(seconds: float) -> str:
    """Writes a time for people.

    Args:
        seconds: Seconds since the epoch.

    Returns:
        Such as "2026-11-21 08:00:00 UTC"; the number itself where no calendar reaches.
    """
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    except (OverflowError, ValueError, OSError):
        return str(seconds)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
