"""What goes wrong in a container: the task fails, says what to do, and can be tried again.

Only our three tasks run here, on what the tasks before them left. The first time each of them runs
while the registry's server is down.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.records import Verdict, VersionState

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

OURS = ("ModelRegistrar", "VersionGate", "Promoter")


@dataclass(frozen=True)
class Outage:
    """A run during which the registry's server was down at the first try of each of our tasks.

    Attributes:
        said: What each task said when it failed.
        published: What was in the serving directory after each failure.
        made: The outputs of all tasks, after they were tried again.
    """

    said: dict[str, str]
    published: dict[str, list[str]]
    made: dict[str, Any]


@pytest.fixture(scope="session")
def outage(penguin: Any, database: Any) -> Outage:
    made = dict(penguin.made)
    said, published = {}, {}
    for name in OURS:
        database.stop()
        said[name] = failure(penguin, name, made)
        published[name] = sorted(str(p) for p in penguin.serving.rglob("*"))
        database.start()
        made[name] = penguin.cluster.run_task(penguin.job["pipelineSpec"], name, made, "run1")
    return Outage(said, published, made)


@pytest.fixture
def registry(
    penguin: Any, database: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ModelRegistry]:
    monkeypatch.setenv("TFX_REGISTRY_PASSWORD", database.password)
    with ModelRegistry.open(penguin.registry) as opened:
        yield opened


@pytest.fixture
def unchanged(outage: Outage, registry: ModelRegistry, penguin: Any) -> Iterator[None]:
    """What fails must leave registry and serving directory as they were."""
    before = (registry.head("penguin"), visible(penguin.serving))
    yield
    assert (registry.head("penguin"), visible(penguin.serving)) == before


def visible(serving: Path) -> list[str]:
    """The versions of the penguin model that a server would load."""
    return sorted(p.name for p in (serving / "penguin").iterdir() if p.name.isdigit())


def failure(
    prepared: Any, name: str, made: Any, job: Any = None, run_id: str = "run1", **environment: str
) -> str:
    """Runs a task that must fail; returns what it said, whose last line is the error."""
    variables = {k: v for k, v in (prepared.cluster.environment | environment).items() if v}
    cluster = replace(prepared.cluster, environment=variables, log={})
    with pytest.raises(AssertionError, match=f"{name} ended with 1:") as failed:
        cluster.run_task((job or prepared.job)["pipelineSpec"], name, made, run_id)
    lines = [line for line in str(failed.value).splitlines() if "tfx_registry.errors." in line]
    return lines[-1]


@pytest.mark.parametrize("name", OURS)
def test_a_task_without_its_registry_fails_and_says_what_to_do(
    outage: Outage, database: Any, name: str
) -> None:
    said = outage.said[name]
    assert f"127.0.0.1:{database.port}: nobody listens there" in said
    assert re.search(r"StoreUnavailableError: .+: .+; .+", said)
    assert database.password not in said
    assert outage.published[name] == []


def test_each_task_that_is_tried_again_does_its_work_once(
    outage: Outage, registry: ModelRegistry, penguin: Any
) -> None:
    [version] = registry.list_versions("penguin")
    assert version.state is VersionState.SERVING
    assert visible(penguin.serving) == ["1"]
    kinds = [event.kind for event in registry.history("penguin")]
    assert len(kinds) == len(set(kinds))
    assert registry.fsck().findings == ()


def test_a_task_that_ran_already_runs_again_and_changes_nothing(
    outage: Outage, registry: ModelRegistry, penguin: Any, unchanged: None
) -> None:
    spec = penguin.job["pipelineSpec"]
    for name in ("ModelRegistrar", "Promoter"):
        again = penguin.cluster.run_task(spec, name, outage.made, "run1")
        assert again == outage.made[name]


@pytest.mark.usefixtures("unchanged")
def test_a_container_without_the_password_is_told_where_one_is_given(
    penguin: Any, outage: Outage
) -> None:
    said = failure(penguin, "ModelRegistrar", outage.made, TFX_REGISTRY_PASSWORD_FILE="")
    assert "TFX_REGISTRY_PASSWORD" in said


@pytest.mark.usefixtures("unchanged")
def test_a_container_with_another_password_is_told_that_it_is_wrong(
    penguin: Any, outage: Outage
) -> None:
    said = failure(
        penguin,
        "Promoter",
        outage.made,
        TFX_REGISTRY_PASSWORD_FILE="",
        TFX_REGISTRY_PASSWORD="another",
    )
    assert "password" in said
    assert "another" not in said


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("", "TFX_REGISTRY_URI"),
        ("postgres//tfx@postgres/registry", "postgres//tfx"),
        ("mysql://tfx@127.0.0.1:{port}/prepared", "mysql"),
        ("sqlite:////no/such/folder/registry.sqlite", "/no/such/folder"),
    ],
)
def test_a_wrong_address_in_the_configmap_is_named(
    penguin: Any, outage: Outage, database: Any, uri: str, why: str
) -> None:
    uri = uri.format(port=database.port)
    assert why in failure(penguin, "ModelRegistrar", outage.made, TFX_REGISTRY_URI=uri)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", ["VersionGate", "Promoter"])
def test_an_empty_registry_does_not_know_the_version(
    penguin: Any, outage: Outage, database: Any, name: str
) -> None:
    elsewhere = database.uri("elsewhere")
    said = failure(penguin, name, outage.made, TFX_REGISTRY_URI=elsewhere)
    assert "penguin" in said
    assert "NotFoundError" in said


@pytest.mark.usefixtures("unchanged")
def test_a_version_of_another_model_is_not_promoted(
    penguin: Any, outage: Outage, another_version: Any
) -> None:
    said = failure(penguin, "Promoter", {**outage.made, "ModelRegistrar": another_version})
    assert "gentoo:1" in said


@pytest.mark.usefixtures("unchanged")
def test_a_version_of_another_model_is_blocked_by_the_gate(
    penguin: Any, outage: Outage, another_version: Any, registry: ModelRegistry
) -> None:
    wired_wrong = {**outage.made, "ModelRegistrar": another_version}
    made = penguin.cluster.run_task(
        penguin.job["pipelineSpec"], "VersionGate", wired_wrong, "wrong"
    )
    assert made["blessing"]["metadata"]["blessed"] == 0
    decision = registry.get("gentoo", 1).decision
    assert decision is not None
    assert decision.verdict is Verdict.BLOCKED
    assert "does not hold the bytes of gentoo:1" in " ".join(decision.reasons)


@pytest.fixture(scope="session")
def another_version(penguin: Any, outage: Outage, database: Any, tmp_path_factory: Any) -> Any:
    """The output of another model's ModelRegistrar, in the same registry."""
    from tfx_registry.testing.minimal_model import write_minimal_model

    model = write_minimal_model(tmp_path_factory.mktemp("another") / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFX_REGISTRY_PASSWORD", database.password)
        with ModelRegistry.open(penguin.registry) as registry:
            version = registry.register("gentoo", model, actor="ada")
    output = outage.made["ModelRegistrar"]["model_version"]
    metadata = {"model_name": "gentoo", "version": "1", "digest": version.digest}
    return {"model_version": {**output, "metadata": {**output["metadata"], **metadata}}}


@pytest.mark.usefixtures("unchanged")
def test_a_volume_that_is_not_mounted_any_more_is_not_written_beside(
    penguin: Any, outage: Outage, tmp_path: Path
) -> None:
    mounted = penguin.serving.rename(tmp_path / "not mounted")
    try:
        said = failure(penguin, "Promoter", outage.made)
        assert not penguin.serving.exists()
    finally:
        mounted.rename(penguin.serving)
    assert "version 1 of 'penguin' should serve there, and nothing is there" in said
    assert "mount its volume" in said


@pytest.mark.usefixtures("unchanged")
def test_a_volume_that_cannot_be_written_to_is_named(
    penguin: Any, outage: Outage, tmp_path: Path
) -> None:
    (tmp_path / "volume").write_text("no directory", encoding="utf-8")
    job = json.loads(json.dumps(penguin.job).replace(str(penguin.serving), f"{tmp_path}/volume"))
    said = failure(penguin, "Promoter", outage.made, job)
    assert f"'{tmp_path}/volume' is not a directory" in said
