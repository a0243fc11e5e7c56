"""What a registration leaves unread must not let it go wrong: on each kind of store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.records import LineageSource, Origin
from tfx_registry.registry.access import POLICY_LOG
from tfx_registry.registry.events import Event
from tfx_registry.registry.store import Store


@pytest.fixture
def other(registry: ModelRegistry, uri: str) -> Iterator[ModelRegistry]:
    """A second writer of the same registry; in memory there is only the one store."""
    if uri == "memory://":
        yield ModelRegistry(registry._store)
        return
    with ModelRegistry.open(uri) as opened:
        yield opened


def before_append(registry: ModelRegistry, do: Callable[[], object]) -> list[int]:
    """Does something once, between the moment a writer has read and the one it writes.

    Returns:
        The sequence numbers that the writer tries, as they come.
    """
    tried: list[int] = []
    append = registry._store.append

    def slow(event: Event, *rest: Any) -> None:
        tried.append(event.seq)
        if len(tried) == 1:
            do()
        append(event, *rest)

    registry._store.append = slow  # type: ignore[method-assign]
    return tried


def test_heads_come_in_the_order_asked_for(registry: ModelRegistry, plain_model: Path) -> None:
    registry.register("Penguin", plain_model)
    registry.register("auk", plain_model)
    store: Store = registry._store
    heads = store.read_heads(["auk", "nothing", "PENGUIN", POLICY_LOG, "auk"])
    assert [head.model if head else None for head in heads] == ["auk", None, "Penguin", None, "auk"]
    assert heads[2] == store.read_head("penguin")
    assert store.read_heads([]) == []
    assert store.read_heads(["nothing"]) == [None]


def test_two_writers_of_the_same_bytes(
    registry: ModelRegistry, other: ModelRegistry, plain_model: Path
) -> None:
    # The one has seen that nobody has these bytes, and then the other registers them.
    tried = before_append(registry, lambda: other.register("penguin", plain_model))
    version = registry.register("penguin", plain_model)
    assert tried[:2] == [1, 2] or tried[:3] == [1, 1, 2]  # in memory both write through one store
    assert (version.number, version.same_bytes_as) == (2, 1)
    assert other.get("penguin", 1).same_bytes_as is None
    assert registry.register("penguin", plain_model).same_bytes_as == 2
    assert registry.fsck().findings == ()


def test_a_refused_registration_leaves_nothing_behind(
    registry: ModelRegistry, other: ModelRegistry, plain_model: Path
) -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    before_append(registry, fail)
    with pytest.raises(KeyboardInterrupt):
        registry.register("penguin", plain_model)
    del registry._store.append  # type: ignore[misc]
    other.register("penguin", plain_model)
    assert registry.register("penguin", plain_model).same_bytes_as == 1
    assert registry.fsck().findings == ()


def test_a_log_is_copied_without_looking_for_its_bytes(
    registry: ModelRegistry, new_uri: Callable[[str], str], plain_model: Path
) -> None:
    for _ in range(3):
        registry.register("penguin", plain_model)
    with ModelRegistry.open(new_uri("sqlite")) as copy:
        for event in registry.history("penguin"):
            known = event.seq > 1
            assert copy._append(copy.head("penguin") if known else None, event)
        assert copy.list_versions("penguin") == registry.list_versions("penguin")
        assert copy.fsck().findings == ()


def test_what_is_returned_is_what_is_stored(registry: ModelRegistry, plain_model: Path) -> None:
    libraries, properties, labels = {"numpy": "1"}, {"span": "1"}, {"team": "a"}
    made = registry.register(
        "penguin",
        plain_model,
        labels=labels,
        hyperparameters={"rate": 0.1},
        metrics={"auc": 1},
        origin=Origin(libraries=libraries),
        sources=[LineageSource("examples", "Examples", "/data", properties)],
    )
    for table in (libraries, properties, labels):
        table["later"] = "changed"
    assert repr(made) == repr(registry.get("penguin", 1))
    moved = registry.set_alias("penguin", "production", 1)
    assert moved.aliases == ("production",)
    assert repr(moved) == repr(registry.get("penguin", 1))
    assert registry.set_alias("penguin", "production", 1) == moved


def test_versions_are_shared_and_new_ones_seen(
    registry: ModelRegistry, other: ModelRegistry, plain_model: Path
) -> None:
    registry.register("penguin", plain_model, labels={"team": "a"})
    before = registry.get("penguin", 1)
    with pytest.raises(TypeError, match="does not change"):
        before.labels["team"] = "b"  # type: ignore[index]
    other.set_label("penguin", 1, "team", "c")
    assert registry.get("penguin", 1).labels == {"team": "c"}
    assert [v.labels for v in registry.list_versions("penguin")] == [{"team": "c"}]
    assert before.labels == {"team": "a"}
