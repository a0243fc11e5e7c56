"""Runs the taxi pipeline in this process, one component after the other.

Example: `python -m tfx_registry.pipelines.taxi --output-dir taxi_output`
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import click

from tfx_registry.pipelines.options import IN_MEMORY_BEAM_ARGS, hidden_arguments
from tfx_registry.pipelines.taxi.data import ROWS, SEED
from tfx_registry.pipelines.taxi.hyperparameters import Hyperparameters
from tfx_registry.pipelines.taxi.one_folder import build_pipeline

__all__ = ["main", "run"]

_DEFAULTS = Hyperparameters()


@click.command()
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    default=Path("taxi_output"),
    show_default=True,
    help="Where everything goes: data, artifacts, serving directory, registry.",
)
@click.option("--rows", type=click.IntRange(min=1000), default=ROWS, show_default=True)
@click.option("--data-seed", type=int, default=SEED, show_default=True, help="Which trips.")
@click.option("--epochs", type=int, default=_DEFAULTS.epochs, show_default=True)
@click.option("--seed", type=int, default=_DEFAULTS.seed, show_default=True)
@click.option(
    "--night-tips-lost", is_flag=True, help="Train as if the tips of every night were lost."
)
@click.option("-v", "--verbose", is_flag=True, help="Log what each component does.")
def main(output_dir: Path, rows: int, data_seed: int, verbose: bool, **settings: object) -> None:
    """Run the taxi pipeline with TFX's LocalDagRunner."""
    try:
        hyperparameters = Hyperparameters.from_mapping(settings)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING)
    with hidden_arguments():
        run(output_dir, hyperparameters, rows=rows, data_seed=data_seed)


def run(
    output_dir: Path,
    hyperparameters: Hyperparameters = _DEFAULTS,
    *,
    rows: int = ROWS,
    data_seed: int = SEED,
    beam_args: Sequence[str] = IN_MEMORY_BEAM_ARGS,
) -> None:
    """Generates the trips, unless they are there, and runs the pipeline on them.

    Args:
        output_dir: Where everything goes; registry and ML Metadata share `metadata.sqlite`.
        hyperparameters: How to train.
        rows: How many trips to generate.
        data_seed: Seed of the trips.
        beam_args: Options for the components that run on Beam.
    """
    # Loads TensorFlow, TFX and Beam: 10 to 40 seconds.
    from tfx import v1 as tfx

    pipeline = build_pipeline(
        output_dir, hyperparameters, rows=rows, data_seed=data_seed, beam_args=beam_args
    )
    tfx.orchestration.LocalDagRunner().run(pipeline)


if __name__ == "__main__":
    main()
