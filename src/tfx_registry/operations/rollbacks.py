"""Lets an older version serve again: newer ones are put away by renaming, nothing is copied.

The order, for a server that polls the directory and loads the highest number:

1. everything that may refuse, the bytes of the older version among it;
2. the intent, in the log;
3. the older version becomes visible, if it is not (a server goes on with the newest);
4. the newer ones are put away, the oldest first (a server goes on with the newest until the last
   of them is gone, then it loads the older version; the directory is never empty);
5. one event: what serves, and the alias.

A crash after the intent is finished by whatever is done next with the directory.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tfx_registry.errors import ConflictError, IntegrityError, InvalidInputError, RefusedError
from tfx_registry.operations.bases import base_of
from tfx_registry.operations.recovery import known_numbers, put_newer_away, recover
from tfx_registry.operations.rollouts import roll_back_by_config
from tfx_registry.operations.servers import Servers, check_servers
from tfx_registry.operations.site import Site, open_site
from tfx_registry.records import Deployment, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving import list_version_directories
from tfx_registry.serving.objects import ObjectUrl
from tfx_registry.serving.receipts import Bytes
from tfx_registry.serving.verification import look

__all__ = ["Rollback", "rollback"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rollback:
    """The outcome of a rollback.

    Attributes:
        version: The version that serves now.
        path: The directory that a server loads.
        replaces: The version that served before.
        withdrawn: Names of the directories that were put away.
        recovered: What an earlier crash had left and was finished or undone first.
        changed: False when everything was as it should be already.
    """

    version: Version
    path: str
    replaces: int
    withdrawn: tuple[str, ...]
    recovered: tuple[str, ...]
    changed: bool


def rollback(
    registry: ModelRegistry,
    model: str,
    serving_dir: str | os.PathLike[str] | ObjectUrl,
    to: int | None = None,
    *,
    reason: str,
    actor: str | None = None,
    hash_all: bool = False,
    progress: Callable[[int], None] | None = None,
    servers: Servers | None = None,
) -> Rollback:
    """Lets a version serve again that served in a directory before.

    Where servers are told by a model config what to load, the label "stable" moves back, and
    nothing is put away.

    Args:
        registry: The registry.
        model: Name of the model.
        serving_dir: Its serving base directory.
        to: The version; None means the one that served there before.
        reason: Why.
        actor: Who; the access policy must let them promote.
        hash_all: Whether to hash the version first. Otherwise sizes, times and inodes of its files
            are compared with those recorded when it was last hashed, which takes milliseconds.
        progress: Called with the number of bytes copied since the last call, should the version
            have to be published again.
        servers: Model servers that must serve the version before this returns; also whether a
            label may move without asking them, where a model config tells them what to load.

    Returns:
        What was done.

    Raises:
        InvalidInputError: There is no reason.
        NotFoundError: There is no such version, or nothing serves there.
        RefusedError: The version never served there, was itself rolled back, or is archived.
        RejectedError: It is rejected.
        IntegrityError: Its bytes were changed, or are nowhere to be found.
        ConflictError: `to` is None, and what serves has just changed, or servers load a version of
            which the registry does not say that it serves.
        ServingDirectoryError: The directory cannot be changed.
        NotServedError: It was rolled back, and a server does not serve the version (yet).
    """
    if not reason.strip():
        raise InvalidInputError(
            f"cannot roll back {model!r} without a reason", "the history must say why", ""
        )
    base = base_of(serving_dir)
    before = registry.deployment(model, str(base))
    if before.config is not None:
        moved = roll_back_by_config(
            registry, model, base, to, reason=reason, servers=servers, actor=actor,
            hash_all=hash_all,
        )  # fmt: skip
        return Rollback(moved.version, moved.path, before.number, (), (), moved.changed)
    if isinstance(base, ObjectUrl):
        return _in_objects(registry, model, base, to, reason, actor, hash_all, progress, servers)
    aim = registry.check_rollback(model, str(base), to).number
    clients = servers.clients(registry.head(model).model) if servers is not None else []
    said = look(clients, aim) if clients else {}
    with open_site(registry, model, base, actor=actor) as site:
        recovered = tuple(recover(site))
        now = registry.deployment(model, str(base))
        if to is None and now.seq != before.seq and now.number != aim:
            # Otherwise the second of two people with the same idea would go back twice as far.
            raise ConflictError(
                f"cannot roll back {model!r} in {str(base)!r}",
                f"version {before.number} served when this began, version {now.number} does now",
                "look at 'tfx-registry status', then decide again",
            )
        if to is None:
            _check_known(model, base, now)
        version = registry.check_rollback(model, str(base), aim)
        replaces = before.number if recovered else now.number
        done = _roll_back(site, now, version, replaces, reason, recovered, hash_all, progress)
    if servers is not None and clients:
        check_servers(registry, model, aim, base, servers, clients, said, actor)
    return done


def _in_objects(
    registry: ModelRegistry,
    model: str,
    url: ObjectUrl,
    to: int | None,
    reason: str,
    actor: str | None,
    hash_all: bool,
    progress: Callable[[int], None] | None,
    servers: Servers | None,
) -> Rollback:
    from tfx_registry.operations.objects import roll_back_objects

    aim = registry.check_rollback(model, str(url), to).number
    clients = servers.clients(registry.head(model).model) if servers is not None else []
    said = look(clients, aim) if clients else {}
    version, replaces, withdrawn, recovered, changed = roll_back_objects(
        registry, model, url, to, reason=reason, actor=actor, hash_all=hash_all, progress=progress
    )
    if servers is not None and clients:
        check_servers(registry, model, version.number, url, servers, clients, said, actor)
    path = f"{url}/{version.number}"
    return Rollback(version, path, replaces, withdrawn, recovered, changed)


def _roll_back(
    site: Site,
    now: Deployment,
    version: Version,
    replaces: int,
    reason: str,
    recovered: tuple[str, ...],
    hash_all: bool,
    progress: Callable[[int], None] | None,
) -> Rollback:
    path = site.base / str(version.number)

    def intend() -> None:
        if now.number != version.number:
            site.registry.record_rollback_intent(
                site.model, version.number, site.destination, reason=reason, actor=site.actor
            )

    visible = os.path.lexists(path)
    if visible:
        _check_intact(site, version, hash_all)
        newer = max(list_version_directories(site.base)) > version.number
        if now.number == version.number and not newer:
            return Rollback(version, str(path), replaces, (), recovered, changed=bool(recovered))
        intend()
    elif (copy := site.withdrawn_copy(version, hash_all=hash_all)) is not None:
        intend()
        site.shelf.restore(copy, path.name)
    elif site.publish(version, before_visible=intend, progress=progress) is None:
        others = [n for n in now.trail if n != version.number]
        raise IntegrityError(
            f"cannot roll back to {version.ref}",
            "its bytes are not in the serving directory, and no other known place holds them",
            f"choose another version with --to: {', '.join(map(str, others)) or 'there is none'}",
        )
    names = put_newer_away(site, version.number)
    try:
        after = site.registry.record_rollback(
            site.model,
            version.number,
            site.destination,
            known_numbers(site, names),
            reason=reason,
            actor=site.actor,
        )
    except RefusedError:
        recover(site)  # somebody rejected it in the last moment: what served comes back
        raise
    _logger.info("%s rolled back to %s, put away: %s", site.base, after.ref, names)
    return Rollback(after, str(path), replaces, tuple(names), recovered, changed=True)


def _check_known(model: str, base: Path, now: Deployment) -> None:
    """Refuses to guess what served before something that the registry knows nothing of."""
    newest = max(list_version_directories(base), default=now.number)
    if newest > now.number:
        raise ConflictError(
            f"cannot tell which version of {model!r} to roll back to in {str(base)!r}",
            f"servers load version {newest}, and by the registry version {now.number} serves",
            f"name the version: --to {now.number} puts away what lies above it; before it served: "
            f"{', '.join(map(str, now.trail)) or 'none'}",
        )


def _check_intact(site: Site, version: Version, hash_all: bool) -> None:
    path = site.base / str(version.number)
    check = site.check(version, path, hash_all=hash_all)
    if check.state is not Bytes.RIGHT:
        raise IntegrityError(
            f"cannot roll back to {version.ref}",
            f"the bytes at {str(path)!r} were changed: {check.detail}",
            "put them in order with 'tfx-registry reconcile --quarantine', or choose another "
            "version with --to",
        )
