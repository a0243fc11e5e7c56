"""Two directories under one alias: a decision holds where what it compared with serves."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import promote, rollback
from tfx_registry.errors import RefusedError

MODEL = "penguin"
HOUR = datetime.timedelta(hours=1)


def test_a_decision_allows_replacing_only_what_it_compared_with(world: Any, tmp_path: Path) -> None:
    world.register(3)
    here, there = world.base, tmp_path / "there" / MODEL
    world.promote(1)
    promote(world.registry, MODEL, 1, there)
    world.promote(2)
    promote(world.registry, MODEL, 2, there)
    rollback(world.registry, MODEL, there, reason="only there")
    world.decide(3)  # against version 1, which serves by the newest event
    with pytest.raises(RefusedError, match="compared it with version 1, and version 2 serves"):
        promote(world.registry, MODEL, 3, here)
    assert world.visible(here) == [1, 2]
    promote(world.registry, MODEL, 3, there)
    assert world.visible(there)[-1] == 3


def test_an_override_opens_the_other_directory(world: Any, tmp_path: Path) -> None:
    world.register(2)
    there = tmp_path / "there" / MODEL
    world.promote(1)
    promote(world.registry, MODEL, 1, there)
    world.promote(2)
    rollback(world.registry, MODEL, world.base, reason="only here")
    world.register()
    world.promote(3)
    world.register()
    world.decide(4)
    with pytest.raises(RefusedError, match="compared it with version 3, and version 1 serves"):
        promote(world.registry, MODEL, 4, there)
    world.registry.override(MODEL, 4, reason="both are to be equal", expires=HOUR)
    promote(world.registry, MODEL, 4, there)
    assert world.visible(there) == [1, 4]
