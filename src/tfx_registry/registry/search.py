"""The language of `ModelRegistry.search`: from text to a tree, and back.

    expression = conjunction { "or" conjunction } ;
    conjunction = negation { "and" negation } ;
    negation   = "not" negation | "(" expression ")" | condition ;
    condition  = field ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) literal
               | field [ "not" ] "like" text
               | field [ "not" ] "contains" literal
               | field [ "not" ] "in" "(" literal { "," literal } ")"
               | field "is" [ "not" ] ( "null" | "nan" ) ;
    field      = word { "." ( word | text ) } [ "[" pair { "," pair } "]" ] ;
    pair       = ( word | text ) "=" literal ;
    literal    = text | number ;
    text       = "'" characters "'" | '"' characters '"' ;  (* a quote inside is doubled *)
    order      = field [ "asc" | "desc" ] ;

Keywords are the same in upper and lower case; "==" is "=", and "<>" is "!=". Which fields there are
and what may be compared with what is decided by `search_match.predicate`. An expression is data:
nothing in it is ever executed or passed on to a database. Its length, its depth and the number of
its conditions are limited, so that reading it takes milliseconds whoever wrote it.

Law: `parse(str(tree)) == tree`.
"""

from __future__ import annotations

import math

from tfx_registry.errors import InvalidExpressionError
from tfx_registry.registry.search_tokens import Kind, Token, fail, quote, shorten, tokenize
from tfx_registry.registry.search_tree import (
    And,
    Condition,
    FieldRef,
    Literal,
    Node,
    Not,
    Or,
    Order,
)

__all__ = ["parse", "parse_order"]

#: How deep parentheses and `not` may nest.
MAX_DEPTH = 40

#: How many conditions an expression may have, and how many values an `in`.
MAX_CONDITIONS = 500
MAX_VALUES = 1000

_COMPARISONS = ("=", "!=", "<", "<=", ">", ">=")


def parse(text: str) -> Node:
    """Reads an expression.

    Args:
        text: The expression.

    Returns:
        Its tree.

    Raises:
        InvalidExpressionError: It does not follow the grammar, or exceeds a limit.
    """
    parser = _Parser(tokenize(text))
    tree = parser.expression(0)
    parser.end("'and', 'or' or the end")
    return tree


def parse_order(text: str) -> Order:
    """Reads what to sort by: a field, then perhaps `asc` or `desc`.

    Raises:
        InvalidExpressionError: It does not follow the grammar.
    """
    parser = _Parser(tokenize(text))
    by = parser.field()
    direction = parser.now.value.lower() if parser.now.kind is Kind.WORD else ""
    if direction in ("asc", "desc"):
        parser.step()
    parser.end("'asc', 'desc' or the end")
    return Order(by, direction == "desc")


class _Parser:
    """Recursive descent over the tokens; one method for each rule of the grammar."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._conditions = 0

    @property
    def now(self) -> Token:
        return self._tokens[self._at]

    def step(self) -> Token:
        token = self.now
        self._at += token.kind is not Kind.END
        return token

    def end(self, expected: str) -> None:
        if self.now.kind is not Kind.END:
            raise self._expected(expected)

    def expression(self, depth: int) -> Node:
        parts = [self._conjunction(depth)]
        while self._take(Kind.KEYWORD, "or"):
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _conjunction(self, depth: int) -> Node:
        parts = [self._negation(depth)]
        while self._take(Kind.KEYWORD, "and"):
            parts.append(self._negation(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _negation(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise fail(
                self.now.position, f"it nests deeper than {MAX_DEPTH} levels", "write it flatter"
            )
        if self._take(Kind.KEYWORD, "not"):
            return Not(self._negation(depth + 1))
        if self._take(Kind.SYMBOL, "("):
            inner = self.expression(depth + 1)
            self._need(Kind.SYMBOL, ")", "')'")
            return inner
        return self._condition()

    def _condition(self) -> Node:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise fail(
                self.now.position, f"it has more than {MAX_CONDITIONS} conditions", "use in (...)"
            )
        by = self.field()
        if self.now.kind is Kind.SYMBOL and self.now.value in _COMPARISONS:
            return Condition(by, self.step().value, (self._literal(),))
        if self._take(Kind.KEYWORD, "is"):
            negated = "not " if self._take(Kind.KEYWORD, "not") else ""
            for what in ("null", "nan"):
                if self._take(Kind.KEYWORD, what):
                    return Condition(by, f"is {negated}{what}")
            raise self._expected("'null' or 'nan'")
        negated = "not " if self._take(Kind.KEYWORD, "not") else ""
        for operator in ("like", "contains"):
            if self._take(Kind.KEYWORD, operator):
                return Condition(by, negated + operator, (self._literal(),))
        if self._take(Kind.KEYWORD, "in"):
            return Condition(by, f"{negated}in", self._values())
        raise self._expected("=, !=, <, <=, >, >=, like, contains, in or is")

    def _values(self) -> tuple[Literal, ...]:
        self._need(Kind.SYMBOL, "(", "'(' and the values")
        values = [self._literal()]
        while self._take(Kind.SYMBOL, ","):
            values.append(self._literal())
            if len(values) > MAX_VALUES:
                raise fail(
                    self.now.position, f"'in' has more than {MAX_VALUES} values", "use fewer"
                )
        self._need(Kind.SYMBOL, ")", "',' or ')'")
        return tuple(values)

    def field(self) -> FieldRef:
        if self.now.kind is not Kind.WORD:
            raise self._expected("a field, such as metrics.auc or labels.team")
        start = self.step()
        path = [start.value]
        while self._take(Kind.SYMBOL, "."):
            path.append(self._key("a name after the dot"))
        pairs: dict[str, str] = {}
        if self._take(Kind.SYMBOL, "["):
            self._pair(pairs)
            while self._take(Kind.SYMBOL, ","):
                self._pair(pairs)
            self._need(Kind.SYMBOL, "]", "',' or ']'")
        return FieldRef(tuple(path), tuple(sorted(pairs.items())), start.position)

    def _pair(self, pairs: dict[str, str]) -> None:
        position = self.now.position
        key = self._key("a feature of the slice, such as island='Dream'")
        if key in pairs:
            raise fail(position, f"the feature {shorten(key)} is there twice", "leave one out")
        self._need(Kind.SYMBOL, "=", "'='")
        token = self.now
        self._literal()
        pairs[key] = token.value

    def _key(self, expected: str) -> str:
        # After a dot even a keyword can only be a name: labels.in, metrics.nan.
        if self.now.kind in (Kind.WORD, Kind.KEYWORD, Kind.TEXT):
            return self.step().value
        raise self._expected(f"{expected} (in quotes where it is no plain word)")

    def _literal(self) -> Literal:
        token = self.now
        if token.kind is Kind.TEXT:
            return Literal(self.step().value, token.position)
        if token.kind is not Kind.NUMBER:
            raise self._expected("a number, or a text in quotes")
        self.step()
        try:
            return Literal(int(token.value), token.position)
        except ValueError:
            value = float(token.value)
        if math.isinf(value) and "inf" not in token.value:
            raise fail(token.position, f"{token.value} is too large for a number", "write inf")
        return Literal(value, token.position)

    def _take(self, kind: Kind, value: str) -> bool:
        written = self.now.value
        if self.now.kind is kind and (written == value or written.lower() == value):
            self._at += 1
            return True
        return False

    def _need(self, kind: Kind, value: str, expected: str) -> None:
        if not self._take(kind, value):
            raise self._expected(expected)

    def _expected(self, expected: str) -> InvalidExpressionError:
        hint = "see docs/search.md for the language"
        if self.now.kind is Kind.WORD and self._at and "quotes" in expected:
            hint = f"put text into single quotes: {quote(self.now.value[:40])}"
        return fail(self.now.position, f"expected {expected}, found {self.now}", hint)
