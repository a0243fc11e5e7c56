"""A project of `tfx-registry init`, used by somebody who types what its README says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.cli.main import main
from tfx_registry.records import VersionState

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]


def test_the_commands_of_the_readme_make_a_version_that_serves(tmp_path: Path) -> None:
    project = tmp_path / "machines"
    assert main(["init", str(project)]) == 0
    readme = (project / "README.md").read_text(encoding="utf-8")
    commands = "".join(re.findall(r"^```\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE))
    assert "python run.py" in commands
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        # What the requirements ask for is here already, or this test would install it.
        "PIP_NO_INDEX": "1",
        "TFX_REGISTRY_ACTOR": "ada",
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    assert "all 5 checks held" in done.stdout
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
