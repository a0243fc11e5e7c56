r"""Compiles an example pipeline for Kubeflow Pipelines 2; nothing is run or sent.

Example:
    python -m tfx_registry.pipelines.kubeflow_runner --output-file penguin.yaml \
        --image registry.example.com/tfx-registry --volume /mnt/penguin

A file that ends in `.yaml` is for Kubeflow Pipelines, as its page "Upload pipeline" takes it: the
pipeline, and what its pods get from Kubernetes: the volume, the registry's URI from a ConfigMap,
its password from a Secret. One that ends in `.json` is a PipelineJob, as Vertex AI Pipelines takes
it; that one needs `--registry`.

All paths are those that the containers see. Kubeflow rejects resolvers of one's own, so here the
gate evaluates by itself: it asks the registry what serves, and runs TFMA on both models.
"""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
import yaml  # type: ignore[import-untyped]

from tfx_registry.errors import RegistryError
from tfx_registry.pipelines.options import IN_MEMORY_BEAM_ARGS
from tfx_registry.pipelines.penguin.hyperparameters import Hyperparameters
from tfx_registry.pipelines.taxi.hyperparameters import Hyperparameters as TaxiHyperparameters

__all__ = ["EXAMPLES", "compile_pipeline", "main", "platform_spec", "write_compiled"]

EXAMPLES: tuple[str, ...] = ("penguin", "taxi")
"""The pipelines that can be compiled here; each is the name of its model, too."""

_URI_VARIABLE = "TFX_REGISTRY_URI"
_PASSWORD_VARIABLE = "TFX_REGISTRY_PASSWORD"


def compile_pipeline(
    output_file: Path,
    *,
    image: str,
    volume: str,
    registry: str | None = None,
    example: str = "penguin",
    claim: str | None = None,
    settings: str = "tfx-registry",
    pipeline_name: str | None = None,
    hyperparameters: Hyperparameters | TaxiHyperparameters | None = None,
) -> None:
    """Writes the compiled pipeline.

    Args:
        output_file: Where to write; `.yaml` for Kubeflow Pipelines, `.json` for Vertex AI.
        image: A container image with this package and TFX.
        volume: Folder with `data/train/*.csv` and `data/eval/*.csv` that every container mounts;
            artifacts go to `pipeline`, and served versions to `serving/<example>` in it.
        registry: URI of the registry, without a password; a server, because every task is a
            container of its own. None takes it from the environment of the containers.
        example: Which pipeline, one of `EXAMPLES`.
        claim: The PersistentVolumeClaim to mount there; None takes one named like the example.
        settings: The ConfigMap with `TFX_REGISTRY_URI` and the Secret with
            `TFX_REGISTRY_PASSWORD`; both have this name.
        pipeline_name: Name of the pipeline; None takes the example's.
        hyperparameters: How to train, of the example's own class; None takes the defaults.

    Raises:
        InvalidInputError: The registry's URI is invalid, or holds a password.
    """
    create = _creator(example)
    pipeline = create(
        pipeline_name=pipeline_name or example,
        pipeline_root=f"{volume}/pipeline",
        data_root=f"{volume}/data",
        serving_dir=f"{volume}/serving/{example}",
        registry_uri=registry,
        hyperparameters=hyperparameters,
        # Kubeflow's cache does not know what serves, and that decides what the gate says.
        enable_cache=False,
        beam_pipeline_args=IN_MEMORY_BEAM_ARGS,
    )
    write_compiled(
        pipeline, output_file, image=image, volume=volume, claim=claim or example, settings=settings
    )


def _creator(example: str) -> Callable[..., Any]:
    """Returns what builds a pipeline in which the gate evaluates by itself; loads TFX."""
    if example == "taxi":
        from tfx_registry.pipelines.taxi.pipeline import create_pipeline as create_taxi

        return create_taxi
    from tfx_registry.pipelines.penguin.pipeline import create_pipeline

    return functools.partial(create_pipeline, gate_evaluates=True)


def write_compiled(
    pipeline: Any, output_file: Path, *, image: str, volume: str, claim: str, settings: str
) -> None:
    """Compiles any TFX pipeline and writes it.

    Args:
        pipeline: A `tfx.dsl.Pipeline` whose paths are those that the containers see.
        output_file: Where to write; `.yaml` for Kubeflow Pipelines, `.json` for Vertex AI.
        image: A container image with TFX, this package and what the pipeline imports.
        volume: Where the containers mount the volume.
        claim: The PersistentVolumeClaim to mount there.
        settings: Name of the ConfigMap and of the Secret.
    """
    from tfx import v1 as tfx

    config = tfx.orchestration.experimental.KubeflowV2DagRunnerConfig(
        default_image=image, use_pipeline_spec_2_1=True
    )
    with tempfile.TemporaryDirectory() as folder:
        runner = tfx.orchestration.experimental.KubeflowV2DagRunner(
            config=config, output_dir=folder, output_filename="job.json"
        )
        runner.run(pipeline)
        job = json.loads(Path(folder, "job.json").read_text(encoding="utf-8"))
    output_file.parent.mkdir(parents=True, exist_ok=True)
    if output_file.suffix in (".yaml", ".yml"):
        spec = job["pipelineSpec"]
        pods = platform_spec(
            spec["deploymentSpec"]["executors"], volume=volume, claim=claim, settings=settings
        )
        text = yaml.safe_dump_all([spec, pods], sort_keys=True)
    else:
        text = json.dumps(job, indent=2, sort_keys=True) + "\n"
    output_file.write_text(text, encoding="utf-8")


def platform_spec(
    executors: Iterable[str], *, volume: str, claim: str, settings: str
) -> dict[str, Any]:
    """Says what pods get from Kubernetes, as Kubeflow's `kfp-kubernetes` writes it.

    Args:
        executors: Labels of the executors in the compiled pipeline.
        volume: Where the volume is mounted.
        claim: The PersistentVolumeClaim.
        settings: Name of the ConfigMap and of the Secret.

    Returns:
        The second document of a compiled pipeline: the same for each executor.
    """

    def pod() -> dict[str, Any]:
        return {
            "pvcMount": [{"constant": claim, "mountPath": volume}],
            "configMapAsEnv": [
                {
                    "configMapName": settings,
                    "keyToEnv": [{"configMapKey": _URI_VARIABLE, "envVar": _URI_VARIABLE}],
                }
            ],
            "secretAsEnv": [
                {
                    "secretName": settings,
                    "keyToEnv": [{"secretKey": _PASSWORD_VARIABLE, "envVar": _PASSWORD_VARIABLE}],
                }
            ],
        }

    pods = {label: pod() for label in sorted(executors)}
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": pods}}}}


@click.command()
@click.option(
    "--output-file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Where to write: .yaml for Kubeflow Pipelines, .json for Vertex AI.",
)
@click.option("--image", required=True, help="Container image with this package and TFX.")
@click.option(
    "--registry",
    help=f"URI of the registry, without a password.  [default: the containers' ${_URI_VARIABLE}]",
)
@click.option("--volume", required=True, help="Folder that every container mounts.")
@click.option(
    "--example", type=click.Choice(EXAMPLES), default="penguin", show_default=True, help="Which."
)
@click.option("--claim", help="PersistentVolumeClaim to mount there.  [default: the example]")
@click.option(
    "--settings",
    default="tfx-registry",
    show_default=True,
    help=f"ConfigMap with {_URI_VARIABLE} and Secret with {_PASSWORD_VARIABLE}.",
)
@click.option("--pipeline-name", help="Name of the pipeline.  [default: the example]")
@click.option("--epochs", type=int, help="How long to train.  [default: the example's]")
def main(
    output_file: Path,
    registry: str | None,
    volume: str,
    example: str,
    epochs: int | None,
    **options: Any,
) -> None:
    """Compile an example pipeline for Kubeflow Pipelines or Vertex AI."""
    if registry is None and output_file.suffix == ".json":
        raise click.UsageError("Vertex AI gives containers no variables: say --registry URI")
    kind = TaxiHyperparameters if example == "taxi" else Hyperparameters
    try:
        hyperparameters = kind() if epochs is None else kind(epochs=epochs)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    try:
        compile_pipeline(
            output_file,
            volume=volume.rstrip("/"),
            registry=registry,
            example=example,
            hyperparameters=hyperparameters,
            **options,
        )
    except RegistryError as error:
        raise click.UsageError(str(error)) from error


if __name__ == "__main__":
    main()
