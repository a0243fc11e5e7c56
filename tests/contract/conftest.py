"""The stores that the contract suite runs on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry


@pytest.fixture(params=["memory", "sqlite"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ModelRegistry]:
    """An empty registry."""
    uris = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/registry.sqlite"}
    with ModelRegistry.open(uris[request.param]) as opened:
        yield opened
