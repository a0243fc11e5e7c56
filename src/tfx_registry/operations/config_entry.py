"""What a model config must say of a model: computed from the registry, written into the file.

The file follows the log, never the other way round. So it can be written again after a crash, by
anybody, and always comes out the same.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection

from tfx_registry.errors import InvalidInputError, RefusedError, RegistryError
from tfx_registry.operations.bases import Base, config_at, lies_in
from tfx_registry.records import ConfigTarget, Head
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving.model_config import (
    CANARY_LABEL,
    READ_MARK,
    STABLE_LABEL,
    LatestVersions,
    ServedModel,
    SpecificVersions,
)

__all__ = [
    "config_problems",
    "entry_for",
    "find_entry",
    "find_target",
    "is_listed",
    "mark_entry",
    "put_back",
    "write_entry",
]


def find_target(
    head: Head,
    base: Base,
    *,
    path: str | os.PathLike[str] | None,
    name: str | None = None,
    server_base_path: str | None = None,
    keep_loaded: int | None = None,
) -> ConfigTarget:
    """Finds the entry of a model config that is for a serving directory.

    What is not given is what it was the last time, or what the file says already.

    Args:
        head: Head of the model.
        base: The serving base directory, as seen here.
        path: The file; None means the one of the last promotion there.
        name: Name of the model in the file.
        server_base_path: The serving base directory, as the servers see it.
        keep_loaded: How many versions that served before stay loaded.

    Returns:
        The entry.

    Raises:
        InvalidInputError: No file is given or known, or it is no list of models.
        RefusedError: The entry of that name is for something else.
        ServingDirectoryError: The file cannot be read.
    """
    serving = head.deployments.get(str(base))
    known = serving.config if serving else None
    if path is None and known is None:
        raise InvalidInputError(
            f"cannot tell which model config is for {str(base)!r}",
            "nothing was promoted there with a model config",
            "give it with --model-config FILE",
        )
    given = path if path is not None else known.path if known else ""
    config = config_at(given)
    file = config.resolve(given)
    if known is None or known.path != file:
        known = None
    entries = config.peek(file)
    seen = server_base_path or (known.base_path if known else str(base))
    same_path = next((e.name for e in entries if _same_path(e.base_path, seen)), None)
    called = name or (known.name if known else None) or same_path or head.model
    entry = next((e for e in entries if e.name == called), None)
    keep = known.keep_loaded if keep_loaded is None and known else keep_loaded
    target = ConfigTarget(file, called, seen, 1 if keep is None else keep)
    if entry is not None:
        check_entry(entry, target)
    if not os.path.isabs(target.base_path) and "://" not in target.base_path:  # noqa: PTH117
        raise InvalidInputError(
            f"cannot use the base path {target.base_path!r}",
            "a model server takes absolute paths only",
            "give the absolute path that the servers see",
        )
    return target


def check_entry(entry: ServedModel, target: ConfigTarget) -> None:
    """Refuses an entry that is for another directory, or for no SavedModels.

    Raises:
        RefusedError: It is.
    """
    if not _same_path(entry.base_path, target.base_path):
        raise RefusedError(
            f"cannot use {target.path!r} for {target.name!r}",
            f"its base path there is {entry.base_path!r}, and not {target.base_path!r}",
            "if that is how the servers see the same directory, say so with "
            f"--server-base-path {entry.base_path}; else choose another name with --served-name",
        )
    if entry.platform != "tensorflow":
        raise RefusedError(
            f"cannot use {target.path!r} for {target.name!r}",
            f"its platform there is {entry.platform!r}, and SavedModels need 'tensorflow'",
            "correct model_platform in the file",
        )


def entry_for(
    head: Head,
    base: Base,
    target: ConfigTarget,
    now: ServedModel | None,
    also: Collection[int] = (),
    *,
    pin: bool = False,
    marked: bool = False,
) -> ServedModel:
    """Computes what the file must say.

    Loaded are: what serves, what is on trial, what a rollout has begun with, the last versions that
    served before as far as they lie there, and whatever a label of somebody else points at. Labels
    of somebody else stay.

    Where a first rollout came to nothing, and a version serves that was promoted without a config,
    servers load the latest version again, unless a label of somebody else needs another one.

    Args:
        head: Head of the model.
        base: The serving base directory, as seen here.
        target: The entry.
        now: What the file says now, or None.
        also: Other versions to be loaded.
        pin: Whether a rollout has begun whose version must not be loaded yet.
        marked: Whether what serves gets its label though no config was recorded for it, so that
            servers can be asked whether they have read the file.

    Returns:
        The entry.
    """
    serving = head.deployments.get(str(base))
    trial = head.canaries.get(str(base))
    begun = head.rollouts.get(str(base))
    labels = {
        label: number
        for label, number in (now.labels if now else {}).items()
        if label not in (STABLE_LABEL, CANARY_LABEL) and not label.startswith(READ_MARK)
    }
    numbers = {*also, *labels.values()}
    plain = serving is not None and serving.config is None and begun is None and trial is None
    if plain and not also and numbers <= {serving.number if serving else 0}:
        told = now.policy if now is not None else LatestVersions()
        policy = LatestVersions() if isinstance(told, SpecificVersions) else told
        return ServedModel(target.name, target.base_path, policy, labels)
    if serving is not None:
        numbers.add(serving.number)
        back = serving.trail[: target.keep_loaded]
        numbers.update(n for n in back if lies_in(base, n, loadable=True))
        said = now.labels.get(STABLE_LABEL) if now is not None and begun is not None else None
        if serving.config is not None or marked or said == serving.number:
            labels[STABLE_LABEL] = serving.number
    if begun is not None and not pin:
        numbers.add(begun.number)
    if trial is not None:
        numbers.add(trial.number)
        labels[CANARY_LABEL] = trial.number
    return ServedModel(
        target.name, target.base_path, SpecificVersions(tuple(sorted(numbers))), labels
    )


def write_entry(
    registry: ModelRegistry,
    model: str,
    base: Base,
    target: ConfigTarget,
    also: Collection[int] = (),
    *,
    loaded: Collection[int] = (),
    pin: bool = False,
    marked: bool = False,
) -> tuple[ServedModel | None, bool, tuple[int, ...]]:
    """Writes into the file what it must say.

    The registry is read while the file is held. So whoever writes last has read last, and the
    file never goes back behind the log.

    A label never moves to a version that the file did not list before: servers would refuse such a
    file for ever. The version is listed first, and the label stays where it is until this is called
    again.

    Args:
        registry: The registry.
        model: Name of the model.
        base: The serving base directory, as seen here.
        target: The entry.
        also: Other versions to be loaded.
        loaded: Versions that every server was told to load, and has, whatever the file lists.
        pin: See `entry_for`.
        marked: See `entry_for`.

    Returns:
        What the file said before, whether it was changed, and the versions that servers have to
        load before a label can move to them.

    Raises:
        InvalidInputError: The file is no list of models.
        RefusedError: The entry of that name is for something else.
        ServingDirectoryError: It cannot be written.
    """
    with config_at(target.path).lock(target.path) as file:
        now = file.find(target.name)
        if now is not None:
            check_entry(now, target)
        new = entry_for(registry.head(model), base, target, now, also, pin=pin, marked=marked)
        if new.policy == SpecificVersions():
            return now, file.remove(target.name), ()
        if now is None and not isinstance(new.policy, SpecificVersions):
            return None, False, ()  # servers are not told by this file
        new, late = _listed_first(now, new, loaded)
        return now, file.put(new), late


def mark_entry(
    registry: ModelRegistry, model: str, base: Base, target: ConfigTarget, number: int, mark: str
) -> int | None:
    """Writes a file that lists a version, with one more label that servers know once they read it.

    Whoever writes the file next removes it.

    Args:
        registry: The registry.
        model: Name of the model.
        base: The serving base directory, as seen here.
        target: The entry.
        number: The version.
        mark: The label.

    Returns:
        What the label points at: a version that has another label already, so that no server
        refuses it. None where there is none; nothing was written then.

    Raises:
        InvalidInputError: The file is no list of models.
        RefusedError: The entry of that name is for something else.
        ServingDirectoryError: It cannot be written.
    """
    with config_at(target.path).lock(target.path) as file:
        now = file.find(target.name)
        if now is None:
            return None
        check_entry(now, target)
        wanted = entry_for(registry.head(model), base, target, now, [number])
        new, _ = _listed_first(now, wanted, ())
        said = dict(now.labels)
        points = next((n for label, n in sorted(new.labels.items()) if said.get(label) == n), None)
        if points is None:
            return None
        file.put(dataclasses.replace(new, labels={**new.labels, mark: points}))
        return points


def _listed_first(
    now: ServedModel | None, new: ServedModel, loaded: Collection[int]
) -> tuple[ServedModel, tuple[int, ...]]:
    """Leaves labels where they are whose versions the file does not list yet."""
    if (
        now is None
        or not isinstance(now.policy, SpecificVersions)
        or not isinstance(new.policy, SpecificVersions)
    ):
        return new, ()
    listed = {*now.policy.numbers, *loaded}
    late = {
        label: number
        for label, number in new.labels.items()
        if label in (STABLE_LABEL, CANARY_LABEL) and number not in listed
    }
    kept = {label: now.labels[label] for label in late if now.labels.get(label) in listed}
    labels = {label: number for label, number in new.labels.items() if label not in late}
    numbers = SpecificVersions(tuple(sorted({*new.policy.numbers, *kept.values()})))
    entry = ServedModel(new.name, new.base_path, numbers, {**labels, **kept})
    return (entry if late else new), tuple(sorted(set(late.values())))


def put_back(target: ConfigTarget, before: ServedModel | None) -> None:
    """Makes the file say of a model what it said before; for a first rollout that came to nothing.

    Args:
        target: The entry.
        before: What the file said, or None where it did not list the model.

    Raises:
        InvalidInputError: The file is no list of models.
        ServingDirectoryError: It cannot be written.
    """
    with config_at(target.path).lock(target.path) as file:
        if before is not None:
            file.put(before)
        else:
            file.remove(target.name)


def find_entry(target: ConfigTarget) -> ServedModel | None:
    """Returns what the file says of a model now, or None where it does not list it.

    Args:
        target: The entry.

    Raises:
        InvalidInputError: The file is no list of models.
        ServingDirectoryError: It cannot be read.
    """
    return next(
        (e for e in config_at(target.path).peek(target.path) if e.name == target.name), None
    )


def config_problems(head: Head, base: Base) -> list[str]:
    """Says what is not as it should be with the model config of a directory.

    Args:
        head: Head of the model.
        base: The serving base directory.

    Returns:
        One line each; nothing where servers load the latest version.
    """
    found = []
    begun, serving = head.rollouts.get(str(base)), head.deployments.get(str(base))
    if begun is not None:
        found.append(
            f"a rollout of version {begun.number} is not finished: repeat it, or undo it with "
            "'tfx-registry reconcile'"
        )
    if serving is not None and serving.config is not None:
        try:
            found += config_at(serving.config.path).edits_left(serving.config.path)
            now = find_entry(serving.config)
            right = now is not None and now == entry_for(head, base, serving.config, now)
        except RegistryError as error:
            found.append(str(error))
        else:
            if not right:
                found.append(
                    f"{serving.config.path!r} does not say what the registry says: run "
                    "'tfx-registry reconcile'"
                )
    return found


def is_listed(entry: ServedModel | None, number: int) -> bool:
    """Tells whether an entry lists a version by its number."""
    policy = entry.policy if entry else None
    return isinstance(policy, SpecificVersions) and number in policy.numbers


def _same_path(one: str, other: str) -> bool:
    return os.path.normpath(one) == os.path.normpath(other)
