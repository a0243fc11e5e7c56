"""Standard streams that cannot write every character: they get the closest that they can.

A terminal or a job may have an encoding other than UTF-8, for example `LANG=de_DE.ISO-8859-1`, or
`PYTHONIOENCODING=ascii`. Marks such as a check mark would end a command there with an error, after
the work is done.
"""

from __future__ import annotations

import codecs
import io
import sys
from typing import TextIO

__all__ = ["utf8_output", "write_what_can_be_written", "writes_everything"]

_HANDLER = "tfx_registry.closest"
#: What stands for signs of ours where there are none; other characters become Python's escapes.
_CLOSEST = str.maketrans(
    {
        "✓": "+", "✗": "x", "◇": "*", "▲": "^", "▼": "v", "≠": "!=", "→": "->", "…": "...",
        "·": ".", "─": "-", "│": "|", "├": "+", "└": "+", "•": "*", "\u2013": "-",
    }
)  # fmt: skip


def write_what_can_be_written() -> None:
    """Makes standard output and error write every text, in whatever encoding they have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not _is_utf(stream.encoding):
            codecs.register_error(_HANDLER, _replace)
            stream.reconfigure(errors=_HANDLER)


def writes_everything() -> bool:
    """Tells whether standard output has every character."""
    return _is_utf(sys.stdout.encoding or "ascii")


def utf8_output() -> TextIO:
    """Returns standard output for a document that is UTF-8 wherever it is written."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not writes_everything():
        sys.stdout.flush()
        sys.stdout.reconfigure(encoding="utf-8", errors="strict")
    return sys.stdout


def _is_utf(encoding: str) -> bool:
    return codecs.lookup(encoding).name.startswith("utf")


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_CLOSEST)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end
