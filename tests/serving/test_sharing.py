"""A second name for a model: without a second copy where that is possible."""

from __future__ import annotations

import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tfx_registry import syscalls
from tfx_registry.digest import digest_path
from tfx_registry.errors import InvalidModelError
from tfx_registry.serving.sharing import share_tree
from tfx_registry.serving.source import scan_source


@pytest.fixture
def model(plain_model: Path) -> Path:
    (plain_model / "empty").mkdir()
    return plain_model


@pytest.fixture(autouse=True)
def attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system of the tests has no attributes (tmpfs before Linux 6.6), this has."""
    kept: dict[tuple[int, str], bytes] = {}

    def set_attribute(path: syscalls.Path, name: str, value: bytes) -> None:
        kept[os.lstat(path).st_ino, name] = value

    def get_attribute(path: syscalls.Path, name: str) -> bytes:
        try:
            return kept[os.lstat(path).st_ino, name]
        except KeyError:
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA)) from None

    try:
        syscalls.set_attribute(tmp_path, "user.trial", b"")
    except OSError:
        monkeypatch.setattr(syscalls, "set_attribute", set_attribute)
        monkeypatch.setattr(syscalls, "get_attribute", get_attribute)


def check(model: Path, target: Path) -> None:
    assert digest_path(target) == digest_path(model)
    assert (target / "empty").is_dir()


def test_a_file_system_without_shared_blocks_links(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syscalls, "clone", lambda *_: False)
    target = tmp_path / "pushed" / "1"
    target.mkdir(parents=True)
    (target / "left").write_text("by an earlier try", encoding="utf-8")
    assert share_tree(model, target) == "hard link"
    check(model, target)
    assert (target / "model.txt").samefile(model / "model.txt")
    assert share_tree(model, target) == "hard link"
    check(model, target)


def test_shared_blocks_come_first(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clone(source: int, target: int) -> bool:
        os.write(target, os.pread(source, 1 << 20, 0))
        return True

    monkeypatch.setattr(syscalls, "clone", clone)
    assert share_tree(model, tmp_path / "pushed") == "reflink"
    check(model, tmp_path / "pushed")
    assert not (tmp_path / "pushed" / "model.txt").samefile(model / "model.txt")


@pytest.mark.parametrize("error", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_what_cannot_be_linked_is_copied(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    original, calls = os.link, list[object]()

    def link(*arguments: object, **named: object) -> None:
        calls.append(arguments)
        if len(calls) == 2:  # after it has begun well
            raise OSError(error, os.strerror(error))
        original(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(syscalls, "clone", lambda *_: False)
    monkeypatch.setattr(os, "link", link)
    assert share_tree(model, tmp_path / "pushed") == "copy"
    check(model, tmp_path / "pushed")
    assert (tmp_path / "pushed" / "model.txt").stat().st_nlink == 1


def test_other_errors_are_errors(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(syscalls, "clone", lambda *_: False)
    monkeypatch.setattr(os, "link", link)
    with pytest.raises(OSError, match="No space left"):
        share_tree(model, tmp_path / "pushed")


def test_a_model_with_links_of_ours_may_be_published_again_and_with_others_not(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline that pushes to staging, then to production, links the same model twice."""
    monkeypatch.setattr(syscalls, "clone", lambda *_: False)
    os.link(model / "model.txt", model / "again")
    digest = digest_path(model)
    for place in ("staging", "production", "production"):
        assert share_tree(model, tmp_path / place) == "hard link"
        for tree in (model, tmp_path / place):
            assert len(scan_source(tree, tmp_path).files) == len(digest.files)
    os.link(model / "model.txt", tmp_path / "by somebody")
    for tree in (model, tmp_path / "staging"):
        with pytest.raises(InvalidModelError, match="is a hard link: the file has a name outside"):
            scan_source(tree, tmp_path)
    (tmp_path / "by somebody").unlink()
    shutil.rmtree(tmp_path / "staging")
    assert share_tree(model, tmp_path / "production") == "hard link"
    os.link(model / "model.txt", tmp_path / "by somebody")
    with pytest.raises(InvalidModelError, match="hard link"):
        scan_source(model, tmp_path)


def test_links_made_at_once_are_all_counted(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syscalls, "clone", lambda *_: False)
    targets = [tmp_path / f"pushed{number}" for number in range(12)]
    with ThreadPoolExecutor(len(targets)) as pool:
        assert set(pool.map(lambda target: share_tree(model, target), targets)) == {"hard link"}
    assert (model / "model.txt").stat().st_nlink == 1 + len(targets)
    scan_source(model, tmp_path)


@pytest.mark.parametrize("lacks", ["set_attribute", "flock"])
def test_what_cannot_say_that_it_is_linked_is_copied(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    """Otherwise the model could not be published a second time."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(syscalls, "clone", lambda *_: False)
    monkeypatch.setattr(syscalls, lacks, fail)
    assert share_tree(model, tmp_path / "pushed") == "copy"
    check(model, tmp_path / "pushed")
    assert (model / "model.txt").stat().st_nlink == 1
