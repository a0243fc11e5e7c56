"""An SQLite file, around what ML Metadata does with it: its birth, its journal, what is in it.

docs/design/0008-sqlite-journal.md says why. Nothing here opens a database that may be in use in
this process: POSIX drops all locks that a process holds on a file as soon as it closes that file
once. So what has to look into one does that in a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tfx_registry import syscalls
from tfx_registry.registry.probe import Problem
from tfx_registry.registry.sqlite_turn import is_wal

__all__ = [
    "Look",
    "Stamp",
    "immutable_uri",
    "leaves_no_log",
    "look_inside",
    "make_file",
    "run_python",
    "set_journal",
    "stamp",
    "takes_wal",
]

#: Records of versions are 1 to 3 kB: two of SQLite's pages of 4 kB are half empty with them.
_PAGE_BYTES = 8192
_SQLITE_RELEASE = 3_039_002  # whose format this is; any later one reads it

#: File systems of one machine, by the number of statfs(2): ext, XFS, Btrfs, tmpfs, overlay, ZFS,
#: F2FS and bcachefs. Not those that another machine, or a host below this one, may write as well.
_LOCAL_FILE_SYSTEMS = frozenset(
    {0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0x794C7630, 0x2FC12FC1, 0xF2F52010, 0xCA451A4E}
)

_SUBPROCESS_SECONDS = 60


@dataclass(frozen=True)
class Look:
    """What is in a database.

    Attributes:
        tables: Names of its tables.
        is_fixed: Whether it is to be read as a file that nobody changes: it would need a
            write-ahead log, and this user must make none.
    """

    tables: frozenset[str]
    is_fixed: bool


@dataclass(frozen=True)
class Stamp:
    """How a file stood that is read as one that nobody changes.

    Attributes:
        file: Its inode, size and time of change (nanoseconds); None where it is gone.
        log_bytes: Size of its write-ahead log, 0 for none.
    """

    file: tuple[int, int, int] | None
    log_bytes: int


def takes_wal(folder: Path) -> bool:
    """Tells whether a write-ahead log is safe in a folder.

    All who use it share memory through a file there, so they must be on one machine, and under
    one kernel.

    Args:
        folder: An existing directory.

    Returns:
        Whether its file system is known to be local.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        kind = syscalls.file_system_type(descriptor)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return kind & 0xFFFFFFFF in _LOCAL_FILE_SYSTEMS


def make_file(path: Path, journal: str) -> bool:
    """Makes a database without tables, unless there is a file already.

    It gets its name when it is complete, and never takes that of another file.

    Args:
        path: Where; its directory exists.
        journal: "wal", "delete", or "" for what suits the file system.

    Returns:
        False if it cannot be made here; then SQLite itself shall try, and say why.
    """
    version = 2 if journal == "wal" or (not journal and takes_wal(path.parent)) else 1
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with draft.open("xb") as file:
            file.write(_empty_database(version))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return True


def _empty_database(version: int) -> bytes:
    """Returns the one page of a database without tables (sqlite.org/fileformat2.html, 1.3).

    Args:
        version: 1 with a rollback journal, 2 with a write-ahead log.
    """
    header = struct.pack(
        ">16sHBBBBBBIIII28xI20xII",
        b"SQLite format 3\0", _PAGE_BYTES, version, version, 0, 64, 32, 32,
        1,  # changes
        1,  # pages
        0, 0,  # none of them free
        1 + secrets.randbelow(2**32 - 1),  # application_id: tells its log from that of another
        1,  # the number of pages is as of change 1
        _SQLITE_RELEASE,
    )  # fmt: skip
    leaf = struct.pack(">BHHHB", 13, 0, 0, _PAGE_BYTES, 0)  # the list of tables
    return (header + leaf).ljust(_PAGE_BYTES, b"\0")


def immutable_uri(path: Path) -> str:
    """Returns what makes SQLite read a file as one that nobody changes, without locks."""
    return f"file:{quote(str(path))}?immutable=1"


def stamp(path: Path) -> Stamp:
    """Returns how a file stands now."""
    try:
        found = path.stat()
        file = (found.st_ino, found.st_size, found.st_mtime_ns)
    except OSError:
        return Stamp(None, 0)
    return Stamp(file, _size(f"{path}-wal"))


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def leaves_no_log(path: Path) -> bool:
    """Tells whether this user can open a database and leave no write-ahead log that is in the way.

    SQLite makes one to read, too. If a user makes it who may write in the folder but not to the
    database, it stays, and the owner of the database cannot write to it.
    """
    return is_wal(path) or os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK)


def look_inside(path: Path) -> Look | Problem:
    """Lists the tables of a database, in a process of its own.

    Args:
        path: The file.

    Returns:
        What is in it, or why that cannot be said.
    """
    try:
        done = run_python(_LOOK_INSIDE, str(path.absolute()), "log" if leaves_no_log(path) else "")
    except (OSError, subprocess.SubprocessError):
        return Look(frozenset(), False)  # Python is part of another program, or was removed
    if done.returncode == 0:
        found = json.loads(done.stdout)
        return Look(frozenset(found["tables"]), found["fixed"])
    why = _why(done)
    if _size(f"{path}-wal") and not os.access(path.parent, os.W_OK):
        return Problem(
            f"it has a write-ahead log ({path.name}-wal), and its folder cannot be written ({why})",
            "let this user write to the folder; or open it once with a user who may, for example "
            "with 'tfx-registry models', which moves the log into the file",
        )
    return Problem(
        why,
        "check that the path is that of an SQLite database which this user may read and write",
        passes="locked" in why,
    )


def set_journal(path: Path, journal: str) -> Problem | None:
    """Changes the journal of a database, in a process of its own.

    Nobody else may have the database open.

    Args:
        path: The file.
        journal: "wal" or "delete".

    Returns:
        What stands in the way, or None.
    """
    try:
        done = run_python(_SET_JOURNAL, str(path.absolute()), journal)
    except (OSError, subprocess.SubprocessError) as error:
        done = subprocess.CompletedProcess((), 1, "", f"Error: {error}")
    if done.returncode == 0 and done.stdout.strip() == journal:
        return None
    why = _why(done) if done.returncode else f"SQLite leaves it as {done.stdout.strip()!r}"
    return Problem(
        f"its journal cannot be changed to {journal!r}: {why}",
        "close every process that uses the database and repeat, or leave out the option 'journal'",
    )


def run_python(
    code: str, *words: str, seconds: float = _SUBPROCESS_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own, with nothing but the standard library.

    Args:
        code: The code.
        *words: What `sys.argv` holds after its first item.
        seconds: How long it may take.

    Returns:
        What came of it.

    Raises:
        OSError: No Python can be started.
        subprocess.SubprocessError: It took too long.
    """
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *words],
        capture_output=True, text=True, check=False, timeout=seconds,
    )  # fmt: skip


def _why(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.strip().rpartition("\n")[2].rpartition("Error: ")[2]


# Reading only, so that nothing is changed; again with the right to write, which SQLite needs to
# roll back what a killed writer left; and as a file that nobody changes, if there is nothing beside
# it that would belong to it.
_LOOK_INSIDE = """
import json, os, pathlib, sqlite3, sys
path, log = sys.argv[1:]
uri = pathlib.Path(path).as_uri()
beside = any(os.path.exists(path + end) and os.path.getsize(path + end)
             for end in ("-wal", "-journal"))
modes = ["mode=ro", "mode=rw"] + ([] if beside else ["mode=ro&immutable=1"])
with open(path, "rb") as file:
    if not log and not beside and file.read(20)[18:19] == b"\\x02":
        modes = modes[2:]
for mode in modes:
    try:
        connection = sqlite3.connect(f"{uri}?{mode}", uri=True, timeout=10)
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        break
    except sqlite3.OperationalError as error:
        if mode == modes[-1] or (mode == "mode=rw" and "unable to open" not in str(error)):
            raise
tables = [name for name, in rows if not name.startswith("sqlite_")]
print(json.dumps({"tables": tables, "fixed": "immutable" in mode}))
"""

# The size of a page is that of a database without tables, and of no other.
_SET_JOURNAL = f"""
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
connection.execute("PRAGMA page_size={_PAGE_BYTES}")
print(connection.execute("PRAGMA journal_mode=" + sys.argv[2]).fetchone()[0])
"""
