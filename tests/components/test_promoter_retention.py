"""Promoter(retention=...): old versions go after a promotion, and never the promotion with them."""

from __future__ import annotations

from pathlib import Path

from tfx import types
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts

from tfx_registry import Retention
from tfx_registry.components import ModelVersion, Promoter
from tfx_registry.serving import list_version_directories
from tfx_registry.testing.process import free_port


def test_old_versions_go_after_a_promotion(promoted, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        pushed = promoted(number)
    assert not pushed.has_custom_property("removed_versions")
    pushed = promoted(4, retention=Retention(keep_last=2))
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("removed_versions") == "1, 2"
    assert list(list_version_directories(tmp_path / "serving")) == [3, 4]


def test_retention_that_fails_does_not_fail_the_promotion(promoted, tmp_path: Path) -> None:
    promoted(1)
    promoted(2)
    silent = f"http://127.0.0.1:{free_port()}"
    pushed = promoted(3, retention=Retention(keep_last=1, servers=(silent,)))
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
