"""Cuts a search expression into tokens. One pass, one regular expression without backtracking."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from tfx_registry.errors import InvalidExpressionError

__all__ = ["MAX_LENGTH", "Kind", "Token", "fail", "is_word", "quote", "shorten", "tokenize"]

#: The longest expression, in characters.
MAX_LENGTH = 10_000

#: The longest number, in characters; a float needs 24 of them at most.
_MAX_NUMBER = 40

KEYWORDS = frozenset({"and", "contains", "in", "is", "like", "nan", "not", "null", "or"})

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<text>'[^']*(?:''[^']*)*'|"[^"]*(?:""[^"]*)*")
  | (?P<number>[+-]?(?:[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|inf\b))
  | (?P<word>[A-Za-z_][A-Za-z0-9_-]*)
  | (?P<symbol><=|>=|!=|<>|==|[=<>()\[\],.])
    """,
    re.VERBOSE,
)


class Kind(enum.Enum):
    """What a token is."""

    TEXT = "text"
    NUMBER = "a number"
    WORD = "a word"
    KEYWORD = "a keyword"
    SYMBOL = "a symbol"
    END = "the end"


@dataclass(frozen=True)
class Token:
    """One token.

    Attributes:
        kind: What it is.
        value: A text without its quotes; everything else as written.
        position: Where it begins, counted from 1.
    """

    kind: Kind
    value: str
    position: int

    def __str__(self) -> str:
        """For messages."""
        return "the end" if self.kind is Kind.END else shorten(self.value)


def tokenize(text: object) -> list[Token]:
    """Cuts an expression into tokens.

    Args:
        text: The expression.

    Returns:
        The tokens; the last one is the end.

    Raises:
        InvalidExpressionError: It is too long, or holds what no token begins with.
    """
    if not isinstance(text, str):
        raise fail(1, f"it is {type(text).__name__}, not text", "write it as one text")
    if len(text) > MAX_LENGTH:
        raise fail(
            MAX_LENGTH + 1,
            f"it has {len(text)} characters, more than {MAX_LENGTH}",
            "search in several steps",
        )
    tokens = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unreadable(text, at)
        if match.lastgroup != "space":
            tokens.append(_token(match.lastgroup or "", match.group(), at + 1))
        at = match.end()
    return [*tokens, Token(Kind.END, "", len(text) + 1)]


def quote(text: str) -> str:
    """Writes a text so that `tokenize` reads it back."""
    return "'" + text.replace("'", "''") + "'"


def is_word(text: str) -> bool:
    """Tells whether a name may stand without quotes."""
    match = _TOKEN.match(text)
    whole = match is not None and match.end() == len(text) and match.lastgroup == "word"
    return whole and text.lower() not in KEYWORDS


def shorten(text: str) -> str:
    """Shows a text in a message: quoted, on one line, cut."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def fail(position: int, why: str, todo: str) -> InvalidExpressionError:
    """Makes the error for a place in an expression."""
    return InvalidExpressionError(
        f"invalid search expression at character {position}", why, todo, position=position
    )


def _token(group: str, text: str, position: int) -> Token:
    if group == "text":
        mark = text[0]
        return Token(Kind.TEXT, text[1:-1].replace(mark * 2, mark), position)
    if group == "number":
        if len(text) > _MAX_NUMBER:
            raise fail(position, f"a number of {len(text)} characters", "write it shorter")
        return Token(Kind.NUMBER, text, position)
    if group == "word" and text.lower() in KEYWORDS:
        return Token(Kind.KEYWORD, text, position)
    if group == "word":
        return Token(Kind.WORD, text, position)
    return Token(Kind.SYMBOL, {"<>": "!=", "==": "="}.get(text, text), position)


def _unreadable(text: str, at: int) -> InvalidExpressionError:
    character = text[at]
    if character in "'\"":
        return fail(at + 1, f"the text that begins here has no closing {character}", "close it")
    return fail(
        at + 1,
        f"{shorten(character)} begins nothing that is known here",
        "put text and unusual names into single quotes, such as labels.'a/b' = 'x'",
    )
