"""Reads the code blocks of Markdown pages, so that a test can run what a page tells people to do.

A block is a fence with a language. A comment right before it tells a test what the reader sees from
the context: `<!-- run: setup=demo exits=0,4 -->` has the options `setup` and `exits`.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["Block", "Command", "blocks", "commands"]

_BLOCK = re.compile(
    r"(?:^[ ]*<!-- run: (?P<options>.*?) -->\n+)?"
    r"^(?P<indent>[ ]*)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A code block of a page.

    Attributes:
        language: What stands after the fence, or "".
        text: The code, without the indentation of the fence.
        line: Number of the first line of the code in the page, counted from 1.
        options: What the comment before it says.
    """

    language: str
    text: str
    line: int
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Command:
    """A command of a shell block.

    Attributes:
        text: The command on one line, as it stands there, without its comment.
        line: Number of its first line in the page.
    """

    text: str
    line: int

    def words(self) -> tuple[dict[str, str], list[str]]:
        """Returns the variables that are set in front of it, and the words that follow."""
        words = shlex.split(self.text, comments=True)
        variables: dict[str, str] = {}
        while words and (match := _ASSIGNMENT.fullmatch(words[0])):
            variables[match[1]] = match[2]
            del words[0]
        return variables, words


def blocks(page: str) -> Iterator[Block]:
    """Yields the code blocks of a page, in order.

    Args:
        page: The page, as Markdown.
    """
    for match in _BLOCK.finditer(page):
        options = dict(word.partition("=")[::2] for word in shlex.split(match["options"] or ""))
        line = page.count("\n", 0, match.start("text")) + 1
        yield Block(match["language"], textwrap.dedent(match["text"]), line, options)


def commands(block: Block) -> Iterator[Command]:
    """Yields the commands of a shell block; a command goes on after a backslash.

    Args:
        block: The block.
    """
    parts: list[str] = []
    first = 0
    for number, row in enumerate(block.text.splitlines(), start=block.line):
        if not parts and (not row.strip() or row.lstrip().startswith("#")):
            continue
        first = first if parts else number
        parts.append(row.strip().removesuffix("\\").strip())
        if not row.rstrip().endswith("\\"):
            yield Command(" ".join(parts), first)
            parts = []
