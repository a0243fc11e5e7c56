"""How the emulator reads paths, and addresses in object stores as TensorFlow's file systems do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tfx_registry.errors import InvalidModelError, RegistryError
from tfx_registry.serving.objects import ObjectUrl, ObjectView, is_object_url
from tfx_registry.serving.objects.models import fetched_model

__all__ = ["children", "exists", "is_absolute", "local", "read_text"]


def is_absolute(path: str) -> bool:
    """Tells whether a base path is absolute, or the URI of one."""
    return is_object_url(path) or os.path.isabs(path)  # noqa: PTH117 - as the server asks


def exists(path: str) -> bool:
    """Tells whether a directory is there; in a store, whether anything lies below it.

    Raises:
        OSError: The store does not say.
    """
    if not is_object_url(path):
        return os.path.exists(path)  # noqa: PTH110 - as the server asks
    return bool(children(path))


def children(path: str) -> list[str]:
    """Lists the names in a directory, sorted.

    Raises:
        OSError: It cannot be listed.
    """
    if not is_object_url(path):
        return sorted(os.listdir(path))  # noqa: PTH208 - names are all that counts
    url = ObjectUrl.parse(path)
    try:
        return ObjectView.open(url).bucket.children(url.key(""))
    except RegistryError as error:
        raise OSError(str(error)) from error


def read_text(path: str) -> str:
    """Reads a file.

    Raises:
        OSError: It cannot be read.
    """
    if not is_object_url(path):
        return Path(path).read_text(encoding="utf-8")
    url = ObjectUrl.parse(path)
    try:
        data = ObjectView.open(url).bucket.read(url.prefix)
    except RegistryError as error:
        raise OSError(str(error)) from error
    if data is None:
        raise FileNotFoundError(2, "there is no such object", path)
    return data.decode("utf-8")


@contextmanager
def local(path: str) -> Iterator[Path]:
    """Makes a directory readable for a while; what lies in a store is downloaded.

    Yields:
        Where it lies; nothing is there if nothing was.

    Raises:
        OSError: The store does not answer.
    """
    if not is_object_url(path):
        yield Path(path)
        return
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(fetched_model(path))
        except InvalidModelError:
            folder = Path(os.devnull)
        except RegistryError as error:
            raise OSError(str(error)) from error
        yield folder
