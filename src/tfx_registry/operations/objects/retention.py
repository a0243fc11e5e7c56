"""Removes old versions from a serving directory in an object store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tfx_registry.operations.objects.recovery import recover_objects
from tfx_registry.operations.objects.site import (
    check_object_owner,
    held_elsewhere,
    object_state,
    open_object_site,
)
from tfx_registry.operations.retention import KEEP_LABEL, Kept, Pruning, Removal
from tfx_registry.records import Deployment, Head, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving.objects import ObjectUrl, ObjectView
from tfx_registry.serving.receipts import Bytes

__all__ = ["prune_objects"]


def prune_objects(
    registry: ModelRegistry,
    now: Deployment,
    model: str,
    url: ObjectUrl,
    keep_last: int,
    loaded: Mapping[str, tuple[int, ...]],
    *,
    dry_run: bool,
    actor: str | None,
    reason: str,
) -> Pruning:
    """Removes old versions, or says which; see `tfx_registry.operations.prune`.

    The removal is recorded first, then the version goes. What a crash leaves in between is found
    and removed by the next run.

    Args:
        registry: The registry.
        now: What serves there.
        model: Name of the model.
        url: Address of the serving base directory.
        keep_last: How many of the newest versions stay.
        loaded: The versions that model servers have loaded, by server.
        dry_run: Whether to change nothing.
        actor: Who.
        reason: Why.

    Returns:
        What went and what stayed.

    Raises:
        RegistryError: See `tfx_registry.operations.prune`.
    """
    if dry_run:
        directory = ObjectView.open(url)
        check_object_owner(registry, directory, model)
        return _plan(registry, model, directory, now, keep_last, loaded)
    with open_object_site(registry, model, url, actor=actor) as site:
        recovered = tuple(recover_objects(site))
        now = registry.deployment(model, str(url))
        plan = _plan(registry, model, site.directory, now, keep_last, loaded)
        for removal in plan.removed:
            version = registry.record_bytes_removed(
                model, removal.number, str(url), cause="retention", last=removal.last, actor=actor,
                reason=reason,
            )  # fmt: skip
            record = site.directory.record(removal.number, version.facts.manifest)
            site.directory.drop(removal.number, record)
        if plan.removed:
            manifests = registry.known_versions(model, site.directory.recorded())
            site.directory.collect({n: v.facts.manifest for n, v in manifests.items()})
    return Pruning(plan.model, plan.directory, plan.kept, plan.removed, recovered, dry_run=False)


def _plan(
    registry: ModelRegistry,
    model: str,
    directory: ObjectView,
    now: Deployment,
    keep_last: int,
    loaded: Mapping[str, tuple[int, ...]],
) -> Pruning:
    head = registry.head(model)
    visible = directory.visible()
    places = sorted({*visible, *directory.recorded()})
    versions = registry.known_versions(model, places)
    newest = sorted(versions, reverse=True)[:keep_last]
    target = next((n for n in now.trail if _can_come_back(versions.get(n))), None)
    kept, removed = [], []
    for number in places:
        version = versions.get(number)
        if version is None:
            kept.append(Kept(number, ("the registry does not know it",)))
            continue
        reasons = list(_reasons(version, now, visible=number in visible))
        if number == target:
            reasons.append("a rollback would go back to it")
        if number in newest:
            reasons.append(f"one of the last {keep_last}")
        reasons += [f"{server} serves it" for server, known in loaded.items() if number in known]
        reasons = reasons or list(_doubts(directory, version))
        if reasons:
            kept.append(Kept(number, tuple(reasons)))
        else:
            removed.append(_removal(directory, version, head))
    return Pruning(head.model, str(directory.url), tuple(kept), tuple(removed))


def _can_come_back(version: Version | None) -> bool:
    if version is None or version.archived:
        return False
    return all(word.approved for word in version.approvals)


def _reasons(version: Version, now: Deployment, *, visible: bool) -> Iterator[str]:
    if version.number == now.number:
        yield "it serves here"
    yield from (f"alias {alias}" for alias in version.aliases)
    if KEEP_LABEL in version.labels:
        yield f"label {KEEP_LABEL}"
    if visible and version.number > now.number:
        yield "it lies above what serves: run 'tfx-registry reconcile'"


def _doubts(directory: ObjectView, version: Version) -> Iterator[str]:
    found = object_state(directory, version)
    if found.state is Bytes.CHANGED:
        yield f"its bytes were changed: {found.detail}"


def _removal(directory: ObjectView, version: Version, head: Head) -> Removal:
    number = version.number
    record = directory.record(number, version.facts.manifest)
    seen = directory.look(str(number))
    size = sum(stored.size_bytes for stored in seen.objects.values())
    size += record.size_bytes if record is not None else 0
    place = str(directory.url)
    last = not held_elsewhere(version, head, place)
    return Removal(number, (f"{place}/{number}",), size, last)
