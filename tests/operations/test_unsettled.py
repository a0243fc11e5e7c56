"""The gate must not compare with what may not serve."""

from __future__ import annotations

import shutil

import pytest

from tfx_registry import reconcile, rollback
from tfx_registry.operations.unsettled import unsettled
from tfx_registry.registry.registry import ModelRegistry
from tfx_registry.serving.shelf import Shelf

MODEL = "penguin"


def look(world, candidate: int, alias: str = "production") -> str:
    deployment = world.registry.serving(MODEL, alias)
    serving = world.registry.get(MODEL, deployment.number) if deployment else None
    return unsettled(world.registry.head(MODEL), alias, serving, candidate)


def test_a_settled_directory(served) -> None:
    served.register()
    assert look(served, 4) == ""
    assert look(served, 4, "staging") == ""


def test_a_promotion_that_became_visible_and_was_not_recorded(served, monkeypatch) -> None:
    served.register(2)
    monkeypatch.setattr(ModelRegistry, "record_promotion", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        served.promote(4)
    assert "its promotion was interrupted" in look(served, 5)
    assert look(served, 4) == "", "repeating it settles it"
    assert look(served, 5, "staging") == ""
    shutil.rmtree(served.base / "4")
    assert look(served, 5) == "", "it never became visible"


def test_a_rollback_that_was_interrupted(served, monkeypatch) -> None:
    monkeypatch.setattr(Shelf, "withdraw", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rollback(served.registry, MODEL, served.base, reason="x")
    assert "a rollback to version 2" in look(served, 4)
    monkeypatch.undo()
    reconcile(served.registry, served.base)
    assert look(served, 4) == ""


def test_bytes_of_what_serves_that_are_gone(served) -> None:
    shutil.rmtree(served.base / "3")
    shutil.rmtree(served.folder / "model3")
    reconcile(served.registry, served.base)
    assert "its bytes are gone there" in look(served, 4)
    rollback(served.registry, MODEL, served.base, reason="x")
    assert look(served, 4) == ""


def test_a_newer_version_that_the_registry_knows_nothing_of(served) -> None:
    """As after a backup of the registry was put back."""
    shutil.copytree(served.base / "3", served.base / "5")
    assert "servers load version 5" in look(served, 6)
    assert look(served, 5) == "", "promoting it settles it"
    assert look(served, 6, "staging") == ""
    reconcile(served.registry, served.base, quarantine=True)
    assert look(served, 6) == ""


def test_what_serves_does_not_lie_there(served) -> None:
    """As after a backup of the directory was put back."""
    away = (served.base / "3").rename(served.folder / "away")
    assert "does not lie there" in look(served, 4)
    assert look(served, 4, "staging") == ""
    away.rename(served.base / "3")
    assert look(served, 4) == ""


def test_where_nothing_lies_nothing_serves_instead(served) -> None:
    """Then it counts whether the bytes are anywhere, which is asked elsewhere."""
    for number in (1, 2, 3):
        shutil.rmtree(served.base / str(number))
    assert look(served, 4) == ""


def test_a_directory_that_cannot_be_seen_from_here(served) -> None:
    """The gate may run on a machine where nothing, or an empty mount point, is in its place."""
    away = served.base.rename(served.folder / "away")
    assert look(served, 4) == ""
    served.base.mkdir()
    assert look(served, 4) == ""
    (served.base / "9").mkdir()
    assert look(served, 4) == ""
    shutil.rmtree(served.base)
    away.rename(served.base)


def test_a_directory_that_may_not_be_listed(served, monkeypatch) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (served.base / "9").mkdir()
    assert look(served, 4)
    monkeypatch.setattr("tfx_registry.operations.unsettled.list_version_directories", refuse)
    assert look(served, 4) == ""


def test_older_strangers_are_no_matter(served) -> None:
    (served.base / "-7").mkdir()
    (served.base / "0").mkdir()
    assert look(served, 4) == ""
