"""Rollback: an older version serves again, nothing is copied, nothing is lost."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry, promote, rollback
from tfx_registry.digest import digest_path
from tfx_registry.errors import (
    AccessDeniedError,
    ConflictError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    RefusedError,
    RejectedError,
)
from tfx_registry.operations import rollbacks, status
from tfx_registry.registry.access import AccessPolicy
from tfx_registry.registry.events import Decided, Promoted, RolledBack
from tfx_registry.serving import receipts
from tfx_registry.serving.shelf import Shelf

MODEL = "penguin"


def decided(world, number):
    """The last decision of the gate on a version."""
    found = [e.payload for e in world.registry.history(MODEL) if isinstance(e.payload, Decided)]
    return [decision for decision in found if decision.number == number][-1]


def back(world, to=None, **options):
    return rollback(world.registry, MODEL, world.base, to, reason="it is bad", **options)


def test_the_version_before_serves_again(served) -> None:
    done = back(served, actor="ada")
    assert (done.version.number, done.replaces, done.withdrawn) == (2, 3, ("3",))
    assert done.changed
    assert served.visible() == [1, 2]
    assert served.serving() == 2
    event = served.registry.history(MODEL)[-1]
    assert (event.kind, event.actor, event.reason) == ("rolled_back", "ada", "it is bad")
    assert served.registry.get(MODEL, 3).rolled_back == event.seq
    # The bytes of 3 are still there, where no server looks.
    withdrawn = served.base / ".tfx_registry" / "withdrawn" / "3"
    assert digest_path(withdrawn).root == served.registry.get(MODEL, 3).digest


def test_each_rollback_goes_one_further_back_not_forth_again(served) -> None:
    assert back(served).version.number == 2
    assert back(served).version.number == 1
    with pytest.raises(RefusedError, match="none served there before"):
        back(served)
    assert served.visible() == [1]
    assert served.serving() == 1


def test_a_rollback_over_several_versions_puts_all_newer_ones_away(served) -> None:
    done = back(served, 1)
    assert done.withdrawn == ("2", "3")
    assert served.visible() == [1]
    assert [served.registry.get(MODEL, n).rolled_back > 0 for n in (1, 2, 3)] == [False, True, True]


def test_a_server_sees_the_newest_until_the_end_then_the_target(served, monkeypatch) -> None:
    shutil.rmtree(served.base / "1")  # it has to be published again first
    seen = [max(served.visible())]
    withdraw = Shelf.withdraw

    def watched(self: Shelf, name: str) -> Path:
        seen.append(max(served.visible()))
        moved = withdraw(self, name)
        seen.append(max(served.visible()))
        return moved

    monkeypatch.setattr(Shelf, "withdraw", watched)
    back(served, 1)
    assert seen == [3, 3, 3, 3, 1]


def test_nothing_is_read_or_copied_where_a_receipt_fits(served, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("bytes were hashed")

    monkeypatch.setattr(receipts, "digest_path", refuse)
    inode = (served.base / "3" / "saved_model.pb").stat().st_ino
    back(served)
    moved = served.base / ".tfx_registry" / "withdrawn" / "3" / "saved_model.pb"
    assert moved.stat().st_ino == inode


def test_without_a_receipt_the_bytes_are_hashed(served) -> None:
    shutil.rmtree(served.base / ".tfx_registry" / "receipts")
    assert back(served).version.number == 2
    assert (served.base / ".tfx_registry" / "receipts" / "2.json").is_file()


@pytest.mark.parametrize("hide", [False, True])
def test_damaged_bytes_are_refused(served, hide: bool) -> None:
    path = served.base / "2" / "saved_model.pb"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    if hide:  # only hashing everything sees it
        manifest = served.registry.get(MODEL, 2).facts.manifest
        receipts.write_receipt(served.base, 2, manifest=manifest)
    before = served.kinds()
    with pytest.raises(IntegrityError, match="were changed"):
        back(served, hash_all=hide)
    assert served.visible() == [1, 2, 3]
    assert served.kinds() == before


def test_what_served_before_a_stranger_is_not_guessed(served) -> None:
    """As after a backup of the registry was put back: what it says served before is too old."""
    shutil.copytree(served.base / "3", served.base / "5")
    before = served.kinds()
    with pytest.raises(
        ConflictError, match="servers load version 5, and by the registry version 3"
    ):
        back(served)
    assert (served.visible(), served.kinds()) == ([1, 2, 3, 5], before)
    done = back(served, 3)
    assert (done.version.number, done.withdrawn) == (3, ("5",))
    assert served.visible() == [1, 2, 3]
    assert back(served).version.number == 2


def test_a_version_that_never_served_is_refused_and_those_that_did_are_listed(served) -> None:
    served.register()
    with pytest.raises(RefusedError, match="never served there; served there before: 2, 1"):
        back(served, 4)
    with pytest.raises(NotFoundError):
        back(served, 9)


def test_there_is_no_way_forward_but_by_a_decision(served) -> None:
    back(served)
    with pytest.raises(RefusedError, match="was rolled back itself"):
        back(served, 3)
    with pytest.raises(RefusedError, match="rolled back"):
        promote(served.registry, MODEL, 3, served.base)
    assert served.promote(3).replaces == 2
    assert served.visible() == [1, 2, 3]
    assert served.serving() == 3
    assert list((served.base / ".tfx_registry" / "withdrawn").iterdir()) == []
    assert back(served).version.number == 2


def test_an_override_given_before_the_rollback_does_not_count(served) -> None:
    day = datetime.timedelta(days=1)
    served.registry.override(MODEL, 3, reason="hurry", expires=day)
    back(served)
    with pytest.raises(RefusedError, match=r"rolled back .* after that override"):
        promote(served.registry, MODEL, 3, served.base)
    served.registry.override(MODEL, 3, reason="it was the network", expires=day)
    assert promote(served.registry, MODEL, 3, served.base).version.number == 3


def test_a_gate_that_passes_it_after_the_rollback_lets_it_serve_whatever_was_overridden(
    served,
) -> None:
    """The error says to run VersionGate again: then that has to help."""
    served.registry.override(MODEL, 3, reason="hurry", expires=datetime.timedelta(days=1))
    back(served)
    with pytest.raises(RefusedError, match=r"rolled back .* after that override"):
        promote(served.registry, MODEL, 3, served.base)
    served.promote(3)
    assert served.serving() == 3


def test_an_override_given_before_the_rollback_does_not_stand_for_a_comparison(served) -> None:
    served.registry.override(MODEL, 3, reason="hurry", expires=datetime.timedelta(days=1))
    back(served)
    served.decide(3)  # against version 2
    other = served.base.parent / "other"
    served.promote(1, other)
    served.registry.record_decision(
        MODEL,
        dataclasses.replace(
            decided(served, 3), serving_seq=served.registry.serving(MODEL, "production").seq
        ),
    )
    with pytest.raises(RefusedError, match="the gate compared it with version 2"):
        promote(served.registry, MODEL, 3, other)


def test_the_next_version_is_promoted_as_always(served) -> None:
    back(served)
    served.register()
    assert served.promote(4).replaces == 2
    assert served.visible() == [1, 2, 4]
    assert served.registry.deployment(MODEL, str(served.base)).trail == (2, 1)


def test_archived_and_rejected_versions_are_refused(served) -> None:
    served.registry.reject(MODEL, 2, reason="leaked labels")
    with pytest.raises(RejectedError, match=r"leaked labels; choose another .*: 1"):
        back(served)
    served.registry.archive(MODEL, 1)
    with pytest.raises(RefusedError, match="it is archived"):
        back(served, 1)
    assert served.visible() == [1, 2, 3]


def test_a_missing_version_is_published_again_from_where_its_bytes_are(served) -> None:
    shutil.rmtree(served.base / "2")
    assert back(served).changed
    assert digest_path(served.base / "2").root == served.registry.get(MODEL, 2).digest
    assert served.visible() == [1, 2]


def test_bytes_that_are_nowhere_are_refused(served) -> None:
    shutil.rmtree(served.base / "2")
    shutil.rmtree(served.folder / "model2")
    before = served.kinds()
    with pytest.raises(IntegrityError, match=r"no other known place holds them; .*--to: 1"):
        back(served)
    assert served.kinds() == before
    assert back(served, 1).version.number == 1


def test_directories_of_others_above_the_target_are_put_away_too(served) -> None:
    shutil.copytree(served.base / "1", served.base / "999")
    shutil.copytree(served.base / "1", served.base / "002")
    done = back(served, 2)
    assert done.withdrawn == ("002", "3", "999")
    assert served.visible() == [1, 2]
    assert not served.registry.known_versions(MODEL, [999])


def test_going_back_to_what_serves_puts_only_strangers_away(served) -> None:
    assert not back(served, 3).changed
    shutil.copytree(served.base / "1", served.base / "999")
    before = served.kinds()
    assert back(served, 3).withdrawn == ("999",)
    assert served.visible() == [1, 2, 3]
    assert served.kinds() == before


def test_what_was_put_away_is_a_source_of_bytes_like_any_other(served) -> None:
    back(served)
    shutil.rmtree(served.folder / "model3")
    assert served.promote(3).changed
    assert digest_path(served.base / "3").root == served.registry.get(MODEL, 3).digest
    assert served.serving() == 3


def test_an_emergency_by_hand_is_recorded_afterwards(served) -> None:
    """Without the registry, a rename does what a rollback does; the rollback then records it."""
    withdrawn = served.base / ".tfx_registry" / "withdrawn"
    withdrawn.mkdir()
    (served.base / "3").rename(withdrawn / "3")
    (problem,) = status(served.registry, served.base).problems
    assert "version 3 should serve and was put away: record that with 'tfx-registry roll" in problem
    done = back(served)
    assert status(served.registry, served.base).problems == ()
    assert (done.version.number, done.replaces, done.withdrawn) == (2, 3, ())
    assert served.visible() == [1, 2]
    assert served.serving() == 2
    assert served.registry.get(MODEL, 3).rolled_back


def test_two_directories_roll_back_apart(served, tmp_path: Path) -> None:
    other = tmp_path / "staging"
    served.promote(3, other, alias="staging")
    served.register()
    served.promote(4, other, alias="staging")
    rollback(served.registry, MODEL, other, reason="worse")
    assert served.serving("staging") == 3
    assert served.serving("production") == 3
    assert served.visible(other) == [3]
    assert served.visible() == [1, 2, 3]


def test_a_second_person_with_the_same_idea_does_not_go_back_twice(served, monkeypatch) -> None:
    original = rollbacks.open_site

    def later(*args, **kwargs):
        monkeypatch.setattr(rollbacks, "open_site", original)
        back(served)  # somebody else is faster
        return original(*args, **kwargs)

    monkeypatch.setattr(rollbacks, "open_site", later)
    done = back(served)
    assert done.version.number == 2
    assert served.serving() == 2


def test_a_promotion_in_between_is_a_conflict(served, monkeypatch) -> None:
    served.register()
    original = rollbacks.open_site

    def later(*args, **kwargs):
        monkeypatch.setattr(rollbacks, "open_site", original)
        served.promote(4)
        return original(*args, **kwargs)

    monkeypatch.setattr(rollbacks, "open_site", later)
    with pytest.raises(ConflictError, match="version 4 does now"):
        back(served)
    assert served.serving() == 4


def test_a_reason_and_the_right_to_promote_are_needed(served) -> None:
    with pytest.raises(InvalidInputError, match="reason"):
        rollback(served.registry, MODEL, served.base, reason=" ")
    policy = AccessPolicy(admins=("ada",))
    served.registry.set_access_policy(policy, actor="ada")
    with pytest.raises(AccessDeniedError):
        back(served, actor="eve")
    assert served.visible() == [1, 2, 3]
    assert back(served, actor="ada").changed


def test_nothing_serves_in_another_directory(served, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="it serves in"):
        rollback(served.registry, MODEL, tmp_path / "other", reason="x")
    assert not (tmp_path / "other").exists()


def test_promotions_of_releases_without_a_trail_can_be_rolled_back(served, monkeypatch) -> None:
    """The trail is read from the log where the deployment has none."""
    events = served.registry.history(MODEL)
    registry = ModelRegistry.open("memory://")
    for event in events:
        payload = event.payload
        if isinstance(payload, Promoted):
            payload = Promoted(
                payload.number, payload.destination, payload.alias, payload.digest, payload.replaces
            )
        registry._commit(MODEL, lambda _, p=payload: p, event.actor, event.reason)
    served.registry = registry
    assert registry.head(MODEL).deployments[str(served.base)].trail == ()
    assert back(served).version.number == 2
    assert back(served).version.number == 1
    assert isinstance(registry.history(MODEL)[-1].payload, RolledBack)
