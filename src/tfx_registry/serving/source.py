"""What is to be published: one look at the model directory, which refuses what must not be copied.

A published version holds its own bytes, and nothing that its author could not have read. So there
are no symbolic links, no devices, pipes or sockets, and no hard links that lead out of it (see
`links`).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from tfx_registry import syscalls
from tfx_registry.digest import IGNORED_AT_TOP
from tfx_registry.errors import InvalidModelError
from tfx_registry.serving.links import Links

__all__ = ["SourceFile", "SourceTree", "scan_source", "unreadable"]

# A server opens files by their whole path (linux/limits.h, PATH_MAX, with the final NUL).
_PATH_BYTES = 4096
_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


@dataclass(frozen=True)
class SourceFile:
    """A file that is to be copied.

    Attributes:
        path: POSIX path relative to the model directory.
        size_bytes: Its length when it was looked at.
    """

    path: str
    size_bytes: int


@dataclass(frozen=True)
class SourceTree:
    """A model directory that may be copied.

    Attributes:
        root: The directory.
        folders: The directories below it, relative, each after the one that it lies in.
        files: The files below it.
    """

    root: Path
    folders: tuple[str, ...]
    files: tuple[SourceFile, ...]

    @property
    def size_bytes(self) -> int:
        """Sum of the file sizes."""
        return sum(file.size_bytes for file in self.files)


def scan_source(root: Path, base: Path) -> SourceTree:
    """Looks at each file and directory of a model once.

    Args:
        root: The model directory.
        base: The serving directory, whose file system may have narrower limits on names.

    Returns:
        What is to be copied.

    Raises:
        InvalidModelError: Something in it may not be copied, has too long a name, or is
            unreadable.
        InvalidInputError: The environment says something unknown of hard links.
    """
    longest_name = syscalls.statvfs(base).f_namemax
    room = _PATH_BYTES - 1 - len(os.fsencode(base)) - len("/18446744073709551615/")
    folders: list[str] = []
    files: list[SourceFile] = []
    links = Links()
    try:
        owner = syscalls.lstat(root).st_uid
    except OSError as error:
        raise unreadable(root, error) from error
    stack = [""]
    while stack:
        prefix = stack.pop()
        for name, found in _list(f"{root}/{prefix}"):
            if not prefix and name in IGNORED_AT_TOP:
                continue
            path = prefix + name
            _check_name(root, path, name, longest_name, room)
            if stat.S_ISDIR(found.st_mode):
                folders.append(path)
                stack.append(path + "/")
                continue
            if not stat.S_ISREG(found.st_mode):
                raise _special(root, path, found.st_mode)
            files.append(SourceFile(path, found.st_size))
            links.add(path, found)
    links.check(root, owner)
    return SourceTree(root, tuple(folders), tuple(files))


def unreadable(path: str | Path, error: OSError) -> InvalidModelError:
    """Makes the error for a part of the model that cannot be read.

    Args:
        path: What could not be read.
        error: What the system said.

    Returns:
        The error.
    """
    return InvalidModelError(
        f"cannot read {str(path)!r}",
        error.strerror or str(error),
        "check that the user who publishes may read it, then repeat; no version was added",
    )


def _list(folder: str) -> list[tuple[str, os.stat_result]]:
    path = folder
    try:
        found = []
        for name in syscalls.list_directory(folder):
            path = folder + name
            found.append((name, syscalls.lstat(path)))
    except OSError as error:
        raise unreadable(path, error) from error
    return found


def _check_name(root: Path, path: str, name: str, longest: int, room: int) -> None:
    """Refuses what could not be written, or not be opened, where it is published."""
    length, limit, what = len(os.fsencode(name)), longest, "name"
    if length <= limit:
        length, limit, what = len(os.fsencode(path)), room, "path"
    if length > limit:
        short = path if len(path) <= 100 else f"{path[:60]}...{path[-30:]}"
        raise InvalidModelError(
            f"cannot publish {str(root)!r}",
            f"the {what} of {short!r} in it has {length} bytes, and where it is published it may "
            f"have {limit}",
            "export the model with shorter names, or publish nearer to the root",
        )


def _special(root: Path, path: str, mode: int) -> InvalidModelError:
    kind = next((text for test, text in _KINDS if test(mode)), "no regular file")
    return InvalidModelError(
        f"cannot publish {str(root)!r}",
        f"{path!r} in it is {kind}; a version must hold its own bytes",
        "copy the file itself into the model directory",
    )
