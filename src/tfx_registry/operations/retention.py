"""Removes old versions from a serving directory, never one that somebody may still need.

A version is first renamed to where no server looks, then its removal is recorded, then its files
are deleted. What a crash leaves between the first two is put back by the next operation, what it
leaves after them is deleted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tfx_registry import codec
from tfx_registry.digest import walk_files
from tfx_registry.errors import InvalidInputError, ModelServerError
from tfx_registry.operations.bases import base_of, check_is_there
from tfx_registry.operations.config_entry import find_entry, is_listed
from tfx_registry.operations.recovery import recover
from tfx_registry.operations.site import Site, check_owner, holds, open_site, sources, stored
from tfx_registry.records import Deployment, Head, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving import list_version_directories
from tfx_registry.serving.model_config import ServedModel
from tfx_registry.serving.objects import ObjectUrl
from tfx_registry.serving.receipts import Bytes, check_bytes, drop_receipt
from tfx_registry.serving.shelf import Shelf
from tfx_registry.serving.status_client import ModelServer

__all__ = [
    "KEEP_LABEL",
    "Candidates",
    "Kept",
    "Pruning",
    "Removal",
    "Retention",
    "plan_pruning",
    "prune",
]

#: A version with this label, whatever its value, is never removed.
KEEP_LABEL = "keep"


@dataclass(frozen=True)
class Retention:
    """Which versions stay in a serving directory.

    Whatever it says, what serves, what an alias points at, what has the label `keep`, and what a
    rollback would go back to stays.

    Attributes:
        keep_last: How many of the newest versions in the directory stay; at least 1.
        servers: URLs of TensorFlow Serving's REST API, such as `http://localhost:8501`; what one of
            them reports as AVAILABLE stays. If one does not answer, nothing is removed.
    """

    keep_last: int
    servers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks the number."""
        if isinstance(self.keep_last, bool) or not isinstance(self.keep_last, int):
            why = "it is no whole number"
        elif self.keep_last < 1:
            why = "at least the version that serves must stay"
        else:
            return
        raise InvalidInputError(f"invalid keep_last {self.keep_last!r}", why, "give 1 or more")

    def to_json(self) -> str:
        """Writes the rule as JSON text."""
        return codec.dumps(self)

    @classmethod
    def from_json(cls, text: str) -> Retention:
        """Reads what `to_json` wrote.

        Raises:
            InvalidInputError: It is something else.
        """
        try:
            return codec.decode(cls, json.loads(text), strict=True)
        except ValueError as error:
            raise InvalidInputError("invalid retention", str(error), "correct it") from error


@dataclass(frozen=True)
class Kept:
    """A version that stays.

    Attributes:
        number: The version.
        reasons: Why, one phrase each.
    """

    number: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Removal:
    """A version that goes, or would go.

    Attributes:
        number: The version.
        paths: Where it lies.
        size_bytes: What that frees.
        last: Whether no other place is known that holds its bytes.
    """

    number: int
    paths: tuple[str, ...]
    size_bytes: int
    last: bool


@dataclass(frozen=True)
class Pruning:
    """What retention did, or would do.

    Attributes:
        model: Name of the model.
        directory: The serving base directory.
        kept: What stays, ascending.
        removed: What goes, ascending.
        recovered: What an earlier crash had left and was finished or undone first.
        dry_run: Whether nothing was done.
    """

    model: str
    directory: str
    kept: tuple[Kept, ...]
    removed: tuple[Removal, ...]
    recovered: tuple[str, ...] = ()
    dry_run: bool = True

    @property
    def size_bytes(self) -> int:
        """What it frees in all."""
        return sum(removal.size_bytes for removal in self.removed)


@dataclass(frozen=True)
class Candidates:
    """What lies in a directory, of which some may go.

    Attributes:
        model: Name of the model.
        numbers: All versions that lie there.
        visible: Those that a server sees.
        doubts: Says why a version that nobody needs stays all the same.
        removal: Says what the removal of a version would be.
    """

    model: str
    numbers: Collection[int]
    visible: Collection[int]
    doubts: Callable[[Version], Iterable[str]]
    removal: Callable[[Version, Head], Removal]


def prune(
    registry: ModelRegistry,
    model: str,
    serving_dir: str | os.PathLike[str],
    retention: Retention,
    *,
    dry_run: bool = True,
    actor: str | None = None,
    reason: str = "",
) -> Pruning:
    """Removes old versions from a serving directory, or says which it would remove.

    Args:
        registry: The registry.
        model: Name of the model.
        serving_dir: Its serving base directory.
        retention: What stays.
        dry_run: Whether to change nothing.
        actor: Who; the access policy must let them promote.
        reason: Why.

    Returns:
        What went and what stayed.

    Raises:
        NotFoundError: Nothing of the model serves there.
        RefusedError: The directory is for another model.
        ModelServerError: A server did not answer, or has no version of the model loaded, so that
            it cannot be the one of this directory; nothing was removed.
        ServingDirectoryError: The directory cannot be changed, or should not be empty.
    """
    base = base_of(serving_dir)
    now = registry.deployment(model, str(base))
    name = registry.head(model).model
    check_is_there(registry, name, base, action="remove versions from")
    called = now.config.name if now.config is not None else name
    loaded = {server: _loaded(server, called) for server in retention.servers}
    if isinstance(base, ObjectUrl):
        from tfx_registry.operations.objects import prune_objects

        return prune_objects(
            registry, now, name, base, retention.keep_last, loaded, dry_run=dry_run, actor=actor,
            reason=reason or f"retention keeps the last {retention.keep_last}",
        )  # fmt: skip
    if dry_run:
        check_owner(registry, Shelf(base), model)
        return plan_pruning(registry, now, retention.keep_last, loaded, _files(base, name))
    with open_site(registry, model, base, actor=actor) as site:
        recovered = tuple(recover(site))
        now = registry.deployment(model, str(base))
        plan = plan_pruning(registry, now, retention.keep_last, loaded, _files(base, name))
        for removal in plan.removed:
            _remove(site, removal, reason or f"retention keeps the last {retention.keep_last}")
    return Pruning(plan.model, plan.directory, plan.kept, plan.removed, recovered, dry_run=False)


def _loaded(server: str, name: str) -> tuple[int, ...]:
    found = ModelServer(server, name).available()
    if not found:
        raise ModelServerError(
            f"cannot tell what {server} needs",
            f"it has no version of {name!r} loaded",
            "name the server of this directory, or wait until it serves; nothing was removed",
        )
    return found


def plan_pruning(
    registry: ModelRegistry,
    now: Deployment,
    keep_last: int,
    loaded: Mapping[str, tuple[int, ...]],
    candidates: Candidates,
) -> Pruning:
    """Says which versions stay in a directory and why, and which would go.

    Args:
        registry: The registry.
        now: What serves there.
        keep_last: How many of the newest versions stay.
        loaded: The versions that model servers have loaded, by server.
        candidates: What lies there.

    Returns:
        The plan, as of a dry run.

    Raises:
        RegistryError: The model config that servers follow there cannot be read.
    """
    head = registry.head(candidates.model)
    versions = registry.known_versions(head.model, candidates.numbers)
    newest = sorted(versions, reverse=True)[:keep_last]
    target = _target(now, versions)
    rollout = head.rollouts.get(now.destination)
    listed = find_entry(now.config) if now.config is not None else None
    kept, removed = [], []
    for number in sorted(candidates.numbers):
        version = versions.get(number)
        if version is None:
            kept.append(Kept(number, ("the registry does not know it",)))
            continue
        visible = number in candidates.visible
        reasons = list(_reasons(version, now, listed, visible=visible))
        if rollout is not None and rollout.number == number:
            reasons.append("it is being rolled out")
        if number == target:
            reasons.append("a rollback would go back to it")
        if number in newest:
            reasons.append(f"one of the last {keep_last}")
        reasons += [f"{server} serves it" for server, known in loaded.items() if number in known]
        reasons = reasons or list(candidates.doubts(version))
        if reasons:
            kept.append(Kept(number, tuple(reasons)))
        else:
            removed.append(candidates.removal(version, head))
    return Pruning(head.model, now.destination, tuple(kept), tuple(removed))


def _files(base: Path, model: str) -> Candidates:
    places = _places(base)
    return Candidates(
        model, places, list_version_directories(base),
        lambda version: _doubts(version, base, places[version.number]),
        lambda version, head: _removal(version, head, base, places[version.number]),
    )  # fmt: skip


def _places(base: Path) -> dict[int, list[Path]]:
    found = {
        number: [base / name for name in names]
        for number, names in list_version_directories(base).items()
    }
    for number, paths in Shelf(base).withdrawn().items():
        found.setdefault(number, []).extend(paths)
    return found


def _target(now: Deployment, versions: Mapping[int, Version]) -> int | None:
    """Returns the first version that a rollback from here could go back to."""
    for number in now.trail:
        version = versions.get(number)
        if version and not version.archived and all(word.approved for word in version.approvals):
            return number
    return None


def _reasons(
    version: Version, now: Deployment, listed: ServedModel | None, *, visible: bool
) -> Iterator[str]:
    if version.number == now.number:
        yield "it serves here"
    yield from (f"alias {alias}" for alias in version.aliases)
    if KEEP_LABEL in version.labels:
        yield f"label {KEEP_LABEL}"
    if now.config is not None:
        if is_listed(listed, version.number):
            yield f"{now.config.path!r} lists it"
    elif version.number > now.number and visible:
        yield "it lies above what serves: run 'tfx-registry reconcile'"


def _doubts(version: Version, base: Path, paths: list[Path]) -> Iterator[str]:
    manifest = version.facts.manifest
    for path in paths:
        check = check_bytes(base, path, version.number, manifest=manifest)
        if check.state is Bytes.CHANGED:
            yield f"its bytes were changed: {check.detail}"


def _removal(version: Version, head: Head, base: Path, paths: list[Path]) -> Removal:
    size = sum(file.stat().st_size for path in paths for _, file in walk_files(path))
    elsewhere = (path for path in sources(version, head, base) if path not in paths)
    last = not any(holds(path, version) for path in elsewhere) and not stored(version, head)
    return Removal(version.number, tuple(map(str, paths)), size, last)


def _remove(site: Site, removal: Removal, reason: str) -> None:
    trashed = [site.shelf.trash(Path(path)) for path in removal.paths]
    site.registry.record_bytes_removed(
        site.model,
        removal.number,
        site.destination,
        cause="retention",
        last=removal.last,
        actor=site.actor,
        reason=reason,
    )
    for one in trashed:
        site.shelf.empty(one)
    drop_receipt(site.base, removal.number)
