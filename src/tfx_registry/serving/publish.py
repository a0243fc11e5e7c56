"""Publishes a version into a serving base directory: all of it, or nothing.

The copy is made in `<base>/.tfx_registry/staging/<unique>`, which no server looks at. It is hashed
while it is copied, made durable, compared with the registered digest, and only then renamed to
`<base>/<number>`. A crash leaves a staging directory behind, never half a version; the next
publish removes it. Publishers of one directory take turns by a lock that the operating system
gives back when its holder dies.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tfx_registry.digest import (
    IGNORED_AT_TOP,
    DirectoryDigest,
    FileDigest,
    combine,
    digest_path,
    walk_files,
)
from tfx_registry.errors import (
    IntegrityError,
    InvalidModelError,
    RefusedError,
    ServingDirectoryError,
)
from tfx_registry.saved_model import SAVED_MODEL_FILE, SERVE_TAG, read_metagraph
from tfx_registry.serving.atomic import fsync_directory, rename_no_replace
from tfx_registry.serving.layout import (
    STATE_DIRECTORY,
    base_directory,
    list_version_directories,
)

__all__ = ["Published", "ServingDirectory", "check_servable"]

_logger = logging.getLogger(__name__)

_STAGING = "staging"
_BLOCK = 1 << 20
_DIRECTORY_MODE = 0o755  # the server usually runs as another user
_FILE_MODE = 0o644

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Published:
    """Where a version lies.

    Attributes:
        path: The directory that a server loads.
        already_there: Whether the same bytes lay there before, so that nothing was copied.
    """

    path: Path
    already_there: bool


def check_servable(source: str | os.PathLike[str]) -> None:
    """Checks that a directory is a SavedModel for serving, with an index for its variables.

    Without the index TensorFlow Serving would load the model with uninitialised variables.

    Args:
        source: The directory.

    Raises:
        InvalidModelError: It is not there, is no SavedModel, has no graph with the tag "serve", or
            lacks the index of its variables.
    """
    path = Path(source)
    if not path.is_dir():
        raise InvalidModelError(
            f"cannot publish {str(path)!r}",
            "the directory is not there (any more)",
            "bring the registered bytes back to this place",
        )
    if not (path / SAVED_MODEL_FILE).is_file():
        raise InvalidModelError(
            f"cannot publish {str(path)!r}",
            f"it is not a SavedModel: there is no {SAVED_MODEL_FILE}",
            "export the model as a SavedModel and register that",
        )
    tags, _, _ = read_metagraph(path)
    if SERVE_TAG not in tags:
        raise InvalidModelError(
            f"cannot publish {str(path)!r}",
            f"its graph has the tags {list(tags)}, and a server loads the one tagged 'serve'",
            "export the model for serving",
        )
    variables = path / "variables"
    if list(variables.glob("variables.data-*")) and not (variables / "variables.index").is_file():
        raise InvalidModelError(
            f"cannot publish {str(path)!r}",
            "variables/variables.index is missing, so a server would load it uninitialised",
            "export the model again",
        )


class ServingDirectory:
    """A serving base directory, held by this publisher until `lock` ends.

    Attributes:
        base: The absolute path.
    """

    def __init__(self, base: Path) -> None:
        """Use `lock`."""
        self.base = base

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
        try:
            state = folder / STATE_DIRECTORY
            _make_directories(state)
            lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _failed(folder, error) from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _logger.info("waiting for another publisher of %s", folder)
                fcntl.flock(lock, fcntl.LOCK_EX)
            # The lock is ours, so whatever lies there belonged to a publisher that died.
            shutil.rmtree(state / _STAGING, ignore_errors=True)
            yield cls(folder)
        finally:
            os.close(lock)

    @property
    def _owner_file(self) -> Path:
        return self.base / STATE_DIRECTORY / "model"

    def _check_owner(self, owner: str) -> None:
        known = (
            self._owner_file.read_text(encoding="utf-8").strip()
            if self._owner_file.exists()
            else ""
        )
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
            before_visible: Called once the copy is complete, durable and verified, just before
                it becomes visible. If it raises, nothing becomes visible.
            progress: Called with the number of bytes copied since the last call.
            beside_newer: Whether newer versions may lie there: a rollback puts them away once the
                older one is there.

        Returns:
            Where the version lies. Publishing the same version again finds it there.

        Raises:
            ServingDirectoryError: The directory cannot be written, or its disk is full.
            InvalidModelError: The source is missing or no SavedModel.
            IntegrityError: The source, or a version that is already there, has other bytes.
            RefusedError: The directory is for another model; a newer version lies in it, so that a
                server would not load this one; or the same number lies there under another name.
        """
        root = Path(source)
        target = self.base / str(number)
        self._check_owner(owner)
        _check_neighbours(self.base, number, beside_newer=beside_newer)
        if os.path.lexists(target):
            _check_same(target, digest, manifest)
            # Whoever renamed it may have died before the rename was durable.
            fsync_directory(self.base)
            return Published(target, already_there=True)
        check_servable(root)
        if self.base.is_relative_to(root.resolve()):
            raise InvalidModelError(
                f"cannot publish {str(root)!r}",
                f"the serving directory {str(self.base)!r} lies inside it",
                "publish into a directory outside of the model",
            )
        staging = self.base / STATE_DIRECTORY / _STAGING
        try:
            staging.mkdir()
            _check_space(root, self.base)
            copy = staging / f"{number}.{uuid.uuid4().hex}.tmp"
            copied = _copy(root, copy, progress)
            _compare(copied, digest, manifest, f"the model at {str(root)!r}")
            if before_visible is not None:
                before_visible()
            self._owner_file.write_text(owner + "\n", encoding="utf-8")
            rename_no_replace(copy, target)
            fsync_directory(self.base)
        except OSError as error:
            raise _failed(self.base, error) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        _logger.info("published %s", target)
        return Published(target, already_there=False)


def _copy(source: Path, staging: Path, progress: Progress | None) -> DirectoryDigest:
    """Copies a tree, hashing what is read, and makes the copy durable."""
    staging.mkdir(mode=_DIRECTORY_MODE)
    folders = [staging]
    files = []
    for folder, below, _ in os.walk(source):
        if folder == str(source):
            below[:] = [name for name in below if name not in IGNORED_AT_TOP]
        relative = os.path.relpath(folder, source)
        if relative != ".":
            copy = staging / relative
            copy.mkdir(mode=_DIRECTORY_MODE)
            folders.append(copy)
    for relative, path in walk_files(source):
        files.append(_copy_file(relative, path, staging / relative, progress))
    for folder_path in folders:
        folder_path.chmod(_DIRECTORY_MODE)
    for folder_path in reversed(folders):
        fsync_directory(folder_path)
    return combine(files)


def _copy_file(relative: str, source: Path, target: Path, progress: Progress | None) -> FileDigest:
    sha = hashlib.sha256()
    size = 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with (
        source.open("rb", buffering=0) as reader,
        os.fdopen(os.open(target, flags, _FILE_MODE), "wb", buffering=0) as writer,
    ):
        while block := reader.read(_BLOCK):
            sha.update(block)
            view = memoryview(block)
            while view:
                view = view[writer.write(view) :]
            size += len(block)
            if progress is not None:
                progress(len(block))
        os.fchmod(writer.fileno(), _FILE_MODE)
        os.fsync(writer.fileno())
    return FileDigest(relative, size, sha.hexdigest())


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


def _make_directories(path: Path) -> None:
    """Makes directories that a server of another user can read, whatever the umask is."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(_DIRECTORY_MODE)


def _check_space(source: Path, base: Path) -> None:
    needed = sum(path.stat().st_size for _, path in walk_files(source))
    free = shutil.disk_usage(base).free
    if needed > free:
        raise ServingDirectoryError(
            f"cannot publish into {str(base)!r}",
            f"the model needs {needed} bytes and {free} are free",
            "make room and repeat",
        )


def _failed(base: Path, error: OSError) -> ServingDirectoryError:
    return ServingDirectoryError(
        f"cannot publish into {str(base)!r}",
        f"{error.strerror or error} ({error.filename or base})",
        "correct it and repeat; no version was added",
    )
