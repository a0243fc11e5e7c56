"""The driver against a real ML Metadata, as Airflow's launcher calls it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx import types
from tfx.dsl.components.base import base_driver
from tfx.orchestration import data_types, metadata
from tfx.types import standard_artifacts

from tfx_registry.components import ModelRegistrar, Promoter, VersionGate
from tfx_registry.components.driver import RegistryDriver


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[metadata.Metadata]:
    config = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    with metadata.Metadata(config) as opened:
        yield opened


def pre_execute(
    kind: type[base_driver.BaseDriver], handle: metadata.Metadata, tmp_path: Path, component: str
) -> data_types.ExecutionDecision:
    """Does what the launcher does before it calls the executor; the input is the same each time."""
    run = data_types.PipelineInfo("penguin", str(tmp_path / "root"), "run-1")
    source = standard_artifacts.Model()
    (tmp_path / "model").mkdir(exist_ok=True)
    source.uri = str(tmp_path / "model")
    known = handle.store.get_artifacts_by_uri(source.uri)
    if known:
        source.id = known[0].id
    driver = kind(handle)
    driver.resolve_input_artifacts = lambda *_: {"model": [source]}
    return driver.pre_execution(
        input_dict={},
        output_dict={"blessing": types.Channel(type=standard_artifacts.ModelBlessing)},
        exec_properties={"alias": "production"},
        driver_args=data_types.DriverArgs(enable_cache=False),
        pipeline_info=run,
        component_info=data_types.ComponentInfo("a.b.C", component, run),
    )


def blessings(handle: metadata.Metadata) -> list[Any]:
    return sorted(handle.store.get_artifacts_by_type("ModelBlessing"), key=lambda a: a.id)


def test_every_component_has_the_driver() -> None:
    for component in (ModelRegistrar, VersionGate, Promoter):
        assert issubclass(component.DRIVER_CLASS, RegistryDriver)


def test_two_components_of_a_run_may_have_an_output_of_one_name(
    handle: metadata.Metadata, tmp_path: Path
) -> None:
    pre_execute(base_driver.BaseDriver, handle, tmp_path, "Evaluator")
    decision = pre_execute(RegistryDriver, handle, tmp_path, "VersionGate")
    assert [a.name for a in blessings(handle)] == [
        "blessing:run-1",
        f"VersionGate.blessing:run-1:{decision.execution_id}",
    ]


def test_a_task_can_be_tried_again(handle: metadata.Metadata, tmp_path: Path) -> None:
    first = pre_execute(RegistryDriver, handle, tmp_path, "VersionGate")
    again = pre_execute(RegistryDriver, handle, tmp_path, "VersionGate")
    assert again.execution_id == first.execution_id
    [blessing] = blessings(handle)
    assert again.output_dict["blessing"][0].id == blessing.id
    assert again.output_dict["blessing"][0].uri == blessing.uri
    events = handle.store.get_events_by_execution_ids([first.execution_id])
    assert sorted(event.type for event in events) == [pb.Event.INPUT, pb.Event.OUTPUT]
    [execution] = handle.store.get_executions_by_id([first.execution_id])
    assert execution.properties["state"].string_value == metadata.EXECUTION_STATE_NEW


def test_both_are_needed(handle: metadata.Metadata, tmp_path: Path) -> None:
    """Should TFX's own driver learn one of these some day, ours can lose it."""
    pre_execute(base_driver.BaseDriver, handle, tmp_path, "Evaluator")
    for component in ("Evaluator", "VersionGate"):
        with pytest.raises(mlmd.errors.AlreadyExistsError):
            pre_execute(base_driver.BaseDriver, handle, tmp_path, component)


def test_launchers_that_name_outputs_themselves_get_nothing(handle: metadata.Metadata) -> None:
    assert not RegistryDriver(handle).run(None).ListFields()
