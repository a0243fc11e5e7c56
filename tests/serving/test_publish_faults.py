"""Each file system call of a publish fails once, in each way: a clean error, and nothing to see."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tfx_registry import parallel, syscalls
from tfx_registry.digest import DirectoryDigest, digest_path
from tfx_registry.errors import RegistryError, ServingDirectoryError
from tfx_registry.serving import ServingDirectory, copying
from tfx_registry.testing.file_calls import (
    ERRORS,
    SHORT_WRITE,
    CallName,
    Fault,
    watched_calls,
)


@pytest.fixture
def model(saved_model: Path, tmp_path: Path) -> Path:
    """A model next to the serving directory, so that reading it is watched, too."""
    return Path(shutil.copytree(saved_model, tmp_path / "watched" / "model"))


@pytest.fixture
def base(model: Path) -> Path:
    return model.parent / "serving"


@pytest.fixture
def digest(model: Path) -> DirectoryDigest:
    return digest_path(model)


@pytest.fixture
def audited(model: Path) -> Iterator[list[tuple[str, str]]]:
    """Events of Python about what lies below the watched folder, with the file that caused them."""
    seen: list[tuple[str, str]] = []
    root, active = str(model.parent), True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if active and arguments and str(arguments[0]).startswith(root):
            seen.append((event, Path(sys._getframe(1).f_code.co_filename).name))

    sys.addaudithook(hook)  # there is no way to remove it
    yield seen
    active = False


def publish(model: Path, base: Path, digest: DirectoryDigest) -> Path:
    with ServingDirectory.lock(base) as directory:
        return directory.publish(
            model, 1, owner="triple", digest=digest.root, manifest=digest.manifest
        ).path


def visible(base: Path) -> list[str]:
    return sorted(p.name for p in base.iterdir() if p.name[0] != ".") if base.exists() else []


def faults(calls: list[CallName]) -> list[Fault]:
    assert len(calls) == len(set(calls))
    kinds = [Fault(call, error) for call in calls for error in ERRORS]
    return kinds + [Fault(c, SHORT_WRITE) for c in calls if c.function == "write_some"]


def names_of_calls(action: Callable[[], object], root: Path) -> list[CallName]:
    with watched_calls(root, sync=False) as calls:
        action()
    return [call.name for call in calls]


def error_of(action: Callable[[], object]) -> RegistryError | None:
    try:
        action()
    except RegistryError as error:
        return error
    return None


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("sync", ["whole", "each"])
def test_a_publish_does_all_or_nothing_whatever_fails(
    model: Path,
    base: Path,
    digest: DirectoryDigest,
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
    sync: str,
) -> None:
    monkeypatch.setattr(copying, "worker_count", lambda: threads)
    monkeypatch.setattr(copying, "_syncfs_can_be_trusted", lambda _: sync == "whole")
    every = names_of_calls(lambda: publish(model, base, digest), model.parent)
    assert {name.function for name in every} >= {
        "open_file", "read_into", "write_some", "close", "mkdir", "chmod", "fsync", "flock",
        "rename", "rename_no_replace", "rmdir", "unlink", "lstat", "list_directory", "statvfs",
        "syncfs" if sync == "whole" else "fsync",
    }  # fmt: skip
    shutil.rmtree(base)
    failed = 0
    # Threads and the way of syncing make no difference to most calls.
    for fault in faults(every)[:: 1 if (threads, sync) == (1, "whole") else 7]:
        with watched_calls(model.parent, fault=fault, sync=False):
            error = error_of(lambda: publish(model, base, digest))
            if error is not None:
                failed += 1
                assert visible(base) == [], fault
                assert "" not in (error.what, error.why, error.todo), fault
            else:
                # A hint, the clean-up, or a call that is made in another way then.
                assert visible(base) == ["1"], fault
                assert digest_path(base / "1") == digest, fault
        state = base / ".tfx_registry"
        left = state.exists() and {p.name for p in state.iterdir()} - {"lock", "model"}
        # What is left is removed by the next publisher; without that, this one goes on.
        if error is None or left or fault.error == errno.EIO:
            with watched_calls(model.parent, sync=False):
                publish(model, base, digest)
            assert digest_path(base / "1") == digest, fault
            assert sorted(p.name for p in state.iterdir()) == ["lock", "model"], fault
        shutil.rmtree(base, ignore_errors=True)
    assert failed > len(every) / 2


def test_what_is_there_stays_whatever_fails_when_it_is_published_again(
    model: Path, base: Path, digest: DirectoryDigest
) -> None:
    publish(model, base, digest)
    every = names_of_calls(lambda: publish(model, base, digest), model.parent)
    for fault in faults(every):
        with (
            watched_calls(model.parent, fault=fault, sync=False),
            contextlib.suppress(RegistryError),
        ):
            publish(model, base, digest)
        assert digest_path(base / "1") == digest, fault


def test_every_access_goes_through_the_watched_calls(
    model: Path, base: Path, digest: DirectoryDigest, audited: list[tuple[str, str]]
) -> None:
    """Otherwise the table above would have holes."""
    publish(model, base, digest)
    seen = {event for event, _ in audited}
    assert seen >= {"open", "os.mkdir", "os.listdir", "os.remove", "os.rmdir"}
    assert "os.chmod" not in seen, "somebody may have put a link there: only by descriptor"
    assert [place for place in audited if place[1] != "syscalls.py"] == []


def test_a_write_that_writes_nothing_is_an_error(
    model: Path, base: Path, digest: DirectoryDigest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syscalls, "write_some", lambda *_: 0)
    with pytest.raises(ServingDirectoryError, match="Input/output error"):
        publish(model, base, digest)
    assert visible(base) == []


class Interrupted:
    """Stands in for a function of the C library that is interrupted twice."""

    def __init__(self, original: Callable[..., int]) -> None:
        self.original = original
        self.calls = 0

    def __call__(self, *arguments: object) -> int:
        import ctypes

        self.calls += 1
        if self.calls <= 2:
            ctypes.set_errno(errno.EINTR)
            return -1
        return self.original(*arguments)


def test_interrupted_calls_are_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    libc = syscalls._libc
    fakes = {name: Interrupted(getattr(libc, name)) for name in ("syncfs", "renameat2", "fstatfs")}
    monkeypatch.setattr(syscalls, "_libc", type("Libc", (), fakes)())
    (tmp_path / "a").mkdir()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        syscalls.syncfs(descriptor)
        assert syscalls.file_system_type(descriptor) > 0
    finally:
        os.close(descriptor)
    assert syscalls.rename_no_replace(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").is_dir()
    assert {fake.calls for fake in fakes.values()} == {3}


def test_an_interrupted_clone_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [InterruptedError(), OSError(errno.EOPNOTSUPP, "no")]

    def ioctl(*_: object) -> None:
        raise answers.pop(0)

    monkeypatch.setattr(syscalls.fcntl, "ioctl", ioctl)
    assert not syscalls.clone(0, 1)
    assert answers == []


def test_the_first_error_stops_the_rest() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 3:
            raise OSError(errno.EIO, "disk")
        done.append(item)

    with pytest.raises(OSError, match="disk"):
        parallel.for_each(work, range(1_000_000), 4)
    assert len(done) < 1_000_000
    assert sorted(parallel.for_each(str, range(20), 4), key=int) == [str(i) for i in range(20)]
