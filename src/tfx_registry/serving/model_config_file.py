"""A model config file on disk: one promoter at a time, replaced in one step, durable.

People edit the file with editors that know no locks; see `replacing` for how nothing of theirs is
lost.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfx_registry import syscalls
from tfx_registry.errors import InvalidInputError, ServingDirectoryError
from tfx_registry.serving.holding import take_lock
from tfx_registry.serving.model_config import (
    ServedModel,
    parse_model_config,
    put_model,
    remove_model,
)
from tfx_registry.serving.model_config_document import ModelConfigDocument, decode_config
from tfx_registry.serving.ownership import why_not
from tfx_registry.serving.replacing import (
    Overtaken,
    drop_leftovers,
    keep_aside,
    mark,
    overtaken,
    set_aside,
    swap,
)

__all__ = ["ModelConfigFile"]

_logger = logging.getLogger(__name__)

_MODE = 0o644  # the server usually runs as another user


class ModelConfigFile(ModelConfigDocument):
    """A model config file, held by this process until `lock` ends.

    The lock is that of a file beside it, because the file itself is replaced; the operating system
    gives it back when its holder dies.

    Attributes:
        path: The absolute path, without symbolic links.
    """

    def __init__(self, path: Path) -> None:
        """Use `lock`, or `peek` to read only."""
        self.path = path

    @property
    def place(self) -> str:
        """The absolute path."""
        return str(self.path)

    @classmethod
    def resolve(cls, path: str | os.PathLike[str]) -> str:
        """Returns the absolute path of a file, see `resolve_config`."""
        return str(resolve_config(path))

    @classmethod
    @contextmanager
    def lock(cls, path: str | os.PathLike[str]) -> Iterator[ModelConfigFile]:
        """Waits until no other promoter changes the file, and holds it.

        Args:
            path: The file; it need not exist, its folder must.

        Yields:
            The file.

        Raises:
            ServingDirectoryError: It is no file, or its folder is missing or not writable.
        """
        file = cls(resolve_config(path))

        def waiting() -> None:
            _logger.info("waiting for another promoter that changes %s", file.path)

        try:
            lock = take_lock(Path(f"{file.path}.lock"), _MODE, waiting=waiting)
        except OSError as error:
            raise _failed(file.path, error) from error
        process = os.getpid()
        try:
            # The lock is ours, so whatever lies there belonged to a promoter that died.
            file._tidy()
            yield file
        finally:
            with contextlib.suppress(OSError):
                syscalls.unlock(lock, process)
            os.close(lock)

    @classmethod
    def peek(cls, path: str | os.PathLike[str]) -> tuple[ServedModel, ...]:
        """Reads the models of a file without holding it.

        Raises:
            InvalidInputError: It is no list of models.
            ServingDirectoryError: It cannot be read.
        """
        return cls(resolve_config(path)).models()

    @classmethod
    def edits_left(cls, path: str | os.PathLike[str]) -> tuple[str, ...]:
        """Lists edits by hand that a promoter has overtaken, one line each.

        Args:
            path: The file.

        Raises:
            ServingDirectoryError: It is no file, or its folder is missing.
        """
        file = resolve_config(path)
        try:
            waiting = [edit.path for edit in overtaken(file)]
            aside = set_aside(file)
        except OSError as error:
            raise _failed(file, error) from error
        return tuple(
            f"an edit of {str(file)!r} crossed a promotion and was not applied: it is in "
            f"{str(edit)!r}; " + how
            for edits, how in (
                (waiting, "'tfx-registry reconcile' brings it in"),
                (aside, "bring what is missing into the file, then remove that one"),
            )
            for edit in edits
        )

    def _swap(self, new: bytes, seen: bytes | None, name: str) -> bool:
        try:
            return swap(self.path, new, seen, name)
        except OSError as error:
            raise _failed(self.path, error) from error

    def _tidy(self) -> None:
        """Removes what a promoter that died has left, and brings in edits that were overtaken."""
        try:
            drop_leftovers(self.path)
            for edit in list(overtaken(self.path)):
                if edit.in_place and self._merge(edit):
                    edit.path.unlink(missing_ok=True)
                    _logger.warning("brought an edit of %s in again", self.path)
                else:
                    kept = keep_aside(edit, self.path)
                    _logger.warning("an edit of %s was overtaken, and is in %s", self.path, kept)
        except OSError as error:
            raise _failed(self.path, error) from error

    def _merge(self, edit: Overtaken) -> bool:
        """Puts an edit in place, with what the promoter wrote of its model after it had read."""
        where = repr(str(edit.path))
        now = self._read_bytes()
        try:
            text = decode_config(edit.path, edit.content)
            said = [m for m in parse_model_config(text, where) if mark(m.name) == edit.about]
            written = [m for m in self.models() if mark(m.name) == edit.about]
            for model in written:
                text = put_model(text, model, where)
            if not written and said:
                text = remove_model(text, said[0].name, where)
        except InvalidInputError:
            return False  # half of it, or a mistake: somebody has to look at it
        name = next((m.name for m in (*written, *said)), "")
        return self._swap(text.encode("utf-8"), now, name)

    def _read_bytes(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed(self.path, error) from error


def resolve_config(path: str | os.PathLike[str]) -> Path:
    """Returns the absolute path of a model config file, without symbolic links.

    Raises:
        ServingDirectoryError: It is no file, or its folder is missing.
    """
    try:
        # A link is followed: replacing the link itself would leave its target, which is what the
        # owner of the link looks at, as it was.
        resolved = Path(path).resolve()
        if resolved.is_dir() or not resolved.parent.is_dir():
            raise NotADirectoryError(
                0, "it is a directory" if resolved.is_dir() else "its folder does not exist"
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise _failed(Path(path), error) from error
    return resolved


def _failed(path: Path, error: Exception) -> ServingDirectoryError:
    why = getattr(error, "strerror", None) or str(error)
    if isinstance(error, OSError):
        why += why_not(error)
    return ServingDirectoryError(
        f"cannot use the model config {str(path)!r}",
        why,
        "correct it and repeat; the file is as it was",
    )
