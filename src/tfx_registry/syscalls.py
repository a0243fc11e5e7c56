"""The file system calls of a publish, in one place.

Everything that a publish reads, writes or makes durable goes through these functions, so that a
test can note each call, let each one fail, and work out what a power failure between any two of
them leaves. They add nothing to the calls themselves, but that each does all it was asked or
raises: a short write is continued, and an interrupted call is repeated, where Python does not do
so by itself (PEP 475 leaves out `ioctl` and what is called through ctypes).
"""

# These are the system calls themselves, so no pathlib:
# ruff: noqa: PTH101, PTH102, PTH105, PTH208

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys
from collections.abc import Callable
from typing import Any

__all__ = [
    "Path",
    "chmod",
    "clone",
    "close",
    "file_system_type",
    "flock",
    "fstat",
    "fsync",
    "get_attribute",
    "give",
    "list_directory",
    "lstat",
    "mkdir",
    "open_file",
    "read_file",
    "read_into",
    "rename",
    "rename_no_replace",
    "rmdir",
    "set_attribute",
    "start_writeback",
    "statvfs",
    "syncfs",
    "unlink",
    "unlock",
    "write",
    "write_some",
]

Path = str | os.PathLike[str]

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_FICLONE = 0x40049409  # linux/fs.h, _IOW(0x94, 9, int)
_SYNC_FILE_RANGE_WRITE = 2  # linux/fs.h
_STATFS_BYTES = 512  # more than struct statfs has anywhere; its first word is the type
_libc: Any = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def open_file(path: Path, flags: int, mode: int = 0o644, *, dir_fd: int | None = None) -> int:
    """Opens a file or directory, closed in programs that this one starts."""
    return os.open(path, flags | os.O_CLOEXEC, mode, dir_fd=dir_fd)


def close(descriptor: int) -> None:
    """Closes a descriptor."""
    os.close(descriptor)


def read_into(descriptor: int, buffer: memoryview) -> int:
    """Reads what comes next, up to the size of the buffer; 0 at the end of the file."""
    return os.readv(descriptor, [buffer])


def read_file(path: Path) -> bytes:
    """Reads a whole file."""
    descriptor = open_file(path, os.O_RDONLY)
    try:
        content = bytearray(fstat(descriptor).st_size + 1)
        size = 0
        while count := read_into(descriptor, memoryview(content)[size:]):
            size += count
            if size == len(content):
                content += bytes(size)
        return bytes(memoryview(content)[:size])
    finally:
        close(descriptor)


def write_some(descriptor: int, data: memoryview) -> int:
    """Writes as much of the data as the system takes at once; returns how many bytes."""
    return os.write(descriptor, data)


def write(descriptor: int, data: memoryview) -> None:
    """Writes all of the data, in as many steps as the system needs."""
    while data:
        written = write_some(descriptor, data)
        if written == 0:  # not allowed by POSIX; without an error it would go on for ever
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        data = data[written:]


def fsync(descriptor: int) -> None:
    """Makes a file, or the entries of a directory, durable."""
    os.fsync(descriptor)


def syncfs(descriptor: int) -> None:
    """Makes everything in the file system of the descriptor durable (Linux)."""
    _repeat_interrupted(_libc.syncfs, descriptor)


def start_writeback(descriptor: int, offset: int, length: int) -> None:
    """Lets the system begin to write a range, so that a later sync waits less; a hint.

    Args:
        descriptor: The file.
        offset: Where the range begins.
        length: Its length in bytes; 0 means to the end of the file.
    """
    if _libc is not None:
        _libc.sync_file_range(
            descriptor, ctypes.c_int64(offset), ctypes.c_int64(length), _SYNC_FILE_RANGE_WRITE
        )


def clone(source: int, target: int) -> bool:
    """Lets a file share the blocks of another, copied when either is written (a reflink).

    Args:
        source: The file that is shared, open for reading.
        target: The empty file that gets its content, open for writing.

    Returns:
        False where the file system cannot do that; nothing was written then.

    Raises:
        OSError: It can, and it failed.
    """
    if sys.platform != "linux":
        return False
    while True:
        try:
            fcntl.ioctl(target, _FICLONE, source)
        except InterruptedError:
            continue
        except OSError as error:
            if error.errno in _CANNOT_CLONE:
                return False
            raise
        return True


# Not this file system, not these two, not files of this kind.
_CANNOT_CLONE = frozenset(
    {errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM}
)


def fstat(descriptor: int) -> os.stat_result:
    """Looks at what is open."""
    return os.fstat(descriptor)


def lstat(path: Path) -> os.stat_result:
    """Looks at a name itself, not at what a link points at."""
    return os.lstat(path)


def list_directory(target: int | Path) -> list[str]:
    """Lists the names in a directory, given by a descriptor or path, sorted."""
    return sorted(os.listdir(target))


def statvfs(path: Path) -> os.statvfs_result:
    """Asks for the free space of a file system."""
    return os.statvfs(path)


def file_system_type(descriptor: int) -> int:
    """Returns the magic number of the file system (statfs(2)); 0 where there is none."""
    if _libc is None:
        return 0
    found = ctypes.create_string_buffer(_STATFS_BYTES)
    _repeat_interrupted(_libc.fstatfs, descriptor, found)
    return ctypes.c_ulong.from_buffer(found).value


def get_attribute(path: Path, name: str) -> bytes:
    """Reads an extended attribute of what has a name itself, not of what a link points at."""
    if sys.platform != "linux":
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), os.fspath(path))
    return os.getxattr(path, name, follow_symlinks=False)


def set_attribute(path: Path, name: str, value: bytes) -> None:
    """Sets an extended attribute of what has a name itself, not of what a link points at."""
    if sys.platform != "linux":
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), os.fspath(path))
    os.setxattr(path, name, value, follow_symlinks=False)


def mkdir(path: Path, mode: int = 0o755) -> None:
    """Makes a directory."""
    os.mkdir(path, mode)


def chmod(target: int | Path, mode: int) -> None:
    """Sets the mode of a descriptor or path, whatever the umask is."""
    os.chmod(target, mode)


def give(descriptor: int, owner: int, group: int) -> None:
    """Gives a file or directory to another user and group."""
    os.fchown(descriptor, owner, group)


def unlink(path: Path, *, dir_fd: int | None = None) -> None:
    """Removes a file."""
    os.unlink(path, dir_fd=dir_fd)


def rmdir(path: Path, *, dir_fd: int | None = None) -> None:
    """Removes an empty directory."""
    os.rmdir(path, dir_fd=dir_fd)


def rename(source: Path, target: Path) -> None:
    """Renames, replacing a file that has the name."""
    os.replace(source, target)


def rename_no_replace(source: Path, target: Path) -> bool:
    """Renames, never over anything.

    Returns:
        False where the system, or this file system, has no such call; nothing was renamed then.

    Raises:
        FileExistsError: The target exists.
        OSError: The rename failed.
    """
    call = getattr(_libc, "renameat2", None)
    if call is None:
        return False
    names = os.fsencode(source), os.fsencode(target)
    try:
        _repeat_interrupted(
            call, _AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_NOREPLACE, path=(source, target)
        )
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
            return False
        raise
    return True


def flock(descriptor: int, operation: int) -> None:
    """Takes or gives back a lock on a whole file; a dead process gives it back by itself."""
    fcntl.flock(descriptor, operation)


def unlock(descriptor: int, owner: int) -> None:
    """Gives back a lock on a whole file, before its descriptor is closed.

    A process that was forked meanwhile has the same lock open, so that closing alone would leave it
    held until that one ends.

    Args:
        descriptor: The descriptor by which it was taken.
        owner: Which process took it: a forked one must not give back what is its parent's.
    """
    if os.getpid() == owner:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _repeat_interrupted(
    call: Callable[..., int], *arguments: Any, path: tuple[Path, ...] = ()
) -> None:
    while call(*arguments) != 0:
        code = ctypes.get_errno()
        if code != errno.EINTR:
            names = [os.fspath(name) for name in path]
            between = [None] if len(names) == 2 else []
            raise OSError(code, os.strerror(code), *names[:1], *between, *names[1:])
