"""What goes wrong at run time under Airflow: the task fails and says what to do, and a retry works.

All tasks are in one DAG, so TensorFlow is loaded once for all of them.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.digest import digest_path
from tfx_registry.gate import DataIdentity, GateReport
from tfx_registry.gating import report_of
from tfx_registry.promotion import promote
from tfx_registry.records import Verdict, Version, VersionState
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
class Chain:
    """What registering, gating and publishing one model left behind.

    Attributes:
        version: The version.
        decisions: The report of each decision on it.
        history: The kinds of the events.
        published: Digests of what a model server would find, by directory.
    """

    version: Version
    decisions: list[GateReport]
    history: list[str]
    published: dict[str, str]


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
        later: What the three components left behind, the registry not being there at first.
        without_driver: What they left behind with TFX's own driver.
    """

    root: Path
    returncode: int
    tasks: dict[str, Any]
    settings: dict[str, str]
    before: list[Version]
    after: list[Version]
    registered: dict[str, list[Version]]
    later: Chain
    without_driver: Chain


def left_behind(uri: str, serving: Path) -> Chain:
    with ModelRegistry.open(uri, create=False) as registry:
        [version] = registry.list_versions("penguin")
        decisions = registry.decisions("penguin", version.number)
        reports = [report_of(event.payload) for event in decisions]
        history = [event.kind for event in registry.history("penguin")]
    published = {p.name: digest_path(p).root for p in serving.iterdir() if p.name.isdigit()}
    return Chain(version, reports, history, published)


def versions(uri: str) -> list[Version]:
    with ModelRegistry.open(uri, create=False) as registry:
        if not registry.list_models():
            return []
        return registry.list_versions("penguin", newest_first=False)


def run_without(
    servers: Collection[GrpcServerProcess], installation: Any, settings: dict[str, str]
) -> tuple[int, str]:
    """Runs the DAG without some servers; each is there as soon as a task has missed it."""
    for server in servers:
        server.stop()
    printed = ""
    with installation.start("dags", "test", "faulty", "2026-02-01", **settings) as process:
        for line in process.stdout:
            printed += line
            for server in servers:
                if f"127.0.0.1:{server.port}: nobody listens there" in line:
                    server.start()  # changes nothing if it runs
    assert "starting task_id=" in printed, printed[-6000:]
    return process.returncode, printed


@pytest.fixture(scope="module")
def faulty(
    airflow: Any, install: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Faulty:
    """Runs it once."""
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
        "without_driver": f"sqlite:///{root}/without_driver.sqlite",
        "nobody_listens": f"mysql://tfx@127.0.0.1:{free_port()}/registry",
        "earlier_model": artifacts("Trainer", "model")[0],
        "model": artifacts("Trainer", "model")[1],
        "blessing": artifacts("VersionGate", "blessing")[1],
        "earlier_evaluation": artifacts("Evaluator", "evaluation")[0],
        "evaluation": artifacts("Evaluator", "evaluation")[1],
        "examples": artifacts("CsvExampleGen", "examples")[0],
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
    with contextlib.ExitStack() as stack:
        settings["postgresql"] = stack.enter_context(PostgreSqlServer()).uri("registry")
        servers = {
            name: stack.enter_context(GrpcServerProcess())
            for name in ("listens_later", "resolves_later", "serves_later")
        }
        settings.update({name: server.uri() for name, server in servers.items()})
        settings["file_of_server"] = f"sqlite:///{servers['serves_later'].folder}/metadata.sqlite"
        returncode, printed = run_without(servers.values(), installation, settings)
        registered = {name: versions(settings[name]) for name in ("listens_later", "lost")}
        later = left_behind(settings["serves_later"], root / "serving_later" / "penguin")
    without_driver = left_behind(
        settings["without_driver"], root / "serving_without_driver" / "penguin"
    )
    after = versions(settings["registry"])
    tasks = installation.tasks(printed)
    return Faulty(
        root=root,
        returncode=returncode,
        tasks=tasks,
        settings=settings,
        before=before,
        after=after,
        registered=registered,
        later=later,
        without_driver=without_driver,
    )


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


def test_the_resolver_is_tried_again_until_the_registry_listens(faulty: Faulty) -> None:
    task = faulty.tasks["resolves_later"]
    assert task.state == "success"
    assert task.tries > 1
    assert "nobody listens there" in task.log
    assert "no version of penguin serves yet" in task.log


def test_a_worker_that_is_lost_after_it_registered_leaves_one_version(faulty: Faulty) -> None:
    task = faulty.tasks["lost_after_registering"]
    assert (task.state, task.tries) == ("success", 2)
    assert task.log.count("as penguin:1") == 2, task.log[-3000:]
    [version] = faulty.registered["lost"]
    assert version.seq == 1


def test_a_gate_that_is_tried_again_decides_once_and_the_promoter_goes_on(faulty: Faulty) -> None:
    """Its registry is down; when it is back, the worker is lost after the decision."""
    task = faulty.tasks["decide_later"]
    assert task.state == "success"
    assert task.tries > 2
    for said in ("nobody listens there", "the worker was lost", "is recorded already"):
        assert said in task.log
    assert (faulty.tasks["publish_later"].state, faulty.tasks["publish_later"].tries) == (
        "success",
        1,
    )
    assert faulty.later.history == ["registered", "decided", "publish_started", "promoted"]
    [report] = faulty.later.decisions
    assert report.verdict is Verdict.PASSED
    assert faulty.later.version.state is VersionState.SERVING
    assert faulty.later.published == {"1": faulty.later.version.digest}


def test_without_a_driver_the_components_do_the_same(faulty: Faulty) -> None:
    for name in ("register", "decide", "publish"):
        task = faulty.tasks[f"{name}_without_driver"]
        assert (task.state, task.tries) == ("success", 1), task.log[-3000:]
    theirs, ours = faulty.without_driver, faulty.later
    assert theirs.history == ours.history
    assert theirs.published == ours.published
    for version in (theirs.version, ours.version):
        assert version.state is VersionState.SERVING
    assert theirs.version.sources == ours.version.sources
    assert theirs.version.hyperparameters == ours.version.hyperparameters
    [without], [with_driver] = theirs.decisions, ours.decisions
    # The driver proves from the lineage which examples these were; without it they are as given.
    assert without.data.digest == with_driver.data.digest != ""
    texts = [replace(report, data=DataIdentity()).to_json() for report in (without, with_driver)]
    assert texts[0] == texts[1]


def test_what_the_driver_is_for(faulty: Faulty) -> None:
    """Should TFX's launcher learn both some day, the driver can go."""
    task = faulty.tasks["second_blessing_without_driver"]
    assert (task.state, task.tries) == ("failed", 2)
    name_taken, input_again = "Given node already exists", "Given event already exists"
    assert name_taken in task.log
    assert 'name: "blessing:manual__2026-02-01' in task.log
    assert input_again in task.log.partition(name_taken)[2]


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
