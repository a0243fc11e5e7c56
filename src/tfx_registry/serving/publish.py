"""Publishes a version into a serving base directory: all of it, or nothing.

The copy is made in `<base>/.tfx_registry/staging/<unique>`, which no server looks at. It is hashed
while it is copied, made durable, compared with the registered digest, checked for everything that
a server needs, and only then renamed to `<base>/<number>`. A crash leaves a staging directory
behind, never half a version; the next publish removes it. Publishers of one directory take turns
by a lock that the operating system gives back when its holder dies.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tfx_registry import syscalls
from tfx_registry.digest import DirectoryDigest, digest_path
from tfx_registry.errors import (
    IntegrityError,
    InvalidModelError,
    RefusedError,
    ServingDirectoryError,
)
from tfx_registry.serving.atomic import (
    fsync_directory,
    make_directories,
    remove_tree,
    rename_no_replace,
    replace_file,
)
from tfx_registry.serving.completeness import check_servable
from tfx_registry.serving.copying import (
    DIRECTORY_MODE,
    Progress,
    can_share_blocks,
    copy_tree,
)
from tfx_registry.serving.holding import is_in_place, take_lock
from tfx_registry.serving.layout import (
    STATE_DIRECTORY,
    base_directory,
    check_writable,
    list_version_directories,
    parse_version_name,
)
from tfx_registry.serving.ownership import make_directory, why_not
from tfx_registry.serving.source import SourceTree, scan_source

__all__ = ["Published", "ServingDirectory", "check_servable"]

_logger = logging.getLogger(__name__)

_STAGING = "staging"
_STAGING_MODE = 0o700  # nobody else has business there
_LOCK = "lock"
_LOCK_MODE = 0o600


@dataclass(frozen=True)
class Published:
    """Where a version lies.

    Attributes:
        path: The directory that a server loads.
        already_there: Whether the same bytes lay there before, so that nothing was copied.
    """

    path: Path
    already_there: bool


def _check_place(folder: Path) -> None:
    """Refuses a version in the place of the directory that it lies in."""
    if parse_version_name(folder.name) is not None and (folder.parent / STATE_DIRECTORY).is_dir():
        raise ServingDirectoryError(
            f"cannot publish into {str(folder)!r}",
            "it is a version in a serving directory, not one itself",
            f"give {str(folder.parent)!r}",
        )


def _check_no_link(folder: Path, path: Path) -> None:
    """Refuses a link where versions are put away: it would lead out of the directory."""
    try:
        mode = syscalls.lstat(path).st_mode
    except FileNotFoundError:
        return  # somebody's temporary file
    if stat.S_ISLNK(mode):
        raise ServingDirectoryError(
            f"cannot work in {str(folder)!r}",
            f"{str(path)!r} is a symbolic link, which could lead anywhere",
            "find out who made it, and remove it",
        )


class ServingDirectory:
    """A serving base directory, held by this publisher until `lock` ends.

    Attributes:
        base: The absolute path.
    """

    def __init__(self, base: Path, lock: int) -> None:
        """Use `lock`."""
        self.base = base
        self._lock = lock

    @classmethod
    @contextmanager
    def lock(cls, base: str | os.PathLike[str]) -> Iterator[ServingDirectory]:
        """Waits until no other publisher works on a directory, and holds it.

        Args:
            base: The serving base directory; made when it does not exist.

        Yields:
            The directory.

        Raises:
            ServingDirectoryError: It is a file or not writable.
        """
        folder = base_directory(base)
        _check_place(folder)
        check_writable(folder)
        state = folder / STATE_DIRECTORY

        def prepare() -> None:
            make_directories(state, DIRECTORY_MODE)
            _check_no_link(folder, state)

        def waiting() -> None:
            _logger.warning("waiting until another process is done with %s", folder)

        with _explained(folder):
            lock = take_lock(state / _LOCK, _LOCK_MODE, waiting=waiting, prepare=prepare)
        process = os.getpid()
        try:
            with _explained(folder):
                for name in syscalls.list_directory(state):
                    _check_no_link(folder, state / name)
            # The lock is ours, so whatever lies there belonged to a publisher that died.
            remove_tree(state / _STAGING)
            yield cls(folder, lock)
        finally:
            with contextlib.suppress(OSError):
                syscalls.unlock(lock, process)
            with contextlib.suppress(OSError):
                syscalls.close(lock)

    def _is_held(self) -> bool:
        """Tells whether nobody has put another lock in the place of this one."""
        try:
            return is_in_place(self._lock, self.base / STATE_DIRECTORY / _LOCK)
        except OSError:
            return False

    def _check_held(self) -> None:
        if not self._is_held():
            raise ServingDirectoryError(
                f"cannot publish into {str(self.base)!r}",
                f"{str(self.base / STATE_DIRECTORY)!r} was removed or moved while this worked, so "
                "somebody else may be at work there, too",
                "leave it where it is and repeat; no version was added",
            )

    @property
    def _owner_file(self) -> Path:
        return self.base / STATE_DIRECTORY / "model"

    def _owner(self) -> str:
        try:
            return syscalls.read_file(self._owner_file).decode("utf-8", "replace").strip()
        except FileNotFoundError:
            return ""

    def _check_owner(self, owner: str) -> None:
        known = self._owner()
        if known and known != owner:
            raise RefusedError(
                f"cannot publish {owner!r} into {str(self.base)!r}",
                f"the directory is for the model {known!r}, and a server takes all versions in it "
                "for one model",
                "give each model a serving directory of its own",
            )

    def publish(
        self,
        source: str | os.PathLike[str],
        number: int,
        *,
        owner: str,
        digest: str,
        manifest: str,
        check: Callable[[Path], None] | None = None,
        before_visible: Callable[[], None] | None = None,
        progress: Progress | None = None,
        beside_newer: bool = False,
    ) -> Published:
        """Publishes a SavedModel as `<base>/<number>`.

        Args:
            source: The SavedModel directory.
            number: Number of the version.
            owner: The model that this directory is for; the first publish fixes it.
            digest: OMS root digest that the bytes must have.
            manifest: Manifest digest that the bytes and names must have.
            check: Called with the copy, once it is complete, durable and verified. If it raises,
                nothing becomes visible. It must not write into the copy.
            before_visible: Called after that, just before the copy becomes visible. If it raises,
                nothing becomes visible.
            progress: Called with the number of bytes copied since the last call, by several
                threads, but only one at a time.
            beside_newer: Whether newer versions may lie in the directory. A server that loads the
                latest goes on serving those.

        Returns:
            Where the version lies. Publishing the same version again finds it there.

        Raises:
            ServingDirectoryError: The directory cannot be written, or its disk is full.
            InvalidModelError: The source is missing, unreadable, no SavedModel, holds what may not
                be published, or lacks what a server needs.
            IntegrityError: The source, or a version that is already there, has other bytes.
            RefusedError: The directory is for another model; a newer version lies in it, so that a
                server would not load this one; or the same number lies there under another name.
        """
        target = self.base / str(number)
        with _explained(self.base):
            self._check_owner(owner)
            _check_neighbours(self.base, number, beside_newer=beside_newer)
            if os.path.lexists(target):
                _check_same(target, digest, manifest)
                # Whoever renamed it may have died before the rename was durable.
                fsync_directory(self.base)
                return Published(target, already_there=True)
        tree = self._look_at(Path(source))
        staging = self.base / STATE_DIRECTORY / _STAGING
        copy = staging / f"{number}.{uuid.uuid4().hex}.tmp"
        try:
            with _explained(self.base):
                copied = _stage(tree, staging, copy, progress)
            _compare(copied, digest, manifest, f"the model at {str(tree.root)!r}")
            check_servable(copy, shown_as=tree.root)
            if check is not None:
                check(copy)
            if before_visible is not None:
                before_visible()
            with _explained(self.base):
                if self._owner() != owner:
                    replace_file(self._owner_file, f"{owner}\n".encode(), staging=staging)
                self._check_held()
                rename_no_replace(copy, target)
                _finish_rename(copy, target)
        finally:
            remove_tree(staging if self._is_held() else copy)
        _logger.info("published %s", target)
        return Published(target, already_there=False)

    def _look_at(self, source: Path) -> SourceTree:
        """Looks at what is to be copied, and refuses what cannot be published."""
        check_servable(source)
        root = source.resolve()
        if self.base.is_relative_to(root):
            raise InvalidModelError(
                f"cannot publish {str(source)!r}",
                f"the serving directory {str(self.base)!r} lies inside it",
                "publish into a directory outside of the model",
            )
        with _explained(self.base):
            return scan_source(root, self.base)


def _stage(
    tree: SourceTree, staging: Path, copy: Path, progress: Progress | None
) -> DirectoryDigest:
    """Makes a durable copy where no server looks."""
    with contextlib.suppress(FileExistsError):  # what could not be removed before
        make_directory(staging, _STAGING_MODE)
    share_blocks = can_share_blocks(tree, staging)
    if not share_blocks:
        _check_space(tree, staging)
    return copy_tree(tree, copy, share_blocks=share_blocks, progress=progress)


def _finish_rename(copy: Path, target: Path) -> None:
    """Makes the rename durable, or takes it back: an error means that nothing was added."""
    try:
        fsync_directory(target.parent)
    except BaseException:
        # A server may have seen it for a moment: whole, verified and allowed.
        rename_no_replace(target, copy)
        raise


def _check_same(target: Path, digest: str, manifest: str) -> None:
    try:
        if target.is_symlink():
            raise InvalidModelError("", "it is a symbolic link, and what it points at may change")
        there = digest_path(target)
    except InvalidModelError as error:
        raise IntegrityError(
            f"cannot publish as {str(target)!r}",
            f"something else is there already ({error.why})",
            "find out who made it; move it away before you repeat",
        ) from error
    _compare(there, digest, manifest, f"the version that already lies at {str(target)!r}")


def _compare(found: DirectoryDigest, digest: str, manifest: str, what: str) -> None:
    if (found.root, found.manifest) == (digest, manifest):
        return
    raise IntegrityError(
        f"cannot publish: {what} has other bytes than the registered version",
        f"its digest is {found.root[:16]}, registered is {digest[:16]}"
        if found.root != digest
        else "files were renamed",
        "find out who changed it, and register the new bytes as a version of their own",
    )


def _check_neighbours(base: Path, number: int, *, beside_newer: bool) -> None:
    present = list_version_directories(base)
    newest = max(present, default=number)
    if newest > number and not beside_newer:
        raise RefusedError(
            f"cannot publish version {number} into {str(base)!r}",
            f"the newer version {newest} lies there, and a server that loads the latest version "
            "goes on serving it",
            "publish a newer version, or put the newer ones away with 'tfx-registry rollback'",
        )
    others = [name for name in present.get(number, []) if name != str(number)]
    if others:
        raise RefusedError(
            f"cannot publish version {number} into {str(base)!r}",
            f"{others[0]!r} lies there, which a server takes for the same version",
            "move it to a name that is no number",
        )


def _check_space(tree: SourceTree, folder: Path) -> None:
    """Refuses what would not fit: each file takes whole blocks, and an inode."""
    found = syscalls.statvfs(folder)
    block = found.f_frsize or found.f_bsize
    nodes = len(tree.files) + len(tree.folders) + 1
    blocks = sum(-(-file.size_bytes // block) for file in tree.files) + len(tree.folders) + 1
    if blocks > found.f_bavail:
        needed, free, what = blocks * block, found.f_bavail * block, "bytes"
    elif found.f_files and nodes > found.f_favail:  # some file systems do not count inodes
        needed, free, what = nodes, found.f_favail, "inodes"
    else:
        return
    raise ServingDirectoryError(
        f"cannot publish {str(tree.root)!r}",
        f"it needs {needed} {what}, and {free} are free in the file system of {str(folder)!r}",
        "make room and repeat; no version was added",
    )


@contextmanager
def _explained(base: Path) -> Iterator[None]:
    """Turns what the system says about the serving directory into an error of ours."""
    try:
        yield
    except OSError as error:
        raise ServingDirectoryError(
            f"cannot publish into {str(base)!r}",
            f"{error.strerror or error} ({error.filename or base}){why_not(error)}",
            "correct it and repeat; no version was added",
        ) from error
