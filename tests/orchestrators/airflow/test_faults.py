"""What goes wrong at run time under Airflow: the task fails and says what to do, and a retry works.

All tasks are in one DAG, so TensorFlow is loaded once for all of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.promotion import promote
from tfx_registry.records import Verdict, Version
from tfx_registry.testing import GrpcServerProcess, PostgreSqlServer
from tfx_registry.testing.process import free_port

pytestmark = pytest.mark.timeout(1800)

# name of the task -> what its log says: what is wrong, and what to do
FAILED = {
    **dict.fromkeys(
        ("nobody_listens", "gate_without_server", "promoter_without_server"),
        ("nobody listens there", "check host and port, and that the server runs"),
    ),
    "no_password": ("no password was given", "set TFX_REGISTRY_PASSWORD or"),
    "no_such_folder": ("no/such/folder' does not exist", "create it first"),
    "no_database": ("file is not a database", "check that the path is that of an SQLite database"),
    "no_address": ("TFX_REGISTRY_URI is not set", "pass the URI"),
    "gate_in_another_registry": (
        "no model 'penguin' in the registry at sqlite:///",
        "give all components of the pipeline the same registry",
    ),
    "promoter_in_another_registry": (
        "no model 'penguin' in the registry at sqlite:///",
        "give all components of the pipeline the same registry",
    ),
    "promoter_with_another_version": (
        "cannot promote penguin:3: the gate blocked it",
        "tfx-registry show penguin:3",
    ),
    "promoter_with_another_model": (
        "has other bytes than the registered version",
        "register the new bytes as a version of their own",
    ),
    "promoter_with_another_blessing": ("the blessing is of the model at", "connect the blessing"),
    "no_folder": ("cannot publish into", "give a directory"),
    "empty_volume": ("should serve there, and nothing is there", "mount its volume"),
}


@dataclass(frozen=True)
class Faulty:
    """The DAG of `faulty_dag.py`, after its run.

    Attributes:
        root: Where its tasks write.
        returncode: Exit code of `airflow dags test`.
        tasks: What became of each task.
        settings: The DAG's settings.
        before: The versions before the run.
        after: The versions after it.
        registered: By registry, what the tasks registered that were tried again.
    """

    root: Path
    returncode: int
    tasks: dict[str, Any]
    settings: dict[str, str]
    before: list[Version]
    after: list[Version]
    registered: dict[str, list[Version]]


def versions(uri: str) -> list[Version]:
    with ModelRegistry.open(uri, create=False) as registry:
        if not registry.list_models():
            return []
        return registry.list_versions("penguin", newest_first=False)


@pytest.fixture(scope="module")
def faulty(
    airflow: Any, install: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Faulty:
    """Runs it once. The registry's server starts when the first try has found nobody there."""
    root = tmp_path_factory.mktemp("faulty")
    metadata = root / "metadata.sqlite"
    for copy in (metadata, root / "copy.sqlite"):
        shutil.copy(airflow.root / "metadata.sqlite", copy)
    (root / "no_database").write_text("a text", encoding="utf-8")
    (root / "no_folder").write_text("in the way", encoding="utf-8")

    def artifacts(node: str, key: str) -> list[str]:
        folder = airflow.root / "pipeline" / node / key
        return [str(path) for path in sorted(folder.iterdir(), key=lambda path: int(path.name))]

    earlier, version, later = artifacts("ModelRegistrar", "model_version")
    settings = {
        "root": str(root),
        "metadata": str(metadata),
        "registry": f"sqlite:///{metadata}",
        "another_registry": f"sqlite:///{root}/another.sqlite",
        "copy": f"sqlite:///{root}/copy.sqlite",
        "lost": f"sqlite:///{root}/lost.sqlite",
        "nobody_listens": f"mysql://tfx@127.0.0.1:{free_port()}/registry",
        "earlier_model": artifacts("Trainer", "model")[0],
        "model": artifacts("Trainer", "model")[1],
        "blessing": artifacts("VersionGate", "blessing")[1],
        "evaluation": artifacts("Evaluator", "evaluation")[1],
        "earlier_version": earlier,
        "version": version,
        "later_version": later,
        "no_database": str(root / "no_database"),
        "no_folder": str(root / "no_folder"),
        "empty_volume": str(root / "empty_volume"),
    }
    with ModelRegistry.open(settings["another_registry"]):
        pass  # a registry, and empty
    with ModelRegistry.open(settings["registry"], create=False) as registry:
        promote(registry, "penguin", 2, settings["empty_volume"])
    shutil.rmtree(settings["empty_volume"])
    (root / "empty_volume").mkdir()
    before = versions(settings["registry"])
    installation = install("faulty")
    installation.add_dag(Path(__file__).with_name("faulty_dag.py").read_text(encoding="utf-8"))
    with PostgreSqlServer() as database, GrpcServerProcess() as server:
        server.stop()
        settings["postgresql"] = database.uri("registry")
        settings["listens_later"] = server.uri()
        process = installation.start("dags", "test", "faulty", "2026-01-01", **settings)
        printed = []
        with process:
            for line in process.stdout:
                printed.append(line)
                if f"127.0.0.1:{server.port}: nobody listens there" in line:
                    server.start()  # changes nothing if it runs
        registered = {name: versions(settings[name]) for name in ("listens_later", "lost")}
    after = versions(settings["registry"])
    tasks = installation.tasks("".join(printed))
    return Faulty(root, process.returncode, tasks, settings, before, after, registered)


@pytest.mark.parametrize("name", FAILED)
def test_a_task_fails_and_says_what_to_do(faulty: Faulty, name: str) -> None:
    task = faulty.tasks[name]
    assert (task.state, task.tries) == ("failed", 1)
    for said in FAILED[name]:
        assert said in task.log, task.log[-3000:]


def test_the_command_fails(faulty: Faulty) -> None:
    assert faulty.returncode != 0


def test_airflow_tries_again_until_the_registry_listens(faulty: Faulty) -> None:
    task = faulty.tasks["listens_later"]
    assert task.state == "success"
    assert task.tries > 1
    assert "nobody listens there" in task.log
    [version] = faulty.registered["listens_later"]
    assert version.facts.uri.startswith(faulty.settings["model"])


def test_a_worker_that_is_lost_after_it_registered_leaves_one_version(faulty: Faulty) -> None:
    task = faulty.tasks["lost_after_registering"]
    assert (task.state, task.tries) == ("success", 2)
    assert task.log.count("as penguin:1") == 2, task.log[-3000:]
    [version] = faulty.registered["lost"]
    assert version.seq == 1


def test_a_worker_that_is_lost_after_it_published_leaves_one_promotion(faulty: Faulty) -> None:
    task = faulty.tasks["lost_after_publishing"]
    assert (task.state, task.tries) == ("success", 2)
    assert "serves already" in task.log
    with ModelRegistry.open(faulty.settings["copy"], create=False) as registry:
        promoted = [e.number for e in registry.history("penguin") if e.kind == "promoted"]
        assert registry.get("penguin", 2).serving[-1] == str(faulty.root / "published")
    assert promoted == [1, 2, 2]  # where the run that went well published, and here, once
    assert [p.name for p in (faulty.root / "published").iterdir() if p.name.isdigit()] == ["2"]


def test_a_gate_that_is_given_the_version_of_another_model_blocks_it(faulty: Faulty) -> None:
    assert faulty.tasks["gate_with_another_version"].state == "success"
    decision = faulty.after[2].decision
    assert decision is not None
    assert decision.verdict is Verdict.BLOCKED
    assert "does not hold the bytes of penguin:3" in decision.reasons[0]


def test_nothing_is_published_and_nothing_else_is_decided(faulty: Faulty) -> None:
    assert not list(faulty.root.glob("serving/**/saved_model.pb"))
    assert not list((faulty.root / "empty_volume").iterdir())
    assert [(v.number, v.state) for v in faulty.after] == [
        (v.number, v.state) for v in faulty.before
    ]
    assert [v.seq for v in faulty.after[:2]] == [v.seq for v in faulty.before[:2]]
