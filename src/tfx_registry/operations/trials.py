"""What becomes of a version on trial: it comes to serve, or its trial ends."""

from __future__ import annotations

import os
from contextlib import nullcontext

from tfx_registry.errors import NotFoundError
from tfx_registry.operations.bases import base_of, exists
from tfx_registry.operations.held import hold
from tfx_registry.operations.rollout_steps import RolloutSteps
from tfx_registry.operations.rollouts import Rollout, promote_by_config, settle
from tfx_registry.operations.servers import Servers
from tfx_registry.operations.undone import put_begun_away
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving.model_config import CANARY_LABEL

__all__ = ["abort", "promote_canary"]


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
    base = base_of(serving_dir)
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
    base = base_of(serving_dir)
    head = registry.head(model)
    begun, trial = head.rollouts.get(str(base)), head.canaries.get(str(base))
    if begun is not None:
        serving = head.deployments.get(str(base))
        latest = (serving is None or serving.config is None) and exists(base)
        with hold(registry, model, base, actor=actor) if latest else nullcontext() as held:
            registry.drop_rollout(model, str(base), actor=actor, reason=reason or "aborted")
            if held is not None:
                put_begun_away(registry, model, base, begun.number, held.put_away)
    elif trial is None:
        # Somebody may have died after the trial had ended.
        with hold(registry, model, base, actor=actor) if exists(base) else nullcontext() as held:
            if held is not None:
                held.recover()
            settle(registry, model, base, held.put_away if held is not None else None, actor=actor)
    if trial is not None or begun is None:
        registry.record_abort(model, str(base), actor=actor, reason=reason)
    ended = trial or begun
    assert ended is not None
    assert ended.config is not None
    RolloutSteps(registry, head.model, base, ended.config, servers or Servers(), actor).finish(
        CANARY_LABEL, None
    )
    version = registry.get(model, ended.number)
    return Rollout(version, str(base / str(ended.number)), ended.config, "", None, changed=True)
