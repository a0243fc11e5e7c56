"""Models that lie in an object store, brought to a local directory for a while.

Registering, hashing and publishing read local files. A model of a pipeline on Kubeflow lies under
`gs://` or `s3://`; it is downloaded once for each of these.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tfx_registry.digest import walk_files
from tfx_registry.errors import IntegrityError, InvalidModelError
from tfx_registry.parallel import for_each
from tfx_registry.serving.objects.bucket import Stored, open_bucket
from tfx_registry.serving.objects.options import ObjectOptions
from tfx_registry.serving.objects.urls import ObjectUrl

__all__ = ["fetched_model", "upload_tree"]


@contextmanager
def fetched_model(place: str, options: ObjectOptions | None = None) -> Iterator[Path]:
    """Downloads what lies below an address.

    Args:
        place: The address, such as `gs://bucket/run/model`.
        options: How to use the store; None means as the environment says.

    Yields:
        A local directory with the same files, or the file where it is the address of an object;
        gone afterwards.

    Raises:
        InvalidModelError: Nothing lies there, or it cannot be files of a directory.
        IntegrityError: It changed while it was downloaded.
        RegistryError: See `open_bucket`.
    """
    url = ObjectUrl.parse(place)
    bucket = open_bucket(url, options)
    prefix = url.key("")
    found = [o for o in bucket.objects(prefix) if not o.key.endswith("/")]
    single = not found
    if single:
        prefix = url.prefix
        found = [stored for stored in bucket.objects(prefix) if stored.key == prefix]
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

        try:
            for_each(load, found, bucket.options.parallel)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise InvalidModelError(
                f"cannot read the model {place!r}",
                f"two objects in it cannot be files of one directory ({error})",
                "export the model again",
            ) from error
        now = [o for o in bucket.objects(prefix) if not o.key.endswith("/")]
        if not single and now != found:
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


def _checked(place: str, path: str) -> str:
    """Refuses keys that would lead out of the local directory."""
    if any(part in ("", ".", "..") for part in path.split("/")) or "\0" in path:
        raise InvalidModelError(
            f"cannot read the model {place!r}",
            f"{path!r} in it is no relative path of a file",
            "export the model again",
        )
    return path
