"""What may be copied, and that the copy is what was hashed, however it is made."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tfx_registry import syscalls
from tfx_registry.digest import digest_path
from tfx_registry.errors import InvalidInputError, InvalidModelError
from tfx_registry.serving import copying, source
from tfx_registry.serving.copying import can_share_blocks, copy_tree
from tfx_registry.serving.links import HARD_LINKS_VARIABLE
from tfx_registry.serving.source import SourceFile, scan_source


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Files of all sizes around that of a block, an empty one, and an empty directory."""
    root = tmp_path / "model"
    (root / "a" / "b").mkdir(parents=True)
    (root / "empty").mkdir()
    for index, size in enumerate((0, 1, 1000, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 3 << 18)):
        folder = root / ("", "a", "a/b")[index % 3]
        (folder / f"file{index}").write_bytes(os.urandom(1000) * (size // 1000 + 1))
        os.truncate(folder / f"file{index}", size)
    return root


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "serving"
    path.mkdir()
    return path


def test_scan_finds_all_once(model: Path, base: Path) -> None:
    tree = scan_source(model, base)
    digest = digest_path(model)
    assert {(f.path, f.size_bytes) for f in tree.files} == {
        (f.path, f.size_bytes) for f in digest.files
    }
    assert len(tree.files) == len(digest.files)
    assert set(tree.folders) == {"a", "a/b", "empty"}
    assert tree.folders.index("a") < tree.folders.index("a/b")
    assert tree.size_bytes == digest.size_bytes
    assert SourceFile("file0", 0) in tree.files


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket is short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: path.symlink_to("file0"), "a symbolic link"),
        (lambda path: path.symlink_to("/etc"), "a symbolic link"),
        (lambda path: path.symlink_to("../.."), "a symbolic link"),
        (os.mkfifo, "a pipe"),
        (make_socket, "a socket"),
    ],
)
@pytest.mark.parametrize("folder", ["", "a/b"])
def test_what_is_no_file_is_refused_by_name(
    model: Path, base: Path, make: Callable[[Path], None], kind: str, folder: str
) -> None:
    make(model / folder / "odd")
    with pytest.raises(InvalidModelError, match=f"'{folder and folder + '/'}odd' in it is {kind}"):
        scan_source(model, base)


def with_lstat(
    monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[list[int]], None]
) -> None:
    original = syscalls.lstat

    def lstat(path: syscalls.Path) -> os.stat_result:
        found = original(path)
        if Path(path).name != name:
            return found
        fields = list(found)
        change(fields)
        return os.stat_result(fields)

    monkeypatch.setattr(syscalls, "lstat", lstat)


@pytest.mark.parametrize("kind", [0o020000, 0o060000])
def test_devices_are_refused(
    model: Path, base: Path, monkeypatch: pytest.MonkeyPatch, kind: int
) -> None:
    # Only root can make one.
    with_lstat(monkeypatch, "file0", lambda fields: fields.__setitem__(0, kind | 0o644))
    with pytest.raises(InvalidModelError, match="'file0' in it is a device"):
        scan_source(model, base)


def test_hard_links_that_lead_out_are_refused(
    model: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside").write_text("secret", encoding="utf-8")
    os.link(tmp_path / "outside", model / "linked")
    for text in (None, "", "refuse"):
        monkeypatch.setenv(HARD_LINKS_VARIABLE, text or "")
        if text is None:
            monkeypatch.delenv(HARD_LINKS_VARIABLE)
        with pytest.raises(InvalidModelError, match=r"'linked' in it is a hard link.*same-owner"):
            scan_source(model, base)
    monkeypatch.setenv(HARD_LINKS_VARIABLE, "same-owner")  # a store that keeps each content once
    assert SourceFile("linked", 6) in scan_source(model, base).files
    monkeypatch.setenv(HARD_LINKS_VARIABLE, "all")
    with pytest.raises(
        InvalidInputError, match=r"'all' of TFX_REGISTRY_HARD_LINKS.*refuse or same"
    ):
        scan_source(model, base)


@pytest.mark.parametrize("rule", ["refuse", "same-owner"])
def test_hard_links_to_files_of_somebody_else_are_always_refused(
    model: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    monkeypatch.setenv(HARD_LINKS_VARIABLE, rule)
    (tmp_path / "outside").write_text("secret", encoding="utf-8")
    os.link(tmp_path / "outside", model / "linked")
    with_lstat(monkeypatch, "linked", lambda fields: fields.__setitem__(4, fields[4] + 1))
    with pytest.raises(InvalidModelError, match="'linked' in it is a hard link to a file outside"):
        scan_source(model, base)


def test_hard_links_inside_of_the_model_are_no_matter(
    model: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.link(model / "file6", model / "again")
    with_lstat(monkeypatch, "again", lambda fields: fields.__setitem__(4, fields[4] + 1))
    tree = scan_source(model, base)
    copy_tree(tree, base / "copy")
    assert (base / "copy" / "again").stat().st_nlink == 1


def test_names_that_are_too_long_are_refused(
    model: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "n" * 200
    (model / "a" / name).write_text("x", encoding="utf-8")
    scan_source(model, base)
    space = os.statvfs(base)
    narrow = type("Space", (), {"f_namemax": 143})  # as eCryptfs has it
    monkeypatch.setattr(syscalls, "statvfs", lambda _: narrow)
    with pytest.raises(InvalidModelError, match=r"the name of 'a/n{58}\.\.\.n{30}' in it has 200"):
        scan_source(model, base)
    monkeypatch.setattr(syscalls, "statvfs", lambda _: space)
    monkeypatch.setattr(source, "_PATH_BYTES", len(os.fsencode(base)) + 200)
    with pytest.raises(InvalidModelError, match=r"the path of .* has 202 bytes"):
        scan_source(model, base)


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("behind", [False, True])
def test_a_copy_has_the_bytes_and_the_digest_of_the_model(
    model: Path, base: Path, monkeypatch: pytest.MonkeyPatch, workers: int, behind: bool
) -> None:
    if behind:  # all files are hashed by a thread of their own
        monkeypatch.setattr(copying, "_HASHED_BEHIND_BYTES", 0)
        monkeypatch.setattr(copying._Copier, "total", property(lambda _: 0, lambda *_: None), False)
    tree = scan_source(model, base)
    copied = copy_tree(tree, base / "copy", workers=workers)
    assert copied == digest_path(model) == digest_path(base / "copy")
    assert (base / "copy" / "empty").is_dir()


def test_progress_adds_up_and_comes_one_at_a_time(model: Path, base: Path) -> None:
    inside, seen = threading.Lock(), list[int]()

    def progress(count: int) -> None:
        assert inside.acquire(blocking=False)
        seen.append(count)
        inside.release()

    tree = scan_source(model, base)
    copy_tree(tree, base / "copy", workers=4, progress=progress)
    assert sum(seen) == tree.size_bytes


def test_the_disk_has_something_to_do_from_early_on(
    model: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranges follow each other without a gap, small ones first."""
    (model / "large").write_bytes(bytes(40 << 18))
    monkeypatch.setattr(copying, "_FIRST_WRITEBACK_BYTES", 2 << 18)
    monkeypatch.setattr(copying, "_WRITEBACK_BYTES", 8 << 18)
    begun: dict[int, list[tuple[int, int]]] = {}
    monkeypatch.setattr(
        syscalls,
        "start_writeback",
        lambda descriptor, offset, length: begun.setdefault(os.fstat(descriptor).st_ino, []).append(
            (offset >> 18, length >> 18)
        ),
    )
    copy_tree(scan_source(model, base), base / "copy", workers=1)
    large = begun[(base / "copy" / "large").stat().st_ino]  # the first, because it is the largest
    assert large == [(0, 2), (2, 2), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8)]
    nothing = (base / "copy" / "file0").stat().st_ino
    assert set(begun) == {f.stat().st_ino for f in (base / "copy").rglob("file*")} - {nothing} | {
        (base / "copy" / "large").stat().st_ino
    }


def test_what_is_hashed_is_what_was_written(
    model: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that changes while it is read gives a copy with a digest of its own."""
    original = syscalls.read_into

    def read_into(descriptor: int, buffer: memoryview) -> int:
        count = original(descriptor, buffer)
        (model / "file6").write_bytes(os.urandom(3 << 18))
        return count

    with monkeypatch.context() as patch:
        patch.setattr(syscalls, "read_into", read_into)
        copied = copy_tree(scan_source(model, base), base / "copy")
    assert copied == digest_path(base / "copy")
    assert copied != digest_path(model)


def test_a_file_that_becomes_a_pipe_does_not_hang(model: Path, base: Path) -> None:
    tree = scan_source(model, base)
    (model / "file0").unlink()
    os.mkfifo(model / "file0")
    with pytest.raises(InvalidModelError, match="replaced by something that is no file"):
        copy_tree(tree, base / "copy")


def share(source_descriptor: int, target: int) -> bool:
    """Stands in for a file system that shares blocks."""
    with os.fdopen(os.dup(source_descriptor), "rb") as stream:
        os.write(target, stream.read())
    os.lseek(target, 0, os.SEEK_SET)
    return True


def test_shared_blocks_are_hashed_from_the_copy(
    model: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = scan_source(model, base)
    monkeypatch.setattr(syscalls, "clone", share)
    monkeypatch.setattr(syscalls, "write", lambda *_: pytest.fail("it was written"))
    assert can_share_blocks(tree, base)
    assert list(base.iterdir()) == []
    seen: list[int] = []
    copied = copy_tree(tree, base / "copy", share_blocks=True, progress=seen.append)
    assert copied == digest_path(model) == digest_path(base / "copy")
    assert sum(seen) == tree.size_bytes


def test_what_cannot_be_shared_is_copied(
    model: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syscalls, "clone", lambda *_: False)
    tree = scan_source(model, base)
    assert not can_share_blocks(tree, base)
    assert copy_tree(tree, base / "copy", share_blocks=True) == digest_path(model)


@pytest.mark.parametrize(
    ("system", "release", "kind", "trusted"),
    [
        ("linux", "6.1.0-amd64", 0xEF53, True),
        ("linux", "5.8.0", 0x9123683E, True),
        ("linux", "5.4.0-generic", 0xEF53, False),  # syncfs does not report errors
        ("linux", "6.1.0", 0x6969, False),  # NFS
        ("linux", "unknown", 0xEF53, False),
        ("darwin", "23.0.0", 0xEF53, False),
    ],
)
def test_one_sync_for_all_only_where_it_reports_errors(
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    release: str,
    kind: int,
    trusted: bool,
) -> None:
    monkeypatch.setattr(copying.sys, "platform", system)
    monkeypatch.setattr(copying.platform, "release", lambda: release)
    monkeypatch.setattr(syscalls, "file_system_type", lambda _: kind)
    assert copying._syncfs_can_be_trusted(0) == trusted


def test_the_umask_is_no_matter(model: Path, base: Path) -> None:
    old = os.umask(0o077)
    try:
        copy_tree(scan_source(model, base), base / "copy")
    finally:
        os.umask(old)
    for path in [base / "copy", *(base / "copy").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)
    shutil.rmtree(base / "copy")
