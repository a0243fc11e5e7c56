"""What a crash leaves behind is finished or undone by whatever is done next."""

from __future__ import annotations

import errno
import shutil

import pytest

from tfx_registry import Retention, adopt, promote, prune, reconcile, rollback
from tfx_registry.errors import AccessDeniedError, RefusedError, RejectedError
from tfx_registry.operations import rollbacks
from tfx_registry.registry.access import AccessPolicy
from tfx_registry.serving.shelf import Shelf

MODEL = "penguin"


class Crash(BaseException):
    """Stands for a killed process: nothing after it runs."""


@pytest.fixture
def crash(monkeypatch):
    """Lets one call of a method crash, before or after it does its work."""

    def at(owner, name: str, *, after: bool = False, times: int = 1) -> None:
        original = getattr(owner, name)
        left = [times]

        def wrapper(*args, **kwargs):
            left[0] -= 1
            if left[0]:
                return original(*args, **kwargs)
            if after:
                original(*args, **kwargs)
            monkeypatch.setattr(owner, name, original)
            raise Crash

        monkeypatch.setattr(owner, name, wrapper)

    return at


def broken_promotion(world, number: int, crash) -> None:
    """Makes a version visible and dies before that is recorded."""
    world.decide(number)
    crash(type(world.registry), "record_promotion")
    with pytest.raises(Crash):
        promote(world.registry, MODEL, number, world.base)


def test_a_visible_promotion_is_finished(served, crash) -> None:
    served.register()
    broken_promotion(served, 4, crash)
    assert (served.visible(), served.serving()) == ([1, 2, 3, 4], 3)
    done = reconcile(served.registry, served.base)
    assert done.actions == ("finished an interrupted promotion of version 4",)
    assert (done.problems, done.serving) == ((), 4)
    assert served.serving() == 4
    before = served.kinds()
    again = reconcile(served.registry, served.base)
    assert (again.actions, again.problems) == ((), ())
    assert served.kinds() == before


def test_a_visible_promotion_that_is_not_allowed_any_more_is_undone(served, crash) -> None:
    served.register()
    broken_promotion(served, 4, crash)
    served.registry.reject(MODEL, 4, reason="leak")
    done = reconcile(served.registry, served.base)
    assert "undid an interrupted promotion of version 4" in done.actions[0]
    assert (served.visible(), served.serving()) == ([1, 2, 3], 3)
    assert served.registry.head(MODEL).unfinished == {}


def test_a_version_that_is_rejected_in_the_last_moment_does_not_stay_visible(
    served, monkeypatch
) -> None:
    served.register()
    served.decide(4)
    record = type(served.registry).record_promotion

    def too_late(self, *args, **kwargs):
        self.reject(MODEL, 4, reason="leak")
        return record(self, *args, **kwargs)

    monkeypatch.setattr(type(served.registry), "record_promotion", too_late)
    with pytest.raises(RejectedError, match="leak"):
        promote(served.registry, MODEL, 4, served.base)
    monkeypatch.undo()
    assert (served.visible(), served.serving()) == ([1, 2, 3], 3)
    assert served.registry.head(MODEL).unfinished == {}
    assert served.kinds()[-1] == "intent_dropped"


def test_a_target_that_is_rejected_in_the_last_moment_does_not_serve(served, monkeypatch) -> None:
    record = type(served.registry).record_rollback

    def too_late(self, *args, **kwargs):
        self.reject(MODEL, 2, reason="leak")
        return record(self, *args, **kwargs)

    monkeypatch.setattr(type(served.registry), "record_rollback", too_late)
    with pytest.raises(RejectedError, match="leak"):
        rollback(served.registry, MODEL, served.base, reason="x")
    assert (served.visible(), served.serving()) == ([1, 2, 3], 3)
    assert served.registry.head(MODEL).unfinished == {}


def test_somebody_without_the_right_to_promote_changes_nothing(served, crash) -> None:
    """Not even what was interrupted is undone, which would look like a refusal of the version."""
    served.register()
    broken_promotion(served, 4, crash)
    served.registry.set_access_policy(AccessPolicy(admins=("ada",)), actor="ada")
    before = served.kinds()
    for act in (
        lambda: reconcile(served.registry, served.base, actor="eve"),
        lambda: rollback(served.registry, MODEL, served.base, reason="x", actor="eve"),
        lambda: prune(
            served.registry, MODEL, served.base, Retention(1), dry_run=False, actor="eve"
        ),
        lambda: promote(served.registry, MODEL, 4, served.base, actor="eve"),
        lambda: adopt(served.registry, MODEL, served.base, actor="eve"),
    ):
        with pytest.raises(AccessDeniedError):
            act()
    assert (served.visible(), served.kinds()) == ([1, 2, 3, 4], before)
    assert reconcile(served.registry, served.base, actor="ada").serving == 4


def test_an_invisible_promotion_is_forgotten(served, crash) -> None:
    served.register()
    served.decide(4)
    crash(type(served.registry), "record_intent", after=True)
    with pytest.raises(Crash):
        promote(served.registry, MODEL, 4, served.base)
    assert served.registry.head(MODEL).unfinished
    done = reconcile(served.registry, served.base)
    assert done.actions == (
        "forgot an interrupted promotion of version 4: it had not become visible",
    )
    assert served.registry.head(MODEL).unfinished == {}
    assert promote(served.registry, MODEL, 4, served.base).changed


def test_the_next_promotion_finishes_the_one_before_and_needs_a_new_decision(served, crash) -> None:
    served.register(2)
    served.decide(5)
    broken_promotion(served, 4, crash)
    with pytest.raises(RefusedError, match="compared it with version 3, and version 4 serves"):
        promote(served.registry, MODEL, 5, served.base)
    assert served.serving() == 4
    assert served.promote(5).replaces == 4


def test_repeating_a_promotion_finishes_it(served, crash) -> None:
    served.register()
    broken_promotion(served, 4, crash)
    done = promote(served.registry, MODEL, 4, served.base, reason="again")
    assert done.changed
    assert served.registry.history(MODEL)[-1].reason == "again"
    assert served.serving() == 4


@pytest.mark.parametrize(
    ("owner", "name", "after"),
    [
        (rollbacks, "put_newer_away", False),
        (Shelf, "withdraw", False),
        (Shelf, "withdraw", True),
    ],
)
def test_a_rollback_is_finished(served, crash, owner, name: str, after: bool) -> None:
    crash(owner, name, after=after)
    with pytest.raises(Crash):
        rollback(served.registry, MODEL, served.base, 1, reason="bad", actor="ada")
    begun = served.registry.head(MODEL).unfinished[str(served.base)]
    assert (begun.operation, begun.number) == ("rollback", 1)
    done = reconcile(served.registry, served.base, actor="bob")
    assert done.actions == ("finished an interrupted rollback to version 1",)
    assert (served.visible(), served.serving()) == ([1], 1)
    event = served.registry.history(MODEL)[-1]
    assert (event.kind, event.actor, event.reason) == ("rolled_back", "bob", "bad")
    assert all(served.registry.get(MODEL, n).rolled_back for n in (2, 3))


def test_a_rollback_of_which_only_the_record_is_missing_is_finished_by_repeating_it(
    served, crash
) -> None:
    crash(type(served.registry), "record_rollback")
    with pytest.raises(Crash):
        rollback(served.registry, MODEL, served.base, reason="bad")
    assert (served.visible(), served.serving()) == ([1, 2], 3)
    done = rollback(served.registry, MODEL, served.base, reason="bad")
    assert (done.version.number, done.replaces, done.changed) == (2, 3, True)
    assert (served.visible(), served.serving()) == ([1, 2], 2)


def test_a_rollback_to_bytes_that_are_gone_is_undone(served, crash) -> None:
    crash(Shelf, "withdraw", after=True)
    with pytest.raises(Crash):
        rollback(served.registry, MODEL, served.base, reason="bad")
    for path in (served.base / "2", served.folder / "model2"):
        path.rename(path.with_name("gone"))
    done = reconcile(served.registry, served.base)
    assert "undid an interrupted rollback to version 2" in done.actions[0]
    assert (served.visible(), served.serving()) == ([1, 3], 3)


def test_a_removal_that_was_not_recorded_is_taken_back(served) -> None:
    shelf = Shelf(served.base)
    shelf.trash(served.base / "1")
    assert served.visible() == [2, 3]
    done = reconcile(served.registry, served.base)
    assert done.actions == ("put 1 back, whose removal was not recorded",)
    assert served.visible() == [1, 2, 3]
    assert shelf.trashed() == []


def test_a_removal_that_was_recorded_is_finished(served) -> None:
    shelf = Shelf(served.base)
    shelf.trash(served.base / "1")
    served.registry.record_bytes_removed(MODEL, 1, str(served.base), cause="retention", last=False)
    assert reconcile(served.registry, served.base).actions == ("finished removing 1",)
    assert served.visible() == [2, 3]
    assert shelf.trashed() == []


def test_garbage_that_cannot_go_stops_nobody(served, monkeypatch) -> None:
    shelf = Shelf(served.base)
    shelf.trash(served.base / "1")
    served.registry.record_bytes_removed(MODEL, 1, str(served.base), cause="retention", last=False)
    with monkeypatch.context() as patched:

        def held_open(*_: object) -> None:
            raise OSError(errno.EBUSY, "Device or resource busy")

        patched.setattr(shutil, "rmtree", held_open)
        done = rollback(served.registry, MODEL, served.base, reason="at night")
    assert done.recovered[0].startswith("could not finish removing 1: Device or resource busy")
    assert (served.visible(), served.serving()) == ([2], 2)
    assert reconcile(served.registry, served.base).actions == ("finished removing 1",)


def test_what_something_else_put_on_its_way_out_is_not_deleted(served) -> None:
    (served.base / "77").mkdir()
    shelf = Shelf(served.base)
    shelf.trash(served.base / "77")
    reconcile(served.registry, served.base)
    assert served.visible() == [1, 2, 3, 77]
