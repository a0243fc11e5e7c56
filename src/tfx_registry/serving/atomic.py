"""The file system calls that make a publish atomic and durable."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

__all__ = ["fsync_directory", "rename_no_replace"]

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_NOT_SUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})


def fsync_directory(path: Path) -> None:
    """Makes the entries of a directory durable.

    Args:
        path: The directory.

    Raises:
        OSError: The directory cannot be synced.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename_no_replace(source: Path, target: Path) -> None:
    """Renames a directory in one step, never over anything.

    Where the system has no such call (`renameat2` with RENAME_NOREPLACE is Linux, and not on every
    file system), rename(2) is used after a look: it replaces no directory that holds anything, so
    at worst an empty directory made in between is replaced.

    Args:
        source: The directory.
        target: Its new name, in the same file system.

    Raises:
        FileExistsError: The target exists.
        OSError: The rename failed.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        call = getattr(libc, "renameat2", None)
        if call is not None:
            names = os.fsencode(source), os.fsencode(target)
            if call(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_NOREPLACE) == 0:
                return
            code = ctypes.get_errno()
            if code not in _NOT_SUPPORTED:
                raise OSError(code, os.strerror(code), str(source), None, str(target))
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    try:
        source.rename(target)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        raise
