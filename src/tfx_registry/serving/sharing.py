"""A second name for the files of a model: it takes no room where the file system allows that.

In order: shared blocks (a reflink; each side may be written without the other noticing), a hard
link (both are one file), a copy. Never with what a server loads: what is linked is the model that
was published, where it lay before. Whoever writes into one damages the other, and the next
promotion of it is refused for its digest; what serves has its own bytes (docs/design/0005).
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tfx_registry import syscalls
from tfx_registry.serving.atomic import remove_tree
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
    ways = {"reflink": _clone, "hard link": _link, "copy": _copy}
    for name, way in ways.items():
        remove_tree(target)
        if _make(tree, target, way):
            return name
    raise OSError(errno.EIO, "cannot share or copy", str(target))


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
