"""The components in a notebook: TFX's InteractiveContext, which has a launcher of its own."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import pytest
import tensorflow_model_analysis as tfma
from google.protobuf import text_format
from tfx import v1 as tfx
from tfx.orchestration.experimental.interactive.interactive_context import InteractiveContext
from tfx.types import standard_artifacts

from tfx_registry import ModelRegistry
from tfx_registry.components import ModelRegistrar, Promoter, VersionGate
from tfx_registry.gate import GatePolicy, GateReport, ValueThreshold
from tfx_registry.records import VersionState
from tfx_registry.testing.beam_workers import IN_PROCESS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CONFIG = text_format.Parse(
    'model_specs { label_key: "label" } metrics_specs { metrics { class_name: "BinaryAccuracy" } '
    'metrics { class_name: "ExampleCount" } } slicing_specs {}',
    tfma.EvalConfig(),
)
POLICY = GatePolicy([ValueThreshold("binary_accuracy", lower_bound=0.6)])


def test_cell_by_cell(
    evaluated: Any, examples: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # InteractiveContext looks for this name, and does nothing where it is missing.
    monkeypatch.setattr(builtins, "__IPYTHON__", True, raising=False)
    monkeypatch.setattr(sys, "argv", ["run"])
    registry = f"sqlite:///{tmp_path}/registry.sqlite"
    context = InteractiveContext(
        pipeline_name="ages", pipeline_root=str(tmp_path), beam_pipeline_args=list(IN_PROCESS)
    )

    def imported(artifact_type: Any, uri: Any, name: str, **properties: Any) -> Any:
        node = tfx.dsl.Importer(
            source_uri=str(uri), artifact_type=artifact_type, properties=properties
        ).with_id(name)
        context.run(node)
        return node.outputs["result"]

    model = imported(standard_artifacts.Model, evaluated.good, "model")
    data = imported(standard_artifacts.Examples, examples.uri, "data", split_names='["eval"]')
    registrar = ModelRegistrar(
        model=model, model_name="ages", registry=registry, lineage={"examples": data}
    )
    context.run(registrar)
    gate = VersionGate(
        model_version=registrar.outputs["model_version"],
        model=model,
        examples=data,
        eval_config=CONFIG,
        policy=POLICY,
        registry=registry,
    )
    context.run(gate)
    [report] = gate.outputs["report"].get()
    text = (Path(report.uri) / "report.json").read_text(encoding="utf-8")
    assert GateReport.from_json(text).candidate.number == 1
    promoter = Promoter(
        model=model,
        model_version=registrar.outputs["model_version"],
        blessing=gate.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(
                base_directory=str(tmp_path / "serving" / "ages")
            )
        ),
        registry=registry,
    )
    context.run(promoter)
    [pushed] = promoter.outputs["pushed_model"].get()
    assert pushed.get_int_custom_property("pushed") == 1
    # A cell that is run again finds its result in the cache.
    context.run(registrar)
    context.run(promoter)
    with ModelRegistry.open(registry, create=False) as opened:
        [version] = opened.list_versions("ages")
    assert version.state is VersionState.SERVING
    assert [source.key for source in version.sources] == ["examples", "model"]
    # With the cache off, too: here a run has no id, so the same model is the same version.
    context.run(registrar, enable_cache=False)
    with ModelRegistry.open(registry, create=False) as opened:
        assert opened.list_versions("ages") == [version]
