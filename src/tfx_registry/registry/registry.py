"""The use cases of the registry: what people and components do with it.

Every change reads the head, checks itself against it, and appends one event with the new head and
the changed versions. If another writer was faster, all of that is done again on the new state. So
each operation is decided on the state that it was written on.
"""

from __future__ import annotations

import datetime
import getpass
import logging
import os
import random
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from types import EllipsisType

from tfx_registry import names
from tfx_registry.errors import (
    AliasConflictError,
    ConflictError,
    IntegrityError,
    NotFoundError,
    RefusedError,
)
from tfx_registry.inspection import describe_model, installed_libraries
from tfx_registry.records import (
    Head,
    LineageSource,
    Metric,
    Origin,
    Verdict,
    Version,
)
from tfx_registry.registry import fold
from tfx_registry.registry.events import (
    AliasRemoved,
    AliasSet,
    Decided,
    Event,
    Payload,
    Promoted,
    PublishStarted,
    Registered,
)
from tfx_registry.registry.memory_store import MemoryStore
from tfx_registry.registry.reader import RegistryReader
from tfx_registry.registry.store import AppendConflict, Store
from tfx_registry.registry.uri import RegistryUri, default_uri

__all__ = ["ACTOR_VARIABLE", "ModelRegistry"]

_logger = logging.getLogger(__name__)

#: The environment variable that names who acts; without it the user of the operating system does.
ACTOR_VARIABLE = "TFX_REGISTRY_ACTOR"

_RETRY_SECONDS = 30.0
Plan = Callable[[Head | None], Payload | None]


class ModelRegistry(RegistryReader):
    """Versions of models under one name, and everything that was decided about them.

    Example:
        registry = ModelRegistry.open("sqlite:///metadata.sqlite")
        version = registry.register("penguin", "export/1")
        registry.resolve("penguin@production")
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], datetime.datetime] | None = None,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        """Makes a registry over a store. Most callers want `open`.

        Args:
            store: The store.
            clock: Tells the time, in UTC; for tests.
            retry_seconds: How long a change is retried against faster writers.
        """
        super().__init__(store)
        self._clock = clock or (lambda: datetime.datetime.now(datetime.timezone.utc))
        self._retry_seconds = retry_seconds

    @classmethod
    def open(cls, uri: str | None = None, *, create: bool = True) -> ModelRegistry:
        """Opens a registry.

        Args:
            uri: `sqlite:///relative.sqlite`, `sqlite:////absolute.sqlite` or `memory://`; None
                means the variable `TFX_REGISTRY_URI`.
            create: Whether a missing database is made.

        Returns:
            The registry.

        Raises:
            InvalidUriError: The URI is malformed, unsupported, or holds a password.
            StoreUnavailableError: The database cannot be opened.
        """
        parsed = RegistryUri.parse(uri if uri is not None else default_uri())
        if parsed.scheme == "memory":
            return cls(MemoryStore())
        from tfx_registry.registry.mlmd_store import MlmdStore  # costs half a second

        return cls(MlmdStore(parsed, create=create))

    def close(self) -> None:
        """Lets go of the store."""
        self._store.close()

    def __enter__(self) -> ModelRegistry:
        """Returns the registry itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the registry."""
        self.close()

    # Changing

    def register(
        self,
        model: str,
        path: str | os.PathLike[str],
        *,
        description: str = "",
        labels: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | Sequence[Metric] | None = None,
        hyperparameters: Mapping[str, str] | None = None,
        semantic_version: str = "",
        origin: Origin | None = None,
        sources: Sequence[LineageSource] = (),
        actor: str | None = None,
        reason: str = "",
        idempotency_key: str | None = None,
    ) -> Version:
        """Registers the bytes at a path as the next version of a model.

        The bytes stay where they are; the registry records their digest.

        Args:
            model: Name of the model; made with its first version.
            path: A SavedModel directory, a TFX Model artifact, a `.keras` file, or any other file
                or directory.
            description: Free text.
            labels: Labels by key.
            metrics: Numbers that are known already: by name on the whole data, or as `Metric`s
                with their slices.
            hyperparameters: Parameters of the training, as text by name.
            semantic_version: Optional semantic version.
            origin: What made the model.
            sources: The artifacts that it came from.
            actor: Who registers; None means `TFX_REGISTRY_ACTOR`, else the user of the system.
            reason: Why.
            idempotency_key: A retry with the same key returns the version that the first try
                made, if the bytes are still the same.

        Returns:
            The version.

        Raises:
            InvalidNameError: A name or a label breaks its grammar.
            InvalidModelError: The path is missing, empty, or holds what cannot be versioned.
            IntegrityError: The idempotency key was used for other bytes.
            StoreUnavailableError: The store cannot be written; nothing was registered.
        """
        names.check_model_name(model)
        names.check_text(description, "description")
        checked = dict(names.check_label(k, v) for k, v in (labels or {}).items())
        facts = describe_model(path)
        if isinstance(metrics, Mapping):
            metrics = [Metric(name, float(value)) for name, value in metrics.items()]

        def plan(head: Head | None) -> Payload:
            return Registered(
                number=(head.latest if head else 0) + 1,
                facts=facts,
                origin=origin or Origin(libraries=installed_libraries()),
                sources=tuple(sources),
                hyperparameters=dict(hyperparameters or {}),
                metrics=tuple(metrics or ()),
                description=description,
                labels=checked,
                semantic_version=semantic_version,
                same_bytes_as=self._store.find_digest(model, facts.digest),
            )

        event = self._commit(model, plan, actor, reason, idempotency_key)
        assert event is not None
        payload = event.payload
        if not isinstance(payload, Registered) or payload.facts.manifest != facts.manifest:
            raise IntegrityError(
                f"cannot register {str(path)!r} as a version of {model!r}",
                f"the same operation registered other bytes before (event {event.seq})",
                "use another idempotency key, or find out who changed the model",
            )
        return self.get(model, payload.number)

    def set_alias(
        self,
        model: str,
        alias: str,
        number: int,
        *,
        expect: int | EllipsisType | None = ...,
        actor: str | None = None,
        reason: str = "",
    ) -> Version:
        """Points an alias at a version.

        Args:
            model: Name of the model.
            alias: The alias.
            number: The version.
            expect: The version that the alias must point at now, None for "not set"; left out,
                any.
            actor: Who.
            reason: Why.

        Returns:
            The version.

        Raises:
            NotFoundError: There is no such version.
            AliasConflictError: The alias does not point at the expected version.
        """
        names.check_alias(alias)
        self.get(model, number)

        def plan(head: Head | None) -> Payload | None:
            now = head.aliases.get(alias) if head else None
            _check_expected(model, alias, expect, now)
            return AliasSet(alias, number, now) if now != number else None

        self._commit(model, plan, actor, reason)
        return self.get(model, number)

    def remove_alias(
        self,
        model: str,
        alias: str,
        *,
        expect: int | EllipsisType | None = ...,
        actor: str | None = None,
        reason: str = "",
    ) -> int:
        """Removes an alias.

        Args:
            model: Name of the model.
            alias: The alias.
            expect: The version that it must point at now; left out, any.
            actor: Who.
            reason: Why.

        Returns:
            The version that it pointed at.

        Raises:
            NotFoundError: There is no such alias.
            AliasConflictError: It does not point at the expected version.
            RefusedError: A version serves under it.
        """
        names.check_alias(alias)

        def plan(head: Head | None) -> Payload:
            now = head.aliases.get(alias) if head else None
            if head is None or now is None:
                raise NotFoundError(
                    f"no alias {alias!r} of {model!r}", "there is nothing to remove", ""
                )
            _check_expected(model, alias, expect, now)
            if (deployment := head.serving(alias)) is not None:
                raise RefusedError(
                    f"cannot remove the alias {alias!r} of {model!r}",
                    f"version {deployment.number} serves under it in {deployment.destination!r}",
                    "promote under another alias first",
                )
            return AliasRemoved(alias, now)

        names.check_model_name(model)
        event = self._commit(model, plan, actor, reason)
        assert event is not None
        assert isinstance(event.payload, AliasRemoved)
        return event.payload.previous

    def record_decision(
        self, model: str, decision: Decided, *, actor: str | None = None, reason: str = ""
    ) -> Version:
        """Records a gate decision on a version.

        Args:
            model: Name of the model.
            decision: The decision.
            actor: Who, or which pipeline run.
            reason: Why.

        Returns:
            The version with the decision.

        Raises:
            NotFoundError: There is no such version.
            IntegrityError: The decision is on other bytes than the version has.
            ConflictError: What serves has changed since the decision looked it up.
        """
        version = self.get(model, decision.number)
        if decision.digest != version.digest:
            raise IntegrityError(
                f"cannot record a decision on {version.ref}",
                f"it was made on the digest {decision.digest}, the version has {version.digest}",
                "evaluate the registered bytes and decide again",
            )

        def plan(head: Head | None) -> Payload:
            now = head.serving(decision.alias) if head else None
            if now is not None and now.seq > decision.head_seq:
                raise ConflictError(
                    f"cannot record a decision on {version.ref}",
                    f"version {now.number} began to serve under {decision.alias!r} meanwhile",
                    "evaluate against the new baseline and decide again",
                )
            return decision

        self._commit(model, plan, actor, reason)
        return self.get(model, decision.number)

    def check_promotable(self, model: str, number: int) -> Version:
        """Checks that a version may be published.

        Args:
            model: Name of the model.
            number: The version.

        Returns:
            The version.

        Raises:
            NotFoundError: There is no such version.
            RefusedError: The gate has not decided, or has blocked it.
        """
        version = self.get(model, number)
        decision = version.decision
        if decision is None:
            raise RefusedError(
                f"cannot promote {version.ref}",
                "no gate decision is recorded for it",
                "run VersionGate on it first",
            )
        if decision.verdict is not Verdict.PASSED:
            shown = "; ".join(decision.reasons[:3])
            more = len(decision.reasons) - 3
            raise RefusedError(
                f"cannot promote {version.ref}",
                f"the gate blocked it: {shown}" + (f" (and {more} more)" if more > 0 else ""),
                f"see all reasons with 'tfx-registry show {version.ref}'",
            )
        return version

    def record_intent(
        self, model: str, number: int, destination: str, alias: str, *, actor: str | None = None
    ) -> None:
        """Records that a verified copy of a version is about to become visible to a server.

        Args:
            model: Name of the model.
            number: The version.
            destination: The serving base directory.
            alias: The alias that will move.
            actor: Who.

        Raises:
            NotFoundError: There is no such version.
            RefusedError: The gate has not decided, or has blocked it.
        """

        def plan(_: Head | None) -> Payload:
            version = self.check_promotable(model, number)
            return PublishStarted(number, destination, alias, version.digest)

        names.check_alias(alias)
        self._commit(model, plan, actor, "")

    def record_promotion(
        self,
        model: str,
        number: int,
        destination: str,
        alias: str,
        *,
        actor: str | None = None,
        reason: str = "",
    ) -> Version:
        """Records that a version lies complete in a serving directory, and moves the alias.

        Args:
            model: Name of the model.
            number: The version.
            destination: The serving base directory.
            alias: The alias.
            actor: Who.
            reason: Why.

        Returns:
            The version.

        Raises:
            NotFoundError: There is no such version.
            RefusedError: The gate has not decided, or has blocked it.
        """

        def plan(head: Head | None) -> Payload | None:
            version = self.check_promotable(model, number)
            before = head.deployments.get(destination) if head else None
            replaces = before.number if before else None
            aliases = head.aliases if head else {}
            if before and before.alias == alias and replaces == number == aliases.get(alias):
                return None  # a repeated promotion changes nothing
            return Promoted(
                number, destination, alias, version.digest, replaces if replaces != number else None
            )

        names.check_alias(alias)
        self._commit(model, plan, actor, reason)
        return self.get(model, number)

    # Inside

    def _commit(
        self, model: str, plan: Plan, actor: str | None, reason: str, token: str | None = None
    ) -> Event | None:
        """Appends what `plan` says, again and again until no other writer was faster.

        Args:
            model: Name of the model.
            plan: Gets the head and returns the payload, or None when there is nothing to do. It
                may raise to refuse.
            actor: Who.
            reason: Why.
            token: Makes a retry find the first try's event.

        Returns:
            The event, or None when there was nothing to do.

        Raises:
            ConflictError: Other writers were faster for the whole time.
        """
        names.check_text(reason, "reason")
        who = _actor(actor)
        if token is not None and (done := self._store.find_operation(model, token)):
            return done
        token = token or uuid.uuid4().hex
        deadline = time.monotonic() + self._retry_seconds
        delay = 0.002
        while True:
            head = self._store.read_head(model)
            payload = plan(head)
            if payload is None:
                return None
            event = Event(
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
            if self._append(head, event):
                return event
            if done := self._store.find_operation(model, token):
                return done
            if time.monotonic() > deadline:
                raise ConflictError(
                    f"cannot record {event.kind!r} for {model!r}",
                    f"other writers were faster for {self._retry_seconds:g} seconds",
                    "repeat when the registry is less busy; nothing was written",
                )
            time.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(delay * 1.6, 0.25)

    def _append(self, head: Head | None, event: Event) -> bool:
        numbers: Collection[int] = fold.touched(head, event.payload)
        versions = self._store.read_versions(event.model, numbers) if numbers else {}
        after = fold.apply(fold.Snapshot(head, versions), event)
        assert after.head is not None
        try:
            self._store.append(event, after.head, list(after.versions.values()))
        except AppendConflict as conflict:
            _logger.debug("event %d of %s: %s", event.seq, event.model, conflict)
            return False
        return True

    def _now(self) -> str:
        return self._clock().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _actor(actor: str | None) -> str:
    name = actor or os.environ.get(ACTOR_VARIABLE) or ""
    if not name:
        try:
            name = getpass.getuser()
        except (KeyError, OSError):  # a container whose user has no name
            name = f"uid:{os.getuid()}"
    return names.check_text(name, "actor")


def _check_expected(
    model: str, alias: str, expect: int | EllipsisType | None, now: int | None
) -> None:
    if expect is ... or expect == now:
        return
    shown = "is not set" if now is None else f"points at version {now}"
    wanted = "expected it unset" if expect is None else f"expected it at version {expect}"
    raise AliasConflictError(
        f"cannot move the alias {alias!r} of {model!r}",
        f"it {shown}, {wanted}",
        "look at the history, then decide again",
        expected=expect,
        actual=now,
    )
