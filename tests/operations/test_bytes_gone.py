"""What no known place holds any more is not promoted, and the message says so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import promote
from tfx_registry.errors import RefusedError
from tfx_registry.operations.retention import Retention, prune
from tfx_registry.operations.rollouts import promote_by_config
from tfx_registry.operations.servers import Servers
from tfx_registry.testing.minimal_model import write_minimal_model

MODEL = "penguin"
ALIAS = "shadow"


def by_directory(world: Any, base: Path) -> Any:
    return promote(world.registry, MODEL, 1, base, alias=ALIAS)


def by_config(world: Any, base: Path) -> Any:
    config = base.parent / "models.config"
    servers = Servers(no_wait=True)
    return promote_by_config(world.registry, MODEL, 1, base, config, alias=ALIAS, servers=servers)


@pytest.mark.parametrize("way", [by_directory, by_config])
def test_it_is_refused_until_the_bytes_are_back(
    served: Any, tmp_path: Path, way: Callable[[Any, Path], Any]
) -> None:
    base = tmp_path / "elsewhere" / MODEL
    base.mkdir(parents=True)
    shutil.rmtree(served.folder / "model1")
    prune(served.registry, MODEL, served.base, Retention(keep_last=2), dry_run=False)
    assert served.registry.get(MODEL, 1).bytes_gone
    served.decide(1, ALIAS)
    with pytest.raises(RefusedError, match="the last known copy was removed") as caught:
        way(served, base)
    assert str(served.folder / "model1") in caught.value.todo
    assert served.visible(base) == []
    write_minimal_model(served.folder / "model1", "model 1")
    way(served, base)
    assert served.visible(base) == [1]
    assert served.serving(ALIAS) == 1
