"""Artifacts that lie in an object store: brought to a local directory for a while, and written.

Registering, hashing, deciding and publishing read local files. A model of a pipeline on Kubeflow
lies under `gs://` or `s3://`; a process downloads it to hash it once, and again to publish it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tfx_registry.digest import walk_files
from tfx_registry.errors import ConflictError, IntegrityError, InvalidModelError
from tfx_registry.parallel import for_each
from tfx_registry.saved_model import SAVED_MODEL_FILE, TFX_SERVING_MODEL_DIR
from tfx_registry.serving.objects.bucket import Bucket, Stored, open_bucket
from tfx_registry.serving.objects.options import ObjectOptions
from tfx_registry.serving.objects.urls import ObjectUrl

__all__ = [
    "fetched_model",
    "find_stored_model",
    "remove_files",
    "stored_files",
    "upload_tree",
    "write_files",
]

#: How often a file is written anew when somebody else writes it at the same time.
_ATTEMPTS = 5


def stored_files(place: str, options: ObjectOptions | None = None) -> tuple[Stored, ...]:
    """Lists what lies below an address.

    Args:
        place: The address.
        options: How to use the store; None means as the environment says.

    Returns:
        The objects, by key, or the one where it is the address of an object. Two lists that are
        equal mean that nothing was written between.

    Raises:
        RegistryError: See `open_bucket`.
    """
    url = ObjectUrl.parse(place)
    bucket = open_bucket(url, options)
    return tuple(_files(bucket, url.key("")) or _single(bucket, url))


def find_stored_model(
    place: str, options: ObjectOptions | None = None
) -> tuple[str, tuple[Stored, ...]]:
    """Finds the SavedModel at an address, as `find_saved_model` does at a path.

    Args:
        place: Address of a SavedModel, of a TFX Model artifact, or of anything else.
        options: How to use the store; None means as the environment says.

    Returns:
        The address of the directory with `saved_model.pb`, or the given one where there is none;
        and what lies below it.

    Raises:
        RegistryError: See `open_bucket`.
    """
    url = ObjectUrl.parse(place)
    found = stored_files(place, options)
    keys = {stored.key for stored in found}
    inside = url / TFX_SERVING_MODEL_DIR
    if url.key(SAVED_MODEL_FILE) in keys or inside.key(SAVED_MODEL_FILE) not in keys:
        return str(url), found
    return str(inside), tuple(stored for stored in found if stored.key.startswith(inside.key("")))


@contextmanager
def fetched_model(place: str, options: ObjectOptions | None = None) -> Iterator[Path]:
    """Downloads what lies below an address.

    Args:
        place: The address, such as `gs://bucket/run/model`.
        options: How to use the store; None means as the environment says.

    Yields:
        A local directory with the same files and their times, or the file where it is the address
        of an object; gone afterwards.

    Raises:
        InvalidModelError: Nothing lies there, or it cannot be files of a directory.
        IntegrityError: It changed while it was downloaded.
        RegistryError: See `open_bucket`.
    """
    url = ObjectUrl.parse(place)
    bucket = open_bucket(url, options)
    prefix = url.key("")
    found = _files(bucket, prefix)
    single = not found
    if single:
        found = _single(bucket, url)
    if not found:
        raise InvalidModelError(
            f"cannot read the model {place!r}", "nothing lies there", "check the address"
        )
    with tempfile.TemporaryDirectory(prefix="tfx-registry-") as folder:
        root = Path(folder) / PurePosixPath(url.prefix).name

        def load(stored: Stored) -> None:
            target = root if single else root / _checked(place, stored.key[len(prefix) :])
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as writer:
                for block in bucket.blocks(stored):
                    writer.write(block)
            os.utime(target, (stored.modified, stored.modified))

        try:
            for_each(load, found, bucket.options.parallel)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise InvalidModelError(
                f"cannot read the model {place!r}",
                f"two objects in it cannot be files of one directory ({error})",
                "export the model again",
            ) from error
        if not single and _files(bucket, prefix) != found:
            raise IntegrityError(
                f"cannot read the model {place!r}", "it changed while it was read", "repeat it"
            )
        yield root


def upload_tree(source: Path, place: str, options: ObjectOptions | None = None) -> None:
    """Uploads a directory, such as to where a pipeline keeps its artifacts.

    Args:
        source: The directory.
        place: The address; what lies there under the same names stays.
        options: How to use the store; None means as the environment says.

    Raises:
        RegistryError: See `open_bucket`.
    """
    url = ObjectUrl.parse(place)
    bucket = open_bucket(url, options)

    def send(file: tuple[str, Path]) -> None:
        bucket.upload(url.key(file[0]), file[1], lambda _: None)

    for_each(send, walk_files(source), bucket.options.parallel)


def remove_files(place: str, options: ObjectOptions | None = None) -> None:
    """Removes what lies below an address, such as the output of a task that is repeated.

    Args:
        place: The address.
        options: How to use the store; None means as the environment says.

    Raises:
        RegistryError: See `open_bucket`.
    """
    url = ObjectUrl.parse(place)
    bucket = open_bucket(url, options)
    bucket.delete([stored.key for stored in _files(bucket, url.key(""))])


def write_files(
    place: str, files: Mapping[str, bytes], options: ObjectOptions | None = None
) -> None:
    """Writes small files below an address, such as a report of a pipeline.

    Args:
        place: The address.
        files: Their contents by name; what has such a name there is replaced.
        options: How to use the store; None means as the environment says.

    Raises:
        ConflictError: Somebody else writes the same ones.
        RegistryError: See `open_bucket`.
    """
    url = ObjectUrl.parse(place)
    bucket = open_bucket(url, options)
    for name, data in files.items():
        _replace(bucket, url.key(name), data, f"{url}/{name}")


def _replace(bucket: Bucket, key: str, data: bytes, place: str) -> None:
    for _ in range(_ATTEMPTS):
        if bucket.create(key, data):
            return
        found = bucket.look(key)
        if found is not None and (found[0] == data or bucket.swap(key, data, found[1])):
            return
    raise ConflictError(
        f"cannot write {place!r}", "somebody else writes it at the same time", "repeat it"
    )


def _files(bucket: Bucket, prefix: str) -> list[Stored]:
    """Lists objects without those that consoles make to show an empty folder."""
    return [stored for stored in bucket.objects(prefix) if not stored.key.endswith("/")]


def _single(bucket: Bucket, url: ObjectUrl) -> list[Stored]:
    """Lists the object of an address itself, such as a `.keras` file; none or one."""
    return [stored for stored in bucket.objects(url.prefix) if stored.key == url.prefix]


def _checked(place: str, path: str) -> str:
    """Refuses keys that would lead out of the local directory."""
    if any(part in ("", ".", "..") for part in path.split("/")) or "\0" in path:
        raise InvalidModelError(
            f"cannot read the model {place!r}",
            f"{path!r} in it is no relative path of a file",
            "export the model again",
        )
    return path
