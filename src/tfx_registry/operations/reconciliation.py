"""Brings registry and serving directory to one state, and says what it did.

It finishes or undoes what was begun, brings back what should serve, and writes down what is gone.
What it does not understand it reports: directories of others, and bytes that somebody changed, are
never deleted, and are moved away only on request. Running it again does nothing more.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tfx_registry.errors import NotFoundError, ServingDirectoryError
from tfx_registry.names import model_key
from tfx_registry.operations.recovery import bring_back, find_unfinished, forget, recover
from tfx_registry.operations.rollouts import settle
from tfx_registry.operations.site import Site, holds, is_used, model_of, open_site, sources, stored
from tfx_registry.operations.undone import undone_problems
from tfx_registry.records import Deployment, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving import ServingDirectory, base_directory, list_version_directories
from tfx_registry.serving.atomic import fsync_directory, rename_no_replace
from tfx_registry.serving.layout import STATE_DIRECTORY
from tfx_registry.serving.objects import ObjectUrl, is_object_url
from tfx_registry.serving.receipts import Bytes, write_receipt
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
        actor: Who; the access policy must let them promote.

    Returns:
        What was done and what is left.

    Raises:
        NotFoundError: Nothing is known of the directory.
        AccessDeniedError: The access policy does not let the actor promote.
        RefusedError: It is for another model.
        ServingDirectoryError: It cannot be changed.
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
    restored = [] if base.exists() else _restore_base(registry, name, base)
    with open_site(registry, name, base, actor=actor) as site:
        work = _Work(site, quarantine, hash_all, restored)
        work.run()
        now = site.deployment()
    serving = now.number if now else None
    return Reconciliation(name, str(base), serving, tuple(work.actions), tuple(work.problems))


@dataclass
class _Work:
    """One run over one directory."""

    site: Site
    quarantine: bool
    hash_all: bool
    actions: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def run(self) -> None:
        self._claim()
        self.actions += recover(self.site)
        self._tidy()
        now = self.site.deployment()
        self._settle()
        if now is not None:
            self._serve(now)
            self._look_back(now)
        self._try_on()
        self._look_around(now)
        self._end_trial()
        self.problems += undone_problems(self.site.registry, self.site.model, self.site.base)
        begun = find_unfinished(self.site)
        if begun is not None:
            what = begun.operation or "promotion"
            self.problems.append(
                f"the interrupted {what} of version {begun.number} cannot be finished: its bytes "
                "were changed"
            )

    def _claim(self) -> None:
        """Lets the directory say again for which model it is, where somebody has removed that."""
        if not self.site.shelf.owner() and is_used(self.site.head(), self.site.base):
            self.site.shelf.claim(model_key(self.site.model))
            self.actions.append(f"wrote down again that the directory is for {self.site.model!r}")

    def _settle(self) -> None:
        site = self.site
        self.actions += settle(site.registry, site.model, site.base, actor=site.actor)

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

    def _serve(self, now: Deployment) -> None:
        """Sees to it that what should serve lies there, with the right bytes."""
        site, number = self.site, now.number
        version = site.registry.get(site.model, number)
        path = site.base / str(number)
        check = site.check(version, path, hash_all=self.hash_all)
        if check.state is Bytes.CHANGED:
            self._changed(version, path, check.detail, serves=True)
        elif check.state is Bytes.MISSING and bring_back(site, version):
            self.actions.append(f"brought version {number} back from where it was put away")
            self._found(version)
        elif check.state is Bytes.MISSING and site.publish(version) is not None:
            self.actions.append(f"published version {number} again, which should serve")
            self._found(version)
        elif check.state is Bytes.MISSING:
            self._gone(version)
            self.problems.append(
                f"version {number} should serve, and no known place has its bytes: bring them to "
                f"{version.uri!r} and run this again, or roll back"
            )
        else:
            self._found(version)

    def _try_on(self) -> None:
        """Brings back what is on trial, if it is gone."""
        site, trial = self.site, self.site.head().canaries.get(self.site.destination)
        if trial is None:
            return
        number = trial.number
        version = site.registry.get(site.model, number)
        state = site.check(version, site.base / str(number), hash_all=self.hash_all).state
        if state is Bytes.MISSING and bring_back(site, version):
            self.actions.append(
                f"brought version {number} back from where it was put away, which is on trial"
            )
        elif state is Bytes.MISSING and site.publish(version) is not None:
            self.actions.append(f"published version {number} again, which is on trial")
        elif state is not Bytes.RIGHT:
            return
        self._found(version)

    def _end_trial(self) -> None:
        """Ends the trial of a version that is gone for good; requests would go on failing."""
        site, trial = self.site, self.site.head().canaries.get(self.site.destination)
        if trial is None or os.path.lexists(site.base / str(trial.number)):
            return
        self._gone(site.registry.get(site.model, trial.number))
        with contextlib.suppress(NotFoundError):  # somebody else has just ended it
            site.registry.record_abort(
                site.model, site.destination, actor=site.actor, reason="its bytes are gone"
            )
        self.actions.append(
            f"ended the trial of version {trial.number}: it is gone, and no known place has its "
            "bytes"
        )
        self._settle()

    def _look_back(self, now: Deployment) -> None:
        """Writes down which versions a rollback cannot bring back any more, and which it can."""
        site = self.site
        versions = site.registry.known_versions(site.model, now.trail)
        for number in now.trail:
            version = versions[number]
            path = site.base / str(number)
            lies_here = os.path.lexists(path) or number in site.shelf.withdrawn()
            if not lies_here and site.destination not in version.removed_from:
                self._gone(version)
                self.actions.append(f"wrote down that version {number} does not lie here any more")
            elif lies_here and site.destination in version.removed_from:
                copy = site.withdrawn_copy(version, hash_all=True)
                if copy or site.check(version, path, hash_all=True).state is Bytes.RIGHT:
                    self._found(version)

    def _look_around(self, now: Deployment | None) -> None:
        """Looks at everything else that a server could load."""
        visible = list_version_directories(self.site.base)
        versions = self.site.registry.known_versions(self.site.model, visible)
        for number, names in visible.items():
            for name in names:
                if now is None or name != str(now.number):
                    self._look_at(name, number, versions.get(number), now)
        for number in self.site.shelf.withdrawn():
            version = versions.get(number)
            path = self.site.base / str(number)
            right = version and self.site.check(version, path).state is Bytes.RIGHT
            if version is not None and right and forget(self.site, version):
                self.actions.append(f"removed a second, withdrawn copy of version {number}")

    def _look_at(
        self, name: str, number: int, version: Version | None, now: Deployment | None
    ) -> None:
        stranger = version is None or name != str(number)
        if version is not None and not stranger:
            path = self.site.base / name
            check = self.site.check(version, path, hash_all=self.hash_all)
            if check.state is Bytes.CHANGED:
                self._changed(version, path, check.detail, serves=False)
                return
        what = f"{name!r} is not from this registry" if stranger else f"{name!r} was not promoted"
        if now is None:
            self.problems.append(
                f"{what}, and nothing else serves here by the registry: take it over with "
                "'tfx-registry adopt', or promote a newer version"
            )
        elif number < now.number or (now.config is not None and not stranger):
            if stranger:
                self.problems.append(f"{what}; it is left alone")
        elif self.quarantine:
            kept = self.site.shelf.withdraw(name)
            self.actions.append(f"{what}, and a server would load it: put away to {str(kept)!r}")
        else:
            self.problems.append(
                f"{what}, and a server loads it instead of version {now.number}: put it away with "
                "--quarantine"
            )

    def _changed(self, version: Version, path: Path, detail: str, *, serves: bool) -> None:
        """Reports changed bytes; on request moves them away and publishes the right ones."""
        text = f"the bytes of version {version.number} at {str(path)!r} were changed ({detail})"
        if not self.quarantine:
            self.problems.append(f"{text}; repair with --quarantine")
            return
        replacement = self._replacement(version)
        if replacement is not None:
            kept = self.site.shelf.replace(replacement, path.name)
            write_receipt(self.site.base, version.number, manifest=version.facts.manifest)
            shutil.rmtree(self._replacements, ignore_errors=True)
            restart = "; restart servers that have loaded them" if serves else ""
            self.actions.append(
                f"{text}: published again, the changed ones are in {str(kept)!r}{restart}"
            )
            return
        shutil.rmtree(self._replacements, ignore_errors=True)
        if serves:
            self.problems.append(f"{text}, and no other place has the right ones: roll back")
        else:
            kept = self.site.shelf.quarantine(path)
            self._gone(version)
            self.actions.append(f"{text}: moved to {str(kept)!r}")

    def _replacement(self, version: Version) -> Path | None:
        """Makes a verified copy beside the directory, which can take the place of another."""
        with ServingDirectory.lock(self._replacements) as directory:
            aside = Site(self.site.registry, self.site.model, directory, self.site.shelf)
            return aside.publish(version)

    def _gone(self, version: Version) -> None:
        places = sources(version, self.site.head(), self.site.base)
        self.site.registry.record_bytes_removed(
            self.site.model,
            version.number,
            self.site.destination,
            cause="missing",
            last=not any(holds(place, version) for place in places)
            and not stored(version, self.site.head()),
            actor=self.site.actor,
            reason="found by reconcile",
        )

    def _found(self, version: Version) -> None:
        site = self.site
        if site.destination in version.removed_from:
            site.registry.record_bytes_found(
                site.model, version.number, site.destination, actor=site.actor
            )
            self.actions.append(f"wrote down that version {version.number} lies here again")


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
