"""What the components declare: class paths, types, and errors at construction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import tensorflow_model_analysis as tfma
from tfx import types
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

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
EXAMPLES = channel(standard_artifacts.Examples)
CONFIG = tfma.EvalConfig(
    model_specs=[tfma.ModelSpec(label_key="label")],
    metrics_specs=[
        tfma.MetricsSpec(
            metrics=[
                tfma.MetricConfig(
                    class_name="AUC",
                    threshold=tfma.MetricThreshold(
                        value_threshold=tfma.GenericValueThreshold(lower_bound={"value": 0.8})
                    ),
                )
            ]
        )
    ],
)
TWO_MODELS = tfma.EvalConfig(model_specs=[tfma.ModelSpec(name="a"), tfma.ModelSpec(name="b")])


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


def test_a_gate_is_handed_an_evaluation_or_makes_one_or_both() -> None:
    shared = {"model_version", "model"}
    given = VersionGate(VERSION, MODEL, EVALUATION, POLICY)
    assert set(given.inputs) == {*shared, "evaluation"}
    assert set(given.outputs) == {"blessing", "report"}
    own = VersionGate(VERSION, MODEL, None, POLICY, examples=EXAMPLES, eval_config=CONFIG)
    assert set(own.inputs) == {*shared, "examples"}
    assert set(own.outputs) == {"blessing", "report", "evaluation"}
    assert own.outputs["evaluation"].type is standard_artifacts.ModelEvaluation
    both = VersionGate(
        VERSION,
        MODEL,
        EVALUATION,
        POLICY,
        examples=EXAMPLES,
        eval_config=CONFIG,
        schema=channel(standard_artifacts.Schema),
        infra_blessing=channel(standard_artifacts.InfraBlessing),
        example_splits=["test", "late"],
    )
    assert set(both.inputs) == {
        *shared, "given_evaluation", "examples", "schema", "infra_blessing"
    }  # fmt: skip
    assert set(both.outputs) == {"blessing", "report", "evaluation"}
    assert both.exec_properties["example_splits"] == '["test","late"]'
    assert {node.type for node in (given, own, both)} == {
        "tfx_registry.components.version_gate.component.VersionGate"
    }


def test_examples_beside_an_evaluation_only_say_what_was_evaluated() -> None:
    gate = VersionGate(
        VERSION, MODEL, EVALUATION, POLICY, examples=EXAMPLES, example_splits=["test"]
    )
    assert set(gate.inputs) == {"model_version", "model", "evaluation", "examples"}
    assert set(gate.outputs) == {"blessing", "report"}
    assert gate.exec_properties["example_splits"] == '["test"]'


def test_what_a_gate_is_told_is_text_that_any_orchestrator_takes() -> None:
    gate = VersionGate(VERSION, MODEL, None, POLICY, examples=EXAMPLES, eval_config=CONFIG)
    assert {type(value) for value in gate.exec_properties.values()} == {str, type(None)}
    parsed = tfma.EvalConfig()
    proto_utils.json_to_proto(gate.exec_properties["eval_config"], parsed)
    assert parsed == CONFIG
    assert gate.exec_properties["example_splits"] == '["eval"]'


def test_the_policy_may_be_the_eval_config() -> None:
    gates = [
        VersionGate(VERSION, MODEL, None, None, examples=EXAMPLES, eval_config=CONFIG),
        VersionGate(VERSION, MODEL, EVALUATION, None, eval_config=CONFIG),
    ]
    for gate in gates:
        policy = GatePolicy.from_json(gate.exec_properties["policy"])
        (rule,) = policy.value_thresholds
        assert (rule.metric, rule.lower_bound) == ("auc", 0.8)


def test_a_gate_takes_beam_options_of_its_own() -> None:
    gate = VersionGate(VERSION, MODEL, None, POLICY, examples=EXAMPLES, eval_config=CONFIG)
    gate.with_beam_pipeline_args(["--runner=FlinkRunner"])
    assert gate.executor_spec.beam_pipeline_args == ["--runner=FlinkRunner"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "there are no numbers to decide on"),
        ({"eval_config": CONFIG}, "there are no numbers to decide on"),
        ({"examples": EXAMPLES}, "examples without eval_config"),
        ({"evaluation": EVALUATION, "policy": None}, "there is no policy"),
        ({"evaluation": EVALUATION, "eval_config": CONFIG}, "eval_config has no use"),
        ({"evaluation": EVALUATION, "example_splits": ["eval"]}, "have no use without examples"),
        (
            {"evaluation": EVALUATION, "schema": channel(standard_artifacts.Schema)},
            "have no use without examples",
        ),
        (
            {
                "evaluation": EVALUATION,
                "examples": EXAMPLES,
                "schema": channel(standard_artifacts.Schema),
            },
            "schema has no use without eval_config",
        ),
        (
            {"examples": EXAMPLES, "eval_config": CONFIG, "example_splits": "eval"},
            "a list of names, not 'eval'",
        ),
        ({"examples": EXAMPLES, "eval_config": CONFIG, "example_splits": []}, "a list of names"),
        ({"examples": EXAMPLES, "eval_config": "auc"}, "it is of the type str"),
        ({"evaluation": EVALUATION, "policy": None, "eval_config": "auc"}, "EvalConfig"),
        ({"examples": EXAMPLES, "eval_config": TWO_MODELS}, "2 models and 0 baselines"),
        (
            {"evaluation": EVALUATION, "policy": replace(POLICY, require_infra_blessing=True)},
            "connect infra_blessing to InfraValidator",
        ),
    ],
)
def test_a_gate_that_could_not_decide_is_not_built(arguments: Any, why: str) -> None:
    with pytest.raises(InvalidInputError, match=why):
        VersionGate(VERSION, MODEL, **{"policy": POLICY, **arguments})


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
