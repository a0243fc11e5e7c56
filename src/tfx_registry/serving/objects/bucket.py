"""What this package needs of an object store; one implementation for each kind.

All of it holds on S3 and on Google Cloud Storage since both are strongly consistent: who reads or
lists after a write has returned sees it. Single objects appear whole or not at all.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tfx_registry.errors import InvalidInputError
from tfx_registry.serving.objects.options import ObjectOptions
from tfx_registry.serving.objects.trouble import explain, retried
from tfx_registry.serving.objects.urls import ObjectUrl

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Bucket", "Stored", "open_bucket"]

_T = TypeVar("_T")
#: Read at a time when an object is hashed or downloaded, in bytes.
_BLOCK = 8 << 20


@dataclass(frozen=True)
class Stored:
    """An object, as its store lists it.

    Attributes:
        key: Its whole key.
        size_bytes: Its length.
        md5: MD5 of its content in hexadecimal digits; "" where the store does not say.
        tag: Changes with each write: the ETag, or the generation.
        modified: When it was written, in seconds since the epoch; 0 where the store does not say.
    """

    key: str
    size_bytes: int
    md5: str
    tag: str
    modified: float = field(default=0.0, compare=False)


class Bucket(abc.ABC):
    """A bucket. Every request that the store was too busy for is tried again.

    Attributes:
        url: The address that it was opened by; errors name it.
        options: How it is used.
    """

    def __init__(self, url: ObjectUrl, options: ObjectOptions) -> None:
        """Use `open_bucket`."""
        self.url = url
        self.options = options

    def objects(self, prefix: str) -> list[Stored]:
        """Lists all objects whose keys begin with a prefix.

        Args:
            prefix: The prefix; without a slash at its end it also finds longer names.

        Returns:
            The objects, by key.

        Raises:
            ServingDirectoryError: The store refuses.
            StoreUnavailableError: It does not answer.
        """
        return sorted(self._try("list", prefix, lambda: self._list(prefix)), key=lambda o: o.key)

    def children(self, prefix: str) -> list[str]:
        """Lists the names directly below a prefix, as a server with its default policy does.

        Args:
            prefix: The prefix, with a slash at its end.

        Returns:
            Names of objects and of what else lies there, sorted.
        """
        return sorted(set(self._try("list", prefix, lambda: self._children(prefix))))

    def read(self, key: str) -> bytes | None:
        """Reads a whole object; None where there is none."""
        found = self.look(key)
        return found[0] if found is not None else None

    def look(self, key: str) -> tuple[bytes, str] | None:
        """Reads an object and the tag that it had at that moment; None where there is none."""
        return self._try("read", key, lambda: self._look(key))

    def blocks(self, stored: Stored) -> Iterator[bytes]:
        """Reads an object in pieces.

        Args:
            stored: The object.

        Yields:
            Its bytes.

        Raises:
            FileNotFoundError: It is gone.
        """
        for start in range(0, stored.size_bytes, _BLOCK):
            end = min(start + _BLOCK, stored.size_bytes)

            def part(start: int = start, end: int = end) -> bytes:
                return self._part(stored.key, start, end)

            yield self._try("read", stored.key, part)

    def create(self, key: str, data: bytes) -> bool:
        """Makes an object, if there is none of that key; the store decides.

        Args:
            key: Its key.
            data: Its content.

        Returns:
            Whether it was made now. False also where an earlier attempt of this call has made it
            and the answer was lost: compare the content where that matters.
        """
        return self._try("write", key, lambda: self._create(key, data))

    def swap(self, key: str, data: bytes, tag: str) -> str | None:
        """Replaces an object, if nobody has since it had a tag.

        Args:
            key: Its key.
            data: Its new content.
            tag: The tag.

        Returns:
            The new tag, or None where somebody else was faster, or an answer was lost.
        """
        return self._try("write", key, lambda: self._swap(key, data, tag))

    def upload(self, key: str, path: Path, progress: Callable[[int], None]) -> None:
        """Uploads a file; large ones in parts. What is there under that key may stay.

        Args:
            key: The key.
            path: The file.
            progress: Called with the number of bytes uploaded since the last call.

        Raises:
            OSError: The file cannot be read.
        """
        size = path.stat().st_size
        if size <= self.options.part_bytes:
            data = path.read_bytes()
            self.create(key, data)
            progress(len(data))
        else:
            self._upload_parts(key, path, size, progress)

    def copy(self, source: str, target: str, size_bytes: int) -> None:
        """Copies an object inside the bucket, without moving its bytes through here.

        Args:
            source: Its key.
            target: The new key; what is there is replaced.
            size_bytes: Its length.
        """
        self._try("copy", source, lambda: self._copy(source, target, size_bytes))

    @abc.abstractmethod
    def delete(self, keys: Collection[str]) -> None:
        """Removes objects, in no particular order; those that are gone already are no error."""

    @abc.abstractmethod
    def abort_uploads(self, prefix: str) -> int:
        """Ends uploads in parts below a prefix that nobody will finish; returns how many."""

    def _try(self, what: str, key: str, action: Callable[[], _T]) -> _T:
        place = f"{self.url.scheme}://{self.url.bucket}/{key}"
        try:
            return retried(action, self.options, f"{what} {place!r}")
        except Exception as error:
            raise explain(error, what, place) from error

    @abc.abstractmethod
    def _list(self, prefix: str) -> list[Stored]: ...

    @abc.abstractmethod
    def _children(self, prefix: str) -> list[str]: ...

    @abc.abstractmethod
    def _look(self, key: str) -> tuple[bytes, str] | None: ...

    @abc.abstractmethod
    def _part(self, key: str, start: int, end: int) -> bytes: ...

    @abc.abstractmethod
    def _create(self, key: str, data: bytes) -> bool: ...

    @abc.abstractmethod
    def _swap(self, key: str, data: bytes, tag: str) -> str | None: ...

    @abc.abstractmethod
    def _upload_parts(
        self, key: str, path: Path, size: int, progress: Callable[[int], None]
    ) -> None: ...

    @abc.abstractmethod
    def _copy(self, source: str, target: str, size_bytes: int) -> None: ...


def open_bucket(url: ObjectUrl, options: ObjectOptions | None = None) -> Bucket:
    """Opens the bucket of an address, with the credentials of this machine.

    Args:
        url: The address.
        options: How to use it; None means as the environment says.

    Returns:
        The bucket. Nothing was asked of the store yet.

    Raises:
        InvalidInputError: The client for this kind of store is not installed.
        ServingDirectoryError: There are no credentials.
    """
    options = options or ObjectOptions.from_environment()
    try:
        if url.scheme == "s3":
            from tfx_registry.serving.objects.s3 import S3Bucket

            return S3Bucket(url, options)
        from tfx_registry.serving.objects.gcs import GcsBucket

        return GcsBucket(url, options)
    except ImportError as error:
        raise InvalidInputError(
            f"cannot use {str(url)!r}",
            f"the client for it is not installed ({error.name or error})",
            "pip install tfx-registry[object-stores]",
        ) from error
    except Exception as error:
        raise explain(error, "open", str(url)) from error
