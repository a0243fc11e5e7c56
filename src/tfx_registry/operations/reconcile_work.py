"""What reconciling does, in whatever kind of directory: of files, or in an object store."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from tfx_registry.errors import NotFoundError, RegistryError
from tfx_registry.names import model_key
from tfx_registry.operations.bases import AnySite, Base
from tfx_registry.operations.config_entry import find_entry, is_listed
from tfx_registry.operations.rollouts import settle
from tfx_registry.operations.site import is_used
from tfx_registry.operations.undone import undone_problems
from tfx_registry.records import Deployment, Version
from tfx_registry.serving.receipts import Bytes, BytesCheck

__all__ = ["ReconcileWork"]

_S = TypeVar("_S", bound=AnySite)


class ReconcileWork(abc.ABC, Generic[_S]):
    """One run over one directory.

    Attributes:
        site: The directory, held.
        base: The same directory.
        quarantine: Whether to put changed bytes right, and away what lies above what should serve.
        hash_all: Whether to hash every version.
        actions: What was done so far, one line each.
        problems: What is left for a person, one line each.
    """

    def __init__(
        self, site: _S, base: Base, *, quarantine: bool, hash_all: bool, did: Sequence[str] = ()
    ) -> None:
        """Does nothing yet.

        Args:
            site: The directory, held.
            base: The same directory.
            quarantine: See the class.
            hash_all: See the class.
            did: What was done before.
        """
        self.site = site
        self.base = base
        self.quarantine = quarantine
        self.hash_all = hash_all
        self.actions = list(did)
        self.problems: list[str] = []

    def run(self) -> None:
        """Brings registry and directory to one state."""
        self._claim()
        self.actions += self._recover()
        self._tidy()
        now = self.site.deployment()
        self._settle()
        if now is not None:
            self._serve(now)
            self._look_back(now)
        self._try_on()
        self._look_around(now)
        self._end_trial()
        self._collect()
        self.problems += undone_problems(self.site.registry, self.site.model, self.base)
        begun = self.site.head().unfinished.get(self.site.destination)
        if begun is not None:
            what = begun.operation or "promotion"
            self.problems.append(
                f"the interrupted {what} of version {begun.number} cannot be finished: its bytes "
                "were changed"
            )

    # What depends on where the directory lies.

    @abc.abstractmethod
    def _owner(self) -> str:
        """Returns the key of the model that the directory says it is for, or ""."""

    @abc.abstractmethod
    def _note_owner(self, owner: str) -> None:
        """Lets the directory say for which model it is."""

    @abc.abstractmethod
    def _recover(self) -> list[str]:
        """Finishes or undoes what was begun."""

    def _tidy(self) -> None:
        """Clears away what an interrupted repair has left."""

    @abc.abstractmethod
    def _visible(self) -> Mapping[int, Sequence[str]]:
        """Returns the names that a server takes for versions, by number."""

    @abc.abstractmethod
    def _check(self, version: Version) -> BytesCheck:
        """Checks what a server would load as a version."""

    @abc.abstractmethod
    def _bring(self, version: Version) -> str:
        """Makes a missing version visible; says how, or "" where no place has its bytes."""

    def _keep_copy(self, version: Version) -> None:
        """Sees to what else the directory should hold of a version that serves."""

    @abc.abstractmethod
    def _lies_here(self, version: Version, *, prove: bool) -> bool:
        """Tells whether a rollback could bring a version back; on request by its bytes."""

    @abc.abstractmethod
    def _repair(self, version: Version) -> str:
        """Puts the right bytes in the place of changed ones; says how, or "" if none has them."""

    @abc.abstractmethod
    def _move_changed(self, version: Version) -> str:
        """Moves changed bytes away; says where to."""

    @abc.abstractmethod
    def _withdraw(self, name: str, version: Version | None) -> str:
        """Takes a name away from servers; says where to."""

    def _remove_half(self, version: Version, detail: str) -> None:
        """Removes what a server sees of a version and cannot load."""

    @abc.abstractmethod
    def _is_elsewhere(self, version: Version) -> bool:
        """Tells whether another place than the directory has the bytes of a version."""

    def _collect(self) -> None:
        """Looks at what lies out of sight."""

    # What does not.

    def _claim(self) -> None:
        """Lets the directory say again for which model it is, where somebody has removed that."""
        if not self._owner() and is_used(self.site.head(), self.site.destination):
            self._note_owner(model_key(self.site.model))
            self.actions.append(f"wrote down again that the directory is for {self.site.model!r}")

    def _settle(self) -> None:
        site = self.site
        self.actions += settle(
            site.registry, site.model, self.base, site.put_away, actor=site.actor
        )

    def _serve(self, now: Deployment) -> None:
        """Sees to it that what should serve lies there, with the right bytes."""
        version = self.site.registry.get(self.site.model, now.number)
        check = self._check(version)
        if check.state is Bytes.CHANGED:
            self._changed(version, check.detail, serves=True)
        elif check.state is Bytes.RIGHT:
            self._keep_copy(version)
            self._found(version)
        elif did := self._bring(version):
            self.actions.append(f"{did}, which should serve")
            self._found(version)
        else:
            self._gone(version)
            self.problems.append(
                f"version {now.number} should serve, and no known place has its bytes: bring them "
                f"to {version.uri!r} and run this again, or roll back"
            )

    def _try_on(self) -> None:
        """Brings back what is on trial, if it is gone."""
        trial = self.site.head().canaries.get(self.site.destination)
        if trial is None:
            return
        version = self.site.registry.get(self.site.model, trial.number)
        state = self._check(version).state
        did = self._bring(version) if state is Bytes.MISSING else ""
        if did:
            self.actions.append(f"{did}, which is on trial")
        if did or state is Bytes.RIGHT:
            self._found(version)

    def _end_trial(self) -> None:
        """Ends the trial of a version that is gone for good; requests would go on failing."""
        site, trial = self.site, self.site.head().canaries.get(self.site.destination)
        if trial is None or trial.number in self._visible():
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
        versions = self.site.registry.known_versions(self.site.model, now.trail)
        for number in now.trail:
            version = versions[number]
            known_gone = self.site.destination in version.removed_from
            if self._lies_here(version, prove=known_gone):
                self._found(version)
            elif not known_gone:
                self._gone(version)
                self.actions.append(f"wrote down that version {number} does not lie here any more")

    def _look_around(self, now: Deployment | None) -> None:
        """Looks at everything else that a server could load."""
        visible = self._visible()
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
            check = self._check(version)
            if check.state is Bytes.MISSING:
                self._remove_half(version, check.detail)
                return
            if check.state is Bytes.CHANGED:
                self._changed(version, check.detail, serves=False)
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
            where = self._withdraw(name, version)
            self.actions.append(f"{what}, and a server would load it: put away{where}")
        else:
            self.problems.append(
                f"{what}, and a server loads it instead of version {now.number}: put it away with "
                "--quarantine"
            )

    def _changed(self, version: Version, detail: str, *, serves: bool) -> None:
        """Reports changed bytes; on request moves them away and puts the right ones there."""
        place = str(self.base / str(version.number))
        text = f"the bytes of version {version.number} at {place!r} were changed ({detail})"
        if not self._may_lie_here(version.number):
            # Made whole, it would be a version that servers load and nobody has promoted.
            text = f"{text}, and it is not to be loaded"
            if not self.quarantine:
                self.problems.append(f"{text}: put it away with --quarantine")
                return
            where = self._move_changed(version)
            if not self._is_elsewhere(version):
                self._gone(version)
            self.actions.append(f"{text}: {where}")
        elif not self.quarantine:
            self.problems.append(f"{text}; repair with --quarantine")
        elif did := self._repair(version):
            restart = "; restart servers that have loaded them" if serves else ""
            self.actions.append(f"{text}: {did}{restart}")
        elif serves:
            self.problems.append(f"{text}, and no other place has the right ones: roll back")
        else:
            where = self._move_changed(version)
            self._gone(version)
            self.actions.append(f"{text}: {where}")

    def _may_lie_here(self, number: int) -> bool:
        """Tells whether a version serves or has served here, is about to, or is listed to."""
        head, place = self.site.head(), self.site.destination
        now = head.deployments.get(place)
        others = (head.canaries, head.rollouts, head.unfinished)
        begun = {found.number for where in others if (found := where.get(place)) is not None}
        if now is None or number in begun:
            return number in begun
        served = self.site.registry.deployment(self.site.model, place).trail
        if number in (now.number, *served):
            return True
        if now.config is None:
            return False
        try:
            return is_listed(find_entry(now.config), number)
        except RegistryError:
            return True  # nobody knows

    def _gone(self, version: Version) -> None:
        self.site.registry.record_bytes_removed(
            self.site.model,
            version.number,
            self.site.destination,
            cause="missing",
            last=not self._is_elsewhere(version),
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
