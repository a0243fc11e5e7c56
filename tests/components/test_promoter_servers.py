"""Promoter(servers=..., by_config=...): waiting for model servers, and versions on trial."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tfx import types
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts

from tfx_registry import ModelRegistry
from tfx_registry.components import ModelVersion, Promoter
from tfx_registry.errors import NotServedError, RefusedError, ServingDirectoryError
from tfx_registry.operations import ByConfig, Servers
from tfx_registry.serving.model_config_file import ModelConfigFile
from tfx_registry.testing.model_server import ModelServerEmulator


def test_a_pipeline_puts_versions_on_trial_one_after_the_other(
    promoted: Callable[..., Any], tmp_path: Path, uri: str
) -> None:
    config = tmp_path / "models.config"
    promoted(1, servers=Servers(no_wait=True), by_config=ByConfig(str(config)))
    with ModelServerEmulator(
        model_config_file=config, model_config_file_poll_wait_seconds=0.01,
        file_system_poll_wait_seconds=0.01, allow_version_labels_for_unavailable_models=True,
    ) as server:  # fmt: skip
        servers = Servers((server.start().url,), deadline_seconds=100, poll_seconds=0.01)
        pushed = promoted(2, servers=servers, by_config=ByConfig(str(config), canary=True))
        assert pushed.get_int_custom_property("pushed") == 1
        assert pushed.get_string_custom_property("pushed_version") == "2"
        assert (Path(pushed.uri) / "saved_model.pb").is_file()
        assert server.labels("penguin") == {"stable": 1, "canary": 2}
        waiting = promoted(3, servers=servers, by_config=ByConfig(str(config), canary=True))
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
        promoted(2, servers=servers)
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


def test_an_override_for_another_alias_lets_nothing_through(promoted: Any, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="overridden for 'staging', not for 'production'"):
        promoted(1, overridden="staging")
    assert not (tmp_path / "serving" / "1").exists()
    pushed = promoted(2, overridden="staging", alias="staging")
    assert pushed.get_int_custom_property("pushed") == 1


@pytest.mark.parametrize("by_config", [False, True])
def test_a_volume_that_is_not_mounted_any_more_fails_the_component(
    promoted: Callable[..., Any], tmp_path: Path, uri: str, by_config: bool
) -> None:
    config = ByConfig(str(tmp_path / "models.config")) if by_config else None
    pushed = promoted(1, servers=Servers(no_wait=True), by_config=config)
    base = Path(pushed.get_string_custom_property("pushed_destination")).parent
    base.rename(tmp_path / "elsewhere")
    with pytest.raises(ServingDirectoryError, match=r"version 1 .*should serve there.*mount"):
        promoted(2, servers=Servers(no_wait=True), by_config=config)
    assert not base.exists()
    with ModelRegistry.open(uri) as registry:
        assert registry.resolve("penguin@production").number == 1
