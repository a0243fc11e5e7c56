"""Reconcile: registry and directory come to one state, whatever happened to the directory."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tfx_registry import promote, reconcile, rollback
from tfx_registry.digest import digest_path
from tfx_registry.errors import NotFoundError, RefusedError
from tfx_registry.serving import shelf
from tfx_registry.serving.receipts import fits_receipt, write_receipt
from tfx_registry.testing.minimal_model import write_minimal_model

MODEL = "penguin"


def run(world, **options):
    """Reconciles, and checks that doing it again does nothing."""
    done = reconcile(world.registry, world.base, **options)
    events = len(world.kinds())
    again = reconcile(world.registry, world.base, **options)
    assert again.actions == ()
    assert again.problems == done.problems
    assert len(world.kinds()) == events
    return done


def damage(path: Path) -> None:
    (path / "assets.extra" / "note.txt").write_text("edited by hand", encoding="utf-8")


def same_bytes(world, number: int) -> bool:
    there = digest_path(world.base / str(number)).manifest
    return there == world.registry.get(MODEL, number).facts.manifest


def test_a_directory_in_order_is_left_alone(served) -> None:
    before = served.kinds()
    done = run(served, hash_all=True)
    assert (done.model, done.serving, done.actions, done.problems) == (MODEL, 3, (), ())
    assert served.kinds() == before


def test_what_serves_and_is_missing_is_published_again(served) -> None:
    shutil.rmtree(served.base / "3")
    done = run(served)
    assert done.actions == ("published version 3 again, which should serve",)
    assert same_bytes(served, 3)


def test_what_serves_and_was_put_away_comes_back(served) -> None:
    withdrawn = served.base / ".tfx_registry" / "withdrawn"
    withdrawn.mkdir()
    (served.base / "3").rename(withdrawn / "3")
    assert run(served).actions == (
        "brought version 3 back from where it was put away, which should serve",
    )
    assert served.visible() == [1, 2, 3]


def test_a_directory_that_is_gone_is_made_anew_and_never_empty(served) -> None:
    shutil.rmtree(served.base)
    done = reconcile(served.registry, served.base, restore=True)
    assert "the directory was gone: made it anew with version 3" in done.actions[0]
    assert same_bytes(served, 3)
    # The others are known to be gone from here, and a rollback can still bring them back.
    assert served.registry.get(MODEL, 2).removed_from == (str(served.base),)
    assert not served.registry.get(MODEL, 2).bytes_gone
    assert [path.name for path in served.base.parent.iterdir()] == [MODEL]
    rollback(served.registry, MODEL, served.base, reason="x")
    assert served.visible() == [2]
    assert served.registry.get(MODEL, 2).removed_from == ()
    assert served.serving() == 2


def test_what_an_earlier_reconciliation_left_does_not_come_along(served) -> None:
    aside = served.base.parent / f".{served.base.name}.tfx_registry"
    shutil.copytree(served.folder / "model1", aside / "7")
    shutil.rmtree(served.base)
    reconcile(served.registry, served.base, restore=True)
    assert served.visible() == [3]


def test_a_directory_that_is_gone_with_all_bytes_is_reported(served) -> None:
    shutil.rmtree(served.base)
    shutil.rmtree(served.folder)
    done = run(served, restore=True)
    assert "version 3 should serve, and no known place has its bytes" in done.problems[0]
    version = served.registry.get(MODEL, 3)
    assert version.bytes_gone
    assert version.removed_from == (str(served.base),)
    # Once the bytes are back, so is the version.
    served.folder.mkdir()
    other = served.folder / "model3"
    write_minimal_model(other, "model 3")
    assert "published version 3 again, which should serve" in run(served).actions
    assert not served.registry.get(MODEL, 3).bytes_gone
    assert served.serving() == 3


def test_bytes_that_lie_somewhere_and_are_refused_are_named(served, caplog) -> None:
    shutil.rmtree(served.base / "3")
    model = served.folder / "model3"
    os.link(model / "saved_model.pb", served.folder / "elsewhere")
    assert "no known place has its bytes" in run(served).problems[0]
    assert f"penguin:3 is not published from {model}" in caplog.text
    assert "is a hard link" in caplog.text


def test_changed_bytes_are_reported_and_repaired_on_request(served) -> None:
    damage(served.base / "3")
    done = run(served)
    assert done.actions == ()
    assert "the bytes of version 3" in done.problems[0]
    assert not same_bytes(served, 3)
    done = run(served, quarantine=True)
    assert "published again, the changed ones are in" in done.actions[0]
    assert "restart servers" in done.actions[0]
    assert same_bytes(served, 3)
    kept = served.base / ".tfx_registry" / "quarantine" / "3"
    assert (kept / "assets.extra" / "note.txt").read_text(encoding="utf-8") == "edited by hand"
    assert not (served.base / ".tfx_registry" / "replacement").exists()


def test_the_repair_of_what_serves_is_one_exchange(served, monkeypatch) -> None:
    """Were there an instant without the version, a server would load another or unload all."""
    damage(served.base / "3")
    exchange = shelf._exchange
    seen = []

    def watched(first: Path, second: Path) -> bool:
        seen.append(served.visible())
        done = exchange(first, second)
        seen.append(served.visible())
        return done

    monkeypatch.setattr(shelf, "_exchange", watched)
    run(served, quarantine=True)
    assert seen == [[1, 2, 3], [1, 2, 3]]
    assert same_bytes(served, 3)


def test_without_an_exchange_the_repair_takes_two_renames(served, monkeypatch) -> None:
    monkeypatch.setattr(shelf, "_exchange", lambda *_: False)
    damage(served.base / "3")
    run(served, quarantine=True)
    assert same_bytes(served, 3)


def test_changed_bytes_that_nobody_has_right_stay_while_they_serve(served) -> None:
    damage(served.base / "3")
    damage(served.base / "1")
    shutil.rmtree(served.folder)
    done = reconcile(served.registry, served.base, quarantine=True)
    assert "no other place has the right ones: roll back" in done.problems[0]
    assert any("moved to" in action for action in done.actions)
    assert served.visible() == [2, 3]
    assert served.registry.get(MODEL, 1).bytes_gone
    rollback(served.registry, MODEL, served.base, reason="damaged")
    assert served.serving() == 2


def test_directories_of_others_are_reported_and_put_away_on_request(served) -> None:
    shutil.copytree(served.base / "1", served.base / "999")
    shutil.copytree(served.base / "1", served.base / "0")
    shutil.copytree(served.base / "1", served.base / "03")
    done = run(served)
    assert [problem.split(",")[0] for problem in done.problems] == [
        "'0' is not from this registry; it is left alone",
        "'03' is not from this registry",
        "'999' is not from this registry",
    ]
    assert served.visible() == [0, 1, 2, 3, 999]
    done = run(served, quarantine=True)
    assert len(done.actions) == 2
    assert served.visible() == [0, 1, 2, 3]
    withdrawn = served.base / ".tfx_registry" / "withdrawn"
    assert sorted(path.name for path in withdrawn.iterdir()) == ["03", "999"]


def test_half_a_copy_of_what_was_not_promoted_is_not_made_whole(served) -> None:
    """A server would load it, and no gate has let it."""
    served.register()
    (served.base / "4").mkdir()
    shutil.copy(served.folder / "model4" / "saved_model.pb", served.base / "4")
    done = run(served)
    assert "is not to be loaded: put it away with --quarantine" in done.problems[0]
    done = run(served, quarantine=True)
    assert "is not to be loaded: moved to" in done.actions[0]
    assert served.visible() == [1, 2, 3]
    kept = served.base / ".tfx_registry" / "quarantine" / "4"
    assert [path.name for path in kept.iterdir()] == ["saved_model.pb"]


def test_an_edit_that_puts_size_and_time_back_is_noticed(served) -> None:
    note = served.base / "3" / "assets.extra" / "note.txt"
    before = note.stat()
    with note.open("r+") as file:
        file.write("NOTE")
    os.utime(note, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert note.stat().st_size == before.st_size
    assert "the bytes of version 3" in run(served).problems[0]


def test_what_hashing_has_found_is_found_again_without(served) -> None:
    """Such as an error of the disk, which leaves no trace in the status of a file."""
    path = served.base / ".tfx_registry" / "receipts" / "3.json"
    damage(served.base / "3")
    manifest = served.registry.get(MODEL, 3).facts.manifest
    write_receipt(served.base, 3, manifest=manifest)
    assert run(served).problems == ()
    assert "the bytes of version 3" in run(served, hash_all=True).problems[0]
    assert not path.exists()
    assert "the bytes of version 3" in run(served).problems[0]


def test_a_receipt_of_an_earlier_release_is_none(served) -> None:
    path = served.base / ".tfx_registry" / "receipts" / "3.json"
    receipt = json.loads(path.read_text(encoding="utf-8"))
    for noted in receipt["files"].values():
        del noted[2]
    path.write_text(json.dumps(receipt), encoding="utf-8")
    assert fits_receipt(
        served.base, served.base / "3", 3, manifest=served.registry.get(MODEL, 3).facts.manifest
    ) is None  # fmt: skip
    assert run(served).problems == ()
    assert len(json.loads(path.read_text(encoding="utf-8"))["files"]["saved_model.pb"]) == 4


def test_a_version_that_was_copied_there_by_hand_is_reported(served) -> None:
    served.register()
    shutil.copytree(served.folder / "model4", served.base / "4")
    done = run(served)
    assert "'4' was not promoted, and a server loads it instead of version 3" in done.problems[0]
    run(served, quarantine=True)
    assert served.visible() == [1, 2, 3]


def test_versions_that_a_rollback_could_go_back_to_are_written_down_when_gone(served) -> None:
    shutil.rmtree(served.base / "2")
    shutil.rmtree(served.folder / "model2")
    done = run(served)
    assert done.actions == ("wrote down that version 2 does not lie here any more",)
    version = served.registry.get(MODEL, 2)
    assert (version.removed_from, version.bytes_gone) == ((str(served.base),), True)
    shutil.copytree(served.base / "3", served.base / "2")  # not the right bytes
    assert "the bytes of version 2" in run(served).problems[0]
    assert served.registry.get(MODEL, 2).bytes_gone


def test_two_directories_with_different_aliases_stay_apart(served, tmp_path: Path) -> None:
    other = tmp_path / "staging"
    served.register()
    served.promote(4, other, alias="staging")
    shutil.rmtree(other / "4")
    assert run(served).actions == ()
    done = reconcile(served.registry, other)
    assert done.actions == ("published version 4 again, which should serve",)
    assert (served.serving("staging"), served.serving("production")) == (4, 3)


def test_bytes_come_back_from_another_directory(served, tmp_path: Path) -> None:
    other = tmp_path / "staging"
    served.promote(3, other, alias="staging")
    shutil.rmtree(served.folder)
    shutil.rmtree(served.base / "3")
    assert run(served).actions == ("published version 3 again, which should serve",)
    assert same_bytes(served, 3)


def test_an_unknown_directory_is_not_touched(served, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "1").mkdir(parents=True)
    with pytest.raises(NotFoundError, match="adopt"):
        reconcile(served.registry, other)
    assert [path.name for path in other.iterdir()] == ["1"]
    served.registry.register("auk", served.folder / "model1")
    with pytest.raises(RefusedError, match="is for the model"):
        reconcile(served.registry, served.base, "auk")


def test_the_gate_and_the_next_promotion_go_on_after_it(served) -> None:
    shutil.rmtree(served.base / "3")
    run(served)
    served.register()
    served.promote(4)
    assert promote(served.registry, MODEL, 4, served.base).changed is False
    assert served.serving() == 4
