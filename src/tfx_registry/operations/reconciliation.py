"""Brings registry and serving directory to one state, and says what it did.

It finishes or undoes what was begun, brings back what should serve, and writes down what is gone.
What it does not understand it reports: directories of others, and bytes that somebody changed, are
never deleted, and are moved away only on request. Running it again does nothing more.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfx_registry.errors import ServingDirectoryError
from tfx_registry.operations.bases import is_bare
from tfx_registry.operations.reconcile_work import ReconcileWork
from tfx_registry.operations.recovery import bring_back, forget, recover
from tfx_registry.operations.site import Site, holds, model_of, open_site, sources, stored
from tfx_registry.records import Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving import ServingDirectory, base_directory, list_version_directories
from tfx_registry.serving.atomic import fsync_directory, rename_no_replace
from tfx_registry.serving.layout import STATE_DIRECTORY
from tfx_registry.serving.objects import ObjectUrl, is_object_url
from tfx_registry.serving.receipts import Bytes, BytesCheck, write_receipt
from tfx_registry.serving.shelf import Shelf

__all__ = ["Reconciliation", "reconcile"]

_REPLACEMENT = "replacement"


@dataclass(frozen=True)
class Reconciliation:
    """What reconcile did and found.

    Attributes:
        model: Name of the model.
        directory: The serving base directory.
        serving: The version that serves by the registry now, or None.
        actions: What was done, one line each.
        problems: What is left for a person, one line each.
    """

    model: str
    directory: str
    serving: int | None
    actions: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def reconcile(
    registry: ModelRegistry,
    serving_dir: str | os.PathLike[str],
    model: str | None = None,
    *,
    quarantine: bool = False,
    hash_all: bool = False,
    restore: bool = False,
    actor: str | None = None,
) -> Reconciliation:
    """Brings registry and serving directory to one state.

    Args:
        registry: The registry.
        serving_dir: The serving base directory.
        model: Name of the model; None means the one that the directory is for.
        quarantine: Whether to move away what has other bytes than registered, and what lies above
            the version that should serve.
        hash_all: Whether to hash every version; otherwise only those whose files look touched.
        restore: Whether to bring back what should serve into a place that looks like one whose
            volume is not mounted. An object store never does.
        actor: Who; the access policy must let them promote.

    Returns:
        What was done and what is left.

    Raises:
        NotFoundError: Nothing is known of the directory.
        AccessDeniedError: The access policy does not let the actor promote.
        RefusedError: It is for another model.
        ServingDirectoryError: It cannot be changed, or its volume may not be mounted.
    """
    if is_object_url(serving_dir):
        from tfx_registry.operations.objects import reconcile_objects

        url = ObjectUrl.parse(serving_dir)
        return reconcile_objects(
            registry, url, model, quarantine=quarantine, hash_all=hash_all, actor=actor
        )
    base = base_directory(serving_dir)
    name = model if model is not None else model_of(registry, base)
    name = registry.head(name).model
    registry.check_may_promote(name, actor)
    if not restore:
        _check_mounted(registry, name, base)
    restored = [] if base.exists() else _restore_base(registry, name, base)
    with open_site(registry, name, base, actor=actor) as site:
        work = _Work(site, base, quarantine=quarantine, hash_all=hash_all, did=restored)
        work.run()
        now = site.deployment()
    serving = now.number if now else None
    return Reconciliation(name, str(base), serving, tuple(work.actions), tuple(work.problems))


class _Work(ReconcileWork[Site]):
    """One run over one directory of files."""

    def _owner(self) -> str:
        return self.site.shelf.owner()

    def _note_owner(self, owner: str) -> None:
        self.site.shelf.claim(owner)

    def _recover(self) -> list[str]:
        return recover(self.site)

    def _tidy(self) -> None:
        """Clears away what a repair that died has left: a good copy, or the changed bytes."""
        folder = self._replacements
        if not folder.is_dir():
            return
        numbers = list_version_directories(folder)
        versions = self.site.registry.known_versions(self.site.model, numbers)
        for number in numbers:
            version, path = versions.get(number), folder / str(number)
            if version is None or not holds(path, version):
                kept = self.site.shelf.quarantine(path)
                self.actions.append(f"moved what an interrupted repair has left to {str(kept)!r}")
        shutil.rmtree(folder, ignore_errors=True)

    @property
    def _replacements(self) -> Path:
        return self.site.base / STATE_DIRECTORY / _REPLACEMENT

    def _visible(self) -> Mapping[int, Sequence[str]]:
        return list_version_directories(self.site.base)

    def _check(self, version: Version) -> BytesCheck:
        path = self.site.base / str(version.number)
        return self.site.check(version, path, hash_all=self.hash_all)

    def _bring(self, version: Version) -> str:
        if bring_back(self.site, version):
            return f"brought version {version.number} back from where it was put away"
        if self.site.publish(version) is not None:
            return f"published version {version.number} again"
        return ""

    def _lies_here(self, version: Version, *, prove: bool) -> bool:
        path = self.site.base / str(version.number)
        if not prove:
            return os.path.lexists(path) or version.number in self.site.shelf.withdrawn()
        if self.site.withdrawn_copy(version, hash_all=True) is not None:
            return True
        return self.site.check(version, path, hash_all=True).state is Bytes.RIGHT

    def _collect(self) -> None:
        """Removes second copies of what is visible."""
        visible = list_version_directories(self.site.base)
        versions = self.site.registry.known_versions(self.site.model, visible)
        for number in self.site.shelf.withdrawn():
            version = versions.get(number)
            path = self.site.base / str(number)
            right = version and self.site.check(version, path).state is Bytes.RIGHT
            if version is not None and right and forget(self.site, version):
                self.actions.append(f"removed a second, withdrawn copy of version {number}")

    def _withdraw(self, name: str, version: Version | None) -> str:
        return f" to {str(self.site.shelf.withdraw(name))!r}"

    def _repair(self, version: Version) -> str:
        try:
            replacement = self._replacement(version)
            if replacement is None:
                return ""
            kept = self.site.shelf.replace(replacement, str(version.number))
            write_receipt(self.site.base, version.number, manifest=version.facts.manifest)
        finally:
            shutil.rmtree(self._replacements, ignore_errors=True)
        return f"published again, the changed ones are in {str(kept)!r}"

    def _move_changed(self, version: Version) -> str:
        kept = self.site.shelf.quarantine(self.site.base / str(version.number))
        return f"moved to {str(kept)!r}"

    def _replacement(self, version: Version) -> Path | None:
        """Makes a verified copy beside the directory, which can take the place of another."""
        with ServingDirectory.lock(self._replacements) as directory:
            aside = Site(self.site.registry, self.site.model, directory, self.site.shelf)
            return aside.publish(version)

    def _is_elsewhere(self, version: Version) -> bool:
        head = self.site.head()
        places = sources(version, head, self.site.base)
        return any(holds(place, version) for place in places) or stored(version, head)


def _check_mounted(registry: ModelRegistry, model: str, base: Path) -> None:
    """Refuses a place that looks like one whose volume is not mounted.

    What would be brought back there would be hidden, or gone, once the volume is back. A directory
    that is missing beside others was removed; one that is empty, or whose parent is, or was not
    given to this container, may be either, and only somebody who looks can tell.

    Raises:
        ServingDirectoryError: It does.
    """
    serving = registry.head(model).deployments.get(str(base))
    if serving is None or str(base) in registry.get(model, serving.number).removed_from:
        return
    where = next((place for place in (base, base.parent) if os.path.lexists(place)), None)
    with contextlib.suppress(OSError):  # not for this user, which is said as soon as it is held
        if where == base and not is_bare(base):
            return
        if where == base.parent and any(where.iterdir()):
            return
        what = f"{str(where)!r} is empty" if where else f"{str(base.parent)!r} does not exist"
        raise ServingDirectoryError(
            f"cannot reconcile {str(base)!r}",
            f"version {serving.number} of {model!r} should serve there, and {what}, as where a "
            "volume is not mounted",
            "mount it and repeat; where what served is lost, repeat with --restore, which brings "
            "it back",
        )


def _restore_base(registry: ModelRegistry, model: str, base: Path) -> list[str]:
    """Makes a base directory that is gone anew, with what should serve in it.

    A server unloads everything when it sees an empty base directory, and nothing while there is
    none. Therefore it is filled under another name first.
    """
    head = registry.head(model)
    now = head.deployments.get(str(base))
    if now is None:
        return []
    version = registry.get(model, now.number)
    aside = base.parent / f".{base.name}.tfx_registry"
    with ServingDirectory.lock(aside) as directory:
        site = Site(registry, model, directory, Shelf(aside))
        # What a reconciliation that died has left there must not come along.
        for number, names in list_version_directories(aside).items():
            for name in names if number != now.number else ():
                shutil.rmtree(aside / name)
        if site.publish(version) is None:
            shutil.rmtree(aside, ignore_errors=True)
            return []
        try:
            rename_no_replace(aside, base)
        except FileExistsError:
            shutil.rmtree(aside, ignore_errors=True)
            return []
        except OSError as error:
            raise ServingDirectoryError(
                f"cannot make {str(base)!r} anew", str(error), "correct it and repeat"
            ) from error
        fsync_directory(base.parent)
    return [f"the directory was gone: made it anew with version {now.number}, which should serve"]
