"""Two teams, each with its pipelines and its own ML Metadata, share a registry and a serving tree.

The teams are processes that run side by side, and both register versions of one model.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.digest import digest_path
from tfx_registry.records import Version, VersionState
from tfx_registry.testing import MariaDbServer, PostgreSqlServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

TEAMS = ("north", "south")
SHARED = "fares"
PUBLISHER = "north"
RUNS = 2
TEAM_SECONDS = 1000
DATABASES = ("mysql", "postgresql")
PROGRAM = Path(__file__).with_name("shared_registry_team.py")


@dataclass(frozen=True)
class Shared:
    """What the teams left.

    Attributes:
        root: Where everything is.
        uris: The registry's URI by the kind of its database.
        passwords: The password of each.
    """

    root: Path
    uris: dict[str, str]
    passwords: dict[str, str]

    def metadata(self, team: str, database: str) -> Any:
        import ml_metadata as mlmd
        from ml_metadata.proto import metadata_store_pb2 as pb

        config = pb.ConnectionConfig()
        config.sqlite.filename_uri = str(self.root / team / f"{database}.sqlite")
        config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READONLY
        return mlmd.MetadataStore(config)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    root = tmp_path_factory.mktemp("teams")
    with MariaDbServer() as mariadb, PostgreSqlServer() as postgresql:
        # One password for both: there is one variable.
        postgresql.sql(f"ALTER ROLE \"{postgresql.user}\" PASSWORD '{mariadb.password}'")
        uris = {
            "mysql": mariadb.create_database("registry"),
            "postgresql": postgresql.create_database("registry"),
        }
        run_teams(root, list(uris.values()), mariadb.password)
        yield Shared(root, uris, dict.fromkeys(uris, mariadb.password))


def run_teams(root: Path, uris: list[str], password: str) -> None:
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    variables["TFX_REGISTRY_PASSWORD"] = password
    processes = {}
    for team in TEAMS:
        command = [sys.executable, str(PROGRAM), team, str(root), str(RUNS), *uris]
        with (root / f"{team}.log").open("wb") as log:
            processes[team] = subprocess.Popen(
                command,
                env={**variables, "TFX_REGISTRY_ACTOR": team},
                stdout=log,
                stderr=log,
            )
    try:
        # One that failed would leave the other waiting for it.
        deadline = time.monotonic() + TEAM_SECONDS
        while any(process.poll() is None for process in processes.values()):
            if any(process.poll() for process in processes.values()):
                break
            assert time.monotonic() < deadline, "the teams did not come to an end"
            time.sleep(0.1)
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    said = "\n".join((root / f"{team}.log").read_text()[-3000:] for team in TEAMS)
    assert [process.returncode for process in processes.values()] == [0, 0], said


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest, shared: Shared, monkeypatch: Any) -> str:
    monkeypatch.setenv("TFX_REGISTRY_PASSWORD", shared.passwords[request.param])
    return str(request.param)


@pytest.fixture
def registry(shared: Shared, database: str) -> Iterator[ModelRegistry]:
    with ModelRegistry.open(shared.uris[database], create=False) as opened:
        yield opened


def team_of(version: Version) -> str:
    return version.origin.pipeline_name.partition("_")[0]


def test_versions_of_both_teams_interleave_and_none_is_lost(registry: ModelRegistry) -> None:
    assert sorted(head.model for head in registry.list_models()) == [SHARED, *TEAMS]
    versions = registry.list_versions(SHARED, newest_first=False)
    assert [version.number for version in versions] == list(range(1, 2 * RUNS + 1))
    for number in range(RUNS):
        pair = versions[2 * number : 2 * number + 2]
        assert {team_of(version) for version in pair} == set(TEAMS)
    for team in TEAMS:
        own = registry.list_versions(team, newest_first=False)
        assert [version.number for version in own] == list(range(1, RUNS + 1))
        assert {version.actor for version in own} == {team}
    assert len({version.digest for version in versions}) == 2 * RUNS


def test_the_lineage_is_complete_in_the_shared_registry(
    registry: ModelRegistry, shared: Shared
) -> None:
    runs = set()
    for name in (SHARED, *TEAMS):
        for version in registry.list_versions(name):
            team = team_of(version)
            sources = {source.key: source for source in version.sources}
            assert set(sources) == {"examples", "model"}
            examples = sources["examples"]
            assert examples.type_name == "Examples"
            assert Path(examples.uri).parent == shared.root / team / "examples"
            assert examples.properties["span"] == Path(examples.uri).name
            assert examples.digest == digest_path(Path(examples.uri)).root
            assert version.origin.node_id == f"registrar_{name}"
            assert digest_path(Path(version.origin.artifact_uri) / "Format-Serving").root == (
                version.digest
            )
            graph = registry.lineage(name, version.number)
            assert {source.uri for source in version.sources} <= {n.uri for n in graph.nodes}
            runs.add((version.origin.pipeline_name, version.origin.run_id))
    assert len(runs) == 2 * RUNS, "each run made a version of the shared model and one of its own"


def test_each_teams_own_metadata_knows_its_own_runs_alone(
    registry: ModelRegistry, shared: Shared, database: str
) -> None:
    seen = []
    for team in TEAMS:
        store = shared.metadata(team, database)
        own = store.get_artifacts_by_type("tfx_registry.ModelVersion")
        found = {
            (
                artifact.custom_properties["model_name"].string_value,
                int(artifact.custom_properties["version"].string_value),
            )
            for artifact in own
        }
        assert len(own) == len(found) == 2 * RUNS
        assert {name for name, _ in found} == {SHARED, team}
        for name, number in found:
            assert team_of(registry.get(name, number)) == team
        seen += [number for name, number in found if name == SHARED]
        assert not [kind for kind in store.get_context_types() if "registry" in kind.name]
    assert sorted(seen) == list(range(1, 2 * RUNS + 1))


def test_the_serving_tree_and_the_registry_agree(
    registry: ModelRegistry, shared: Shared, database: str
) -> None:
    for name in (SHARED, *TEAMS):
        base = shared.root / "serving" / database / name
        versions = {version.number: version for version in registry.list_versions(name)}
        published = {n for n, v in versions.items() if name in TEAMS or team_of(v) == PUBLISHER}
        there = {int(path.name) for path in base.iterdir() if path.name.isdecimal()}
        assert len(there) == RUNS
        assert there == published, "what its team promoted, and nothing else"
        for number in there:
            assert digest_path(base / str(number)).root == versions[number].digest
        serving = registry.resolve(f"{name}@production")
        assert serving.number == max(published)
        assert serving.state is VersionState.SERVING
        assert registry.fsck(name).findings == ()
