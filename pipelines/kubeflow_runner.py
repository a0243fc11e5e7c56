r"""Compiles the penguin pipeline for Kubeflow Pipelines 2; nothing is run or sent.

Example:
    python -m tfx_registry.pipelines.kubeflow_runner --output-file penguin_pipeline.json \
        --image registry.example.com/tfx-registry --registry postgresql://tfx@postgres/registry \
        --volume /mnt/penguin

All paths are those that the containers see. Kubeflow rejects resolvers of one's own, so here the
gate evaluates by itself: it asks the registry what serves, and runs TFMA on both models. The
password of the registry is not part of the pipeline: containers get `TFX_REGISTRY_PASSWORD` or
`TFX_REGISTRY_PASSWORD_FILE` from a Secret.
"""

from __future__ import annotations

from pathlib import Path

import click

from tfx_registry.pipelines.options import IN_MEMORY_BEAM_ARGS
from tfx_registry.pipelines.penguin.hyperparameters import Hyperparameters

__all__ = ["compile_pipeline", "main"]


def compile_pipeline(
    output_file: Path,
    *,
    image: str,
    registry: str,
    volume: str,
    pipeline_name: str = "penguin",
    hyperparameters: Hyperparameters | None = None,
) -> None:
    """Writes the pipeline as a PipelineJob that Kubeflow Pipelines and Vertex AI take.

    Args:
        output_file: Where to write the JSON.
        image: A container image with this package and TFX.
        registry: URI of the registry, without a password; a server, because every task is a
            container of its own.
        volume: Folder with `data/train/*.csv` and `data/eval/*.csv` that every container mounts;
            artifacts go to `pipeline`, and served versions to `serving/penguin` in it.
        pipeline_name: Name of the pipeline.
        hyperparameters: How to train; None takes the defaults.
    """
    from tfx import v1 as tfx

    from tfx_registry.pipelines.penguin.pipeline import create_pipeline

    pipeline = create_pipeline(
        pipeline_name=pipeline_name,
        pipeline_root=f"{volume}/pipeline",
        data_root=f"{volume}/data",
        serving_dir=f"{volume}/serving/penguin",
        registry_uri=registry,
        hyperparameters=hyperparameters,
        # Kubeflow's cache does not know what serves, and that decides what the gate says.
        enable_cache=False,
        beam_pipeline_args=IN_MEMORY_BEAM_ARGS,
        gate_evaluates=True,
    )
    config = tfx.orchestration.experimental.KubeflowV2DagRunnerConfig(
        default_image=image, use_pipeline_spec_2_1=True
    )
    runner = tfx.orchestration.experimental.KubeflowV2DagRunner(
        config=config, output_dir=str(output_file.parent), output_filename=output_file.name
    )
    runner.run(pipeline)


@click.command()
@click.option("--output-file", type=click.Path(path_type=Path), required=True)
@click.option("--image", required=True, help="Container image with this package and TFX.")
@click.option("--registry", required=True, envvar="TFX_REGISTRY_URI", help="URI of the registry.")
@click.option("--volume", required=True, help="Folder that every container mounts.")
@click.option("--pipeline-name", default="penguin", show_default=True)
@click.option("--epochs", type=int, default=Hyperparameters().epochs, show_default=True)
def main(
    output_file: Path, image: str, registry: str, volume: str, pipeline_name: str, epochs: int
) -> None:
    """Compile the penguin pipeline for Kubeflow Pipelines."""
    try:
        hyperparameters = Hyperparameters(epochs=epochs)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    compile_pipeline(
        output_file,
        image=image,
        registry=registry,
        volume=volume.rstrip("/"),
        pipeline_name=pipeline_name,
        hyperparameters=hyperparameters,
    )


if __name__ == "__main__":
    main()
