"""What `context.show(...)` of TFX's InteractiveContext shows of the registry's artifacts."""

from __future__ import annotations

from typing import Any

from tfx.orchestration.experimental.interactive import visualizations

from tfx_registry import codec, gate
from tfx_registry.components import places
from tfx_registry.components.artifacts import (
    REPORT_FILE,
    VERSION_FILE,
    GateReport,
    ModelVersion,
)
from tfx_registry.displays import report_html, version_html
from tfx_registry.records import Version

__all__ = ["GateReportVisualization", "ModelVersionVisualization", "register"]


class ModelVersionVisualization(visualizations.ArtifactVisualization):
    """Shows the version as it was registered."""

    ARTIFACT_TYPE = ModelVersion

    def display(self, artifact: Any) -> None:
        """Shows `version.json` as a table."""
        text = _read(artifact, VERSION_FILE)
        _show(version_html(codec.decode(Version, codec.loads(text))))


class GateReportVisualization(visualizations.ArtifactVisualization):
    """Shows the decision: the sentence, and every check with its numbers."""

    ARTIFACT_TYPE = GateReport

    def display(self, artifact: Any) -> None:
        """Shows `report.json` as a table."""
        text = _read(artifact, REPORT_FILE)
        _show(report_html(gate.GateReport.from_json(text)))


def register() -> None:
    """Tells TFX of both."""
    for visualization in (ModelVersionVisualization, GateReportVisualization):
        visualizations.get_registry().register(visualization)


def _read(artifact: Any, name: str) -> str:
    with places.local_copy(artifact.uri) as folder:
        return (folder / name).read_text(encoding="utf-8")


def _show(text: str) -> None:
    from IPython.display import HTML, display  # type: ignore[import-untyped]

    display(HTML(text))
