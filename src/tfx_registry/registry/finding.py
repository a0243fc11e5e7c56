"""Searching versions, and comparing two of them."""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import heapq
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tfx_registry import names
from tfx_registry.displays import VersionList
from tfx_registry.errors import InvalidExpressionError, InvalidInputError, InvalidNameError
from tfx_registry.names import SemanticVersion, VersionRef
from tfx_registry.records import Head, Version
from tfx_registry.registry.comparison import Comparison, compare_versions
from tfx_registry.registry.reader import RegistryReader
from tfx_registry.registry.search import parse, parse_order
from tfx_registry.registry.search_fields import SEVERAL, FieldKind, bind
from tfx_registry.registry.search_match import predicate, required_models
from tfx_registry.registry.search_tokens import fail
from tfx_registry.registry.search_values import number_of

__all__ = ["MAX_LIMIT", "Finding", "SearchPage", "stream_versions"]

#: The most versions that one page can hold.
MAX_LIMIT = 10_000

_BATCH = 500


class SearchPage(VersionList):
    """What a search found: a list of versions.

    Attributes:
        next_page_token: Give it to the same search to get what follows; None at the end.
    """

    next_page_token: str | None = None


class Finding(RegistryReader):
    """The part of `ModelRegistry` that finds and compares versions."""

    def search(
        self,
        expression: str = "",
        *,
        model: str | None = None,
        limit: int = 100,
        page_token: str | None = None,
        order_by: str | None = None,
    ) -> SearchPage:
        """Finds the versions that an expression describes; see docs/search.md for the language.

        Without `order_by` the models come by name, and in each the newest version first; the
        search ends as soon as the page is full. With `order_by` every version is looked at, and
        those that lack the field come last. Versions are read 500 at a time and only a page of
        them is kept. A page token holds its place: versions that are registered between two pages
        do not shift the second.

        Args:
            expression: Such as "metrics.auc > 0.9 and labels.team = 'x'"; "" means all.
            model: Search this model only.
            limit: At most so many versions, 1 to 10,000.
            page_token: `next_page_token` of the page before.
            order_by: A field, then perhaps "desc", such as "metrics.auc desc".

        Returns:
            The versions, with the token of the next page.

        Raises:
            InvalidExpressionError: The expression or the order cannot be read, or asks a field
                what it cannot answer.
            InvalidInputError: The limit is out of range, or the token is not of this search.
            NotFoundError: There is no such model.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise InvalidInputError(
                f"invalid limit {limit!r}",
                f"it is a number from 1 to {MAX_LIMIT}",
                "choose another",
            )
        tree = parse(expression) if expression else None
        matches = predicate(tree) if tree else _everything
        sort = _Sort(order_by)
        search = f"{expression}\n{model}\n{order_by}"
        after = _read_token(page_token, search, sort) if page_token is not None else None
        heads = self._heads(model, required_models(tree) if tree else None, after, sort)
        found = (v for head in heads for v in self._stream(head, after, sort) if matches(v))
        if after is not None:
            found = (version for version in found if after < sort.key(version))
        page = SearchPage(sort.first(found, limit + 1))
        if len(page) > limit:
            page.pop()
            page.next_page_token = _write_token(page[-1], search, sort)
        return page

    def compare(self, a: str | VersionRef, b: str | VersionRef) -> Comparison:
        """Compares two versions, of one model or of two.

        Args:
            a: Reference of the one that the changes are counted from.
            b: Reference of the other.

        Returns:
            What is different and what is the same.

        Raises:
            InvalidNameError: A reference breaks the grammar.
            NotFoundError: There is no such model, version or alias.
        """
        return compare_versions(self.resolve(a), self.resolve(b))

    def _heads(
        self, model: str | None, required: set[str] | None, after: _Key | None, sort: _Sort
    ) -> Iterable[Head]:
        heads = [self.head(model)] if model is not None else self.list_models()
        heads = [h for h in heads if required is None or names.model_key(h.model) in required]
        if after is not None and sort.by_place:
            heads = [h for h in heads if names.model_key(h.model) >= after.model]
        return sorted(heads, key=lambda head: names.model_key(head.model))

    def _stream(self, head: Head, after: _Key | None, sort: _Sort) -> Iterator[Version]:
        below = None
        if after is not None and sort.by_place and names.model_key(head.model) == after.model:
            below = -after.minus_number
        return stream_versions(self, head, below=below)


def stream_versions(
    reader: RegistryReader, head: Head, *, below: int | None = None
) -> Iterator[Version]:
    """Reads the versions of a model in batches, newest first, so that memory stays small.

    Args:
        reader: The registry.
        head: Head of the model.
        below: Only versions with a smaller number.

    Yields:
        The versions.
    """
    store = reader._store
    numbers = head.numbers()[::-1]
    if below is not None:
        numbers = [n for n in numbers if n < below]
    for start in range(0, len(numbers), _BATCH):
        batch = numbers[start : start + _BATCH]
        found = store.read_versions(head.model, batch)
        yield from (found[number] for number in batch if number in found)


def _everything(_: Version) -> bool:
    return True


@functools.total_ordering
class _Key:
    """The place of a version in the order: by field if there is one, then model, then newest."""

    def __init__(self, rank: Any, descending: bool, model: str, number: int) -> None:
        self.rank = rank
        self.descending = descending
        self.model = names.model_key(model)
        self.minus_number = -number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self._all() == other._all()

    def __hash__(self) -> int:
        return hash(self._all())

    def __lt__(self, other: _Key) -> bool:
        if self.rank != other.rank:
            if self.rank is None or other.rank is None:
                return other.rank is None
            less = bool(self.rank < other.rank)
            return less is not self.descending
        return (self.model, self.minus_number) < (other.model, other.minus_number)

    def _all(self) -> tuple[Any, ...]:
        return (self.rank, self.model, self.minus_number)


class _Sort:
    """What `order_by` says."""

    def __init__(self, text: str | None) -> None:
        self.by_place = text is None
        self.read: Callable[[Version], Any] = lambda _: None
        self.descending = False
        self._kind = FieldKind.TEXT
        if text is not None:
            order = parse_order(text)
            field, self.read = bind(order.field)
            self.descending, self._kind = order.descending, field.kind
            if field.kind in SEVERAL:
                raise fail(
                    order.field.position, f"{field.name} has several values", "order by another"
                )

    def key(self, version: Version) -> _Key:
        return self.key_of(self.read(version), version.model, version.number)

    def key_of(self, value: Any, model: str, number: int) -> _Key:
        return _Key(self._rank(value), self.descending, model, number)

    def check(self, value: Any) -> None:
        """Raises TypeError where a value cannot be one of the field's."""
        kind = (int, float) if self._kind is FieldKind.NUMBER else str
        if value is not None and not isinstance(value, kind):
            raise TypeError(value)

    def first(self, found: Iterable[Version], count: int) -> list[Version]:
        if self.by_place:
            return list(itertools.islice(found, count))
        return heapq.nsmallest(count, found, key=self.key)

    def _rank(self, value: Any) -> Any:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        if self._kind is FieldKind.VALUE:
            number = number_of(value)
            return (1, 0.0, value) if number is None else (0, number, "")
        if self._kind is FieldKind.SEMANTIC_VERSION:
            try:
                return SemanticVersion.parse(value)
            except InvalidNameError:
                return None
        return value


def _write_token(version: Version, search: str, sort: _Sort) -> str:
    value = sort.read(version)
    if isinstance(value, float):
        value = {"float": value.hex()}  # strict JSON has no infinity
    text = json.dumps([_mark(search), value, version.model, version.number])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_token(token: str, search: str, sort: _Sort) -> _Key:
    try:
        padded = token + "=" * (-len(token) % 4)
        mark, value, model, number = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        if isinstance(value, dict):
            value = float.fromhex(value["float"])
        if mark != _mark(search):
            raise ValueError("it belongs to another search")
        sort.check(value)
        key = sort.key_of(value, names.check_model_name(model), names.check_version_number(number))
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
        binascii.Error,
        InvalidNameError,
        InvalidExpressionError,
    ) as error:
        why = "it belongs to another search" if "another" in str(error) else "it cannot be read"
        raise InvalidInputError(
            "invalid page token", why, "use the token of the page before with the same search"
        ) from error
    return key


def _mark(search: str) -> str:
    return hashlib.sha256(search.encode("utf-8", "surrogatepass")).hexdigest()[:16]
