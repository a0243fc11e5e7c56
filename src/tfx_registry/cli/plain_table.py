"""Tables for pipes, as `rich` prints them, without loading it: that takes longer than the answer.

Only what needs nothing of rich is written here: no markup, no colours, no line that has to be cut.
For everything else there is rich. A test holds the two against each other.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

__all__ = ["is_plain", "plain_table"]

#: Set by people who want colours in a pipe.
_TERMINAL_VARIABLES = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")

#: Markup, its escapes, names of emoji, what is not printable ASCII, and spaces that rich may drop.
_NOT_PLAIN = re.compile(r"[^ -~]|[\[\]\\]|:\S*:|^\s|\s$|\s\s|^$")


def is_plain(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> bool:
    """Tells whether `plain_table` prints a table as rich would.

    Args:
        header: Titles of the columns.
        rows: Cells of the rows, as markup of rich.
        width: The most characters of a line.
    """
    if sys.stdout.isatty() or any(name in os.environ for name in _TERMINAL_VARIABLES):
        return False
    if not (sys.stdout.encoding or "").lower().startswith("utf") or not (rows and all(header)):
        return False
    if any(_NOT_PLAIN.search(cell) for row in (header, *rows) for cell in row if cell):
        return False
    return sum(_widths(header, rows)) + 3 * len(header) - 1 <= width


def plain_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns the lines of a table.

    Args:
        header: Titles of the columns.
        rows: Cells of the rows.
    """
    widths = _widths(header, rows)
    length = sum(widths) + 3 * len(widths) - 3
    lines = ["   ".join(map(str.ljust, row, widths)) for row in (header, *rows)]
    lines[1:1] = ["\u2500" * length]
    blank = " " * length
    return "\n".join(f" {line} " for line in (blank, *lines, blank))


def _widths(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(header, *rows, strict=True)]
