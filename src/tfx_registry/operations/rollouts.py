"""Promotions whose servers are told by a model config what to load; versions on trial.

The order, for servers that poll the config (docs/design/0007-canary.md says why):

1. everything that may refuse;
2. the verified copy, the intent (`rollout_started`), the rename; no server looks yet;
3. the config lists the version beside the others; no label moves;
4. all servers report it as AVAILABLE;
5. one event: on trial, or serving, with the alias;
6. the config is written from the registry: the label moves, what is not needed any more goes.

A crash before 5 leaves what served; a crash after it leaves a config that the next command, or
`reconcile`, writes again. Nothing is held while servers load, so a rollback never waits for a
rollout; whoever records first wins, and the other one is told.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tfx_registry.errors import (
    IntegrityError,
    InvalidModelError,
    NotFoundError,
    NotServedError,
    RefusedError,
)
from tfx_registry.names import check_alias, model_key
from tfx_registry.operations.config_entry import find_target, is_listed, put_back, write_entry
from tfx_registry.operations.recovery import bring_back, forget, recover
from tfx_registry.operations.servers import Servers, check_servers
from tfx_registry.operations.site import Site, open_site, sources
from tfx_registry.records import ConfigTarget, Head, ModelFormat, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving import base_directory, check_servable
from tfx_registry.serving.model_config import CANARY_LABEL, STABLE_LABEL, ServedModel
from tfx_registry.serving.receipts import Bytes, write_receipt
from tfx_registry.serving.status_client import ModelServer
from tfx_registry.serving.verification import (
    Before,
    look,
    wait_until_labelled,
)

__all__ = [
    "Rollout",
    "Servers",
    "abort",
    "promote_by_config",
    "promote_canary",
    "roll_back_by_config",
    "settle",
]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rollout:
    """The outcome of a promotion by a model config.

    Attributes:
        version: The version.
        path: The directory that servers load.
        config: The entry that tells them so.
        label: Its label, "stable" or "canary"; "" after the end of a trial.
        replaces: The version that had the label before, or None.
        changed: False when everything was as it should be already.
    """

    version: Version
    path: str
    config: ConfigTarget
    label: str
    replaces: int | None
    changed: bool


def promote_by_config(
    registry: ModelRegistry,
    model: str,
    number: int,
    serving_dir: str | os.PathLike[str],
    model_config: str | os.PathLike[str] | None = None,
    *,
    canary: bool = False,
    alias: str = "production",
    servers: Servers | None = None,
    served_name: str | None = None,
    server_base_path: str | None = None,
    keep_loaded: int | None = None,
    source: str | os.PathLike[str] | None = None,
    required_approvals: int = 0,
    actor: str | None = None,
    reason: str = "",
    progress: Callable[[int], None] | None = None,
) -> Rollout:
    """Lets servers load a version by their model config, on trial or to serve.

    Args:
        registry: The registry.
        model: Name of the model.
        number: The version.
        serving_dir: Serving base directory of the model; the version becomes `<dir>/<number>`.
        model_config: The config file; None means the one of the last promotion there.
        canary: Whether the version gets the label "canary" beside what serves; otherwise it gets
            "stable", and `alias` moves.
        alias: The alias of what serves.
        servers: Which model servers to ask.
        served_name: Name of the model in the file; None means as it is there, or the model's.
        server_base_path: The serving base directory as the servers see it; None means as here.
        keep_loaded: How many versions that served before stay loaded, for a rollback at once;
            None means as before, or 1.
        source: Where the bytes lie; None means any place known to the registry.
        required_approvals: How many people besides the registrant must have approved.
        actor: Who.
        reason: Why.
        progress: Called with the number of bytes copied since the last call.

    Returns:
        What was done.

    Raises:
        NotFoundError: There is no such version.
        RefusedError: It may not be promoted; another one is on trial; the entry is for something
            else; or nobody knows whether servers have loaded the version, see `Servers.no_wait`.
        NotServedError: A server did not load it; what served goes on.
        ConflictError: Something else was done in the directory meanwhile.
        IntegrityError: Bytes are not those that were registered.
        InvalidModelError: The version is no SavedModel.
        ServingDirectoryError: The directory or the file cannot be written.
    """
    check_alias(alias)
    base = base_directory(serving_dir)
    servers = servers or Servers()
    head = registry.head(model)
    target = find_target(
        head, base, path=model_config, name=served_name,
        server_base_path=server_base_path, keep_loaded=keep_loaded,
    )  # fmt: skip
    work = _Rollout(registry, head.model, base, target, servers, actor)
    version = registry.check_rollout(
        model, number, str(base), alias, canary=canary, required_approvals=required_approvals
    )
    _check_format(version)
    label = CANARY_LABEL if canary else STABLE_LABEL
    if _is_so(head, base, number, alias, target, canary):
        changed = work.finish(label, number)
        return Rollout(version, str(base / str(number)), target, label, None, changed)
    before = look(work.clients, number)
    begun = work.publish(version, alias, canary, required_approvals, source, progress)
    work.load(number, label, before)
    replaces = _labelled(registry.head(model), base, label)
    if canary:
        after = registry.record_canary(
            model, number, str(base), alias, target, begun=begun,
            required_approvals=required_approvals, actor=actor, reason=reason,
        )  # fmt: skip
    else:
        after = registry.record_config_promotion(
            model, number, str(base), alias, target, begun=begun,
            required_approvals=required_approvals, actor=actor, reason=reason,
        )  # fmt: skip
    _logger.info("%s is %s by %s", after.ref, label, target.path)
    work.finish(label, number)
    shown = replaces if replaces != number else None
    return Rollout(after, str(base / str(number)), target, label, shown, changed=True)


def promote_canary(
    registry: ModelRegistry,
    model: str,
    serving_dir: str | os.PathLike[str],
    *,
    number: int | None = None,
    servers: Servers | None = None,
    required_approvals: int = 0,
    actor: str | None = None,
    reason: str = "",
) -> Rollout:
    """Lets the version on trial serve: the label "stable" and the alias move to it.

    Args:
        registry: The registry.
        model: Name of the model.
        serving_dir: Its serving base directory.
        number: The version that is expected to be on trial; None means any.
        servers: Which model servers to ask.
        required_approvals: How many people besides the registrant must have approved.
        actor: Who.
        reason: Why.

    Returns:
        What was done.

    Raises:
        NotFoundError: No version is on trial there, or another one.
        RefusedError: It may not be promoted, see `promote_by_config`.
        NotServedError: A server does not serve it.
    """
    base = base_directory(serving_dir)
    head = registry.head(model)
    trial, serving = head.canaries.get(str(base)), head.deployments.get(str(base))
    if serving is not None and serving.config is not None and trial is None:
        trial = serving if serving.number == number else None  # a repeat finishes what was begun
    if trial is None or number not in (None, trial.number):
        raise NotFoundError(
            f"version {number} of {model!r} is not on trial in {str(base)!r}"
            if number
            else f"no version of {model!r} is on trial in {str(base)!r}",
            f"version {trial.number} is" if trial else "none was promoted with --canary",
            f"see what happened with 'tfx-registry history {model}'",
        )
    assert serving is not None
    assert trial.config is not None
    return promote_by_config(
        registry, model, trial.number, base, trial.config.path,
        alias=serving.alias, servers=servers, served_name=trial.config.name,
        server_base_path=trial.config.base_path, keep_loaded=trial.config.keep_loaded,
        required_approvals=required_approvals, actor=actor, reason=reason,
    )  # fmt: skip


def abort(
    registry: ModelRegistry,
    model: str,
    serving_dir: str | os.PathLike[str],
    *,
    servers: Servers | None = None,
    actor: str | None = None,
    reason: str = "",
) -> Rollout:
    """Ends a trial: the label and the alias go, and servers unload the version.

    Its directory stays; `prune` removes it. A rollout that was begun there is undone, too.

    Args:
        registry: The registry.
        model: Name of the model.
        serving_dir: Its serving base directory.
        servers: Which model servers to ask whether the label is gone.
        actor: Who.
        reason: Why.

    Returns:
        What was done.

    Raises:
        NotFoundError: No version is on trial there.
        ServingDirectoryError: The file cannot be written; what was recorded stands, repeat.
    """
    base = base_directory(serving_dir)
    head = registry.head(model)
    begun, trial = head.rollouts.get(str(base)), head.canaries.get(str(base))
    if begun is not None:
        registry.drop_rollout(model, str(base), actor=actor, reason=reason or "aborted")
    elif trial is None:
        settle(registry, model, base)  # somebody may have died after the trial had ended
    if trial is not None or begun is None:
        registry.record_abort(model, str(base), actor=actor, reason=reason)
    ended = trial or begun
    assert ended is not None
    assert ended.config is not None
    _Rollout(registry, head.model, base, ended.config, servers or Servers(), actor).finish(
        CANARY_LABEL, None
    )
    version = registry.get(model, ended.number)
    return Rollout(version, str(base / str(ended.number)), ended.config, "", None, changed=True)


def roll_back_by_config(
    registry: ModelRegistry,
    model: str,
    serving_dir: str | os.PathLike[str],
    to: int | None = None,
    *,
    reason: str,
    servers: Servers | None = None,
    actor: str | None = None,
    hash_all: bool = False,
) -> Rollout:
    """Moves the label "stable" back to a version that served before.

    A version that is still loaded serves again within one poll of the config.

    Args:
        registry: The registry.
        model: Name of the model.
        serving_dir: Its serving base directory.
        to: The version; None means the one that served there before.
        reason: Why.
        servers: Which model servers to ask; None means that a version that the file lists is
            taken for loaded.
        actor: Who.
        hash_all: Whether to hash the version first, see `rollback`.

    Returns:
        What was done.

    Raises:
        InvalidInputError: There is no reason.
        NotFoundError: There is no such version, or nothing serves there by a model config.
        RefusedError: The version never served there, was itself rolled back, or is archived; or
            nobody knows whether servers have loaded it.
        NotServedError: A server did not load it.
        IntegrityError: Its bytes were changed, or are nowhere to be found.
    """
    base = base_directory(serving_dir)
    now = registry.deployment(model, str(base))
    if now.config is None:
        raise NotFoundError(
            f"no model config is known for {str(base)!r}",
            "its servers load the latest version",
            "use rollback",
        )
    target = now.config
    aim = registry.check_rollback(model, str(base), to)
    work = _Rollout(registry, aim.model, base, target, servers or Servers(no_wait=True), actor)
    if aim.number == now.number:
        changed = work.finish(STABLE_LABEL, aim.number)
        return Rollout(aim, str(base / str(aim.number)), target, STABLE_LABEL, None, changed)
    with open_site(registry, model, base, actor=actor) as site:
        recover(site)
        _bring_bytes(site, aim, hash_all=hash_all)
    work.load(aim.number, STABLE_LABEL, look(work.clients, aim.number))
    after = registry.record_rollback(model, aim.number, str(base), (), reason=reason, actor=actor)
    _logger.info("%s is stable again by %s", after.ref, target.path)
    work.finish(STABLE_LABEL, aim.number)
    return Rollout(
        after, str(base / str(aim.number)), target, STABLE_LABEL, now.number, changed=True
    )


def settle(
    registry: ModelRegistry, model: str, base: Path, *, actor: str | None = None
) -> list[str]:
    """Undoes a rollout that was begun in a directory, and writes its model config again.

    A rollout that still waits for its servers is undone, too, and told so when it comes to record.

    Args:
        registry: The registry.
        model: Name of the model.
        base: The serving base directory.
        actor: Who.

    Returns:
        What was done, one line each; nothing where servers load the latest version.

    Raises:
        InvalidInputError: The file is no list of models.
        RefusedError: The entry of that name is for something else.
        ServingDirectoryError: It cannot be written.
    """
    did = []
    head = registry.head(model)
    begun, serving = head.rollouts.get(str(base)), head.deployments.get(str(base))
    if begun is not None:
        registry.drop_rollout(model, str(base), actor=actor, reason="not finished")
        did.append(f"undid an unfinished rollout of version {begun.number}")
    target = serving.config if serving is not None else None
    if target is None and begun is not None:
        target = begun.config
    if target is not None and write_entry(registry, model, base, target)[1]:
        did.append(f"wrote {target.path!r} again, which did not say what the registry says")
    return did


@dataclass(frozen=True)
class _Rollout:
    """One rollout of one model: its registry, its directory, its entry, its servers."""

    registry: ModelRegistry
    model: str
    base: Path
    target: ConfigTarget
    servers: Servers
    actor: str | None

    @property
    def clients(self) -> list[ModelServer]:
        return self.servers.clients(self.target.name)

    def publish(
        self,
        version: Version,
        alias: str,
        canary: bool,
        required_approvals: int,
        source: str | os.PathLike[str] | None,
        progress: Callable[[int], None] | None,
    ) -> int:
        """Makes the version visible, with the intent before; returns the intent's number."""
        begun: list[int] = []

        def intend() -> None:
            seq = self.registry.record_rollout(
                self.model, version.number, str(self.base), alias, self.target,
                canary=canary, required_approvals=required_approvals, actor=self.actor,
            )  # fmt: skip
            begun.append(seq)

        root = source if source is not None else _source(self.registry, version, self.base)
        if not os.path.lexists(self.base / str(version.number)):
            check_servable(root)
        with open_site(self.registry, self.model, self.base, actor=self.actor) as site:
            recover(site, repeated=version.number)
            site.directory.publish(
                root, version.number,
                owner=model_key(self.model), digest=version.facts.digest,
                manifest=version.facts.manifest, before_visible=intend, progress=progress,
                beside_newer=True,
            )  # fmt: skip
            write_receipt(self.base, version.number, manifest=version.facts.manifest)
            if not begun:
                intend()
            forget(site, version)
        return begun[0]

    def load(self, number: int, label: str, before: Before) -> None:
        """Lists the version and sees to it that servers have loaded it before a label moves."""
        clients = self.clients
        said, _ = write_entry(self.registry, self.model, self.base, self.target, also=[number])
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
        """Writes the file from the registry; waits until servers know the label."""
        _, changed = write_entry(self.registry, self.model, self.base, self.target)
        clients = self.clients
        if clients:
            wait_until_labelled(
                clients, label, number, deadline_seconds=self.servers.deadline_seconds,
                poll_seconds=self.servers.poll_seconds,
            )  # fmt: skip
        return changed

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
        if str(self.base) in head.rollouts:
            self.registry.drop_rollout(
                self.model, str(self.base), actor=self.actor, reason=error.what
            )
        serving = head.deployments.get(str(self.base))
        if serving is not None and serving.config is not None:
            write_entry(self.registry, self.model, self.base, serving.config)
        else:
            put_back(self.target, said)
        _logger.warning("%s:%d was taken out of %s", self.model, number, self.target.path)


def _is_so(
    head: Head, base: Path, number: int, alias: str, target: ConfigTarget, canary: bool
) -> bool:
    """Tells whether the registry says already what a promotion would record."""
    if str(base) in head.rollouts:
        return False
    there = (head.canaries if canary else head.deployments).get(str(base))
    if there is None or there.number != number or there.config != target:
        return False
    return canary or (there.alias == alias and head.aliases.get(alias) == number)


def _labelled(head: Head, base: Path, label: str) -> int | None:
    there = (head.canaries if label == CANARY_LABEL else head.deployments).get(str(base))
    return there.number if there else None


def _check_format(version: Version) -> None:
    if version.facts.format is not ModelFormat.SAVED_MODEL:
        raise InvalidModelError(
            f"cannot promote {version.ref}",
            f"its format is {version.facts.format.value!r}, and TensorFlow Serving loads only "
            "SavedModels",
            "export the model as a SavedModel and register that",
        )


def _source(registry: ModelRegistry, version: Version, base: Path) -> str:
    if Path(version.uri).exists():
        return version.uri
    others = sources(version, registry.head(version.model), base)
    return str(others[0]) if others else version.uri


def _bring_bytes(site: Site, version: Version, *, hash_all: bool) -> None:
    """Sees to it that a version lies where servers look, with the right bytes."""
    path = site.base / str(version.number)
    check = site.check(version, path, hash_all=hash_all)
    if check.state is Bytes.RIGHT or (
        check.state is Bytes.MISSING
        and (bring_back(site, version) or site.publish(version) is not None)
    ):
        return
    raise IntegrityError(
        f"cannot roll back to {version.ref}",
        check.detail or "its bytes are nowhere to be found",
        "choose another version with --to, or bring its bytes back",
    )
