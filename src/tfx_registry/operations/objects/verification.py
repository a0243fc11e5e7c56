"""Hashes the places of a version that lie in object stores."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tfx_registry.errors import InvalidModelError
from tfx_registry.operations.objects.site import object_state
from tfx_registry.operations.site import holds
from tfx_registry.operations.verification import Place
from tfx_registry.records import Head, Version
from tfx_registry.serving.objects import ObjectUrl, ObjectView, is_object_url
from tfx_registry.serving.objects.models import fetched_model
from tfx_registry.serving.receipts import Bytes

__all__ = ["places_in_stores"]


def places_in_stores(
    version: Version, head: Head, destinations: Collection[str]
) -> Iterator[Place]:
    """Reads and hashes every place of a version in an object store. Changes nothing.

    Args:
        version: The version.
        head: Head of its model.
        destinations: Serving base directories of its model in object stores.

    Yields:
        What lies where.

    Raises:
        ServingDirectoryError: A store refuses.
        StoreUnavailableError: It does not answer.
    """
    own = {f"{destination}/{version.number}" for destination in destinations}
    if is_object_url(version.uri) and version.uri not in own:
        yield _registered_from(version)
    for destination in destinations:
        view, path = (
            ObjectView.open(ObjectUrl.parse(destination)),
            f"{destination}/{version.number}",
        )
        check = object_state(view, version, hash_all=True)
        trial = head.canaries.get(destination)
        serves = destination in version.serving
        tried = trial is not None and trial.number == version.number
        if serves or tried or check.state is not Bytes.MISSING:
            role = "on trial" if tried else "in a serving directory"
            yield Place(path, "serves" if serves else role, check.state, check.detail)
        record = view.record(version.number, version.facts.manifest)
        if record is not None and check.state is Bytes.MISSING:
            whole = view.holds_blobs(record, read=True)
            state = Bytes.RIGHT if whole else Bytes.CHANGED
            yield Place(path, "withdrawn", state, "" if whole else "stored bytes are gone or wrong")


def _registered_from(version: Version) -> Place:
    try:
        with fetched_model(version.uri) as path:
            right = holds(path, version)
    except InvalidModelError as error:
        return Place(version.uri, "registered from", Bytes.MISSING, error.why)
    state = Bytes.RIGHT if right else Bytes.CHANGED
    return Place(version.uri, "registered from", state, "" if right else "other bytes")
