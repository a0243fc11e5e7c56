"""Runs the tasks of a compiled pipeline as a Kubeflow cluster would: their own command lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tfx_registry.testing.postgresql import PostgreSqlServer

Outputs = dict[str, Any]


class TaskFailedError(AssertionError):
    """A task ended with an exit code other than 0; the message is what it printed."""


@dataclass
class Cluster:
    """Runs compiled pipelines, one task after the other.

    What a cluster does to a task is done here, too: every task is a process of its own, knows its
    inputs only from its command line, gets artifacts by a resource name (which TFX turns into a
    hash), and numbers as JSON numbers. Metadata is what the tasks before wrote into their output
    files. There is no ML Metadata of the pipeline.

    Attributes:
        root: Where the artifacts go.
        environment: Variables for the containers.
        log: What each task printed last.
    """

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    log: dict[str, str] = field(default_factory=dict)

    def run(
        self,
        job: dict[str, Any],
        run_id: str,
        reused: Mapping[str, Outputs] | None = None,
    ) -> dict[str, Outputs]:
        """Runs a pipeline job in the order of its dependencies.

        Args:
            job: The compiled PipelineJob.
            run_id: Name of the run.
            reused: Outputs of tasks that are not run again, as from Kubeflow's cache.

        Returns:
            The output artifacts by task and key.

        Raises:
            TaskFailedError: A task failed.
        """
        spec = job["pipelineSpec"]
        tasks = spec["root"]["dag"]["tasks"]
        made: dict[str, Outputs] = dict(reused or {})
        while len(made) < len(tasks):
            ready = [
                name
                for name, task in tasks.items()
                if name not in made and set(task.get("dependentTasks", [])) <= set(made)
            ]
            assert ready, "the pipeline has a cycle"
            for name in ready:
                made[name] = self.run_task(spec, name, made, run_id)
        return made

    def run_task(
        self, spec: dict[str, Any], name: str, made: Mapping[str, Outputs], run_id: str
    ) -> Outputs:
        """Runs one task on the outputs of others; again, if it has run before.

        Raises:
            TaskFailedError: It failed.
        """
        task = spec["root"]["dag"]["tasks"][name]
        folder = self.root / run_id / name
        request = self._request(spec, task, made, folder, run_id)
        self._run_containers(spec, task, name, request)
        return self._outputs(request, folder)

    def _request(
        self,
        spec: dict[str, Any],
        task: dict[str, Any],
        made: Mapping[str, Outputs],
        folder: Path,
        run_id: str,
    ) -> dict[str, Any]:
        """Builds the ExecutorInput of a task."""
        component = spec["components"][task["componentRef"]["name"]]
        inputs = task.get("inputs", {})
        artifacts = {}
        for key, source in inputs.get("artifacts", {}).items():
            place = source["taskOutputArtifact"]
            artifact = made[place["producerTask"]][place["outputArtifactKey"]]
            artifacts[key] = {"artifacts": [artifact]}
        values = {
            key: value["runtimeValue"]["constant"]
            for key, value in inputs.get("parameters", {}).items()
        }
        outputs = {}
        for key, definition in component.get("outputDefinitions", {}).get("artifacts", {}).items():
            kind = dict(definition["artifactType"])
            outputs[key] = {
                "artifacts": [
                    {
                        "name": f"projects/1/artifacts/{run_id}-{folder.name}-{key}",
                        "uri": str(folder / key),
                        "type": kind,
                    }
                ]
            }
        return {
            "inputs": {"artifacts": artifacts, "parameterValues": values},
            "outputs": {
                "artifacts": outputs,
                "outputFile": str(folder / "executor_output.json"),
            },
        }

    def _run_containers(
        self, spec: dict[str, Any], task: dict[str, Any], name: str, request: dict[str, Any]
    ) -> None:
        label = spec["components"][task["componentRef"]["name"]]["executorLabel"]
        container = spec["deploymentSpec"]["executors"][label]["container"]
        before = container.get("lifecycle", {}).get("preCacheCheck")
        self.log[name] = ""
        for part in (before, container):
            if part is None:
                continue
            arguments = [a.replace("{{$}}", json.dumps(request)) for a in part["args"]]
            command = [sys.executable, *part["command"][1:], *arguments]
            assert part["command"][0] == "python"
            done = subprocess.run(
                command,
                env={**_bare_environment(), **self.environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=600,
            )
            self.log[name] += done.stdout
            if done.returncode != 0:
                raise TaskFailedError(f"{name}: {done.stdout[-6000:]}")

    def _outputs(self, request: dict[str, Any], folder: Path) -> Outputs:
        """Reads what the task says of its outputs."""
        written = json.loads((folder / "executor_output.json").read_text(encoding="utf-8"))
        result = {}
        for key, asked in request["outputs"]["artifacts"].items():
            [artifact] = asked["artifacts"]
            [said] = written["artifacts"][key]["artifacts"]
            result[key] = {**artifact, "metadata": said.get("metadata", {})}
        return result


def _bare_environment() -> dict[str, str]:
    """What a container has: nothing that the tests say of the registry."""
    return {k: v for k, v in os.environ.items() if not k.startswith("TFX_REGISTRY_")}


@pytest.fixture(scope="session")
def database() -> Iterator[PostgreSqlServer]:
    """The database server that all containers reach."""
    with PostgreSqlServer() as server:
        yield server


@pytest.fixture(scope="session")
def registry_uri(database: PostgreSqlServer) -> str:
    """URI of the registry; its password is in the environment only."""
    return database.uri("registry")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, database: PostgreSqlServer) -> Cluster:
    """A cluster whose containers mount one volume with data."""
    from tfx_registry.pipelines.penguin.data import write_penguin_csv

    root = tmp_path_factory.mktemp("cluster")
    write_penguin_csv(root / "data")
    secret = root / "secret"
    secret.write_text(database.password + "\n", encoding="utf-8")
    return Cluster(
        root,
        {"TFX_REGISTRY_PASSWORD_FILE": str(secret), "TFX_REGISTRY_ACTOR": "kubeflow"},
    )


@pytest.fixture(scope="session")
def compiled(cluster: Cluster, registry_uri: str) -> Any:
    """Compiles the pipeline for the cluster, with hyperparameters."""
    from tfx_registry.pipelines.kubeflow_runner import compile_pipeline
    from tfx_registry.pipelines.penguin.hyperparameters import Hyperparameters

    def compile_with(registry: str = registry_uri, **hyperparameters: Any) -> dict[str, Any]:
        path = cluster.root / "pipeline.json"
        compile_pipeline(
            path,
            image="tfx-registry:latest",
            registry=registry,
            volume=str(cluster.root),
            hyperparameters=Hyperparameters(**hyperparameters),
        )
        return dict(json.loads(path.read_text(encoding="utf-8")))

    return compile_with


@pytest.fixture(scope="session")
def runs(cluster: Cluster, compiled: Any) -> list[dict[str, Outputs]]:
    """Three runs: a first model, a better one, and a bad one that is blocked."""
    first = cluster.run(compiled(epochs=5), "run1")
    data = {name: first[name] for name in ("CsvExampleGen", "StatisticsGen", "SchemaGen")}
    second = cluster.run(compiled(epochs=60), "run2", data)
    third = cluster.run(compiled(only_island="Dream"), "run3", data)
    return [first, second, third]
