"""Sentences and facts for people: on a terminal no line is longer than it is wide.

What is too long goes on in the next line, below its beginning. In a pipe nothing is broken, so that
programs such as `grep` find whole lines there, and paths can be copied.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

import click

from tfx_registry.text import display_width, printable

__all__ = ["counted", "facts", "say", "screen_width"]

_GAP = 2
#: By how much a fact is moved in that stands below its name.
_INDENT = 4
#: How wide a terminal is that does not know it.
_USUAL = 80
#: Narrower than this a line says nothing any more.
_LEAST = 16


def counted(number: int, noun: str) -> str:
    """Returns such as "1 model" and "2 models"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def screen_width() -> int | None:
    """Returns how many characters a line may have; None in a pipe, which has no width."""
    if not sys.stdout.isatty():
        return None
    # Terminals of containers and of scripts may not know their size, and say 0.
    return shutil.get_terminal_size().columns or _USUAL


def say(text: str, *, indent: int = 0, hang: int = 0) -> None:
    """Prints a sentence.

    Args:
        text: What to say; control characters in it are shown, not obeyed.
        indent: How far every line is moved in, in characters.
        hang: How far lines after the first are moved in beyond that.
    """
    width = screen_width()
    room = None if width is None else width - indent - hang
    first, *rest = _broken(printable(text), room)
    click.echo(" " * indent + first)
    for line in rest:
        click.echo(" " * (indent + hang) + line)


def facts(rows: Sequence[tuple[str, str]]) -> None:
    """Prints names and what is known of them in two columns.

    Where a word is too wide for the second column, such as a digest or a path, the fact stands
    below its name.

    Args:
        rows: Names and facts; what is empty is left out.
    """
    width = screen_width()
    column = max((len(name) for name, _ in rows), default=0) + _GAP
    for name, value in rows:
        if not value:
            continue
        text = printable(value)
        if width is None:
            click.echo(f"{name:<{column}}{text}")
            continue
        room = width - column
        if room < _LEAST or any(display_width(word) > room for word in text.split(" ")):
            say(name)
            say(text, indent=_INDENT)
            continue
        for at, line in enumerate(_broken(text, room)):
            click.echo(f"{'' if at else name:<{column}}{line}")


def _broken(text: str, width: int | None) -> list[str]:
    """Breaks text into lines, at spaces where there are any; a width of None breaks nothing."""
    if width is None or (len(text) <= width and text.isascii()):
        return [text]
    from rich.console import Console
    from rich.text import Text

    width = max(width, _LEAST)
    return [part.plain.rstrip() for part in Text(text).wrap(Console(width=width), width)] or [""]
