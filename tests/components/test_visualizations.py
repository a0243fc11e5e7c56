"""`context.show(...)` of TFX's InteractiveContext knows the registry's artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tfx.orchestration.experimental.interactive import visualizations as tfx_visualizations

from tfx_registry import ModelRegistry, codec
from tfx_registry.components import GateReport, ModelVersion, artifacts, visualizations
from tfx_registry.gate.report import Check, Compared
from tfx_registry.gate.report import GateReport as Report
from tfx_registry.records import Verdict


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    monkeypatch.setattr("IPython.display.display", lambda shown: texts.append(shown.data))
    return texts


def show(artifact: Any) -> None:
    visualizations.register()
    found = tfx_visualizations.get_registry().get_visualization(artifact.type_name)
    assert found is not None
    found.display(artifact)


def test_a_model_version_is_shown(plain_model: Path, tmp_path: Path, displayed: list[str]) -> None:
    with ModelRegistry.open("memory://") as registry:
        version = registry.register("penguin", plain_model, actor="ada")
    (tmp_path / artifacts.VERSION_FILE).write_text(codec.dumps(version), encoding="utf-8")
    artifact = ModelVersion()
    artifact.uri = str(tmp_path)
    show(artifact)
    assert "penguin:1" in displayed[0]
    assert version.digest in displayed[0]


def test_a_gate_report_is_shown(tmp_path: Path, displayed: list[str]) -> None:
    check = Check(False, "auc is low", rule="value >= 0.9", metric="<b>auc", value=0.5)
    report = Report("penguin", Verdict.BLOCKED, Compared(2, "d"), checks=(check,))
    (tmp_path / artifacts.REPORT_FILE).write_text(report.to_json(), encoding="utf-8")
    artifact = GateReport()
    artifact.uri = str(tmp_path)
    show(artifact)
    assert "1 of 1 checks failed" in displayed[0]
    assert "&lt;b&gt;auc" in displayed[0]
