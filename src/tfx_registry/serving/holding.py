"""A lock on a file: the operating system gives it back when its holder dies.

The lock belongs to the file, not to its name. Where somebody has removed or renamed the file, or
the directory above it, meanwhile, whoever still waits for it would share the place with those who
have locked the new one. So a lock counts only while its file is the one that has the name.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from tfx_registry import syscalls
from tfx_registry.serving.ownership import give_file

__all__ = ["is_in_place", "take_lock"]


def take_lock(
    path: Path, mode: int, *, waiting: Callable[[], None], prepare: Callable[[], None] | None = None
) -> int:
    """Waits until nobody else has locked a file, and locks it.

    Args:
        path: The file; made when it does not exist.
        mode: Its mode if it is made.
        waiting: Called before it has to wait.
        prepare: Called before each attempt to open the file, such as to make its folder.

    Returns:
        A descriptor that holds the lock; give it back with `syscalls.unlock`, then close it.

    Raises:
        OSError: The file cannot be opened or locked.
    """
    while True:
        if prepare is not None:
            prepare()
        lock = _open(path, mode)
        try:
            give_file(lock, path.parent)
            try:
                syscalls.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                syscalls.flock(lock, fcntl.LOCK_EX)
            if is_in_place(lock, path):
                return lock
        except BaseException:
            with contextlib.suppress(OSError):
                syscalls.close(lock)
            raise
        syscalls.close(lock)


def _open(path: Path, mode: int) -> int:
    flags = os.O_CREAT | os.O_NOFOLLOW
    try:
        # On NFS only what is open for writing can be locked for oneself (flock(2)).
        return syscalls.open_file(path, os.O_RDWR | flags, mode)
    except PermissionError:
        return syscalls.open_file(path, os.O_RDONLY | flags, mode)


def is_in_place(lock: int, path: Path) -> bool:
    """Tells whether a locked file still has its name.

    Args:
        lock: The descriptor.
        path: The name.

    Raises:
        OSError: It cannot be looked at.
    """
    held = syscalls.fstat(lock)
    try:
        found = syscalls.lstat(path)
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)
