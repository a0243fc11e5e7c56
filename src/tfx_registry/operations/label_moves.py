"""Sees to it that a label moves only to a version that every server was told to load.

A server sets labels before it changes what is loaded (docs/design/0007). So a file that moves a
label to a version that is not AVAILABLE is refused for ever, unless the last file that the server
has taken lists the version: then it loads it, and takes the new file at its next poll. That a
server says AVAILABLE is no proof of that. It may have read a moment ago that the version was taken
out, and be about to unload it, or not even have read that. Proof are two things: the label means
the version already; or a label that only the file with the version in it has, the mark.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tfx_registry.errors import NotServedError, RefusedError
from tfx_registry.operations.bases import Base
from tfx_registry.operations.config_entry import is_listed, mark_entry, write_entry
from tfx_registry.operations.servers import Servers
from tfx_registry.records import ConfigTarget
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving.model_config import CANARY_LABEL, READ_MARK, STABLE_LABEL, ServedModel
from tfx_registry.serving.status_client import ModelServer, ServerState
from tfx_registry.serving.verification import (
    Before,
    look,
    wait_until_available,
    wait_until_labelled,
)

__all__ = ["LabelMoves", "Written", "is_doubtful"]

#: How often somebody else may take a version out again before this gives up.
_ATTEMPTS = 10
#: After so many polls the mark is looked for in the file, where somebody may have removed it.
_POLLS = 20


@dataclass(frozen=True)
class Written:
    """What came of writing the file.

    Attributes:
        said: What it said before, or None.
        changed: Whether it was changed.
        late: Versions that servers have to load before a label can move to them.
        doubtful: Versions that a server had loaded before, nobody knows by which file.
    """

    said: ServedModel | None
    changed: bool
    late: tuple[int, ...]
    doubtful: frozenset[int]


@dataclass(frozen=True)
class LabelMoves:
    """The labels of one model in one file.

    Attributes:
        registry: The registry.
        model: Name of the model, as registered.
        base: The serving base directory.
        target: The entry of the model config.
        servers: How long to wait for servers.
        clients: The servers; may be none.
    """

    registry: ModelRegistry
    model: str
    base: Base
    target: ConfigTarget
    servers: Servers
    clients: Sequence[ModelServer]

    def write(self, also: Collection[int] = ()) -> Written:
        """Writes the file from the registry; labels that cannot move yet stay where they are.

        Args:
            also: Other versions to be loaded.

        Raises:
            RegistryError: See `write_entry`.
        """
        wanted = self._wanted() if self.clients else {}
        known = [_label_is(self.clients, label, number) for label, number in wanted.items()]
        told = {number for number, same in zip(wanted.values(), known, strict=True) if same}
        doubtful = {n for n in {*wanted.values()} - told if _available(look(self.clients, n))}
        said, changed, late = write_entry(
            self.registry, self.model, self.base, self.target, also, loaded=told
        )
        return Written(said, changed, late, frozenset(doubtful))

    def finish(self, written: Written, also: Collection[int] = ()) -> Written:
        """Waits for versions that the file had to list first, and writes it again.

        Somebody else may take them out again meanwhile, such as 'tfx-registry reconcile'.

        Args:
            written: What came of writing it.
            also: Other versions to be loaded.

        Returns:
            What came of it in the end; no label is late.

        Raises:
            NotServedError: A server did not follow before the deadline.
            RefusedError: They were taken out again each time.
        """
        changed = written.changed
        for _ in range(_ATTEMPTS):
            if not written.late:
                return Written(written.said, changed, (), frozenset())
            for number in written.late:
                if number in written.doubtful:
                    self.wait_until_read(number)
                self.wait_until_loaded(number)
            written = self.write(also)
            changed = changed or written.changed
        raise RefusedError(
            f"the label of {self.model}:{written.late[0]} has not moved yet",
            f"somebody takes the version out of {self.target.path!r} again and again",
            "find out who, then run 'tfx-registry reconcile'",
        )

    def wait_until_read(self, number: int) -> None:
        """Waits until every server has read a file that lists a version.

        Args:
            number: The version.

        Raises:
            NotServedError: A server has not before the deadline.
        """
        deadline = time.monotonic() + self.servers.deadline_seconds
        mark = f"{READ_MARK}{uuid.uuid4().hex[:8]}"
        while True:
            place = (self.registry, self.model, self.base, self.target)
            at = mark_entry(*place, number, mark)
            if at is None:
                return  # there is no label yet that could be refused
            left = deadline - time.monotonic()
            try:
                wait_until_labelled(
                    self.clients, mark, at,
                    deadline_seconds=max(0.0, min(left, _POLLS * self.servers.poll_seconds)),
                    poll_seconds=self.servers.poll_seconds,
                )  # fmt: skip
            except NotServedError:
                if left <= 0:
                    raise
            else:
                return

    def wait_until_loaded(self, number: int) -> None:
        """Waits until every server has loaded a version.

        Args:
            number: The version.

        Raises:
            NotServedError: A server has not before the deadline.
        """
        wait_until_available(
            self.clients, number, deadline_seconds=self.servers.deadline_seconds,
            before=look(self.clients, number), poll_seconds=self.servers.poll_seconds,
        )  # fmt: skip

    def _wanted(self) -> dict[str, int]:
        head = self.registry.head(self.model)
        there = {
            STABLE_LABEL: head.deployments.get(str(self.base)),
            CANARY_LABEL: head.canaries.get(str(self.base)),
        }
        return {label: where.number for label, where in there.items() if where is not None}


def _label_is(clients: Sequence[ModelServer], label: str, number: int) -> bool:
    """Tells whether a label means a version to each server now."""
    try:
        wait_until_labelled(clients, label, number, deadline_seconds=0.0)
    except NotServedError:
        return False
    return True


def _available(before: Before) -> bool:
    """Tells whether a server had a version loaded."""
    return any(s is not None and s.state is ServerState.AVAILABLE for s in before.values())


def is_doubtful(said: ServedModel | None, number: int, before: Before) -> bool:
    """Tells whether a server may be about to unload a version that was loaded all the time.

    Args:
        said: What the file said before it was made to list the version.
        number: The version.
        before: What servers said before.
    """
    return not is_listed(said, number) and _available(before)
