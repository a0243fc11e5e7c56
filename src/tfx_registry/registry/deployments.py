"""What becomes of versions in serving directories after their promotion."""

from __future__ import annotations

from collections.abc import Collection

from tfx_registry import names
from tfx_registry.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    RefusedError,
    RejectedError,
)
from tfx_registry.records import Deployment, Head, Version
from tfx_registry.registry.access import Action
from tfx_registry.registry.events import (
    Adopted,
    BytesFound,
    BytesRemoved,
    Event,
    IntentDropped,
    Payload,
    Promoted,
    RollbackStarted,
    RolledBack,
    RolloutDropped,
    RolloutStarted,
)
from tfx_registry.registry.promotions import trail_before
from tfx_registry.registry.writer import RegistryWriter

__all__ = ["Deployments"]


class Deployments(RegistryWriter):
    """The part of `ModelRegistry` that rollback, retention, reconcile and adopt use.

    Nothing here touches a serving directory: see `tfx_registry.operations`.
    """

    def check_may_promote(self, model: str, actor: str | None = None) -> None:
        """Refuses somebody who may not promote versions of a model, before anything is touched.

        Args:
            model: Name of the model.
            actor: Who.

        Raises:
            AccessDeniedError: The access policy does not let them.
        """
        policy = self.access_policy()
        if policy is not None:
            policy.check(self.actor(actor), Action.PROMOTE, model)

    def latest_number(self, model: str) -> int:
        """Returns the highest version number of a model; 0 if there is no such model yet."""
        names.check_model_name(model)
        head = self._store.read_head(model)
        return head.latest if head else 0

    def known_versions(self, model: str, numbers: Collection[int]) -> dict[int, Version]:
        """Returns those of the versions that exist, by number.

        Args:
            model: Name of the model; it need not exist.
            numbers: Any numbers, such as those of directories.
        """
        wanted = [n for n in numbers if 1 <= n <= names.MAX_VERSION]
        return self._store.read_versions(model, wanted) if wanted else {}

    def deployment(self, model: str, destination: str) -> Deployment:
        """Returns what serves in a directory.

        Args:
            model: Name of the model.
            destination: The serving base directory.

        Returns:
            The deployment. Its trail is also known for promotions of releases that kept none.

        Raises:
            NotFoundError: Nothing of the model was promoted there.
        """
        head = self.head(model)
        found = head.deployments.get(destination)
        if found is None:
            others = ", ".join(repr(d) for d in head.deployments) or "nowhere"
            raise NotFoundError(
                f"nothing of {model!r} serves in {destination!r}",
                f"it serves in: {others}",
                "check the directory, or adopt what lies in it with 'tfx-registry adopt'",
            )
        if found.trail or found.seq == 1:
            return found
        return self._with_trail_of_the_log(model, found)

    def _with_trail_of_the_log(self, model: str, found: Deployment) -> Deployment:
        trail: tuple[int, ...] = ()
        before: Deployment | None = None
        for event in self._store.read_events(model, 1, found.seq):
            payload = event.payload
            if not isinstance(payload, Promoted | RolledBack | Adopted):
                continue
            if payload.destination != found.destination:
                continue
            trail = payload.trail or trail_before(before, payload.number)
            if isinstance(payload, RolledBack):
                trail = payload.trail
            before = Deployment(
                found.destination, payload.alias, payload.number, event.seq, "", "", trail
            )
        return Deployment(
            found.destination, found.alias, found.number, found.seq, found.time, found.actor, trail
        )

    def check_rollback(self, model: str, destination: str, to: int | None = None) -> Version:
        """Checks that a directory may go back to a version.

        Args:
            model: Name of the model.
            destination: The serving base directory.
            to: The version; None means the one that served there before.

        Returns:
            The version.

        Raises:
            NotFoundError: There is no such version, or nothing serves there.
            RefusedError: It never served there, was rolled back itself, or is archived.
            RejectedError: It is rejected.
        """
        now = self.deployment(model, destination)
        number = to if to is not None else next(iter(now.trail), None)
        if number is None:
            raise RefusedError(
                f"cannot roll back {model!r} in {destination!r}",
                f"version {now.number} serves, and none served there before",
                "promote another version",
            )
        version = self.get(model, number)
        others = ", ".join(str(n) for n in now.trail if n != number)
        if number != now.number and number not in now.trail:
            why = "it never served there"
            if version.rolled_back:
                why = f"it was rolled back itself (event {version.rolled_back})"
            raise RefusedError(
                f"cannot roll back to {version.ref} in {destination!r}",
                why,
                f"served there before: {others or 'none'}; to let {version.ref} serve, "
                "run VersionGate on it and promote it",
            )
        todo = f"choose another that served there with --to: {others or 'there is none'}"
        if version.archived:
            raise RefusedError(f"cannot roll back to {version.ref}", "it is archived", todo)
        for word in version.approvals:
            if not word.approved:
                raise RejectedError(
                    f"cannot roll back to {version.ref}",
                    f"{word.actor} rejected it: {word.reason}",
                    todo,
                )
        return version

    def undone_rollout(self, model: str, destination: str) -> Deployment | None:
        """Returns the last rollout in a directory, if it came to nothing and nothing came after it.

        Args:
            model: Name of the model; it need not exist.
            destination: The serving base directory.

        Returns:
            The rollout as it was begun; None also where servers load by a model config, whose
            rollouts leave nothing that has to be undone.
        """
        head = self._store.read_head(model)
        serving = head.deployments.get(destination) if head else None
        if head is None or (serving is not None and serving.config is not None):
            return None
        begun: Deployment | None = None
        undone: Deployment | None = None
        first = serving.seq + 1 if serving is not None else 1
        for event in self._store.read_events(model, first, head.seq):
            payload = event.payload
            if getattr(payload, "destination", None) != destination:
                continue
            if isinstance(payload, RolloutStarted):
                begun, undone = _begun(event, payload), None
            elif isinstance(payload, RolloutDropped):
                begun, undone = None, begun
        return undone

    def reason_of(self, model: str, seq: int) -> str:
        """Returns why an event was recorded, in the words of who did it; "" if there is none."""
        return next((event.reason for event in self._store.read_events(model, seq, seq)), "")

    def record_rollback_intent(
        self,
        model: str,
        number: int,
        destination: str,
        *,
        reason: str,
        actor: str | None = None,
    ) -> None:
        """Records that newer versions are about to be put away.

        Args:
            model: Name of the model.
            number: The version that is to serve.
            destination: The serving base directory.
            reason: Why; whoever finishes it after a crash records the same.
            actor: Who.

        Raises:
            NotFoundError: There is no such version, or nothing serves there.
            RefusedError: See `check_rollback`.
        """

        def plan(_: Head | None) -> Payload:
            version = self.check_rollback(model, destination, number)
            alias = self.deployment(model, destination).alias
            return RollbackStarted(number, destination, alias, version.digest)

        self._commit(model, plan, actor, reason)

    def record_rollback(
        self,
        model: str,
        number: int,
        destination: str,
        withdrawn: Collection[int],
        *,
        reason: str,
        actor: str | None = None,
        since: int | None = None,
    ) -> Version:
        """Records that an older version serves again, and moves the alias to it.

        Args:
            model: Name of the model.
            number: The version.
            destination: The serving base directory.
            withdrawn: Other versions of the model that were put away, besides those that served
                since the version did.
            reason: Why.
            actor: Who.
            since: Sequence number of the deployment that the rollback was decided on, if nothing
                may have come to serve there after it; None means whatever serves there.

        Returns:
            The version.

        Raises:
            InvalidInputError: There is no reason.
            NotFoundError: There is no such version, or nothing serves there.
            RefusedError: See `check_rollback`.
            ConflictError: Something else has come to serve there since.
        """
        if not reason.strip():
            raise InvalidInputError(
                "cannot roll back without a reason", "the history must say why", "give a reason"
            )

        def plan(_: Head | None) -> Payload | None:
            now = self.deployment(model, destination)
            if since is not None and now.seq != since and now.number != number:
                raise ConflictError(
                    f"cannot roll back {model!r} to version {number} in {destination!r}",
                    f"since this began, version {now.number} has come to serve there "
                    f"(event {now.seq})",
                    "look at 'tfx-registry status', then decide again",
                )
            version = self.check_rollback(model, destination, number)
            if now.number == number:
                return None
            served = (now.number, *now.trail)
            passed = served[: served.index(number)]
            return RolledBack(
                number,
                destination,
                now.alias,
                version.digest,
                now.number,
                tuple(sorted({*withdrawn, *passed})),
                served[len(passed) + 1 :],
            )

        self._commit(model, plan, actor, reason)
        return self.get(model, number)

    def drop_intent(
        self, model: str, destination: str, *, actor: str | None = None, reason: str = ""
    ) -> None:
        """Records that what was begun in a directory has been undone.

        Args:
            model: Name of the model.
            destination: The serving base directory.
            actor: Who.
            reason: Why.

        Raises:
            NotFoundError: There is no such model.
        """
        self.head(model)

        def plan(head: Head | None) -> Payload | None:
            begun = head.unfinished.get(destination) if head else None
            return IntentDropped(begun.number, destination) if begun else None

        self._commit(model, plan, actor, reason)

    def record_bytes_removed(
        self,
        model: str,
        number: int,
        destination: str,
        *,
        cause: str,
        last: bool,
        actor: str | None = None,
        reason: str = "",
    ) -> Version:
        """Records that a directory does not hold the bytes of a version any more.

        Args:
            model: Name of the model.
            number: The version.
            destination: The serving base directory.
            cause: "retention" or "missing".
            last: Whether no other place is known that holds them.
            actor: Who.
            reason: Why.

        Returns:
            The version.

        Raises:
            NotFoundError: There is no such version.
            RefusedError: They were to be removed by retention, and the version serves there.
        """
        self.get(model, number)

        def plan(_: Head | None) -> Payload | None:
            version = self.get(model, number)
            if cause == "retention" and destination in version.serving:
                raise RefusedError(
                    f"cannot remove the bytes of {version.ref} from {destination!r}",
                    "it serves there",
                    "promote another version first",
                )
            if destination in version.removed_from and version.bytes_gone >= last:
                return None
            return BytesRemoved(number, destination, cause, last)

        self._commit(model, plan, actor, reason)
        return self.get(model, number)

    def record_bytes_found(
        self, model: str, number: int, destination: str, *, actor: str | None = None
    ) -> Version:
        """Records that a directory holds the bytes of a version again, verified.

        Args:
            model: Name of the model.
            number: The version.
            destination: The serving base directory.
            actor: Who.

        Returns:
            The version.

        Raises:
            NotFoundError: There is no such version.
        """
        self.get(model, number)

        def plan(_: Head | None) -> Payload | None:
            known = destination in self.get(model, number).removed_from
            return BytesFound(number, destination) if known else None

        self._commit(model, plan, actor, "")
        return self.get(model, number)


def _begun(event: Event, payload: RolloutStarted) -> Deployment:
    return Deployment(
        payload.destination, payload.alias, payload.number, event.seq, event.time, event.actor,
        config=payload.config,
    )  # fmt: skip
