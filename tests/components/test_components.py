"""What the components declare: class paths, types, and errors at construction."""

from __future__ import annotations

from typing import Any

import pytest
from tfx import types
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts

import tfx_registry
from tfx_registry import components
from tfx_registry.components import ModelRegistrar, ModelVersion, Promoter, VersionGate
from tfx_registry.errors import (
    InvalidInputError,
    InvalidNameError,
    InvalidUriError,
    ServingDirectoryError,
)
from tfx_registry.gate import GatePolicy, ValueThreshold

POLICY = GatePolicy([ValueThreshold("auc", lower_bound=0.9)])
DESTINATION = pusher_pb2.PushDestination(
    filesystem=pusher_pb2.PushDestination.Filesystem(base_directory="/serving")
)


def channel(cls: Any) -> Any:
    return types.Channel(type=cls)


MODEL = channel(standard_artifacts.Model)
EVALUATION = channel(standard_artifacts.ModelEvaluation)
VERSION = channel(ModelVersion)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("ModelRegistrar", "tfx_registry.components.model_registrar.component"),
        ("VersionGate", "tfx_registry.components.version_gate.component"),
        ("Promoter", "tfx_registry.components.promoter.component"),
        ("ProductionModelStrategy", "tfx_registry.components.production_model_strategy"),
        ("ModelVersion", "tfx_registry.components.artifacts"),
        ("GateReport", "tfx_registry.components.artifacts"),
    ],
)
def test_class_paths_are_stored_in_databases_and_stay(name: str, path: str) -> None:
    cls = getattr(components, name)
    assert (cls.__module__, cls.__qualname__) == (path, name)


def test_execution_types_are_stored_in_databases_and_stay() -> None:
    nodes = [
        ModelRegistrar(MODEL, "penguin"),
        VersionGate(VERSION, MODEL, EVALUATION, POLICY),
        Promoter(MODEL, VERSION, DESTINATION),
    ]
    assert [node.type for node in nodes] == [
        "tfx_registry.components.model_registrar.component.ModelRegistrar",
        "tfx_registry.components.version_gate.component.VersionGate",
        "tfx_registry.components.promoter.component.Promoter",
    ]
    assert [node.executor_spec.class_path for node in nodes] == [
        "tfx_registry.components.model_registrar.executor.Executor",
        "tfx_registry.components.version_gate.executor.Executor",
        "tfx_registry.components.promoter.executor.Executor",
    ]


@pytest.mark.parametrize("name", ["ModelVersion", "GateReport"])
def test_artifact_types_are_as_kubeflow_wants_them(name: str) -> None:
    cls = getattr(tfx_registry, name)
    assert f"tfx_registry.{name}" == cls.TYPE_NAME
    assert not cls.PROPERTIES


def test_outputs_are_the_standard_ones() -> None:
    gate = VersionGate(VERSION, MODEL, EVALUATION, POLICY)
    assert gate.outputs["blessing"].type is standard_artifacts.ModelBlessing
    promoter = Promoter(MODEL, VERSION, DESTINATION)
    assert promoter.outputs["pushed_model"].type is standard_artifacts.PushedModel


def test_lineage_becomes_inputs() -> None:
    registrar = ModelRegistrar(
        MODEL,
        "penguin",
        lineage={
            "examples": channel(standard_artifacts.Examples),
            "base_model": channel(standard_artifacts.Model),
        },
    )
    assert set(registrar.inputs) == {"model", "examples", "base_model"}
    # Another registrar is not affected.
    assert set(ModelRegistrar(MODEL, "penguin").inputs) == {"model"}


def test_parameters_are_text() -> None:
    registrar = ModelRegistrar(
        MODEL, "penguin", labels={"team": "birds"}, hyperparameters={"epochs": 3}
    )
    assert registrar.exec_properties["labels"] == '{"team":"birds"}'
    assert registrar.exec_properties["hyperparameters"] == '{"epochs":"3"}'
    gate = VersionGate(VERSION, MODEL, EVALUATION, POLICY)
    assert GatePolicy.from_json(gate.exec_properties["policy"]) == POLICY


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda: ModelRegistrar(MODEL, "pen/guin"), InvalidNameError),
        (lambda: ModelRegistrar(MODEL, "penguin", labels={"a b": "c"}), InvalidNameError),
        (lambda: ModelRegistrar(MODEL, "penguin", registry="mysql://a:b@c/d"), InvalidUriError),
        (lambda: ModelRegistrar(MODEL, "penguin", lineage={"model": MODEL}), InvalidInputError),
        (lambda: ModelRegistrar(MODEL, "penguin", lineage={"a b": MODEL}), InvalidInputError),
        (lambda: VersionGate(VERSION, MODEL, EVALUATION, POLICY, alias="latest"),
         InvalidNameError),
        (lambda: VersionGate(VERSION, MODEL, EVALUATION, POLICY, registry="x"), InvalidUriError),
        (lambda: Promoter(MODEL, VERSION, DESTINATION, alias="3"), InvalidNameError),
        (lambda: Promoter(MODEL, VERSION, pusher_pb2.PushDestination()), ServingDirectoryError),
        (lambda: components.ProductionModelStrategy("a/b"), InvalidNameError),
        (lambda: components.ProductionModelStrategy("a", registry="x"), InvalidUriError),
    ],
)  # fmt: skip
def test_mistakes_are_found_when_the_pipeline_is_built(
    build: Any, error: type[InvalidInputError]
) -> None:
    with pytest.raises(error):
        build()
