"""What lies in a serving directory, beside what the registry says of it. Changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tfx_registry.operations.bases import Base
from tfx_registry.operations.config_entry import config_problems
from tfx_registry.operations.site import check_owner, model_of
from tfx_registry.operations.undone import undone_problems
from tfx_registry.records import Deployment, Head, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving import base_directory, list_version_directories
from tfx_registry.serving.objects import ObjectUrl, is_object_url
from tfx_registry.serving.receipts import Bytes, check_bytes, fits_receipt
from tfx_registry.serving.shelf import Shelf

__all__ = ["DirectoryStatus", "Row", "directory_problems", "status"]


@dataclass(frozen=True)
class Row:
    """One directory.

    Attributes:
        name: Its name.
        number: The version that a server takes it for, or None.
        place: "visible", "withdrawn", "quarantine", or "missing" for one that should be there.
        registered: Whether the registry knows the version.
        bytes: "right", "changed" or "missing" where they were hashed or are gone; "untouched" or
            "touched" by the receipt; "unknown" without one.
        aliases: Aliases of the version.
        serves: Whether it serves here by the registry.
    """

    name: str
    number: int | None
    place: str
    registered: bool
    bytes: str
    aliases: tuple[str, ...]
    serves: bool


@dataclass(frozen=True)
class DirectoryStatus:
    """What lies in a serving directory.

    Attributes:
        model: Name of the model.
        directory: The serving base directory.
        deployment: What serves by the registry, or None.
        loads: The version that a server with its default policy loads, or None.
        rows: The directories, by number.
        unfinished: What was begun and not recorded, or None.
        problems: What is not as it should be, one line each.
        canary: What is on trial, or None.
    """

    model: str
    directory: str
    deployment: Deployment | None
    loads: int | None
    rows: tuple[Row, ...]
    unfinished: Deployment | None
    problems: tuple[str, ...]
    canary: Deployment | None = None


def status(
    registry: ModelRegistry,
    serving_dir: str | os.PathLike[str],
    model: str | None = None,
    *,
    hash_all: bool = False,
) -> DirectoryStatus:
    """Looks at a serving directory.

    Args:
        registry: The registry.
        serving_dir: The serving base directory.
        model: Name of the model; None means the one that the directory is for.
        hash_all: Whether to hash every registered version. Otherwise sizes, times and inodes are
            compared with those recorded when it was last hashed.

    Returns:
        What lies there. While somebody changes it, it may be of an instant in between.

    Raises:
        NotFoundError: Nothing is known of the directory.
        RefusedError: It is for another model.
    """
    if is_object_url(serving_dir):
        from tfx_registry.operations.objects import status_of_objects

        return status_of_objects(registry, ObjectUrl.parse(serving_dir), model, hash_all=hash_all)
    base = base_directory(serving_dir)
    name = model if model is not None else model_of(registry, base)
    check_owner(registry, Shelf(base), name)
    head = registry.head(name)
    now = head.deployments.get(str(base))
    visible = list_version_directories(base)
    rows = tuple(_rows(registry, head, base, now, hash_all))
    loads = max(visible, default=None)
    problems = (*_problems(head, base, rows), *undone_problems(registry, name, base))
    unfinished = head.unfinished.get(str(base))
    canary = head.canaries.get(str(base))
    return DirectoryStatus(head.model, str(base), now, loads, rows, unfinished, problems, canary)


def _rows(
    registry: ModelRegistry, head: Head, base: Path, now: Deployment | None, hash_all: bool
) -> Iterator[Row]:
    shelf = Shelf(base)
    visible = list_version_directories(base)
    places = [(n, base / name, "visible") for n, names in visible.items() for name in names]
    places += [(n, path, "withdrawn") for n, paths in shelf.withdrawn().items() for path in paths]
    for should in (now, head.canaries.get(str(base))):
        if should is not None and not os.path.lexists(base / str(should.number)):
            places.append((should.number, base / str(should.number), "missing"))
    versions = registry.known_versions(head.model, {number for number, *_ in places})
    for number, path, place in sorted(places, key=lambda p: (p[0], p[2], p[1])):
        version = versions.get(number)
        yield Row(
            path.name,
            number,
            place,
            version is not None,
            _bytes(base, path, version, hash_all),
            version.aliases if version else (),
            now is not None and number == now.number and path == base / str(number),
        )
    for path in shelf.quarantined():
        yield Row(path.name, None, "quarantine", False, "unknown", (), False)


def _bytes(base: Path, path: Path, version: Version | None, hash_all: bool) -> str:
    if version is None:
        return "unknown"
    if not os.path.lexists(path):
        return Bytes.MISSING.value
    manifest = version.facts.manifest
    if hash_all:
        return check_bytes(base, path, version.number, manifest=manifest, hash_all=True).state.value
    fits = fits_receipt(base, path, version.number, manifest=manifest)
    return "unknown" if fits is None else ("untouched" if fits else "touched")


def _problems(head: Head, base: Path, rows: tuple[Row, ...]) -> Iterator[str]:
    yield from directory_problems(head, base, rows)
    if Shelf(base).trashed():
        yield "a removal was interrupted: run 'tfx-registry reconcile'"


def directory_problems(head: Head, base: Base, rows: tuple[Row, ...]) -> Iterator[str]:
    """Says what is not as it should be in a directory, wherever it lies.

    Args:
        head: Head of the model.
        base: The serving base directory.
        rows: What lies there.

    Yields:
        One line each.
    """
    now = head.deployments.get(str(base))
    begun = head.unfinished.get(str(base))
    if begun is not None:
        what = begun.operation or "promotion"
        yield f"a {what} to version {begun.number} was interrupted: run 'tfx-registry reconcile'"
    visible = [row for row in rows if row.place == "visible"]
    withdrawn = {row.number for row in rows if row.place == "withdrawn"}
    for row in rows:
        serves = now is not None and row.number == now.number
        if row.place == "missing" and serves and begun is None and row.number in withdrawn:
            # As docs/serving.md says to do while the registry cannot be reached.
            yield (
                f"version {row.number} should serve and was put away: record that with "
                "'tfx-registry rollback', or bring it back with 'tfx-registry reconcile'"
            )
        elif row.place == "missing":
            what = "should serve" if serves else "is on trial"
            yield f"version {row.number} {what} and is missing: run 'tfx-registry reconcile'"
        if row.bytes == "changed":
            yield f"{row.name} ({row.place}) has other bytes than the registered version"
        if row.bytes == "touched":
            yield f"{row.name} ({row.place}) was written to: look closer with --verify"
    for row in visible:
        if not row.registered:
            yield f"{row.name} is not from this registry"
        elif row.name != str(row.number):
            yield f"{row.name} is version {row.number} to a server, under another name"
        above = now is not None and row.number is not None and row.number > now.number
        if above and now is not None and (now.config is None or not row.registered):
            yield f"{row.name} lies above version {now.number}, which should serve"
    yield from config_problems(head, base)
    if now is None and visible:
        yield "nothing was promoted here: take it over with 'tfx-registry adopt'"
