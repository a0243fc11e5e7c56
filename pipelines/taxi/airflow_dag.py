"""Runs the taxi pipeline under Apache Airflow, every component as a task of its own.

A file in Airflow's DAG folder needs two lines (Airflow looks for the words "airflow" and "dag"):

    from tfx_registry.pipelines.taxi.airflow_dag import create_dag
    dag = create_dag()

Settings come from the Airflow variable `taxi_pipeline`, a JSON object with `output_dir` (by default
`$AIRFLOW_HOME/taxi`), `rows`, `data_seed`, `registry`, `beam_args` and the names of
`Hyperparameters`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfx_registry.pipelines.airflow_settings import (
    check_values,
    output_dir,
    read_hyperparameters,
    read_variable,
    to_dag,
)
from tfx_registry.pipelines.taxi.hyperparameters import Hyperparameters
from tfx_registry.pipelines.taxi.one_folder import build_pipeline

__all__ = ["VARIABLE", "create_dag", "read_options"]

VARIABLE = "taxi_pipeline"
"""The Airflow variable with the settings."""

_OPTIONS = frozenset({"beam_args", "data_seed", "registry", "rows"})


def read_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Reads the settings of a DAG.

    Args:
        settings: Names of arguments of `one_folder.build_pipeline` and of `Hyperparameters`, to
            values.

    Returns:
        The arguments of `one_folder.build_pipeline`.

    Raises:
        InvalidInputError: A name is not known, or a value is out of its range.
    """
    hyperparameters = read_hyperparameters(VARIABLE, settings, Hyperparameters, _OPTIONS)
    check_values(
        VARIABLE, settings, texts=["registry"], lists=["beam_args"],
        counts={"rows": 1, "data_seed": 0},
    )  # fmt: skip
    given = {
        name: value for name, value in settings.items() if name in _OPTIONS and value is not None
    }
    return {
        "output_dir": output_dir(settings, "taxi"),
        "hyperparameters": hyperparameters,
        **given,
    }


def create_dag(**dag_arguments: Any) -> Any:
    """Builds the DAG for a file in Airflow's DAG folder.

    Args:
        **dag_arguments: Arguments of `airflow.models.DAG`, see `airflow_settings.to_dag`.

    Returns:
        The DAG; its id is the pipeline's name.

    Raises:
        InvalidInputError: The Airflow variable cannot be used.
    """
    return to_dag(build_pipeline(**read_options(read_variable(VARIABLE))), **dag_arguments)
