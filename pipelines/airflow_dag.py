"""Runs the penguin pipeline under Apache Airflow, every component as a task of its own.

A file in Airflow's DAG folder needs two lines (Airflow looks for the words "airflow" and "dag"):

    from tfx_registry.pipelines.airflow_dag import create_dag
    dag = create_dag()

Settings come from the Airflow variable `penguin_pipeline`, a JSON object, for example

    airflow variables set penguin_pipeline '{"output_dir": "/data/penguin", "epochs": 30}'

with the names of `RunOptions` and of `Hyperparameters`; `output_dir` defaults to
`$AIRFLOW_HOME/penguin`. Workers on several machines need every folder on a shared file system, and
a registry and an ML Metadata that are servers, not SQLite files.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfx_registry.errors import InvalidInputError
from tfx_registry.pipelines.options import RunOptions, build_pipeline
from tfx_registry.pipelines.penguin.hyperparameters import Hyperparameters

__all__ = ["VARIABLE", "create_dag", "read_options"]

VARIABLE = "penguin_pipeline"
"""The Airflow variable with the settings."""

_PATHS = ("data_dir", "pipeline_root", "serving_dir", "metadata")
_HYPERPARAMETERS = frozenset(field.name for field in dataclasses.fields(Hyperparameters))
_OPTIONS = frozenset(field.name for field in dataclasses.fields(RunOptions)) - {"hyperparameters"}


def read_options(settings: Mapping[str, Any]) -> RunOptions:
    """Reads the settings of a DAG.

    Args:
        settings: Names of `RunOptions` and of `Hyperparameters`, and `output_dir`, to values.

    Returns:
        The options.

    Raises:
        InvalidInputError: A name is not known, or a value is out of its range.
    """
    unknown = sorted(set(settings) - _HYPERPARAMETERS - _OPTIONS - {"output_dir"})
    if unknown:
        raise InvalidInputError(
            f"invalid Airflow variable {VARIABLE!r}",
            f"it has no setting {', '.join(map(repr, unknown))}",
            f"known are output_dir, {', '.join(sorted(_OPTIONS | _HYPERPARAMETERS))}",
        )
    try:
        hyperparameters = Hyperparameters.from_mapping(
            {name: value for name, value in settings.items() if name in _HYPERPARAMETERS}
        )
    except ValueError as error:
        raise InvalidInputError(
            f"invalid Airflow variable {VARIABLE!r}", str(error), "correct the variable"
        ) from error
    home = Path(os.environ.get("AIRFLOW_HOME") or Path.home() / "airflow")
    overrides = {name: value for name, value in settings.items() if name in _OPTIONS}
    paths = {name: Path(overrides[name]) for name in _PATHS if overrides.get(name)}
    return RunOptions.below(
        Path(settings.get("output_dir") or home / "penguin"),
        **{**overrides, **paths, "hyperparameters": hyperparameters},
    )


def create_dag(**dag_arguments: Any) -> Any:
    """Builds the DAG for a file in Airflow's DAG folder.

    Args:
        **dag_arguments: Arguments of `airflow.models.DAG`, over the ones set here: started by hand
            or by another DAG only, and one run at a time.

    Returns:
        The DAG; its id is the pipeline's name.

    Raises:
        InvalidInputError: The Airflow variable cannot be used.
    """
    from airflow.models import Variable
    from tfx.orchestration.airflow.airflow_dag_runner import (
        AirflowDagRunner,
        AirflowPipelineConfig,
    )

    options = read_options(Variable.get(VARIABLE, default_var={}, deserialize_json=True))
    arguments = {
        "schedule": None,
        "start_date": datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc),
        "catchup": False,
        "max_active_runs": 1,
        **dag_arguments,
    }
    config = AirflowPipelineConfig(airflow_dag_config=arguments)
    return AirflowDagRunner(config).run(build_pipeline(options))
