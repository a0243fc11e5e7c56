"""A second name for the files of a model: it takes no room where the file system allows that.

In order: shared blocks (a reflink; each side may be written without the other noticing), a hard
link (both are one file, which says so: see `links`), a copy. Never with what a server loads: what
is linked is the model that was published, where it lay before. Whoever writes into one damages the
other, and the next promotion of it is refused for its digest; what serves has its own bytes
(docs/design/0005).
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tfx_registry import syscalls
from tfx_registry.serving.atomic import remove_tree
from tfx_registry.serving.links import mark_links
from tfx_registry.serving.source import SourceTree, scan_source

__all__ = ["share_tree"]

# Not these two places, not this kind of file system, too many links, not for this user.
_CANNOT_LINK = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}
)


def share_tree(source: Path, target: Path) -> str:
    """Makes a directory that holds the same files as another.

    Args:
        source: A model directory that nobody will write into.
        target: The directory that is made; what lies there is replaced.

    Returns:
        How: "reflink", "hard link" or "copy".

    Raises:
        InvalidModelError: The source cannot be read, or holds what may not be copied.
        OSError: The target cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    tree = scan_source(source.resolve(), target.parent)
    remove_tree(target)
    if _make(tree, target, _clone):
        return "reflink"
    remove_tree(target)
    with _alone(tree.root) as alone:
        if alone and _marked(tree, target) and _make(tree, target, _link):
            return "hard link"
    remove_tree(target)
    _make(tree, target, _copy)
    return "copy"


@contextmanager
def _alone(root: Path) -> Iterator[bool]:
    """Waits until nobody else makes links to a model; two at once would count them wrong.

    Yields:
        False where the file system has no locks for directories.
    """
    descriptor = syscalls.open_file(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            syscalls.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            yield False
        else:
            yield True
    finally:
        syscalls.close(descriptor)


def _marked(tree: SourceTree, target: Path) -> bool:
    """Lets files say that they get one more name, where they can have one there at all."""
    one_place = syscalls.lstat(tree.root).st_dev == syscalls.lstat(target.parent).st_dev
    return one_place and mark_links(tree.root, (file.path for file in tree.files))


def _make(tree: SourceTree, target: Path, way: Callable[[Path, Path], bool]) -> bool:
    """Makes each file in one way; False as soon as that is not possible."""
    target.mkdir()
    for folder in tree.folders:
        (target / folder).mkdir()
    return all(way(tree.root / file.path, target / file.path) for file in tree.files)


def _clone(source: Path, target: Path) -> bool:
    with source.open("rb") as reader, target.open("xb") as writer:
        return syscalls.clone(reader.fileno(), writer.fileno())


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno in _CANNOT_LINK:
            return False
        raise
    return True


def _copy(source: Path, target: Path) -> bool:
    shutil.copyfile(source, target, follow_symlinks=False)
    return True
