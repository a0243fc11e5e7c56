"""What others do to serving directories in object stores, and how it is put in order."""

from __future__ import annotations

import datetime
import shutil

import pytest

from tfx_registry import promote, reconcile, rollback
from tfx_registry.errors import ConflictError, IntegrityError, RefusedError
from tfx_registry.operations import verify
from tfx_registry.testing.store_world import MODEL, MemoryStore, StoreWorld


def test_reconcile_brings_back_what_is_gone(quick: StoreWorld, memory: MemoryStore) -> None:
    quick.promote()
    quick.promote()
    for key in memory.below("2"):
        del memory.bucket.contents[key]
    assert "should serve and is missing" in quick.status().problems[0]
    assert "made version 2 visible" in reconcile(quick.registry, quick.url).actions[0]
    quick.in_order()
    # The whole prefix is gone; the bytes are where they were registered.
    memory.bucket.contents.clear()
    assert reconcile(quick.registry, quick.url).problems == ()
    assert quick.look() == {2: "whole"}
    # They are nowhere.
    memory.bucket.contents.clear()
    (quick.folder / "model2").rename(quick.folder / "elsewhere")
    assert "no known place has its bytes" in reconcile(quick.registry, quick.url).problems[0]
    assert quick.registry.get(MODEL, 2).bytes_gone
    (quick.folder / "elsewhere").rename(quick.folder / "model2")
    assert "lies here again" in reconcile(quick.registry, quick.url).actions[1]
    assert not quick.registry.get(MODEL, 2).bytes_gone


def test_changed_bytes_are_noticed_and_put_right_on_request(
    quick: StoreWorld, memory: MemoryStore
) -> None:
    quick.promote()
    quick.promote()
    memory.put("2/assets.extra/note.txt", b"changed")
    memory.put("2/assets/more.txt", b"strange")
    memory.drop("2/assets/words.txt")
    assert "look closer with --verify" in quick.status().problems[0]
    assert "other bytes" in quick.status(hash_all=True).problems[0]
    assert not verify(quick.registry, MODEL, 2).good
    with pytest.raises(IntegrityError, match="something else is there"):
        promote(quick.registry, MODEL, 2, quick.url)
    assert "--quarantine" in reconcile(quick.registry, quick.url).problems[0]
    done = reconcile(quick.registry, quick.url, quarantine=True)
    assert (len(done.actions), done.problems) == (1, ())
    kept = {memory.bucket.contents[key][0] for key in memory.below(".tfx_registry/withdrawn")}
    assert kept == {b"changed", b"strange"}
    quick.in_order()


def test_half_a_copy_of_what_was_not_promoted_is_not_made_whole(
    quick: StoreWorld, memory: MemoryStore
) -> None:
    """A server would load it, and no gate has let it."""
    quick.promote()
    number = quick.register()
    graph = (quick.folder / f"model{number}" / "saved_model.pb").read_bytes()
    memory.put(f"{number}/saved_model.pb", graph)
    found = reconcile(quick.registry, quick.url)
    assert "is not to be loaded: put it away with --quarantine" in found.problems[0]
    done = reconcile(quick.registry, quick.url, quarantine=True)
    assert (len(done.actions), done.problems) == (1, ())
    assert quick.look() == {1: "whole"}
    assert reconcile(quick.registry, quick.url, quarantine=True).actions == ()
    quick.in_order()


def test_what_others_put_above_is_reported_and_put_away_on_request(
    quick: StoreWorld, memory: MemoryStore
) -> None:
    quick.promote()
    quick.promote()
    memory.put("1700000000/saved_model.pb", b"of somebody")
    memory.put("0/readme", b"old")
    found = quick.status()
    assert found.loads == 1700000000
    assert any("lies above version 2" in problem for problem in found.problems)
    with pytest.raises(ConflictError, match="servers load version 1700000000, and by the registry"):
        rollback(quick.registry, MODEL, quick.url, reason="not guessed")
    assert len(reconcile(quick.registry, quick.url).problems) == 2
    done = reconcile(quick.registry, quick.url, quarantine=True)
    assert ["0" in problem for problem in done.problems] == [True]
    assert quick.view().visible() == {0: ["0"], 1: ["1"], 2: ["2"]}
    kept = [memory.bucket.contents[key][0] for key in memory.below(".tfx_registry/withdrawn")]
    assert kept == [b"of somebody"]


def test_stored_bytes_that_belong_to_nothing_go(quick: StoreWorld, memory: MemoryStore) -> None:
    quick.promote()
    memory.put(".tfx_registry/blobs/" + "0" * 64)
    actions = reconcile(quick.registry, quick.url).actions
    assert actions == ("removed 1 stored objects that belong to no version",)
    quick.in_order()
    memory.put(".tfx_registry/versions/77.json", b"{}")
    memory.put(".tfx_registry/blobs/" + "0" * 64)
    assert reconcile(quick.registry, quick.url).actions == (), "nobody knows what 77 needs"


def test_bytes_that_a_store_holds_are_not_gone(quick: StoreWorld, memory: MemoryStore) -> None:
    """A local directory that loses a version knows of its copy in a store."""
    base = quick.folder / "serving"
    quick.promote()
    promote(quick.registry, MODEL, 1, base)
    (quick.folder / "model1").rename(quick.folder / "elsewhere")
    shutil.rmtree(base / "1")
    (base / "other").mkdir()
    reconcile(quick.registry, base)
    version = quick.registry.get(MODEL, 1)
    assert (version.removed_from, version.bytes_gone) == ((str(base),), False)


def test_without_its_note_a_directory_is_still_for_its_model(
    quick: StoreWorld, memory: MemoryStore
) -> None:
    quick.promote()
    memory.drop(".tfx_registry/model")
    quick.in_order()
    quick.registry.register("gull", quick.folder / "model1")
    quick.registry.override("gull", 1, reason="x", expires=datetime.timedelta(days=1))
    with pytest.raises(RefusedError, match="for the model 'penguin'"):
        promote(quick.registry, "gull", 1, quick.url)
