"""A bucket in this process, for tests that let it die at each of its requests."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from tfx_registry.serving.objects.bucket import Bucket, Stored
from tfx_registry.serving.objects.options import ObjectOptions
from tfx_registry.serving.objects.urls import ObjectUrl

__all__ = ["DeadError", "MemoryBucket", "is_lock"]


class DeadError(BaseException):
    """Nothing this process does reaches the store any more, as if it had been killed."""


class MemoryBucket(Bucket):
    """A bucket in this process that answers at once, for tests that need thousands of requests.

    Attributes:
        contents: Content and tag of each object.
        changes: The changing requests so far: what, and the key.
        dies_at: The changing request, counted from 0, that does not arrive any more, nor does
            anything after it; None means that all do. Signs of life do not count.
    """

    def __init__(self, url: ObjectUrl, options: ObjectOptions) -> None:
        """Holds nothing yet."""
        super().__init__(url, options)
        self.contents: dict[str, tuple[bytes, str]] = {}
        self.changes: list[tuple[str, str]] = []
        self.dies_at: int | None = None
        self._count = 0
        self._lock = threading.RLock()

    def delete(self, keys: Collection[str]) -> None:
        """Removes objects."""
        for key in keys:
            with self._changing("delete", key):
                self.contents.pop(key, None)

    def abort_uploads(self, prefix: str) -> int:
        """Does nothing."""
        return 0

    @contextlib.contextmanager
    def _changing(self, what: str, key: str) -> Iterator[None]:
        with self._lock:
            counts = not is_lock(key)
            self._alive(change=counts)
            if counts:
                self.changes.append((what, key))
            yield

    def _alive(self, *, change: bool = False) -> None:
        if self.dies_at is not None and change and len(self.changes) >= self.dies_at:
            self.dies_at = -1
        if self.dies_at == -1:
            raise DeadError

    def _list(self, prefix: str) -> list[Stored]:
        with self._lock:
            self._alive()
            return [
                Stored(key, len(data), hashlib.md5(data, usedforsecurity=False).hexdigest(), tag)
                for key, (data, tag) in self.contents.items()
                if key.startswith(prefix)
            ]

    def _children(self, prefix: str) -> list[str]:
        return [s.key[len(prefix) :].split("/")[0] for s in self._list(prefix) if s.key != prefix]

    def _look(self, key: str) -> tuple[bytes, str] | None:
        with self._lock:
            self._alive()
            return self.contents.get(key)

    def _part(self, key: str, start: int, end: int) -> bytes:
        with self._lock:
            self._alive()
            return self.contents[key][0][start:end]

    def _put(self, key: str, data: bytes) -> str:
        self._count += 1
        self.contents[key] = (data, str(self._count))
        return str(self._count)

    def _create(self, key: str, data: bytes) -> bool:
        with self._changing("create", key):
            if key in self.contents:
                return False
            self._put(key, data)
            return True

    def _swap(self, key: str, data: bytes, tag: str) -> str | None:
        with self._changing("swap", key):
            if self.contents.get(key, (b"", ""))[1] != tag:
                return None
            return self._put(key, data)

    def _upload_parts(
        self, key: str, path: Path, size: int, progress: Callable[[int], None]
    ) -> None:
        self._create(key, path.read_bytes())
        progress(size)

    def _copy(self, source: str, target: str, size_bytes: int) -> None:
        with self._changing("copy", target):
            self._put(target, self.contents[source][0])


def is_lock(key: str) -> bool:
    """Tells whether an object is one by which publishers take turns."""
    return key.endswith(("/lock", ".lock"))
