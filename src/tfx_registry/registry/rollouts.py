"""Versions that servers load because a model config says so: canaries, and what comes of them."""

from __future__ import annotations

from collections.abc import Sequence

from tfx_registry import names
from tfx_registry.errors import ConflictError, NotFoundError, RefusedError
from tfx_registry.records import ConfigTarget, Deployment, Head, Version
from tfx_registry.registry.events import (
    CanaryEnded,
    CanaryStarted,
    Payload,
    Promoted,
    RolloutDropped,
    RolloutStarted,
    ServersChecked,
)
from tfx_registry.registry.promotions import Promotions, trail_before

__all__ = ["Rollouts", "check_no_trial"]

#: Characters of what a server says that are kept.
_MAX_WORDS = 1000


class Rollouts(Promotions):
    """The part of `ModelRegistry` that canaries and promotions by a model config use.

    Nothing here touches a directory, a config or a server: see `tfx_registry.operations.rollout`.
    """

    def canary(self, model: str, destination: str) -> Deployment | None:
        """Returns what is on trial in a directory, or None.

        Args:
            model: Name of the model.
            destination: The serving base directory.

        Raises:
            NotFoundError: There is no such model.
        """
        return self.head(model).canaries.get(destination)

    def check_rollout(
        self,
        model: str,
        number: int,
        destination: str,
        alias: str,
        *,
        canary: bool,
        required_approvals: int = 0,
    ) -> Version:
        """Checks that servers may be told to load a version.

        A version on trial gets real requests, so it needs everything that a promotion needs: the
        gate's pass for the alias that it may come to serve under, and the approvals.

        Args:
            model: Name of the model.
            number: The version.
            destination: The serving base directory.
            alias: The alias of what serves there.
            canary: Whether the version is to be on trial only.
            required_approvals: See `check_promotable`.

        Returns:
            The version.

        Raises:
            NotFoundError: There is no such version.
            RefusedError: It may not be promoted; or another version is on trial there; or there is
                nothing that it could be on trial beside.
        """
        version = self.check_promotable(
            model, number, alias=alias, required_approvals=required_approvals
        )
        self.check_destination(model, number, destination, alias)
        head = self.head(model)
        trial = head.canaries.get(destination)
        if trial is not None and trial.number != number:
            raise RefusedError(
                f"cannot promote {version.ref} in {destination!r}",
                f"version {trial.number} is on trial there since {trial.time}",
                f"let that one serve with 'tfx-registry promote {head.model}:{trial.number} "
                f"--serving-dir {destination} --stable', or end its trial with 'tfx-registry abort "
                f"{head.model} --serving-dir {destination}'",
            )
        if canary:
            _check_beside(version, head.deployments.get(destination), destination)
        return version

    def record_rollout(
        self,
        model: str,
        number: int,
        destination: str,
        alias: str,
        config: ConfigTarget,
        *,
        canary: bool,
        required_approvals: int = 0,
        actor: str | None = None,
    ) -> int:
        """Records that a verified copy of a version is about to be loaded beside what serves.

        Args:
            model: Name of the model.
            number: The version.
            destination: The serving base directory.
            alias: The alias of what serves there.
            config: The model config.
            canary: Whether the version is to be on trial only.
            required_approvals: See `check_promotable`.
            actor: Who.

        Returns:
            The sequence number of the event, which the record of the outcome asks for.

        Raises:
            NotFoundError: There is no such version.
            RefusedError: See `check_rollout`.
        """

        def plan(_: Head | None) -> Payload:
            version = self.check_rollout(
                model, number, destination, alias,
                canary=canary, required_approvals=required_approvals,
            )  # fmt: skip
            return RolloutStarted(number, destination, alias, version.digest, config, canary)

        names.check_alias(alias)
        event = self._commit(model, plan, actor, "")
        assert event is not None
        return event.seq

    def record_canary(
        self,
        model: str,
        number: int,
        destination: str,
        alias: str,
        config: ConfigTarget,
        *,
        begun: int,
        canary_alias: str = "canary",
        required_approvals: int = 0,
        actor: str | None = None,
        reason: str = "",
    ) -> Version:
        """Records that a version is on trial, and moves the alias of versions on trial to it.

        Args:
            model: Name of the model.
            number: The version.
            destination: The serving base directory.
            alias: The alias of what serves there.
            config: The model config.
            begun: What `record_rollout` returned.
            canary_alias: The alias of versions on trial.
            required_approvals: See `check_promotable`.
            actor: Who.
            reason: Why.

        Returns:
            The version.

        Raises:
            NotFoundError: There is no such version.
            RefusedError: See `check_rollout`; or a version is on trial elsewhere.
            ConflictError: Something else was done in the directory meanwhile.
        """

        def plan(head: Head | None) -> Payload | None:
            version = self.check_rollout(
                model, number, destination, alias,
                canary=True, required_approvals=required_approvals,
            )  # fmt: skip
            assert head is not None
            _check_begun(head, destination, number, begun)
            serving = head.deployments[destination]
            elsewhere = [d for d, c in head.canaries.items() if d != destination]
            if elsewhere and head.canaries[elsewhere[0]].number != number:
                raise RefusedError(
                    f"cannot put {version.ref} on trial in {destination!r}",
                    f"version {head.canaries[elsewhere[0]].number} is on trial in {elsewhere[0]!r}",
                    "end that trial first",
                )
            if (taken := head.serving(canary_alias)) is not None:
                raise RefusedError(
                    f"cannot put {version.ref} on trial under {canary_alias!r}",
                    f"version {taken.number} serves under it in {taken.destination!r}",
                    "promote what serves there under another alias",
                )
            return CanaryStarted(
                number, destination, canary_alias, version.digest, config, serving.number
            )

        names.check_alias(canary_alias)
        self._commit(model, plan, actor, reason)
        return self.get(model, number)

    def record_config_promotion(
        self,
        model: str,
        number: int,
        destination: str,
        alias: str,
        config: ConfigTarget,
        *,
        begun: int,
        required_approvals: int = 0,
        actor: str | None = None,
        reason: str = "",
    ) -> Version:
        """Records that a version serves by a model config, and moves the alias.

        Args:
            model: Name of the model.
            number: The version.
            destination: The serving base directory.
            alias: The alias.
            config: The model config.
            begun: What `record_rollout` returned.
            required_approvals: See `check_promotable`.
            actor: Who.
            reason: Why.

        Returns:
            The version.

        Raises:
            NotFoundError: There is no such version.
            RefusedError: See `check_rollout`.
            ConflictError: Something else was done in the directory meanwhile.
        """

        def plan(head: Head | None) -> Payload | None:
            version = self.check_rollout(
                model, number, destination, alias,
                canary=False, required_approvals=required_approvals,
            )  # fmt: skip
            assert head is not None
            before = head.deployments.get(destination)
            _check_begun(head, destination, number, begun)
            replaces = before.number if before and before.number != number else None
            trail = trail_before(before, number)
            return Promoted(number, destination, alias, version.digest, replaces, trail, config)

        names.check_alias(alias)
        self._commit(model, plan, actor, reason)
        return self.get(model, number)

    def record_abort(
        self, model: str, destination: str, *, actor: str | None = None, reason: str = ""
    ) -> Version:
        """Records that a version is not on trial any more; its alias is gone with that.

        Args:
            model: Name of the model.
            destination: The serving base directory.
            actor: Who.
            reason: Why.

        Returns:
            The version that was on trial.

        Raises:
            NotFoundError: No version is on trial there.
        """

        def plan(head: Head | None) -> Payload:
            trial = head.canaries.get(destination) if head else None
            if trial is None:
                raise _no_trial(model, destination)
            return CanaryEnded(trial.number, destination, trial.alias)

        names.check_model_name(model)
        event = self._commit(model, plan, actor, reason)
        assert event is not None
        assert isinstance(event.payload, CanaryEnded)
        return self.get(model, event.payload.number)

    def drop_rollout(
        self, model: str, destination: str, *, actor: str | None = None, reason: str = ""
    ) -> None:
        """Records that a rollout has been undone, if one was begun there.

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
            begun = head.rollouts.get(destination) if head else None
            return RolloutDropped(begun.number, destination) if begun else None

        self._commit(model, plan, actor, reason)

    def record_servers(
        self,
        model: str,
        number: int,
        destination: str,
        servers: Sequence[str],
        *,
        available: bool,
        actor: str | None = None,
    ) -> None:
        """Records what model servers said of a version.

        Args:
            model: Name of the model.
            number: The version.
            destination: The serving base directory.
            servers: What each of them said last: its URL and its words.
            available: Whether all of them serve it.
            actor: Who.

        Raises:
            NotFoundError: There is no such version.
        """
        self.get(model, number)
        said = tuple(_storable(text) for text in servers)
        payload = ServersChecked(number, destination, available, said)
        self._commit(model, lambda _: payload, actor, "")


def check_no_trial(head: Head | None, alias: str) -> None:
    """Refuses to move or remove the alias of a version on trial by hand.

    Args:
        head: Head of the model.
        alias: The alias.

    Raises:
        RefusedError: A version is on trial under it.
    """
    for trial in head.canaries.values() if head else ():
        if trial.alias == alias:
            raise RefusedError(
                f"cannot change the alias {alias!r} of {head.model if head else ''!r}",
                f"version {trial.number} is on trial under it in {trial.destination!r}",
                "promote it with --stable, or end the trial with 'tfx-registry abort'; that moves "
                "the alias",
            )


def _storable(text: str) -> str:
    return text[:_MAX_WORDS].encode("utf-8", "replace").decode("utf-8")


def _check_beside(version: Version, serving: Deployment | None, destination: str) -> None:
    if serving is not None and serving.number == version.number:
        raise RefusedError(
            f"cannot put {version.ref} on trial in {destination!r}",
            "it serves there",
            "choose another version",
        )
    if serving is None or serving.config is None:
        what = "nothing serves there" if serving is None else "its servers load the latest version"
        raise RefusedError(
            f"cannot put {version.ref} on trial in {destination!r}",
            f"{what}, so all requests would go to it",
            "first let servers load by a model config: promote what shall serve with "
            "--model-config FILE, and start them with --model_config_file=FILE",
        )


def _check_begun(head: Head, destination: str, number: int, begun: int) -> None:
    now = head.rollouts.get(destination)
    if now is not None and (now.seq, now.number) == (begun, number):
        return
    raise ConflictError(
        f"cannot record the rollout of {head.model}:{number} in {destination!r}",
        "something else was done there since it was begun: a rollback, another promotion, or "
        "'tfx-registry reconcile'",
        f"see it with 'tfx-registry history {head.model}', then decide again",
    )


def _no_trial(model: str, destination: str) -> NotFoundError:
    return NotFoundError(
        f"no version of {model!r} is on trial in {destination!r}",
        "none was promoted with --canary, or its trial has ended",
        f"see what happened with 'tfx-registry history {model}'",
    )
