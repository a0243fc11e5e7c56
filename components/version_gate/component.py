"""The declaration of VersionGate."""

from __future__ import annotations

from typing import Any, ClassVar

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from tfx_registry import names
from tfx_registry.components.artifacts import GateReport, ModelVersion
from tfx_registry.components.version_gate import executor
from tfx_registry.gate import GatePolicy
from tfx_registry.registry.uri import RegistryUri

__all__ = ["VersionGate", "VersionGateSpec"]


class VersionGateSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters. The policy travels as JSON text."""

    PARAMETERS: ClassVar[dict[str, Any]] = {
        executor.POLICY: ExecutionParameter(type=str),
        executor.REGISTRY: ExecutionParameter(type=str, optional=True),
        executor.ALIAS: ExecutionParameter(type=str, optional=True),
    }
    INPUTS: ClassVar[dict[str, Any]] = {
        executor.MODEL_VERSION: ChannelParameter(type=ModelVersion),
        executor.MODEL: ChannelParameter(type=standard_artifacts.Model),
        executor.EVALUATION: ChannelParameter(type=standard_artifacts.ModelEvaluation),
    }
    OUTPUTS: ClassVar[dict[str, Any]] = {
        executor.BLESSING: ChannelParameter(type=standard_artifacts.ModelBlessing),
        executor.REPORT: ChannelParameter(type=GateReport),
    }


class VersionGate(base_component.BaseComponent):
    """Decides on a version by its TFMA evaluation, and records the decision.

    The decision is an event of the version in the registry. A blocked version does not fail the
    pipeline; it is not blessed, and Promoter leaves it alone.

    Example:
        gate = VersionGate(
            model_version=registrar.outputs["model_version"],
            model=trainer.outputs["model"],
            evaluation=evaluator.outputs["evaluation"],
            policy=GatePolicy(value_thresholds=[ValueThreshold("auc", lower_bound=0.9)]),
        )

    The output `blessing` is a standard ModelBlessing, which stock Pusher and
    LatestBlessedModelStrategy accept; `report` is a `tfx_registry.GateReport`.
    """

    SPEC_CLASS = VersionGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model_version: types.BaseChannel,
        model: types.BaseChannel,
        evaluation: types.BaseChannel,
        policy: GatePolicy,
        registry: str | None = None,
        alias: str = "production",
    ) -> None:
        """Declares the component.

        Args:
            model_version: The version to decide on, from ModelRegistrar.
            model: The Model that was registered.
            evaluation: The TFMA evaluation of the model, usually from Evaluator; with the version
                that serves as its baseline (see ProductionModelStrategy).
            policy: What the version must show.
            registry: URI of the registry; None means the variable `TFX_REGISTRY_URI` where the
                component runs.
            alias: The alias whose serving version is the baseline.

        Raises:
            InvalidInputError: The alias or the URI is invalid.
        """
        names.check_alias(alias)
        if registry is not None:
            RegistryUri.parse(registry)
        super().__init__(
            spec=VersionGateSpec(
                model_version=model_version,
                model=model,
                evaluation=evaluation,
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
                report=types.Channel(type=GateReport),
                policy=policy.to_json(),
                registry=registry,
                alias=alias,
            )
        )
