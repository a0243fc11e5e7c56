"""The DAG of a project that `tfx-registry init --runner airflow` writes, read by a real Airflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tfx_registry.cli.main import main

pytestmark = pytest.mark.timeout(900)

_SCRIPT = """\
import json, sys
from airflow.models import DagBag

bag = DagBag(sys.argv[1], include_examples=False, read_dags_from_db=False)
dags = {name: sorted(task.task_id for task in dag.tasks) for name, dag in bag.dags.items()}
print(json.dumps({"errors": bag.import_errors, "dags": dags}))
"""


def test_airflow_reads_the_dag_wherever_it_is_started(tmp_path: Path) -> None:
    project = tmp_path / "machines"
    assert main(["init", str(project), "--runner", "airflow"]) == 0
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "600",
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(project)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=850,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["errors"] == {}
    assert found["dags"] == {
        "machines": [
            "CsvExampleGen",
            "ModelRegistrar",
            "Promoter",
            "SchemaGen",
            "StatisticsGen",
            "Trainer",
            "VersionGate",
        ]
    }
