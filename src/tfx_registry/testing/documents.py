"""Reads the code blocks of Markdown pages, so that a test can do what a page says, and compare.

A block is a fence with a language. A comment right before it tells a test what the reader sees from
the context: `<!-- run: setup=demo exits=0,4 -->` has the options `setup` and `exits`.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["Block", "Command", "blocks", "commands", "not_printed"]

_BLOCK = re.compile(
    r"(?:^[ ]*<!-- run: (?P<options>.*?) -->\n+)?"
    r"^(?P<indent>[ ]*)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)
#: What is different each time, and what stands for it.
_DIFFERENT = (
    (re.compile(r"\x1b\[[\d;]*m"), ""),
    (re.compile(r"\b\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?"), "TIME"),
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "DIGEST"),
    (re.compile(r"\b[\d,]+ bytes\b"), "SIZE bytes"),
    (re.compile(r"(?<![\w.])/[\w./-]*/(?=(demo_output|serving|models)\b)"), ""),
    (re.compile(r"\u2500+"), "\u2500"),
    (re.compile(r"\s+"), " "),
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


def not_printed(shown: str, printed: str, *, part: bool = False) -> str:
    """Compares what a page shows with what was printed.

    Times, digests, sizes and folders are different each time, and so is how far columns are apart;
    everything else counts. A line `...` stands for lines that the page leaves out.

    Args:
        shown: What the page shows.
        printed: What was printed.
        part: Whether the page may leave out what comes before and after, too.

    Returns:
        The first piece that was not printed there; "" where all was.
    """
    rest = _same(printed)
    pieces = re.split(r"^\.\.\.\n", shown, flags=re.MULTILINE)
    for at, piece in enumerate(map(_same, pieces)):
        found = rest.find(piece)
        if found < 0 or (found > 0 and at == 0 and not part):
            return piece
        rest = rest[found + len(piece) :]
    return "" if part or not rest.strip() or not pieces[-1] else f"the end, before: {rest}"


def _same(text: str) -> str:
    for pattern, instead in _DIFFERENT:
        text = pattern.sub(instead, text)
    return text.strip()
