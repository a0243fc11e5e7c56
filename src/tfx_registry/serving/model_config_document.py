"""A model config, wherever it lies: what is read from it, and edits that lose nobody else's."""

from __future__ import annotations

import abc
import functools
import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager

from tfx_registry.errors import InvalidInputError, ServingDirectoryError
from tfx_registry.serving.model_config import (
    ServedModel,
    parse_model_config,
    put_model,
    remove_model,
)

__all__ = ["ModelConfigDocument", "decode_config"]

_logger = logging.getLogger(__name__)

_LIMIT_BYTES = 64 << 20
_MOST_ATTEMPTS = 100


class ModelConfigDocument(abc.ABC):
    """A model config, held by this process until `lock` ends.

    Promoters of several models share one. Whoever edits it by hand needs no lock.
    """

    @property
    @abc.abstractmethod
    def place(self) -> str:
        """Its absolute path, or its address."""

    @classmethod
    @abc.abstractmethod
    def lock(cls, path: str | os.PathLike[str]) -> AbstractContextManager[ModelConfigDocument]:
        """Waits until no other promoter changes the config, and holds it.

        Args:
            path: The config; it need not exist.

        Raises:
            ServingDirectoryError: It cannot be held.
        """

    @classmethod
    @abc.abstractmethod
    def resolve(cls, path: str | os.PathLike[str]) -> str:
        """Returns where a config lies, in its one spelling.

        Raises:
            ServingDirectoryError: There can be none.
        """

    @classmethod
    @abc.abstractmethod
    def peek(cls, path: str | os.PathLike[str]) -> tuple[ServedModel, ...]:
        """Reads the models of a config without holding it.

        Raises:
            InvalidInputError: It is no list of models.
            ServingDirectoryError: It cannot be read.
        """

    @classmethod
    def edits_left(cls, path: str | os.PathLike[str]) -> tuple[str, ...]:
        """Lists edits by hand that a promoter has overtaken, one line each.

        Args:
            path: The config.

        Raises:
            ServingDirectoryError: It cannot be read.
        """
        cls.resolve(path)
        return ()

    def models(self) -> tuple[ServedModel, ...]:
        """Reads the models; where there is no config yet, none.

        Raises:
            InvalidInputError: It is no list of models.
            ServingDirectoryError: It cannot be read.
        """
        return parse_model_config(self._read(), repr(self.place))

    def find(self, name: str) -> ServedModel | None:
        """Reads one model, or None where the config does not list it."""
        return next((model for model in self.models() if model.name == name), None)

    def put(self, model: ServedModel) -> bool:
        """Writes what the config says of one model. A reader sees the old text or the new one.

        Args:
            model: The model.

        Returns:
            False when the config says so already; then it is not touched.

        Raises:
            InvalidInputError: The config is no list of models.
            ServingDirectoryError: It cannot be written. The old one is in place.
        """
        if not self._change(model.name, lambda text, where: put_model(text, model, where)):
            return False
        _logger.info("wrote %s in %s: %s %s", model.name, self.place, model.policy, model.labels)
        return True

    def remove(self, name: str) -> bool:
        """Takes one model out of the config.

        Args:
            name: The model.

        Returns:
            False when the config does not list it; then it is not touched.

        Raises:
            InvalidInputError: The config is no list of models.
            ServingDirectoryError: It cannot be written. The old one is in place.
        """
        return self._change(name, functools.partial(_without, name=name))

    def _change(self, name: str, change: Callable[[str, str], str]) -> bool:
        """Writes what a change makes of the text; repeats it where somebody edits meanwhile."""
        where = repr(self.place)
        for _ in range(_MOST_ATTEMPTS):
            seen = self._read_bytes()
            text = decode_config(self.place, seen)
            new = change(text, where)
            if new == text:
                return False
            if self._swap(new.encode("utf-8"), seen, name):
                return True
            _logger.warning("somebody else edits %s: reading it again", self.place)
        raise ServingDirectoryError(
            f"cannot use the model config {where}",
            f"something else has changed it {_MOST_ATTEMPTS} times while it was written",
            "stop that, and repeat; the file holds what was written last",
        )

    def _read(self) -> str:
        return decode_config(self.place, self._read_bytes())

    @abc.abstractmethod
    def _read_bytes(self) -> bytes | None: ...

    @abc.abstractmethod
    def _swap(self, new: bytes, seen: bytes | None, name: str) -> bool:
        """Writes the config if it still says what was seen last; tells whether it did."""


def decode_config(place: str | os.PathLike[str], data: bytes | None) -> str:
    """Decodes what was read of a model config.

    Args:
        place: Where it lies.
        data: Its bytes; None where there are none.

    Raises:
        InvalidInputError: It is no text, or too long.
    """
    try:
        if data is not None and len(data) > _LIMIT_BYTES:
            raise ValueError(f"it has {len(data)} bytes, and {_LIMIT_BYTES} are read at most")
        return data.decode("utf-8") if data else ""
    except ValueError as error:
        raise InvalidInputError(
            f"cannot use {os.fspath(place)!r}", str(error), "name a model config file"
        ) from error


def _without(text: str, where: str, *, name: str) -> str:
    listed = any(model.name == name for model in parse_model_config(text, where))
    return remove_model(text, name, where) if listed else text
