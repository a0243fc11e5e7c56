"""How this package uses object stores; taken from the environment, because each user has one."""

from __future__ import annotations

import dataclasses
import enum
import os
from collections.abc import Mapping
from dataclasses import dataclass

from tfx_registry.errors import InvalidInputError

__all__ = ["ObjectOptions", "Verify"]


class Verify(str, enum.Enum):
    """How uploads are compared with the registered digest.

    `READ_BACK` reads each object again and hashes it with SHA-256: right on every store, and it
    proves what a reader gets. `CHECKSUM` takes the MD5 that the store has computed, where it
    reports one, and reads back where it does not: no traffic, less proof.
    """

    READ_BACK = "read-back"
    CHECKSUM = "checksum"


@dataclass(frozen=True)
class ObjectOptions:
    """Options for object stores. Each is a variable `TFX_REGISTRY_OBJECTS_<NAME>`.

    Attributes:
        verify: How uploads are verified.
        part_bytes: Larger files are uploaded in parts of this size; at least 5 MiB.
        parallel: How many requests run at the same time.
        attempts: How often a request is tried that the store was too busy for, or lost.
        backoff_seconds: Longest pause after the first failure; it doubles with each, up to 20 s.
        lease_seconds: After so long without a sign of life a publisher counts as dead.
    """

    verify: Verify = Verify.READ_BACK
    part_bytes: int = 64 << 20
    parallel: int = 8
    attempts: int = 6
    backoff_seconds: float = 0.5
    lease_seconds: float = 30.0

    def __post_init__(self) -> None:
        """Checks the numbers."""
        least = {
            "part_bytes": 5 << 20, "parallel": 1, "attempts": 1, "backoff_seconds": 0.0,
            "lease_seconds": 0.5,
        }  # fmt: skip
        for name, smallest in least.items():
            if not getattr(self, name) >= smallest:
                raise InvalidInputError(
                    f"invalid {name} {getattr(self, name)!r}", f"it must be {smallest} or more", ""
                )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> ObjectOptions:
        """Reads the options from variables.

        Args:
            environment: The variables; None means those of this process.

        Returns:
            The options; what has no variable keeps its default.

        Raises:
            InvalidInputError: A variable says something else.
        """
        variables = os.environ if environment is None else environment
        given = {}
        for option in dataclasses.fields(cls):
            name = f"TFX_REGISTRY_OBJECTS_{option.name.upper()}"
            text = variables.get(name)
            if text is None:
                continue
            try:
                given[option.name] = type(option.default)(text)  # type: ignore[misc]
            except ValueError as error:
                raise InvalidInputError(
                    f"invalid {name}={text!r}", str(error), f"such as {option.default}"
                ) from error
        return cls(**given)
