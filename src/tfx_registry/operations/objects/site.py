"""A serving directory in an object store together with the registry of its model."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tfx_registry.errors import (
    IntegrityError,
    InvalidModelError,
    NotFoundError,
    RefusedError,
    RegistryError,
)
from tfx_registry.names import model_key
from tfx_registry.operations.site import holds, is_used, model_of
from tfx_registry.records import Deployment, Head, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving import base_directory
from tfx_registry.serving.objects import (
    ObjectDirectory,
    ObjectUrl,
    ObjectView,
    hold_directory,
    is_object_url,
)
from tfx_registry.serving.objects.models import fetched_model
from tfx_registry.serving.objects.records import Blob, VersionRecord, hash_stored
from tfx_registry.serving.receipts import Bytes, BytesCheck

__all__ = [
    "ObjectSite",
    "check_object_owner",
    "hash_visible",
    "held_elsewhere",
    "held_in_stores",
    "model_at",
    "model_of_objects",
    "object_state",
    "open_object_site",
    "version_sources",
]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ObjectSite:
    """What an operation works on while it holds the directory.

    Attributes:
        registry: The registry.
        model: Name of the model, as registered.
        directory: The directory, held.
        actor: Who acts.
    """

    registry: ModelRegistry
    model: str
    directory: ObjectDirectory
    actor: str | None = None

    @property
    def destination(self) -> str:
        """The serving base directory, as the registry names it."""
        return str(self.directory.url)

    def head(self) -> Head:
        """Returns the head of the model as it is now."""
        return self.registry.head(self.model)

    def deployment(self) -> Deployment | None:
        """Returns what serves here by the registry, or None."""
        return self.head().deployments.get(self.destination)

    def known(self, number: int | None) -> Version | None:
        """Returns a version of the model, or None."""
        if number is None or number < 1:
            return None
        return self.registry.known_versions(self.model, [number]).get(number)

    def record(self, version: Version) -> VersionRecord | None:
        """Returns the files of a version, if this directory has its bytes out of sight."""
        record = self.directory.record(version.number, version.facts.manifest)
        return record if record is not None and self.directory.holds_blobs(record) else None

    def state(self, version: Version, *, hash_all: bool = False) -> BytesCheck:
        """Checks what a server would load as a version."""
        return object_state(self.directory, version, hash_all=hash_all)

    def store(
        self, version: Version, *, progress: Callable[[int], None] | None = None
    ) -> VersionRecord | None:
        """Sees to it that the bytes of a version lie here, out of sight.

        Args:
            version: The version.
            progress: Called with the number of bytes uploaded since the last call.

        Returns:
            Its files, or None if no place has the right bytes.
        """
        record = self.record(version)
        if record is not None:
            return record
        visible = hash_visible(self.directory, version)
        if visible is not None:
            self.directory.keep(version.number, visible)
            return visible
        for source in version_sources(version, self.head(), self.destination):
            with source as path:
                try:
                    return self.directory.store(
                        path, version.number, digest=version.facts.digest,
                        manifest=version.facts.manifest, progress=progress,
                    )  # fmt: skip
                except (IntegrityError, InvalidModelError):
                    continue
        return None

    def show(self, version: Version) -> bool:
        """Makes a version visible again, from wherever its bytes are; False if nowhere."""
        record = self.store(version)
        if record is None:
            return False
        self.directory.show(version.number, record)
        return True

    def put_away(self, number: int) -> None:
        """Takes a version out of what servers see."""
        self.hide(str(number), self.known(number))

    def hide(self, name: str, version: Version | None) -> None:
        """Takes a name away from servers; nothing that lies nowhere else here is lost."""
        record = None
        if version is not None and name == str(version.number):
            record = self.record(version)
        self.directory.hide(name, record)


@contextmanager
def open_object_site(
    registry: ModelRegistry, model: str, url: ObjectUrl, *, actor: str | None = None
) -> Iterator[ObjectSite]:
    """Waits until nobody else works on a directory, and holds it.

    Args:
        registry: The registry.
        model: Name of the model.
        url: Address of its serving base directory.
        actor: Who acts.

    Yields:
        The directory with its registry.

    Raises:
        AccessDeniedError: The access policy does not let the actor promote.
        RefusedError: The directory is for another model.
        ServingDirectoryError: The store refuses.
        StoreUnavailableError: It does not answer.
    """
    registry.check_may_promote(model, actor)
    with hold_directory(url) as directory:
        check_object_owner(registry, directory, model)
        yield ObjectSite(registry, model, directory, actor)


def check_object_owner(registry: ModelRegistry, directory: ObjectView, model: str) -> None:
    """Refuses a directory that is for another model, by its own note or by the registry.

    Raises:
        RefusedError: It is.
    """
    owner, place = directory.owner(), str(directory.url)
    if not owner:
        users = [head for head in registry.list_models() if is_used(head, place)]
        owner = model_key(users[0].model) if users else ""
    if owner and owner != model_key(model):
        raise RefusedError(
            f"cannot use {str(directory.url)!r} for {model!r}",
            f"the directory is for the model {owner!r}",
            f"name {owner!r}, or the directory of {model!r}",
        )


def model_of_objects(registry: ModelRegistry, directory: ObjectView) -> str:
    """Finds out for which model a directory is.

    Raises:
        NotFoundError: Neither the directory nor the registry says.
    """
    owner, place = directory.owner(), str(directory.url)
    for head in registry.list_models():
        if model_key(head.model) == owner or (not owner and is_used(head, place)):
            return head.model
    raise NotFoundError(
        f"nothing is known of the serving directory {place!r}",
        f"it says that it is for {owner!r}, which is not registered"
        if owner else "nothing was promoted into it",
        "check the address and the registry; what something else published there can be taken over "
        "with 'tfx-registry adopt MODEL --serving-dir ADDRESS'",
    )  # fmt: skip


def model_at(registry: ModelRegistry, serving_dir: str | os.PathLike[str]) -> str:
    """Finds out for which model a serving directory is, wherever it lies.

    Args:
        registry: The registry.
        serving_dir: The serving base directory, or its address.

    Returns:
        Name of the model, as registered.

    Raises:
        NotFoundError: Neither the directory nor the registry says.
    """
    if is_object_url(serving_dir):
        return model_of_objects(registry, ObjectView.open(ObjectUrl.parse(serving_dir)))
    return model_of(registry, base_directory(serving_dir))


def object_state(directory: ObjectView, version: Version, *, hash_all: bool = False) -> BytesCheck:
    """Checks what a server would load as a version.

    Args:
        directory: The directory.
        version: The version.
        hash_all: Whether to read and hash everything, whatever checksums the store reports.

    Returns:
        What was found. Without `saved_model.pb` it counts as missing: nothing can be loaded.
    """
    seen = directory.look(str(version.number))
    if not seen.loadable:
        left = f"{len(seen.objects)} objects lie there without" if seen.objects else "there is no"
        return BytesCheck(Bytes.MISSING, detail=f"{left} saved_model.pb")
    record = directory.record(version.number, version.facts.manifest)
    if record is None:
        right = hash_visible(directory, version) is not None
        detail = "" if right else "its manifest digest is not the registered one"
        return BytesCheck(Bytes.RIGHT if right else Bytes.CHANGED, hashed=True, detail=detail)
    wrong = directory.difference(seen, record, read=hash_all)
    state = Bytes.CHANGED if wrong else Bytes.RIGHT
    return BytesCheck(state, hashed=hash_all, detail=wrong)


def hash_visible(directory: ObjectView, version: Version) -> VersionRecord | None:
    """Reads what a server would load as a version.

    Args:
        directory: The directory.
        version: The version.

    Returns:
        Its files; None where they are not those of the version, or cannot be loaded.
    """
    seen = directory.look(str(version.number))
    if not seen.loadable:
        return None
    files: list[Blob] = [
        hash_stored(directory.bucket, path, seen.objects[path]) for path in seen.counted
    ]
    record = VersionRecord(tuple(sorted(files)))
    return record if record.digest.manifest == version.facts.manifest else None


def version_sources(
    version: Version, head: Head, here: str
) -> Iterator[AbstractContextManager[Path]]:
    """Lists where the bytes of a version may lie besides one directory, the likeliest first.

    Args:
        version: The version.
        head: Head of its model.
        here: The directory in question.

    Yields:
        Context managers of local directories, to which what lies in a store is downloaded. They
        need not exist, and nobody has compared their bytes.
    """
    if version.uri != f"{here}/{version.number}":  # as of what was adopted
        yield _local(version.uri)
    for destination in head.deployments:
        if destination != here:
            yield _local(f"{destination}/{version.number}")


def held_elsewhere(version: Version, head: Head, here: str) -> bool:
    """Tells whether another place than a directory holds the bytes of a version; hashes them."""
    for source in version_sources(version, head, here):
        with source as path:
            if holds(path, version):
                return True
    return False


def held_in_stores(version: Version, head: Head) -> bool:
    """Tells whether an object store holds the bytes of a version; asks the stores only."""
    for place in filter(is_object_url, head.deployments):
        view = ObjectView.open(ObjectUrl.parse(place))
        record = view.record(version.number, version.facts.manifest)
        if record is not None and view.holds_blobs(record):
            return True
    if not is_object_url(version.uri):
        return False
    with _local(version.uri) as path:
        return holds(path, version)


@contextmanager
def _local(place: str) -> Iterator[Path]:
    if not is_object_url(place):
        yield Path(place)
        return
    with ExitStack() as stack:
        try:
            path = stack.enter_context(fetched_model(place))
        except RegistryError as error:
            _logger.warning("%s has no bytes for us: %s", place, error)
            path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "nothing"
        yield path
