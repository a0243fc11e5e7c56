r"""Content digest of a model: the OpenSSF Model Signing (OMS v1) root digest.

The root digest is SHA-256 over the concatenated SHA-256 digests of the regular files, ordered by
their relative POSIX path, compared part by part (OMS v1, "Model Manifest"; the reference is the
package `model_signing`, against which a test compares). Like the reference it leaves out `.git`,
`.gitignore`, `.gitattributes` and `.github` at the top, refuses symbolic links and special files,
and does not see empty directories.

OMS hashes contents, not names: renaming a file so that the order stays the same keeps the root
digest. A server loads files by name, so a second digest, over the lines that `sha256sum` would
print, covers the names as well. For ordinary names it can be checked by hand:

    find . -type f -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tfx_registry import syscalls
from tfx_registry.errors import InvalidModelError
from tfx_registry.parallel import for_each, worker_count

__all__ = [
    "BLOCK",
    "IGNORED_AT_TOP",
    "DirectoryDigest",
    "FileDigest",
    "block_buffer",
    "combine",
    "digest_path",
    "hash_descriptor",
    "walk_files",
    "watched",
]

#: Names that OMS leaves out, when they lie directly in the model directory.
IGNORED_AT_TOP = frozenset({".git", ".gitattributes", ".github", ".gitignore"})

#: Read and hashed at a time, in bytes: what fits beside other things into a core's own cache.
BLOCK = 1 << 18

#: Up to so many files of so many bytes together are hashed without starting threads.
_FEW_FILES = 16
_FEW_BYTES = 1 << 20


@dataclass(frozen=True, order=True)
class FileDigest:
    """One regular file of a model.

    Attributes:
        path: POSIX path relative to the model directory; "." when the model is a single file.
        size_bytes: Length of the file.
        sha256: Hexadecimal SHA-256 of its content.
    """

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class DirectoryDigest:
    """What identifies the bytes of a model.

    Attributes:
        root: OMS v1 root digest, 64 hexadecimal digits.
        manifest: SHA-256 over the lines `<sha256>  <path>`, in byte order of the paths.
        files: The files, in OMS order.
    """

    root: str
    manifest: str
    files: tuple[FileDigest, ...]

    @property
    def size_bytes(self) -> int:
        """Sum of the file sizes."""
        return sum(file.size_bytes for file in self.files)


def walk_files(root: Path) -> Iterator[tuple[str, Path]]:
    """Lists the regular files of a model directory that count.

    Args:
        root: The model directory.

    Yields:
        Relative POSIX path and full path of each file, in no particular order.

    Raises:
        InvalidModelError: A symbolic link or a special file lies below, or something is
            unreadable.
    """
    stack: list[tuple[str, Path]] = [("", root)]
    while stack:
        prefix, folder = stack.pop()
        try:
            names = syscalls.list_directory(folder)
            modes = [syscalls.lstat(folder / name).st_mode for name in names]
        except OSError as error:
            raise _unreadable(folder, error) from error
        for name, mode in zip(names, modes, strict=True):
            relative = f"{prefix}{name}"
            if stat.S_ISLNK(mode) or not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                kind = "a symbolic link" if stat.S_ISLNK(mode) else "a special file"
                raise InvalidModelError(
                    f"cannot take the model {str(root)!r}",
                    f"{relative!r} in it is {kind}; a version must hold its own bytes",
                    "copy the file itself into the model directory",
                )
            if not prefix and name in IGNORED_AT_TOP:
                continue
            if stat.S_ISDIR(mode):
                stack.append((f"{relative}/", folder / name))
            else:
                yield relative, folder / name


def digest_path(path: str | os.PathLike[str]) -> DirectoryDigest:
    """Computes the digest of a model directory, or of a model that is a single file.

    Args:
        path: The directory or file.

    Returns:
        The digest.

    Raises:
        InvalidModelError: The path does not exist, holds no file, or holds something that cannot
            be versioned (symbolic links, special files).
    """
    root = Path(path)
    if root.is_symlink():
        root = root.resolve()
    if root.is_file():
        files = [_digest_file((".", root))]
    elif root.is_dir():
        found = list(walk_files(root))
        files = for_each(_digest_file, found, 1 if _is_little(found) else worker_count())
    else:
        raise InvalidModelError(
            f"cannot read the model {str(path)!r}",
            "there is no such file or directory",
            "check the path",
        )
    if not files:
        raise InvalidModelError(
            f"cannot take the model {str(path)!r}",
            "the directory holds no file",
            "check that the trainer has written the model there",
        )
    return combine(files)


def _is_little(files: list[tuple[str, Path]]) -> bool:
    """Tells whether hashing takes less time than starting threads for it."""
    if len(files) > _FEW_FILES:
        return False
    try:
        return sum(syscalls.lstat(path).st_size for _, path in files) <= _FEW_BYTES
    except OSError:
        return False  # named when it is read


def combine(files: list[FileDigest]) -> DirectoryDigest:
    """Combines the digests of files to the digest of their directory.

    Args:
        files: All files of the model, in any order.

    Returns:
        The digest of the directory.
    """
    ordered = sorted(files, key=lambda file: PurePosixPath(file.path).parts)
    root = hashlib.sha256()
    for file in ordered:
        root.update(bytes.fromhex(file.sha256))
    manifest = hashlib.sha256()
    for file in sorted(files, key=lambda file: os.fsencode(file.path)):
        manifest.update(f"{file.sha256}  ".encode() + os.fsencode(file.path) + b"\n")
    return DirectoryDigest(root.hexdigest(), manifest.hexdigest(), tuple(ordered))


def hash_descriptor(descriptor: int) -> tuple[int, str]:
    """Hashes an open file from where it stands to its end.

    Args:
        descriptor: The file.

    Returns:
        The number of bytes, and their SHA-256 in hexadecimal digits.

    Raises:
        OSError: It cannot be read.
    """
    sha = hashlib.sha256()
    buffer = block_buffer()
    size = 0
    while count := syscalls.read_into(descriptor, buffer):
        sha.update(buffer[:count])
        size += count
        for watcher in _watchers:
            watcher(count)
    return size, sha.hexdigest()


_watchers: list[Callable[[int], None]] = []


@contextmanager
def watched(watcher: Callable[[int], None]) -> Iterator[None]:
    """Lets somebody follow what this process hashes.

    Args:
        watcher: Called with the number of bytes hashed since the last call, from any thread.
    """
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def block_buffer() -> memoryview:
    """Returns this thread's own buffer of `BLOCK` bytes."""
    try:
        buffer: memoryview = _local.buffer
    except AttributeError:
        buffer = _local.buffer = memoryview(bytearray(BLOCK))
    return buffer


_local = threading.local()


def _digest_file(file: tuple[str, Path]) -> FileDigest:
    relative, path = file
    try:
        descriptor = syscalls.open_file(path, os.O_RDONLY)
        try:
            size, sha256 = hash_descriptor(descriptor)
        finally:
            syscalls.close(descriptor)
    except OSError as error:
        raise _unreadable(path, error) from error
    return FileDigest(relative, size, sha256)


def _unreadable(path: Path, error: OSError) -> InvalidModelError:
    return InvalidModelError(
        f"cannot read {str(path)!r}", str(error.strerror or error), "check the permissions"
    )
