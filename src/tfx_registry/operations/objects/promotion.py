"""Promotes into an object store; the order is that of docs/design/0002."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tfx_registry.errors import InvalidModelError, RefusedError
from tfx_registry.names import model_key
from tfx_registry.operations.objects.recovery import recover_objects
from tfx_registry.operations.objects.site import ObjectSite, open_object_site, version_sources
from tfx_registry.records import Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving.objects import ObjectUrl, is_object_url
from tfx_registry.serving.objects.models import fetched_model
from tfx_registry.serving.objects.records import VersionRecord

__all__ = ["make_visible", "promote_to_objects"]

_logger = logging.getLogger(__name__)


def promote_to_objects(
    registry: ModelRegistry,
    version: Version,
    url: ObjectUrl,
    *,
    alias: str,
    source: str | None,
    required_approvals: int,
    actor: str | None,
    reason: str,
    progress: Callable[[int], None] | None,
    check: Callable[[Path], None] | None,
) -> tuple[Version, int | None, bool]:
    """Publishes a version that may be promoted, and records it.

    Args:
        registry: The registry.
        version: The version; the caller has checked what can be checked without the directory.
        url: Address of the serving base directory.
        alias: The alias that moves.
        source: Where the bytes lie; None means any place known.
        required_approvals: See `promote`.
        actor: Who.
        reason: Why.
        progress: Called with the number of bytes uploaded since the last call.
        check: Called with the bytes that are published, before a server can see them.

    Returns:
        The version as it is now, the number of the one that served before, and whether anything
        was changed.

    Raises:
        RegistryError: See `promote`.
    """
    model, number, place = version.model, version.number, str(url)
    with open_object_site(registry, model, url, actor=actor) as site:
        recover_objects(site, repeated=number)
        before = site.deployment()
        _check_newer(site, number)
        shown = make_visible(
            site, version, source, progress=progress, check=check,
            before_visible=lambda: registry.record_intent(
                model, number, place, alias, required_approvals=required_approvals, actor=actor
            ),
        )  # fmt: skip
        try:
            after = registry.record_promotion(
                model, number, place, alias, required_approvals=required_approvals, actor=actor,
                reason=reason,
            )  # fmt: skip
        except RefusedError:
            recover_objects(site)  # somebody rejected it in the last moment: it must not stay
            raise
    replaces = before.number if before is not None and before.number != number else None
    changed = shown or after.seq != version.seq
    _logger.info("%s %s in %s under %r", after.ref,
                 "promoted" if changed else "serves already", place, alias)  # fmt: skip
    return after, replaces, changed


def make_visible(
    site: ObjectSite,
    version: Version,
    source: str | None,
    *,
    before_visible: Callable[[], object],
    progress: Callable[[int], None] | None,
    check: Callable[[Path], None] | None,
) -> bool:
    """Brings the bytes of a version into the store, verified, and makes it visible.

    Args:
        site: The directory, held.
        version: The version.
        source: Where its bytes lie; None means any place known.
        before_visible: Called before a server can see it; not where it lies there already.
        progress: Called with the number of bytes uploaded since the last call.
        check: Called with the bytes before a server can see them.

    Returns:
        Whether it was not visible before.

    Raises:
        RegistryError: See `promote`.
    """
    number = version.number
    _check_spelling(site, number)
    there = site.directory.look(str(number)).loadable
    record = _bytes(site, version, source, progress, check, there=there)
    site.directory.claim(model_key(site.model))
    if not there:
        before_visible()
    return site.directory.show(number, record)


def _bytes(
    site: ObjectSite,
    version: Version,
    source: str | None,
    progress: Callable[[int], None] | None,
    check: Callable[[Path], None] | None,
    *,
    there: bool,
) -> VersionRecord:
    """Sees to it that the bytes of a version lie in the store, verified and checked."""
    stored = site.record(version)
    if stored is not None and (there or check is None):
        return stored
    with ExitStack() as stack:
        if source is not None and is_object_url(source):
            root = stack.enter_context(fetched_model(source))
        elif source is not None:
            root = Path(source)
        else:
            root = _found(site, version, stack)
        record = site.directory.store(
            root, version.number, digest=version.facts.digest, manifest=version.facts.manifest,
            progress=progress,
        )  # fmt: skip
        if check is not None and not there:
            check(root)
    return record


def _found(site: ObjectSite, version: Version, stack: ExitStack) -> Path:
    for place in version_sources(version, site.head(), site.destination):
        path = stack.enter_context(place)
        if path.exists():
            return path
    raise InvalidModelError(
        f"cannot publish {version.ref}",
        f"its bytes are neither at {version.uri!r} nor in any other known place",
        "bring them back, or register the model again",
    )


def _check_newer(site: ObjectSite, number: int) -> None:
    newest = max(site.directory.visible(), default=number)
    if newest > number:
        raise RefusedError(
            f"cannot publish version {number} into {site.destination!r}",
            f"the newer version {newest} lies there, and a server that loads the latest version "
            "goes on serving it",
            "publish a newer version, or put the newer ones away with 'tfx-registry rollback'",
        )


def _check_spelling(site: ObjectSite, number: int) -> None:
    names = site.directory.visible().get(number, [])
    others = [name for name in names if name != str(number)]
    if others:
        raise RefusedError(
            f"cannot publish version {number} into {site.destination!r}",
            f"{others[0]!r} lies there, which a server takes for the same version",
            "move it to a name that is no number",
        )
