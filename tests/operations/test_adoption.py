"""Adoption: what TFX Pusher has published becomes versions of the registry."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry, adopt, prune, reconcile, rollback
from tfx_registry.digest import digest_path
from tfx_registry.errors import NotFoundError, RefusedError
from tfx_registry.operations import Retention
from tfx_registry.registry import registry as registry_module
from tfx_registry.testing.minimal_model import write_minimal_model

MODEL = "penguin"
NUMBERS = (1700000000, 1700086400, 1700172800)


@pytest.fixture
def pushed(world):
    """A directory as Pusher leaves it."""
    for number in NUMBERS:
        write_minimal_model(world.base / str(number), f"pushed {number}")
    (world.base / "README").write_text("not for a server", encoding="utf-8")
    return world


def take(world, **options):
    return adopt(world.registry, MODEL, world.base, **options)


def test_versions_keep_their_numbers_and_the_highest_serves(pushed) -> None:
    done = take(pushed, actor="ada", reason="from Pusher")
    assert [v.number for v in done.versions] == list(NUMBERS)
    assert (done.registered, done.changed) == (NUMBERS, True)
    for number in NUMBERS:
        version = pushed.registry.get(MODEL, number)
        assert version.digest == digest_path(pushed.base / str(number)).root
        assert version.actor == "ada"
    assert pushed.serving() == NUMBERS[-1]
    assert pushed.visible() == list(NUMBERS)
    assert pushed.registry.resolve(f"{MODEL}@production").number == NUMBERS[-1]
    assert pushed.kinds() == ["registered"] * 3 + ["adopted"]


def test_adopting_again_changes_nothing(pushed) -> None:
    take(pushed)
    before = pushed.kinds()
    assert take(pushed).changed is False
    assert pushed.kinds() == before
    done = reconcile(pushed.registry, pushed.base)
    assert (done.actions, done.problems) == ((), ())


def test_an_interrupted_adoption_is_finished_by_repeating_it(pushed, monkeypatch) -> None:
    record = registry_module.ModelRegistry.record_adoption
    monkeypatch.setattr(registry_module.ModelRegistry, "record_adoption", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        take(pushed)
    monkeypatch.setattr(registry_module.ModelRegistry, "record_adoption", record)
    done = take(pushed)
    assert (done.registered, done.changed) == ((), True)
    assert pushed.serving() == NUMBERS[-1]


def test_life_goes_on(pushed) -> None:
    take(pushed)
    assert pushed.register().number == NUMBERS[-1] + 1
    pushed.promote(NUMBERS[-1] + 1)
    assert rollback(pushed.registry, MODEL, pushed.base, reason="x").version.number == NUMBERS[-1]
    assert rollback(pushed.registry, MODEL, pushed.base, reason="x").version.number == NUMBERS[1]
    done = prune(pushed.registry, MODEL, pushed.base, Retention(1), dry_run=False)
    assert [(r.number, r.last) for r in done.removed] == [(NUMBERS[-1], True)]
    assert pushed.serving() == NUMBERS[1]


def test_lists_and_searches_know_the_gaps(pushed) -> None:
    take(pushed)
    pushed.register(2)
    numbers = [*NUMBERS, NUMBERS[-1] + 1, NUMBERS[-1] + 2]
    head = pushed.registry.head(MODEL)
    assert list(head.numbers()) == numbers
    assert (head.latest, head.count) == (numbers[-1], 5)
    listed = pushed.registry.list_versions(MODEL)
    assert [v.number for v in listed] == numbers[::-1]
    assert [v.number for v in pushed.registry.list_versions(MODEL, limit=2)] == numbers[:2:-1]
    assert [v.number for v in pushed.registry.search(f"model = '{MODEL}'")] == numbers[::-1]
    assert pushed.registry.latest(MODEL).number == numbers[-1]


def test_a_directory_whose_registry_is_lost_is_taken_over_with_its_numbers(served) -> None:
    with ModelRegistry.open("memory://") as registry:
        done = adopt(registry, MODEL, served.base, reason="the database is gone")
        assert [v.number for v in done.versions] == [1, 2, 3]
        assert registry.resolve(f"{MODEL}@production").number == 3
        assert rollback(registry, MODEL, served.base, reason="x").version.number == 2


def test_a_model_that_has_versions_already_goes_on_with_the_higher_numbers(pushed) -> None:
    pushed.register(2)
    take(pushed)
    assert list(pushed.registry.head(MODEL).numbers()) == [1, 2, *NUMBERS]
    assert pushed.register().number == NUMBERS[-1] + 1


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("0", "'0' is no number that a version can have"),
        ("-5", "'-5' is no number"),
        ("01700000001", "'01700000001' is no number"),
        ("01700000000", "are one version to a server"),
        ("7", "'7': .*no saved_model.pb"),
    ],
)
def test_what_is_no_version_is_named_and_nothing_is_registered(pushed, name, why) -> None:
    folder = pushed.base / name
    folder.mkdir()
    if name != "7":
        shutil.rmtree(folder)
        write_minimal_model(folder, "odd")
    with pytest.raises(RefusedError, match=why):
        take(pushed)
    assert pushed.registry.latest_number(MODEL) == 0


def test_a_symbolic_link_is_refused(pushed) -> None:
    (pushed.base / "1700172801").symlink_to(pushed.base / "1700172800")
    with pytest.raises(RefusedError, match="symbolic link"):
        take(pushed)


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/etc/passwd"), os.mkfifo])
def test_a_link_or_pipe_deep_in_one_version_stops_the_whole_adoption(pushed, make) -> None:
    make(pushed.base / str(NUMBERS[-1]) / "assets.extra" / "odd")
    with pytest.raises(RefusedError, match=rf"'{NUMBERS[-1]}': 'assets.extra/odd' in it is a"):
        take(pushed)
    assert pushed.registry.latest_number(MODEL) == 0


def test_numbers_that_do_not_ascend_are_refused(pushed) -> None:
    pushed.register(2)
    write_minimal_model(pushed.base / "1", "not version 1")
    with pytest.raises(RefusedError, match="other bytes"):
        take(pushed)
    assert pushed.registry.latest_number(MODEL) == 2


def test_a_directory_that_is_managed_already_takes_no_strangers(served) -> None:
    write_minimal_model(served.base / "1700000000", "pushed later")
    with pytest.raises(RefusedError, match="'1700000000' was put there by something else"):
        take(served)
    assert served.registry.latest_number(MODEL) == 3


def test_an_alias_that_serves_elsewhere_is_refused(pushed, tmp_path: Path) -> None:
    pushed.register()
    pushed.promote(1, tmp_path / "other")
    before = pushed.kinds()
    with pytest.raises(RefusedError, match="version 1 serves under 'production'"):
        take(pushed)
    assert pushed.kinds() == before
    assert take(pushed, alias="batch").changed
    assert pushed.serving("batch") == NUMBERS[-1]


def test_nothing_to_adopt(world) -> None:
    world.base.mkdir(parents=True)
    with pytest.raises(NotFoundError, match="no directory in it is named by a number"):
        take(world)
    assert list(world.base.iterdir()) == []
