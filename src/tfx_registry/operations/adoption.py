"""Takes over a serving directory that something else has filled, such as TFX Pusher.

The directories keep their numbers, because a server has loaded them under these. Nothing is copied
or renamed. What something else left there must be understood as a whole, or nothing is adopted.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tfx_registry.errors import InvalidModelError, NotFoundError, RefusedError
from tfx_registry.names import MAX_VERSION, check_alias, check_model_name, model_key
from tfx_registry.operations.recovery import recover
from tfx_registry.operations.site import open_site
from tfx_registry.records import Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving import base_directory, check_servable, list_version_directories
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
        serving_dir: The serving base directory.
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
    base = base_directory(serving_dir)
    if not list_version_directories(base):
        raise NotFoundError(
            f"cannot adopt {str(base)!r}",
            "no directory in it is named by a number, as TensorFlow Serving wants",
            "give the base directory of the model, the one above the versions",
        )
    with open_site(registry, model, base, actor=actor) as site:
        numbers = sorted(list_version_directories(base))
        problems = list(_problems(base))
        known = registry.known_versions(model, numbers)
        if not problems and site.deployment_if_any() is not None:
            recover(site)
            problems += _strangers(numbers, known)
        if not problems and site.deployment_if_any() is not None:
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
        if problems:
            raise RefusedError(
                f"cannot adopt {str(base)!r} as {model!r}",
                "; ".join(problems[:5]) + (" ..." if len(problems) > 5 else ""),
                "move what does not belong there to a name that is no number, or choose another "
                "model name or alias; then repeat",
            )
        take = functools.partial(registry.register_adopted, model, actor=actor, reason=reason)
        versions = [take(base / str(n), n, str(base)) for n in numbers]
        before = registry.head(model).seq
        registry.record_adoption(
            model, numbers[-1], str(base), alias, numbers[:-1], actor=actor, reason=reason
        )
        changed = registry.head(model).seq != before
        site.shelf.claim(model_key(model))
        for version in versions:
            write_receipt(base, version.number, manifest=version.facts.manifest)
        final = tuple(registry.get(model, n) for n in numbers)
    registered = tuple(n for n in numbers if n not in known)
    return Adoption(final, registered, changed=changed or bool(registered))


def _problems(base: Path) -> Iterator[str]:
    """Names what a server takes for a version and cannot be one."""
    for number, names in list_version_directories(base).items():
        if len(names) > 1:
            yield f"{names} are one version to a server"
        elif names != [str(number)] or not 1 <= number <= MAX_VERSION:
            yield f"{names[0]!r} is no number that a version can have"
        elif (base / names[0]).is_symlink():
            yield f"{names[0]!r} is a symbolic link, and what it points at may change"
        else:
            try:
                check_servable(base / names[0])
            except InvalidModelError as error:
                yield f"{names[0]!r}: {error.why}"


def _strangers(numbers: list[int], known: Mapping[int, Version]) -> Iterator[str]:
    """Names what was put into a directory that the registry serves from."""
    for number in numbers:
        if number not in known:
            yield f"{str(number)!r} was put there by something else since the registry serves there"
