"""Text that somebody else wrote, made safe to show."""

from __future__ import annotations

import re

__all__ = ["printable"]

# Control characters, line separators, marks that change the direction of what follows, and
# surrogates, which no encoder takes. Joiners stay: Persian and emoji need them.
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Writes control characters visibly, so that no stored text can steer a terminal or a page.

    Args:
        text: Any text.

    Returns:
        The text, with Python's escapes in place of such characters.
    """
    return _UNSEEN.sub(lambda match: repr(match[0])[1:-1], text)
