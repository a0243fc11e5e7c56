"""Promoter and ModelRegistrar where models and the serving directory lie in an object store."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from tfx_registry import ModelRegistry, Retention
from tfx_registry.components import ModelVersion
from tfx_registry.components.promoter import executor
from tfx_registry.digest import digest_path
from tfx_registry.operations import ByConfig, Servers
from tfx_registry.serving.objects import ObjectOptions, ObjectUrl, ObjectView
from tfx_registry.serving.objects.model_config import StoredModelConfig
from tfx_registry.serving.objects.models import fetched_model, upload_tree
from tfx_registry.testing.memory_bucket import MemoryBucket
from tfx_registry.testing.minimal_model import write_minimal_model

SERVING = "s3://models/serving/penguin"
DAY = datetime.timedelta(days=1)


@pytest.fixture(autouse=True)
def bucket(monkeypatch: pytest.MonkeyPatch) -> MemoryBucket:
    made = MemoryBucket(ObjectUrl.parse(SERVING), ObjectOptions(parallel=1))
    for module in ("directory", "view", "models", "model_config"):
        monkeypatch.setattr(f"tfx_registry.serving.objects.{module}.open_bucket", lambda *_: made)
    return made


@pytest.fixture
def registry(tmp_path: Path) -> Any:
    with ModelRegistry.open(f"sqlite:///{tmp_path}/registry.sqlite") as opened:
        yield opened


def push(tmp_path: Path, uri: str, number: int, pushed_uri: str, **options: str) -> Any:
    model, version = standard_artifacts.Model(), ModelVersion()
    pushed = standard_artifacts.PushedModel()
    model.uri, pushed.uri = uri, pushed_uri
    version.set_string_custom_property("model_name", "penguin")
    version.set_string_custom_property("version", str(number))
    destination = pusher_pb2.PushDestination()
    destination.filesystem.base_directory = SERVING + "/"
    executor.Executor().Do(
        {"model": [model], "model_version": [version]},
        {"pushed_model": [pushed]},
        {
            "push_destination": proto_utils.proto_to_json(destination),
            "registry": f"sqlite:///{tmp_path}/registry.sqlite",
            **options,
        },
    )
    return pushed


def test_it_publishes_into_a_store(registry: Any, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        path = write_minimal_model(tmp_path / "models" / str(number), f"model {number}")
        registry.register("penguin", path)
        registry.override("penguin", number, reason="test", expires=DAY)
        rule = Retention(keep_last=1).to_json()
        for turn in ("first", "again"):
            target = tmp_path / "pushed" / f"{number}-{turn}"
            pushed = push(tmp_path, str(path), number, str(target), retention=rule)
            assert pushed.get_int_custom_property("pushed") == 1
            assert pushed.get_string_custom_property("pushed_destination") == f"{SERVING}/{number}"
            assert digest_path(target) == digest_path(path)
            assert not pushed.has_custom_property("retention_error")
    assert ObjectView.open(ObjectUrl.parse(SERVING)).visible() == {2: ["2"], 3: ["3"]}
    assert registry.serving("penguin", "production").destination == SERVING
    assert not (Path.cwd() / "s3:").exists()


def test_models_and_pushed_models_may_lie_in_a_store(registry: Any, tmp_path: Path) -> None:
    local = write_minimal_model(tmp_path / "model")
    place = "s3://models/run/7/model"
    upload_tree(local, f"{place}/Format-Serving")
    version = registry.register("penguin", place)
    assert version.uri == f"{place}/Format-Serving"
    registry.override("penguin", 1, reason="test", expires=DAY)
    pushed = push(tmp_path, place, 1, "s3://models/run/7/pushed")
    assert pushed.get_int_custom_property("pushed") == 1
    for copy in ("s3://models/run/7/pushed", f"{SERVING}/1"):
        with fetched_model(copy) as path:
            assert digest_path(path) == digest_path(local)
    assert not (Path.cwd() / "s3:").exists()


def test_it_puts_on_trial_by_a_model_config_in_a_store(registry: Any, tmp_path: Path) -> None:
    config = "s3://models/serving/models.config"
    for number, label in ((1, "stable"), (2, "canary")):
        path = write_minimal_model(tmp_path / "models" / str(number), f"model {number}")
        registry.register("penguin", path)
        registry.override("penguin", number, reason="test", expires=DAY)
        pushed = push(
            tmp_path, str(path), number, str(tmp_path / "pushed" / str(number)),
            by_config=ByConfig(config, canary=label == "canary").to_json(),
            servers=Servers(no_wait=True).to_json(),
        )  # fmt: skip
        assert pushed.get_string_custom_property("pushed_destination") == f"{SERVING}/{number}"
        (entry,) = StoredModelConfig.peek(config)
        assert (entry.base_path, entry.labels[label]) == (SERVING, number)
    assert entry.labels == {"stable": 1, "canary": 2}
    pushed = push(
        tmp_path, str(path), 1, str(tmp_path / "pushed" / "again"),
        by_config=ByConfig(config).to_json(), servers=Servers(no_wait=True).to_json(),
    )  # fmt: skip
    assert "version 2 is on trial" in pushed.get_string_custom_property("not_pushed_reason")
    assert not (Path.cwd() / "s3:").exists()
