"""A gate that evaluates by itself, run by LocalDagRunner, with ML Metadata between the nodes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import tensorflow_model_analysis as tfma
from google.protobuf import text_format
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx import v1 as tfx
from tfx.types import standard_artifacts

from tfx_registry import ModelRegistry
from tfx_registry.components import ModelRegistrar, VersionGate
from tfx_registry.gate import GatePolicy, GateReport, SliceSpec, ValueThreshold
from tfx_registry.records import VersionState
from tfx_registry.testing.beam_workers import IN_PROCESS

CONFIG = """
    model_specs { label_key: "label" }
    metrics_specs {
      metrics { class_name: "BinaryAccuracy" }
      metrics { class_name: "ExampleCount" }
    }
    slicing_specs {}
    slicing_specs { feature_keys: "age" }
"""


def imported(artifact_type: Any, uri: Any, name: str, **properties: Any) -> Any:
    node = tfx.dsl.Importer(
        source_uri=str(uri), artifact_type=artifact_type, properties=properties, reimport=True
    )
    return node.with_id(name)


def test_model_and_examples_are_enough(
    tmp_path: Path, evaluated: Any, examples: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Beam's components read the command line of the process.
    monkeypatch.setattr(sys, "argv", ["run"])
    database = tmp_path / "metadata.sqlite"
    registry = f"sqlite:///{database}"
    model = imported(standard_artifacts.Model, evaluated.bad, "model")
    data = imported(
        standard_artifacts.Examples,
        examples.uri,
        "data",
        split_names='["eval"]',
        span=7,
    )
    registrar = ModelRegistrar(model=model.outputs["result"], model_name="ages", registry=registry)
    gate = VersionGate(
        model_version=registrar.outputs["model_version"],
        model=model.outputs["result"],
        examples=data.outputs["result"],
        eval_config=text_format.Parse(CONFIG, tfma.EvalConfig()),
        policy=GatePolicy(
            [ValueThreshold("binary_accuracy", lower_bound=0.6, slices=[SliceSpec(["age"])])]
        ),
        registry=registry,
    )
    tfx.orchestration.LocalDagRunner().run(
        tfx.dsl.Pipeline(
            pipeline_name="ages",
            pipeline_root=str(tmp_path / "pipeline"),
            components=[model, data, registrar, gate],
            metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
                str(database)
            ),
            beam_pipeline_args=list(IN_PROCESS),
        )
    )
    with ModelRegistry.open(registry) as opened:
        (version,) = opened.list_versions("ages")
    assert version.state is VersionState.BLOCKED
    assert version.metric("binary_accuracy", (("age", "old"),)) == 0.0
    store = metadata_store.MetadataStore(
        pb.ConnectionConfig(sqlite=pb.SqliteMetadataSourceConfig(filename_uri=str(database)))
    )
    (evaluation,) = store.get_artifacts_by_type("ModelEvaluation")
    assert len(tfma.load_eval_result(evaluation.uri).slicing_metrics) == 3
    (made,) = store.get_artifacts_by_type("tfx_registry.GateReport")
    text = (Path(made.uri) / "report.json").read_text(encoding="utf-8")
    report = GateReport.from_json(text)
    assert report.evaluation == evaluation.uri
    assert report.data.location == examples.uri
    assert report.data.properties["span"] == "7"
    (blessing,) = store.get_artifacts_by_type("ModelBlessing")
    assert blessing.custom_properties["blessed"].int_value == 0
