"""Events of serving directories: what was published, rolled back, adopted and removed there.

Each promotion and each rollback is two events: what somebody is about to do, and that it is done.
See docs/design/0002-order-of-a-promotion.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tfx_registry.records import ConfigTarget

__all__ = [
    "Adopted",
    "BytesFound",
    "BytesRemoved",
    "IntentDropped",
    "Promoted",
    "PublishStarted",
    "RollbackStarted",
    "RolledBack",
]


@dataclass(frozen=True)
class PublishStarted:
    """Somebody is about to copy a version into a serving directory (the intent).

    Attributes:
        number: The version.
        destination: The serving base directory.
        alias: The alias that will move.
        digest: Root digest that the copy must have.
    """

    kind: ClassVar[str] = "publish_started"
    number: int
    destination: str
    alias: str
    digest: str


@dataclass(frozen=True)
class Promoted:
    """A version lies complete in a serving directory and the alias has moved to it.

    Attributes:
        number: The version.
        destination: The serving base directory.
        alias: The alias.
        digest: Root digest of the published bytes.
        replaces: Version that served there before, or None.
        trail: Versions that a rollback may go back to, newest first.
        config: The model config that tells servers what to load; None where they load the latest.
    """

    kind: ClassVar[str] = "promoted"
    number: int
    destination: str
    alias: str
    digest: str
    replaces: int | None = None
    trail: tuple[int, ...] = ()
    config: ConfigTarget | None = None


@dataclass(frozen=True)
class RollbackStarted:
    """Somebody is about to put newer versions away, so that an older one serves (the intent).

    Attributes:
        number: The version that is to serve.
        destination: The serving base directory.
        alias: The alias that will move.
        digest: Root digest of its bytes.
    """

    kind: ClassVar[str] = "rollback_started"
    number: int
    destination: str
    alias: str
    digest: str


@dataclass(frozen=True)
class RolledBack:
    """An older version serves again, and the alias has moved to it.

    Attributes:
        number: The version that serves.
        destination: The serving base directory.
        alias: The alias.
        digest: Root digest of its bytes.
        replaces: Version that served there before.
        withdrawn: The versions of the model that were put away, `replaces` among them. Each needs
            a new decision before it may serve again.
        trail: Versions that a further rollback may go back to, newest first.
    """

    kind: ClassVar[str] = "rolled_back"
    number: int
    destination: str
    alias: str
    digest: str
    replaces: int
    withdrawn: tuple[int, ...] = ()
    trail: tuple[int, ...] = ()


@dataclass(frozen=True)
class IntentDropped:
    """A promotion or rollback that was begun there has been undone: nothing came of it."""

    kind: ClassVar[str] = "intent_dropped"
    number: int
    destination: str


@dataclass(frozen=True)
class Adopted:
    """A version was found serving in a directory that something else had filled.

    Attributes:
        number: The version.
        destination: The serving base directory.
        alias: The alias that points at it from now on.
        digest: Root digest of its bytes.
        trail: The versions found beside it, newest first.
    """

    kind: ClassVar[str] = "adopted"
    number: int
    destination: str
    alias: str
    digest: str
    trail: tuple[int, ...] = ()


@dataclass(frozen=True)
class BytesRemoved:
    """A serving directory does not hold the bytes of a version any more.

    Attributes:
        number: The version.
        destination: The serving base directory.
        cause: "retention", or "missing" for bytes that were found to be gone.
        last: Whether no other place is known that holds them.
    """

    kind: ClassVar[str] = "bytes_removed"
    number: int
    destination: str
    cause: str
    last: bool = False


@dataclass(frozen=True)
class BytesFound:
    """A serving directory that had lost the bytes of a version holds them again, verified."""

    kind: ClassVar[str] = "bytes_found"
    number: int
    destination: str
