"""A real Airflow with its own home, and the penguin DAG in its folder."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.records import Version

_DAG = """\
from tfx_registry.pipelines.airflow_dag import create_dag

dag = create_dag()
"""


@dataclass(frozen=True)
class Task:
    """What became of a task.

    Attributes:
        state: Its state in Airflow's database.
        tries: How often it was tried.
        log: What was printed while it ran, in all its tries.
    """

    state: str
    tries: int
    log: str


@dataclass(frozen=True)
class Airflow:
    """An Airflow installation.

    Attributes:
        home: Its AIRFLOW_HOME.
        name: Name of its DAG, of the DAG's file and variable, and of the model in the registry.
        variables: Environment variables of its own.
    """

    home: Path
    name: str = "penguin"
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """Where the pipeline of the DAG keeps everything."""
        return self.home / self.name

    @property
    def registry(self) -> str:
        """URI of the registry that the DAG uses unless told otherwise."""
        return f"sqlite:///{self.root}/metadata.sqlite"

    def add_dag(self, text: str, file: str = "") -> None:
        """Writes the file of the DAG, or of another one."""
        folder = self.home / "dags"
        folder.mkdir(exist_ok=True)
        (folder / f"{file or self.name}.py").write_text(text, encoding="utf-8")

    def start(self, *arguments: str, **settings: object) -> subprocess.Popen[str]:
        """Starts an `airflow` command, with settings of the DAG as its variable."""
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "SequentialExecutor",
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "600",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            f"AIRFLOW_VAR_{self.name.upper()}_PIPELINE": json.dumps(settings),
            "TFX_REGISTRY_ACTOR": "airflow",
            **self.variables,
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("airflow")), *arguments],
            env=environment,
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
        """Runs an `airflow` command, with settings of the DAG as its variable."""
        with self.start(*arguments, **settings) as process:
            try:
                printed, _ = process.communicate(timeout=900)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, printed)

    def run_dag(self, date: str, **settings: object) -> None:
        """Runs the DAG, in which every task has to succeed."""
        done = self.run("dags", "test", self.name, date, **settings)
        assert done.returncode == 0, done.stdout[-6000:]
        assert "state=success" in done.stdout, done.stdout[-6000:]

    def tasks(self, printed: str) -> dict[str, Task]:
        """Reads what became of the tasks of the only run of the DAG.

        Args:
            printed: What `airflow dags test` printed.

        Returns:
            The tasks by name.
        """
        logs: dict[str, str] = {}
        for part in printed.split("starting task_id=")[1:]:
            name = part.split(maxsplit=1)[0]
            logs[name] = logs.get(name, "") + part
        with closing(sqlite3.connect(self.home / "airflow.db")) as database:
            rows = database.execute("SELECT task_id, state, try_number FROM task_instance")
            return {name: Task(state, tries, logs.get(name, "")) for name, state, tries in rows}

    def versions(self) -> list[Version]:
        """The versions in the registry, oldest first."""
        with ModelRegistry.open(self.registry, create=False) as registry:
            return registry.list_versions(self.name, newest_first=False)

    def visible(self) -> list[str]:
        """What a model server would find in the serving directory."""
        serving = self.root / "serving" / self.name
        return sorted(p.name for p in serving.iterdir() if p.name.isdigit())


@pytest.fixture(scope="session")
def install(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Airflow]:
    """Makes installations; Airflow makes its database, which takes long, only once."""
    first = Airflow(tmp_path_factory.mktemp("airflow"))
    migrated = first.run("db", "migrate")
    assert migrated.returncode == 0, migrated.stdout[-3000:]

    def make(name: str, **attributes: Any) -> Airflow:
        made = Airflow(tmp_path_factory.mktemp(f"airflow-{name}"), name, **attributes)
        shutil.copy(first.home / "airflow.db", made.home)
        return made

    return make


@pytest.fixture(scope="session")
def airflow(install: Callable[..., Airflow]) -> Airflow:
    """Airflow after three runs of the DAG: a first model, a better one, a bad one."""
    installation = install("penguin")
    installation.add_dag(_DAG)
    for day, settings in enumerate(({"epochs": 5}, {"epochs": 60}, {"only_island": "Dream"}), 1):
        installation.run_dag(f"2026-01-0{day}", **settings)
    return installation
