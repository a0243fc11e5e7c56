"""Adoption in object stores: what TFX Pusher has published there becomes versions."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from tfx_registry import Retention, adopt, prune, reconcile, rollback
from tfx_registry.errors import IntegrityError, NotFoundError, RefusedError
from tfx_registry.operations import verify
from tfx_registry.registry import registry as registry_module
from tfx_registry.serving.objects.models import upload_tree
from tfx_registry.serving.objects.view import BLOBS
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.store_world import MODEL, MemoryStore, StoreWorld, die_at_each_request

NUMBERS = (1700000000, 1700086400, 1700172800)


def push(world: StoreWorld, *numbers: int) -> None:
    """Leaves versions there as Pusher does."""
    for number in numbers:
        path = write_minimal_model(world.folder / "pushed" / str(number), f"pushed {number}")
        upload_tree(path, f"{world.url}/{number}")


@pytest.fixture
def pushed(quick: StoreWorld, memory: MemoryStore) -> StoreWorld:
    """A directory as Pusher leaves it, with the marks of folders that TensorFlow makes."""
    push(quick, *NUMBERS)
    for number in NUMBERS:
        memory.put(f"{number}/", b"")
        memory.put(f"{number}/assets.extra/", b"")
    memory.put("README", b"not for a server")
    return quick


def test_versions_keep_their_numbers_and_can_be_gone_back_to(pushed: StoreWorld) -> None:
    done = adopt(pushed.registry, MODEL, pushed.url, actor="ada", reason="from Pusher")
    assert [v.number for v in done.versions] == list(NUMBERS)
    assert (done.registered, done.changed) == (NUMBERS, True)
    assert done.versions[0].uri == f"{pushed.url}/{NUMBERS[0]}"
    assert pushed.registry.resolve(f"{MODEL}@production").number == NUMBERS[-1]
    assert pushed.status(hash_all=True).problems == ()
    again = adopt(pushed.registry, MODEL, pushed.url)
    assert (again.registered, again.changed) == ((), False)
    found = reconcile(pushed.registry, pushed.url)
    assert (found.actions, found.problems) == ((), ())

    back = rollback(pushed.registry, MODEL, pushed.url, reason="x")
    assert (back.version.number, back.withdrawn) == (NUMBERS[1], (str(NUMBERS[2]),))
    assert pushed.view().put_away() == [], "its bytes are kept already"
    assert pushed.register() == NUMBERS[-1] + 1
    pushed.promote(NUMBERS[-1] + 1)
    pushed.decide(NUMBERS[-1])
    back = rollback(pushed.registry, MODEL, pushed.url, NUMBERS[0], reason="further")
    assert pushed.look() == {NUMBERS[0]: "whole"}
    assert verify(pushed.registry, MODEL, NUMBERS[0]).good
    assert len(verify(pushed.registry, MODEL, NUMBERS[0]).places) == 1


def test_what_is_removed_is_known_to_be_the_last_copy(pushed: StoreWorld) -> None:
    adopt(pushed.registry, MODEL, pushed.url)
    done = prune(pushed.registry, MODEL, pushed.url, Retention(1), dry_run=False)
    assert [(gone.number, gone.last) for gone in done.removed] == [(NUMBERS[0], True)]
    assert pushed.registry.get(MODEL, NUMBERS[0]).bytes_gone
    assert pushed.look().keys() == set(NUMBERS[1:])
    pushed.in_order()


def test_in_an_emulated_store(stored: StoreWorld) -> None:
    push(stored, *NUMBERS[:2])
    assert adopt(stored.registry, MODEL, stored.url).registered == NUMBERS[:2]
    assert rollback(stored.registry, MODEL, stored.url, reason="x").version.number == NUMBERS[0]
    stored.in_order()


def test_a_directory_whose_registry_is_lost_is_taken_over(
    quick: StoreWorld, tmp_path: Path
) -> None:
    for _ in range(2):
        quick.promote()
    (tmp_path / "anew").mkdir()
    other = StoreWorld(tmp_path / "anew", quick.url)
    assert adopt(other.registry, MODEL, quick.url).registered == (1, 2)
    assert rollback(other.registry, MODEL, quick.url, reason="x").version.number == 1
    other.in_order()
    other.registry.close()


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("0/saved_model.pb", "'0' is no number that a version can have"),
        ("01700000000/saved_model.pb", "are one version to a server"),
        ("7/saved_model.pb", "'7': "),
        ("1700000000/assets.extra/tf_serving_warmup_requests", "'1700000000': .*warm"),
    ],
)
def test_what_is_no_version_is_named_and_nothing_is_changed(
    pushed: StoreWorld, memory: MemoryStore, key: str, why: str
) -> None:
    memory.put(key, b"?")
    before = {k: v for k, v in memory.bucket.contents.items() if not k.endswith("/lock")}
    with pytest.raises(RefusedError, match=why):
        adopt(pushed.registry, MODEL, pushed.url)
    assert pushed.registry.latest_number(MODEL) == 0
    after = {k: v for k, v in memory.bucket.contents.items() if not k.endswith("/lock")}
    assert after == before


def test_strangers_and_nothing_are_refused(pushed: StoreWorld) -> None:
    adopt(pushed.registry, MODEL, pushed.url)
    push(pushed, NUMBERS[-1] + 7)
    with pytest.raises(RefusedError, match="was put there by something else"):
        adopt(pushed.registry, MODEL, pushed.url)
    with pytest.raises(NotFoundError, match="no directory in it is named by a number"):
        adopt(pushed.registry, "gull", "s3://models/penguin/assets")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_adoption_may_die_at_any_request(pushed: StoreWorld, memory: MemoryStore) -> None:
    act = lambda: adopt(pushed.registry, MODEL, pushed.url)  # noqa: E731
    pushed.registry.register("gull", pushed.folder / "pushed" / str(NUMBERS[0]))
    for step in die_at_each_request(pushed, memory, lambda: None, act):
        assert set(pushed.look().values()) == {"whole"}, step
        assert act().versions[-1].number == NUMBERS[-1]
        assert reconcile(pushed.registry, pushed.url).problems == ()
        pushed.in_order()


@pytest.mark.parametrize("md5", [True, False])
@pytest.mark.parametrize("moment", ["before the copy", "an earlier copy"])
def test_kept_copies_have_the_bytes_that_were_read(
    pushed: StoreWorld, memory: MemoryStore, monkeypatch: pytest.MonkeyPatch, moment: str, md5: bool
) -> None:
    """Bytes of the same length come after those that were read; not every store tells an MD5."""
    if not md5:
        listed = memory.bucket._list
        monkeypatch.setattr(
            memory.bucket, "_list",
            lambda prefix: [dataclasses.replace(found, md5="") for found in listed(prefix)],
        )  # fmt: skip
    note, contents = f"penguin/{NUMBERS[0]}/assets.extra/note.txt", memory.bucket.contents
    right, copy = contents[note][0], memory.bucket._copy
    wrong, blob = right[::-1], f"{BLOBS}{hashlib.sha256(contents[note][0]).hexdigest()}"

    def overtaken(source: str, target: str, size_bytes: int) -> None:
        if source == note:
            memory.bucket._put(note, wrong)
        copy(source, target, size_bytes)

    if moment == "before the copy":
        with monkeypatch.context() as patch:
            patch.setattr(memory.bucket, "_copy", overtaken)
            with pytest.raises(IntegrityError, match=r"'assets\.extra/note\.txt' has other bytes"):
                adopt(pushed.registry, MODEL, pushed.url)
        assert f"penguin/{blob}" not in contents
        memory.bucket._put(note, right)
    else:
        memory.put(blob, wrong)
    adopt(pushed.registry, MODEL, pushed.url)
    assert contents[f"penguin/{blob}"][0] == right
    pushed.in_order()


def test_an_adoption_that_was_not_recorded_is_repeated(
    pushed: StoreWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(registry_module.ModelRegistry, "record_adoption", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            adopt(pushed.registry, MODEL, pushed.url)
    done = adopt(pushed.registry, MODEL, pushed.url)
    assert (done.registered, done.changed) == ((), True)
    pushed.in_order()
