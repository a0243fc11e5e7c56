"""A model config file on disk: one writer at a time, replaced in one step, durable."""

from __future__ import annotations

import fcntl
import glob
import logging
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfx_registry.errors import InvalidInputError, ServingDirectoryError
from tfx_registry.serving.atomic import fsync_directory
from tfx_registry.serving.model_config import (
    ServedModel,
    parse_model_config,
    put_model,
    remove_model,
)

__all__ = ["ModelConfigFile"]

_logger = logging.getLogger(__name__)

_MODE = 0o644  # the server usually runs as another user
_LIMIT_BYTES = 64 << 20


class ModelConfigFile:
    """A model config file, held by this process until `lock` ends.

    Promoters of several models share one file. The lock is that of a file beside it, because the
    file itself is replaced; the operating system gives it back when its holder dies.

    Attributes:
        path: The absolute path, without symbolic links.
    """

    def __init__(self, path: Path) -> None:
        """Use `lock`, or `peek` to read only."""
        self.path = path

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
        try:
            lock = os.open(f"{file.path}.lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, _MODE)
        except OSError as error:
            raise _failed(file.path, error) from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _logger.info("waiting for another promoter that changes %s", file.path)
                fcntl.flock(lock, fcntl.LOCK_EX)
            # The lock is ours, so whatever lies there belonged to a promoter that died.
            for left in file.path.parent.glob(glob.escape(f".{file.path.name}.") + "*.tmp"):
                left.unlink(missing_ok=True)
            yield file
        finally:
            os.close(lock)

    @classmethod
    def peek(cls, path: str | os.PathLike[str]) -> tuple[ServedModel, ...]:
        """Reads the models of a file without holding it.

        Raises:
            InvalidInputError: It is no list of models.
            ServingDirectoryError: It cannot be read.
        """
        return cls(resolve_config(path)).models()

    def models(self) -> tuple[ServedModel, ...]:
        """Reads the models; a missing file lists none.

        Raises:
            InvalidInputError: It is no list of models.
            ServingDirectoryError: It cannot be read.
        """
        return parse_model_config(self._read(), repr(str(self.path)))

    def find(self, name: str) -> ServedModel | None:
        """Reads one model, or None where the file does not list it."""
        return next((model for model in self.models() if model.name == name), None)

    def put(self, model: ServedModel) -> bool:
        """Writes what the file says of one model. A reader sees the old file or the new one.

        Args:
            model: The model.

        Returns:
            False when the file says so already; then it is not touched.

        Raises:
            InvalidInputError: The file is no list of models.
            ServingDirectoryError: It cannot be written. The old file is in place.
        """
        text = self._read()
        changed = put_model(text, model, repr(str(self.path)))
        if changed == text and text:
            return False
        self._replace(changed)
        _logger.info("wrote %s in %s: %s %s", model.name, self.path, model.policy, model.labels)
        return True

    def remove(self, name: str) -> bool:
        """Takes one model out of the file.

        Args:
            name: The model.

        Returns:
            False when the file does not list it; then it is not touched.

        Raises:
            InvalidInputError: The file is no list of models.
            ServingDirectoryError: It cannot be written. The old file is in place.
        """
        if self.find(name) is None:
            return False
        self._replace(remove_model(self._read(), name, repr(str(self.path))))
        return True

    def _read(self) -> str:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise _failed(self.path, error) from error
        try:
            if len(data) > _LIMIT_BYTES:
                raise ValueError(f"it has {len(data)} bytes, and {_LIMIT_BYTES} are read at most")
            return data.decode("utf-8")
        except ValueError as error:
            raise InvalidInputError(
                f"cannot use {str(self.path)!r}", str(error), "name a model config file"
            ) from error

    def _replace(self, text: str) -> None:
        new = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}.tmp")
        try:
            try:
                mode = stat.S_IMODE(self.path.stat().st_mode)
            except FileNotFoundError:
                mode = _MODE
            try:
                descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
                with os.fdopen(descriptor, "wb") as writer:
                    writer.write(text.encode("utf-8"))
                    writer.flush()
                    os.fchmod(descriptor, mode)
                    os.fsync(descriptor)
                new.replace(self.path)
            finally:
                new.unlink(missing_ok=True)
            fsync_directory(self.path.parent)
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
    return ServingDirectoryError(
        f"cannot use the model config {str(path)!r}",
        str(why),
        "correct it and repeat; the file is as it was",
    )
