"""What lies in a serving directory in an object store. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from tfx_registry.operations.directory_status import DirectoryStatus, Row, directory_problems
from tfx_registry.operations.objects.site import (
    check_object_owner,
    model_of_objects,
    object_state,
)
from tfx_registry.operations.undone import undone_problems
from tfx_registry.records import Deployment, Head, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving.objects import ObjectUrl, ObjectView, Seen
from tfx_registry.serving.receipts import Bytes

__all__ = ["status_of_objects"]


def status_of_objects(
    registry: ModelRegistry, url: ObjectUrl, model: str | None, *, hash_all: bool
) -> DirectoryStatus:
    """Looks at a directory; see `tfx_registry.operations.status`.

    Args:
        registry: The registry.
        url: Address of the serving base directory.
        model: Name of the model; None means the one that the directory is for.
        hash_all: Whether to read and hash every registered version. Otherwise lengths and the
            checksums that the store has computed are compared.

    Returns:
        What lies there. While somebody changes it, it may be of an instant in between.

    Raises:
        RegistryError: See `tfx_registry.operations.status`.
    """
    directory = ObjectView.open(url)
    name = model if model is not None else model_of_objects(registry, directory)
    check_object_owner(registry, directory, name)
    head = registry.head(name)
    place = str(url)
    now = head.deployments.get(place)
    visible = directory.visible()
    rows = tuple(_rows(registry, head, directory, visible, now, hash_all))
    problems = (*_problems(head, url, rows), *undone_problems(registry, name, url))
    return DirectoryStatus(
        head.model, place, now, max(visible, default=None), rows, head.unfinished.get(place),
        problems, head.canaries.get(place),
    )  # fmt: skip


def _rows(
    registry: ModelRegistry,
    head: Head,
    directory: ObjectView,
    visible: dict[int, list[str]],
    now: Deployment | None,
    hash_all: bool,
) -> Iterator[Row]:
    places = [(n, name, "visible") for n, names in visible.items() for name in names]
    places += [(n, str(n), "withdrawn") for n in directory.recorded() if n not in visible]
    for should in (now, head.canaries.get(str(directory.url))):
        if should is not None and str(should.number) not in visible.get(should.number, []):
            places = [p for p in places if p[0] != should.number]
            places.append((should.number, str(should.number), "missing"))
    versions = registry.known_versions(head.model, {number for number, *_ in places})
    for number, name, place in sorted(places):
        version = versions.get(number)
        yield Row(
            name,
            number,
            place,
            version is not None,
            _bytes(directory, name, place, version, hash_all),
            version.aliases if version else (),
            now is not None and number == now.number and name == str(number),
        )
    for name in directory.put_away():
        yield Row(name, None, "quarantine", False, "unknown", (), False)


def _bytes(
    directory: ObjectView, name: str, place: str, version: Version | None, hash_all: bool
) -> str:
    if version is None or name != str(version.number):
        return "unknown"
    if place == "missing":
        return Bytes.MISSING.value
    record = directory.record(version.number, version.facts.manifest)
    if place == "withdrawn":
        whole = record is not None and directory.holds_blobs(record, read=hash_all)
        return ("right" if hash_all else "untouched") if whole else "touched"
    if hash_all:
        return object_state(directory, version, hash_all=True).state.value
    seen = directory.look(name)
    if not seen.loadable:
        return Bytes.MISSING.value
    if record is None:
        return "unknown"
    return "untouched" if _looks_right(seen, record.by_path) else "touched"


def _looks_right(seen: Seen, wanted: object) -> bool:
    """Compares what a listing says; reads nothing."""
    files = dict(wanted)  # type: ignore[call-overload]
    objects = {path: seen.objects[path] for path in seen.counted}
    return objects.keys() == files.keys() and all(
        stored.size_bytes == files[path].size_bytes
        and (not stored.md5 or not files[path].md5 or stored.md5 == files[path].md5)
        for path, stored in objects.items()
    )


def _problems(head: Head, url: ObjectUrl, rows: tuple[Row, ...]) -> Iterator[str]:
    for row in rows:
        if row.place == "visible" and row.bytes == "missing":
            yield (
                f"{row.name} has no saved_model.pb, so a server tries in vain to load it: run "
                "'tfx-registry reconcile'"
            )
    yield from directory_problems(head, url, rows)
