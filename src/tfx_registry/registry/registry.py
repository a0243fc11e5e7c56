"""The registry: what people and components do with it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import EllipsisType

from tfx_registry import names
from tfx_registry.errors import (
    AliasConflictError,
    IntegrityError,
    NotFoundError,
    RefusedError,
)
from tfx_registry.inspection import asked_code_revision, describe_model, installed_libraries
from tfx_registry.records import Head, LineageSource, Metric, Origin, Version
from tfx_registry.registry.access import AccessPolicy
from tfx_registry.registry.adoptions import Adoptions
from tfx_registry.registry.audit import Audit
from tfx_registry.registry.deployments import Deployments
from tfx_registry.registry.events import AliasRemoved, AliasSet, Payload, Registered
from tfx_registry.registry.finding import Finding
from tfx_registry.registry.lifecycle import Lifecycle
from tfx_registry.registry.lineage import Lineage
from tfx_registry.registry.rollouts import Rollouts, check_no_trial

__all__ = ["ModelRegistry"]


class ModelRegistry(Audit, Finding, Lineage, Lifecycle, Deployments, Adoptions, Rollouts):
    """Versions of models under one name, and everything that was decided about them.

    Example:
        registry = ModelRegistry.open("sqlite:///metadata.sqlite")
        version = registry.register("penguin", "export/1")
        registry.resolve("penguin@production")
    """

    def register(
        self,
        model: str,
        path: str | os.PathLike[str],
        *,
        description: str = "",
        labels: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | Sequence[Metric] | None = None,
        hyperparameters: Mapping[str, object] | None = None,
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
            hyperparameters: Parameters of the training by name; kept as text.
            semantic_version: Optional semantic version; the access policy may ask that it ascends.
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
        if idempotency_key is not None:
            names.check_text(idempotency_key, "idempotency key")
        parameters = {str(k): str(v) for k, v in (hyperparameters or {}).items()}
        checked = dict(names.check_label(k, v) for k, v in (labels or {}).items())
        semantic = names.SemanticVersion.parse(semantic_version) if semantic_version else None
        if origin is not None:
            facts, made_by = describe_model(path), origin
        else:
            with asked_code_revision() as revision:
                facts, libraries = describe_model(path), installed_libraries()
                made_by = Origin(code_revision=revision(), libraries=libraries)
        if isinstance(metrics, Mapping):
            metrics = [Metric(name, float(value)) for name, value in metrics.items()]

        def plan(head: Head | None) -> Payload:
            return Registered(
                number=(head.latest if head else 0) + 1,
                facts=facts,
                origin=made_by,
                sources=tuple(sources),
                hyperparameters=parameters,
                metrics=tuple(metrics or ()),
                description=description,
                labels=checked,
                semantic_version=semantic_version,
                same_bytes_as=self._store.find_digest(model, facts.digest),
            )

        def check(policy: AccessPolicy, head: Head | None) -> None:
            _check_semantic_version(policy, model, head, semantic)

        recorded = self._record(model, plan, actor, reason, idempotency_key, check=check)
        assert recorded is not None
        event, payload = recorded.event, recorded.event.payload
        if not isinstance(payload, Registered) or payload.facts.manifest != facts.manifest:
            raise IntegrityError(
                f"cannot register {str(path)!r} as a version of {model!r}",
                f"the same operation registered other bytes before (event {event.seq})",
                "use another idempotency key, or find out who changed the model",
            )
        return recorded.versions.get(payload.number) or self.get(model, payload.number)

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
            RefusedError: Another version serves under the alias, or the version is archived.
        """
        names.check_alias(alias)
        self.get(model, number)

        def plan(head: Head | None) -> Payload | None:
            now = head.aliases.get(alias) if head else None
            _check_expected(model, alias, expect, now)
            serving = head.serving(alias) if head else None
            if serving is not None and serving.number != number:
                raise RefusedError(
                    f"cannot point the alias {alias!r} at {model}:{number}",
                    f"version {serving.number} serves under it in {serving.destination!r}",
                    "promote the version; that moves the alias",
                )
            check_no_trial(head, alias)
            if self.get(model, number).archived:
                raise RefusedError(
                    f"cannot point the alias {alias!r} at {model}:{number}",
                    "the version is archived",
                    "choose another version",
                )
            return AliasSet(alias, number, now) if now != number else None

        recorded = self._record(model, plan, actor, reason)
        changed = recorded.versions if recorded else {}
        return changed.get(number) or self.get(model, number)

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
            check_no_trial(head, alias)
            return AliasRemoved(alias, now)

        names.check_model_name(model)
        event = self._commit(model, plan, actor, reason)
        assert event is not None
        assert isinstance(event.payload, AliasRemoved)
        return event.payload.previous

    def report(self, model: str) -> str:
        """Writes the page about a model, as `tfx-registry report` does.

        Args:
            model: Name of the model.

        Returns:
            One HTML file that needs nothing else.

        Raises:
            NotFoundError: There is no such model.
        """
        from tfx_registry.pages import model_page  # stands above the registry

        return model_page(self, model)


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


def _check_semantic_version(
    policy: AccessPolicy, model: str, head: Head | None, new: names.SemanticVersion | None
) -> None:
    if not policy.rule_for(model).semantic_versions_ascend:
        return
    if new is None:
        raise RefusedError(
            f"cannot register a version of {model!r}",
            "the access policy asks for a semantic version",
            "give one",
        )
    highest = head.semantic_versions.get(str(new.major)) if head else None
    if highest and not names.SemanticVersion.parse(highest) < new:
        raise RefusedError(
            f"cannot register {model!r} as {new}",
            f"the access policy asks for ascending versions, and {highest} exists already",
            "give a higher one",
        )
