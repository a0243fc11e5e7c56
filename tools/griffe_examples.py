"""Shows the examples of docstrings as code in the site: mkdocstrings takes them for running text.

In a docstring an example stands below the word `Example:` as it would be typed, which is easiest to
read in an editor.
"""

import ast
import re
import textwrap
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^Example:\n(?P<body>(?:[ ]{4}.*\n?|\n)+)", re.MULTILINE)


def with_code(docstring: str) -> str:
    """Puts fences around examples that are Python.

    Args:
        docstring: The docstring, without the indentation of its function.

    Returns:
        The docstring with its examples under a heading of their own.
    """
    return _EXAMPLE.sub(_fenced, docstring)


def _fenced(match: re.Match[str]) -> str:
    body = textwrap.dedent(match["body"]).strip("\n")
    try:
        ast.parse(body)
    except SyntaxError:
        return match[0]
    code = textwrap.indent(f"```python\n{body}\n```", " " * 4)
    return f"Examples:\n{code}\n"


class Examples(griffe.Extension):
    """Looks at every docstring that the site shows."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrites the docstring of an object when it has been read."""
        if obj.docstring is not None:
            obj.docstring.value = with_code(obj.docstring.value)
