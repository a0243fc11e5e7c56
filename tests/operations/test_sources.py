"""Where the bytes of a version may lie outside of what a server sees."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tfx_registry.operations import site


def test_a_directory_in_an_object_store_is_no_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other"
    for folder in (Path("s3:/models/penguin/3"), other / "3"):
        folder.mkdir(parents=True)
    version: Any = SimpleNamespace(number=3, uri="s3://models/run/model")
    head: Any = SimpleNamespace(deployments=["s3://models/penguin", str(other)])
    assert site.sources(version, head, tmp_path / "base") == [other / "3"]
