"""The taxi pipeline, without a runner: shaped like TFX's taxi tutorial.

    CsvExampleGen --> StatisticsGen --> SchemaGen
         |                                 |
         +------------> Transform <--------+
         |                  |
         |                  v
         |               Trainer ------> ModelRegistrar
         |                  |                  |
         |                  v                  v
         +-------------> VersionGate ------> Promoter

VersionGate runs TFMA by itself, on the raw trips of the split for evaluation: on the new model
and on what serves, each with its own Transform graph.
"""

from collections.abc import Sequence
from typing import Any

from tfx import v1 as tfx

from tfx_registry.components import ModelRegistrar, Promoter, VersionGate
from tfx_registry.gate import GatePolicy
from tfx_registry.pipelines.taxi.data import EVAL_SPLIT, TRAIN_SPLIT
from tfx_registry.pipelines.taxi.evaluation import eval_config
from tfx_registry.pipelines.taxi.hyperparameters import Hyperparameters
from tfx_registry.pipelines.taxi.policy import default_policy

__all__ = ["PREPROCESSING_FN", "RUN_FN", "create_pipeline"]

PREPROCESSING_FN = "tfx_registry.pipelines.taxi.preprocessing.preprocessing_fn"
RUN_FN = "tfx_registry.pipelines.taxi.trainer.run_fn"


def create_pipeline(
    *,
    pipeline_name: str,
    pipeline_root: str,
    data_root: str,
    serving_dir: str,
    registry_uri: str | None,
    metadata_connection_config: Any = None,
    model_name: str = "taxi",
    hyperparameters: Hyperparameters | None = None,
    policy: GatePolicy | None = None,
    alias: str = "production",
    description: str | None = None,
    enable_cache: bool = True,
    beam_pipeline_args: Sequence[str] | None = None,
) -> tfx.dsl.Pipeline:
    """Builds the pipeline; any TFX runner can run it.

    Args:
        pipeline_name: The pipeline's name in ML Metadata.
        pipeline_root: Where the artifacts go.
        data_root: A folder with `train/*.csv` and `eval/*.csv`, see `data.write_taxi_csv`.
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

    Returns:
        The pipeline.
    """
    settings = (hyperparameters or Hyperparameters()).to_mapping()
    components = tfx.components
    example_gen = components.CsvExampleGen(input_base=data_root, input_config=_input_config())
    statistics_gen = components.StatisticsGen(examples=example_gen.outputs["examples"])
    schema_gen = components.SchemaGen(statistics=statistics_gen.outputs["statistics"])
    transform = components.Transform(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        preprocessing_fn=PREPROCESSING_FN,
        splits_config=tfx.proto.SplitsConfig(analyze=[TRAIN_SPLIT], transform=[TRAIN_SPLIT]),
    )
    trainer = components.Trainer(
        run_fn=RUN_FN,
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema_gen.outputs["schema"],
        train_args=tfx.proto.TrainArgs(splits=[TRAIN_SPLIT]),
        eval_args=tfx.proto.EvalArgs(splits=[TRAIN_SPLIT]),
        custom_config=settings,
    )
    registrar = ModelRegistrar(
        model=trainer.outputs["model"],
        model_name=model_name,
        registry=registry_uri,
        lineage={
            "examples": example_gen.outputs["examples"],
            "schema": schema_gen.outputs["schema"],
            "transform_graph": transform.outputs["transform_graph"],
        },
        description=description,
        hyperparameters=settings,
    )
    gate = VersionGate(
        model_version=registrar.outputs["model_version"],
        model=trainer.outputs["model"],
        examples=example_gen.outputs["examples"],
        example_splits=[EVAL_SPLIT],
        eval_config=eval_config(),
        policy=policy or default_policy(),
        registry=registry_uri,
        alias=alias,
    )
    promoter = Promoter(
        model=trainer.outputs["model"],
        model_version=registrar.outputs["model_version"],
        blessing=gate.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=serving_dir)
        ),
        registry=registry_uri,
        alias=alias,
    )
    return tfx.dsl.Pipeline(
        pipeline_name=pipeline_name,
        pipeline_root=pipeline_root,
        components=[
            example_gen,
            statistics_gen,
            schema_gen,
            transform,
            trainer,
            registrar,
            gate,
            promoter,
        ],
        enable_cache=enable_cache,
        metadata_connection_config=metadata_connection_config,
        beam_pipeline_args=list(beam_pipeline_args or []),
    )


def _input_config() -> tfx.proto.Input:
    """Returns the splits of the raw data, one folder each."""
    split = tfx.proto.Input.Split
    return tfx.proto.Input(
        splits=[split(name=name, pattern=f"{name}/*.csv") for name in (TRAIN_SPLIT, EVAL_SPLIT)]
    )
