"""The taxi pipeline with data, artifacts, ML Metadata and serving directory in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfx_registry.pipelines.options import IN_MEMORY_BEAM_ARGS
from tfx_registry.pipelines.taxi.data import ROWS, SEED, write_taxi_csv
from tfx_registry.pipelines.taxi.hyperparameters import Hyperparameters

__all__ = ["build_pipeline"]

_DEFAULTS = Hyperparameters()


def build_pipeline(
    output_dir: Path,
    hyperparameters: Hyperparameters = _DEFAULTS,
    *,
    rows: int = ROWS,
    data_seed: int = SEED,
    registry: str | None = None,
    beam_args: Sequence[str] = IN_MEMORY_BEAM_ARGS,
) -> Any:
    """Generates the trips, unless they are there, and builds the pipeline on them.

    Args:
        output_dir: The folder; made absolute, so that a component may change directory.
        hyperparameters: How to train.
        rows: How many trips to generate.
        data_seed: Seed of the trips.
        registry: URI of the model registry; `None` puts it into the database of ML Metadata,
            `metadata.sqlite` in the folder.
        beam_args: Options for the components that run on Beam.

    Returns:
        A `tfx.dsl.Pipeline` for a runner that keeps ML Metadata in SQLite.
    """
    # Loads TensorFlow, TFX and Beam: 10 to 40 seconds.
    from tfx import v1 as tfx

    from tfx_registry.pipelines.taxi.pipeline import create_pipeline

    root = output_dir.absolute()
    metadata = root / "metadata.sqlite"
    data = write_taxi_csv(root / "data", rows, data_seed)
    return create_pipeline(
        pipeline_name="taxi",
        pipeline_root=str(root / "pipeline"),
        data_root=str(data.root),
        serving_dir=str(root / "serving" / "taxi"),
        registry_uri=registry or f"sqlite:///{metadata}",
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(metadata)
        ),
        hyperparameters=hyperparameters,
        beam_pipeline_args=beam_args,
    )
