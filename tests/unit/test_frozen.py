"""The dictionary of a record: like a dict to whoever reads, closed to whoever writes."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from tfx_registry import codec
from tfx_registry.frozen import FrozenDict

ITEMS = {"b": 1, "a": 2}


def change_union(table: Any) -> None:
    table |= {"c": 3}


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.__setitem__("a", 9),
        lambda t: t.__delitem__("a"),
        lambda t: t.update(a=9),
        lambda t: t.pop("a"),
        lambda t: t.popitem(),
        lambda t: t.clear(),
        lambda t: t.setdefault("c", 3),
        lambda t: setattr(t, "anything", 1),
        change_union,
    ],
)
def test_it_cannot_be_changed(change: Callable[[Any], object]) -> None:
    table = FrozenDict(ITEMS)
    with pytest.raises((TypeError, AttributeError)):
        change(table)
    assert table == ITEMS


def test_it_reads_like_a_dict() -> None:
    table = FrozenDict(ITEMS)
    assert isinstance(table, dict)
    assert (table, repr(table), list(table)) == (ITEMS, repr(ITEMS), list(ITEMS))
    assert json.dumps(table) == json.dumps(ITEMS)
    assert codec.dumps(table) == codec.dumps(ITEMS)


@pytest.mark.parametrize(
    "made",
    [
        copy.copy,
        copy.deepcopy,
        *(
            lambda table, n=n: pickle.loads(pickle.dumps(table, n))
            for n in range(pickle.HIGHEST_PROTOCOL + 1)
        ),
    ],
)
def test_what_is_copied_or_pickled_stays_frozen(made: Callable[[Any], Any]) -> None:
    again = made(FrozenDict(ITEMS))
    assert again == ITEMS
    assert type(again) is FrozenDict


@pytest.mark.parametrize("made", [dict, FrozenDict.copy, lambda t: {**t}, lambda t: t | {}])
def test_a_dict_made_from_it_can_be_changed(made: Callable[[Any], Any]) -> None:
    table = FrozenDict(ITEMS)
    again = made(table)
    again["c"] = 3
    assert type(again) is dict
    assert table == ITEMS
