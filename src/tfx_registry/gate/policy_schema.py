"""The JSON Schema of a policy, made from the data classes and their docstrings."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

from tfx_registry import codec

__all__ = ["schema_of"]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TITLE = "Gate policy of tfx-registry"

#: Limits that the data classes check and types do not say.
_LIMITS: dict[str, dict[str, Any]] = {
    "min_examples": {"minimum": 1},
    "min_slice_size": {"minimum": 1},
    "tolerance": {"minimum": 0},
    "max_evaluation_age_hours": {"minimum": 0},
    "max_model_bytes": {"minimum": 0},
    "max_model_growth": {"minimum": 0},
    "confidence_level": {"minimum": 0.5, "exclusiveMaximum": 1},
    "metric": {"minLength": 1},
    "slices": {"minItems": 1},
}

_SCALARS = {str: "string", bool: "boolean", int: "integer", float: "number"}

_EVAL_CONFIG = {
    "type": ["object", "string"],
    "description": "An EvalConfig of TFMA in its JSON or text form; its thresholds are added.",
}


def schema_of(policy: type) -> dict[str, Any]:
    """Makes the schema.

    Args:
        policy: `GatePolicy`.

    Returns:
        The schema as JSON value. It accepts every document that `GatePolicy.from_dict` accepts as
        a policy, and finds misspelt fields, wrong types and wrong words; what takes arithmetic,
        such as a lower bound above the upper one, only `from_dict` finds.
    """
    definitions: dict[str, Any] = {}
    schema = _of_dataclass(policy, definitions)
    schema["properties"]["eval_config"] = _EVAL_CONFIG
    return {
        "$schema": _DRAFT,
        "title": _TITLE,
        **schema,
        "$defs": dict(sorted(definitions.items())),
    }


def _of_dataclass(cls: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hints, texts = typing.get_type_hints(cls), _attributes(cls)
    properties, needed = {}, []
    for field in dataclasses.fields(cls):
        own = _of_type(hints[field.name], definitions, _LIMITS.get(field.name, {}))
        own["description"] = texts[field.name]
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if default is dataclasses.MISSING:
            needed.append(field.name)
        else:
            own["default"] = codec.encode(default)
        properties[field.name] = own
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": needed} if needed else schema


def _of_type(kind: Any, definitions: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        inner = next(a for a in arguments if a is not type(None))
        return {"anyOf": [_of_type(inner, definitions, limits), {"type": "null"}]}
    if origin is tuple:
        return {"type": "array", "items": _of_type(arguments[0], definitions, {}), **limits}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _of_type(arguments[1], definitions, {})}
    if dataclasses.is_dataclass(kind):
        name = typing.cast("type", kind).__name__
        if name not in definitions:
            definitions[name] = {}
            definitions[name].update(_of_dataclass(kind, definitions))
            definitions[name]["description"] = _summary(kind)
        return {"$ref": f"#/$defs/{name}"}
    if issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    return {"type": _SCALARS[kind], **limits}


def _summary(cls: Any) -> str:
    return (inspect.getdoc(cls) or "").splitlines()[0]


def _attributes(cls: Any) -> dict[str, str]:
    """Reads the section `Attributes:` of a docstring."""
    section = (inspect.getdoc(cls) or "").partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+): ((?:.*)(?:\n {5,}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}
