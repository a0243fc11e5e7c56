"""Promotes a version: checks the decision, publishes the bytes, records it, moves the alias.

The order makes each crash harmless. Everything that may refuse comes first; the intent is recorded
once the copy is complete and verified, before it becomes visible; the alias moves in the same
transaction that records the promotion. Whoever repeats an interrupted promotion finishes it, and
whoever promotes something else first finishes or undoes it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfx_registry.errors import NotServedError, RefusedError
from tfx_registry.keras_export import check_servable_format
from tfx_registry.names import check_alias, model_key
from tfx_registry.operations.bases import Base, base_of, check_is_there
from tfx_registry.operations.held import local_source
from tfx_registry.operations.recovery import forget, recover
from tfx_registry.operations.rollbacks import rollback
from tfx_registry.operations.servers import Servers, check_servers
from tfx_registry.operations.site import open_site
from tfx_registry.records import Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving.objects import ObjectUrl
from tfx_registry.serving.receipts import write_receipt
from tfx_registry.serving.status_client import ModelServer
from tfx_registry.serving.verification import Before, look

__all__ = ["Promotion", "promote"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Promotion:
    """The outcome of a promotion.

    Attributes:
        version: The version, serving now.
        path: The directory that a server loads.
        replaces: The version that served there before, or None.
        changed: False when everything was as it should be already.
    """

    version: Version
    path: str
    replaces: int | None
    changed: bool


def promote(
    registry: ModelRegistry,
    model: str,
    number: int,
    serving_dir: str | os.PathLike[str],
    *,
    alias: str = "production",
    source: str | os.PathLike[str] | None = None,
    required_approvals: int = 0,
    actor: str | None = None,
    reason: str = "",
    progress: Callable[[int], None] | None = None,
    check: Callable[[Path], None] | None = None,
    servers: Servers | None = None,
    served_name: str | None = None,
) -> Promotion:
    """Promotes a version that the gate has passed.

    Args:
        registry: The registry.
        model: Name of the model.
        number: The version.
        serving_dir: Serving base directory of the model, or its address in an object store; the
            version becomes `<dir>/<number>`.
        alias: The alias that moves to the version.
        source: Where the bytes lie; None means where they lay at registration, or any place known
            to the registry if they are not there any more.
        required_approvals: How many people besides the registrant must have approved; the access
            policy may ask for more.
        actor: Who.
        reason: Why.
        progress: Called with the number of bytes copied since the last call.
        check: Called with the verified copy before a server can see it, such as a
            `tfx_registry.serving.SmokeTest`; if it raises, nothing is published.
        servers: Model servers that must serve the version before this returns. Where they do not,
            the version is rolled back, if one served there before and `keep_failed` is not set.
        served_name: Name of the model in the servers; None means as in the registry.

    Returns:
        What was done.

    Raises:
        NotFoundError: There is no such version.
        RefusedError: It may not be promoted (see `ModelRegistry.check_promotable`), or a newer
            version lies there.
        IntegrityError: Bytes are not those that were registered.
        InvalidModelError: The version is no SavedModel.
        ServingDirectoryError: The directory cannot take it, or should not be empty.
        NotServedError: The version was promoted, and the servers do not serve it.
    """
    check_alias(alias)
    base = base_of(serving_dir)
    needed = {"required_approvals": required_approvals}
    version = registry.check_promotable(model, number, alias=alias, **needed)
    registry.check_destination(model, number, str(base), alias)
    check_loads_latest(registry, model, base)
    check_is_there(registry, model, base)
    check_servable_format(version)
    clients = servers.clients(served_name or version.model) if servers is not None else []
    said = look(clients, number) if clients else {}
    if isinstance(base, ObjectUrl):
        from tfx_registry.operations.objects import promote_to_objects

        after, replaces, changed = promote_to_objects(
            registry, version, base, alias=alias, **needed, actor=actor, reason=reason,
            source=os.fspath(source) if source is not None else None,
            progress=progress, check=check,
        )  # fmt: skip
        done = Promotion(after, f"{base}/{number}", replaces, changed)
        return _see_served(registry, done, base, servers, clients, said, actor)
    with (
        local_source(registry, version, base, source) as root,
        open_site(registry, model, base, actor=actor) as site,
    ):
        assert root is not None, "local_source finds it"
        recover(site, repeated=number)
        before = site.deployment()
        published = site.directory.publish(
            root,
            number,
            owner=model_key(model),
            digest=version.facts.digest,
            manifest=version.facts.manifest,
            check=check,
            before_visible=lambda: registry.record_intent(
                model, number, str(base), alias, **needed, actor=actor
            ),
            progress=progress,
        )
        try:
            after = registry.record_promotion(
                model, number, str(base), alias, **needed, actor=actor, reason=reason
            )
        except RefusedError:
            recover(site)  # somebody rejected it in the last moment: it must not stay visible
            raise
        write_receipt(base, number, manifest=version.facts.manifest)
        forget(site, version)
    unchanged = published.already_there and after.seq == version.seq
    replaces = before.number if before is not None and before.number != number else None
    _logger.info(
        "%s %s in %s under %r",
        after.ref,
        "serves already" if unchanged else "promoted",
        base,
        alias,
    )
    done = Promotion(after, str(published.path), replaces, changed=not unchanged)
    return _see_served(registry, done, base, servers, clients, said, actor)


def _see_served(
    registry: ModelRegistry,
    done: Promotion,
    base: Base,
    servers: Servers | None,
    clients: Sequence[ModelServer],
    said: Before,
    actor: str | None,
) -> Promotion:
    """Waits until servers serve the version, where any are to be asked."""
    if servers is not None and clients:
        try:
            model, number = done.version.model, done.version.number
            check_servers(registry, model, number, base, servers, clients, said, actor)
        except NotServedError as error:
            raise _give_up(registry, done, base, servers, error, actor) from error
    return done


def _give_up(
    registry: ModelRegistry,
    done: Promotion,
    base: Base,
    servers: Servers,
    error: NotServedError,
    actor: str | None,
) -> NotServedError:
    """Rolls back what servers do not serve, if that is asked for and possible."""
    model, number, back = done.version.model, done.version.number, done.replaces
    outcome = "it stays where it is"
    if done.changed and back is not None and not servers.keep_failed:
        if registry.deployment(model, str(base)).number == number:
            why = f"model servers do not serve version {number}"
            rollback(registry, model, str(base), back, reason=why, actor=actor)
            outcome = f"rolled back to version {back}"
        else:
            outcome = "another version was promoted meanwhile"
    reports = getattr(error, "reports", ())
    return NotServedError(error.what, f"{error.why}; {outcome}", error.todo, reports=reports)


def check_loads_latest(registry: ModelRegistry, model: str, base: Base) -> None:
    """Refuses a directory whose servers are told by a model config what to load.

    Args:
        registry: The registry.
        model: Name of the model.
        base: The serving base directory.

    Raises:
        RefusedError: They are, or a rollout by a model config is not finished there.
    """
    head = registry.head(model)
    serving, begun = head.deployments.get(str(base)), head.rollouts.get(str(base))
    if serving is not None and serving.config is not None:
        raise RefusedError(
            f"cannot promote {model!r} into {str(base)!r} alone",
            f"its servers load what {serving.config.path!r} lists, and would not notice",
            f"add --model-config {serving.config.path}",
        )
    if begun is not None:
        by = f" by {begun.config.path!r}" if begun.config is not None else ""
        raise RefusedError(
            f"cannot promote {model!r} into {str(base)!r} alone",
            f"a rollout of version {begun.number}{by} is not finished there",
            "repeat it, or undo it with 'tfx-registry abort' or 'tfx-registry reconcile'",
        )
