"""Finishes or undoes what a crash has left in an object store; as `operations.recovery` does."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from tfx_registry.errors import RefusedError
from tfx_registry.operations.objects.site import ObjectSite
from tfx_registry.operations.undone import finish_undone_if_possible
from tfx_registry.records import Deployment
from tfx_registry.serving.layout import parse_version_name
from tfx_registry.serving.receipts import Bytes

__all__ = ["known_numbers", "put_newer_away", "recover_objects"]

_logger = logging.getLogger(__name__)


def recover_objects(site: ObjectSite, *, repeated: int | None = None) -> list[str]:
    """Finishes or undoes what an operation that died has begun.

    Args:
        site: The directory, held.
        repeated: A version whose promotion is about to be repeated; that finishes it.

    Returns:
        What was done, one line each.

    Raises:
        RegistryError: The registry or the store cannot be changed.
    """
    begun = site.head().unfinished.get(site.destination)
    if begun is None:
        did = finish_undone_if_possible(site, site.directory.url, repeated)
    elif begun.operation:
        did = _finish_rollback(site, begun)
    else:
        did = _finish_promotion(site, begun) if begun.number != repeated else []
    for line in did:
        _logger.warning("%s: %s", site.destination, line)
    return did


def put_newer_away(site: ObjectSite, number: int) -> list[str]:
    """Takes away whatever a server would load in place of a version; the oldest goes first.

    Args:
        site: The directory, held; the version is visible in it.
        number: The version that is to serve.

    Returns:
        Names that were taken away.
    """
    names = [
        name
        for found, spellings in site.directory.visible().items()
        for name in spellings
        if found > number or (found == number and name != str(number))
    ]
    for name in names:
        site.hide(name, site.known(parse_version_name(name)))
    return names


def known_numbers(site: ObjectSite, names: Iterable[str]) -> list[int]:
    """Returns the versions of the model among names, ascending."""
    numbers = {parse_version_name(name) for name in names}
    return sorted(n for n in numbers if n is not None and site.known(n) is not None)


def _finish_promotion(site: ObjectSite, begun: Deployment) -> list[str]:
    version = site.registry.get(site.model, begun.number)
    state = site.state(version).state
    if state is Bytes.CHANGED:
        return []  # reported by whoever looks at bytes; nothing is decided on wrong ones
    what = f"an interrupted promotion of version {begun.number}"
    if state is Bytes.MISSING:
        why = "it had not become loadable"
        site.hide(str(begun.number), version)
        site.registry.drop_intent(site.model, site.destination, actor=site.actor, reason=why)
        return [f"forgot {what}: {why}"]
    try:
        site.registry.record_promotion(
            site.model, begun.number, site.destination, begun.alias, actor=site.actor,
            reason="finished after an interruption",
        )  # fmt: skip
    except RefusedError as error:
        before = site.deployment()
        if before is not None:
            served = site.registry.get(site.model, before.number)
            if site.state(served).state is Bytes.MISSING:
                site.show(served)
        site.hide(str(begun.number), version)
        site.registry.drop_intent(site.model, site.destination, actor=site.actor, reason=error.why)
        return [f"undid {what}: {error.why}"]
    return [f"finished {what}"]


def _finish_rollback(site: ObjectSite, begun: Deployment) -> list[str]:
    version = site.registry.get(site.model, begun.number)
    reason = site.registry.reason_of(site.model, begun.seq)
    try:
        site.registry.check_rollback(site.model, site.destination, begun.number)
    except RefusedError as error:
        return [_undo_rollback(site, begun, error.why)]
    state = site.state(version).state
    if state is Bytes.MISSING and site.show(version):
        state = Bytes.RIGHT
    if state is not Bytes.RIGHT:
        return [_undo_rollback(site, begun, f"its bytes are {state.value}")]
    names = put_newer_away(site, begun.number)
    site.registry.record_rollback(
        site.model, begun.number, site.destination, known_numbers(site, names),
        actor=site.actor, reason=reason,
    )  # fmt: skip
    return [f"finished an interrupted rollback to version {begun.number}"]


def _undo_rollback(site: ObjectSite, begun: Deployment, why: str) -> str:
    now = site.registry.deployment(site.model, site.destination)
    served = site.registry.get(site.model, now.number)
    if site.state(served).state is Bytes.MISSING:
        site.show(served)
    site.registry.drop_intent(site.model, site.destination, actor=site.actor, reason=why)
    return f"undid an interrupted rollback to version {begun.number}: {why}"
