"""How TensorFlow Serving reads a directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfx_registry.errors import ServingDirectoryError
from tfx_registry.serving import ServingDirectory
from tfx_registry.serving.layout import (
    base_directory,
    check_writable,
    list_version_directories,
    parse_version_name,
)


@pytest.mark.parametrize(
    ("name", "number"),
    [("1", 1), ("001", 1), ("+1", 1), ("-1", -1), (" 1", 1), ("1 ", 1), ("1700000000", 1700000000),
     ("9223372036854775807", 2**63 - 1), ("9223372036854775808", None), ("", None), ("v1", None),
     ("1.0", None), ("1_000", None), ("0x1", None), ("1e3", None), (".tfx_registry", None),
     ("1.retired", None), ("\u0661", None), ("--1", None)],
)  # fmt: skip
def test_names_of_versions(name: str, number: int | None) -> None:
    assert parse_version_name(name) == number


def test_listing_names_collisions(tmp_path: Path) -> None:
    for name in ("10", "2", "02", "notes", ".tfx_registry"):
        (tmp_path / name).mkdir()
    assert list_version_directories(tmp_path) == {2: ["02", "2"], 10: ["10"]}
    assert list_version_directories(tmp_path / "nowhere") == {}


def test_a_base_directory_need_not_exist(tmp_path: Path) -> None:
    assert base_directory(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert base_directory(f"file://{tmp_path}/a") == tmp_path / "a"
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_is_no_base_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ServingDirectoryError, match="is not a directory"):
        base_directory(tmp_path / name)


@pytest.mark.parametrize("name", ["a\x00b", "loop/x"])
def test_impossible_paths_are_errors_of_ours(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ServingDirectoryError, match="cannot publish into"):
        base_directory(f"{tmp_path}/{name}")


@pytest.mark.parametrize("name", ["s3://bucket/models", "gs://bucket", ""])
def test_object_stores_are_named_as_not_supported(name: str) -> None:
    with pytest.raises(ServingDirectoryError, match="local or mounted"):
        base_directory(name)


def test_a_name_that_is_no_text_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ServingDirectoryError, match="its name is not UTF-8"):
        base_directory(tmp_path / os.fsdecode(b"model\xff"))
    assert list(tmp_path.iterdir()) == []


def test_what_may_only_be_read_can_be_looked_at_and_not_be_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a read-only mount."""
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & os.W_OK)
    assert base_directory(tmp_path) == tmp_path.resolve()
    with pytest.raises(ServingDirectoryError, match="is not writable"):
        check_writable(tmp_path / "penguin")
    with (
        pytest.raises(ServingDirectoryError, match="is not writable"),
        ServingDirectory.lock(tmp_path / "penguin"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
