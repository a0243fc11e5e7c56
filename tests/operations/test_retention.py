"""Retention: old versions go, and never one that somebody may still need."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tfx_registry import Retention, promote, prune, rollback
from tfx_registry.digest import digest_path
from tfx_registry.errors import (
    IntegrityError,
    InvalidInputError,
    ModelServerError,
    NotFoundError,
    RefusedError,
    RegistryError,
)
from tfx_registry.operations import retention as module
from tfx_registry.testing.process import free_port

MODEL = "penguin"


@pytest.fixture
def six(world):
    """Versions 1 to 6 were promoted; 6 serves."""
    for number in range(1, 7):
        world.register()
        world.promote(number)
    return world


def run(world, keep_last: int, **options):
    options = {"dry_run": False, **options}
    return prune(world.registry, MODEL, world.base, Retention(keep_last), **options)


def gone(pruning) -> list[int]:
    return [removal.number for removal in pruning.removed]


def test_the_last_ones_stay(six) -> None:
    done = run(six, 3, actor="ada", reason="tidy")
    assert gone(done) == [1, 2, 3]
    assert six.visible() == [4, 5, 6]
    assert six.serving() == 6
    events = [e for e in six.registry.history(MODEL) if e.kind == "bytes_removed"]
    assert [(e.number, e.actor, e.reason) for e in events] == [
        (n, "ada", "tidy") for n in (1, 2, 3)
    ]
    assert six.registry.get(MODEL, 1).removed_from == (str(six.base),)
    assert {p.name for p in (six.base / ".tfx_registry" / "receipts").iterdir()} == {
        "4.json", "5.json", "6.json",
    }  # fmt: skip
    assert list((six.base / ".tfx_registry" / "trash").iterdir()) == []
    assert gone(run(six, 3)) == []


def test_a_dry_run_says_the_same_and_does_nothing(six) -> None:
    before = six.kinds()
    dry = run(six, 2, dry_run=True)
    assert (six.visible(), six.kinds()) == ([1, 2, 3, 4, 5, 6], before)
    assert dry.dry_run
    done = run(six, 2)
    assert (done.removed, done.kept) == (dry.removed, dry.kept)
    assert dry.size_bytes == sum(six.registry.get(MODEL, n).facts.size_bytes for n in gone(dry))


def test_aliases_labels_and_the_rollback_target_stay(six) -> None:
    six.registry.set_alias(MODEL, "champion", 2)
    six.registry.set_label(MODEL, 3, "keep", "for the audit")
    done = run(six, 1)
    assert gone(done) == [1, 4]
    assert {kept.number: kept.reasons for kept in done.kept} == {
        2: ("alias champion",),
        3: ("label keep",),
        5: ("a rollback would go back to it",),
        6: ("it serves here", "alias production", "one of the last 1"),
    }
    assert rollback(six.registry, MODEL, six.base, reason="x").version.number == 5


def test_a_rejected_version_is_no_rollback_target(six) -> None:
    six.registry.reject(MODEL, 5, reason="leak")
    assert gone(run(six, 1)) == [1, 2, 3, 5]
    assert six.visible() == [4, 6]


def test_withdrawn_versions_go_too(six) -> None:
    rollback(six.registry, MODEL, six.base, 3, reason="x")
    done = run(six, 1)
    assert gone(done) == [1, 4, 5]
    assert six.visible() == [2, 3]
    withdrawn = six.base / ".tfx_registry" / "withdrawn"
    assert [path.name for path in withdrawn.iterdir()] == ["6"]


def test_what_is_not_from_the_registry_is_never_removed(six) -> None:
    shutil.copytree(six.base / "1", six.base / "0")
    (six.base / "notes").mkdir()
    assert gone(run(six, 4)) == [1, 2]
    assert six.visible() == [0, 3, 4, 5, 6]
    assert (six.base / "notes").is_dir()


def test_changed_bytes_are_evidence_and_stay(six) -> None:
    (six.base / "1" / "saved_model.pb").write_bytes(b"?")
    done = run(six, 3)
    assert gone(done) == [2, 3]
    assert "its bytes were changed" in done.kept[0].reasons[0]


def test_a_version_whose_last_bytes_go_is_marked_for_ever(six) -> None:
    shutil.rmtree(six.folder / "model1")
    done = run(six, 4)
    assert [(r.number, r.last) for r in done.removed] == [(1, True), (2, False)]
    assert six.registry.get(MODEL, 1).bytes_gone
    assert not six.registry.get(MODEL, 2).bytes_gone
    with pytest.raises(IntegrityError, match="no other known place holds them"):
        rollback(six.registry, MODEL, six.base, 1, reason="x")
    assert rollback(six.registry, MODEL, six.base, 2, reason="x").changed
    assert digest_path(six.base / "2").root == six.registry.get(MODEL, 2).digest
    assert six.registry.get(MODEL, 2).removed_from == ()
    six.decide(1)
    with pytest.raises(RefusedError, match="bytes are gone"):
        promote(six.registry, MODEL, 1, six.base)


def test_a_copy_in_another_directory_counts(six, tmp_path: Path) -> None:
    six.promote(6, tmp_path / "staging", alias="staging")
    shutil.copytree(six.base / "1", tmp_path / "staging" / "1")
    shutil.rmtree(six.folder / "model1")
    assert [r.last for r in run(six, 5).removed] == [False]


def test_what_a_server_has_loaded_stays(six, monkeypatch) -> None:
    class Server:
        def __init__(self, url: str, model: str) -> None:
            assert (url, model) == ("http://one:8501", MODEL)

        def available(self) -> tuple[int, ...]:
            return (2, 6)

    monkeypatch.setattr(module, "ModelServer", Server)
    done = prune(six.registry, MODEL, six.base, Retention(3, ("http://one:8501",)), dry_run=False)
    assert gone(done) == [1, 3]


def test_a_server_that_knows_nothing_of_the_model_stops_everything(six, monkeypatch) -> None:
    monkeypatch.setattr(module.ModelServer, "available", lambda _: ())
    with pytest.raises(ModelServerError, match="has no version of"):
        prune(six.registry, MODEL, six.base, Retention(1, ("http://one:8501",)), dry_run=False)
    assert six.visible() == [1, 2, 3, 4, 5, 6]


def test_a_server_that_does_not_answer_stops_everything(six) -> None:
    rule = Retention(1, (f"http://127.0.0.1:{free_port()}",))
    with pytest.raises(RegistryError):
        prune(six.registry, MODEL, six.base, rule, dry_run=False)
    assert six.visible() == [1, 2, 3, 4, 5, 6]


def test_a_version_that_lies_above_what_serves_is_left_to_reconcile(six) -> None:
    six.register()
    shutil.copytree(six.folder / "model7", six.base / "7")
    done = run(six, 1)
    assert 7 not in gone(done)
    assert "reconcile" in next(kept for kept in done.kept if kept.number == 7).reasons[0]


def test_a_directory_that_serves_nothing_is_refused(six, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        prune(six.registry, MODEL, tmp_path / "other", Retention(1))


@pytest.mark.parametrize("number", [0, -1, True, "3"])
def test_a_rule_keeps_at_least_one(number) -> None:
    with pytest.raises(InvalidInputError, match="keep_last"):
        Retention(number)


def test_a_rule_survives_its_text() -> None:
    rule = Retention(3, ("http://one:8501",))
    assert Retention.from_json(rule.to_json()) == rule
    with pytest.raises(InvalidInputError, match="keep_first"):
        Retention.from_json('{"keep_first": 3}')
