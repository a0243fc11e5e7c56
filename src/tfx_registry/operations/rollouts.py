"""Promotions whose servers are told by a model config what to load; versions on trial.

The order, for servers that poll the config (docs/design/0007-canary.md says why):

1. everything that may refuse;
2. the verified copy, the intent (`rollout_started`), the rename; no server looks yet (servers that
   load the latest version are told before to stay with what serves);
3. the config lists the version beside the others; no label moves;
4. all servers report it as AVAILABLE;
5. one event: on trial, or serving, with the alias;
6. the config is written from the registry: the label moves, what is not needed any more goes.

A crash before 5 leaves what served; a crash after it leaves a config that the next command, or
`reconcile`, writes again. Nothing is held while servers load, so a rollback never waits for a
rollout; whoever records first wins, and the other one is told.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tfx_registry import codec
from tfx_registry.errors import (
    ConflictError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
)
from tfx_registry.keras_export import check_servable_format
from tfx_registry.names import check_alias
from tfx_registry.operations.bases import Base, base_of, check_is_there
from tfx_registry.operations.config_entry import find_target, write_entry
from tfx_registry.operations.held import hold
from tfx_registry.operations.rollout_steps import RolloutSteps
from tfx_registry.operations.servers import Servers
from tfx_registry.operations.undone import put_begun_away
from tfx_registry.records import ConfigTarget, Head, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving.layout import check_writable
from tfx_registry.serving.model_config import CANARY_LABEL, STABLE_LABEL
from tfx_registry.serving.objects import ObjectUrl
from tfx_registry.serving.verification import look

__all__ = [
    "ByConfig",
    "Rollout",
    "promote_by_config",
    "roll_back_by_config",
    "settle",
]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ByConfig:
    """How servers are told by a model config what to load; options of a component.

    Attributes:
        model_config: The config file, as the promoter sees it; or its address in an object store.
        canary: Whether a version goes on trial, and does not serve yet.
        served_name: See `promote_by_config`.
        server_base_path: See `promote_by_config`.
        keep_loaded: See `promote_by_config`.
    """

    model_config: str
    canary: bool = False
    served_name: str | None = None
    server_base_path: str | None = None
    keep_loaded: int | None = None

    def to_json(self) -> str:
        """Writes the options as JSON text."""
        return codec.dumps(self)

    @classmethod
    def from_json(cls, text: str) -> ByConfig:
        """Reads what `to_json` wrote.

        Raises:
            InvalidInputError: It is something else.
        """
        try:
            return codec.decode(cls, json.loads(text), strict=True)
        except ValueError as error:
            raise InvalidInputError(
                "invalid options by_config", str(error), "correct them"
            ) from error


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
    serving_dir: str | os.PathLike[str] | ObjectUrl,
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
    check: Callable[[Path], None] | None = None,
) -> Rollout:
    """Lets servers load a version by their model config, on trial or to serve.

    Args:
        registry: The registry.
        model: Name of the model.
        number: The version.
        serving_dir: Serving base directory of the model, or its address in an object store; the
            version becomes `<dir>/<number>`.
        model_config: The config file, or its address; None means the one of the last promotion
            there.
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
        check: Called with the verified copy before a server can see it, such as a
            `tfx_registry.serving.SmokeTest`; if it raises, nothing is published.

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
        ServingDirectoryError: The directory or the file cannot be written, or the directory should
            not be empty.
    """
    check_alias(alias)
    base = base_of(serving_dir)
    check_is_there(registry, model, base)
    servers = servers or Servers()
    head = registry.head(model)
    target = find_target(
        head, base, path=model_config, name=served_name,
        server_base_path=server_base_path, keep_loaded=keep_loaded,
    )  # fmt: skip
    work = RolloutSteps(registry, head.model, base, target, servers, actor)
    version = registry.check_rollout(
        model, number, str(base), alias, canary=canary, required_approvals=required_approvals
    )
    check_servable_format(version)
    label = CANARY_LABEL if canary else STABLE_LABEL
    if _is_so(head, base, number, alias, target, canary):
        changed = work.finish(label, number)
        return Rollout(version, str(base / str(number)), target, label, None, changed)
    # A file from a backup may list anything: only what the log says was listed counts as loaded.
    known = (head.rollouts.get(str(base)), head.canaries.get(str(base)))
    listed = any(there is not None and there.number == number for there in known)
    before = look(work.clients, number)
    if isinstance(base, Path):
        check_writable(base)
    pinned = work.pin(version, alias, required_approvals)
    begun = work.publish(
        version, alias, canary, required_approvals, source, progress, check, pinned=pinned
    )
    work.load(number, label, before, listed=listed, pinned=pinned)
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


def roll_back_by_config(
    registry: ModelRegistry,
    model: str,
    serving_dir: str | os.PathLike[str] | ObjectUrl,
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
        ConflictError: Something else has come to serve there meanwhile.
        IntegrityError: Its bytes were changed, or are nowhere to be found.
    """
    base = base_of(serving_dir)
    now = registry.deployment(model, str(base))
    if now.config is None:
        raise NotFoundError(
            f"no model config is known for {str(base)!r}",
            "its servers load the latest version",
            "use rollback",
        )
    target = now.config
    aim = registry.check_rollback(model, str(base), to)
    work = RolloutSteps(registry, aim.model, base, target, servers or Servers(no_wait=True), actor)
    if aim.number == now.number:
        changed = work.finish(STABLE_LABEL, aim.number)
        return Rollout(aim, str(base / str(aim.number)), target, STABLE_LABEL, None, changed)
    with hold(registry, model, base, actor=actor) as held:
        held.recover()
        why = held.bring(aim, hash_all=hash_all)
    if why:
        raise IntegrityError(
            f"cannot roll back to {aim.ref}", why,
            "choose another version with --to, or bring its bytes back",
        )  # fmt: skip
    work.load(aim.number, STABLE_LABEL, look(work.clients, aim.number), listed=True)
    try:
        after = registry.record_rollback(
            model, aim.number, str(base), (), reason=reason, actor=actor, since=now.seq
        )
    except ConflictError:
        current = registry.deployment(model, str(base)).config or target
        write_entry(registry, model, base, current)  # the version is not to stay loaded for this
        raise
    _logger.info("%s is stable again by %s", after.ref, target.path)
    work.finish(STABLE_LABEL, aim.number)
    return Rollout(
        after, str(base / str(aim.number)), target, STABLE_LABEL, now.number, changed=True
    )


def settle(
    registry: ModelRegistry,
    model: str,
    base: Base,
    put_away: Callable[[int], object] | None = None,
    *,
    actor: str | None = None,
) -> list[str]:
    """Undoes a rollout that was begun in a directory, and writes its model config again.

    A rollout that still waits for its servers is undone, too, and told so when it comes to record.

    Args:
        registry: The registry.
        model: Name of the model.
        base: The serving base directory.
        put_away: Takes a version out of what servers see; None where the directory is not held:
            what is to go is left to the one who holds it next, see `undone`.
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
        if put_away and put_begun_away(registry, model, base, begun.number, put_away):
            did.append(f"put version {begun.number} away, which a server would load")
    target = serving.config if serving is not None else None
    if target is None and begun is not None:
        target = begun.config
    if target is not None:
        _, changed, late = write_entry(registry, model, base, target)
        if changed:
            did.append(f"wrote {target.path!r} again, which did not say what the registry says")
        if late:
            did.append(
                f"listed {_versions(late)} there without a label: repeat once servers have loaded "
                "that, and the label moves"
            )
    return did


def _versions(numbers: tuple[int, ...]) -> str:
    return " and ".join(f"version {number}" for number in numbers)


def _is_so(
    head: Head, base: Base, number: int, alias: str, target: ConfigTarget, canary: bool
) -> bool:
    """Tells whether the registry says already what a promotion would record."""
    if str(base) in head.rollouts:
        return False
    there = (head.canaries if canary else head.deployments).get(str(base))
    if there is None or there.number != number or there.config != target:
        return False
    return canary or (there.alias == alias and head.aliases.get(alias) == number)


def _labelled(head: Head, base: Base, label: str) -> int | None:
    there = (head.canaries if label == CANARY_LABEL else head.deployments).get(str(base))
    return there.number if there else None
