"""A real Airflow with its own home, and the penguin DAG in its folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.records import Version

_DAG = """\
from tfx_registry.pipelines.airflow_dag import create_dag

dag = create_dag()
"""


@dataclass(frozen=True)
class Airflow:
    """An Airflow installation.

    Attributes:
        home: Its AIRFLOW_HOME.
    """

    home: Path

    @property
    def root(self) -> Path:
        """Where the pipeline of the DAG keeps everything."""
        return self.home / "penguin"

    @property
    def registry(self) -> str:
        """URI of the registry that the DAG uses unless told otherwise."""
        return f"sqlite:///{self.root}/metadata.sqlite"

    def run(self, *arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
        """Runs an `airflow` command, with settings of the DAG as its variable."""
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "SequentialExecutor",
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "600",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW_VAR_PENGUIN_PIPELINE": json.dumps(settings),
            "TFX_REGISTRY_ACTOR": "airflow",
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        return subprocess.run(
            [str(Path(sys.executable).with_name("airflow")), *arguments],
            env=environment,
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=900,
        )

    def versions(self) -> list[Version]:
        """The versions in the registry, oldest first."""
        with ModelRegistry.open(self.registry, create=False) as registry:
            return registry.list_versions("penguin", newest_first=False)

    def visible(self) -> list[str]:
        """What a model server would find in the serving directory."""
        serving = self.root / "serving" / "penguin"
        return sorted(p.name for p in serving.iterdir() if p.name.isdigit())


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    """Airflow after three runs of the DAG: a first model, a better one, a bad one."""
    installation = Airflow(tmp_path_factory.mktemp("airflow"))
    (installation.home / "dags").mkdir()
    (installation.home / "dags" / "penguin.py").write_text(_DAG, encoding="utf-8")
    migrated = installation.run("db", "migrate")
    assert migrated.returncode == 0, migrated.stdout[-3000:]
    for day, settings in enumerate(({"epochs": 5}, {"epochs": 60}, {"only_island": "Dream"}), 1):
        done = installation.run("dags", "test", "penguin", f"2026-01-0{day}", **settings)
        assert done.returncode == 0, done.stdout[-6000:]
        assert "state=success" in done.stdout, done.stdout[-6000:]
    return installation
