"""What lies where, by the registry and by the bytes. Looking changes nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tfx_registry import Retention, prune, rollback, verify
from tfx_registry.errors import NotFoundError, RefusedError, ServingDirectoryError
from tfx_registry.operations import status
from tfx_registry.serving.receipts import Bytes
from tfx_registry.testing.minimal_model import write_minimal_model

MODEL = "penguin"


def rows(found) -> dict[tuple[str, str], tuple[bool, str, bool]]:
    return {(r.name, r.place): (r.registered, r.bytes, r.serves) for r in found.rows}


def tree(base: Path) -> list[str]:
    return sorted(str(path) for path in base.rglob("*"))


def test_a_directory_in_order(served) -> None:
    before = tree(served.base), served.kinds()
    found = status(served.registry, served.base)
    assert rows(found) == {
        ("1", "visible"): (True, "untouched", False),
        ("2", "visible"): (True, "untouched", False),
        ("3", "visible"): (True, "untouched", True),
    }
    assert (found.model, found.loads, found.problems) == (MODEL, 3, ())
    assert found.rows[2].aliases == ("production",)
    assert (tree(served.base), served.kinds()) == before
    hashed = status(served.registry, served.base, hash_all=True)
    assert {row.bytes for row in hashed.rows} == {"right"}


def test_everything_that_can_be_wrong_is_named(served) -> None:
    rollback(served.registry, MODEL, served.base, reason="x")
    (served.base / "1" / "saved_model.pb").write_bytes(b"?")
    write_minimal_model(served.base / "99", "from elsewhere")
    shutil.rmtree(served.base / "2")
    found = status(served.registry, served.base)
    assert rows(found) == {
        ("1", "visible"): (True, "touched", False),
        ("2", "missing"): (True, "missing", True),
        ("3", "withdrawn"): (True, "untouched", False),
        ("99", "visible"): (False, "unknown", False),
    }
    assert found.loads == 99
    assert [problem.split(":")[0] for problem in found.problems] == [
        "1 (visible) was written to",
        "version 2 should serve and is missing",
        "99 is not from this registry",
        "99 lies above version 2, which should serve",
    ]
    hashed = status(served.registry, served.base, hash_all=True)
    assert hashed.rows[0].bytes == "changed"


def test_without_receipts_nothing_is_claimed(served) -> None:
    shutil.rmtree(served.base / ".tfx_registry" / "receipts")
    assert {r.bytes for r in status(served.registry, served.base).rows} == {"unknown"}


def test_an_unknown_directory_and_a_wrong_model(served, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="adopt"):
        status(served.registry, tmp_path)
    with pytest.raises(RefusedError, match="is for the model 'penguin'"):
        status(served.registry, served.base, "auk")


def test_verify_hashes_every_place(served, tmp_path: Path) -> None:
    served.promote(3, tmp_path / "staging", alias="staging")
    found = verify(served.registry, MODEL, 3)
    assert [(place.role, place.state) for place in found.places] == [
        ("registered from", Bytes.RIGHT),
        ("serves", Bytes.RIGHT),
        ("serves", Bytes.RIGHT),
    ]
    assert found.good
    shutil.rmtree(served.folder)
    assert verify(served.registry, MODEL, 3).good, "pipelines clean up"
    shutil.rmtree(tmp_path / "staging" / "3")
    assert not verify(served.registry, MODEL, 3).good, "what serves must be there"


def test_verify_finds_one_changed_byte(served) -> None:
    path = served.base / "2" / "assets.extra" / "note.txt"
    path.write_text("model 9", encoding="utf-8")
    found = verify(served.registry, MODEL, 2)
    assert not found.good
    (wrong,) = [place for place in found.places if place.state is Bytes.CHANGED]
    assert (wrong.path, wrong.role) == (str(served.base / "2"), "in a serving directory")
    assert "its digest is" in wrong.detail
    path.write_text("model 2", encoding="utf-8")
    path.rename(path.with_name("renamed.txt"))
    assert "files were renamed" in str(verify(served.registry, MODEL, 2).places)


def test_verify_of_a_version_whose_bytes_are_nowhere(served) -> None:
    served.register()
    shutil.rmtree(served.folder / "model4")
    found = verify(served.registry, MODEL, 4)
    assert not found.good
    assert [place.state for place in found.places] == [Bytes.MISSING]


def test_a_directory_that_may_only_be_read_can_be_looked_at(served, monkeypatch) -> None:
    """As on a read-only mount."""
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & os.W_OK)
    assert status(served.registry, served.base).problems == ()
    assert status(served.registry, served.base, hash_all=True).problems == ()
    assert prune(served.registry, MODEL, served.base, Retention(1)).removed
    with pytest.raises(ServingDirectoryError, match="is not writable"):
        rollback(served.registry, MODEL, served.base, reason="x")
    assert served.visible() == [1, 2, 3]
