"""A registry with some weeks of history, and its document."""

from __future__ import annotations

from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.pages import model_document
from tfx_registry.testing.sample_registry import fill_sample, hostile_sample


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> ModelRegistry:
    """A dozen versions: blocked, approved, rejected, overridden, rolled back, on trial."""
    return fill_sample(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def document(registry: ModelRegistry) -> dict[str, Any]:
    return model_document(registry, "penguin", made="2026-09-14T00:00:00.000000Z")


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> ModelRegistry:
    """A registry in which everything that may hold any text holds markup."""
    return fill_sample(tmp_path_factory.mktemp("hostile"), hostile_sample())
