"""A model config that is an object: promoters take turns, and each write has a condition.

Whoever uploads a config by hand knows nothing of turns. So what is written replaces what was read,
and nothing else: where the object has changed in between, the store refuses, and the change is made
again, to what lies there now.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tfx_registry.serving.model_config import ServedModel
from tfx_registry.serving.model_config_document import ModelConfigDocument
from tfx_registry.serving.objects.bucket import open_bucket
from tfx_registry.serving.objects.lease import Lease, hold_lease
from tfx_registry.serving.objects.urls import ObjectUrl

__all__ = ["StoredModelConfig"]


class StoredModelConfig(ModelConfigDocument):
    """A model config in an object store.

    Attributes:
        url: Its address.
    """

    def __init__(self, url: ObjectUrl, lease: Lease | None = None) -> None:
        """Use `lock`, or `peek` to read only."""
        self.url = url
        self._bucket = open_bucket(url)
        self._lease = lease
        self._tag = ""

    @property
    def place(self) -> str:
        """The address."""
        return str(self.url)

    @classmethod
    @contextmanager
    def lock(cls, path: str | os.PathLike[str]) -> Iterator[StoredModelConfig]:
        """Waits until no other promoter changes the config, and holds it.

        Args:
            path: Its address; the object need not exist, its bucket must.

        Yields:
            The config.

        Raises:
            ServingDirectoryError: The store refuses, or does not know conditions.
            StoreUnavailableError: It does not answer.
        """
        url = ObjectUrl.parse(path)
        with hold_lease(open_bucket(url), f"{url.prefix}.lock") as lease:
            yield cls(url, lease)

    @classmethod
    def resolve(cls, path: str | os.PathLike[str]) -> str:
        """Returns the one spelling of an address.

        Raises:
            InvalidUriError: It is none.
        """
        return str(ObjectUrl.parse(path))

    @classmethod
    def peek(cls, path: str | os.PathLike[str]) -> tuple[ServedModel, ...]:
        """Reads the models of a config without holding it.

        Raises:
            InvalidInputError: It is no list of models.
            ServingDirectoryError: The store refuses.
            StoreUnavailableError: It does not answer.
        """
        return cls(ObjectUrl.parse(path)).models()

    def _read_bytes(self) -> bytes | None:
        found = self._bucket.look(self.url.prefix)
        data, self._tag = found if found is not None else (None, "")
        return data

    def _swap(self, new: bytes, seen: bytes | None, name: str) -> bool:
        assert self._lease is not None, "held"
        self._lease.check()
        if seen is None:
            done = self._bucket.create(self.url.prefix, new)
        else:
            done = self._bucket.swap(self.url.prefix, new, self._tag) is not None
        # An answer may have been lost: what lies there says whether this has arrived.
        return done or self._read_bytes() == new
