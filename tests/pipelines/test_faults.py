"""What goes wrong at run time: the message, and that a retry makes it good.

Each under LocalDagRunner and BeamDagRunner. Beam puts the name of the component into the text of
the error, and may make a RuntimeError of it.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.errors import RegistryError
from tfx_registry.pipelines.options import IN_MEMORY_RUNNER
from tfx_registry.records import VersionState
from tfx_registry.testing import PostgreSqlServer
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.process import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NAME = "fares"


@pytest.fixture(scope="module")
def tfx() -> Any:
    from tfx import v1 as tfx

    return tfx


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSqlServer]:
    with PostgreSqlServer() as started:
        yield started


@pytest.fixture
def database(
    server: PostgreSqlServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """URI of an empty registry; the password is in the environment."""
    monkeypatch.setenv("TFX_REGISTRY_PASSWORD", server.password)
    name = f"faults_{os.getpid()}_{abs(hash(tmp_path))}"
    yield server.create_database(name)
    server.drop_database(name)


class Runs:
    """Runs of one pipeline: a model that is there, registrar and promoter."""

    def __init__(self, tfx: Any, runner: str, root: Path) -> None:
        self.tfx = tfx
        self.runner = runner
        self.root = root
        self.serving = root / "serving" / NAME
        self.models = {
            which: write_minimal_model(root / which / "Format-Serving", which).parent
            for which in ("first", "second")
        }

    def run(
        self,
        registry: str | None,
        *,
        model: str = "first",
        promoted: str | None = None,
        serving: Path | None = None,
    ) -> None:
        """Runs registrar, and promoter if `promoted` says which model it is given."""
        from tfx.types import standard_artifacts

        from tfx_registry.components import ModelRegistrar, Promoter

        def imported(which: str, node: str) -> Any:
            return self.tfx.dsl.Importer(
                source_uri=str(self.models[which]), artifact_type=standard_artifacts.Model
            ).with_id(node)

        trained = imported(model, "model")
        registrar = ModelRegistrar(
            model=trained.outputs["result"], model_name=NAME, registry=registry
        )
        nodes = [trained, registrar]
        if promoted:
            given = trained if promoted == model else imported(promoted, "other_model")
            destination = self.tfx.proto.PushDestination.Filesystem(
                base_directory=str(serving or self.serving)
            )
            promoter = Promoter(
                model=given.outputs["result"],
                model_version=registrar.outputs["model_version"],
                registry=registry,
                push_destination=self.tfx.proto.PushDestination(filesystem=destination),
            )
            nodes += [promoter] if given is trained else [given, promoter]
        config = self.tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(self.root / "metadata.sqlite")
        )
        self.dag_runner().run(
            self.tfx.dsl.Pipeline(
                pipeline_name="daily",
                pipeline_root=str(self.root / "root"),
                components=nodes,
                metadata_connection_config=config,
                enable_cache=True,
            )
        )

    def dag_runner(self) -> Any:
        if self.runner == "local":
            return self.tfx.orchestration.LocalDagRunner()
        from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner

        return BeamDagRunner()

    def fails(self, message: str) -> Any:
        """Expects an error with a message, as the runner hands it on."""
        kinds = (RegistryError,) if self.runner == "local" else (RegistryError, RuntimeError)
        return pytest.raises(kinds, match=message)

    def visible(self) -> list[str]:
        children = self.serving.iterdir() if self.serving.exists() else []
        return sorted(child.name for child in children if child.name.isdecimal())


@pytest.fixture(params=["local", "beam"])
def runs(
    tfx: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Runs:
    from apache_beam.options.pipeline_options import StandardOptions

    # As pipelines/beam_runner.py does.
    monkeypatch.setattr(StandardOptions, "DEFAULT_RUNNER", IN_MEMORY_RUNNER)
    return Runs(tfx, request.param, tmp_path)


def override(registry: str) -> None:
    with ModelRegistry.open(registry) as opened:
        opened.override(NAME, 1, reason="a test", expires=datetime.timedelta(hours=1))


def states(registry: str) -> list[VersionState]:
    with ModelRegistry.open(registry, create=False) as opened:
        return [version.state for version in opened.list_versions(NAME)]


def test_a_registry_out_of_reach_and_the_retry(
    runs: Runs, database: str, server: PostgreSqlServer
) -> None:
    server.stop()
    try:
        with runs.fails(f"127.0.0.1:{server.port}: nobody listens there") as caught:
            runs.run(database)
    finally:
        server.start()
    # It says what to do, too.
    assert "check host and port, and that the server runs" in str(caught.value)
    assert runs.runner == "beam" or caught.value.exit_code == 6
    # The same pipeline again, and once more: cached, so there is no second version.
    runs.run(database)
    runs.run(database)
    assert states(database) == [VersionState.REGISTERED]


def test_a_registry_that_is_lost_between_two_nodes(
    runs: Runs, database: str, server: PostgreSqlServer
) -> None:
    runs.run(database)
    override(database)
    server.stop()
    try:
        with runs.fails("nobody listens there"):
            runs.run(database, promoted="first")  # the registrar is cached
    finally:
        server.start()
    assert runs.visible() == []
    runs.run(database, promoted="first")
    assert runs.visible() == ["1"]
    assert states(database) == [VersionState.SERVING]


def test_a_password_that_is_missing(
    runs: Runs, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TFX_REGISTRY_PASSWORD")
    with runs.fails("TFX_REGISTRY_PASSWORD"):
        runs.run(database)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("sqllite:///registry.sqlite", "sqllite"),
        ("postgresql://tfx:secret@127.0.0.1/registry", "TFX_REGISTRY_PASSWORD"),
        (f"mysql://tfx@127.0.0.1:{free_port()}/registry", "nobody listens there"),
    ],
)
def test_a_wrong_address(runs: Runs, uri: str, said: str) -> None:
    with runs.fails(said) as caught:
        runs.run(uri)
    assert "secret" not in str(caught.value)


def test_no_address_at_all(runs: Runs) -> None:
    with runs.fails("TFX_REGISTRY_URI"):
        runs.run(None)


def test_a_version_of_another_model_in_the_promoter(runs: Runs, database: str) -> None:
    runs.run(database)
    override(database)
    with runs.fails("has other bytes than the registered version"):
        runs.run(database, promoted="second")
    assert runs.visible() == []
    runs.run(database, promoted="first")
    assert runs.visible() == ["1"]


def test_a_serving_volume_that_is_not_there(runs: Runs, database: str, tmp_path: Path) -> None:
    runs.run(database)
    override(database)
    mount = tmp_path / "mount"
    mount.write_text("in the way", encoding="utf-8")
    with runs.fails("cannot publish into"):
        runs.run(database, promoted="first", serving=mount / NAME)
    assert mount.read_text(encoding="utf-8") == "in the way"
    runs.run(database, promoted="first")
    assert runs.visible() == ["1"]
