"""A project that `tfx-registry init --runner kubeflow` writes, compiled by its README's command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tfx_registry.cli.main import main

pytestmark = pytest.mark.timeout(900)


def test_the_command_of_the_readme_compiles_the_pipeline(tmp_path: Path) -> None:
    project = tmp_path / "machines"
    assert main(["init", str(project), "--runner", "kubeflow"]) == 0
    readme = (project / "README.md").read_text(encoding="utf-8").splitlines()
    [command] = [line for line in readme if line.startswith("python compile.py")]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        ["bash", "-euc", command],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=850,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    spec, pods = yaml.safe_load_all((project / "machines.yaml").read_text(encoding="utf-8"))
    tasks = spec["root"]["dag"]["tasks"]
    assert set(tasks) == {
        "CsvExampleGen",
        "ModelRegistrar",
        "Promoter",
        "SchemaGen",
        "StatisticsGen",
        "Trainer",
        "VersionGate",
    }
    run_fn = tasks["Trainer"]["inputs"]["parameters"]["run_fn"]
    assert "model.run_fn" in str(run_fn)
    [mounted] = {
        str(pod["pvcMount"])
        for pod in pods["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values()
    }
    assert mounted == "[{'constant': 'machines', 'mountPath': '/mnt/machines'}]"
    images = {
        executor["container"]["image"]
        for executor in spec["deploymentSpec"]["executors"].values()
        if "container" in executor
    }
    assert images == {"registry.example.com/machines"}
