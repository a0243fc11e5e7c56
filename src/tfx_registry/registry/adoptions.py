"""Versions that something else has published, such as TFX Pusher."""

from __future__ import annotations

import os
from collections.abc import Collection

from tfx_registry import names
from tfx_registry.errors import RefusedError
from tfx_registry.inspection import describe_model
from tfx_registry.records import Head, ModelFacts, Version
from tfx_registry.registry.events import Adopted, Payload, Registered
from tfx_registry.registry.writer import RegistryWriter

__all__ = ["Adoptions"]


class Adoptions(RegistryWriter):
    """The part of `ModelRegistry` that takes over what lies in a serving directory."""

    def register_adopted(
        self,
        model: str,
        path: str | os.PathLike[str],
        number: int,
        destination: str,
        *,
        facts: ModelFacts | None = None,
        actor: str | None = None,
        reason: str = "",
    ) -> Version:
        """Registers a directory that something else published, under the number that it has there.

        Args:
            model: Name of the model; made with its first version.
            path: The SavedModel directory.
            number: Its number; the next registration gets one that is higher.
            destination: The serving base directory that it lies in.
            facts: What was read of it; None means that it is read now.
            actor: Who.
            reason: Why.

        Returns:
            The version; the one that is there already, if it has the same bytes.

        Raises:
            InvalidModelError: There is no model at the path.
            RefusedError: The number belongs to other bytes, or is not higher than all others.
        """
        names.check_model_name(model)
        names.check_version_number(number)
        facts = facts or describe_model(path)

        def plan(head: Head | None) -> Payload | None:
            known = self._store.read_versions(model, [number]).get(number)
            if known is not None and known.facts.manifest == facts.manifest:
                return None
            latest = head.latest if head else 0
            if known is not None or number <= latest:
                raise RefusedError(
                    f"cannot adopt {str(path)!r} as version {number} of {model!r}",
                    "that version has other bytes"
                    if known is not None
                    else f"its latest version is {latest}, and numbers ascend",
                    "move the directory away, or adopt it under another model name",
                )
            return Registered(
                number=number,
                facts=facts,
                description="found in a serving directory",
                same_bytes_as=self._store.find_digest(model, facts.digest),
                adopted=destination,
            )

        self._commit(model, plan, actor, reason)
        return self.get(model, number)

    def record_adoption(
        self,
        model: str,
        number: int,
        destination: str,
        alias: str,
        others: Collection[int] = (),
        *,
        actor: str | None = None,
        reason: str = "",
    ) -> Version:
        """Records that a version was found serving, and points the alias at it.

        Args:
            model: Name of the model.
            number: The version.
            destination: The serving base directory.
            alias: The alias.
            others: Versions that lie beside it and that a rollback may go back to.
            actor: Who.
            reason: Why.

        Returns:
            The version.

        Raises:
            NotFoundError: There is no such version.
            RefusedError: The registry knows of another version that serves there, or under the
                alias.
        """
        names.check_alias(alias)
        self.get(model, number)

        def plan(head: Head | None) -> Payload | None:
            there = head.deployments.get(destination) if head else None
            now = there or (head.serving(alias) if head else None)
            if now is not None:
                if (now.destination, now.number) == (destination, number):
                    return None
                raise RefusedError(
                    f"cannot adopt version {number} of {model!r} in {destination!r}",
                    f"version {now.number} serves under {now.alias!r} in {now.destination!r}",
                    "adopt under another alias, or run 'tfx-registry reconcile'",
                )
            trail = tuple(sorted((n for n in others if n != number), reverse=True))[:50]
            return Adopted(number, destination, alias, self.get(model, number).digest, trail)

        self._commit(model, plan, actor, reason)
        return self.get(model, number)
