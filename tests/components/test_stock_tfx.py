"""Our outputs in the hands of stock TFX; and the baseline for stock Evaluator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.components.evaluator import constants
from tfx.components.pusher.executor import Executor as StockPusher
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from tfx_registry import ModelRegistry
from tfx_registry.components import ProductionModelStrategy
from tfx_registry.components.version_gate.executor import _write_blessing
from tfx_registry.gate import GateReport
from tfx_registry.gate.report import Compared
from tfx_registry.records import Origin, Verdict
from tfx_registry.registry.events import Decided


def blessing_of(folder: Path, model: Any, verdict: Verdict) -> Any:
    made = standard_artifacts.ModelBlessing()
    made.uri = str(folder / f"blessing-{model.id}")
    _write_blessing(made, GateReport("m", verdict, Compared(1, "")), model, None)
    return made


def model_at(uri: Path | str, identifier: int) -> Any:
    made = standard_artifacts.Model()
    made.uri, made.id = str(uri), identifier
    return made


@pytest.mark.parametrize("verdict", list(Verdict))
def test_stock_pusher_follows_our_blessing(
    saved_model: Path, tmp_path: Path, verdict: Verdict
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "Format-Serving").symlink_to(saved_model)
    model = model_at(tmp_path / "model", 5)
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(tmp_path / "pushed")
    destination = pusher_pb2.PushDestination()
    destination.filesystem.base_directory = str(tmp_path / "serving")
    StockPusher().Do(
        {"model": [model], "model_blessing": [blessing_of(tmp_path, model, verdict)]},
        {"pushed_model": [pushed]},
        {"push_destination": proto_utils.proto_to_json(destination)},
    )
    assert pushed.get_int_custom_property("pushed") == (verdict is Verdict.PASSED)
    assert (tmp_path / "serving").exists() == (verdict is Verdict.PASSED)


def test_latest_blessed_model_strategy_follows_our_blessing(tmp_path: Path) -> None:
    models = [model_at(tmp_path / str(i), i) for i in (1, 2, 3)]
    verdicts = [Verdict.PASSED, Verdict.PASSED, Verdict.BLOCKED]
    blessings = [blessing_of(tmp_path, m, v) for m, v in zip(models, verdicts, strict=True)]
    resolved = LatestBlessedModelStrategy().resolve_artifacts(
        None, {"model": list(models), "model_blessing": blessings}
    )
    assert [m.id for m in resolved["model"]] == [2]
    assert resolved["model_blessing"][0].get_string_custom_property(
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY
    ) == str(tmp_path / "2")


@pytest.fixture
def served(tmp_path: Path, plain_model: Path) -> tuple[str, Any]:
    """A registry where version 1 of `m`, trained into artifact /models/1, serves."""
    uri = f"sqlite:///{tmp_path}/registry.sqlite"
    with ModelRegistry.open(uri) as registry:
        origin = Origin(artifact_uri="/models/1")
        for _ in range(2):
            version = registry.register("m", plain_model, origin=origin)
            origin = Origin(artifact_uri="/models/2")
        registry.record_decision("m", Decided(1, Verdict.PASSED, version.digest, "production"))
        registry.record_promotion("m", 1, "/serving", "production")
    store = metadata_store.MetadataStore(
        pb.ConnectionConfig(sqlite=pb.SqliteMetadataSourceConfig(filename_uri=uri[10:]))
    )
    return uri, store


def test_the_baseline_is_what_serves(served: tuple[str, Any]) -> None:
    uri, store = served
    models = [model_at("/models/1", 11), model_at("/models/2", 12), model_at("/models/1/", 10)]
    strategy = ProductionModelStrategy(model_name="m", registry=uri)
    assert strategy.resolve_artifacts(store, {"model": models}) == {"model": [models[0]]}


def test_without_a_version_that_serves_there_is_no_baseline(served: tuple[str, Any]) -> None:
    uri, store = served
    models = [model_at("/models/1", 11)]
    for strategy in (
        ProductionModelStrategy(model_name="other", registry=uri),
        ProductionModelStrategy(model_name="m", registry=uri, alias="canary"),
    ):
        assert strategy.resolve_artifacts(store, {"model": models}) == {"model": []}


def test_a_model_of_another_pipeline_is_found_in_the_store(served: tuple[str, Any]) -> None:
    uri, store = served
    strategy = ProductionModelStrategy(model_name="m", registry=uri)
    assert strategy.resolve_artifacts(store, {"model": []}) == {"model": []}
    type_id = store.put_artifact_type(pb.ArtifactType(name="Model"))
    (identifier,) = store.put_artifacts([pb.Artifact(type_id=type_id, uri="/models/1")])
    resolved = strategy.resolve_artifacts(store, {"model": []})
    assert [(m.uri, m.id) for m in resolved["model"]] == [("/models/1", identifier)]
    assert isinstance(resolved["model"][0], standard_artifacts.Model)
