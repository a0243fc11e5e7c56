"""Finds the bytes of the version that serves, and what served before."""

from __future__ import annotations

from dataclasses import dataclass

from tfx_registry.components import places
from tfx_registry.errors import InvalidInputError, InvalidModelError
from tfx_registry.gate import Reason
from tfx_registry.records import Version
from tfx_registry.registry import ModelRegistry

__all__ = ["BaselineBytes", "find_bytes", "served_earlier"]


@dataclass(frozen=True)
class BaselineBytes:
    """Where the bytes of the version that serves can be read, or why they cannot.

    Attributes:
        path: Path or address that holds exactly the registered bytes; "" if there is none.
        reason: Why there is none.
        message: The same as one readable line.
        notes: Remarks for the decision, such as a place that could not be reached.
    """

    path: str = ""
    reason: Reason | None = None
    message: str = ""
    notes: tuple[str, ...] = ()


def find_bytes(registry: ModelRegistry, version: Version, alias: str) -> BaselineBytes:
    """Finds the registered bytes of the version that serves.

    The copy in the serving directory comes first, because it is what serves. If that copy can be
    read and is not what was registered, nothing else is taken in its place.

    Args:
        registry: The registry.
        version: The version that serves.
        alias: The alias under which it serves.

    Returns:
        Where they are, or why they cannot be compared with.
    """
    deployments = registry.head(version.model).deployments.values()
    copies = [
        f"{deployment.destination}/{deployment.number}"
        for deployment in sorted(deployments, key=lambda d: d.seq, reverse=True)
        if deployment.alias == alias and deployment.number == version.number
    ]
    changed = ""
    tried: list[str] = []
    for place in [*copies, *_registered(version)]:
        unreachable = _unreachable(place)
        if unreachable is not None:
            tried.append(place + unreachable)
            continue
        difference = _difference(version, place)
        if not difference:
            found = places.find_model(place)
            return BaselineBytes(path=found, notes=_notes(version, copies, found))
        if place in copies:
            message = f"what serves at {place!r} is not {version.ref}: {difference}"
            return BaselineBytes(reason=Reason.BASELINE_BYTES_CHANGED, message=message)
        changed = changed or difference
    if changed:
        message = f"there is nothing left to compare with {version.ref}, which serves: {changed}"
        return BaselineBytes(reason=Reason.BASELINE_BYTES_CHANGED, message=message)
    message = (
        f"the bytes of {version.ref}, which serves, are gone or out of reach; looked at: "
        + ", ".join(dict.fromkeys(tried))
    )
    return BaselineBytes(reason=Reason.BASELINE_BYTES_GONE, message=message)


def served_earlier(
    registry: ModelRegistry, model: str, alias: str, manifest: str, before: int
) -> int | None:
    """Looks for the last time that bytes served under an alias before the present deployment.

    Args:
        registry: The registry.
        model: Name of the model.
        alias: The alias.
        manifest: Manifest digest of the bytes.
        before: Sequence number of the present deployment.

    Returns:
        The sequence number of the event that made them serve, or None if they never did.
    """
    manifests: dict[int, str] = {}
    for event in reversed(registry.history(model)):
        number = event.number
        if event.seq >= before or number is None or event.payload.kind not in _SERVING_EVENTS:
            continue
        if getattr(event.payload, "alias", None) != alias:
            continue
        if number not in manifests:
            manifests[number] = registry.get(model, number).facts.manifest
        if manifests[number] == manifest:
            return event.seq
    return None


#: Kinds of events after which another version serves.
_SERVING_EVENTS = frozenset({"promoted", "rolled_back", "adopted"})


def _registered(version: Version) -> list[str]:
    return [uri for uri in (version.uri, version.origin.artifact_uri) if uri]


def _unreachable(place: str) -> str | None:
    """Says why nothing can be read at a place, "" where nothing lies there; None if it can be."""
    try:
        return None if places.lies_there(place) else ""
    except InvalidInputError as error:
        return f" ({error.why})"


def _difference(version: Version, place: str) -> str:
    """Says how a place differs from the registered bytes; "" if it does not."""
    try:
        root, manifest = places.digests_of(place)
    except InvalidModelError as error:
        return str(error)
    if (root, manifest) == (version.facts.digest, version.facts.manifest):
        return ""
    return f"{place!r} has the digest {root[:16]}, registered is {version.digest[:16]}"


def _notes(version: Version, copies: list[str], place: str) -> tuple[str, ...]:
    if not copies or place == copies[0]:
        return ()
    return (
        f"the serving copy {copies[0]!r} of {version.ref} is out of reach here; compared "
        f"with the same bytes at {place!r}",
    )
