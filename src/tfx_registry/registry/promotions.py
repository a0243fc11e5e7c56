"""Decisions and promotions: what lets a version serve, and that it does."""

from __future__ import annotations

from tfx_registry import names
from tfx_registry.errors import (
    ApprovalsMissingError,
    ConflictError,
    IntegrityError,
    RefusedError,
    RejectedError,
)
from tfx_registry.records import DecisionSummary, Deployment, Head, Override, Verdict, Version
from tfx_registry.registry.events import Decided, Payload, Promoted, PublishStarted
from tfx_registry.registry.writer import RegistryWriter

__all__ = ["Promotions", "trail_before"]

#: How far back a rollback can go without reading the whole log.
_MAX_TRAIL = 50


def trail_before(before: Deployment | None, number: int) -> tuple[int, ...]:
    """Returns what a rollback may go back to once a version serves.

    Args:
        before: What serves at the destination until then, or None.
        number: The version that will serve.

    Returns:
        Numbers of versions, newest first.
    """
    if before is None:
        return ()
    served = (before.number, *before.trail)
    return tuple(n for n in dict.fromkeys(served) if n != number)[:_MAX_TRAIL]


class Promotions(RegistryWriter):
    """The part of `ModelRegistry` that VersionGate and Promoter use."""

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
            if (now.seq if now else 0) != decision.serving_seq:
                serves = f"version {now.number} serves" if now else "nothing serves"
                raise ConflictError(
                    f"cannot record a decision on {version.ref}",
                    f"{serves} under {decision.alias!r} now, and the decision was made against "
                    "something else",
                    "evaluate against what serves and decide again",
                )
            return decision

        self._commit(model, plan, actor, reason)
        return self.get(model, decision.number)

    def check_promotable(
        self,
        model: str,
        number: int,
        *,
        alias: str = "production",
        required_approvals: int = 0,
    ) -> Version:
        """Checks that a version may be published under an alias.

        Args:
            model: Name of the model.
            number: The version.
            alias: The alias; the gate must have decided for it, against what serves under it now.
            required_approvals: How many people besides the registrant must have approved; the
                access policy may ask for more.

        Returns:
            The version.

        Raises:
            NotFoundError: There is no such version.
            RefusedError: The gate has not decided, has blocked it, or decided for another alias or
                against a version that does not serve any more, and no override holds; it is
                archived or rejected; or approvals are missing.
        """
        version = self.get(model, number)
        self._check_gate(version, alias)
        self._check_people(version, required_approvals)
        return version

    def _check_gate(self, version: Version, alias: str) -> None:
        held = self._override_held(version, alias)
        if held is not None and held.seq > version.rolled_back:
            return
        decision = version.decision
        if held is not None and (decision is None or decision.seq < version.rolled_back):
            raise _rolled_back(version, "override")
        if decision is None:
            raise RefusedError(
                f"cannot promote {version.ref}",
                "no gate decision is recorded for it" + _elsewhere(version, alias, self._now()),
                "run VersionGate on it first",
            )
        if decision.verdict is not Verdict.PASSED:
            shown = "; ".join(decision.reasons[:3])
            more = len(decision.reasons) - 3
            raise RefusedError(
                f"cannot promote {version.ref}",
                f"the gate blocked it: {shown}"
                + (f" (and {more} more)" if more > 0 else "")
                + _elsewhere(version, alias, self._now()),
                f"see all reasons with 'tfx-registry show {version.ref}'",
            )
        if decision.alias != alias:
            raise RefusedError(
                f"cannot promote {version.ref} under {alias!r}",
                f"the gate passed it for {decision.alias!r}",
                f"run VersionGate for {alias!r}",
            )
        if decision.seq < version.rolled_back:
            raise _rolled_back(version, "decision")
        self._check_current(version, decision)

    def _override_held(self, version: Version, alias: str) -> Override | None:
        override = version.override_for(alias)
        return override if override is not None and override.holds_at(self._now()) else None

    def _check_current(self, version: Version, decision: DecisionSummary) -> None:
        """Refuses a decision that was made against something that does not serve any more."""
        now = self.serving(version.model, decision.alias)
        if (now.seq if now else 0) == decision.serving_seq or (
            now is not None and now.number == version.number
        ):
            return
        if decision.baseline is None and decision.serving_seq and not decision.facts_compared:
            return  # a policy that allows promotion without a comparison
        against = f"version {decision.baseline}" if decision.baseline else "nothing"
        if decision.facts_compared:
            against = "what served then"
        serves = f"version {now.number} serves" if now else "nothing serves"
        raise RefusedError(
            f"cannot promote {version.ref}",
            f"the gate compared it with {against}, and {serves} under {decision.alias!r} now",
            "evaluate it against what serves and run VersionGate again",
        )

    def _check_people(self, version: Version, required_approvals: int) -> None:
        if version.archived:
            raise RefusedError(
                f"cannot promote {version.ref}", "it is archived", "choose another version"
            )
        for word in version.approvals:
            if not word.approved:
                raise RejectedError(
                    f"cannot promote {version.ref}",
                    f"{word.actor} rejected it: {word.reason}",
                    "talk to them; their approval would take the rejection back",
                )
        policy = self.access_policy()
        asked = policy.rule_for(version.model).required_approvals if policy else 0
        required = max(asked, required_approvals)
        own_counts = policy is not None and not policy.rule_for(version.model).four_eyes
        given = [w for w in version.approvals if own_counts or w.actor != version.actor]
        if len(given) < required:
            raise ApprovalsMissingError(
                f"cannot promote {version.ref}",
                f"{len(given)} of {required} approvals were given"
                + ("" if own_counts else f" by others than {version.actor}, who registered it"),
                f"let somebody run 'tfx-registry approve {version.ref}'",
            )

    def check_destination(self, model: str, number: int, destination: str, alias: str) -> None:
        """Refuses a serving directory in which a version would replace what it should not.

        Several directories may serve under one alias, and a rollback may have changed only one of
        them: a decision holds for those that have what it compared with.

        Args:
            model: Name of the model.
            number: The version that is to serve there.
            destination: The serving base directory.
            alias: The alias that is to serve there.

        Raises:
            RefusedError: Another alias serves there, or a version that the gate did not compare
                with, and no override holds.
        """
        deployment = self.head(model).deployments.get(destination)
        if deployment is not None and deployment.alias != alias:
            raise RefusedError(
                f"cannot promote {model!r} under {alias!r} into {destination!r}",
                f"version {deployment.number} serves there under {deployment.alias!r}",
                "give each alias a serving directory of its own",
            )
        if deployment is None or deployment.number == number:
            return
        version = self.get(model, number)
        held = self._override_held(version, alias)
        if held is not None and held.seq > version.rolled_back:
            return
        decision = version.decision
        if decision is None or decision.baseline in (None, deployment.number):
            return
        raise RefusedError(
            f"cannot promote {version.ref} into {destination!r}",
            f"the gate compared it with version {decision.baseline}, and version "
            f"{deployment.number} serves there",
            f"bring version {decision.baseline} there first, or override the gate for it",
        )

    def record_intent(
        self,
        model: str,
        number: int,
        destination: str,
        alias: str,
        *,
        required_approvals: int = 0,
        actor: str | None = None,
    ) -> None:
        """Records that a verified copy of a version is about to become visible to a server.

        Args:
            model: Name of the model.
            number: The version.
            destination: The serving base directory.
            alias: The alias that will move.
            required_approvals: See `check_promotable`.
            actor: Who.

        Raises:
            NotFoundError: There is no such version.
            RefusedError: It may not be promoted, see `check_promotable`.
        """

        def plan(_: Head | None) -> Payload:
            version = self.check_promotable(
                model, number, alias=alias, required_approvals=required_approvals
            )
            self.check_destination(model, number, destination, alias)
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
        required_approvals: int = 0,
        actor: str | None = None,
        reason: str = "",
    ) -> Version:
        """Records that a version lies complete in a serving directory, and moves the alias.

        Args:
            model: Name of the model.
            number: The version.
            destination: The serving base directory.
            alias: The alias.
            required_approvals: See `check_promotable`.
            actor: Who.
            reason: Why.

        Returns:
            The version.

        Raises:
            NotFoundError: There is no such version.
            RefusedError: It may not be promoted, see `check_promotable`.
        """

        def plan(head: Head | None) -> Payload | None:
            version = self.check_promotable(
                model, number, alias=alias, required_approvals=required_approvals
            )
            self.check_destination(model, number, destination, alias)
            before = head.deployments.get(destination) if head else None
            replaces = before.number if before else None
            aliases = head.aliases if head else {}
            if before and before.alias == alias and replaces == number == aliases.get(alias):
                return None  # a repeated promotion changes nothing
            return Promoted(
                number,
                destination,
                alias,
                version.digest,
                replaces if replaces != number else None,
                trail_before(before, number),
            )

        names.check_alias(alias)
        self._commit(model, plan, actor, reason)
        return self.get(model, number)


def _elsewhere(version: Version, alias: str, time: str) -> str:
    """Says that an override holds, and for another alias."""
    given = (version.override, *version.other_overrides)
    held = sorted(o.alias for o in given if o is not None and o.alias and o.holds_at(time))
    return f"; it is overridden for {', '.join(map(repr, held))}, not for {alias!r}" if held else ""


def _rolled_back(version: Version, what: str) -> RefusedError:
    return RefusedError(
        f"cannot promote {version.ref}",
        f"it was rolled back (event {version.rolled_back}) after that {what}",
        "run VersionGate on it again, or override the gate for it",
    )
