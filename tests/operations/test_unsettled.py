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
