"""A project of `tfx-registry init --runner airflow`, run by the commands of its README."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.cli.main import main
from tfx_registry.records import VersionState
from tfx_registry.testing.readme import commands_of, run_commands

pytestmark = pytest.mark.timeout(1200)

_TASKS = (
    "CsvExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "Trainer",
    "ModelRegistrar",
    "VersionGate",
    "Promoter",
)


def test_the_commands_of_the_readme_make_a_version_that_serves(tmp_path: Path) -> None:
    project = tmp_path / "machines"
    assert main(["init", str(project), "--runner", "airflow"]) == 0
    commands = commands_of(project / "README.md")
    run = "airflow dags test machines 2026-01-01"
    assert run in commands
    # The DAG finds what lies beside it wherever Airflow is started.
    commands = commands.replace(run, f'(cd "$AIRFLOW_HOME" && {run})')
    # A machine that is busy with other tests loads TensorFlow more slowly than an Airflow's.
    commands = commands.replace("DAGBAG_IMPORT_TIMEOUT=180", "DAGBAG_IMPORT_TIMEOUT=600")
    variables = {**os.environ, "TFX_REGISTRY_ACTOR": "airflow"}
    said = run_commands(commands, project, variables, timeout_seconds=1100)
    assert "all 5 checks held" in said
    uri = f"sqlite:///{project}/output/metadata.sqlite"
    with ModelRegistry.open(uri, create=False) as registry:
        [version] = registry.list_versions("machines")
        actors = {event.actor for event in registry.history("machines")}
    assert version.state is VersionState.SERVING
    assert version.origin.run_id.startswith("manual__2026-01-01")
    assert actors == {"airflow"}
    assert (project / "output" / "serving" / "machines" / "1" / "saved_model.pb").is_file()
    with closing(sqlite3.connect(project / "airflow" / "airflow.db")) as database:
        tasks = dict(database.execute("SELECT task_id, state FROM task_instance"))
    assert tasks == dict.fromkeys(_TASKS, "success")
