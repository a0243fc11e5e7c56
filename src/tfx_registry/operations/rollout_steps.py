"""The steps of a rollout by a model config, which all of its commands share."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfx_registry.errors import NotServedError, RefusedError
from tfx_registry.names import model_key
from tfx_registry.operations.config_entry import is_listed, put_back, write_entry
from tfx_registry.operations.recovery import forget, recover
from tfx_registry.operations.servers import Servers, check_servers
from tfx_registry.operations.site import open_site, sources
from tfx_registry.records import ConfigTarget, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving import check_servable
from tfx_registry.serving.model_config import ServedModel
from tfx_registry.serving.receipts import write_receipt
from tfx_registry.serving.status_client import ModelServer
from tfx_registry.serving.verification import (
    Before,
    look,
    wait_until_available,
    wait_until_labelled,
)

__all__ = ["RolloutSteps"]

_logger = logging.getLogger(__name__)


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
    base: Path
    target: ConfigTarget
    servers: Servers
    actor: str | None

    @property
    def clients(self) -> list[ModelServer]:
        """A client for each server."""
        return self.servers.clients(self.target.name)

    def publish(
        self,
        version: Version,
        alias: str,
        canary: bool,
        required_approvals: int,
        source: str | os.PathLike[str] | None,
        progress: Callable[[int], None] | None,
        check: Callable[[Path], None] | None = None,
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

        Returns:
            The sequence number of the intent.

        Raises:
            RegistryError: See `promote_by_config`.
        """
        begun: list[int] = []

        def intend() -> None:
            seq = self.registry.record_rollout(
                self.model, version.number, str(self.base), alias, self.target,
                canary=canary, required_approvals=required_approvals, actor=self.actor,
            )  # fmt: skip
            begun.append(seq)

        root = source if source is not None else _find_source(self.registry, version, self.base)
        if not os.path.lexists(self.base / str(version.number)):
            check_servable(root)
        with open_site(self.registry, self.model, self.base, actor=self.actor) as site:
            recover(site, repeated=version.number)
            site.directory.publish(
                root, version.number,
                owner=model_key(self.model), digest=version.facts.digest,
                manifest=version.facts.manifest, before_visible=intend, progress=progress,
                check=check, beside_newer=True,
            )  # fmt: skip
            write_receipt(self.base, version.number, manifest=version.facts.manifest)
            if not begun:
                intend()
            forget(site, version)
        return begun[0]

    def load(self, number: int, label: str, before: Before) -> None:
        """Lists a version, and sees to it that servers have loaded it before a label moves.

        Args:
            number: The version.
            label: The label that is to move.
            before: What servers said of the version before anything was changed.

        Raises:
            NotServedError: A server did not load it.
            RefusedError: No server was asked, and the label may not move without.
        """
        clients = self.clients
        said, *_ = write_entry(self.registry, self.model, self.base, self.target, also=[number])
        if not clients:
            self._check_unasked(number, label, said)
            return
        try:
            check_servers(
                self.registry, self.model, number, self.base, self.servers, clients, before,
                self.actor,
            )  # fmt: skip
        except NotServedError as error:
            if not self.servers.keep_failed:
                self._undo(number, said, error)
            raise

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
        _, changed, late = write_entry(self.registry, self.model, self.base, self.target)
        clients = self.clients
        if late:
            self._load_late(late, clients)
        if clients:
            wait_until_labelled(
                clients, label, number, deadline_seconds=self.servers.deadline_seconds,
                poll_seconds=self.servers.poll_seconds,
            )  # fmt: skip
        return changed

    def _load_late(self, late: tuple[int, ...], clients: Sequence[ModelServer]) -> None:
        """Moves labels once versions are loaded that the file had to list first.

        Somebody else may have taken them out again, such as 'tfx-registry reconcile'.
        """
        if not clients:
            numbers = ", ".join(map(str, late))
            raise RefusedError(
                f"the label of {self.model}:{numbers} has not moved yet",
                f"what was done is recorded, but {self.target.path!r} did not list it, and lists "
                "it now: a server takes a label only for a version that it has loaded",
                f"wait until /v1/models/{self.target.name}/versions/{late[0]} of every server says "
                f"AVAILABLE, then run 'tfx-registry reconcile --serving-dir {self.base}'",
            )
        for number in late:
            wait_until_available(
                clients, number, deadline_seconds=self.servers.deadline_seconds,
                before=look(clients, number), poll_seconds=self.servers.poll_seconds,
            )  # fmt: skip
        write_entry(self.registry, self.model, self.base, self.target)

    def _check_unasked(self, number: int, label: str, said: ServedModel | None) -> None:
        if self.servers.no_wait and (
            is_listed(said, number) or said is None or label not in said.labels
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
        """Takes a version that failed out of the file again."""
        head = self.registry.head(self.model)
        begun = head.rollouts.get(str(self.base))
        if begun is not None and begun.number == number:
            self.registry.drop_rollout(
                self.model, str(self.base), actor=self.actor, reason=error.what
            )
        serving = head.deployments.get(str(self.base))
        if serving is not None and serving.config is not None:
            write_entry(self.registry, self.model, self.base, serving.config)
        else:
            put_back(self.target, said)
        _logger.warning("%s:%d was taken out of %s", self.model, number, self.target.path)


def _find_source(registry: ModelRegistry, version: Version, base: Path) -> str:
    if os.path.exists(version.uri):  # noqa: PTH110 - False where one may not look
        return version.uri
    others = sources(version, registry.head(version.model), base)
    return str(others[0]) if others else version.uri
