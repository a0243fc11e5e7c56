"""The declaration of VersionGate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from google.protobuf import message
from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter
from tfx.utils import proto_utils

from tfx_registry import codec, names
from tfx_registry.components.artifacts import GateReport, ModelVersion
from tfx_registry.components.version_gate import executor
from tfx_registry.components.version_gate.data_identity import DEFAULT_SPLITS
from tfx_registry.components.version_gate.driver import VersionGateDriver
from tfx_registry.components.version_gate.own_evaluation import config_for
from tfx_registry.errors import InvalidInputError
from tfx_registry.gate import GatePolicy
from tfx_registry.registry.uri import RegistryUri

__all__ = ["EvaluatingGateSpec", "VersionGate", "VersionGateSpec"]


class VersionGateSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of a gate that is handed an evaluation.

    Policy, EvalConfig and splits travel as JSON text.
    """

    PARAMETERS: ClassVar[dict[str, Any]] = {
        executor.POLICY: ExecutionParameter(type=str),
        executor.REGISTRY: ExecutionParameter(type=str, optional=True),
        executor.ALIAS: ExecutionParameter(type=str, optional=True),
        executor.EXAMPLE_SPLITS: ExecutionParameter(type=str, optional=True),
    }
    INPUTS: ClassVar[dict[str, Any]] = {
        executor.MODEL_VERSION: ChannelParameter(type=ModelVersion),
        executor.MODEL: ChannelParameter(type=standard_artifacts.Model),
        executor.EVALUATION: ChannelParameter(type=standard_artifacts.ModelEvaluation),
        executor.INFRA_BLESSING: ChannelParameter(
            type=standard_artifacts.InfraBlessing, optional=True
        ),
        executor.EXAMPLES: ChannelParameter(type=standard_artifacts.Examples, optional=True),
    }
    OUTPUTS: ClassVar[dict[str, Any]] = {
        executor.BLESSING: ChannelParameter(type=standard_artifacts.ModelBlessing),
        executor.REPORT: ChannelParameter(type=GateReport),
    }


class EvaluatingGateSpec(VersionGateSpec):
    """The same for a gate that evaluates by itself.

    `evaluation` is its own evaluation here, an output; one that is handed over as well is the
    input `given_evaluation`, because TFX allows a name only once in a component.
    """

    PARAMETERS: ClassVar[dict[str, Any]] = {
        **VersionGateSpec.PARAMETERS,
        executor.EVAL_CONFIG: ExecutionParameter(type=str),
        executor.EXAMPLE_SPLITS: ExecutionParameter(type=str),
    }
    INPUTS: ClassVar[dict[str, Any]] = {
        **{k: v for k, v in VersionGateSpec.INPUTS.items() if k != executor.EVALUATION},
        executor.GIVEN_EVALUATION: ChannelParameter(
            type=standard_artifacts.ModelEvaluation, optional=True
        ),
        executor.EXAMPLES: ChannelParameter(type=standard_artifacts.Examples),
        executor.SCHEMA: ChannelParameter(type=standard_artifacts.Schema, optional=True),
    }
    OUTPUTS: ClassVar[dict[str, Any]] = {
        **VersionGateSpec.OUTPUTS,
        executor.EVALUATION: ChannelParameter(type=standard_artifacts.ModelEvaluation),
    }


class VersionGate(base_beam_component.BaseBeamComponent):
    """Decides on a version by its TFMA evaluation, and records the decision.

    The decision is an event of the version in the registry. A blocked version does not fail the
    pipeline; it is not blessed, and Promoter leaves it alone.

    The evaluation comes from Evaluator, or the gate makes it: then TFMA runs on Beam, with the
    pipeline's `beam_pipeline_args` or the component's own (`with_beam_pipeline_args`), for the
    candidate and the version that serves in one pass over the examples. That works on every
    orchestrator, also where resolvers of one's own do not.

    Example:
        gate = VersionGate(
            model_version=registrar.outputs["model_version"],
            model=trainer.outputs["model"],
            evaluation=evaluator.outputs["evaluation"],
            policy=GatePolicy(value_thresholds=[ValueThreshold("auc", lower_bound=0.9)]),
        )
        gate = VersionGate(
            model_version=registrar.outputs["model_version"],
            model=trainer.outputs["model"],
            examples=example_gen.outputs["examples"],
            eval_config=eval_config,
            policy=GatePolicy(value_thresholds=[ValueThreshold("auc", lower_bound=0.9)]),
        )

    The output `blessing` is a standard ModelBlessing, which stock Pusher and
    LatestBlessedModelStrategy accept; `report` is a `tfx_registry.GateReport`; `evaluation`, where
    the gate evaluates by itself, is a standard ModelEvaluation. It stays empty when the gate did
    not need it, or blocked without it.

    What serves is no input of a gate that evaluates by itself, so the cache of TFX does not know
    when it changes: to have a model decided on again against what serves now, run without cache.
    """

    SPEC_CLASS = VersionGateSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
    DRIVER_CLASS = VersionGateDriver

    def __init__(
        self,
        model_version: types.BaseChannel,
        model: types.BaseChannel,
        evaluation: types.BaseChannel | None = None,
        policy: GatePolicy | None = None,
        registry: str | None = None,
        alias: str = "production",
        *,
        examples: types.BaseChannel | None = None,
        eval_config: Any = None,
        schema: types.BaseChannel | None = None,
        example_splits: Sequence[str] | None = None,
        infra_blessing: types.BaseChannel | None = None,
    ) -> None:
        """Declares the component.

        Args:
            model_version: The version to decide on, from ModelRegistrar.
            model: The Model that was registered.
            evaluation: The TFMA evaluation of the model, usually from Evaluator; with the version
                that serves as its baseline (see ProductionModelStrategy). With `examples` and
                `eval_config` as well, the gate evaluates by itself only when this one was not
                made against what serves at the time of the decision.
            policy: What the version must show. None takes the thresholds of `eval_config`, and
                the defaults of GatePolicy for all else.
            registry: URI of the registry; None means the variable `TFX_REGISTRY_URI` where the
                component runs.
            alias: The alias whose serving version is the baseline.
            examples: Examples to evaluate on; with them and `eval_config` the gate evaluates by
                itself. Beside `evaluation` and without `eval_config` they only say in the record
                what was evaluated, where the lineage in ML Metadata does not.
            eval_config: The `tfma.EvalConfig` to evaluate with: metrics, slices, label. Its
                thresholds decide only where there is no policy.
            schema: Schema of the examples, for models that want tensors instead of serialized
                examples.
            example_splits: Splits to evaluate on, or that were evaluated; None means "eval".
            infra_blessing: What InfraValidator said, for policies that ask for it.

        Raises:
            InvalidInputError: The arguments do not fit together, or a name, the URI, the policy
                or the EvalConfig is invalid. Known when the pipeline is built, not when it runs.
        """
        names.check_alias(alias)
        if registry is not None:
            RegistryUri.parse(registry)
        _check_sources(evaluation, examples, eval_config, schema, example_splits, policy)
        if policy is None:
            policy = GatePolicy.from_eval_config(eval_config)
        if policy.require_infra_blessing and infra_blessing is None:
            raise InvalidInputError(
                "cannot build VersionGate",
                "the policy asks for an InfraBlessing, and none is connected, so it would always "
                "block",
                "connect infra_blessing to InfraValidator",
            )
        shared: dict[str, Any] = {
            executor.MODEL_VERSION: model_version,
            executor.MODEL: model,
            executor.INFRA_BLESSING: infra_blessing,
            executor.BLESSING: types.Channel(type=standard_artifacts.ModelBlessing),
            executor.REPORT: types.Channel(type=GateReport),
            executor.POLICY: policy.to_json(),
            executor.REGISTRY: registry,
            executor.ALIAS: alias,
        }
        if examples is None or eval_config is None:
            splits = codec.dumps(list(example_splits)) if example_splits else None
            shared |= {executor.EXAMPLES: examples, executor.EXAMPLE_SPLITS: splits}
            super().__init__(spec=VersionGateSpec(evaluation=evaluation, **shared))
            return
        config = _as_json(eval_config)
        config_for(config, has_baseline=True)
        super().__init__(
            spec=EvaluatingGateSpec(
                given_evaluation=evaluation,
                examples=examples,
                schema=schema,
                evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
                eval_config=config,
                example_splits=codec.dumps(list(example_splits or DEFAULT_SPLITS)),
                **shared,
            )
        )


def _as_json(eval_config: Any) -> str:
    if isinstance(eval_config, message.Message):
        return str(proto_utils.proto_to_json(eval_config))
    raise InvalidInputError(
        "invalid eval_config",
        f"it is of the type {type(eval_config).__name__}",
        "give a tfma.EvalConfig",
    )


def _check_sources(
    evaluation: Any,
    examples: Any,
    eval_config: Any,
    schema: Any,
    example_splits: Sequence[str] | None,
    policy: GatePolicy | None,
) -> None:
    """Checks that the numbers come from somewhere, and that no argument is without effect."""
    if evaluation is None and examples is None:
        why, todo = "there are no numbers to decide on", "give evaluation, or examples"
    elif evaluation is None and eval_config is None:
        why, todo = "examples without eval_config", "say with eval_config what to measure"
    elif policy is None and eval_config is None:
        why, todo = "there is no policy", "give policy, or eval_config with thresholds"
    elif examples is None and policy is not None and eval_config is not None:
        why = "eval_config has no use: there are no examples, and the policy decides"
        todo = "give examples as well, or leave eval_config out"
    elif examples is None and (schema is not None or example_splits is not None):
        why, todo = "schema and example_splits have no use without examples", "leave them out"
    elif eval_config is None and schema is not None:
        why, todo = "schema has no use without eval_config", "leave it out"
    elif isinstance(example_splits, str) or (example_splits is not None and not example_splits):
        why = f"example_splits is a list of names, not {example_splits!r}"
        todo = 'write example_splits=["eval"]'
    else:
        return
    raise InvalidInputError("cannot build VersionGate", why, todo)
