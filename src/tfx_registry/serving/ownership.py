"""Whose is what is made: what root makes in the directory of somebody else belongs to them.

Otherwise one rollback with sudo leaves directories in which the pipeline's own user can do nothing
any more. Only what is open is given away, or gets a mode, and only what this process can have made
itself, so that whoever owns the directory cannot have root do that to something else.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from tfx_registry import syscalls

__all__ = ["give_file", "make_directory", "why_not"]

_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM})


def make_directory(path: Path, mode: int) -> None:
    """Makes a directory with a mode, which belongs to the owner of the one that it lies in.

    Whoever owns the directories above may put a link in the place of one while this works. So what
    was opened must lie in the directory that was looked at before, and be this user's own; and
    empty, where somebody else owns the one above. Only that gets the mode, and is given away.

    Args:
        path: The directory.
        mode: Its mode, whatever the umask is.

    Raises:
        FileExistsError: It exists.
        OSError: It cannot be made, or was replaced meanwhile.
    """
    above = syscalls.lstat(path.parent)
    syscalls.mkdir(path, mode)
    descriptor = syscalls.open_file(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        own = syscalls.fstat(descriptor).st_uid == os.geteuid()
        if not own or not os.path.samestat(os.stat("..", dir_fd=descriptor), above):
            raise OSError(errno.ESTALE, "it was replaced while it was made", str(path))
        if above.st_uid != os.geteuid() and os.listdir(descriptor):  # noqa: PTH208 - no path
            return  # somebody works in it already, or has put another one there
        syscalls.chmod(descriptor, mode)
        if _is_foreign(above):
            syscalls.give(descriptor, above.st_uid, above.st_gid)
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
    owner = syscalls.lstat(folder)
    if not _is_foreign(owner):
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


def _is_foreign(folder: os.stat_result) -> bool:
    """Tells whether this is root, in a directory of somebody else."""
    return os.geteuid() == 0 and folder.st_uid != 0
