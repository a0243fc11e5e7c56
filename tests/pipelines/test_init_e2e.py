"""A project of `tfx-registry init`, used by somebody who types what its README says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.cli.main import main
from tfx_registry.records import VersionState
from tfx_registry.testing.outgoing import asked_for, watched
from tfx_registry.testing.readme import commands_of, run_commands

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("runner", ["local", "beam"])
def test_the_commands_of_the_readme_make_a_version_that_serves(tmp_path: Path, runner: str) -> None:
    project = tmp_path / "machines"
    assert main(["init", str(project), "--runner", runner]) == 0
    program = (project / "run.py").read_text(encoding="utf-8")
    assert ("BeamDagRunner" in program) is (runner == "beam")
    commands = commands_of(project / "README.md")
    assert "python run.py" in commands
    variables = watched(tmp_path / "watch", {**os.environ, "TFX_REGISTRY_ACTOR": "ada"})
    said = run_commands(commands, project, variables, timeout_seconds=1500)
    assert "all 5 checks held" in said
    # Beam's own default looks for another runner first, and downloads it.
    assert asked_for(tmp_path / "watch") == []
    uri = f"sqlite:///{project}/output/metadata.sqlite"
    with ModelRegistry.open(uri, create=False) as registry:
        [version] = registry.list_versions("machines")
    assert version.state is VersionState.SERVING
    assert {slice_ for m in version.metrics for slice_ in m.slice} == {
        ("site", "north"),
        ("site", "south"),
        ("site", "west"),
    }
    assert (project / "output" / "serving" / "machines" / "1" / "saved_model.pb").is_file()
