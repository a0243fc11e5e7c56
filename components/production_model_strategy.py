"""Gives the Evaluator the version that serves as its baseline."""

from __future__ import annotations

import logging
from typing import Any

import ml_metadata as mlmd
from tfx import types
from tfx.dsl.components.common import resolver
from tfx.types import artifact_utils, standard_artifacts

from tfx_registry import names
from tfx_registry.gate import normalize_location
from tfx_registry.records import Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.registry.uri import RegistryUri

__all__ = ["ProductionModelStrategy"]

_logger = logging.getLogger(__name__)


class ProductionModelStrategy(resolver.ResolverStrategy):
    """Resolves the Model artifact of the version that serves under an alias.

    While nothing serves, it resolves to no model, as LatestBlessedModelStrategy does on a first
    run. It works where TFX runs resolvers itself: LocalDagRunner, BeamDagRunner, Airflow.

    Example:
        production = tfx.dsl.Resolver(
            strategy_class=ProductionModelStrategy,
            config={"registry": "sqlite:///metadata.sqlite", "model_name": "penguin"},
            model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        ).with_id("production_model_resolver")
        evaluator = Evaluator(..., baseline_model=production.outputs["model"])
    """

    def __init__(
        self, model_name: str, registry: str | None = None, alias: str = "production"
    ) -> None:
        """Makes the strategy; TFX does this with the `config` of the Resolver.

        Args:
            model_name: Name of the model in the registry.
            registry: URI of the registry; None means the variable `TFX_REGISTRY_URI`.
            alias: The alias.

        Raises:
            InvalidInputError: A name or the URI is invalid.
        """
        self._model_name = names.check_model_name(model_name)
        self._alias = names.check_alias(alias)
        if registry is not None:
            RegistryUri.parse(registry)
        self._registry = registry

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]] | None:
        """Finds the Model artifact of the version that serves.

        Args:
            store: The pipeline's ML Metadata.
            input_dict: One channel with the pipeline's Model artifacts.

        Returns:
            The same key with the one artifact, or with none.
        """
        (key, candidates), *_ = input_dict.items()
        with ModelRegistry.open(self._registry) as registry:
            deployment = registry.serving(self._model_name, self._alias)
            if deployment is None:
                _logger.info("no version of %s serves yet: no baseline", self._model_name)
                return {key: []}
            version = registry.get(self._model_name, deployment.number)
        found = _find(version, candidates) or _look_up(store, version)
        if found is None:
            # VersionGate sees that the evaluation lacks a baseline, and decides by its policy.
            _logger.warning(
                "%s serves, but the pipeline's metadata has no Model artifact at %s: no baseline",
                version.ref,
                version.uri,
            )
            return {key: []}
        _logger.info("baseline is %s at %s", version.ref, found.uri)
        return {key: [found]}


def _find(version: Version, candidates: list[types.Artifact]) -> types.Artifact | None:
    wanted = {normalize_location(version.origin.artifact_uri), normalize_location(version.uri)}
    matching = [model for model in candidates if normalize_location(model.uri) in wanted - {""}]
    return max(matching, key=lambda model: model.id, default=None)


def _look_up(store: Any, version: Version) -> types.Artifact | None:
    """Looks among all artifacts of the store: another pipeline may have trained the version."""
    # The URI as the pipeline wrote it, which may be a relative path.
    uris = {source.uri for source in version.sources if source.key == "model"}
    uris |= {version.origin.artifact_uri} - {""}
    nodes = [node for uri in sorted(uris) for node in store.get_artifacts_by_uri(uri)]
    models = [node for node in nodes if node.type == standard_artifacts.Model.TYPE_NAME]
    if not models:
        return None
    node = max(models, key=lambda model: model.id)
    (kind,) = store.get_artifact_types_by_id([node.type_id])
    return artifact_utils.deserialize_artifact(kind, node)
