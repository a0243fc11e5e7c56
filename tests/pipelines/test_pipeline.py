"""What the pipeline says of itself before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tfx_registry.gate import GatePolicy, SliceSpec, ValueThreshold
from tfx_registry.pipelines.penguin import policy as penguin_policy
from tfx_registry.pipelines.penguin.hyperparameters import Hyperparameters

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tfx() -> Any:
    from tfx import v1 as tfx

    return tfx


def build(tmp_path: Path, **options: Any) -> dict[str, Any]:
    """Builds the pipeline and returns its components by id."""
    from tfx_registry.pipelines.penguin.pipeline import create_pipeline

    settings: dict[str, Any] = {
        "pipeline_name": "penguin",
        "pipeline_root": str(tmp_path / "root"),
        "data_root": str(tmp_path / "data"),
        "serving_dir": str(tmp_path / "serving"),
        "registry_uri": f"sqlite:///{tmp_path}/r.sqlite",
    }
    pipeline = create_pipeline(**settings | options)
    return {component.id: component for component in pipeline.components}


def test_the_registry_may_be_left_to_the_environment(tmp_path: Path, tfx: Any) -> None:
    from tfx.dsl.compiler.compiler import Compiler

    components = build(tmp_path, registry_uri=None)
    compiled = Compiler().compile(
        tfx.dsl.Pipeline("penguin", str(tmp_path), components=list(components.values()))
    )
    assert len(compiled.nodes) == len(components)


@pytest.mark.usefixtures("tfx")
def test_the_components_in_the_pipeline(tmp_path: Path) -> None:
    assert set(build(tmp_path)) == {
        "CsvExampleGen",
        "StatisticsGen",
        "SchemaGen",
        "Trainer",
        "ModelRegistrar",
        "production_model_resolver",
        "Evaluator",
        "VersionGate",
        "Promoter",
    }


@pytest.mark.usefixtures("tfx")
def test_the_gate_may_evaluate_by_itself(tmp_path: Path) -> None:
    components = build(tmp_path, gate_evaluates=True)
    assert set(build(tmp_path)) - set(components) == {"production_model_resolver", "Evaluator"}
    gate = components["VersionGate"]
    assert set(gate.inputs) == {"model_version", "model", "examples", "schema"}
    assert gate.exec_properties["example_splits"] == '["eval"]'
    assert "evaluation" in gate.outputs


def test_building_touches_nothing(tmp_path: Path, tfx: Any) -> None:
    build(tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("tfx")
def test_hyperparameters_are_in_the_lineage_of_trainer_and_version(tmp_path: Path) -> None:
    wanted = Hyperparameters(epochs=3, only_island="Dream")

    components = build(tmp_path, hyperparameters=wanted)

    custom_config = components["Trainer"].exec_properties["custom_config"]
    assert Hyperparameters.from_mapping(json.loads(custom_config)) == wanted
    recorded = json.loads(components["ModelRegistrar"].exec_properties["hyperparameters"])
    assert recorded["only_island"] == "Dream"
    assert recorded["epochs"] == "3"


@pytest.mark.usefixtures("tfx")
def test_the_default_model_has_no_island_in_its_lineage(tmp_path: Path) -> None:
    recorded = json.loads(build(tmp_path)["ModelRegistrar"].exec_properties["hyperparameters"])

    assert "only_island" not in recorded


@pytest.mark.usefixtures("tfx")
def test_the_gate_gets_the_policy_and_the_alias(tmp_path: Path) -> None:
    policy = GatePolicy(value_thresholds=(ValueThreshold("accuracy", lower_bound=0.5),))

    gate = build(tmp_path, policy=policy, alias="canary")["VersionGate"]

    assert GatePolicy.from_json(gate.exec_properties["policy"]) == policy
    assert gate.exec_properties["alias"] == "canary"


@pytest.mark.usefixtures("tfx")
def test_registry_and_alias_reach_every_component_that_needs_them(tmp_path: Path) -> None:
    components = build(tmp_path, alias="canary", model_name="gentoo")

    for name in ("ModelRegistrar", "VersionGate", "Promoter"):
        assert components[name].exec_properties["registry"] == f"sqlite:///{tmp_path}/r.sqlite"
    assert components["ModelRegistrar"].exec_properties["model_name"] == "gentoo"
    assert components["Promoter"].exec_properties["alias"] == "canary"
    resolver = str(components["production_model_resolver"].exec_properties)
    assert "canary" in resolver
    assert "gentoo" in resolver


@pytest.mark.usefixtures("tfx")
def test_what_the_policy_asks_for_is_what_tfma_measures() -> None:
    from tfx_registry.pipelines.penguin.evaluation import eval_config

    config = eval_config()
    policy = penguin_policy.default_policy()

    rules = [*policy.value_thresholds, *policy.change_thresholds]
    assert {rule.metric for rule in rules} == {
        "sparse_categorical_accuracy",
        "sparse_categorical_crossentropy",
    }
    classes = {metric.class_name for spec in config.metrics_specs for metric in spec.metrics}
    assert classes == {
        "ExampleCount",
        "SparseCategoricalAccuracy",
        "SparseCategoricalCrossentropy",
    }
    sliced = {tuple(spec.feature_keys) for spec in config.slicing_specs}
    assert {spec.feature_keys for rule in rules for spec in rule.slices} <= sliced
    for rule in (*config.metrics_specs,):
        assert not rule.thresholds, "the gate decides, not the Evaluator"


def test_every_island_and_sex_must_be_measured() -> None:
    required = penguin_policy.default_policy().required_slices

    assert set(map(str, required)) == {
        "island=Biscoe",
        "island=Dream",
        "island=Torgersen",
        "sex=female",
        "sex=male",
    }
    assert all(isinstance(spec, SliceSpec) for spec in required)
