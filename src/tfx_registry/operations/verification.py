"""Compares every place that should hold the bytes of a version with its digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tfx_registry.digest import digest_path
from tfx_registry.errors import InvalidModelError
from tfx_registry.records import Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving.objects import is_object_url
from tfx_registry.serving.receipts import Bytes
from tfx_registry.serving.shelf import Shelf

__all__ = ["LOADED", "Place", "Verification", "verify"]

#: Roles of places that servers load.
LOADED = ("serves", "on trial")


@dataclass(frozen=True)
class Place:
    """One place of a version.

    Attributes:
        path: The directory or file.
        role: "registered from", "serves", "on trial", "in a serving directory", or "withdrawn".
        state: What lies there, by its digest.
        detail: What is wrong, in words.
    """

    path: str
    role: str
    state: Bytes
    detail: str = ""


@dataclass(frozen=True)
class Verification:
    """What became of the bytes of a version.

    Attributes:
        version: The version.
        places: Everywhere that its bytes are known to have been.
    """

    version: Version
    places: tuple[Place, ...]

    @property
    def good(self) -> bool:
        """Whether nothing was changed, what servers load is right, and some place has the bytes.

        A place that a version was registered from may be gone: pipelines clean up.
        """
        changed = any(place.state is Bytes.CHANGED for place in self.places)
        wrong = any(p.role in LOADED and p.state is not Bytes.RIGHT for p in self.places)
        return not changed and not wrong and any(p.state is Bytes.RIGHT for p in self.places)


def verify(registry: ModelRegistry, model: str, number: int) -> Verification:
    """Hashes every place of a version. Changes nothing.

    Args:
        registry: The registry.
        model: Name of the model.
        number: The version.

    Returns:
        What lies where.

    Raises:
        NotFoundError: There is no such version.
    """
    version = registry.get(model, number)
    places = {Path(version.uri): "registered from"} if "://" not in version.uri else {}
    head = registry.head(model)
    stored = [destination for destination in head.deployments if is_object_url(destination)]
    for destination in (d for d in head.deployments if d not in stored):
        base = Path(destination)
        own = base / str(number)
        if destination in version.serving:
            places[own] = "serves"
        elif (trial := head.canaries.get(destination)) and trial.number == number:
            places[own] = "on trial"
        elif own.is_dir():
            places[own] = "in a serving directory"
        for path in Shelf(base).withdrawn().get(number, []):
            places[path] = "withdrawn"
    found = [_check(p, role, version) for p, role in places.items()]
    if stored or is_object_url(version.uri):
        from tfx_registry.operations.objects.verification import places_in_stores

        found += places_in_stores(version, head, stored)
    return Verification(version, tuple(found))


def _check(path: Path, role: str, version: Version) -> Place:
    if not path.exists():
        return Place(str(path), role, Bytes.MISSING, "there is nothing")
    try:
        found = digest_path(path)
    except InvalidModelError as error:
        return Place(str(path), role, Bytes.CHANGED, error.why)
    if found.manifest == version.facts.manifest:
        return Place(str(path), role, Bytes.RIGHT)
    detail = f"its digest is {found.root[:16]}, registered is {version.digest[:16]}"
    if found.root == version.digest:
        detail = "files were renamed"
    return Place(str(path), role, Bytes.CHANGED, detail)
