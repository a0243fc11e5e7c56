"""Tables that do not fit into a terminal: long cells are wrapped, and the longest go below the row.

Short columns, such as numbers, states and times, are never broken. A column for which too little
room is left is written under its row, with its title.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from tfx_registry.text import display_width

__all__ = ["fits", "narrow_table"]

_GAP = 2
#: Columns up to this width are never broken.
_SHORT = 19
#: The least width that a longer column may be wrapped to.
_LEAST = 16
#: Words up to this width are never broken; longer ones, such as paths, may be.
_WORD = 32
_INDENT = 4


@dataclass(frozen=True)
class _Plan:
    """Which columns stand beside each other, how wide, and which stand below."""

    widths: dict[int, int]
    below: tuple[int, ...]


def fits(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> bool:
    """Tells whether a table fits as it is.

    Args:
        header: Titles of the columns.
        rows: Cells of the rows, as markup of rich.
        width: The most characters of a line.
    """
    natural = _natural(header, [[Text.from_markup(cell) for cell in row] for row in rows])
    return sum(natural) + 3 * len(natural) - 1 <= width


def narrow_table(
    header: Sequence[str], cells: Sequence[Sequence[str]], console: Console
) -> list[Text]:
    """Lays a table out.

    Args:
        header: Titles of the columns.
        cells: Cells of the rows, as markup of rich.
        console: Knows how wide a line may be.

    Returns:
        The lines.
    """
    rows = [[Text.from_markup(cell) for cell in row] for row in cells]
    plan = _plan(_natural(header, rows), _least(header, rows), console.width)
    head = [Text(title, style="bold") for title in header]
    lines = [Text(), *_row(head, plan, console)]
    lines.append(Text("─" * (sum(plan.widths.values()) + _GAP * (len(plan.widths) - 1))))
    for row in rows:
        lines += _row(row, plan, console)
        for i in plan.below:
            if row[i].plain.strip():
                titled = Text(f"{header[i]}: " if header[i] else "", style="dim") + row[i]
                lines += [
                    Text(" " * _INDENT) + part
                    for part in titled.wrap(console, max(console.width - _INDENT, _LEAST))
                ]
    return [*lines, Text()]


def _natural(header: Sequence[str], rows: Sequence[Sequence[Text]]) -> list[int]:
    return [
        max([Text(title).cell_len, *(row[i].cell_len for row in rows)])
        for i, title in enumerate(header)
    ]


def _least(header: Sequence[str], rows: Sequence[Sequence[Text]]) -> list[int]:
    """Returns how narrow each column may become."""
    least = []
    for i, title in enumerate(header):
        words = {word for cell in (title, *(row[i].plain for row in rows)) for word in cell.split()}
        whole = [size for word in words if (size := display_width(word)) <= _WORD]
        least.append(max([_LEAST, *whole]))
    return least


def _plan(natural: Sequence[int], least: Sequence[int], width: int) -> _Plan:
    """Decides where each column goes; the first always stays in the row."""
    inline = list(range(len(natural)))
    below: list[int] = []
    while True:
        long = [i for i in inline if natural[i] > _SHORT]
        short = sum(natural[i] for i in inline if natural[i] <= _SHORT)
        room = width - short - _GAP * (len(inline) - 1)
        if room >= sum(min(natural[i], least[i]) for i in long) or len(inline) == 1:
            break
        moved = max(long or inline[1:], key=lambda i: (natural[i], i))
        if moved == inline[0]:
            moved = inline[-1]
        inline.remove(moved)
        below.append(moved)
    widths = {i: natural[i] if i not in long else min(natural[i], least[i]) for i in inline}
    room -= sum(widths[i] for i in long)
    # Who needs the least comes first: what is left then is shared by the others.
    long.sort(key=lambda i: natural[i] - widths[i])
    for left, i in zip(range(len(long), 0, -1), long, strict=True):
        more = min(natural[i] - widths[i], room // left)
        widths[i] = max(widths[i] + more, 1)
        room -= more
    return _Plan(widths, tuple(sorted(below)))


def _row(cells: Sequence[Text], plan: _Plan, console: Console) -> list[Text]:
    wrapped = {i: list(cells[i].wrap(console, width)) for i, width in plan.widths.items()}
    lines = []
    for number in range(max(map(len, wrapped.values()))):
        line = Text()
        for i, parts in wrapped.items():
            part = parts[number] if number < len(parts) else Text()
            part.rstrip()
            part.pad_right(plan.widths[i] + _GAP - part.cell_len)
            line += part
        line.rstrip()
        lines.append(line)
    return lines
