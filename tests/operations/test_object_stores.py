"""Promote, roll back and prune in object stores; several at the same time."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry, Retention, promote, prune, reconcile, rollback
from tfx_registry.errors import (
    ConflictError,
    IntegrityError,
    InvalidUriError,
    NotFoundError,
    RefusedError,
    RegistryError,
)
from tfx_registry.operations import verify
from tfx_registry.testing.store_world import MODEL, MemoryStore, StoreWorld


def test_the_life_of_a_directory(stored: StoreWorld) -> None:
    first = stored.promote()
    assert (first.path, first.replaces, first.changed) == (f"{stored.url}/1", None, True)
    assert stored.promote().replaces == 1
    assert not promote(stored.registry, MODEL, 2, stored.url + "/").changed
    assert stored.look() == {1: "whole", 2: "whole"}
    done = rollback(stored.registry, MODEL, stored.url, reason="wrong prices")
    assert (done.version.number, done.replaces, done.withdrawn) == (1, 2, ("2",))
    assert stored.look() == {1: "whole"}
    assert stored.promote(2).changed, "after a new decision it comes back"
    assert reconcile(stored.registry, stored.url).problems == ()
    stored.in_order()


def test_each_step_of_a_long_life(quick: StoreWorld) -> None:
    for _ in range(3):
        quick.promote()
    done = rollback(quick.registry, MODEL, quick.url, reason="wrong prices")
    assert (done.version.number, done.replaces, done.withdrawn) == (2, 3, ("3",))
    rows = {row.name: row.place for row in quick.status().rows}
    assert rows == {"1": "visible", "2": "visible", "3": "withdrawn"}
    with pytest.raises(RefusedError, match="rolled back"):
        promote(quick.registry, MODEL, 3, quick.url)
    assert not rollback(quick.registry, MODEL, quick.url, 2, reason="again").changed
    quick.promote(3)
    quick.in_order()

    quick.promote()
    plan = prune(quick.registry, MODEL, quick.url, Retention(1))
    assert [removal.number for removal in plan.removed] == [1, 2]
    assert quick.look().keys() == {1, 2, 3, 4}, "a dry run does nothing"
    prune(quick.registry, MODEL, quick.url, Retention(1), dry_run=False)
    assert quick.look() == {3: "whole", 4: "whole"}
    assert quick.registry.get(MODEL, 1).removed_from == (quick.url,)
    back = rollback(quick.registry, MODEL, quick.url, 3, reason="once more")
    assert back.version.number == 3
    quick.in_order()
    assert verify(quick.registry, MODEL, 3).good
    places = {place.role for place in verify(quick.registry, MODEL, 4).places}
    assert places == {"registered from", "withdrawn"}


def test_nothing_is_promoted_that_may_not_be(quick: StoreWorld, memory: MemoryStore) -> None:
    quick.register()
    with pytest.raises(RefusedError, match="no gate decision"):
        promote(quick.registry, MODEL, 1, quick.url)
    quick.decide(1)
    note = quick.folder / "model1" / "assets.extra" / "note.txt"
    note.write_text("changed", encoding="utf-8")
    with pytest.raises(IntegrityError, match="other bytes than the registered version"):
        promote(quick.registry, MODEL, 1, quick.url)
    assert not [key for what, key in memory.bucket.changes if "lock" not in key]
    assert not Path("s3:").exists()


def test_a_check_that_fails_leaves_nothing_visible(quick: StoreWorld) -> None:
    quick.register()
    quick.decide(1)

    def refuse(path: Path) -> None:
        assert (path / "saved_model.pb").exists()
        raise RefusedError("no")

    with pytest.raises(RefusedError, match="no"):
        promote(quick.registry, MODEL, 1, quick.url, check=refuse)
    assert quick.look() == {}
    assert promote(quick.registry, MODEL, 1, quick.url, check=lambda _: None).changed


def test_a_lower_number_is_no_promotion(quick: StoreWorld, memory: MemoryStore) -> None:
    quick.register()
    quick.promote(quick.register())
    quick.decide(1)
    with pytest.raises(RefusedError, match="newer version 2 lies there"):
        promote(quick.registry, MODEL, 1, quick.url)
    memory.put("003/saved_model.pb")
    with pytest.raises(RefusedError, match="'003' lies there"):
        quick.promote(quick.register())


def test_a_directory_is_for_one_model(quick: StoreWorld, memory: MemoryStore) -> None:
    memory.put(".tfx_registry/model", b"other")
    with pytest.raises(RefusedError, match="for the model 'other'"):
        quick.promote()
    with pytest.raises(NotFoundError, match="'other', which is not registered"):
        quick.status()


def test_an_address_of_another_kind_is_refused(quick: StoreWorld, memory: MemoryStore) -> None:
    quick.promote()
    before = dict(memory.bucket.contents)
    with pytest.raises(InvalidUriError, match="not hdfs://"):
        promote(quick.registry, MODEL, 1, "hdfs://host/penguin")
    assert memory.bucket.contents == before


# Several at the same time.


def test_of_two_promoters_each_finds_a_directory_in_order(stored: StoreWorld) -> None:
    stored.promote()
    second, third = stored.register(), stored.register()
    stored.decide(second)
    stored.decide(third)
    said: dict[int, str] = {}
    uri = f"sqlite:///{stored.folder / 'registry.sqlite'}"
    begin = threading.Barrier(3)

    def act(key: int, number: int) -> None:
        with ModelRegistry.open(uri) as registry:
            begin.wait(60)
            try:
                promote(registry, MODEL, number, stored.url)
                said[key] = ""
            except (RefusedError, ConflictError) as error:
                said[key] = str(error)

    threads = [
        threading.Thread(target=act, args=pair) for pair in enumerate((second, third, third))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(said) == 3
    assert "" in said.values()
    assert set(stored.look().values()) == {"whole"}
    stored.in_order()
    assert stored.serves() in (second, third)


def test_a_store_that_does_not_answer_changes_nothing(
    quick: StoreWorld, memory: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick.promote()
    number = quick.register()
    quick.decide(number)
    memory.bucket.options = dataclasses.replace(memory.bucket.options, attempts=2)

    def busy(*_: object) -> None:
        raise TimeoutError("no answer")

    monkeypatch.setattr(memory.bucket, "_copy", busy)
    with pytest.raises(RegistryError, match="does not answer as it should") as caught:
        promote(quick.registry, MODEL, number, quick.url)
    assert caught.value.exit_code == 6
    assert quick.look() == {1: "whole"}
    monkeypatch.undo()
