"""Decisions and promotions: what lets a version serve, and that it does."""

from __future__ import annotations

from tfx_registry import names
from tfx_registry.errors import (
    ApprovalsMissingError,
    ConflictError,
    IntegrityError,
    RefusedError,
)
from tfx_registry.records import Head, Verdict, Version
from tfx_registry.registry.events import Decided, Payload, Promoted, PublishStarted
from tfx_registry.registry.writer import RegistryWriter

__all__ = ["Promotions"]


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
            if now is not None and now.seq > decision.head_seq:
                raise ConflictError(
                    f"cannot record a decision on {version.ref}",
                    f"version {now.number} began to serve under {decision.alias!r} meanwhile",
                    "evaluate against the new baseline and decide again",
                )
            return decision

        self._commit(model, plan, actor, reason)
        return self.get(model, decision.number)

    def check_promotable(self, model: str, number: int, *, required_approvals: int = 0) -> Version:
        """Checks that a version may be published.

        Args:
            model: Name of the model.
            number: The version.
            required_approvals: How many people besides the registrant must have approved; the
                access policy may ask for more.

        Returns:
            The version.

        Raises:
            NotFoundError: There is no such version.
            RefusedError: The gate has not decided or has blocked it, and no override holds; it is
                archived or rejected; or approvals are missing.
        """
        version = self.get(model, number)
        self._check_gate(version)
        self._check_people(version, required_approvals)
        return version

    def _check_gate(self, version: Version) -> None:
        if version.override is not None and version.override.holds_at(self._now()):
            return
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

    def _check_people(self, version: Version, required_approvals: int) -> None:
        if version.archived:
            raise RefusedError(
                f"cannot promote {version.ref}", "it is archived", "choose another version"
            )
        for word in version.approvals:
            if not word.approved:
                raise RefusedError(
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
            version = self.check_promotable(model, number, required_approvals=required_approvals)
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
            version = self.check_promotable(model, number, required_approvals=required_approvals)
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
