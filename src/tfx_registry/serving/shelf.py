"""Puts versions away from a server, brings them back, and removes them.

Everything is done by renaming inside one file system, so it takes no time whatever the size, and a
crash leaves each version in one place or the other. All places lie in `<base>/.tfx_registry`,
where no server looks:

    withdrawn/<name>      put away by a rollback; may come back
    quarantine/<name>     bytes that were not those registered; kept for whoever wants to know why
    trash/<from>~<name>~  being removed; what a crash leaves here is put back or removed

A second copy under the same name gets `~2`, `~3`, ... appended.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tfx_registry.errors import ServingDirectoryError
from tfx_registry.serving.atomic import exchange as _exchange
from tfx_registry.serving.atomic import fsync_directory, rename_no_replace
from tfx_registry.serving.layout import STATE_DIRECTORY, parse_version_name
from tfx_registry.serving.ownership import make_directory, why_not

__all__ = ["Shelf", "Trashed"]

_WITHDRAWN = "withdrawn"
_QUARANTINE = "quarantine"
_TRASH = "trash"
_OWNER = "model"
_MARK = "~"
_DIRECTORY_MODE = 0o755


@dataclass(frozen=True)
class Trashed:
    """A version on its way out.

    Attributes:
        path: Where it lies in the trash.
        name: The name that it had.
        visible: Whether a server saw it before; otherwise it had been withdrawn.
    """

    path: Path
    name: str
    visible: bool

    @property
    def number(self) -> int | None:
        """The version that the name means, or None."""
        return parse_version_name(self.name)


class Shelf:
    """The places beside the versions of one serving directory; hold its lock to change them.

    Attributes:
        base: The serving base directory.
    """

    def __init__(self, base: Path) -> None:
        """Looks at nothing yet."""
        self.base = base

    def withdrawn(self) -> dict[int, list[Path]]:
        """Returns what was put away, by version number, ascending."""
        found: dict[int, list[Path]] = {}
        for path in _children(self._folder(_WITHDRAWN)):
            number = parse_version_name(path.name.partition(_MARK)[0])
            if number is not None:
                found.setdefault(number, []).append(path)
        return dict(sorted(found.items()))

    def quarantined(self) -> list[Path]:
        """Returns what is in quarantine."""
        return _children(self._folder(_QUARANTINE))

    def trashed(self) -> list[Trashed]:
        """Returns what a crash left on its way out."""
        found = []
        for path in _children(self._folder(_TRASH)):
            origin, _, rest = path.name.partition(_MARK)
            if origin not in ("visible", _WITHDRAWN):
                continue  # not ours
            found.append(Trashed(path, rest.rpartition(_MARK)[0], origin == "visible"))
        return found

    def withdraw(self, name: str) -> Path:
        """Puts a version away.

        Args:
            name: Its name in the base directory.

        Returns:
            Where it lies now.

        Raises:
            ServingDirectoryError: It cannot be renamed.
        """
        return self._move(self.base / name, _WITHDRAWN, name)

    def quarantine(self, path: Path) -> Path:
        """Puts a directory away for good.

        Args:
            path: The directory, anywhere in the base directory.

        Returns:
            Where it lies now.

        Raises:
            ServingDirectoryError: It cannot be renamed.
        """
        return self._move(path, _QUARANTINE, path.name.partition(_MARK)[0])

    def restore(self, path: Path, name: str) -> Path:
        """Makes a version visible again.

        Args:
            path: Where it lies.
            name: The name that it gets in the base directory; nothing may have it.

        Returns:
            Where it lies now.

        Raises:
            ServingDirectoryError: It cannot be renamed.
        """
        target = self.base / name
        with _explained(self.base):
            rename_no_replace(path, target)
            fsync_directory(self.base)
            fsync_directory(path.parent)
        return target

    def put_back(self, trashed: Trashed) -> Path:
        """Puts what was on its way out where it was.

        Args:
            trashed: What.

        Returns:
            Where it lies now.

        Raises:
            ServingDirectoryError: It cannot be renamed.
        """
        if trashed.visible and not os.path.lexists(self.base / trashed.name):
            return self.restore(trashed.path, trashed.name)
        return self._move(trashed.path, _WITHDRAWN, trashed.name)

    def trash(self, path: Path) -> Trashed:
        """Puts a version on its way out; `empty` removes it.

        Args:
            path: The version: visible, or withdrawn.

        Returns:
            What `empty` and `put_back` take.

        Raises:
            ServingDirectoryError: It cannot be renamed.
        """
        visible = path.parent == self.base
        name = path.name if visible else path.name.partition(_MARK)[0]
        folder = self._folder(_TRASH)
        origin = "visible" if visible else _WITHDRAWN
        target = folder / f"{origin}{_MARK}{name}{_MARK}{uuid.uuid4().hex}"
        with _explained(self.base):
            _make(folder)
            rename_no_replace(path, target)
            fsync_directory(folder)
            fsync_directory(path.parent)
        return Trashed(target, name, visible)

    def empty(self, trashed: Trashed) -> None:
        """Removes what is on its way out.

        Raises:
            ServingDirectoryError: Not all of it can be removed; repeating goes on.
        """
        with _explained(self.base):
            shutil.rmtree(trashed.path)

    def replace(self, path: Path, name: str) -> Path:
        """Puts another directory in the place of a visible one; a server never sees neither.

        Args:
            path: The directory that becomes visible, in the same file system.
            name: Name of the visible one.

        Returns:
            Where the directory that was visible lies now, in quarantine.

        Raises:
            ServingDirectoryError: They cannot be exchanged.
        """
        target = self.base / name
        with _explained(self.base):
            if _exchange(path, target):
                fsync_directory(self.base)
                fsync_directory(path.parent)
                return self._move(path, _QUARANTINE, name)
        # The file system cannot exchange: for an instant neither is there.
        old = self.quarantine(target)
        self.restore(path, name)
        return old

    def owner(self) -> str:
        """Returns the key of the model that the directory is for, or "" if none is known."""
        try:
            return self._folder(_OWNER).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def claim(self, owner: str) -> None:
        """Says for which model the directory is.

        Raises:
            ServingDirectoryError: It cannot be written.
        """
        path = self._folder(_OWNER)
        with _explained(self.base):
            unfinished = path.with_name(f"{_OWNER}.{uuid.uuid4().hex}")
            unfinished.write_text(owner + "\n", encoding="utf-8")
            unfinished.replace(path)

    def _folder(self, name: str) -> Path:
        return self.base / STATE_DIRECTORY / name

    def _move(self, path: Path, place: str, name: str) -> Path:
        folder = self._folder(place)
        with _explained(self.base):
            _make(folder)
            target, copy = folder / name, 1
            while os.path.lexists(target):
                copy += 1
                target = folder / f"{name}{_MARK}{copy}"
            rename_no_replace(path, target)
            # Whoever looks after a power cut finds it in one place at least.
            fsync_directory(folder)
            fsync_directory(path.parent)
        return target


def _make(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        make_directory(folder, _DIRECTORY_MODE)


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextmanager
def _explained(base: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ServingDirectoryError(
            f"cannot change {str(base)!r}",
            f"{error.strerror or error} ({error.filename or base}){why_not(error)}",
            "correct it, then run 'tfx-registry reconcile'",
        ) from error
