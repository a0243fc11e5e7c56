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
from tfx_registry.operations.retention import Candidates, Pruning, Removal, plan_pruning
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
        return plan_pruning(registry, now, keep_last, loaded, _candidates(directory, model))
    with open_object_site(registry, model, url, actor=actor) as site:
        recovered = tuple(recover_objects(site))
        now = registry.deployment(model, str(url))
        plan = plan_pruning(registry, now, keep_last, loaded, _candidates(site.directory, model))
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


def _candidates(directory: ObjectView, model: str) -> Candidates:
    visible = directory.visible()
    return Candidates(
        model, {*visible, *directory.recorded()}, visible,
        lambda version: _doubts(directory, version),
        lambda version, head: _removal(directory, version, head),
    )  # fmt: skip


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
