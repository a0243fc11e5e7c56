"""Events of a rollout by a model config: canaries, and what model servers said.

In this mode a version becomes visible in the serving directory first, and serves once the servers'
config lists and labels it. See docs/design/0007-canary.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tfx_registry.records import ConfigTarget

__all__ = [
    "CanaryEnded",
    "CanaryStarted",
    "RolloutDropped",
    "RolloutStarted",
    "ServersChecked",
]


@dataclass(frozen=True)
class RolloutStarted:
    """Somebody is about to have servers load a version, beside what serves (the intent).

    Attributes:
        number: The version.
        destination: The serving base directory.
        alias: The alias that will move.
        digest: Root digest that the copy must have.
        config: The model config that tells servers what to load.
        canary: Whether it is to be on trial only.
    """

    kind: ClassVar[str] = "rollout_started"
    number: int
    destination: str
    alias: str
    digest: str
    config: ConfigTarget
    canary: bool = False


@dataclass(frozen=True)
class RolloutDropped:
    """A rollout that was begun there has been undone: nothing came of it."""

    kind: ClassVar[str] = "rollout_dropped"
    number: int
    destination: str


@dataclass(frozen=True)
class CanaryStarted:
    """A version is on trial beside what serves, and an alias has moved to it.

    Attributes:
        number: The version.
        destination: The serving base directory.
        alias: The alias of versions on trial.
        digest: Root digest of its bytes.
        config: The model config that tells servers what to load.
        beside: The version that serves there.
    """

    kind: ClassVar[str] = "canary_started"
    number: int
    destination: str
    alias: str
    digest: str
    config: ConfigTarget
    beside: int


@dataclass(frozen=True)
class CanaryEnded:
    """A version is not on trial any more, and did not come to serve; its alias is gone.

    Attributes:
        number: The version.
        destination: The serving base directory.
        alias: The alias of versions on trial.
    """

    kind: ClassVar[str] = "canary_ended"
    number: int
    destination: str
    alias: str


@dataclass(frozen=True)
class ServersChecked:
    """Model servers were asked whether they serve a version.

    Attributes:
        number: The version.
        destination: The serving base directory.
        available: Whether all of them did before the deadline.
        servers: What each of them said last: its URL and its words.
    """

    kind: ClassVar[str] = "servers_checked"
    number: int
    destination: str
    available: bool
    servers: tuple[str, ...]
