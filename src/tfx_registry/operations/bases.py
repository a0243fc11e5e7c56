"""Serving base directories, wherever they lie: of files, or in an object store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from tfx_registry.errors import ServingDirectoryError
from tfx_registry.records import Deployment, Head
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving import base_directory, list_version_directories
from tfx_registry.serving.model_config_document import ModelConfigDocument
from tfx_registry.serving.model_config_file import ModelConfigFile
from tfx_registry.serving.objects import ObjectUrl, ObjectView, is_object_url
from tfx_registry.serving.objects.model_config import StoredModelConfig
from tfx_registry.serving.shelf import Shelf

__all__ = [
    "AnySite",
    "Base",
    "base_of",
    "check_is_there",
    "config_at",
    "exists",
    "is_bare",
    "lies_in",
]

#: A serving base directory. `str(base)` is how the registry names it, `base / "3"` a version in it.
Base = Path | ObjectUrl


def base_of(serving_dir: str | os.PathLike[str] | ObjectUrl) -> Base:
    """Returns the serving base directory of a path or an address.

    Raises:
        ServingDirectoryError: It is a path that cannot be one.
        InvalidUriError: It is an address that cannot be one.
    """
    if isinstance(serving_dir, ObjectUrl):
        return serving_dir
    if is_object_url(serving_dir):
        return ObjectUrl.parse(serving_dir)
    return base_directory(serving_dir)


def lies_in(base: Base, number: int, *, loadable: bool = False) -> bool:
    """Tells whether a server would find a version in a directory.

    Args:
        base: The serving base directory.
        number: The version.
        loadable: Whether it must be one that can be loaded. In a store a version that is just
            coming or going is found, and is not.
    """
    if not isinstance(base, ObjectUrl):
        return os.path.lexists(base / str(number))
    seen = ObjectView.open(base).look(str(number))
    return seen.loadable if loadable else bool(seen.objects)


def exists(base: Base) -> bool:
    """Tells whether a directory is there to be held; in a store it always is."""
    return isinstance(base, ObjectUrl) or base.exists()


def is_bare(base: Path) -> bool:
    """Tells whether nothing in a directory is from this package, or for a server.

    So is an empty mount point, or one in which a command has just waited for its turn.

    Args:
        base: The serving base directory; it need not exist.
    """
    shelf = Shelf(base)
    try:
        return not (list_version_directories(base) or shelf.owner() or shelf.withdrawn())
    except OSError:
        return False  # not for this user, which is said as soon as it is held


def check_is_there(
    registry: ModelRegistry, model: str, base: Base, *, action: str = "publish into"
) -> None:
    """Refuses a directory with nothing in it although a version should serve there.

    Where a volume is not mounted, as in a container that was not given it, the directory would be
    made anew: the version would be gone with the container, and the registry would say it serves.

    Args:
        registry: The registry.
        model: Name of the model.
        base: The serving base directory; an object store is not looked at.
        action: What is about to be done, for the message.

    Raises:
        ServingDirectoryError: A version should serve there, and the directory is missing or empty.
    """
    serving = registry.head(model).deployments.get(str(base))
    if serving is None or isinstance(base, ObjectUrl) or not is_bare(base):
        return
    # What reconcile has found gone and could not bring back stands in nobody's way.
    if str(base) not in registry.get(model, serving.number).removed_from:
        raise ServingDirectoryError(
            f"cannot {action} {str(base)!r}",
            f"version {serving.number} of {model!r} should serve there, and nothing is there",
            "mount its volume; where the volume is lost, let 'tfx-registry reconcile --restore' "
            "bring back what served, and run this again",
        )


def config_at(path: str | os.PathLike[str]) -> type[ModelConfigDocument]:
    """Returns what a model config at a path or an address is handled by."""
    return StoredModelConfig if is_object_url(path) else ModelConfigFile


class AnySite(Protocol):
    """A serving directory together with the registry of its model, held by one operation."""

    @property
    def registry(self) -> ModelRegistry:
        """The registry."""

    @property
    def model(self) -> str:
        """Name of the model, as registered."""

    @property
    def actor(self) -> str | None:
        """Who acts."""

    @property
    def destination(self) -> str:
        """The serving base directory, as the registry names it."""

    def head(self) -> Head:
        """Returns the head of the model as it is now."""

    def deployment(self) -> Deployment | None:
        """Returns what serves here by the registry, or None."""

    def put_away(self, number: int) -> None:
        """Takes a version out of what servers see."""
