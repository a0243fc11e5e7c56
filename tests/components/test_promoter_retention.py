"""Promoter(retention=...): old versions go after a promotion, and never the promotion with them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from tfx import types
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from tfx_registry import ModelRegistry, Retention
from tfx_registry.components import ModelVersion, Promoter
from tfx_registry.components.promoter import executor
from tfx_registry.serving import list_version_directories
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.process import free_port


@pytest.fixture
def promoted(tmp_path: Path) -> Any:
    """Registers, overrides and promotes a version by the executor; returns its PushedModel."""
    uri = f"sqlite:///{tmp_path}/registry.sqlite"

    def promote(number: int, retention: Retention | None) -> Any:
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
                **({"retention": retention.to_json()} if retention else {}),
            },
        )
        return pushed

    return promote


def test_old_versions_go_after_a_promotion(promoted, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        pushed = promoted(number, None)
    assert not pushed.has_custom_property("removed_versions")
    pushed = promoted(4, Retention(keep_last=2))
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("removed_versions") == "1, 2"
    assert list(list_version_directories(tmp_path / "serving")) == [3, 4]


def test_retention_that_fails_does_not_fail_the_promotion(promoted, tmp_path: Path) -> None:
    promoted(1, None)
    promoted(2, None)
    silent = f"http://127.0.0.1:{free_port()}"
    pushed = promoted(3, Retention(keep_last=1, servers=(silent,)))
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("retention_error")
    assert list(list_version_directories(tmp_path / "serving")) == [1, 2, 3]


def test_the_rule_travels_as_text() -> None:
    def channel(kind: type) -> types.Channel:
        return types.Channel(type=kind)

    component = Promoter(
        model=channel(standard_artifacts.Model),
        model_version=channel(ModelVersion),
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory="serving")
        ),
        retention=Retention(keep_last=3),
    )
    text = component.exec_properties["retention"]
    assert Retention.from_json(text) == Retention(keep_last=3)
