"""Lets an older version serve again in an object store: newer ones are taken out of the listing.

Their bytes stay where they are out of sight, so nothing is copied for what goes. What comes back,
if it is not visible any more, is copied inside the store before anything goes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from tfx_registry.errors import ConflictError, IntegrityError, RefusedError
from tfx_registry.operations.objects.recovery import (
    known_numbers,
    put_newer_away,
    recover_objects,
)
from tfx_registry.operations.objects.site import ObjectSite, open_object_site
from tfx_registry.records import Deployment, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving.objects import ObjectUrl
from tfx_registry.serving.receipts import Bytes

__all__ = ["roll_back_objects"]

_logger = logging.getLogger(__name__)


def roll_back_objects(
    registry: ModelRegistry,
    model: str,
    url: ObjectUrl,
    to: int | None,
    *,
    reason: str,
    actor: str | None,
    hash_all: bool,
    progress: Callable[[int], None] | None,
) -> tuple[Version, int, tuple[str, ...], tuple[str, ...], bool]:
    """Rolls back; see `tfx_registry.operations.rollback`.

    Args:
        registry: The registry.
        model: Name of the model.
        url: Address of the serving base directory.
        to: The version; None means the one that served there before.
        reason: Why; not empty.
        actor: Who.
        hash_all: Whether to read and hash the version first.
        progress: Called with the number of bytes uploaded since the last call.

    Returns:
        The version, the one that it replaces, the names that were taken away, what an earlier
        crash had left, and whether anything was changed.

    Raises:
        RegistryError: See `tfx_registry.operations.rollback`.
    """
    place = str(url)
    before = registry.deployment(model, place)
    aim = registry.check_rollback(model, place, to).number
    with open_object_site(registry, model, url, actor=actor) as site:
        recovered = tuple(recover_objects(site))
        now = registry.deployment(model, place)
        if to is None and now.seq != before.seq and now.number != aim:
            raise ConflictError(
                f"cannot roll back {model!r} in {place!r}",
                f"version {before.number} served when this began, version {now.number} does now",
                "look at 'tfx-registry status', then decide again",
            )
        version = registry.check_rollback(model, place, aim)
        replaces = before.number if recovered else now.number
        names = _roll_back(site, now, version, reason, hash_all, progress)
        if names is None:
            return version, replaces, (), recovered, bool(recovered)
        try:
            after = registry.record_rollback(
                model, aim, place, known_numbers(site, names), reason=reason, actor=actor
            )
        except RefusedError:
            recover_objects(site)  # somebody rejected it in the last moment: what served comes back
            raise
    _logger.info("%s rolled back to %s, put away: %s", place, after.ref, names)
    return after, replaces, tuple(names), recovered, True


def _roll_back(
    site: ObjectSite,
    now: Deployment,
    version: Version,
    reason: str,
    hash_all: bool,
    progress: Callable[[int], None] | None,
) -> list[str] | None:
    """Changes what a server sees; None where that is as it should be."""
    found = site.state(version, hash_all=hash_all)
    if found.state is Bytes.CHANGED:
        raise IntegrityError(
            f"cannot roll back to {version.ref}",
            f"the bytes at '{site.destination}/{version.number}' were changed: {found.detail}",
            "put them in order with 'tfx-registry reconcile --quarantine', or choose another "
            "version with --to",
        )
    record = None
    if found.state is Bytes.MISSING:
        record = site.store(version, progress=progress)
        if record is None:
            others = ", ".join(str(n) for n in now.trail if n != version.number)
            raise IntegrityError(
                f"cannot roll back to {version.ref}",
                "its bytes are not in the serving directory, and no other known place holds them",
                f"choose another version with --to: {others or 'there is none'}",
            )
    newer = max(site.directory.visible(), default=0) > version.number
    if now.number == version.number and record is None and not newer:
        return None
    if now.number != version.number:
        site.registry.record_rollback_intent(
            site.model, version.number, site.destination, reason=reason, actor=site.actor
        )
    if record is not None:
        site.directory.show(version.number, record)
    return put_newer_away(site, version.number)
