"""Approvals, overrides, labels, archiving, and the access policy."""

from __future__ import annotations

import datetime

from tfx_registry import codec, names
from tfx_registry.errors import InvalidInputError, NotFoundError, RefusedError
from tfx_registry.records import Head, Version
from tfx_registry.registry.access import POLICY_LOG, AccessPolicy
from tfx_registry.registry.events import (
    Approved,
    Archived,
    Event,
    LabelRemoved,
    LabelSet,
    Overridden,
    Payload,
    PolicySet,
    Rejected,
)
from tfx_registry.registry.writer import RegistryWriter, format_time

__all__ = ["Lifecycle"]


class Lifecycle(RegistryWriter):
    """The part of `ModelRegistry` that people use to say yes or no."""

    def approve(
        self, model: str, number: int, *, actor: str | None = None, reason: str = ""
    ) -> Version:
        """Approves a version.

        Args:
            model: Name of the model.
            number: The version.
            actor: Who.
            reason: Why.

        Returns:
            The version.

        Raises:
            NotFoundError: There is no such version.
            RefusedError: It is archived, or the actor registered it and the access policy asks
                for four eyes.
        """
        return self._say(Approved(number), model, number, actor, reason)

    def reject(self, model: str, number: int, *, reason: str, actor: str | None = None) -> Version:
        """Rejects a version, with a reason; it cannot be promoted while the rejection stands.

        Args:
            model: Name of the model.
            number: The version.
            reason: Why.
            actor: Who.

        Returns:
            The version.

        Raises:
            InvalidInputError: There is no reason.
            NotFoundError: There is no such version.
            RefusedError: It is archived.
        """
        _check_reason("reject", reason)
        return self._say(Rejected(number), model, number, actor, reason)

    def override(
        self,
        model: str,
        number: int,
        *,
        reason: str,
        expires: datetime.datetime | datetime.timedelta,
        alias: str = "production",
        actor: str | None = None,
    ) -> Version:
        """Lets a version serve under an alias although the gate has not passed it, for some time.

        A later one for the same alias replaces it; those for other aliases stand.

        Args:
            model: Name of the model.
            number: The version.
            reason: Why.
            expires: Until when (with a time zone), or for how long from now. What serves by then
                goes on serving; it just cannot be promoted any more.
            alias: The only alias under which it may be promoted.
            actor: Who.

        Returns:
            The version.

        Raises:
            InvalidNameError: The alias breaks its grammar.
            InvalidInputError: There is no reason, or the time lies in the past.
            NotFoundError: There is no such version.
            RefusedError: It is archived.
        """
        _check_reason("override", reason)
        names.check_alias(alias)
        now = self._clock()
        until = now + expires if isinstance(expires, datetime.timedelta) else expires
        if until.tzinfo is None or until <= now:
            raise InvalidInputError(
                f"cannot override the gate for {model}:{number} until {until}",
                "the time has no zone, or lies in the past",
                "give a time in the future",
            )
        payload = Overridden(number, format_time(until), alias)
        self._commit(model, lambda _: self._if_usable(model, number, payload), actor, reason)
        return self.get(model, number)

    def archive(
        self, model: str, number: int, *, actor: str | None = None, reason: str = ""
    ) -> Version:
        """Takes a version out of use; its record stays for ever.

        Args:
            model: Name of the model.
            number: The version.
            actor: Who.
            reason: Why.

        Returns:
            The version.

        Raises:
            NotFoundError: There is no such version.
            RefusedError: It serves, or an alias points at it.
        """
        self.get(model, number)

        def plan(_: Head | None) -> Payload | None:
            version = self.get(model, number)
            if version.archived:
                return None
            used = [f"it serves in {d!r}" for d in version.serving]
            used += [f"the alias {a!r} points at it" for a in version.aliases]
            if used:
                raise RefusedError(
                    f"cannot archive {version.ref}",
                    " and ".join(used),
                    "promote another version, or move the alias, first",
                )
            return Archived(number)

        self._commit(model, plan, actor, reason)
        return self.get(model, number)

    def set_label(
        self,
        model: str,
        number: int,
        key: str,
        value: str,
        *,
        actor: str | None = None,
        reason: str = "",
    ) -> Version:
        """Sets a label of a version.

        Args:
            model: Name of the model.
            number: The version.
            key: The label.
            value: Its value.
            actor: Who.
            reason: Why.

        Returns:
            The version.

        Raises:
            InvalidNameError: Key or value break the grammar.
            NotFoundError: There is no such version.
        """
        names.check_label(key, value)
        self.get(model, number)

        def plan(_: Head | None) -> Payload | None:
            now = self.get(model, number).labels.get(key)
            return LabelSet(number, key, value, now) if now != value else None

        self._commit(model, plan, actor, reason)
        return self.get(model, number)

    def remove_label(
        self, model: str, number: int, key: str, *, actor: str | None = None, reason: str = ""
    ) -> Version:
        """Removes a label of a version.

        Args:
            model: Name of the model.
            number: The version.
            key: The label.
            actor: Who.
            reason: Why.

        Returns:
            The version.

        Raises:
            NotFoundError: There is no such version, or it has no such label.
        """
        self.get(model, number)

        def plan(_: Head | None) -> Payload:
            version = self.get(model, number)
            if key not in version.labels:
                known = ", ".join(sorted(version.labels)) or "none"
                raise NotFoundError(
                    f"no label {key!r} of {version.ref}", f"it has these: {known}", ""
                )
            return LabelRemoved(number, key, version.labels[key])

        self._commit(model, plan, actor, reason)
        return self.get(model, number)

    def set_access_policy(
        self, policy: AccessPolicy, *, actor: str | None = None, reason: str = ""
    ) -> AccessPolicy:
        """Replaces the access policy.

        Args:
            policy: The new policy.
            actor: Who: an admin of the policy in force, or, for the first policy, one of its own
                admins.
            reason: Why.

        Returns:
            The policy.

        Raises:
            InvalidPolicyError: A grant of it gives what only admins may.
            AccessDeniedError: The actor is no admin.
            RefusedError: The first policy would lock out the actor who sets it.
        """
        who = self.actor(actor)
        policy.check_grants()

        def plan(head: Head | None) -> Payload:
            if head is None and who not in policy.admins:
                raise RefusedError(
                    "cannot set the first access policy",
                    f"{who!r}, who sets it, is not among its admins {list(policy.admins)}",
                    "add yourself to admins",
                )
            return PolicySet(codec.encode(policy))

        self._commit(POLICY_LOG, plan, who, reason)
        return policy

    def access_policy_history(self) -> list[Event]:
        """Returns every change of the access policy, oldest first."""
        head = self._store.read_head(POLICY_LOG)
        return self._store.read_events(POLICY_LOG, 1, head.seq) if head else []

    def _say(
        self,
        payload: Approved | Rejected,
        model: str,
        number: int,
        actor: str | None,
        reason: str,
    ) -> Version:
        who = self.actor(actor)

        def plan(_: Head | None) -> Payload:
            version = self.get(model, number)
            policy = self.access_policy()
            four_eyes = policy is not None and policy.rule_for(model).four_eyes
            if isinstance(payload, Approved) and four_eyes and who == version.actor:
                raise RefusedError(
                    f"{who!r} cannot approve {version.ref}",
                    "they registered it, and the access policy asks for four eyes",
                    "let somebody else approve it",
                )
            return self._if_usable(model, number, payload)

        self.get(model, number)
        self._commit(model, plan, who, reason)
        return self.get(model, number)

    def _if_usable(self, model: str, number: int, payload: Payload) -> Payload:
        version = self.get(model, number)
        if version.archived:
            raise RefusedError(
                f"cannot record {payload.kind!r} for {version.ref}",
                "the version is archived",
                "choose another version",
            )
        return payload


def _check_reason(what: str, reason: str) -> None:
    if not reason.strip():
        raise InvalidInputError(
            f"cannot {what} without a reason", "the history must say why", "give a reason"
        )
