"""Takes over a serving directory that something else has filled, such as TFX Pusher.

The directories keep their numbers, because a server has loaded them under these. Nothing is
renamed, and nothing is copied but in an object store, where a rollback needs a copy out of sight.
What something else left there must be understood as a whole, or nothing is adopted.
"""

from __future__ import annotations

import collections
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from tfx_registry.digest import walk_files
from tfx_registry.errors import InvalidModelError, NotFoundError, RefusedError
from tfx_registry.names import MAX_VERSION, check_alias, check_model_name, model_key
from tfx_registry.operations.bases import Base, base_of
from tfx_registry.operations.recovery import recover
from tfx_registry.operations.site import Site, open_site
from tfx_registry.records import ModelFacts, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving import check_servable, list_version_directories
from tfx_registry.serving.objects import ObjectUrl, ObjectView
from tfx_registry.serving.receipts import write_receipt

__all__ = ["Adoption", "adopt"]


@dataclass(frozen=True)
class Adoption:
    """The outcome of an adoption.

    Attributes:
        versions: The versions in the directory, ascending; the last one serves.
        registered: Numbers of those that were registered now.
        changed: False when everything was known already.
    """

    versions: tuple[Version, ...]
    registered: tuple[int, ...]
    changed: bool


def adopt(
    registry: ModelRegistry,
    model: str,
    serving_dir: str | os.PathLike[str],
    *,
    alias: str = "production",
    actor: str | None = None,
    reason: str = "",
) -> Adoption:
    """Registers what lies in a serving directory, and that its newest version serves.

    Args:
        registry: The registry.
        model: Name of the model; made if it does not exist.
        serving_dir: The serving base directory, or its address in an object store.
        alias: The alias that points at the newest version from now on.
        actor: Who; the access policy must let them register and promote.
        reason: Why.

    Returns:
        The versions. Adopting again changes nothing.

    Raises:
        NotFoundError: No version lies there.
        RefusedError: Something there is no version, or is not to be told apart from one of the
            registry; the message names it. Nothing was registered.
        ServingDirectoryError: The directory cannot be used.
    """
    check_model_name(model)
    check_alias(alias)
    base = base_of(serving_dir)
    with _open(registry, model, base, actor) as pushed:
        numbers = sorted(pushed.visible())
        problems = [*name_problems(pushed.visible()), *pushed.problems()]
        known = registry.known_versions(model, numbers)
        serves = (
            bool(registry.latest_number(model)) and str(base) in registry.head(model).deployments
        )
        if not problems and serves:
            pushed.recover()
            problems += _strangers(numbers, known)
        if not problems and serves:
            return Adoption(tuple(known[n] for n in numbers), (), changed=False)
        elsewhere = registry.serving(model, alias)
        if elsewhere is not None:
            problems.append(
                f"version {elsewhere.number} serves under {alias!r} in {elsewhere.destination!r}"
            )
        latest = registry.latest_number(model)
        problems += [
            f"{str(n)!r}: version {latest} of {model!r} exists, and numbers ascend"
            for n in numbers
            if n not in known and n <= latest and not problems
        ]
        problems = problems or list(pushed.look_into(numbers))
        if problems:
            raise RefusedError(
                f"cannot adopt {str(base)!r} as {model!r}",
                "; ".join(problems[:5]) + (" ..." if len(problems) > 5 else ""),
                "move what does not belong there to a name that is no number, or choose another "
                "model name or alias; then repeat",
            )
        versions = [
            registry.register_adopted(
                model, pushed.place(n), n, str(base), facts=pushed.facts(n), actor=actor,
                reason=reason,
            )
            for n in numbers
        ]  # fmt: skip
        before = registry.head(model).seq
        pushed.keep(versions)
        registry.record_adoption(
            model, numbers[-1], str(base), alias, numbers[:-1], actor=actor, reason=reason
        )
        changed = registry.head(model).seq != before
        pushed.claim(model_key(model))
        final = tuple(registry.get(model, n) for n in numbers)
    registered = tuple(n for n in numbers if n not in known)
    return Adoption(final, registered, changed=changed or bool(registered))


class Pushed(Protocol):
    """A directory that something else has filled, held by this process."""

    def visible(self) -> Mapping[int, Sequence[str]]:
        """Returns the names that a server takes for versions, by number."""

    def problems(self) -> Iterable[str]:
        """Names what a server takes for a version and cannot be one, as far as is seen at once."""

    def look_into(self, numbers: Sequence[int]) -> Iterable[str]:
        """Does the same by reading every version."""

    def recover(self) -> None:
        """Finishes or undoes what an operation that died has begun."""

    def place(self, number: int) -> str:
        """Returns where a version lies."""

    def facts(self, number: int) -> ModelFacts | None:
        """Returns what was read of a version; None where that is still to be done."""

    def keep(self, versions: Sequence[Version]) -> None:
        """Notes what the registry's operations need to know of versions, or to have."""

    def claim(self, owner: str) -> None:
        """Lets the directory say for which model it is."""


@contextmanager
def _open(registry: ModelRegistry, model: str, base: Base, actor: str | None) -> Iterator[Pushed]:
    if isinstance(base, ObjectUrl):
        from tfx_registry.operations.objects.adoption import PushedObjects
        from tfx_registry.operations.objects.site import open_object_site

        check_any(base, ObjectView.open(base).visible())
        with open_object_site(registry, model, base, actor=actor) as stored:
            yield PushedObjects(stored)
    else:
        check_any(base, list_version_directories(base))
        with open_site(registry, model, base, actor=actor) as site:
            yield _PushedFiles(site)


def check_any(base: Base, visible: Mapping[int, Sequence[str]]) -> None:
    """Refuses a directory without versions, before it is held.

    Raises:
        NotFoundError: A server finds nothing there.
    """
    if not visible:
        raise NotFoundError(
            f"cannot adopt {str(base)!r}",
            "no directory in it is named by a number, as TensorFlow Serving wants",
            "give the base directory of the model, the one above the versions",
        )


def name_problems(visible: Mapping[int, Sequence[str]]) -> Iterator[str]:
    """Names what a server takes for a version and is not called like one.

    Args:
        visible: Names by number.

    Yields:
        One line each.
    """
    for number, names in visible.items():
        if len(names) > 1:
            yield f"{names} are one version to a server"
        elif names != [str(number)] or not 1 <= number <= MAX_VERSION:
            yield f"{names[0]!r} is no number that a version can have"


@dataclass(frozen=True)
class _PushedFiles:
    """A directory of files."""

    site: Site

    def visible(self) -> Mapping[int, Sequence[str]]:
        return list_version_directories(self.site.base)

    def problems(self) -> Iterator[str]:
        for number, names in self.visible().items():
            path = self.site.base / names[0]
            if names != [str(number)]:
                continue
            if path.is_symlink():
                yield f"{names[0]!r} is a symbolic link, and what it points at may change"
                continue
            try:
                check_servable(path)
                collections.deque(walk_files(path), maxlen=0)  # refuses links, before any is taken
            except InvalidModelError as error:
                yield f"{names[0]!r}: {error.why}"

    def look_into(self, numbers: Sequence[int]) -> Iterator[str]:
        return iter(())

    def recover(self) -> None:
        recover(self.site)

    def place(self, number: int) -> str:
        return str(self.site.base / str(number))

    def facts(self, number: int) -> ModelFacts | None:
        return None

    def keep(self, versions: Sequence[Version]) -> None:
        for version in versions:
            write_receipt(self.site.base, version.number, manifest=version.facts.manifest)

    def claim(self, owner: str) -> None:
        self.site.shelf.claim(owner)


def _strangers(numbers: list[int], known: Mapping[int, Version]) -> Iterator[str]:
    """Names what was put into a directory that the registry serves from."""
    for number in numbers:
        if number not in known:
            yield f"{str(number)!r} was put there by something else since the registry serves there"
