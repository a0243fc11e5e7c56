"""Reads protobuf text format and remembers where everything stands, for edits of single fields.

The protobuf library reads text format into a message and forgets comments, order, spelling, and
every field that it has no definition of. A file that people edit by hand must keep all of that.
This reader needs no definition: it keeps the place of each field, and an edit replaces exactly
those characters. The grammar is that of
https://protobuf.dev/reference/protobuf/textformat-spec/.
"""

from __future__ import annotations

import bisect
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Edit", "Field", "Message", "Scalar", "TextFormatError", "apply_edits", "parse", "quote"]

_SKIP = re.compile(r"(?:\s+|#[^\n]*)+")
_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*')
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>0[xX][0-9A-Fa-f]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fF]?)
    |(?P<mark>[{}<>\[\]:,;/.-])""",
    re.VERBOSE,
)
_BRACKET_NAME = re.compile(r"\[[^\]\[{}<>\"'#]*\]")
_ESCAPE = re.compile(
    rb"\\(?:([0-7]{1,3})|[xX]([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL
)
_SIMPLE = {
    b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v",
    b"?": b"?", b"\\": b"\\", b"'": b"'", b'"': b'"',
}  # fmt: skip
_CLOSING = {"{": "}", "<": ">"}
_DEPTH = 100


class TextFormatError(ValueError):
    """The text is not protobuf text format. The message begins with the line."""


@dataclass(frozen=True)
class Scalar:
    """A value that is no message.

    Attributes:
        kind: "string", "word" or "number".
        text: As it stands there; for strings the characters that it means.
        line: The line, counted from 1.
    """

    kind: str
    text: str
    line: int

    def string(self) -> str:
        """Returns the characters of a string; raises TextFormatError for other values."""
        if self.kind != "string":
            raise TextFormatError(f"line {self.line}: expected a string, found {self.text}")
        return self.text

    def integer(self) -> int:
        """Returns the value of an integer; raises TextFormatError for other values."""
        sign, digits = (-1, self.text[1:]) if self.text.startswith("-") else (1, self.text)
        try:
            if self.kind != "number":
                raise ValueError
            octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
            return sign * int(digits, 8 if octal else 0)
        except ValueError:
            raise TextFormatError(
                f"line {self.line}: expected an integer, found {self.text}"
            ) from None


@dataclass(frozen=True)
class Message:
    """The fields between two braces, or of the whole text.

    Attributes:
        fields: The fields, in order.
        start: Offset of the first character inside.
        end: Offset of the closing brace, or of the end of the text.
    """

    fields: tuple[Field, ...]
    start: int
    end: int

    def named(self, name: str) -> Iterator[Field]:
        """Yields the fields of that name."""
        return (field for field in self.fields if field.name == name)

    def values(self, name: str) -> Iterator[Scalar | Message]:
        """Yields the values of all fields of that name."""
        return (value for field in self.named(name) for value in field.values)

    def messages(self, name: str) -> Iterator[Message]:
        """Yields the values of all fields of that name, which are messages."""
        for field in self.named(name):
            for value in field.values:
                if not isinstance(value, Message):
                    raise TextFormatError(f"line {field.line}: {name} must be a message in braces")
                yield value

    def scalars(self, name: str) -> Iterator[Scalar]:
        """Yields the values of all fields of that name, which are no messages."""
        for field in self.named(name):
            for value in field.values:
                if not isinstance(value, Scalar):
                    raise TextFormatError(f"line {field.line}: {name} must be a plain value")
                yield value

    def only(self, name: str) -> Field | None:
        """Returns the one field of that name, or None; raises TextFormatError for several."""
        found = list(self.named(name))
        if len(found) > 1 or (found and len(found[0].values) != 1):
            raise TextFormatError(f"line {found[-1].line}: {name} may be given once only")
        return found[0] if found else None


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        name: Its name; with brackets for extensions and expanded Any messages.
        values: Its value, or those of a list.
        start: Offset of the first character of the name.
        end: Offset behind the value and its separator.
        line: The line of the name, counted from 1.
    """

    name: str
    values: tuple[Scalar | Message, ...]
    start: int
    end: int
    line: int


def parse(text: str) -> Message:
    """Reads a text.

    Args:
        text: Protobuf text format, of any message.

    Returns:
        The fields with their places.

    Raises:
        TextFormatError: The text does not follow the grammar.
    """
    return _Reader(text).message(None, 0)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self._at = 0
        self._skip()

    def message(self, closing: str | None, depth: int) -> Message:
        if depth > _DEPTH:
            raise self._error(f"messages are nested more than {_DEPTH} deep")
        start = self._at if closing else 0
        fields: list[Field] = []
        while True:
            if self._at >= len(self._text):
                if closing:
                    raise self._error(f"{closing!r} is missing at the end")
                return Message(tuple(fields), start, len(self._text))
            if closing and self._text[self._at] == closing:
                return Message(tuple(fields), start, self._at)
            fields.append(self._field(depth))

    def _field(self, depth: int) -> Field:
        start, line = self._at, self._line()
        bracket = _BRACKET_NAME.match(self._text, self._at)
        if bracket:
            name = "".join(bracket[0].split())
            end = self._move(bracket.end())
        else:
            kind, name, end = self._token()
            if kind != "word":
                raise self._error(f"expected the name of a field, found {name!r}", start)
        colon = self._text.startswith(":", self._at)
        if colon:
            self._move(self._at + 1)
        values, end = self._values(name, colon, depth)
        if self._text[self._at : self._at + 1] in (",", ";"):
            end = self._at + 1
            self._move(end)
        return Field(name, values, start, end, line)

    def _values(
        self, name: str, colon: bool, depth: int
    ) -> tuple[tuple[Scalar | Message, ...], int]:
        if not self._text.startswith("[", self._at):
            value, end = self._value(name, colon, depth)
            return (value,), end
        self._move(self._at + 1)
        values: list[Scalar | Message] = []
        while not self._text.startswith("]", self._at):
            if values:
                if not self._text.startswith(",", self._at):
                    raise self._error("expected ',' or ']' in a list")
                self._move(self._at + 1)
            values.append(self._value(name, colon, depth)[0])
        end = self._at + 1
        self._move(end)
        return tuple(values), end

    def _value(self, name: str, colon: bool, depth: int) -> tuple[Scalar | Message, int]:
        line = self._line()
        opening = self._text[self._at : self._at + 1]
        if opening in _CLOSING and opening:
            self._at += 1
            start = self._at
            self._skip()
            inside = self.message(_CLOSING[opening], depth + 1)
            end = self._at + 1
            self._move(end)
            return Message(inside.fields, start, inside.end), end
        if not colon:
            raise self._error(f"expected ':' or '{{' behind {name!r}")
        sign = ""
        if opening == "-":
            sign = "-"
            self._move(self._at + 1)
        kind, text, end = self._token()
        if kind == "mark" or (sign and kind == "string"):
            raise self._error(f"expected a value for {name!r}, found {text!r}")
        if kind != "string":
            return Scalar(kind, sign + text, line), end
        parts = [text]
        while self._text[self._at : self._at + 1] in ('"', "'") and self._at < len(self._text):
            _, more, end = self._token()
            parts.append(more)
        try:
            content = b"".join(_unescape(part) for part in parts).decode("utf-8")
        except UnicodeDecodeError:
            # A field of bytes; no text that is looked at here.
            content = "".join(parts)
        return Scalar("string", content, line), end

    def _token(self) -> tuple[str, str, int]:
        match = _TOKEN.match(self._text, self._at)
        if match is None or match.lastgroup is None:
            raise self._error(
                f"cannot read {self._text[self._at : self._at + 20]!r}"
                if self._at < len(self._text)
                else "the text ends too early"
            )
        self._move(match.end())
        return match.lastgroup, match[0], match.end()

    def _move(self, to: int) -> int:
        self._at = to
        self._skip()
        return to

    def _skip(self) -> None:
        match = _SKIP.match(self._text, self._at)
        if match:
            self._at = match.end()

    def _line(self, at: int | None = None) -> int:
        return bisect.bisect_left(self._newlines, self._at if at is None else at) + 1

    def _error(self, message: str, at: int | None = None) -> TextFormatError:
        return TextFormatError(f"line {self._line(at)}: {message}")


def _unescape(quoted: str) -> bytes:
    def put(match: re.Match[bytes]) -> bytes:
        octal, hexadecimal, short, long, simple = match.groups()
        if octal:
            return bytes([int(octal, 8) & 0xFF])
        if hexadecimal:
            return bytes([int(hexadecimal, 16)])
        if short or long:
            code = int(short or long, 16)
            if code > sys.maxunicode:
                raise TextFormatError(f"{match[0].decode()!r} is no character")
            return chr(code).encode("utf-8", "surrogatepass")
        return _SIMPLE.get(simple, match[0])

    return _ESCAPE.sub(put, quoted[1:-1].encode("utf-8"))


def quote(text: str) -> str:
    """Writes a string as text format wants it: `parse` reads the same characters back."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\{ord(c):03o}" for c in plain) + '"'


@dataclass(frozen=True)
class Edit:
    """Characters from `start` to `end` become `text`."""

    start: int
    end: int
    text: str


def apply_edits(text: str, edits: Sequence[Edit]) -> str:
    """Makes edits that do not overlap.

    Args:
        text: The text.
        edits: The edits; several at one place are made in the order given.

    Returns:
        The text with the edits; every other character is as it was.
    """
    parts, at = [], 0
    for edit in sorted(edits, key=lambda e: (e.start, e.end)):
        assert edit.start >= at, "edits overlap"
        parts += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join(parts) + text[at:]
