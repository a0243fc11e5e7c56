"""Which versions a model server aspires to, by the rules of its file system source.

Source of every rule: tensorflow_serving/sources/storage_path/file_system_storage_path_source.cc,
the functions named here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tfx_registry.testing.model_server.files import children, exists

__all__ = ["Aspired", "MissingBasePathError", "ModelConfig", "aspired_versions", "simple_atoi"]

_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?)([0-9]+)[ \t\n\v\f\r]*", re.ASCII)


class MissingBasePathError(Exception):
    """A base path does not exist: the poll ends, for all models, and nothing is unloaded."""


@dataclass(frozen=True)
class ModelConfig:
    """One model, as the server was told.

    Attributes:
        name: Name of the model.
        base_path: The folder of its versions.
        policy: "latest", "all" or "specific".
        latest: For "latest": how many; 0 counts as 1.
        versions: For "specific": which.
        labels: Versions by label.
        platform: The platform.
    """

    name: str
    base_path: str
    policy: str = "latest"
    latest: int = 1
    versions: tuple[int, ...] = ()
    labels: tuple[tuple[str, int], ...] = ()
    platform: str = "tensorflow"


@dataclass(frozen=True)
class Aspired:
    """A version that should be served, and where it lies."""

    version: int
    path: str


def simple_atoi(text: str) -> int | None:
    """Reads a name as `absl::SimpleAtoi` into an int64 does; None where that fails."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    number = int(match[1] + match[2])
    return number if -(2**63) <= number < 2**63 else None


def aspired_versions(model: ModelConfig) -> list[Aspired]:
    """Lists what a poll of the file system asks for (`PollFileSystemForServable`).

    Args:
        model: The model.

    Returns:
        The versions; an empty list means that everything is unloaded.

    Raises:
        MissingBasePathError: The base path does not exist.
    """
    if not exists(model.base_path):
        raise MissingBasePathError(
            f"Could not find base path {model.base_path} for servable {model.name}"
        )
    if model.policy == "specific":
        found = _specific_fast_path(model)
        if found is not None:
            return found
    names = children(model.base_path)
    if model.policy == "all":
        return [_aspire(model, child) for child in names if simple_atoi(child) is not None]
    by_version = _index(names)
    if model.policy == "specific":
        wanted = set(model.versions)
        return [
            Aspired(number, f"{model.base_path}/{child}")
            for number, child in by_version.items()
            if number in wanted
        ]
    newest = sorted(by_version.items(), reverse=True)[: max(model.latest, 1)]
    return [Aspired(number, f"{model.base_path}/{child}") for number, child in newest]


def _aspire(model: ModelConfig, child: str) -> Aspired:
    number = simple_atoi(child)
    assert number is not None
    return Aspired(number, f"{model.base_path}/{child}")


def _specific_fast_path(model: ModelConfig) -> list[Aspired] | None:
    """`AspireSpecificVersionsFastPath`: all of them lie there under their plain names, or None."""
    paths = [f"{model.base_path}/{number}" for number in model.versions]
    if all(map(exists, paths)):
        return [Aspired(*pair) for pair in zip(model.versions, paths, strict=True)]
    return None


def _index(names: Iterable[str]) -> dict[int, str]:
    """`IndexChildrenByVersion`: of two names for one number the later in the alphabet counts."""
    found = {}
    for child in names:
        number = simple_atoi(child)
        if number is not None:
            found[number] = child
    return dict(sorted(found.items()))
