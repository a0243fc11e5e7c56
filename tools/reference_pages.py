"""What the tools that write pages of docs/reference share: tables, docstrings, --check."""

import dataclasses
import inspect
import re
import sys
import typing
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"


def table(header, rows):
    """Returns a table as Markdown.

    Args:
        header: Titles of the columns.
        rows: Cells of each row, as Markdown.
    """
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(["| " + " | ".join(header) + " |", "|" + "---|" * len(header), *lines])


def summary(thing):
    """Returns the first sentence of the docstring of a class or function, on one line."""
    first = (inspect.getdoc(thing) or "").split("\n\n")[0]
    return as_markdown(" ".join(first.split()))


def attributes(cls):
    """Returns the section `Attributes:` of a docstring: a text for each name."""
    section = (inspect.getdoc(cls) or "").partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+): ((?:.*)(?:\n {5,}.*)*)", section, re.MULTILINE)
    return {name: as_markdown(" ".join(text.split())) for name, text in found}


def as_markdown(text):
    """Returns the text of a docstring so that Markdown shows it as it stands."""
    parts = text.split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("*", "\\*") for part in parts[::2]]
    return "`".join(parts)


def type_name(kind):
    """Returns a type annotation as people read it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        inner = [type_name(a) for a in arguments if a is not Ellipsis]
        return ("list of " if arguments[-1] is Ellipsis else "") + ", ".join(inner)
    if origin is not None and hasattr(origin, "keys"):
        return f"object of {type_name(arguments[1])}"
    if arguments:
        return " or ".join(type_name(a) for a in arguments)
    if kind is type(None):
        return "null"
    names = {str: "text", int: "integer", float: "number", bool: "boolean", typing.Any: "any JSON"}
    return names.get(kind) or f"[{kind.__name__}](#{kind.__name__.lower()})"


def fields_table(cls, others=None):
    """Returns the fields of a dataclass as a table: name, type, default, meaning.

    Args:
        cls: The dataclass.
        others: Meanings of fields that its docstring does not explain.
    """
    hints, texts = typing.get_type_hints(cls), {**(others or {}), **attributes(cls)}
    rows = [
        [f"`{f.name}`", type_name(hints[f.name]), default_of(f), texts.get(f.name, "")]
        for f in dataclasses.fields(cls)
    ]
    return table(["field", "type", "default", "meaning"], rows)


def default_of(field):
    """Returns the default of a field of a dataclass as Markdown; "" where it has none."""
    from tfx_registry import codec

    value = field.default
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    return "" if value is dataclasses.MISSING else f"`{codec.dumps(value)}`"


def finish(name, text, arguments):
    """Writes a page, or with --check compares it; returns the exit code.

    Args:
        name: Name of the file in docs/reference.
        text: The page.
        arguments: Arguments of the command.
    """
    target = FOLDER / name
    text = text.strip() + "\n"
    if "--check" not in arguments:
        target.write_text(text, encoding="utf-8")
        return 0
    if target.exists() and target.read_text(encoding="utf-8") == text:
        return 0
    print(f"docs/reference/{name} is not what the code says: run {Path(sys.argv[0]).name}")
    return 1
