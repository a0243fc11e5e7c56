"""Promoter(servers=..., by_config=...): waiting for model servers, and versions on trial."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tfx import types
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from tfx_registry import ModelRegistry
from tfx_registry.components import ModelVersion, Promoter
from tfx_registry.components.promoter import executor
from tfx_registry.errors import NotServedError
from tfx_registry.operations import ByConfig, Servers
from tfx_registry.serving.model_config_file import ModelConfigFile
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.model_server import ModelServerEmulator


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/registry.sqlite"


@pytest.fixture
def promoted(tmp_path: Path, uri: str) -> Callable[..., Any]:
    """Registers, overrides and promotes a version by the executor; returns its PushedModel."""

    def promote(
        number: int, servers: Servers | None = None, by_config: ByConfig | None = None
    ) -> Any:
        path = write_minimal_model(tmp_path / "models" / str(number), f"model {number}")
        with ModelRegistry.open(uri) as registry:
            registry.register("penguin", path)
            day = datetime.timedelta(days=1)
            registry.override("penguin", number, reason="test", expires=day)
        model, version = standard_artifacts.Model(), ModelVersion()
        pushed = standard_artifacts.PushedModel()
        model.uri, pushed.uri = str(path), str(tmp_path / "pushed" / str(number))
        version.set_string_custom_property("model_name", "penguin")
        version.set_string_custom_property("version", str(number))
        destination = pusher_pb2.PushDestination()
        destination.filesystem.base_directory = str(tmp_path / "serving")
        executor.Executor().Do(
            {"model": [model], "model_version": [version]},
            {"pushed_model": [pushed]},
            {
                "push_destination": proto_utils.proto_to_json(destination),
                "registry": uri,
                **({"servers": servers.to_json()} if servers else {}),
                **({"by_config": by_config.to_json()} if by_config else {}),
            },
        )
        return pushed

    return promote


def test_a_pipeline_puts_versions_on_trial_one_after_the_other(
    promoted: Callable[..., Any], tmp_path: Path, uri: str
) -> None:
    config = tmp_path / "models.config"
    promoted(1, Servers(no_wait=True), ByConfig(str(config)))
    with ModelServerEmulator(
        model_config_file=config, model_config_file_poll_wait_seconds=0.01,
        file_system_poll_wait_seconds=0.01, allow_version_labels_for_unavailable_models=True,
    ) as server:  # fmt: skip
        servers = Servers((server.start().url,), deadline_seconds=100, poll_seconds=0.01)
        pushed = promoted(2, servers, ByConfig(str(config), canary=True))
        assert pushed.get_int_custom_property("pushed") == 1
        assert pushed.get_string_custom_property("pushed_version") == "2"
        assert (Path(pushed.uri) / "saved_model.pb").is_file()
        assert server.labels("penguin") == {"stable": 1, "canary": 2}
        waiting = promoted(3, servers, ByConfig(str(config), canary=True))
        assert waiting.get_int_custom_property("pushed") == 0
        assert "version 2 is on trial" in waiting.get_string_custom_property("not_pushed_reason")
    (entry,) = ModelConfigFile.peek(config)
    assert entry.labels == {"stable": 1, "canary": 2}
    with ModelRegistry.open(uri) as registry:
        assert registry.resolve("penguin@canary").number == 2


def test_what_servers_do_not_serve_is_rolled_back_and_fails_the_component(
    promoted: Callable[..., Any], uri: str
) -> None:
    promoted(1)
    servers = Servers(("http://127.0.0.1:9",), deadline_seconds=0.01, poll_seconds=0.01)
    with pytest.raises(NotServedError, match="rolled back to version 1"):
        promoted(2, servers)
    with ModelRegistry.open(uri) as registry:
        assert registry.resolve("penguin@production").number == 1


def test_the_parameters_are_stored_as_json() -> None:
    servers = Servers(("http://host:8501",), deadline_seconds=60)
    by_config = ByConfig("models.config", canary=True, keep_loaded=2)
    component = Promoter(
        model=types.Channel(type=standard_artifacts.Model),
        model_version=types.Channel(type=ModelVersion),
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory="serving")
        ),
        servers=servers,
        by_config=by_config,
    )
    assert Servers.from_json(component.exec_properties["servers"]) == servers
    assert ByConfig.from_json(component.exec_properties["by_config"]) == by_config
