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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfx_registry.pipelines.airflow_settings import (
    check_values,
    output_dir,
    read_hyperparameters,
    read_variable,
    to_dag,
)
from tfx_registry.pipelines.options import RunOptions, build_pipeline
from tfx_registry.pipelines.penguin.hyperparameters import Hyperparameters

__all__ = ["VARIABLE", "create_dag", "read_options"]

VARIABLE = "penguin_pipeline"
"""The Airflow variable with the settings."""

_PATHS = ("data_dir", "pipeline_root", "serving_dir", "metadata")
_FLAGS = ("enable_cache", "gate_evaluates")
_LISTS = ("beam_args",)
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
    hyperparameters = read_hyperparameters(VARIABLE, settings, Hyperparameters, _OPTIONS)
    texts = _OPTIONS.difference(_FLAGS, _LISTS)
    check_values(VARIABLE, settings, texts=texts, flags=_FLAGS, lists=_LISTS)
    overrides = {name: value for name, value in settings.items() if name in _OPTIONS}
    paths = {name: Path(overrides[name]) for name in _PATHS if overrides.get(name)}
    return RunOptions.below(
        output_dir(settings, "penguin"),
        **{**overrides, **paths, "hyperparameters": hyperparameters},
    )


def create_dag(**dag_arguments: Any) -> Any:
    """Builds the DAG for a file in Airflow's DAG folder.

    Args:
        **dag_arguments: Arguments of `airflow.models.DAG`, see `airflow_settings.to_dag`.

    Returns:
        The DAG; its id is the pipeline's name.

    Raises:
        InvalidInputError: The Airflow variable cannot be used.
    """
    return to_dag(build_pipeline(read_options(read_variable(VARIABLE))), **dag_arguments)
