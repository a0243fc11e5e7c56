"""Is what lies beside an SQLite file its write-ahead log, and whole?

SQLite takes a log that it cannot read for an empty one, ends at the first frame that does not fit,
and puts the pages of any log into the file: what was acknowledged would be lost without a word. So
a log is looked at before SQLite is. docs/design/0008-sqlite-journal.md says what can be seen.

While somebody has the database open, the log is in use and SQLite does not read it anew; then
nothing is looked at but its header. Where that cannot be told, a log that others are writing to is
read: what seems to be wrong is believed only when it is still so in a second look that began after
the first had ended, of the same log. For frames up to one that goes on from them do not change.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import struct
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tfx_registry.registry.probe import Problem

if TYPE_CHECKING:
    from tfx_registry.registry.sqlite_frames import Page1, Scan

__all__ = ["is_open", "log_problem", "orphan_problem"]

_HEADER_BYTES = 32
#: How often a header is read again that another process may just be writing, and how soon.
_LOOKS, _LOOK_SECONDS = 5, 0.02
#: The byte of the index that each connection locks for as long as it has the log open.
_OPEN_BYTE = "128"


@dataclasses.dataclass(frozen=True)
class _Look:
    """What a look at a log found.

    Attributes:
        header: The header of the log.
        committed: Number of the frame with which the last transaction ends that SQLite will read.
        mark: Number of a frame that is known to have been part of the log; 0 where nothing is
            wrong with its frames.
        of_another: Why it is not the log of this database; "" where nothing says so.
        is_known: Whether the maker of the file marked it, and the log has the mark, too.
    """

    header: bytes
    committed: int
    mark: int
    of_another: str
    is_known: bool


def log_problem(path: Path, *, even_if_open: bool = False) -> Problem | None:
    """Looks at the log of a database.

    Args:
        path: The database.
        even_if_open: Whether all of the log is read, too, while somebody has the database open.

    Returns:
        What is wrong with it; None where there is none, or where nothing can stand in it.
    """
    log = Path(f"{path}-wal")
    for look in range(_LOOKS):
        if look:
            time.sleep(_LOOK_SECONDS)
        try:
            with log.open("rb", buffering=0) as file:
                data = file.read(_HEADER_BYTES + 1) or b""
        except FileNotFoundError:
            return None
        except OSError:
            break
        if len(data) <= _HEADER_BYTES:
            return None
        in_use = is_open(path)
        if in_use and not even_if_open:
            return None
        if _is_header(data):
            return _content_problem(path, log, in_use)
    else:
        return Problem(
            f"{log.name} beside it is damaged, or is no write-ahead log of SQLite",
            "restore the database with the log that belongs to it; only if you know that nothing "
            f"was written since its processes ended, move {log.name} away",
        )
    if log.is_dir():
        return Problem(f"{log.name} beside it is a directory", "move it away")
    return None  # this user may not read it; SQLite says so itself


def orphan_problem(path: Path) -> Problem | None:
    """Looks for a log of a database that is gone: SQLite would delete it, or fill a new one.

    Args:
        path: Where the database should be; there is no file, or an empty one.

    Returns:
        What is wrong; None where no log with changes lies there.
    """
    log = Path(f"{path}-wal")
    if not (look := _look(path, log)) or not (look.committed or look.mark) or _bytes(path):
        return None  # a database that comes now, comes with a log
    return Problem(
        f"the database file is {'empty' if path.exists() else 'gone'}, and {log.name} with changes "
        "that were acknowledged still lies there; a new database would destroy or swallow them; "
        "nothing was changed",
        f"put the database file back; only if you want to begin anew, move {log.name} and "
        f"{path.name}-shm away",
    )


def is_open(path: Path) -> bool:
    """Tells whether a process is known to have a database open with its write-ahead log.

    Args:
        path: The database.

    Returns:
        False, too, where the system does not tell, or not of processes in other containers.
    """
    try:
        found = os.stat(f"{path}-shm")  # noqa: PTH116 - at each opening, and pathlib is slower
        with open("/proc/locks", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            lines = file.read().splitlines()
    except OSError:
        return False
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in lines:
        # "7: POSIX  ADVISORY  READ 4711 fe:00:5104978 128 128"; one that waits has "->"
        words = line.split()
        if words[1:2] == ["POSIX"] and words[3:4] == ["READ"] and words[5:] == [
            device, _OPEN_BYTE, _OPEN_BYTE,
        ]:  # fmt: skip
            return True
    return False


def _is_header(data: bytes) -> bool:
    from tfx_registry.registry import sqlite_frames

    return sqlite_frames.read_header(data) is not None


def _content_problem(path: Path, log: Path, in_use: bool) -> Problem | None:
    from tfx_registry.registry.sqlite_rows import strange_rows

    for _ in range(_LOOKS):
        first = _look(path, log)
        if first is None:
            return None
        if not (first.mark or first.of_another):
            if in_use or first.is_known or not first.committed:
                return None
            if not (why := strange_rows(path)):
                return None
            first = dataclasses.replace(first, of_another=why)
        second = _look(path, log)
        if second is None or second.header != first.header:
            continue
        if first.mark > second.committed:
            return _damaged(path, log, second.committed, first.mark)
        if first.of_another and (why := second.of_another or strange_rows(path)):
            return _of_another(path, log, why)
    return None  # it is written to all the time


def _damaged(path: Path, log: Path, committed: int, mark: int) -> Problem:
    return Problem(
        f"{log.name} beside it is damaged: changes that were acknowledged stand in its frames up "
        f"to {mark} at least, and it can be read up to frame {committed} only; SQLite would drop "
        "the rest; nothing was changed",
        f"copy {path.name}, {log.name} and {path.name}-shm to a safe place, and restore a backup; "
        f"only to go on with the state before the damage, delete {path.name}-shm, cut the log with "
        f"'truncate -s {_cut(log, committed)} {log}', and see with 'tfx-registry fsck' and an "
        "export what is lost",
    )


def _of_another(path: Path, log: Path, why: str) -> Problem:
    return Problem(
        f"{log.name} beside it is not its log: {why}; SQLite would write the pages of another "
        "database into this one; nothing was changed",
        f"put the log back that belongs to {path.name}; only if there is none, move {log.name} and "
        f"{path.name}-shm away, and see with 'tfx-registry fsck' what is missing",
    )


def _cut(log: Path, frames: int) -> int:
    """Returns where a log ends after so many frames, in bytes."""
    with log.open("rb") as file:
        page_bytes: int = struct.unpack(">8xI", file.read(12))[0]
    return _HEADER_BYTES + frames * (24 + page_bytes) if frames else 0


def _look(path: Path, log: Path) -> _Look | None:
    """Looks at a log once; None where it is gone, cannot be read, or has just begun anew."""
    from tfx_registry.registry import sqlite_frames

    try:
        with log.open("rb", buffering=0) as file:
            read = functools.partial(os.pread, file.fileno())
            header = sqlite_frames.read_header(read(_HEADER_BYTES, 0))
            if header is None:
                return None
            # Before the log: what they tell of it then is true of what is read later.
            text, index = _kept(path, 100), _kept(Path(f"{path}-shm"), 96)
            found = sqlite_frames.scan(header, read)
            if read(_HEADER_BYTES, 0) != header.text:
                return None
    except OSError:
        return None
    mark = found.proof or sqlite_frames.last_frame(header, index)
    why, is_known = "", False
    if text.startswith(b"SQLite format 3\0") and len(text) == 100:
        page1 = sqlite_frames.Page1.read(text)
        why = _strange(page1, found, header.page_bytes)
        is_known = not why and page1.application > 0 and found.first_pages is not None
    mark = mark if mark > found.committed else 0
    return _Look(header.text, found.committed, mark, why, is_known)


def _strange(file: Page1, log: Scan, page_bytes: int) -> str:
    """Says why a log cannot be that of a file.

    The first page of the file is that of the log's beginning, or one that the log holds: each
    writer counts its changes there, from what the last one wrote, and a log begins anew only when
    all of it stands in the file. It is in the log at least when the database has grown.
    """
    if not log.committed:
        return ""
    if file.page_bytes != page_bytes:
        return f"its pages have {page_bytes} bytes, and those of the file {file.page_bytes}"
    if log.first_pages is None:
        if file.pages and file.pages != log.pages[0]:
            return (
                f"it belongs to a database of {log.pages[0]} pages, and the file had {file.pages}"
            )
        return ""
    first, last = log.first_pages
    if file.application not in (first.application, last.application):
        return (
            f"it was written for the database {first.application:08x}, and the file is "
            f"{file.application:08x} (application_id)"
        )
    if (file.change - first.change + 1) % 2**32 > (last.change - first.change + 1) % 2**32:
        return (
            f"it holds the changes {first.change} to {last.change} of a database, and the file "
            f"stands at change {file.change}"
        )
    return ""


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


_kept_files: dict[tuple[int, int], int] = {}
_spare_files: list[int] = []
_kept_lock = threading.Lock()


def _kept(path: Path, length: int) -> bytes:
    """Reads the beginning of a file in which SQLite may have locks, and leaves it open.

    A process that closes such a file loses all its locks on it. So the descriptor is kept until
    the file is deleted; it is needed only for databases that were left with a log.

    Returns:
        Up to `length` bytes; b"" where it cannot be read.
    """
    with _kept_lock:
        for key, descriptor in list(_kept_files.items()):
            if os.fstat(descriptor).st_nlink == 0:
                os.close(_kept_files.pop(key))
        try:
            found = path.stat()
            key = found.st_dev, found.st_ino
            if key not in _kept_files:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                found = os.fstat(descriptor)
                key = found.st_dev, found.st_ino
                if _kept_files.setdefault(key, descriptor) != descriptor:
                    _spare_files.append(descriptor)  # it was replaced meanwhile
            return os.pread(_kept_files[key], length, 0)
        except OSError:
            return b""
