"""Finishes or undoes what a crash has left in a serving directory.

Every operation that changes a directory begins with this, so nobody has to remember to clean up.
What was begun is in the log (the intent); what was done is in the directory. A promotion that has
become visible is finished if it is still allowed, else undone; one that has not is forgotten. A
rollback is always finished, unless the bytes that it went back to are gone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

from tfx_registry.errors import (
    NotFoundError,
    RefusedError,
    ServingDirectoryError,
)
from tfx_registry.operations.site import Site
from tfx_registry.operations.undone import finish_undone_if_possible
from tfx_registry.records import Deployment, Version
from tfx_registry.serving import list_version_directories
from tfx_registry.serving.layout import parse_version_name
from tfx_registry.serving.receipts import Bytes

__all__ = [
    "bring_back",
    "find_unfinished",
    "forget",
    "known_numbers",
    "put_newer_away",
    "recover",
]

_logger = logging.getLogger(__name__)


def recover(site: Site, *, repeated: int | None = None) -> list[str]:
    """Finishes or undoes what an operation that died has begun.

    Args:
        site: The directory, held.
        repeated: A version whose promotion is about to be repeated; that finishes it.

    Returns:
        What was done, one line each; nothing to do is the usual case.

    Raises:
        RegistryError: The registry or the directory cannot be changed.
    """
    did = list(_empty_trash(site))
    begun = find_unfinished(site)
    if begun is not None:
        if begun.operation == "rollback":
            did.append(_finish_rollback(site, begun))
        elif begun.number != repeated:
            did += _finish_promotion(site, begun)
    else:
        did += finish_undone_if_possible(site, site.base, repeated)
    for line in did:
        _logger.warning("%s: %s", site.base, line)
    return did


def find_unfinished(site: Site) -> Deployment | None:
    """Returns what was begun in the directory and not recorded, or None."""
    return site.head().unfinished.get(site.destination)


def bring_back(site: Site, version: Version, *, hash_all: bool = False) -> bool:
    """Makes a version visible from where it was put away.

    Args:
        site: The directory, held.
        version: The version; nothing lies in its place.
        hash_all: Whether to hash everything, whatever the receipt says.

    Returns:
        Whether a withdrawn copy had the right bytes.
    """
    copy = site.withdrawn_copy(version, hash_all=hash_all)
    if copy is None:
        return False
    site.shelf.restore(copy, str(version.number))
    return True


def put_newer_away(site: Site, number: int) -> list[str]:
    """Puts away whatever a server would load in place of a version.

    The oldest goes first: until the last rename the server goes on with the newest, and after it
    with the version itself. In between it never sees another one on top.

    Args:
        site: The directory, held; the version is visible in it.
        number: The version that is to serve.

    Returns:
        Names that were put away.
    """
    names = [
        name
        for found, spellings in list_version_directories(site.base).items()
        for name in spellings
        if found > number or (found == number and name != str(number))
    ]
    for name in names:
        site.shelf.withdraw(name)
    return names


def _empty_trash(site: Site) -> list[str]:
    """Removes what was recorded as removed, and puts the rest back."""
    did = []
    for trashed in site.shelf.trashed():
        version = _known(site, trashed.number)
        if version is not None and (
            site.destination in version.removed_from or _lies_here(site, version)
        ):  # a second copy needs no record
            try:
                site.shelf.empty(trashed)
            except ServingDirectoryError as error:
                # Garbage that cannot go, such as a file that a server holds open, stops nobody.
                did.append(f"could not finish removing {trashed.name}: {error.why}")
            else:
                did.append(f"finished removing {trashed.name}")
        else:
            site.shelf.put_back(trashed)
            did.append(f"put {trashed.name} back, whose removal was not recorded")
    return did


def _lies_here(site: Site, version: Version) -> bool:
    path = site.base / str(version.number)
    right = os.path.lexists(path) and site.check(version, path).state is Bytes.RIGHT
    return right or site.withdrawn_copy(version) is not None


def _known(site: Site, number: int | None) -> Version | None:
    if number is None or number < 1:
        return None
    try:
        return site.registry.get(site.model, number)
    except NotFoundError:
        return None


def _finish_promotion(site: Site, begun: Deployment) -> list[str]:
    version = site.registry.get(site.model, begun.number)
    path = site.base / str(begun.number)
    state = site.check(version, path).state
    if state is Bytes.CHANGED:
        return []  # reported by whoever looks at bytes; nothing is decided on wrong ones
    if state is Bytes.MISSING:
        why = "it had not become visible"
        site.registry.drop_intent(site.model, site.destination, actor=site.actor, reason=why)
        return [f"forgot an interrupted promotion of version {begun.number}: {why}"]
    try:
        site.registry.record_promotion(
            site.model,
            begun.number,
            site.destination,
            begun.alias,
            actor=site.actor,
            reason="finished after an interruption",
        )
    except RefusedError as error:
        before = site.deployment()
        if before is not None and not os.path.lexists(site.base / str(before.number)):
            bring_back(site, site.registry.get(site.model, before.number))
        site.shelf.withdraw(path.name)
        site.registry.drop_intent(site.model, site.destination, actor=site.actor, reason=error.why)
        return [f"undid an interrupted promotion of version {begun.number}: {error.why}"]
    return [f"finished an interrupted promotion of version {begun.number}"]


def _finish_rollback(site: Site, begun: Deployment) -> str:
    version = site.registry.get(site.model, begun.number)
    reason = site.registry.reason_of(site.model, begun.seq)
    try:
        site.registry.check_rollback(site.model, site.destination, begun.number)
    except RefusedError as error:
        return _undo_rollback(site, begun, error.why)
    path = site.base / str(begun.number)
    state = site.check(version, path).state
    if state is Bytes.MISSING:
        there = bring_back(site, version) or site.publish(version) is not None
        state = Bytes.RIGHT if there else Bytes.MISSING
    if state is not Bytes.RIGHT:
        return _undo_rollback(site, begun, f"its bytes are {state.value}")
    names = put_newer_away(site, begun.number)
    site.registry.record_rollback(
        site.model,
        begun.number,
        site.destination,
        known_numbers(site, names),
        actor=site.actor,
        reason=reason,
    )
    return f"finished an interrupted rollback to version {begun.number}"


def _undo_rollback(site: Site, begun: Deployment, why: str) -> str:
    now = site.registry.deployment(site.model, site.destination)
    version = site.registry.get(site.model, now.number)
    if not os.path.lexists(site.base / str(now.number)):
        bring_back(site, version)
    site.registry.drop_intent(site.model, site.destination, actor=site.actor, reason=why)
    return f"undid an interrupted rollback to version {begun.number}: {why}"


def known_numbers(site: Site, names: Iterable[str]) -> list[int]:
    """Returns the versions of the model among directories, ascending.

    Args:
        site: The directory.
        names: Names that a server takes for versions.

    Returns:
        Their numbers, without those that something else made.
    """
    numbers = {parse_version_name(name) for name in names}
    return sorted(n for n in numbers if n is not None and _known(site, n) is not None)


def forget(site: Site, version: Version) -> bool:
    """Removes withdrawn copies of a version that is visible; what only has its number stays.

    Args:
        site: The directory, held.
        version: The version.

    Returns:
        Whether there was one.
    """
    copies = [
        path
        for path in site.shelf.withdrawn().get(version.number, [])
        if site.check(version, path).state is Bytes.RIGHT
    ]
    for path in copies:
        site.shelf.empty(site.shelf.trash(path))
    return bool(copies)
