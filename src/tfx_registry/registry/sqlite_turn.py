"""Writers of an SQLite file take turns, and notice when it is not the file that they opened.

docs/design/0008-sqlite-journal.md says why.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tfx_registry import syscalls

__all__ = [
    "Busy",
    "GoneError",
    "NamesError",
    "Opened",
    "identity",
    "is_wal",
    "opened",
    "turn",
]

_TURN_SECONDS = 10.0
#: How names of drafts end: what `make_file` gets from `secrets.token_hex`.
_DRAFT = "[0-9a-f]" * 16


class Busy(Exception):  # noqa: N818 - not an error: the caller tries again
    """Another writer kept its turn for too long."""


class GoneError(Exception):
    """A file that was opened is not the one that has its name now; the message says which."""


class NamesError(Exception):
    """A file has several names, each with a lock and a journal of its own; the message says so."""


@dataclass(frozen=True)
class Opened:
    """Which files a connection has open, by device and inode.

    Attributes:
        file: The database; None where it is gone.
        log: Its write-ahead log; None where it has none.
    """

    file: tuple[int, int] | None
    log: tuple[int, int] | None


def is_wal(path: Path) -> bool:
    """Tells whether a database that this process has open uses a write-ahead log."""
    return os.path.exists(f"{path}-wal")  # noqa: PTH110 - at each write, and pathlib is slower


def identity(path: str | Path) -> tuple[int, int] | None:
    """Returns device and inode of a file; None where it is gone."""
    try:
        found = os.stat(path)  # noqa: PTH116 - at each write, and pathlib is slower
    except OSError:
        return None
    return found.st_dev, found.st_ino


def opened(path: Path) -> Opened:
    """Returns which files a database consists of now."""
    return Opened(identity(path), identity(f"{path}-wal"))


@contextlib.contextmanager
def turn(path: Path, at_first: Opened) -> Iterator[None]:
    """Lets one writer at a time write to a database that has a write-ahead log.

    The releases of SQLite inside ML Metadata can damage a database if one connection writes while
    another one moves the log into the file. Both happen in the call that writes.

    And with a write-ahead log, unlike with a rollback journal, SQLite does not notice that a file
    was deleted or replaced: what it acknowledges then is lost. While a connection is open, nobody
    but SQLite's enemies deletes its log.

    Args:
        path: A database that this process has open, without symbolic links.
        at_first: What `opened` said when it was opened.

    Raises:
        Busy: Another writer kept its turn for ten seconds.
        NamesError: The file has another name, too.
        GoneError: The file or its log was deleted or replaced.
        OSError: The file of the lock cannot be made or opened.
    """
    lock, process = None, os.getpid()
    try:
        if is_wal(path):
            lock = _open_lock(path)
            _wait_for(lock)
        _check_one_name(path)
        _check_same(path, at_first)
        yield
        _check_same(path, at_first)
    finally:
        if lock is not None:
            with contextlib.suppress(OSError):
                syscalls.unlock(lock, process)
            os.close(lock)


def _check_one_name(path: Path) -> None:
    """Refuses a file with a further name: under that, it has another journal and another lock."""
    try:
        found = os.stat(path)  # noqa: PTH116 - at each write, and pathlib is slower
    except OSError:
        return  # it is gone, which is said next
    if found.st_nlink > 1 and _without_drafts(path, found).st_nlink > 1:
        raise NamesError(f"its file has {found.st_nlink} names (hard links)")


def _without_drafts(path: Path, found: os.stat_result) -> os.stat_result:
    """Takes away what `make_file` leaves if it is killed when a file has just got its name."""
    for draft in path.parent.glob(f".{glob.escape(path.name)}.{_DRAFT}"):
        with contextlib.suppress(OSError):
            if draft.lstat().st_ino == found.st_ino:
                draft.unlink()
    return path.stat()


def _check_same(path: Path, at_first: Opened) -> None:
    now = opened(path)
    if now.file != at_first.file:
        raise GoneError("the database file")
    if at_first.log is not None and now.log != at_first.log:
        raise GoneError(f"the write-ahead log {path.name}-wal")


def _open_lock(path: Path) -> int:
    name = f"{path}-writers"
    with contextlib.suppress(FileNotFoundError):
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    about = path.stat()
    with contextlib.suppress(FileExistsError):
        lock = os.open(name, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # Whoever may open the database may open its lock, as SQLite does it with its own files.
        # Not every root may give files away, and who is none may only choose among own groups.
        with contextlib.suppress(OSError):
            os.fchown(lock, about.st_uid if os.geteuid() == 0 else -1, about.st_gid)
        os.fchmod(lock, about.st_mode & 0o666)
        return lock
    return os.open(name, os.O_RDONLY | os.O_CLOEXEC)


def _wait_for(lock: int) -> None:
    deadline = time.monotonic() + _TURN_SECONDS
    delay = 0.0005
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Busy(f"another process has kept its turn for {_TURN_SECONDS:g} s") from None
        else:
            return
        time.sleep(delay)
        delay = min(delay * 1.5, 0.01)
