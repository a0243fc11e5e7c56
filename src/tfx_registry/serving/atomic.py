"""Steps that are atomic, or durable, or both, made of the calls in `syscalls`."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import sys
import uuid
from pathlib import Path

from tfx_registry import syscalls
from tfx_registry.serving.ownership import make_directory

__all__ = [
    "exchange",
    "fsync_directory",
    "make_directories",
    "remove_tree",
    "rename_no_replace",
    "replace_file",
]

_logger = logging.getLogger(__name__)

_FILE_MODE = 0o644
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def fsync_directory(path: Path) -> None:
    """Makes the entries of a directory durable.

    Args:
        path: The directory.

    Raises:
        OSError: The directory cannot be synced.
    """
    descriptor = syscalls.open_file(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        syscalls.fsync(descriptor)
    finally:
        syscalls.close(descriptor)


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
    if syscalls.rename_no_replace(source, target):
        return
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    try:
        syscalls.rename(source, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        raise


def exchange(first: Path, second: Path) -> bool:
    """Exchanges two names in one step (`renameat2` with RENAME_EXCHANGE, which is Linux).

    Args:
        first: A file or directory.
        second: Another one, in the same file system.

    Returns:
        False where the system, or this file system, has no such call; nothing was renamed then.

    Raises:
        OSError: One of them is missing, or may not be renamed.
    """
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if sys.platform != "linux" or call is None:
        return False
    names = os.fsencode(first), os.fsencode(second)
    if call(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(first), None, str(second))


def make_directories(path: Path, mode: int) -> None:
    """Makes a directory and those above it that are missing, and makes them durable.

    Args:
        path: The directory.
        mode: Mode of those that are made, whatever the umask is.

    Raises:
        OSError: One cannot be made.
    """
    missing = []
    for folder in (path, *path.parents):
        if os.path.lexists(folder):
            break
        missing.append(folder)
    for folder in reversed(missing):
        try:
            make_directory(folder, mode)
        except FileExistsError:  # somebody else makes it at this moment
            continue
        fsync_directory(folder)
        fsync_directory(folder.parent)


def replace_file(path: Path, content: bytes, *, staging: Path) -> None:
    """Writes a small file, durably: whoever reads it finds the old content or the new.

    Args:
        path: The file.
        content: What it shall hold.
        staging: A directory of the same file system, where it lies until it is complete.

    Raises:
        OSError: It cannot be written; the old content is there.
    """
    unfinished = staging / f"{path.name}.{uuid.uuid4().hex}.tmp"
    try:
        descriptor = syscalls.open_file(
            unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _FILE_MODE
        )
        try:
            syscalls.write(descriptor, memoryview(content))
            syscalls.chmod(descriptor, _FILE_MODE)
            syscalls.fsync(descriptor)
        finally:
            syscalls.close(descriptor)
        syscalls.rename(unfinished, path)
    except BaseException:
        with contextlib.suppress(OSError):
            syscalls.unlink(unfinished)
        raise
    fsync_directory(path.parent)


def remove_tree(path: Path) -> bool:
    """Removes a directory with everything in it, as far as possible.

    By descriptors: whoever owns what lies there may put a link in the place of a directory
    meanwhile, and nothing behind it is touched.

    Args:
        path: The directory. It need not exist.

    Returns:
        Whether nothing is left. What is left is logged, and no error: it is in nobody's way, and
        the next publish tries again.
    """
    return _remove(path, os.fspath(path), None)


def _remove(path: Path, name: str, above: int | None) -> bool:
    try:
        try:
            syscalls.unlink(name, dir_fd=above)
        except (IsADirectoryError, PermissionError) as error:  # POSIX says EPERM, Linux EISDIR
            if not _remove_directory(path, name, above, error):
                return False
    except FileNotFoundError:
        return True
    except OSError as error:
        _logger.warning("cannot remove %s: %s", path, error)
        return False
    return True


def _remove_directory(path: Path, name: str, above: int | None, error: OSError) -> bool:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        descriptor = syscalls.open_file(name, flags, dir_fd=above)
    except NotADirectoryError:
        raise error from None  # it is a file, which may not be removed
    try:
        names = syscalls.list_directory(descriptor)
        left = [child for child in names if not _remove(path / child, child, descriptor)]
    finally:
        syscalls.close(descriptor)
    if not left:
        syscalls.rmdir(name, dir_fd=above)
    return not left
