"""Where artifacts lie: on a file system, or in an object store as on Kubeflow.

Everything that the executors read or write at the address of an artifact goes through here, because
`Path("gs://bucket/x")` is a relative path, and what is written there is lost with the container.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tfx_registry.digest import digest_path
from tfx_registry.inspection import describe_model
from tfx_registry.saved_model import find_saved_model
from tfx_registry.serving.objects.models import (
    fetched_model,
    find_stored_model,
    remove_files,
    stored_files,
    upload_tree,
    write_files,
)
from tfx_registry.serving.objects.urls import ObjectUrl, is_object_url

__all__ = [
    "check_place",
    "digests_of",
    "find_model",
    "is_in_store",
    "lies_there",
    "local_copy",
    "local_path",
    "replace_tree",
    "write_texts",
]


def is_in_store(place: str) -> bool:
    """Tells whether a place is an address with a scheme, and no path."""
    return is_object_url(place)


def local_path(place: str) -> Path:
    """Returns the path that a place on a file system means; `file://` is left out."""
    return Path(place.removeprefix("file://"))


def check_place(place: str) -> None:
    """Checks that a place can be written to, before anything is done that cannot be taken back.

    Args:
        place: URI of an output artifact.

    Raises:
        InvalidUriError: It is an address, and not one of an object store that is known here.
    """
    if is_in_store(place):
        ObjectUrl.parse(place)


def find_model(place: str) -> str:
    """Finds the SavedModel in a Model artifact.

    Args:
        place: URI of the artifact.

    Returns:
        The path or address of the SavedModel; the given one where there is none.

    Raises:
        RegistryError: The object store refuses, or does not answer.
    """
    if is_in_store(place):
        return find_stored_model(place)[0]
    path = local_path(place)
    return str(find_saved_model(path) or path)


def digests_of(place: str) -> tuple[str, str]:
    """Computes the digests of a model. From an object store it is downloaded once for that.

    Args:
        place: URI of a Model artifact, or where a model lies.

    Returns:
        The OMS root digest and the digest of the manifest.

    Raises:
        InvalidModelError: There is none, or it cannot be versioned.
        RegistryError: The object store refuses, or does not answer.
    """
    if is_in_store(place):
        facts = describe_model(place)
        return facts.digest, facts.manifest
    now = digest_path(find_model(place))
    return now.root, now.manifest


def lies_there(place: str) -> bool:
    """Tells whether anything lies at a place.

    Raises:
        RegistryError: The object store refuses, or does not answer.
    """
    return bool(stored_files(place)) if is_in_store(place) else local_path(place).exists()


@contextmanager
def local_copy(place: str) -> Iterator[Path]:
    """Makes readable what lies at a place.

    Args:
        place: URI of an artifact.

    Yields:
        The path itself; of an object store a copy, which is gone afterwards.

    Raises:
        InvalidModelError: Nothing lies at the address.
        RegistryError: The object store refuses, or does not answer.
    """
    if not is_in_store(place):
        yield local_path(place)
        return
    with fetched_model(place) as path:
        yield path


def replace_tree(source: Path, place: str) -> None:
    """Uploads a directory in place of what lies at an address.

    Args:
        source: The directory.
        place: The address.

    Raises:
        RegistryError: The object store refuses, or does not answer.
    """
    remove_files(place)
    upload_tree(source, place)


def write_texts(place: str, files: Mapping[str, str]) -> None:
    """Writes the files of an output artifact.

    Args:
        place: URI of the artifact.
        files: Their texts by name.

    Raises:
        OSError: The file system refuses.
        RegistryError: The object store refuses, or does not answer.
    """
    if is_in_store(place):
        write_files(place, {name: text.encode() for name, text in files.items()})
        return
    folder = local_path(place)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
