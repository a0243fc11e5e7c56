"""The declaration of ModelRegistrar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from tfx_registry import codec, names
from tfx_registry.components import driver
from tfx_registry.components.artifacts import ModelVersion
from tfx_registry.components.model_registrar import executor
from tfx_registry.errors import InvalidInputError
from tfx_registry.registry.uri import RegistryUri

__all__ = ["ModelRegistrar", "ModelRegistrarSpec"]


class ModelRegistrarSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters; `ModelRegistrar` adds one input for each lineage key."""

    PARAMETERS: ClassVar[dict[str, Any]] = {
        executor.MODEL_NAME: ExecutionParameter(type=str),
        executor.REGISTRY: ExecutionParameter(type=str, optional=True),
        executor.DESCRIPTION: ExecutionParameter(type=str, optional=True),
        executor.LABELS: ExecutionParameter(type=str, optional=True),
        executor.HYPERPARAMETERS: ExecutionParameter(type=str, optional=True),
        executor.SEMANTIC_VERSION: ExecutionParameter(type=str, optional=True),
    }
    INPUTS: ClassVar[dict[str, Any]] = {
        executor.MODEL: ChannelParameter(type=standard_artifacts.Model),
        executor.EVALUATION: ChannelParameter(
            type=standard_artifacts.ModelEvaluation, optional=True
        ),
    }
    OUTPUTS: ClassVar[dict[str, Any]] = {
        executor.MODEL_VERSION: ChannelParameter(type=ModelVersion)
    }


class ModelRegistrar(base_component.BaseComponent):
    """Registers a model as the next version under a name, with its lineage.

    Registering the same model artifact again in the same run (a retry) returns the same version.

    Example:
        registrar = ModelRegistrar(
            model=trainer.outputs["model"],
            model_name="penguin",
            registry="sqlite:///metadata.sqlite",
            lineage={"examples": example_gen.outputs["examples"]},
        )

    The output `model_version` is a `tfx_registry.ModelVersion` that points at the version.
    """

    SPEC_CLASS = ModelRegistrarSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
    DRIVER_CLASS = driver.RegistryDriver

    def __init__(
        self,
        model: types.BaseChannel,
        model_name: str,
        registry: str | None = None,
        lineage: Mapping[str, types.BaseChannel] | None = None,
        evaluation: types.BaseChannel | None = None,
        description: str | None = None,
        labels: Mapping[str, str] | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        semantic_version: str | None = None,
    ) -> None:
        """Declares the component.

        Args:
            model: The Model to register, usually from Trainer.
            model_name: Name of the model in the registry.
            registry: URI of the registry; None means the variable `TFX_REGISTRY_URI` where the
                component runs.
            lineage: What the model came from, by role: `examples`, `schema`, `transform_graph`,
                or any other artifacts under any name.
            evaluation: A TFMA evaluation of the model, recorded as its metrics.
            description: Free text.
            labels: Labels by key.
            hyperparameters: Parameters of the training by name. What Tuner found is added where its
                `best_hyperparameters` are in the lineage; a name given here wins.
            semantic_version: Optional semantic version.

        Raises:
            InvalidInputError: A name, a label or the URI is invalid. Known when the pipeline is
                built, not when it runs.
        """
        names.check_model_name(model_name)
        if registry is not None:
            RegistryUri.parse(registry)
        for key, value in (labels or {}).items():
            names.check_label(key, value)
        sources = dict(lineage or {})
        spec_class = _spec_with(sources)
        super().__init__(
            spec=spec_class(
                model=model,
                evaluation=evaluation,
                model_version=types.Channel(type=ModelVersion),
                model_name=model_name,
                registry=registry,
                description=description,
                labels=codec.dumps(labels) if labels else None,
                hyperparameters=codec.dumps({k: str(v) for k, v in hyperparameters.items()})
                if hyperparameters
                else None,
                semantic_version=semantic_version,
                **sources,
            )
        )


def _spec_with(sources: Mapping[str, types.BaseChannel]) -> type[ModelRegistrarSpec]:
    """Makes the spec with an input for each lineage key."""
    taken = {
        *ModelRegistrarSpec.INPUTS,
        *ModelRegistrarSpec.OUTPUTS,
        *ModelRegistrarSpec.PARAMETERS,
    }
    for key in sources:
        if not key.isidentifier() or key in taken:
            raise InvalidInputError(
                f"invalid lineage key {key!r}",
                "a key is a Python identifier and none of " + ", ".join(sorted(taken)),
                "choose another key",
            )
    inputs = {key: ChannelParameter(type=channel.type) for key, channel in sources.items()}
    return type(
        ModelRegistrarSpec.__name__,
        (ModelRegistrarSpec,),
        {"INPUTS": {**ModelRegistrarSpec.INPUTS, **inputs}, "__module__": __name__},
    )
