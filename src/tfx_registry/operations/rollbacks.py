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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from tfx_registry.errors import ConflictError, IntegrityError, InvalidInputError, RefusedError
from tfx_registry.operations.bases import Base, base_of, check_is_there
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

__all__ = ["Rollback", "Ways", "changed", "nowhere", "rollback"]

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
        ServingDirectoryError: The directory cannot be changed, or should not be empty.
        NotServedError: It was rolled back, and a server does not serve the version (yet).
    """
    if not reason.strip():
        raise InvalidInputError(
            f"cannot roll back {model!r} without a reason", "the history must say why", ""
        )
    base = base_of(serving_dir)
    before = registry.deployment(model, str(base))
    check_is_there(registry, model, base, action=f"roll back {model!r} in")
    if before.config is not None:
        moved = roll_back_by_config(
            registry, model, base, to, reason=reason, servers=servers, actor=actor,
            hash_all=hash_all,
        )  # fmt: skip
        return Rollback(moved.version, moved.path, before.number, (), (), moved.changed)
    aim = registry.check_rollback(model, str(base), to).number
    clients = servers.clients(registry.head(model).model) if servers is not None else []
    said = look(clients, aim) if clients else {}
    with _open(registry, model, base, actor) as ways:
        recovered = tuple(ways.recover())
        now = registry.deployment(model, str(base))
        if to is None and now.seq != before.seq and now.number != aim:
            # Otherwise the second of two people with the same idea would go back twice as far.
            raise ConflictError(
                f"cannot roll back {model!r} in {str(base)!r}",
                f"version {before.number} served when this began, version {now.number} does now",
                "look at 'tfx-registry status', then decide again",
            )
        if to is None:
            _check_known(model, base, now, ways.newest())
        version = registry.check_rollback(model, str(base), aim)
        replaces = before.number if recovered else now.number
        path = str(base / str(aim))

        def intend() -> None:
            if now.number != aim:
                registry.record_rollback_intent(model, aim, str(base), reason=reason, actor=actor)

        names = ways.change(now, version, intend, hash_all=hash_all, progress=progress)
        if names is None:
            done = Rollback(version, path, replaces, (), recovered, changed=bool(recovered))
        else:
            try:
                after = registry.record_rollback(
                    model, aim, str(base), ways.known_numbers(names), reason=reason, actor=actor
                )
            except RefusedError:
                ways.recover()  # somebody rejected it in the last moment: what served comes back
                raise
            _logger.info("%s rolled back to %s, put away: %s", base, after.ref, names)
            done = Rollback(after, path, replaces, tuple(names), recovered, changed=True)
    if servers is not None and clients:
        check_servers(registry, model, aim, base, servers, clients, said, actor)
    return done


def _check_known(model: str, base: Base, now: Deployment, newest: int | None) -> None:
    """Refuses to guess what served before something that the registry knows nothing of."""
    if newest is not None and newest > now.number:
        raise ConflictError(
            f"cannot tell which version of {model!r} to roll back to in {str(base)!r}",
            f"servers load version {newest}, and by the registry version {now.number} serves",
            f"name the version: --to {now.number} puts away what lies above it; before it served: "
            f"{', '.join(map(str, now.trail)) or 'none'}",
        )


class Ways(Protocol):
    """How a rollback works in one kind of directory, which is held."""

    def recover(self) -> list[str]:
        """Finishes or undoes what an operation that died has begun."""

    def newest(self) -> int | None:
        """Returns the highest number that a server sees."""

    def change(
        self,
        now: Deployment,
        version: Version,
        intend: Callable[[], None],
        *,
        hash_all: bool,
        progress: Callable[[int], None] | None,
    ) -> list[str] | None:
        """Makes a version visible, and takes away what a server would load in its place.

        Args:
            now: What serves.
            version: The version.
            intend: Called before anything changes.
            hash_all: See `rollback`.
            progress: See `rollback`.

        Returns:
            Names that were taken away; None where everything is as it should be.

        Raises:
            IntegrityError: Its bytes were changed, or are nowhere to be found.
        """

    def known_numbers(self, names: Iterable[str]) -> list[int]:
        """Returns the versions of the model among names, ascending."""


@contextmanager
def _open(registry: ModelRegistry, model: str, base: Base, actor: str | None) -> Iterator[Ways]:
    if isinstance(base, ObjectUrl):
        from tfx_registry.operations.objects.rollbacks import RollbackOfObjects
        from tfx_registry.operations.objects.site import open_object_site

        with open_object_site(registry, model, base, actor=actor) as stored:
            yield RollbackOfObjects(stored)
    else:
        with open_site(registry, model, base, actor=actor) as site:
            yield _Files(site)


def nowhere(version: Version, now: Deployment) -> IntegrityError:
    """Makes the error for a version that no place holds.

    Args:
        version: The version.
        now: What serves.
    """
    others = ", ".join(str(n) for n in now.trail if n != version.number)
    return IntegrityError(
        f"cannot roll back to {version.ref}",
        "its bytes are not in the serving directory, and no other known place holds them",
        f"choose another version with --to: {others or 'there is none'}",
    )


def changed(version: Version, place: str, detail: str) -> IntegrityError:
    """Makes the error for a version whose bytes were changed.

    Args:
        version: The version.
        place: Where it lies.
        detail: What is wrong.
    """
    return IntegrityError(
        f"cannot roll back to {version.ref}",
        f"the bytes at {place!r} were changed: {detail}",
        "put them in order with 'tfx-registry reconcile --quarantine', or choose another "
        "version with --to",
    )


@dataclass(frozen=True)
class _Files:
    """A directory of files."""

    site: Site

    def recover(self) -> list[str]:
        return recover(self.site)

    def newest(self) -> int | None:
        return max(list_version_directories(self.site.base), default=None)

    def change(
        self,
        now: Deployment,
        version: Version,
        intend: Callable[[], None],
        *,
        hash_all: bool,
        progress: Callable[[int], None] | None,
    ) -> list[str] | None:
        site, path = self.site, self.site.base / str(version.number)
        if os.path.lexists(path):
            check = site.check(version, path, hash_all=hash_all)
            if check.state is not Bytes.RIGHT:
                raise changed(version, str(path), check.detail)
            newer = (self.newest() or 0) > version.number
            if now.number == version.number and not newer:
                return None
            intend()
        elif (copy := site.withdrawn_copy(version, hash_all=hash_all)) is not None:
            intend()
            site.shelf.restore(copy, path.name)
        elif site.publish(version, before_visible=intend, progress=progress) is None:
            raise nowhere(version, now)
        return put_newer_away(site, version.number)

    def known_numbers(self, names: Iterable[str]) -> list[int]:
        return known_numbers(self.site, names)
