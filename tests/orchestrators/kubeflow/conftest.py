"""Runs the tasks of a compiled pipeline as a Kubeflow cluster would: their own command lines.

`runs` are three whole runs of the penguin pipeline. `penguin` and `taxi` have what the tasks before
ours leave, made in this process: cheaper, because every container loads TensorFlow anew.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tfx_registry.pipelines.options import IN_MEMORY_BEAM_ARGS, hidden_arguments
from tfx_registry.testing.postgresql import PostgreSqlServer

CONTAINER_SECONDS = 900

Job = dict[str, Any]
Outputs = dict[str, Any]


class TaskFailedError(AssertionError):
    """A task ended with an exit code other than 0; the message is what it printed."""


Start = Callable[[Sequence[str], Mapping[str, str]], tuple[int, str]]
"""Runs Python with arguments and an environment; returns exit code and output."""


def start_process(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Starts a new Python, as a container does."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=CONTAINER_SECONDS,
    )
    return done.returncode, done.stdout


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
        start: How a container is started.
        log: What each task printed last.
    """

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    start: Start = start_process
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
            python, *command = part["command"]
            assert python == "python"
            arguments = [a.replace("{{$}}", json.dumps(request)) for a in part["args"]]
            environment = {**_bare_environment(), **self.environment}
            code, said = self.start([*command, *arguments], environment)
            self.log[name] += said
            if code != 0:
                raise TaskFailedError(f"{name} ended with {code}: {said[-6000:]}")

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
    return Cluster(root, _secret(root, database))


@pytest.fixture(scope="session")
def compiled(cluster: Cluster, registry_uri: str) -> Callable[..., Job]:
    """Compiles the pipeline for the cluster, with hyperparameters."""
    from tfx_registry.pipelines.penguin.hyperparameters import Hyperparameters

    def compile_with(registry: str | None = registry_uri, **hyperparameters: Any) -> Job:
        chosen = Hyperparameters(**hyperparameters)
        return compile_job(cluster.root, registry=registry, hyperparameters=chosen)

    return compile_with


@pytest.fixture(scope="session")
def runs(cluster: Cluster, compiled: Callable[..., Job]) -> list[dict[str, Outputs]]:
    """Three runs: a first model, a better one, and a bad one that is blocked."""
    first = cluster.run(compiled(epochs=5), "run1")
    data = {name: first[name] for name in ("CsvExampleGen", "StatisticsGen", "SchemaGen")}
    second = cluster.run(compiled(epochs=60), "run2", data)
    third = cluster.run(compiled(only_island="Dream"), "run3", data)
    return [first, second, third]


@dataclass(frozen=True)
class Prepared:
    """A pipeline of which only our three tasks are still to run.

    Attributes:
        cluster: Where they run; its containers find the registry in their environment.
        job: The compiled pipeline.
        made: Outputs of the tasks before them.
        registry: URI of the registry.
    """

    cluster: Cluster
    job: Job
    made: dict[str, Outputs]
    registry: str

    @property
    def serving(self) -> Path:
        """Where models are published."""
        return self.cluster.root / "serving"


@pytest.fixture(scope="session")
def warm_image() -> Iterator[Start]:
    """Starts containers from a process that has loaded TFX; see `warm_image.py`."""
    program = [sys.executable, str(Path(__file__).with_name("warm_image.py"))]
    with subprocess.Popen(
        program, env=_bare_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as image:
        assert image.stdin is not None
        assert image.stdout is not None

        def start(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
            asked = {"arguments": list(arguments), "environment": dict(environment)}
            image.stdin.write(json.dumps(asked) + "\n")
            image.stdin.flush()
            answer = json.loads(image.stdout.readline())
            return answer["code"], answer["said"]

        yield start


@pytest.fixture(scope="session")
def prepare(
    tmp_path_factory: pytest.TempPathFactory, database: PostgreSqlServer, warm_image: Start
) -> Callable[[str], Prepared]:
    """Runs the tasks before ours in this process, with another runner."""

    from tfx import v1 as tfx
    from tfx.orchestration.pipeline import RunOptions

    def run_stock_tasks(example: str) -> Prepared:
        root = tmp_path_factory.mktemp(example)
        with hidden_arguments():
            tfx.orchestration.LocalDagRunner().run(
                _local_pipeline(example, root), run_options=RunOptions(to_nodes=["Trainer"])
            )
        job = compile_job(root, registry=None, example=example)
        registry = database.uri("prepared")
        environment = {**_secret(root, database), "TFX_REGISTRY_URI": registry}
        cluster = Cluster(root, environment, warm_image)
        return Prepared(cluster, job, _made(job, root), registry)

    return run_stock_tasks


@pytest.fixture(scope="session")
def penguin(prepare: Callable[[str], Prepared]) -> Prepared:
    """The penguin pipeline, trained for a moment."""
    return prepare("penguin")


@pytest.fixture(scope="session")
def taxi(prepare: Callable[[str], Prepared]) -> Prepared:
    """The taxi pipeline, trained for a moment."""
    return prepare("taxi")


def compile_job(volume: Path, **options: Any) -> Job:
    """Compiles a pipeline for containers that mount a volume."""
    from tfx_registry.pipelines.kubeflow_runner import compile_pipeline

    path = volume / "pipeline.json"
    compile_pipeline(path, image="tfx-registry:latest", volume=str(volume), **options)
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _secret(root: Path, database: PostgreSqlServer) -> dict[str, str]:
    """The environment that a Secret gives: the password as a file."""
    secret = root / "secret"
    secret.write_text(database.password + "\n", encoding="utf-8")
    return {"TFX_REGISTRY_PASSWORD_FILE": str(secret), "TFX_REGISTRY_ACTOR": "kubeflow"}


def _local_pipeline(example: str, root: Path) -> Any:
    """Builds a pipeline for a runner in this process."""
    from tfx import v1 as tfx

    from tfx_registry.pipelines.penguin.data import write_penguin_csv
    from tfx_registry.pipelines.penguin.pipeline import create_pipeline as create_penguin
    from tfx_registry.pipelines.taxi.data import write_taxi_csv
    from tfx_registry.pipelines.taxi.pipeline import create_pipeline as create_taxi

    taxi = example == "taxi"
    (write_taxi_csv if taxi else write_penguin_csv)(root / "data")
    create = create_taxi if taxi else functools.partial(create_penguin, gate_evaluates=True)
    return create(
        pipeline_name=example,
        pipeline_root=str(root / "pipeline"),
        data_root=str(root / "data"),
        serving_dir=str(root / "serving" / example),
        registry_uri=None,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(root / "metadata.sqlite")
        ),
        # TFX packs itself up for Beam's workers, once in each component, unless they have an image.
        beam_pipeline_args=[*IN_MEMORY_BEAM_ARGS, "--sdk_container_image=unused"],
    )


_STOCK = frozenset({"CsvExampleGen", "StatisticsGen", "SchemaGen", "Transform", "Trainer"})


def _made(job: Job, root: Path) -> dict[str, Outputs]:
    """Describes what a run in this process made, as tasks in containers are told of it."""
    import ml_metadata

    connection = ml_metadata.proto.ConnectionConfig()
    connection.sqlite.filename_uri = str(root / "metadata.sqlite")
    artifacts = {a.uri: a for a in ml_metadata.MetadataStore(connection).get_artifacts()}
    spec = job["pipelineSpec"]
    made: dict[str, Outputs] = {}
    for name in sorted(_STOCK & set(spec["root"]["dag"]["tasks"])):
        component = spec["components"][spec["root"]["dag"]["tasks"][name]["componentRef"]["name"]]
        made[name] = {}
        for key, definition in component["outputDefinitions"]["artifacts"].items():
            [uri] = [uri for uri in artifacts if f"/pipeline/{name}/{key}/" in uri]
            made[name][key] = {
                "name": f"projects/1/artifacts/before-{name}-{key}",
                "uri": uri,
                "type": dict(definition["artifactType"]),
                "metadata": _metadata(artifacts[uri]),
            }
    return made


def _metadata(artifact: Any) -> dict[str, Any]:
    """Returns the properties of an artifact, whose numbers become floats in JSON."""
    values = {**artifact.properties, **artifact.custom_properties}
    return {name: getattr(value, value.WhichOneof("value")) for name, value in values.items()}
