"""Finishes the undoing of a first rollout by a model config, where a process died in between.

Where servers load the latest version, the end of such a rollout is three steps: the log says that
it was dropped, its version is put away, and the file says "latest" again. The log comes first, so
whoever comes next can tell from it that the rest may be missing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from tfx_registry.errors import RegistryError
from tfx_registry.operations.bases import AnySite, Base, lies_in
from tfx_registry.operations.config_entry import entry_for, find_entry, write_entry
from tfx_registry.records import ConfigTarget, Head
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving.model_config import SpecificVersions
from tfx_registry.serving.objects import is_object_url

__all__ = ["finish_undone_if_possible", "put_begun_away", "undone_problems"]

_logger = logging.getLogger(__name__)


def put_begun_away(
    registry: ModelRegistry,
    model: str,
    base: Base,
    number: int,
    put_away: Callable[[int], object],
) -> bool:
    """Puts away the version of a rollout that was dropped, where servers load the latest one.

    Args:
        registry: The registry.
        model: Name of the model.
        base: The serving base directory, held by the caller.
        number: The version.
        put_away: Takes a version out of what servers see.

    Returns:
        Whether it was put away; not where servers would not load it.

    Raises:
        ServingDirectoryError: The directory cannot be changed.
    """
    if not _would_be_loaded(registry.head(model), base, number):
        return False
    put_away(number)
    return True


def finish_undone(
    registry: ModelRegistry,
    model: str,
    base: Base,
    put_away: Callable[[int], object],
    *,
    repeated: int | None = None,
) -> list[str]:
    """Finishes what the end of a first rollout by a model config has left.

    Args:
        registry: The registry.
        model: Name of the model; it need not exist.
        base: The serving base directory, held by the caller.
        put_away: Takes a version out of what servers see.
        repeated: A version that is about to be promoted; it is not put away.

    Returns:
        What was done, one line each; nothing is the usual case.

    Raises:
        InvalidInputError: The file is no list of models.
        RefusedError: The entry of that name is for something else.
        ServingDirectoryError: The directory or the file cannot be changed.
    """
    undone = registry.undone_rollout(model, str(base))
    if undone is None:
        return []
    did = []
    if undone.number != repeated and put_begun_away(registry, model, base, undone.number, put_away):
        did.append(f"put version {undone.number} away, whose rollout was undone")
    config = undone.config
    if config is not None and _is_pinned(registry.head(model), base, config):
        write_entry(registry, model, base, config)
        did.append(f"finished undoing a rollout of version {undone.number} in {config.path!r}")
    return did


def finish_undone_if_possible(site: AnySite, base: Base, repeated: int | None) -> list[str]:
    """Does the same for an operation that does not need the file, and is not stopped by it.

    Args:
        site: The directory, held.
        base: The same directory.
        repeated: See `finish_undone`.

    Returns:
        What was done, one line each.
    """
    try:
        return finish_undone(site.registry, site.model, base, site.put_away, repeated=repeated)
    except RegistryError as error:
        # 'status' shows it.
        _logger.warning("%s: cannot finish what was undone: %s", base, error)
        return []


def undone_problems(registry: ModelRegistry, model: str, base: Base) -> list[str]:
    """Says what the end of a first rollout by a model config has left, one line each.

    Args:
        registry: The registry.
        model: Name of the model.
        base: The serving base directory.
    """
    undone = registry.undone_rollout(model, str(base))
    if undone is None:
        return []
    head, config, found = registry.head(model), undone.config, []
    if _would_be_loaded(head, base, undone.number):
        found.append(f"version {undone.number} lies there, whose rollout was undone")
    try:
        if config is not None and _is_pinned(head, base, config):
            found.append(f"{config.path!r} still says what an undone rollout has written")
    except RegistryError as error:
        return [*found, str(error)]
    return [f"{what}: run 'tfx-registry reconcile'" for what in found]


def _would_be_loaded(head: Head, base: Base, number: int) -> bool:
    serving = head.deployments.get(str(base))
    if serving is not None and (serving.config is not None or number <= serving.number):
        return False
    if str(base) in head.rollouts or str(base) in head.unfinished:
        return False  # somebody is about to let a version be loaded
    return lies_in(base, number)


def _is_pinned(head: Head, base: Base, target: ConfigTarget) -> bool:
    """Tells whether the file names versions because of a rollout."""
    if not is_object_url(target.path) and not os.path.lexists(target.path):
        return False
    now = find_entry(target)
    named = now is not None and isinstance(now.policy, SpecificVersions)
    return named and now != entry_for(head, base, target, now)
