"""What the executors share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.components.artifacts import VersionPointer
from tfx_registry.components.execution import REGISTRY, version_of
from tfx_registry.errors import NotFoundError


def test_a_version_that_is_not_in_this_registry(
    tmp_path: Path, plain_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path}/registry.sqlite"
    with ModelRegistry.open(uri) as registry:
        registry.register("penguin", plain_model)
        assert version_of(registry, VersionPointer("penguin", 1), {}).number == 1
        for pointer, missing in (
            (VersionPointer("penguin", 2), "no version 2 of 'penguin'"),
            (VersionPointer("auk", 1), "no model 'auk'"),
        ):
            with pytest.raises(NotFoundError) as caught:
                version_of(registry, pointer, {REGISTRY: uri})
            assert caught.value.what == f"{missing} in the registry at {uri}"
            assert "the same registry" in caught.value.todo
        monkeypatch.setenv("TFX_REGISTRY_URI", "sqlite:///elsewhere.sqlite")
        with pytest.raises(NotFoundError, match=r"in the registry at sqlite:///elsewhere\.sqlite"):
            version_of(registry, VersionPointer("auk", 1), {REGISTRY: None})
