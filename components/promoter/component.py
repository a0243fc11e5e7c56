"""The declaration of Promoter."""

from __future__ import annotations

from typing import Any, ClassVar

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import pusher_pb2
from tfx.types import component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from tfx_registry import names
from tfx_registry.components import driver
from tfx_registry.components.artifacts import ModelVersion
from tfx_registry.components.promoter import executor
from tfx_registry.errors import ServingDirectoryError
from tfx_registry.operations import ByConfig, Retention, Servers
from tfx_registry.registry.uri import RegistryUri
from tfx_registry.serving import SmokeTest

__all__ = ["Promoter", "PromoterSpec"]


class PromoterSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters; `push_destination` is that of Pusher."""

    PARAMETERS: ClassVar[dict[str, Any]] = {
        executor.PUSH_DESTINATION: ExecutionParameter(type=pusher_pb2.PushDestination),
        executor.REGISTRY: ExecutionParameter(type=str, optional=True),
        executor.ALIAS: ExecutionParameter(type=str, optional=True),
        executor.REQUIRED_APPROVALS: ExecutionParameter(type=int, optional=True),
        executor.RETENTION: ExecutionParameter(type=str, optional=True),
        executor.SERVERS: ExecutionParameter(type=str, optional=True),
        executor.BY_CONFIG: ExecutionParameter(type=str, optional=True),
        executor.SMOKE_TEST: ExecutionParameter(type=str, optional=True),
    }
    INPUTS: ClassVar[dict[str, Any]] = {
        executor.MODEL: ChannelParameter(type=standard_artifacts.Model),
        executor.MODEL_VERSION: ChannelParameter(type=ModelVersion),
        executor.BLESSING: ChannelParameter(type=standard_artifacts.ModelBlessing, optional=True),
        executor.INFRA_BLESSING: ChannelParameter(
            type=standard_artifacts.InfraBlessing, optional=True
        ),
    }
    OUTPUTS: ClassVar[dict[str, Any]] = {
        executor.PUSHED_MODEL: ChannelParameter(type=standard_artifacts.PushedModel)
    }


class Promoter(base_component.BaseComponent):
    """Publishes a version into a serving directory, if the registry says that it may.

    The version becomes `<base_directory>/<number>` in one step, with bytes equal to the
    registered ones, and the alias moves to it. A version that is not blessed is left alone, and
    `pushed_model` says so, as Pusher's does.

    Example:
        promoter = Promoter(
            model=trainer.outputs["model"],
            model_version=registrar.outputs["model_version"],
            blessing=gate.outputs["blessing"],
            push_destination=PushDestination(
                filesystem=PushDestination.Filesystem(base_directory="serving/penguin")
            ),
        )

    The output `pushed_model` is a standard PushedModel.
    """

    SPEC_CLASS = PromoterSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
    DRIVER_CLASS = driver.RegistryDriver

    def __init__(
        self,
        model: types.BaseChannel,
        model_version: types.BaseChannel,
        push_destination: Any,
        blessing: types.BaseChannel | None = None,
        infra_blessing: types.BaseChannel | None = None,
        registry: str | None = None,
        alias: str = "production",
        required_approvals: int = 0,
        retention: Retention | None = None,
        servers: Servers | None = None,
        by_config: ByConfig | None = None,
        smoke_test: SmokeTest | None = None,
    ) -> None:
        """Declares the component.

        Args:
            model: The Model that was registered.
            model_version: The version, from ModelRegistrar.
            push_destination: Pusher's `PushDestination` with a `filesystem`; its `versioning` is
                not used, the directory is named by the version number.
            blessing: VersionGate's blessing. The decision in the registry is checked with or
                without it.
            infra_blessing: InfraValidator's blessing; without it, not asked for.
            registry: URI of the registry; None means the variable `TFX_REGISTRY_URI` where the
                component runs.
            alias: The alias that moves to the version.
            required_approvals: How many people besides the registrant must have approved the
                version; until then it is not pushed. The access policy may ask for more.
            retention: Which versions stay in the directory after a promotion; None means all. What
                serves, has an alias or the label `keep`, and what a rollback would go back to
                always stays.
            servers: Model servers that must serve the version; where they do not, it is rolled
                back and the component fails. None means that nobody is asked.
            by_config: The model config that tells servers what to load, and whether a version
                goes on trial first; None means that servers load the latest. While another version
                is on trial, nothing is pushed.
            smoke_test: Examples on which the copy has to predict before a server can see it; where
                it does not, the component fails and nothing is published. None means that it is
                not asked.

        Raises:
            InvalidInputError: The alias, the URI or the destination is invalid.
        """
        names.check_alias(alias)
        if registry is not None:
            RegistryUri.parse(registry)
        if isinstance(push_destination, pusher_pb2.PushDestination):
            _check_destination(push_destination)
        super().__init__(
            spec=PromoterSpec(
                model=model,
                model_version=model_version,
                blessing=blessing,
                infra_blessing=infra_blessing,
                pushed_model=types.Channel(type=standard_artifacts.PushedModel),
                push_destination=push_destination,
                registry=registry,
                alias=alias,
                required_approvals=required_approvals,
                retention=retention.to_json() if retention is not None else None,
                servers=servers.to_json() if servers is not None else None,
                by_config=by_config.to_json() if by_config is not None else None,
                smoke_test=smoke_test.to_json() if smoke_test is not None else None,
            )
        )


def _check_destination(destination: Any) -> None:
    if not destination.filesystem.base_directory:
        raise ServingDirectoryError(
            "invalid push_destination",
            "it names no filesystem.base_directory",
            "give PushDestination(filesystem=PushDestination.Filesystem(base_directory=...))",
        )
