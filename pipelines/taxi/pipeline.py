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
from tfx_registry.pipelines.csv_files import EVAL_SPLIT, TRAIN_SPLIT
from tfx_registry.pipelines.taxi.evaluation import eval_config
from tfx_registry.pipelines.taxi.hyperparameters import Hyperparameters
from tfx_registry.pipelines.taxi.policy import default_policy
from tfx_registry.pipelines.wiring import push_destination, read_csv

__all__ = ["MODEL_NAME", "PREPROCESSING_FN", "RUN_FN", "create_pipeline"]

MODEL_NAME = "taxi"
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
    hyperparameters: Hyperparameters | None = None,
    policy: GatePolicy | None = None,
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
        hyperparameters: How to train; `None` takes the defaults.
        policy: When a version may serve; `None` takes `default_policy()`.
        enable_cache: Whether components with the same inputs and properties reuse their outputs.
        beam_pipeline_args: Options for the components that run on Beam.

    Returns:
        The pipeline.
    """
    settings = (hyperparameters or Hyperparameters()).to_mapping()
    data = read_csv(data_root)
    examples, schema = data.example_gen.outputs["examples"], data.schema_gen.outputs["schema"]
    transform = tfx.components.Transform(
        examples=examples,
        schema=schema,
        preprocessing_fn=PREPROCESSING_FN,
        splits_config=tfx.proto.SplitsConfig(analyze=[TRAIN_SPLIT], transform=[TRAIN_SPLIT]),
    )
    trainer = tfx.components.Trainer(
        run_fn=RUN_FN,
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema,
        train_args=tfx.proto.TrainArgs(splits=[TRAIN_SPLIT]),
        eval_args=tfx.proto.EvalArgs(splits=[TRAIN_SPLIT]),
        custom_config=settings,
    )
    registrar = ModelRegistrar(
        model=trainer.outputs["model"],
        model_name=MODEL_NAME,
        registry=registry_uri,
        lineage={
            "examples": examples,
            "schema": schema,
            "transform_graph": transform.outputs["transform_graph"],
        },
        hyperparameters=settings,
    )
    gate = VersionGate(
        model_version=registrar.outputs["model_version"],
        model=trainer.outputs["model"],
        examples=examples,
        example_splits=[EVAL_SPLIT],
        eval_config=eval_config(),
        policy=policy or default_policy(),
        registry=registry_uri,
    )
    promoter = Promoter(
        model=trainer.outputs["model"],
        model_version=registrar.outputs["model_version"],
        blessing=gate.outputs["blessing"],
        push_destination=push_destination(serving_dir),
        registry=registry_uri,
    )
    return tfx.dsl.Pipeline(
        pipeline_name=pipeline_name,
        pipeline_root=pipeline_root,
        components=[*data, transform, trainer, registrar, gate, promoter],
        enable_cache=enable_cache,
        metadata_connection_config=metadata_connection_config,
        beam_pipeline_args=list(beam_pipeline_args or []),
    )
