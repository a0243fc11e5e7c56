"""The tasks of a project of `tfx-registry init --runner kubeflow`, chained as by a cluster."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.cli.main import main
from tfx_registry.records import VersionState

pytestmark = pytest.mark.timeout(1200)


def test_the_compiled_tasks_make_a_version_that_serves(
    tmp_path: Path, cluster: Any, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, volume = tmp_path / "machines", tmp_path / "volume"
    assert main(["init", str(project), "--runner", "kubeflow"]) == 0
    compiled = ["--output-file", "job.json", "--image", "machines", "--volume", str(volume)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(
        [sys.executable, "compile.py", *compiled],
        cwd=project,
        env=environment,
        check=True,
        capture_output=True,
        timeout=600,
    )
    job = json.loads((project / "job.json").read_text(encoding="utf-8"))
    shutil.copytree(project / "data", volume / "data")
    # What the Dockerfile puts into the image, and nothing else of the project.
    image = tmp_path / "opt"
    image.mkdir()
    dockerfile = (project / "Dockerfile").read_text(encoding="utf-8").splitlines()
    [copied] = [line for line in dockerfile if line.startswith("COPY ")]
    for name in copied.split()[1:-1]:
        shutil.copy(project / name, image)
    uri = database.create_database("machines")
    pods = dataclasses.replace(
        cluster,
        root=tmp_path / "artifacts",
        environment={
            **cluster.environment,
            "PYTHONPATH": str(image),
            "TFX_REGISTRY_URI": uri,
        },
        log={},
    )
    pods.run(job, "run1")
    monkeypatch.setenv("TFX_REGISTRY_PASSWORD", database.password)
    with ModelRegistry.open(uri, create=False) as registry:
        [version] = registry.list_versions("machines")
    assert version.state is VersionState.SERVING
    assert version.metric("auc", (("site", "north"),)) > 0.8
    assert (volume / "output" / "serving" / "machines" / "1" / "saved_model.pb").is_file()
