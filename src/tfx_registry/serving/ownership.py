"""Whose is what is made: what root makes in the directory of somebody else belongs to them.

Otherwise one rollback with sudo leaves directories in which the pipeline's own user can do nothing
any more. Only what is open is given away, and only what this process can have made itself, so that
whoever owns the directory cannot have root give them something else.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from tfx_registry import syscalls

__all__ = ["give_directory", "give_file", "why_not"]

_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM})


def give_directory(path: Path) -> None:
    """Gives a directory that was just made to the owner of the one that it lies in.

    That owner may meanwhile have put a link in the place of the one above. So what was opened must
    lie in the directory that was looked at, and be empty and root's own.

    Args:
        path: The directory.

    Raises:
        OSError: It cannot be looked at or given away.
    """
    owner = _foreign_owner(path.parent)
    if owner is None:
        return
    descriptor = syscalls.open_file(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        own = syscalls.fstat(descriptor).st_uid == 0 and not os.listdir(descriptor)  # noqa: PTH208 - no path
        if own and os.path.samestat(os.stat("..", dir_fd=descriptor), owner):
            syscalls.give(descriptor, owner.st_uid, owner.st_gid)
    finally:
        syscalls.close(descriptor)


def give_file(descriptor: int, folder: Path) -> None:
    """Gives an empty file of root to the owner of the directory that it lies in.

    Args:
        descriptor: The file.
        folder: The directory.

    Raises:
        OSError: It cannot be looked at or given away.
    """
    owner = _foreign_owner(folder)
    if owner is None:
        return
    found = syscalls.fstat(descriptor)
    if found.st_uid == 0 and found.st_size == 0 and found.st_nlink == 1:
        syscalls.give(descriptor, owner.st_uid, owner.st_gid)


def why_not(error: OSError) -> str:
    """Says whose it is that this user may not change.

    Args:
        error: What the system said.

    Returns:
        Such as "; '/srv/serving/penguin' belongs to user 1000 and not to user 1001"; "" where that
        is not the reason.
    """
    if error.errno not in _NOT_ALLOWED:
        return ""
    names = [os.fspath(name) for name in (error.filename, error.filename2) if name]
    for path in (Path(os.fsdecode(name)) for name in names):
        for place in (path, path.parent):
            with contextlib.suppress(OSError):
                owner = syscalls.lstat(place).st_uid
                if owner != os.geteuid():
                    mine = os.geteuid()
                    return f"; {str(place)!r} belongs to user {owner} and not to user {mine}"
    return ""


def _foreign_owner(folder: Path) -> os.stat_result | None:
    """Returns the directory's status, if this is root and somebody else owns it."""
    if os.geteuid() != 0:
        return None
    found = syscalls.lstat(folder)
    return found if found.st_uid != 0 else None
