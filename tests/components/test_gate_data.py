"""Which examples an evaluation was made of, and in which run it was decided on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tensorflow_model_analysis as tfma
from google.protobuf import text_format
from ml_metadata import errors, metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx import types
from tfx import v1 as tfx
from tfx.orchestration import data_types, metadata
from tfx.types import standard_artifacts

from tfx_registry import ModelRegistry
from tfx_registry.components import ModelRegistrar, VersionGate
from tfx_registry.components.version_gate import data_identity
from tfx_registry.components.version_gate.driver import EVALUATED_EXAMPLES, VersionGateDriver
from tfx_registry.components.version_gate.executor import Executor as Gate
from tfx_registry.digest import digest_path
from tfx_registry.gate import DataSource, GatePolicy, GateReport, ValueThreshold
from tfx_registry.records import PipelineRun

EVALUATOR = "tfx.components.evaluator.component.Evaluator"
CONFIG = """
    model_specs { label_key: "label" }
    metrics_specs {
      metrics { class_name: "BinaryAccuracy" }
      metrics { class_name: "ExampleCount" }
    }
    slicing_specs {}
"""
POLICY = GatePolicy([ValueThreshold("binary_accuracy", lower_bound=0.6)])


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[metadata.Metadata]:
    config = metadata.sqlite_metadata_connection_config(str(tmp_path / "pipeline.sqlite"))
    with metadata.Metadata(config) as opened:
        yield opened


def put(handle: metadata.Metadata, artifact: Any) -> Any:
    """Stores an artifact, with its type."""
    artifact.type_id = handle.store.put_artifact_type(artifact.artifact_type)
    [artifact.id] = handle.store.put_artifacts([artifact.mlmd_artifact])
    return artifact


def copy_of(examples: Any) -> Any:
    node = pb.Artifact()
    node.CopyFrom(examples.mlmd_artifact)
    node.ClearField("id")
    made = standard_artifacts.Examples()
    made.set_mlmd_artifact(node)
    return made


def evaluation_of(
    handle: metadata.Metadata, examples: Any, kind: str = EVALUATOR, splits: str | None = None
) -> Any:
    """Stores an evaluation as the launcher of an evaluator leaves it."""
    store = handle.store
    found, model = put(handle, copy_of(examples)), standard_artifacts.Model()
    model.uri = "/model"
    put(handle, model)
    evaluation = standard_artifacts.ModelEvaluation()
    evaluation.uri = examples.uri  # any place that exists
    put(handle, evaluation)
    run = pb.Execution(type_id=store.put_execution_type(pb.ExecutionType(name=kind)))
    if splits is not None:
        run.custom_properties["example_splits"].string_value = splits
    again = pb.Execution(type_id=run.type_id)
    [maker, cached] = store.put_executions([run, again])
    store.put_events(
        [
            pb.Event(artifact_id=found.id, execution_id=maker, type=pb.Event.INPUT),
            pb.Event(artifact_id=model.id, execution_id=maker, type=pb.Event.INPUT),
            pb.Event(artifact_id=evaluation.id, execution_id=maker, type=pb.Event.OUTPUT),
            pb.Event(artifact_id=evaluation.id, execution_id=cached, type=pb.Event.OUTPUT),
        ]
    )
    return evaluation


def test_the_lineage_of_an_evaluation_names_its_examples(
    handle: metadata.Metadata, examples: Any
) -> None:
    evaluation = evaluation_of(handle, examples)
    text = data_identity.recorded_examples(handle.store, evaluation.id)
    assert data_identity.recorded_examples(handle.store, evaluation.id) == text
    found = data_identity.from_lineage(text)
    assert found.source is DataSource.LINEAGE
    assert found.location == examples.uri
    assert found.splits == ("eval",)
    assert found.properties["span"] == "7"
    assert found.properties["input_fingerprint"] == "split:eval,num_files:1,xor:5"
    assert found.digest == digest_path(Path(examples.uri) / "Split-eval").root


@pytest.mark.parametrize(
    ("kind", "splits", "expected"),
    [
        (EVALUATOR, '["nobody"]', ("nobody",)),
        (EVALUATOR, "null", ("eval",)),
        ("my.own.Measure", None, ()),
        (EVALUATOR, '["gone"]', ("gone",)),
    ],
)
def test_the_splits_are_those_of_the_evaluation(
    handle: metadata.Metadata, examples: Any, kind: str, splits: str | None, expected: Any
) -> None:
    evaluation = evaluation_of(handle, examples, kind, splits)
    text = data_identity.recorded_examples(handle.store, evaluation.id)
    found = data_identity.from_lineage(text)
    assert found.splits == expected
    # Of splits that are not known, or not there, there is no digest.
    assert bool(found.digest) == (expected in (("eval",), ("nobody",)))


def test_an_evaluation_that_came_from_nowhere(handle: metadata.Metadata, examples: Any) -> None:
    evaluation = standard_artifacts.ModelEvaluation()
    evaluation.uri = "/evaluation"
    put(handle, evaluation)
    assert data_identity.recorded_examples(handle.store, evaluation.id) == ""


def test_the_driver_hands_on_what_it_found(
    handle: metadata.Metadata, tmp_path: Path, examples: Any
) -> None:
    evaluation = evaluation_of(handle, examples)
    text = data_identity.recorded_examples(handle.store, evaluation.id)
    # As LocalDagRunner asks.
    info = SimpleNamespace(input_dict={"evaluation": [evaluation]})
    output = VersionGateDriver(handle).run(info)
    assert output.exec_properties[EVALUATED_EXAMPLES].string_value == text
    own = SimpleNamespace(input_dict={"examples": [examples]})
    assert not VersionGateDriver(handle).run(own).ListFields()
    # As Airflow asks.
    driver = VersionGateDriver(handle)
    driver.resolve_input_artifacts = lambda *_: {"given_evaluation": [evaluation]}
    run = data_types.PipelineInfo("penguin", str(tmp_path / "root"), "run-1")
    decision = driver.pre_execution(
        input_dict={},
        output_dict={"blessing": types.Channel(type=standard_artifacts.ModelBlessing)},
        exec_properties={"alias": "production"},
        driver_args=data_types.DriverArgs(enable_cache=False),
        pipeline_info=run,
        component_info=data_types.ComponentInfo("a.b.C", "VersionGate", run),
    )
    assert decision.exec_properties == {"alias": "production", EVALUATED_EXAMPLES: text}


def test_a_store_that_cannot_tell_stops_no_decision(
    handle: metadata.Metadata, examples: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = evaluation_of(handle, examples)

    def fail(*_: Any, **__: Any) -> Any:
        raise errors.UnimplementedError("no such call")

    monkeypatch.setattr(metadata_store.MetadataStore, "get_events_by_artifact_ids", fail)
    info = SimpleNamespace(input_dict={"evaluation": [evaluation]})
    assert not VersionGateDriver(handle).run(info).ListFields()


@pytest.fixture
def decide(pipeline: Any, evaluated: Any) -> Any:
    """Decides on the good model by an evaluation that is handed over, with more properties."""

    def call(properties: Any = None, context: Any = None, **inputs: Any) -> GateReport:
        version = pipeline.register(evaluated.good)
        result = standard_artifacts.ModelEvaluation()
        result.uri = str(evaluated.good_alone)
        found = {"model_version": version, "model": pipeline.model(evaluated.good), **inputs}
        found["evaluation"] = result
        made: GateReport
        _, made = pipeline._decide(Gate(context), found, {}, properties or {}, POLICY)
        return made

    return call


def test_given_examples_are_recorded_as_given(decide: Any, examples: Any) -> None:
    report = decide(examples=examples)
    assert report.data.source is DataSource.GIVEN
    assert (report.data.location, report.data.splits) == (examples.uri, ("eval",))
    assert report.data.digest == digest_path(Path(examples.uri) / "Split-eval").root
    assert not any("given to the gate" in note for note in report.notes)
    other = decide({"example_splits": '["nobody"]'}, examples=examples)
    assert other.data.splits == ("nobody",)
    assert other.data.digest != report.data.digest


def test_lineage_counts_more_than_what_is_given(
    decide: Any, handle: metadata.Metadata, examples: Any, tmp_path: Path
) -> None:
    evaluation = evaluation_of(handle, examples)
    text = data_identity.recorded_examples(handle.store, evaluation.id)
    other = standard_artifacts.Examples()
    other.uri = str(tmp_path / "other")
    report = decide({EVALUATED_EXAMPLES: text}, examples=other)
    assert report.data.source is DataSource.LINEAGE
    assert report.data.location == examples.uri
    assert (
        f"the examples at {other.uri}, given to the gate, are not those that were evaluated"
        in report.notes
    )
    same = decide({EVALUATED_EXAMPLES: text}, examples=examples)
    assert same.data == report.data
    assert not any("given to the gate" in note for note in same.notes)


def test_what_nobody_knows_is_not_claimed(decide: Any) -> None:
    report = decide()
    assert report.data.source is None
    assert not report.data.digest


def test_the_decision_says_in_which_run_it_was_made(decide: Any, pipeline: Any) -> None:
    node = SimpleNamespace(node_info=SimpleNamespace(id="VersionGate"))
    context = SimpleNamespace(
        pipeline_info=SimpleNamespace(id="ages"),
        pipeline_run_id="run-7",
        pipeline_node=node,
        extra_flags=None,
    )
    decide(context=context)
    with ModelRegistry.open(pipeline.uri) as registry:
        decided = registry.decision("ages", 1)
    assert decided is not None
    assert decided.run == PipelineRun("ages", "run-7", "VersionGate")
    [page] = pipeline.root.glob("out/tfx_registry.GateReport-*/report.html")
    assert "ages run-7 (VersionGate)" in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_stock_evaluator_and_its_lineage(
    tmp_path: Path, evaluated: Any, examples: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["run"])
    database = tmp_path / "metadata.sqlite"
    registry = f"sqlite:///{database}"

    def imported(kind: Any, uri: Any, name: str, **properties: Any) -> Any:
        node = tfx.dsl.Importer(
            source_uri=str(uri), artifact_type=kind, properties=properties, reimport=True
        )
        return node.with_id(name)

    model = imported(standard_artifacts.Model, evaluated.good, "model")
    data = imported(
        standard_artifacts.Examples, examples.uri, "data", split_names='["eval"]', span=7
    )
    registrar = ModelRegistrar(model=model.outputs["result"], model_name="ages", registry=registry)
    evaluator = tfx.components.Evaluator(
        examples=data.outputs["result"],
        model=model.outputs["result"],
        eval_config=text_format.Parse(CONFIG, tfma.EvalConfig()),
    )
    gate = VersionGate(
        model_version=registrar.outputs["model_version"],
        model=model.outputs["result"],
        evaluation=evaluator.outputs["evaluation"],
        policy=POLICY,
        registry=registry,
    )
    tfx.orchestration.LocalDagRunner().run(
        tfx.dsl.Pipeline(
            pipeline_name="ages",
            pipeline_root=str(tmp_path / "pipeline"),
            components=[model, data, registrar, evaluator, gate],
            metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
                str(database)
            ),
            beam_pipeline_args=[
                "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",
                "--sdk_container_image=unused",
            ],
        )
    )
    with ModelRegistry.open(registry) as opened:
        version = opened.get("ages", 1)
        decided = opened.decision("ages", 1)
    assert decided is not None
    data_known = GateReport.from_json(_report_text(tmp_path)).data
    assert data_known.source is DataSource.LINEAGE
    assert (data_known.location, data_known.splits) == (examples.uri, ("eval",))
    assert data_known.properties["span"] == "7"
    assert data_known.digest == digest_path(Path(examples.uri) / "Split-eval").root
    assert decided.run.node_id == "VersionGate"
    assert decided.run.run_id == version.origin.run_id != ""


def _report_text(root: Path) -> str:
    [found] = root.glob("pipeline/VersionGate/report/*/report.json")
    return found.read_text(encoding="utf-8")
