"""The penguin pipeline, without a runner: from raw CSV to a version that serves.

    CsvExampleGen ---> StatisticsGen ---> SchemaGen
         |
         v
      Trainer -------> ModelRegistrar ----------+
         |                                      v
         +-----------> Evaluator ---------> VersionGate ---> Promoter
                          ^
                          |
              production_model_resolver   (what serves now, says the registry)

Every model is registered, also one that is blocked; only one that passes the gate is published.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tfx import v1 as tfx

from tfx_registry.components import (
    ModelRegistrar,
    ProductionModelStrategy,
    Promoter,
    VersionGate,
)
from tfx_registry.gate import GatePolicy
from tfx_registry.pipelines.csv_files import EVAL_SPLIT, TRAIN_SPLIT
from tfx_registry.pipelines.penguin.evaluation import eval_config
from tfx_registry.pipelines.penguin.hyperparameters import Hyperparameters
from tfx_registry.pipelines.penguin.policy import default_policy
from tfx_registry.pipelines.wiring import Data, push_destination, read_csv

RUN_FN = "tfx_registry.pipelines.penguin.trainer.run_fn"
"""The training function, by its path: no user module has to be packed."""

RESOLVER_ID = "production_model_resolver"


def create_pipeline(
    *,
    pipeline_name: str,
    pipeline_root: str,
    data_root: str,
    serving_dir: str,
    registry_uri: str | None,
    metadata_connection_config: Any = None,
    model_name: str = "penguin",
    hyperparameters: Hyperparameters | None = None,
    policy: GatePolicy | None = None,
    alias: str = "production",
    description: str | None = None,
    enable_cache: bool = True,
    beam_pipeline_args: Sequence[str] | None = None,
    gate_evaluates: bool = False,
) -> tfx.dsl.Pipeline:
    """Builds the pipeline; any TFX runner can run it.

    Args:
        pipeline_name: The pipeline's name in ML Metadata.
        pipeline_root: Where the artifacts go.
        data_root: A folder with `train/*.csv` and `eval/*.csv`, see `data.write_penguin_csv`.
        serving_dir: The base directory that TensorFlow Serving watches for this model.
        registry_uri: The model registry; `None` takes it from the environment, see
            `ModelRegistry.open`.
        metadata_connection_config: How the runner reaches ML Metadata; `None` where the
            orchestrator brings its own.
        model_name: The model's name in the registry.
        hyperparameters: How to train; `None` takes the defaults.
        policy: When a version may serve; `None` takes `default_policy()`.
        alias: The alias of the version that serves; it names the baseline and moves on promotion.
        description: What is special about this model, kept with its version.
        enable_cache: Whether components with the same inputs and properties reuse their outputs.
        beam_pipeline_args: Options for the components that run on Beam.
        gate_evaluates: Whether VersionGate runs TFMA by itself, in the place of Evaluator and the
            resolver; for orchestrators that reject resolvers of one's own, such as Kubeflow.

    Returns:
        The pipeline.
    """
    settings = (hyperparameters or Hyperparameters()).to_mapping()
    data = read_csv(data_root)
    trainer = tfx.components.Trainer(
        run_fn=RUN_FN,
        examples=data.example_gen.outputs["examples"],
        schema=data.schema_gen.outputs["schema"],
        train_args=tfx.proto.TrainArgs(splits=[TRAIN_SPLIT]),
        eval_args=tfx.proto.EvalArgs(splits=[EVAL_SPLIT]),
        custom_config=settings,
    )
    registrar = ModelRegistrar(
        model=trainer.outputs["model"],
        model_name=model_name,
        registry=registry_uri,
        lineage={
            "examples": data.example_gen.outputs["examples"],
            "schema": data.schema_gen.outputs["schema"],
        },
        description=description,
        hyperparameters={name: value for name, value in settings.items() if value is not None},
    )
    deciding = _deciding(gate_evaluates, data, trainer, registry_uri, model_name, alias)
    gate = VersionGate(
        model_version=registrar.outputs["model_version"],
        model=trainer.outputs["model"],
        policy=policy or default_policy(),
        registry=registry_uri,
        alias=alias,
        **deciding.inputs,
    )
    promoter = Promoter(
        model=trainer.outputs["model"],
        model_version=registrar.outputs["model_version"],
        blessing=gate.outputs["blessing"],
        push_destination=push_destination(serving_dir),
        registry=registry_uri,
        alias=alias,
    )
    return tfx.dsl.Pipeline(
        pipeline_name=pipeline_name,
        pipeline_root=pipeline_root,
        components=[
            *data,
            trainer,
            registrar,
            *deciding.components,
            gate,
            promoter,
        ],
        enable_cache=enable_cache,
        metadata_connection_config=metadata_connection_config,
        beam_pipeline_args=list(beam_pipeline_args or []),
    )


class _Deciding(NamedTuple):
    """Where the gate's numbers come from: its inputs, and the components that they need."""

    inputs: dict[str, Any]
    components: tuple[Any, ...] = ()


def _deciding(
    gate_evaluates: bool,
    data: Data,
    trainer: Any,
    registry_uri: str | None,
    model_name: str,
    alias: str,
) -> _Deciding:
    evaluating = {
        "examples": data.example_gen.outputs["examples"],
        "example_splits": [EVAL_SPLIT],
        "schema": data.schema_gen.outputs["schema"],
        "eval_config": eval_config(),
    }
    if gate_evaluates:
        return _Deciding(evaluating)
    config = {"model_name": model_name, "alias": alias}
    if registry_uri is not None:  # TFX cannot write None into a pipeline
        config["registry"] = registry_uri
    resolver = tfx.dsl.Resolver(
        strategy_class=ProductionModelStrategy,
        config=config,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
    ).with_id(RESOLVER_ID)
    evaluator = tfx.components.Evaluator(
        model=trainer.outputs["model"], baseline_model=resolver.outputs["model"], **evaluating
    )
    return _Deciding({"evaluation": evaluator.outputs["evaluation"]}, (resolver, evaluator))
