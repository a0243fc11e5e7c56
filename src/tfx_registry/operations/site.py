"""A serving directory together with the registry of its model, held by one operation."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tfx_registry.digest import digest_path
from tfx_registry.errors import IntegrityError, InvalidModelError, NotFoundError, RefusedError
from tfx_registry.names import model_key
from tfx_registry.records import Deployment, Head, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving import ServingDirectory, base_directory
from tfx_registry.serving.objects import is_object_url
from tfx_registry.serving.receipts import Bytes, BytesCheck, check_bytes, write_receipt
from tfx_registry.serving.shelf import Shelf

__all__ = ["Site", "check_owner", "holds", "is_used", "model_of", "open_site", "sources", "stored"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Site:
    """What an operation works on while it holds the directory.

    Attributes:
        registry: The registry.
        model: Name of the model, as registered.
        directory: The serving directory, locked.
        shelf: Its places that no server sees.
        actor: Who acts.
    """

    registry: ModelRegistry
    model: str
    directory: ServingDirectory
    shelf: Shelf
    actor: str | None = None

    @property
    def base(self) -> Path:
        """The serving base directory."""
        return self.directory.base

    @property
    def destination(self) -> str:
        """The serving base directory, as the registry names it."""
        return str(self.directory.base)

    def head(self) -> Head:
        """Returns the head of the model as it is now."""
        return self.registry.head(self.model)

    def deployment(self) -> Deployment | None:
        """Returns what serves here by the registry, or None."""
        return self.head().deployments.get(self.destination)

    def check(self, version: Version, path: Path, *, hash_all: bool = False) -> BytesCheck:
        """Checks the bytes of a version that lie somewhere in the directory."""
        manifest = version.facts.manifest
        return check_bytes(self.base, path, version.number, manifest=manifest, hash_all=hash_all)

    def put_away(self, number: int) -> None:
        """Takes a version out of what servers see."""
        self.shelf.withdraw(str(number))

    def withdrawn_copy(self, version: Version, *, hash_all: bool = False) -> Path | None:
        """Returns a withdrawn copy with the right bytes, or None."""
        for path in self.shelf.withdrawn().get(version.number, []):
            if self.check(version, path, hash_all=hash_all).state is Bytes.RIGHT:
                return path
        return None

    def publish(
        self,
        version: Version,
        *,
        before_visible: Callable[[], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Path | None:
        """Publishes a version again, from anywhere that has its bytes.

        Args:
            version: The version.
            before_visible: See `ServingDirectory.publish`.
            progress: See `ServingDirectory.publish`.

        Returns:
            Where it lies now, or None if no place has the right bytes.
        """
        for source in sources(version, self.head(), self.base):
            try:
                published = self.directory.publish(
                    source,
                    version.number,
                    owner=model_key(self.model),
                    digest=version.facts.digest,
                    manifest=version.facts.manifest,
                    before_visible=before_visible,
                    progress=progress,
                    beside_newer=True,
                )
            except (IntegrityError, InvalidModelError) as error:
                _logger.warning("%s is not published from %s: %s", version.ref, source, error.why)
                continue
            write_receipt(self.base, version.number, manifest=version.facts.manifest)
            return published.path
        return None


@contextmanager
def open_site(
    registry: ModelRegistry,
    model: str,
    serving_dir: str | os.PathLike[str],
    *,
    actor: str | None = None,
) -> Iterator[Site]:
    """Waits for the lock of a serving directory and holds it.

    Args:
        registry: The registry.
        model: Name of the model.
        serving_dir: Its serving base directory; made when it does not exist.
        actor: Who acts.

    Yields:
        The directory with its registry.

    Raises:
        AccessDeniedError: The access policy does not let the actor promote.
        RefusedError: The directory is for another model.
        ServingDirectoryError: It cannot be used.
    """
    registry.check_may_promote(model, actor)
    base = base_directory(serving_dir)
    check_owner(registry, Shelf(base), model)  # before the lock makes a directory that is gone
    with ServingDirectory.lock(base) as directory:
        shelf = Shelf(directory.base)
        check_owner(registry, shelf, model)
        yield Site(registry, model, directory, shelf, actor)


def check_owner(registry: ModelRegistry, shelf: Shelf, model: str) -> None:
    """Refuses a directory that is for another model, by what it says itself or by the registry.

    Raises:
        RefusedError: It is.
    """
    base, owner = shelf.base, shelf.owner()
    if owner and owner != model_key(model):
        raise RefusedError(
            f"cannot use {str(base)!r} for {model!r}",
            f"the directory is for the model {owner!r}",
            f"name {owner!r}, or the directory of {model!r}",
        )
    others = [] if owner else _users(registry, base)
    if others and model_key(model) not in {model_key(head.model) for head in others}:
        other = others[0].model
        raise RefusedError(
            f"cannot use {str(base)!r} for {model!r}",
            f"it does not say for which model it is, and by the registry it is for {other!r}",
            f"name {other!r}, which 'tfx-registry reconcile {other} --serving-dir {base}' puts in "
            f"order, or give {model!r} a directory of its own",
        )


def is_used(head: Head, base: Path | str) -> bool:
    """Tells whether a directory is for a model by the registry.

    Args:
        head: Head of the model.
        base: The serving base directory.
    """
    places = (head.deployments, head.unfinished, head.rollouts, head.canaries)
    return any(str(base) in place for place in places)


def _users(registry: ModelRegistry, base: Path) -> list[Head]:
    return [head for head in registry.list_models() if is_used(head, base)]


def model_of(registry: ModelRegistry, base: Path) -> str:
    """Finds out for which model a serving directory is.

    Args:
        registry: The registry.
        base: The serving base directory.

    Returns:
        Name of the model, as registered.

    Raises:
        NotFoundError: Neither the directory nor the registry says.
    """
    owner = Shelf(base).owner()
    for head in registry.list_models():
        if model_key(head.model) == owner or (not owner and is_used(head, base)):
            return head.model
    raise NotFoundError(
        f"nothing is known of the serving directory {str(base)!r}",
        f"it says that it is for {owner!r}, which is not registered"
        if owner
        else "nothing was promoted into it",
        "check the path and the registry; what something else published there can be taken over "
        "with 'tfx-registry adopt MODEL --serving-dir DIR'",
    )


def sources(version: Version, head: Head, base: Path) -> list[Path]:
    """Lists where the bytes of a version may lie, outside of what a server sees in a directory.

    Args:
        version: The version.
        head: Head of its model.
        base: The serving base directory in question.

    Returns:
        Directories that exist, the likeliest first; nobody has looked at their bytes.
    """
    found = list(Shelf(base).withdrawn().get(version.number, []))
    if "://" not in version.uri:
        found.append(Path(version.uri))
    for destination in head.deployments:
        if is_object_url(destination):
            continue  # no path; `stored` asks there
        other = Path(destination)
        if other != base:
            found.append(other / str(version.number))
            found += Shelf(other).withdrawn().get(version.number, [])
    own = base / str(version.number)
    places = (path for path in dict.fromkeys(found) if path != own)
    return [path for path in places if os.path.isdir(path)]  # noqa: PTH112 - one may not look: False


def stored(version: Version, head: Head) -> bool:
    """Tells whether an object store holds the bytes of a version; asks none if none is known."""
    if not any(is_object_url(place) for place in (version.uri, *head.deployments)):
        return False
    from tfx_registry.operations.objects.site import held_in_stores

    return held_in_stores(version, head)


def holds(path: Path, version: Version) -> bool:
    """Tells whether a place has the bytes of a version; hashes them."""
    try:
        return digest_path(path).manifest == version.facts.manifest
    except InvalidModelError:
        return False
