"""Copies a model: read once, hashed while it is copied, durable when it is done.

What is hashed are the bytes that are written, not those that lie at the source a moment before or
after. Several threads copy files at the same time; a file that is larger than all others together
is hashed by a thread of its own behind the one that copies it. Where the file system can share
blocks (btrfs, XFS: FICLONE), nothing is written at all, and the shared copy is hashed.
`copy_file_range` is not used: the bytes have to come to the processor for the hash anyway, and
writing them from there costs less than having the kernel read them again (docs/design/0005).

Durable means that a power failure later on finds all bytes. On file systems known to report errors
of it, one `syncfs` ends the copy: a commit of the journal for all files instead of one each. On
others each file and directory is synced by itself. In both cases writing to the disk begins while
the copy still goes on.
"""

from __future__ import annotations

import hashlib
import os
import platform
import queue
import stat
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tfx_registry import syscalls
from tfx_registry.digest import (
    BLOCK,
    DirectoryDigest,
    FileDigest,
    block_buffer,
    combine,
    hash_descriptor,
)
from tfx_registry.parallel import for_each, worker_count
from tfx_registry.serving.ownership import make_directory
from tfx_registry.serving.source import SourceFile, SourceTree, unreadable

__all__ = ["DIRECTORY_MODE", "FILE_MODE", "Progress", "can_share_blocks", "copy_tree"]

Progress = Callable[[int], None]

DIRECTORY_MODE = 0o755  # the server usually runs as another user
FILE_MODE = 0o644

# Larger writes let the page cache look for larger runs of free pages, which can take several times
# as long as the copy itself.
_WRITE_BYTES = 64 << 10
_FIRST_WRITEBACK_BYTES = 4 << 20
_WRITEBACK_BYTES = 64 << 20
_HASHED_BEHIND_BYTES = 32 << 20
_BLOCKS_BEHIND = 8

# linux/magic.h: ext2, ext3 and ext4 have one number; XFS; btrfs.
_SYNCFS_TYPES = frozenset({0xEF53, 0x58465342, 0x9123683E})
_SYNCFS_REPORTS_ERRORS = (5, 8)  # syncfs(2): the release from which it does


def can_share_blocks(tree: SourceTree, folder: Path) -> bool:
    """Tries whether files of a model can share their blocks with copies (a reflink).

    Args:
        tree: The model.
        folder: Where it is to be copied; a file is made and removed there.

    Returns:
        Whether they can.

    Raises:
        InvalidModelError: A file of the model cannot be read.
        OSError: The folder cannot be written.
    """
    trial = f"{folder}/{uuid.uuid4().hex}.tmp"
    for file in tree.files[:1]:
        with _opened_source(f"{tree.root}/{file.path}") as source, _created(trial) as target:
            can = syscalls.clone(source, target)
        syscalls.unlink(trial)
        return can
    return False


def copy_tree(
    tree: SourceTree,
    target: Path,
    *,
    share_blocks: bool = False,
    progress: Progress | None = None,
    workers: int | None = None,
) -> DirectoryDigest:
    """Copies a model into a new directory and makes the copy durable.

    Args:
        tree: The model.
        target: The directory that is made; its entry in the parent is not made durable.
        share_blocks: Whether to share blocks instead of copying bytes (see `can_share_blocks`).
        progress: Called with the number of bytes copied since the last call, by one thread at a
            time.
        workers: How many threads copy; None means what this machine has use for.

    Returns:
        The digest of the bytes that were written.

    Raises:
        InvalidModelError: A file of the model cannot be read.
        OSError: The copy cannot be written.
    """
    make_directory(target, DIRECTORY_MODE)
    # Opened before anything is written: it hears of all errors from here on.
    top = syscalls.open_file(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        copier = _Copier(tree, target, top, share_blocks=share_blocks, progress=progress)
        for folder in tree.folders:
            make_directory(target / folder, DIRECTORY_MODE)
        # Large files first, so that no thread is left alone with one at the end.
        files = sorted(tree.files, key=lambda file: -file.size_bytes)
        digests = for_each(copier.copy, files, worker_count() if workers is None else workers)
        copier.sync()
    finally:
        syscalls.close(top)
    return combine(digests)


class _Copier:
    """What the copies of the files of one model have in common."""

    def __init__(
        self,
        tree: SourceTree,
        target: Path,
        top: int,
        *,
        share_blocks: bool,
        progress: Progress | None,
    ) -> None:
        self.tree = tree
        self.target = target
        self.top = top
        self.share_blocks = share_blocks
        self.total = tree.size_bytes
        self.sync_once = _syncfs_can_be_trusted(top)
        self._written = 0  # by all threads, roughly
        self._progress = progress
        self._progress_lock = threading.Lock()

    def report(self, count: int) -> None:
        if self._progress is not None:
            with self._progress_lock:
                self._progress(count)

    def copy(self, file: SourceFile) -> FileDigest:
        # Joined as text: for thousands of small files, making paths is a good part of the time.
        path = f"{self.tree.root}/{file.path}"
        with _opened_source(path) as source, _created(f"{self.target}/{file.path}") as target:
            if self.share_blocks:
                size, sha256 = self._share(source, target, path)
            elif file.size_bytes >= _HASHED_BEHIND_BYTES and 2 * file.size_bytes > self.total:
                with _HashBehind() as behind:
                    size = self._write(source, target, path, behind.next_buffer, behind.update)
                sha256 = behind.hexdigest
            else:
                sha = hashlib.sha256()
                size = self._write(source, target, path, block_buffer, sha.update)
                sha256 = sha.hexdigest()
            syscalls.chmod(target, FILE_MODE)
            if not self.sync_once:
                syscalls.fsync(target)
        return FileDigest(file.path, size, sha256)

    def _write(
        self,
        source: int,
        target: int,
        path: str,
        next_buffer: Callable[[], memoryview],
        update: Callable[[memoryview], None],
    ) -> int:
        size = begun = 0
        step = self._step()
        while True:
            buffer = next_buffer()[:_WRITE_BYTES]
            try:
                count = syscalls.read_into(source, buffer)
            except OSError as error:
                raise unreadable(path, error) from error
            if count == 0:
                break
            block = buffer[:count]
            update(block)
            syscalls.write(target, block)
            size += count
            self._written += count
            self.report(count)
            if size - begun >= step:
                syscalls.start_writeback(target, begun, size - begun)
                begun, step = size, self._step()
        if size > begun:
            syscalls.start_writeback(target, begun, 0)
        return size

    def _step(self) -> int:
        """Says after how many more bytes of a file the disk gets something to do.

        Soon at first, so that it does not stand idle; later seldom, because whoever gives it more
        than it can take has to wait for it.
        """
        return min(_WRITEBACK_BYTES, max(_FIRST_WRITEBACK_BYTES, self._written))

    def _share(self, source: int, target: int, path: str) -> tuple[int, str]:
        if not syscalls.clone(source, target):
            # Not all of a model need lie on one file system.
            sha = hashlib.sha256()
            size = self._write(source, target, path, block_buffer, sha.update)
            return size, sha.hexdigest()
        size, sha256 = hash_descriptor(target)
        self.report(size)
        return size, sha256

    def sync(self) -> None:
        if self.sync_once:
            syscalls.syncfs(self.top)
            return
        for folder in reversed(self.tree.folders):
            descriptor = syscalls.open_file(self.target / folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                syscalls.fsync(descriptor)
            finally:
                syscalls.close(descriptor)
        syscalls.fsync(self.top)


class _HashBehind:
    """Hashes blocks in a thread of its own, in the order in which they come.

    Attributes:
        hexdigest: The SHA-256, once the context has ended.
    """

    def __init__(self) -> None:
        self.hexdigest = ""
        self._sha = hashlib.sha256()
        self._full: queue.SimpleQueue[tuple[memoryview, memoryview] | None] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._buffer = memoryview(b"")
        for _ in range(_BLOCKS_BEHIND):
            self._free.put(memoryview(bytearray(BLOCK)))
        self._thread = threading.Thread(target=self._run, name="tfx-registry-hash", daemon=True)

    def __enter__(self) -> _HashBehind:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._full.put(None)
        self._thread.join()
        self.hexdigest = self._sha.hexdigest()

    def next_buffer(self) -> memoryview:
        self._buffer = self._free.get()
        return self._buffer

    def update(self, block: memoryview) -> None:
        self._full.put((self._buffer, block))

    def _run(self) -> None:
        while (item := self._full.get()) is not None:
            buffer, block = item
            self._sha.update(block)
            self._free.put(buffer)


@contextmanager
def _opened_source(path: str) -> Iterator[int]:
    # It was a regular file a moment ago. If it is none any more, opening it must not wait for
    # somebody at the other end of a pipe.
    try:
        descriptor = syscalls.open_file(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        try:
            regular = stat.S_ISREG(syscalls.fstat(descriptor).st_mode)
        except OSError as error:
            raise unreadable(path, error) from error
        if not regular:
            raise unreadable(path, OSError("it was replaced by something that is no file"))
        yield descriptor
    finally:
        syscalls.close(descriptor)


@contextmanager
def _created(path: str) -> Iterator[int]:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = syscalls.open_file(path, flags, FILE_MODE)
    try:
        yield descriptor
    finally:
        syscalls.close(descriptor)


def _syncfs_can_be_trusted(descriptor: int) -> bool:
    """Tells whether one call makes a copy durable here, and reports what went wrong."""
    if sys.platform != "linux":
        return False
    try:
        release = tuple(int(part) for part in platform.release().split(".")[:2])
    except ValueError:
        return False
    if release < _SYNCFS_REPORTS_ERRORS:
        return False
    return syscalls.file_system_type(descriptor) in _SYNCFS_TYPES
