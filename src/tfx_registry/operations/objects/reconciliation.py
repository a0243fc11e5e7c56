"""Brings registry and an object store to one state, and says what it did."""

from __future__ import annotations

from dataclasses import dataclass, field

from tfx_registry.operations.objects.recovery import recover_objects
from tfx_registry.operations.objects.site import (
    ObjectSite,
    held_elsewhere,
    model_of_objects,
    open_object_site,
)
from tfx_registry.operations.reconciliation import Reconciliation
from tfx_registry.records import Deployment, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving.objects import ObjectUrl, ObjectView
from tfx_registry.serving.receipts import Bytes

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
        work = _Work(site, quarantine, hash_all)
        work.run()
        now = site.deployment()
    serving = now.number if now else None
    return Reconciliation(name, str(url), serving, tuple(work.actions), tuple(work.problems))


@dataclass
class _Work:
    """One run over one directory."""

    site: ObjectSite
    quarantine: bool
    hash_all: bool
    actions: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def run(self) -> None:
        self.actions += recover_objects(self.site)
        now = self.site.deployment()
        if now is not None:
            self._serve(now)
            self._look_back(now)
        self._look_around(now)
        self._collect()
        begun = self.site.head().unfinished.get(self.site.destination)
        if begun is not None:
            self.problems.append(
                f"the interrupted {begun.operation or 'promotion'} of version {begun.number} "
                "cannot be finished: its bytes were changed"
            )

    def _serve(self, now: Deployment) -> None:
        """Sees to it that what should serve lies there, with the right bytes."""
        site = self.site
        version = site.registry.get(site.model, now.number)
        check = site.state(version, hash_all=self.hash_all)
        if check.state is Bytes.CHANGED:
            self._changed(version, check.detail, serves=True)
        elif check.state is Bytes.RIGHT or site.show(version):
            if check.state is Bytes.MISSING:
                self.actions.append(f"made version {now.number} visible, which should serve")
            elif site.record(version) is None and site.store(version) is not None:
                self.actions.append(f"stored the bytes of version {now.number} once more")
            self._found(version)
        else:
            self._gone(version)
            self.problems.append(
                f"version {now.number} should serve, and no known place has its bytes: bring them "
                f"to {version.uri!r} and run this again, or roll back"
            )

    def _look_back(self, now: Deployment) -> None:
        """Writes down which versions a rollback cannot bring back any more, and which it can."""
        site = self.site
        versions = site.registry.known_versions(site.model, now.trail)
        for number in now.trail:
            version = versions[number]
            lies_here = site.record(version) is not None
            lies_here = lies_here or site.state(version).state is Bytes.RIGHT
            if lies_here:
                self._found(version)
            elif site.destination not in version.removed_from:
                self._gone(version)
                self.actions.append(f"wrote down that version {number} does not lie here any more")

    def _look_around(self, now: Deployment | None) -> None:
        """Looks at everything else that a server could load."""
        visible = self.site.directory.visible()
        versions = self.site.registry.known_versions(self.site.model, visible)
        for number, names in visible.items():
            for name in names:
                if now is None or name != str(now.number):
                    self._look_at(name, number, versions.get(number), now)

    def _look_at(
        self, name: str, number: int, version: Version | None, now: Deployment | None
    ) -> None:
        stranger = version is None or name != str(number)
        if version is not None and not stranger:
            check = self.site.state(version, hash_all=self.hash_all)
            if check.state is Bytes.MISSING:
                self.site.hide(name, version)
                self.actions.append(f"removed what was left of version {number}: {check.detail}")
                return
            if check.state is Bytes.CHANGED:
                self._changed(version, check.detail, serves=False)
                return
        what = f"{name!r} is not from this registry" if stranger else f"{name!r} was not promoted"
        if now is None:
            self.problems.append(
                f"{what}, and nothing else serves here by the registry: move it away, or promote a "
                "newer version"
            )
        elif number < now.number:
            if stranger:
                self.problems.append(f"{what}; it is left alone")
        elif self.quarantine:
            self.site.hide(name, version)
            self.actions.append(f"{what}, and a server would load it: put away")
        else:
            self.problems.append(
                f"{what}, and a server loads it instead of version {now.number}: put it away with "
                "--quarantine"
            )

    def _changed(self, version: Version, detail: str, *, serves: bool) -> None:
        """Reports changed bytes; on request keeps them aside and puts the right ones there."""
        place = f"{self.site.destination}/{version.number}"
        text = f"the bytes of version {version.number} at '{place}' were changed ({detail})"
        if not self.quarantine:
            self.problems.append(f"{text}; repair with --quarantine")
            return
        record = self.site.store(version)
        if record is not None:
            self.site.directory.repair(version.number, record)
            restart = "; restart servers that have loaded them" if serves else ""
            self.actions.append(f"{text}: put right, the changed ones are kept aside{restart}")
        elif serves:
            self.problems.append(f"{text}, and no other place has the right ones: roll back")
        else:
            self.site.hide(str(version.number), version)
            self._gone(version)
            self.actions.append(f"{text}: put away")

    def _collect(self) -> None:
        site = self.site
        versions = site.registry.known_versions(site.model, site.directory.recorded())
        count = site.directory.collect({n: v.facts.manifest for n, v in versions.items()})
        if count:
            self.actions.append(f"removed {count} stored objects that belong to no version")

    def _gone(self, version: Version) -> None:
        self.site.registry.record_bytes_removed(
            self.site.model, version.number, self.site.destination, cause="missing",
            last=not held_elsewhere(version, self.site.head(), self.site.destination),
            actor=self.site.actor, reason="found by reconcile",
        )  # fmt: skip

    def _found(self, version: Version) -> None:
        site = self.site
        if site.destination in version.removed_from:
            site.registry.record_bytes_found(
                site.model, version.number, site.destination, actor=site.actor
            )
            self.actions.append(f"wrote down that version {version.number} lies here again")
