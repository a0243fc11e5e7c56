"""Brings registry and an object store to one state, and says what it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfx_registry.operations.objects.recovery import recover_objects
from tfx_registry.operations.objects.site import (
    ObjectSite,
    held_elsewhere,
    model_of_objects,
    open_object_site,
)
from tfx_registry.operations.reconcile_work import ReconcileWork
from tfx_registry.operations.reconciliation import Reconciliation
from tfx_registry.records import Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving.objects import ObjectUrl, ObjectView
from tfx_registry.serving.receipts import Bytes, BytesCheck

__all__ = ["reconcile_objects"]


def reconcile_objects(
    registry: ModelRegistry,
    url: ObjectUrl,
    model: str | None,
    *,
    quarantine: bool,
    hash_all: bool,
    actor: str | None,
) -> Reconciliation:
    """Brings both to one state; see `tfx_registry.operations.reconcile`.

    Args:
        registry: The registry.
        url: Address of the serving base directory.
        model: Name of the model; None means the one that the directory is for.
        quarantine: Whether to put changed bytes right, and away what lies above what should serve.
        hash_all: Whether to read and hash every version.
        actor: Who.

    Returns:
        What was done and what is left.

    Raises:
        RegistryError: See `tfx_registry.operations.reconcile`.
    """
    named = model or model_of_objects(registry, ObjectView.open(url))
    name = registry.head(named).model
    with open_object_site(registry, name, url, actor=actor) as site:
        work = _Work(site, url, quarantine=quarantine, hash_all=hash_all)
        work.run()
        now = site.deployment()
    serving = now.number if now else None
    return Reconciliation(name, str(url), serving, tuple(work.actions), tuple(work.problems))


class _Work(ReconcileWork[ObjectSite]):
    """One run over one directory in a store."""

    def _owner(self) -> str:
        return self.site.directory.owner()

    def _note_owner(self, owner: str) -> None:
        self.site.directory.claim(owner)

    def _recover(self) -> list[str]:
        return recover_objects(self.site)

    def _visible(self) -> Mapping[int, Sequence[str]]:
        return self.site.directory.visible()

    def _check(self, version: Version) -> BytesCheck:
        return self.site.state(version, hash_all=self.hash_all)

    def _bring(self, version: Version) -> str:
        return f"made version {version.number} visible" if self.site.show(version) else ""

    def _keep_copy(self, version: Version) -> None:
        if self.site.record(version) is None and self.site.store(version) is not None:
            self.actions.append(f"stored the bytes of version {version.number} once more")

    def _lies_here(self, version: Version, *, prove: bool) -> bool:
        kept = self.site.record(version) is not None
        return kept or self.site.state(version, hash_all=prove).state is Bytes.RIGHT

    def _remove_half(self, version: Version, detail: str) -> None:
        self.site.put_away(version.number)
        self.actions.append(f"removed what was left of version {version.number}: {detail}")

    def _withdraw(self, name: str, version: Version | None) -> str:
        self.site.hide(name, version)
        return ""

    def _repair(self, version: Version) -> str:
        record = self.site.store(version)
        if record is None:
            return ""
        self.site.directory.repair(version.number, record)
        return "put right, the changed ones are kept aside"

    def _move_changed(self, version: Version) -> str:
        self.site.put_away(version.number)
        return "put away"

    def _collect(self) -> None:
        """Removes stored bytes that belong to no version."""
        site = self.site
        versions = site.registry.known_versions(site.model, site.directory.recorded())
        count = site.directory.collect({n: v.facts.manifest for n, v in versions.items()})
        if count:
            self.actions.append(f"removed {count} stored objects that belong to no version")

    def _is_elsewhere(self, version: Version) -> bool:
        return held_elsewhere(version, self.site.head(), self.site.destination)
