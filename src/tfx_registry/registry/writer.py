"""How a change is recorded: read, decide, append, and again if another writer was faster."""

from __future__ import annotations

import datetime
import getpass
import logging
import os
import random
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from tfx_registry import codec, names
from tfx_registry.errors import ConflictError, InvalidInputError
from tfx_registry.records import Head, Version
from tfx_registry.registry import fold
from tfx_registry.registry.access import POLICY_LOG, AccessPolicy, action_of
from tfx_registry.registry.events import Event, Payload
from tfx_registry.registry.reader import RegistryReader, policy_of
from tfx_registry.registry.store import AppendConflict, Store

__all__ = ["ACTOR_VARIABLE", "Plan", "Recorded", "RegistryWriter", "format_time"]

_logger = logging.getLogger(__name__)

#: The environment variable that names who acts; without it the user of the operating system does.
ACTOR_VARIABLE = "TFX_REGISTRY_ACTOR"

# The others are set by GitHub Actions, GitLab CI and Jenkins (with its build user plugin).
_ACTOR_VARIABLES = (ACTOR_VARIABLE, "GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILD_USER_ID")

_RETRY_SECONDS = 30.0

#: Gets the head and says what to record, or None when there is nothing to do. May raise to refuse.
Plan = Callable[[Head | None], Payload | None]


@dataclass(frozen=True)
class Recorded:
    """What a change came to.

    Attributes:
        event: The event.
        versions: The versions that it changed, as it left them, by number; empty where an earlier
            try had recorded it.
    """

    event: Event
    versions: Mapping[int, Version] = field(default_factory=dict)


class RegistryWriter(RegistryReader):
    """What every change goes through.

    Each change reads the head, checks itself against it, and appends one event with the new head
    and the changed versions. If another writer was faster, all of that is done again on the new
    state. So each operation is decided on the state that it was written on.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], datetime.datetime] | None = None,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        """Makes a registry over a store.

        Args:
            store: The store.
            clock: Tells the time, in UTC; for tests.
            retry_seconds: How long a change is retried against faster writers.
        """
        super().__init__(store)
        self._clock = clock or (lambda: datetime.datetime.now(datetime.timezone.utc))
        self._retry_seconds = retry_seconds

    def _commit(
        self, model: str, plan: Plan, actor: str | None, reason: str, token: str | None = None
    ) -> Event | None:
        """Does what `_record` does, where only the event is wanted; None when nothing was to do."""
        recorded = self._record(model, plan, actor, reason, token)
        return recorded.event if recorded else None

    def _record(
        self,
        model: str,
        plan: Plan,
        actor: str | None,
        reason: str,
        token: str | None = None,
        *,
        check: Callable[[AccessPolicy, Head | None], None] | None = None,
    ) -> Recorded | None:
        """Appends what `plan` says, again and again until no other writer was faster.

        Args:
            model: Name of the model.
            plan: Gets the head and returns the payload, or None when there is nothing to do. It
                may raise to refuse.
            actor: Who.
            reason: Why.
            token: Makes a retry find the first try's event.
            check: Gets the access policy, if there is one, and the head; raises to refuse.

        Returns:
            What was recorded, or None when there was nothing to do.

        Raises:
            AccessDeniedError: The access policy does not let the actor do that.
            ConflictError: Other writers were faster for the whole time.
        """
        names.check_text(reason, "reason")
        who = self.actor(actor)
        if token is not None and (done := self._store.find_operation(model, token)):
            return Recorded(done)
        token = token or uuid.uuid4().hex
        deadline = time.monotonic() + self._retry_seconds
        delay = 0.002
        while True:
            head, rules = self._store.read_heads([model, POLICY_LOG])
            payload = plan(head)
            if payload is None:
                return None
            policy = policy_of(rules)
            if policy is not None:
                policy.check(who, action_of(payload), model)
                if check is not None:
                    check(policy, head)
            event = _as_stored(
                Event(
                    # The first registration fixes how the name is spelled.
                    model=head.model if head else model,
                    seq=(head.seq if head else 0) + 1,
                    time=self._now(),
                    actor=who,
                    token=token,
                    previous=head.digest if head else "",
                    payload=payload,
                    reason=reason,
                )
            )
            versions = self._try(head, event)
            if not isinstance(versions, AppendConflict):
                return Recorded(event, versions)
            if done := self._store.find_operation(model, token):
                return Recorded(done)
            if time.monotonic() > deadline:
                raise ConflictError(
                    f"cannot record {event.kind!r} for {model!r}",
                    versions.why
                    or f"other writers were faster for {self._retry_seconds:g} seconds",
                    versions.todo or "repeat when the registry is less busy; nothing was written",
                )
            time.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(delay * 1.6, 0.25)

    def _append(self, head: Head | None, event: Event) -> bool:
        """Appends an event that follows a head; tells whether no other writer was faster."""
        return not isinstance(self._try(head, event), AppendConflict)

    def _try(self, head: Head | None, event: Event) -> Mapping[int, Version] | AppendConflict:
        """Appends an event; returns the versions that it changed, or what stood in the way."""
        numbers: Collection[int] = fold.touched(head, event.payload)
        versions = self._store.read_versions(event.model, numbers) if numbers else {}
        after = fold.apply(fold.Snapshot(head, versions), event)
        assert after.head is not None
        try:
            self._store.append(event, after.head, list(after.versions.values()))
        except AppendConflict as conflict:
            _logger.debug("event %d of %s: %s", event.seq, event.model, conflict)
            return conflict
        return after.versions

    def actor(self, actor: str | None = None) -> str:
        """Returns who acts.

        Args:
            actor: Who, or None for the variable `TFX_REGISTRY_ACTOR`, then what a CI system says
                of who started it, then the user of the operating system.
        """
        name = actor or next(filter(None, map(os.environ.get, _ACTOR_VARIABLES)), "")
        if not name:
            try:
                name = getpass.getuser()
            except (KeyError, OSError):  # a container whose user has no name
                name = f"uid:{os.getuid()}"
        return names.check_actor(name)

    def _now(self) -> str:
        return format_time(self._clock())


def _as_stored(event: Event) -> Event:
    """Returns the event as it will be read; it shares nothing with what the caller may change.

    Raises:
        InvalidInputError: It would not come back as it went in, so it could never be read again.
    """
    try:
        event.text.encode("utf-8")
        stored = Event.from_json(codec.loads(event.text))
        if stored.text == event.text:
            return stored
        why = "some value changes its type"
    except (TypeError, ValueError, KeyError) as error:
        why = str(error)
    raise InvalidInputError(
        f"cannot record {event.kind!r} for {event.model!r}", why, "give values of the right types"
    )


def format_time(time: datetime.datetime) -> str:
    """Writes a time as it is stored: UTC, ISO 8601, microseconds, "Z"."""
    return time.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
