"""What the DAGs of the example pipelines share: settings from a variable, and the hand-over."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tfx_registry.errors import InvalidInputError
from tfx_registry.pipelines.training_settings import is_count

__all__ = [
    "OUTPUT_DIR",
    "check_values",
    "output_dir",
    "read_hyperparameters",
    "read_variable",
    "to_dag",
]

Hyperparameters = TypeVar("Hyperparameters")

OUTPUT_DIR = "output_dir"
"""The setting that all of them have: the folder for whatever has no place of its own."""


def read_variable(name: str) -> dict[str, Any]:
    """Reads the settings of a DAG from Airflow.

    Args:
        name: Name of the Airflow variable.

    Returns:
        The settings; none where the variable is not set.

    Raises:
        InvalidInputError: The variable is no JSON object.
    """
    from airflow.models import Variable

    try:
        settings = Variable.get(name, default_var={}, deserialize_json=True)
    except ValueError as error:
        raise _invalid(name, f"it is no JSON: {error}") from error
    if not isinstance(settings, dict):
        raise _invalid(name, "it is no JSON object, but a " + type(settings).__name__)
    return settings


def read_hyperparameters(
    variable: str,
    settings: Mapping[str, Any],
    kind: type[Hyperparameters],
    others: Collection[str],
) -> Hyperparameters:
    """Reads the hyperparameters among the settings of a DAG, and checks the names of all.

    Args:
        variable: Name of the variable, for messages.
        settings: Names to values.
        kind: Class of the hyperparameters, a dataclass with `from_mapping`.
        others: Names that are no hyperparameters.

    Returns:
        The hyperparameters.

    Raises:
        InvalidInputError: A name is not known, or a value is out of its range.
    """
    own = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    known = {OUTPUT_DIR, *own, *others}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise InvalidInputError(
            f"invalid Airflow variable {variable!r}",
            f"it has no setting {', '.join(map(repr, unknown))}",
            f"known are {', '.join(sorted(known))}",
        )
    given = {name: value for name, value in settings.items() if name in own}
    try:
        return kind.from_mapping(given)  # type: ignore[attr-defined, no-any-return]
    except ValueError as error:
        raise _invalid(variable, str(error)) from error


def check_values(
    variable: str,
    settings: Mapping[str, Any],
    *,
    texts: Collection[str] = (),
    flags: Collection[str] = (),
    lists: Collection[str] = (),
    counts: Mapping[str, int] | None = None,
) -> None:
    """Checks the kinds of values, because "false" would be true, and a text a list of letters.

    Args:
        variable: Name of the variable, for messages.
        settings: Names to values; `None` stands for the default of any.
        texts: Names of texts and paths; `output_dir` is one.
        flags: Names of what is true or false.
        lists: Names of lists of texts.
        counts: Names of whole numbers, and the least that each may be.

    Raises:
        InvalidInputError: A value is of another kind.
    """

    def check(name: str, holds: Callable[[Any], bool], rule: str) -> None:
        value = settings.get(name)
        if value is not None and not holds(value):
            raise _invalid(variable, f"{name} is {value!r}, it must be {rule}")

    for name in (OUTPUT_DIR, *sorted(texts)):
        check(name, _is_text, "a text that is not empty")
    for name in flags:
        check(name, lambda value: type(value) is bool, "true or false")
    for name in lists:
        check(
            name, lambda value: isinstance(value, list) and all(map(_is_text, value)),
            "a list of texts",
        )  # fmt: skip
    for name, least in (counts or {}).items():
        rule = f"a whole number, {least} or more"
        check(name, functools.partial(is_count, least=least), rule)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def output_dir(settings: Mapping[str, Any], name: str) -> Path:
    """Returns the folder that the settings name, or `$AIRFLOW_HOME/<name>`."""
    home = Path(os.environ.get("AIRFLOW_HOME") or Path.home() / "airflow")
    return Path(settings.get(OUTPUT_DIR) or home / name)


def to_dag(pipeline: Any, **dag_arguments: Any) -> Any:
    """Makes a DAG of a pipeline.

    Args:
        pipeline: A `tfx.dsl.Pipeline`.
        **dag_arguments: Arguments of `airflow.models.DAG`, over the ones set here: started by hand
            or by another DAG only, and one run at a time.

    Returns:
        The DAG; its id is the pipeline's name.
    """
    from tfx.orchestration.airflow.airflow_dag_runner import (
        AirflowDagRunner,
        AirflowPipelineConfig,
    )

    arguments = {
        "schedule": None,
        "start_date": datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc),
        "catchup": False,
        "max_active_runs": 1,
        **dag_arguments,
    }
    return AirflowDagRunner(AirflowPipelineConfig(airflow_dag_config=arguments)).run(pipeline)


def _invalid(variable: str, why: str) -> InvalidInputError:
    return InvalidInputError(f"invalid Airflow variable {variable!r}", why, "correct the variable")
