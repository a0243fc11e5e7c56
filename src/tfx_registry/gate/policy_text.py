"""Policies as text: YAML 1.2, without the surprises of older YAML.

`yes`, `no`, `on` and `off` are text, dates are text, `1e-3` is a number. A field that is given
twice is an error, because the parser would silently keep the last one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]

from tfx_registry.errors import InvalidPolicyError

if TYPE_CHECKING:
    from tfx_registry.gate.policy import GatePolicy

__all__ = ["load", "read_yaml", "write_yaml"]

#: Files with an EvalConfig as text protocol buffer.
_TEXT_PROTO = (".pbtxt", ".textproto", ".txtpb")

#: A document may hold this many values, with aliases written out.
_MAX_NODES = 100_000


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads the core schema of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - declared so by the base class


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes whatever an older or a newer reader would take for something other than text."""

    def ignore_aliases(self, data: Any) -> bool:
        """Writes equal values twice instead of by reference."""
        return True


_NUMBERS = (
    ("tag:yaml.org,2002:null", r"(?:~|null|Null|NULL|)", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", r"(?:true|True|TRUE|false|False|FALSE)", list("tTfF")),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)

for _tag, _pattern, _first in _NUMBERS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), _first)


#: Ends of lines to YAML, which it would fold into spaces anywhere but in double quotes.
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")


def _write_text(dumper: Any, text: str) -> Any:
    style = '"' if _LINE_ENDS.search(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _write_text)


def _read_int(loader: Any, node: Any) -> int:
    return int(loader.construct_scalar(node), 10)


def _read_float(loader: Any, node: Any) -> float:
    text = loader.construct_scalar(node).lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


_Loader.add_constructor("tag:yaml.org,2002:int", _read_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _read_float)


def read_yaml(text: str) -> Any:
    """Reads one YAML document.

    Args:
        text: The text.

    Returns:
        Dictionaries with text keys, lists, text, numbers, booleans and None.

    Raises:
        InvalidPolicyError: It is no YAML, has a repeated key or a tag, or is too large.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        place = f"line {where.line + 1}, column {where.column + 1}: " if where else ""
        raise InvalidPolicyError(
            "invalid gate policy", f"no YAML: {place}{problem}", "correct the text"
        ) from error
    except (ValueError, RecursionError, OverflowError) as error:
        raise InvalidPolicyError(
            "invalid gate policy", f"no YAML: {error}", "correct the text"
        ) from error
    finally:
        if loader is not None:
            loader.dispose()


def write_yaml(value: Any) -> str:
    """Writes a JSON value as YAML text, in the order of the fields.

    Args:
        value: Dictionaries, lists, text, numbers, booleans and None.

    Returns:
        The text; `read_yaml` returns the value again.
    """
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=False,
    )
    return text


def load(kind: type[GatePolicy], path: Path) -> GatePolicy:
    """Reads a policy file of any form.

    Args:
        kind: `GatePolicy`.
        path: The file; its ending says what form it has.

    Returns:
        The policy.

    Raises:
        InvalidPolicyError: The file cannot be read, or is not a policy.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidPolicyError(
            f"cannot read the policy {str(path)!r}", str(error), "name a file with a policy"
        ) from error
    readers: dict[str, Callable[[str], GatePolicy]] = {
        ".json": kind.from_json,
        ".yaml": kind.from_yaml,
        ".yml": kind.from_yaml,
        **dict.fromkeys(_TEXT_PROTO, kind.from_eval_config),
    }
    if path.suffix not in readers:
        raise InvalidPolicyError(
            f"cannot read the policy {str(path)!r}",
            f"its name ends in none of {', '.join(readers)}",
            "rename it after its form",
        )
    try:
        return readers[path.suffix](text)
    except InvalidPolicyError as error:
        raise InvalidPolicyError(f"{path}: {error.what}", error.why, error.todo) from error


def _check(root: Any) -> None:
    """Refuses repeated keys, and aliases that would grow without end."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size_of(node: Any) -> int:
        if id(node) in sizes:
            return sizes[id(node)]
        if id(node) in open_nodes:
            raise ValueError("an alias refers to itself")
        open_nodes.add(id(node))
        total = 1
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
            total += sum(size_of(key) + size_of(value) for key, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            total += sum(map(size_of, node.value))
        if total > _MAX_NODES:
            raise ValueError(f"it holds more than {_MAX_NODES} values")
        open_nodes.discard(id(node))
        sizes[id(node)] = total
        return total

    size_of(root)


def _check_keys(node: Any) -> None:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {getattr(key, 'value', '')!r} is no text", key.start_mark
            )
        if key.value in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"{key.value!r} is given twice", key.start_mark
            )
        seen.add(key.value)
