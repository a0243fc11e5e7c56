"""The steps of a rollout by a model config, which all of its commands share."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfx_registry.errors import NotServedError, RefusedError
from tfx_registry.operations.bases import Base, lies_in
from tfx_registry.operations.config_entry import find_entry, is_listed, put_back, write_entry
from tfx_registry.operations.held import Publication, hold, local_source
from tfx_registry.operations.label_moves import LabelMoves, is_doubtful
from tfx_registry.operations.servers import Servers, check_servers
from tfx_registry.operations.undone import put_begun_away
from tfx_registry.records import ConfigTarget, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving.model_config import STABLE_LABEL, ServedModel
from tfx_registry.serving.status_client import ModelServer
from tfx_registry.serving.verification import Before, wait_until_labelled

__all__ = ["Pinned", "RolloutSteps"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pinned:
    """Servers that load the latest version were told to stay with what serves.

    Attributes:
        begun: Sequence number of the intent.
        said: What the file said before, or None.
    """

    begun: int
    said: ServedModel | None


@dataclass(frozen=True)
class RolloutSteps:
    """One rollout of one model.

    Attributes:
        registry: The registry.
        model: Name of the model, as registered.
        base: The serving base directory.
        target: The entry of the model config.
        servers: Which model servers to ask.
        actor: Who acts.
    """

    registry: ModelRegistry
    model: str
    base: Base
    target: ConfigTarget
    servers: Servers
    actor: str | None

    @property
    def clients(self) -> list[ModelServer]:
        """A client for each server."""
        return self.servers.clients(self.target.name)

    def pin(self, version: Version, alias: str, required_approvals: int) -> Pinned | None:
        """Tells servers that load the latest version to stay with what serves.

        Otherwise they would load a newer version as soon as it is visible.

        Args:
            version: The version that is about to become visible.
            alias: The alias of what serves there.
            required_approvals: How many people besides the registrant must have approved.

        Returns:
            What was done, after the intent was recorded; None where no server would load the
            version by itself.

        Raises:
            NotServedError: A server has not read the file before the deadline; nothing has become
                visible.
            RefusedError: No server was asked; or see `check_rollout`.
        """
        serving = self.registry.head(self.model).deployments.get(str(self.base))
        if serving is None or serving.config is not None or version.number <= serving.number:
            return None
        begun = self.registry.record_rollout(
            self.model, version.number, str(self.base), alias, self.target,
            canary=False, required_approvals=required_approvals, actor=self.actor,
        )  # fmt: skip
        if lies_in(self.base, version.number):
            return Pinned(begun, find_entry(self.target))  # an earlier command has come further
        clients = self.clients
        said, *_ = write_entry(self.registry, self.model, self.base, self.target, pin=True)
        if clients:
            self._wait_until_pinned(version, serving.number, clients, said)
        elif not self.servers.no_wait:
            raise RefusedError(
                f"{version.ref} is not published yet",
                f"{self.target.path!r} tells servers now to stay with version {serving.number}; "
                "one that has not read that would load the new one as soon as it lies there, and "
                "without --wait-for URL nobody knows whether they have",
                "wait until every server has read the file "
                "(--model_config_file_poll_wait_seconds), then repeat with --no-wait",
            )
        return Pinned(begun, said)

    def _wait_until_pinned(
        self,
        version: Version,
        number: int,
        clients: Sequence[ModelServer],
        said: ServedModel | None,
    ) -> None:
        try:
            self._moves.wait_until_loaded(number)
            # Only a label tells whether a server has read the file.
            write_entry(self.registry, self.model, self.base, self.target, pin=True, marked=True)
            wait_until_labelled(
                clients, STABLE_LABEL, number, deadline_seconds=self.servers.deadline_seconds,
                poll_seconds=self.servers.poll_seconds,
            )  # fmt: skip
        except NotServedError as error:
            shown = NotServedError(
                f"{version.ref} is not published: model servers do not follow {self.target.path!r}",
                f"they are to stay with version {number} by it until the new one is meant to be "
                f"loaded; {error.why}",
                "start them with --model_config_file and --model_config_file_poll_wait_seconds, "
                "then repeat",
            )
            self._undo(version.number, said, shown)
            raise shown from error

    def publish(
        self,
        version: Version,
        alias: str,
        canary: bool,
        required_approvals: int,
        source: str | os.PathLike[str] | None,
        progress: Callable[[int], None] | None,
        check: Callable[[Path], None] | None = None,
        *,
        pinned: Pinned | None = None,
    ) -> int:
        """Makes a version visible, with the intent before.

        Args:
            version: The version.
            alias: The alias of what serves there.
            canary: Whether the version is to be on trial only.
            required_approvals: See `promote_by_config`.
            source: Where the bytes lie; None means any place known to the registry.
            progress: Called with the number of bytes copied since the last call.
            check: See `promote_by_config`.
            pinned: What `pin` has returned.

        Returns:
            The sequence number of the intent.

        Raises:
            RegistryError: See `promote_by_config`.
        """
        intents: list[int] = []

        def intend() -> None:
            now = self.registry.head(self.model).rollouts.get(str(self.base))
            if pinned is not None and now is not None and now.seq == pinned.begun:
                self.registry.check_rollout(
                    self.model, version.number, str(self.base), alias,
                    canary=canary, required_approvals=required_approvals,
                )  # fmt: skip
                intents.append(pinned.begun)
                return
            seq = self.registry.record_rollout(
                self.model, version.number, str(self.base), alias, self.target,
                canary=canary, required_approvals=required_approvals, actor=self.actor,
            )  # fmt: skip
            intents.append(seq)

        with (
            local_source(self.registry, version, self.base, source) as found,
            hold(self.registry, self.model, self.base, actor=self.actor) as held,
        ):
            held.publish(Publication(version, found, intend, progress, check))
            if not intents:
                intend()
        return intents[0]

    def load(
        self, number: int, label: str, before: Before, *, listed: bool, pinned: Pinned | None = None
    ) -> None:
        """Lists a version, and sees to it that servers have loaded it before a label moves.

        Args:
            number: The version.
            label: The label that is to move.
            before: What servers said of the version before anything was changed.
            listed: Whether an earlier command has listed it, by the log.
            pinned: What `pin` has returned.

        Raises:
            NotServedError: A server did not load it.
            RefusedError: No server was asked, and the label may not move without.
        """
        moves = self._moves
        written = moves.write([number])
        said = written.said
        if not moves.clients:
            self._check_unasked(number, label, said, written.late, listed=listed)
            return
        try:
            moves.finish(written, [number])
            if is_doubtful(said, number, before):
                moves.wait_until_read(number)
            check_servers(
                self.registry, self.model, number, self.base, self.servers, moves.clients, before,
                self.actor,
            )  # fmt: skip
        except NotServedError as error:
            if not self.servers.keep_failed:
                self._undo(number, pinned.said if pinned is not None else said, error)
            raise

    @property
    def _moves(self) -> LabelMoves:
        return LabelMoves(
            self.registry, self.model, self.base, self.target, self.servers, self.clients
        )

    def finish(self, label: str, number: int | None) -> bool:
        """Writes the file from the registry, and waits until servers know the label.

        Args:
            label: The label.
            number: What it points at; None means that it is gone.

        Returns:
            Whether the file was changed.

        Raises:
            NotServedError: A server did not follow before the deadline.
            RefusedError: The file did not list the version, and no server was asked.
        """
        moves = self._moves
        written = moves.write()
        if not moves.clients:
            if written.late:
                raise self._not_moved(written.late, "what was done is recorded, but")
            return written.changed
        changed = moves.finish(written).changed
        wait_until_labelled(
            moves.clients, label, number, deadline_seconds=self.servers.deadline_seconds,
            poll_seconds=self.servers.poll_seconds,
        )  # fmt: skip
        return changed

    def _not_moved(self, late: tuple[int, ...], first: str) -> RefusedError:
        numbers = ", ".join(map(str, late))
        return RefusedError(
            f"the label of {self.model}:{numbers} has not moved yet",
            f"{first} {self.target.path!r} did not list it, and lists it now: a server takes a "
            "label only for a version that it has loaded",
            f"wait until /v1/models/{self.target.name}/versions/{late[0]} of every server says "
            f"AVAILABLE, then run 'tfx-registry reconcile --serving-dir {self.base}'",
        )

    def _check_unasked(
        self,
        number: int,
        label: str,
        said: ServedModel | None,
        late: tuple[int, ...],
        *,
        listed: bool,
    ) -> None:
        if late:
            raise self._not_moved(late, "the file was put back or changed by hand:")
        if self.servers.no_wait and (
            said is None or label not in said.labels or (listed and is_listed(said, number))
        ):
            return
        ref = f"{self.model}:{number}"
        where = f"{self.target.path!r} lists it now, without the label {label!r}"
        raise RefusedError(
            f"{ref} is published, and not {label} yet",
            f"{where}: a server takes a label only for a version that it has loaded, and until "
            "then ignores the whole file; without --wait-for URL nobody knows whether it has",
            f"wait until /v1/models/{self.target.name}/versions/{number} of every server says "
            "AVAILABLE, then repeat with --no-wait",
        )

    def _undo(self, number: int, said: ServedModel | None, error: NotServedError) -> None:
        """Takes a version that failed out of the file again, and out of view where that counts.

        A crash in between is finished by whoever comes next: see `undone`.
        """
        with hold(self.registry, self.model, self.base, actor=self.actor) as held:
            begun = self.registry.head(self.model).rollouts.get(str(self.base))
            if begun is not None and begun.number == number:
                self.registry.drop_rollout(
                    self.model, str(self.base), actor=self.actor, reason=error.what
                )
                put_begun_away(self.registry, self.model, self.base, number, held.put_away)
        serving = self.registry.head(self.model).deployments.get(str(self.base))
        if serving is not None and serving.config is not None:
            write_entry(self.registry, self.model, self.base, serving.config)
        elif is_listed(said, number):  # by an earlier attempt
            write_entry(self.registry, self.model, self.base, self.target)
        else:
            put_back(self.target, said)
        _logger.warning("%s:%d was taken out of %s", self.model, number, self.target.path)
