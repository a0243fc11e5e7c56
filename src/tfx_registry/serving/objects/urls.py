"""Addresses of serving directories and models in object stores.

`s3://bucket/models/penguin` for Amazon S3 and what speaks its protocol, `gs://` for Google Cloud
Storage (`gcs://` means the same). Two spellings of one place are one destination.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from tfx_registry.errors import InvalidUriError
from tfx_registry.serving.layout import base_directory

__all__ = ["ObjectUrl", "destination_of", "is_object_url"]

_SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{1,221}", re.ASCII)
#: Longest key that S3 and Google Cloud Storage take, in bytes of UTF-8.
_KEY_BYTES = 1024


def is_object_url(place: str | os.PathLike[str]) -> bool:
    """Tells whether a place is an address with a scheme, and no path.

    Args:
        place: A path, or an address; `file://` is a path.

    Returns:
        Whether it is one, of whatever scheme.
    """
    text = os.fspath(place)
    return "://" in text and not text.startswith("file://")


@dataclass(frozen=True, order=True)
class ObjectUrl:
    """A prefix in a bucket. `ObjectUrl.parse(str(url)) == url`.

    Attributes:
        scheme: "s3" or "gs".
        bucket: Name of the bucket.
        prefix: Keys below it begin with this and a slash; never empty.
    """

    scheme: str
    bucket: str
    prefix: str

    @classmethod
    def parse(cls, text: str | os.PathLike[str]) -> ObjectUrl:
        """Reads an address.

        Args:
            text: Such as `s3://bucket/models/penguin`.

        Returns:
            The address, in its one spelling.

        Raises:
            InvalidUriError: The scheme is not supported, or it names no prefix in a bucket.
        """
        shown = os.fspath(text)
        scheme, _, rest = shown.partition("://")
        bucket, _, path = rest.partition("/")
        prefix = path.rstrip("/")
        known = _SCHEMES.get(scheme.lower())
        if known is None:
            why = f"object stores are s3:// and gs://, not {scheme}://"
            todo = "give such an address, or a path on a local or mounted file system"
        elif not _BUCKET.fullmatch(bucket):
            why, todo = f"{bucket!r} is no name of a bucket", f"give {known}://BUCKET/PREFIX"
        elif not prefix:
            why = "it names a whole bucket"
            todo = f"give a prefix in it, such as {known}://{bucket}/models/penguin"
        elif any(part in ("", ".", "..") for part in prefix.split("/")):
            why, todo = "it holds an empty part, '.' or '..'", "write it without"
        elif any(ord(letter) < 32 or letter in "?#*[]\\\x7f" for letter in prefix):
            why, todo = "it holds a character that clients read in different ways", "choose another"
        elif len(prefix.encode("utf-8", "replace")) > _KEY_BYTES // 2:
            why, todo = f"it is longer than {_KEY_BYTES // 2} bytes", "choose a shorter one"
        else:
            return cls(known, bucket, prefix)
        raise InvalidUriError(f"cannot use {shown!r}", why, todo)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}"

    def __truediv__(self, part: str) -> ObjectUrl:
        return ObjectUrl(self.scheme, self.bucket, f"{self.prefix}/{part}")

    def key(self, path: str) -> str:
        """Returns the key of an object below this prefix.

        Raises:
            InvalidUriError: It would be too long.
        """
        key = f"{self.prefix}/{path}"
        if len(key.encode("utf-8", "surrogateescape")) > _KEY_BYTES:
            raise InvalidUriError(
                f"cannot store {path[-100:]!r} below {str(self)!r}",
                f"its key would have more than {_KEY_BYTES} bytes",
                "export the model with shorter names, or publish nearer to the root",
            )
        return key


def destination_of(place: str | os.PathLike[str]) -> str:
    """Returns a serving base directory as the registry names it.

    Args:
        place: Its path, or its address in an object store.

    Returns:
        The one spelling of it.

    Raises:
        ServingDirectoryError: It is a path that cannot be one.
        InvalidUriError: It is an address that cannot be one.
    """
    return str(ObjectUrl.parse(place) if is_object_url(place) else base_directory(place))
