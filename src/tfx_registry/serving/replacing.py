"""Replaces a small file that others may edit at the same time, and loses nothing that they write.

Editors know no locks. So the new file and the old one change places in one step, and what came out
is compared with what had been read. If it is something else, somebody was faster: it is put back,
and the change is made again, to that.

Whoever had opened the old file before may still write into it afterwards. It is therefore kept
beside the new one for a minute, under a name that says what it held, so that such an edit is found
by whoever changes the file next. The same goes for a crash between the two steps.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import os
import re
import stat
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tfx_registry.serving.atomic import exchange, fsync_directory

__all__ = [
    "Overtaken",
    "drop_leftovers",
    "keep_aside",
    "mark",
    "overtaken",
    "set_aside",
    "swap",
]

_MODE = 0o644  # the server usually runs as another user
_ACCESS_LIST = "system.posix_acl_access"
_KEEP_SECONDS = 60.0  # an editor that has opened the file has long written it by then
_KEEP_MOST = 20
_EDITED = "edited"
_REPLACED = re.compile(
    r"[.](?P<name>.+)[.](?P<about>[0-9a-f]{16})[.](?P<new>[0-9a-f]{16})[.](?P<old>[0-9a-f]{16})"
    r"[.][0-9a-f]{32}[.]replaced",
    re.DOTALL,
)


@dataclass(frozen=True)
class Overtaken:
    """A replaced file that holds what nobody has read.

    Attributes:
        path: Where it lies.
        content: What it holds.
        about: Mark of what it was replaced for, see `mark` and `swap`.
        in_place: Whether nobody has changed the file since, so that it still holds the new content.
    """

    path: Path
    content: bytes
    about: str
    in_place: bool


def mark(text: str) -> str:
    """Returns a short mark of a text that can be part of a file name."""
    return _digest(text.encode("utf-8"))


def swap(path: Path, new: bytes, seen: bytes | None, about: str) -> bool:
    """Replaces a file, durably, if it still holds what was read.

    Args:
        path: The file; whoever reads it finds the old content or the new.
        new: What it shall hold.
        seen: What was read; None where there was no file.
        about: What the change is about, for whoever finds that an edit was overtaken by it.

    Returns:
        False when it held something else, which is in its place again; then read it, and repeat.

    Raises:
        OSError: It cannot be written, or those who read it could not any more; the old content is
            in place.
    """
    unique = uuid.uuid4().hex
    staged = path.with_name(f".{path.name}.{unique}.tmp")
    try:
        _write(staged, new, path)
        if seen is None:
            done = _add(staged, path)
        else:
            marks = f"{mark(about)}.{_digest(new)}.{_digest(seen)}"
            aside = path.with_name(f".{path.name}.{marks}.{unique}.replaced")
            # From here on a crash leaves what was there under a name that tells what it should be.
            staged.rename(aside)
            done = _put(aside, path, new, seen)
    finally:
        with contextlib.suppress(OSError):
            staged.unlink(missing_ok=True)
    if done:
        fsync_directory(path.parent)
    return done


def overtaken(path: Path) -> Iterator[Overtaken]:
    """Finds what was written into a file after it was replaced, or what a crash has left.

    Args:
        path: The file.

    Yields:
        What was found; see `drop_leftovers` and `keep_aside` for what to do with it.
    """
    now = _digest(_read(path) or b"")
    for found, match in _replaced(path):
        content = _read(found)
        if content and _digest(content) not in (match["old"], match["new"]):
            yield Overtaken(found, content, match["about"], now == match["new"])


def drop_leftovers(path: Path) -> None:
    """Removes what is not needed any more; call it only while no other promoter is at work.

    Args:
        path: The file.
    """
    for left in path.parent.glob(glob.escape(f".{path.name}.") + "*.tmp"):
        left.unlink(missing_ok=True)
    now = time.time()
    replaced = sorted((now - found.stat().st_ctime, found, m) for found, m in _replaced(path))
    for place, (age_seconds, found, match) in enumerate(replaced):
        content = _digest(_read(found) or b"")
        old = age_seconds > _KEEP_SECONDS or place >= _KEEP_MOST
        if content == match["new"] or (old and content in (match["old"], _digest(b""))):
            found.unlink()


def keep_aside(edit: Overtaken, path: Path) -> Path:
    """Gives an edit that cannot be put in place a name that people find.

    Args:
        edit: The edit.
        path: The file.

    Returns:
        Where it lies now.
    """
    count = 0
    while True:
        count += 1
        target = path.with_name(f"{path.name}.{_EDITED}" + (f".{count}" if count > 1 else ""))
        with contextlib.suppress(FileExistsError):
            target.hardlink_to(edit.path)
            edit.path.unlink()
            return target


def set_aside(path: Path) -> list[Path]:
    """Lists the edits that lie beside a file, for somebody to look at."""
    return sorted(path.parent.glob(glob.escape(f"{path.name}.{_EDITED}") + "*"))


def _put(aside: Path, path: Path, new: bytes, seen: bytes) -> bool:
    """Exchanges the new file, which lies aside, with the old one."""
    try:
        if not exchange(aside, path):
            return _rename(aside, path, seen)
    except FileNotFoundError:  # an editor that renames has taken it away for a moment
        aside.unlink()
        return False
    if _read(aside) == seen:
        return True
    exchange(aside, path)
    if _read(aside) == new:
        aside.unlink()
    return False  # what was written into the new file meanwhile lies aside


def _rename(aside: Path, path: Path, seen: bytes) -> bool:
    """Does the same where two names cannot be exchanged: what was there keeps a second name."""
    new = aside.with_name(f"{aside.name.removesuffix('.replaced')}.tmp")
    aside.rename(new)
    try:
        with contextlib.suppress(OSError):  # a file system without hard links
            aside.hardlink_to(path)
        if _read(path) != seen:
            aside.unlink(missing_ok=True)
            return False
        new.replace(path)
        return True
    finally:
        new.unlink(missing_ok=True)


def _add(staged: Path, path: Path) -> bool:
    """Adds a file where there was none, never over one that came meanwhile."""
    try:
        path.hardlink_to(staged)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            return False
        staged.rename(path)
    return True


def _write(path: Path, content: bytes, like: Path) -> None:
    """Writes a new file for those who may read and write another one, which need not be there."""
    # Until it is known whose it is, it is nobody else's.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as writer:
        writer.write(content)
        writer.flush()
        try:
            about = like.stat()
        except FileNotFoundError:
            os.fchmod(descriptor, _MODE)
        else:
            _give(descriptor, about)
            _copy_access_list(like, descriptor)
        os.fsync(descriptor)


def _give(descriptor: int, about: os.stat_result) -> None:
    """Gives a file the owner, group and mode of another one, as far as this user may.

    Raises:
        PermissionError: The server, which usually runs as another user, could not read it then.
    """
    for owner, group in ((about.st_uid, about.st_gid), (-1, about.st_gid)):
        try:
            os.fchown(descriptor, owner, group)
            break
        except OSError:
            continue
    now, mode = os.fstat(descriptor), stat.S_IMODE(about.st_mode)
    lost = (now.st_gid != about.st_gid and mode & stat.S_IRGRP) or (
        now.st_uid != about.st_uid and not mode & stat.S_IRGRP
    )
    if lost and not mode & stat.S_IROTH:
        raise PermissionError(
            errno.EPERM,
            f"this user cannot make a file of user {about.st_uid} and group {about.st_gid} with "
            f"mode {mode:04o}, so the server might not be able to read it",
        )
    os.fchmod(descriptor, mode)


def _copy_access_list(source: Path, descriptor: int) -> None:
    getxattr = getattr(os, "getxattr", None)  # Linux
    if getxattr is not None:
        with contextlib.suppress(OSError):
            os.setxattr(descriptor, _ACCESS_LIST, getxattr(source, _ACCESS_LIST))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _replaced(path: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    for found in sorted(path.parent.glob(glob.escape(f".{path.name}.") + "*.replaced")):
        match = _REPLACED.fullmatch(found.name)
        if match is not None and match["name"] == path.name:
            yield found, match


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
