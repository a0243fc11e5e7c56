"""The digest of a model, against the reference implementation."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_signing import hashing
from model_signing._hashing import memory

from tfx_registry.digest import digest_path
from tfx_registry.errors import InvalidModelError

# Names that sort differently as text and by parts, and names that OMS leaves out at the top.
PARTS = st.sampled_from(
    ["a", "a-b", "a.b", "b", "B", "é", "z" * 40, ".git", ".gitignore", "1", "_"]
)
TREES = st.dictionaries(
    st.lists(PARTS, min_size=1, max_size=3).map("/".join), st.binary(max_size=64), min_size=1,
    max_size=12,
)  # fmt: skip


def reference_root(path: Path) -> str:
    """The root digest as the package model_signing computes it for a signature."""
    hasher = memory.SHA256()
    for item in hashing.Config().hash(path).resource_descriptors():
        hasher.update(item.digest.digest_value)
    return hasher.compute().digest_hex


def write(root: Path, tree: dict[str, bytes]) -> int:
    """Writes the files that do not collide with a folder; returns how many count for OMS."""
    counted = 0
    for name, content in tree.items():
        path = root / name
        if path.is_dir() or any(parent.is_file() for parent in path.parents):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for path in root.rglob("*"):
        top = path.relative_to(root).parts[0]
        counted += path.is_file() and top not in (".git", ".gitignore")
    return counted


@settings(max_examples=150, deadline=None)
@given(TREES)
def test_root_digest_equals_the_reference(tree: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "model"
        root.mkdir()
        if write(root, tree) == 0:
            with pytest.raises(InvalidModelError, match="holds no file"):
                digest_path(root)
            return
        assert digest_path(root).root == reference_root(root)


def test_order_goes_by_parts_not_by_text(tmp_path: Path) -> None:
    # As text "a-b/x" < "a/x", because "-" < "/"; by parts ("a", "x") < ("a-b", "x").
    for name, content in (("a-b/x", b"1"), ("a/x", b"2")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(content)
    found = digest_path(tmp_path)
    assert [file.path for file in found.files] == ["a/x", "a-b/x"]
    assert found.root == reference_root(tmp_path)


def test_single_file(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(b"weights")
    found = digest_path(path)
    assert found.root == reference_root(path)
    assert found.size_bytes == 7


def test_manifest_is_what_the_shell_computes(saved_model: Path) -> None:
    command = r"find . -type f -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum"
    done = subprocess.run(
        command, shell=True, cwd=saved_model, capture_output=True, text=True, check=True
    )
    assert digest_path(saved_model).manifest == done.stdout.split()[0]


def test_renaming_a_file_changes_the_manifest_though_not_the_root(plain_model: Path) -> None:
    before = digest_path(plain_model)
    (plain_model / "weights" / "0.bin").rename(plain_model / "weights" / "1.bin")
    after = digest_path(plain_model)
    assert after.root == before.root
    assert after.manifest != before.manifest


def test_changing_a_byte_changes_both(plain_model: Path) -> None:
    before = digest_path(plain_model)
    (plain_model / "model.txt").write_text("A model", encoding="utf-8")
    after = digest_path(plain_model)
    assert after.root != before.root
    assert after.manifest != before.manifest


@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "pipe"])
def test_links_and_special_files_are_refused(plain_model: Path, kind: str) -> None:
    odd = plain_model / "weights" / "odd"
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to(plain_model / ("model.txt" if kind == "link to a file" else "weights"))
    with pytest.raises(InvalidModelError, match="weights/odd"):
        digest_path(plain_model)


def test_missing_and_empty_paths(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match="no such file"):
        digest_path(tmp_path / "nowhere")
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    with pytest.raises(InvalidModelError, match="holds no file"):
        digest_path(tmp_path / "empty")
