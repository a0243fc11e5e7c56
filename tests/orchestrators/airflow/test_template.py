"""A project of `tfx-registry init --runner airflow`, run by the commands of its README."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.cli.main import main
from tfx_registry.records import VersionState
from tfx_registry.testing.readme import commands_of, run_commands

pytestmark = pytest.mark.timeout(1200)


def test_the_commands_of_the_readme_make_a_version_that_serves(tmp_path: Path) -> None:
    project = tmp_path / "machines"
    assert main(["init", str(project), "--runner", "airflow"]) == 0
    commands = commands_of(project / "README.md")
    assert "airflow dags test machines" in commands
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
