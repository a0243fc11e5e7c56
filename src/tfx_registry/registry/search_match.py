"""From the tree of an expression to a function that tells whether a version matches.

Logic has two values. A condition on what a version does not have is false, and so is every
comparison with NaN, `!=`, `not like` and `not in` included. `not (...)` is plain negation: what is
inside is false or true, and it says the opposite. `is null` and `is nan` find the missing.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from tfx_registry.errors import InvalidNameError
from tfx_registry.names import SemanticVersion, model_key
from tfx_registry.records import Version
from tfx_registry.registry.search_fields import SEVERAL, Field, FieldKind, Reader, bind, suggest
from tfx_registry.registry.search_tokens import fail, shorten
from tfx_registry.registry.search_tree import And, Condition, Literal, Node, Not, Or
from tfx_registry.registry.search_values import MAX_PATTERN, Period, compile_like, number_of

__all__ = ["predicate", "required_models"]

Predicate = Callable[[Version], bool]
Test = Callable[[Any], bool]

_ORDERING = ("<", "<=", ">", ">=")

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def predicate(node: Node) -> Predicate:
    """Checks an expression and makes it a function.

    Args:
        node: The tree.

    Returns:
        The function. It reads the version and nothing else, and does not raise.

    Raises:
        InvalidExpressionError: A field is unknown, or is asked what it cannot answer.
    """
    if isinstance(node, (And, Or)):
        parts = [predicate(part) for part in node.parts]
        join = all if isinstance(node, And) else any
        return lambda version: join(part(version) for part in parts)
    if isinstance(node, Not):
        inner = predicate(node.part)
        return lambda version: not inner(version)
    return _condition(node)


def required_models(node: Node) -> set[str] | None:
    """Tells which models alone can match.

    Args:
        node: The tree.

    Returns:
        Their keys (`names.model_key`), or None where every model can.
    """
    if isinstance(node, And):
        known = [found for part in node.parts if (found := required_models(part)) is not None]
        return set.intersection(*known) if known else None
    if isinstance(node, Condition) and node.field.path == ("model",) and not node.field.slice:
        texts = [value.value for value in node.values]
        if node.operator in ("=", "in"):
            return {model_key(text) for text in texts if isinstance(text, str)}
    return None


def _condition(node: Condition) -> Predicate:
    field, read = bind(node.field)
    if node.operator.endswith(("null", "nan")):
        return _existence(node, field, read)
    negated = node.operator.startswith("not ")
    operation = node.operator.removeprefix("not ")
    if field.kind in SEVERAL:
        return _many(node, field, read, operation)
    test = _test(node, field, operation)
    read = _reader(node, field, read, operation)

    def matches(version: Version) -> bool:
        value = read(version)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return False
        return test(value) is not negated

    return matches


def _reader(node: Condition, field: Field, read: Reader, operation: str) -> Reader:
    """What does not fit the comparison, such as text among numbers, counts as missing."""
    if field.kind is FieldKind.VALUE and not isinstance(node.values[0].value, str):
        return lambda version: _maybe_number(read(version))
    if field.kind is FieldKind.SEMANTIC_VERSION and operation in _ORDERING:
        return lambda version: _maybe_semantic_version(read(version))
    return read


def _maybe_number(text: str | None) -> float | None:
    return None if text is None else number_of(text)


def _maybe_semantic_version(text: str | None) -> SemanticVersion | None:
    try:
        return SemanticVersion.parse(text) if text else None
    except InvalidNameError:
        return None


def _existence(node: Condition, field: Field, read: Reader) -> Predicate:
    negated = " not " in node.operator
    if node.operator.endswith("nan"):
        if field.kind is not FieldKind.NUMBER:
            raise fail(node.field.position, f"{node.field} is {field.kind.value}", "use is null")

        def is_nan(version: Version) -> bool:
            value = read(version)
            return value is not None and math.isnan(value) is not negated

        return is_nan
    if field.kind in SEVERAL:
        # One of them may be missing itself, as the alias of an override for any.
        return lambda version: (not (found := read(version)) or None in found) is not negated
    return lambda version: (read(version) is None) is not negated


def _many(node: Condition, field: Field, read: Reader, operation: str) -> Predicate:
    if node.operator.startswith("not ") or operation == "!=":
        raise fail(
            node.field.position,
            f"{node.field} has several values, so {node.operator!r} could mean two things",
            f"write not ({node.field} {operation if operation != '!=' else '='} ...)",
        )
    if field.kind is FieldKind.TIMES:
        test = _time_test(node, operation)
        return lambda version: any(test(value) for value in read(version))
    operation = "=" if operation == "contains" else operation
    numeric = any(not isinstance(value.value, str) for value in node.values)
    test = _value_test(node, operation)

    def matches(version: Version) -> bool:
        values = [value for value in read(version) or () if value is not None]
        if numeric:
            values = [number for text in values if (number := number_of(text)) is not None]
        return any(test(value) for value in values)

    return matches


def _test(node: Condition, field: Field, operation: str) -> Test:
    if field.kind is FieldKind.NUMBER:
        return _number_test(node, operation)
    if field.kind is FieldKind.TIME:
        return _time_test(node, operation)
    if field.kind in (FieldKind.CHOICE, FieldKind.MODEL):
        return _word_test(node, field, operation)
    if field.kind is FieldKind.SEMANTIC_VERSION and operation in _ORDERING:
        return _semantic_version_test(node, operation)
    if field.kind is FieldKind.VALUE:
        return _value_test(node, operation)
    for literal in node.values:
        _need_text(node, literal)
    return _value_test(node, operation)


def _number_test(node: Condition, operation: str) -> Test:
    if operation in ("like", "contains"):
        raise fail(
            node.field.position, f"{node.field} is a number, not text", "compare it with =, < or >"
        )
    for literal in node.values:
        if isinstance(literal.value, str):
            raise fail(
                literal.position,
                f"{node.field} is a number, {shorten(literal.value)} is text",
                "write a number without quotes",
            )
    return _value_test(node, operation)


def _value_test(node: Condition, operation: str) -> Test:
    """Compares texts with texts, or numbers with numbers."""
    values = [literal.value for literal in node.values]
    if len({isinstance(value, str) for value in values}) > 1:
        raise fail(
            node.values[0].position, "it mixes numbers and text", "quote all values, or none"
        )
    if operation == "in":
        among = frozenset(values)
        return lambda value: value in among
    if operation in ("like", "contains"):
        text = _need_text(node, node.values[0])
        if operation == "contains":
            return lambda value: text in value
        if len(text) > MAX_PATTERN:
            raise fail(
                node.values[0].position,
                f"the pattern has {len(text)} characters, more than {MAX_PATTERN}",
                "use a shorter one",
            )
        return compile_like(text)
    compare, wanted = _COMPARE[operation], values[0]
    return lambda value: compare(value, wanted)


def _time_test(node: Condition, operation: str) -> Test:
    if operation in ("like", "contains"):
        raise fail(
            node.field.position,
            f"{node.field} is a time, not text",
            f"compare it with a year, month or day, such as {node.field} = '2024-05'",
        )
    periods = [Period.parse(_need_text(node, value), value.position) for value in node.values]
    if operation == "in":
        return lambda value: any(period.holds(value) for period in periods)
    period = periods[0]
    tests: dict[str, Test] = {
        "=": period.holds,
        "!=": lambda value: not period.holds(value),
        "<": lambda value: value < period.start,
        "<=": lambda value: value < period.end,
        ">": lambda value: value >= period.end,
        ">=": lambda value: value >= period.start,
    }
    return tests[operation]


def _word_test(node: Condition, field: Field, operation: str) -> Test:
    if operation in _ORDERING:
        raise fail(
            node.field.position, f"{node.field} is {field.kind.value} without order", "use = or in"
        )
    words = [_need_text(node, literal) for literal in node.values]
    if field.kind is FieldKind.MODEL:
        words = [model_key(word) for word in words]
        folded = tuple(
            Literal(word, at.position) for word, at in zip(words, node.values, strict=True)
        )
        return _value_test(Condition(node.field, node.operator, folded), operation)
    if operation in ("=", "!=", "in"):
        for word, literal in zip(words, node.values, strict=True):
            if word not in field.choices:
                raise fail(
                    literal.position,
                    f"{node.field} is never {shorten(word)}",
                    suggest(word, field.choices),
                )
    return _value_test(node, operation)


def _semantic_version_test(node: Condition, operation: str) -> Test:
    literal = node.values[0]
    try:
        wanted = SemanticVersion.parse(_need_text(node, literal))
    except InvalidNameError as error:
        raise fail(literal.position, f"{error.what}: {error.why}", error.todo) from error
    tests: dict[str, Test] = {
        "<": lambda value: value < wanted,
        "<=": lambda value: not wanted < value,
        ">": lambda value: wanted < value,
        ">=": lambda value: not value < wanted,
    }
    return tests[operation]


def _need_text(node: Condition, literal: Literal) -> str:
    if isinstance(literal.value, str):
        return literal.value
    raise fail(
        literal.position,
        f"{node.field} is text, {literal} is a number",
        f"put it into quotes: '{literal}'",
    )
