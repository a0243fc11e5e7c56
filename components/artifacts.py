"""The artifact types that travel between the components.

They declare no PROPERTIES: Kubeflow cannot compile declared properties of custom types, so values
are custom properties, all text. Kubeflow imports the types by their TYPE_NAME, so both are also
names of `tfx_registry`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from tfx.types import artifact

from tfx_registry.errors import InvalidInputError
from tfx_registry.names import check_model_name, check_version_number

__all__ = ["GateReport", "ModelVersion", "VersionPointer"]

#: Custom property of `ModelVersion`: name of the model.
MODEL_NAME = "model_name"
#: Custom property of `ModelVersion`: number of the version, as decimal text.
VERSION = "version"
#: Custom property of `ModelVersion`: OMS root digest of the registered bytes.
DIGEST = "digest"
#: Custom property of `GateReport`: "passed" or "blocked".
VERDICT = "verdict"

#: File in the `ModelVersion` artifact: the version as JSON, for people.
VERSION_FILE = "version.json"
#: File in the `GateReport` artifact: the decision as JSON.
REPORT_FILE = "report.json"
#: File in the `GateReport` artifact: the decision as a page for people.
REPORT_PAGE = "report.html"


class ModelVersion(artifact.Artifact):
    """Points at a version in the registry.

    File structure:
        - `{uri}/version.json`: the version as it was when it was registered.

    Custom properties: `model_name`, `version`, `digest`, all text.
    """

    TYPE_NAME = "tfx_registry.ModelVersion"


class GateReport(artifact.Artifact):
    """The whole decision of VersionGate.

    File structure:
        - `{uri}/report.json`: every rule with its numbers (`tfx_registry.gate.GateReport`).
        - `{uri}/report.html`: the same as one page that needs nothing else.

    Custom properties: `verdict`, `model_name`, `version`, all text.
    """

    TYPE_NAME = "tfx_registry.GateReport"


@dataclass(frozen=True)
class VersionPointer:
    """What a `ModelVersion` artifact points at.

    Attributes:
        model: Name of the model.
        number: Number of the version.
    """

    model: str
    number: int

    @classmethod
    def of(cls, version: Any) -> VersionPointer:
        """Reads a `ModelVersion` artifact.

        Raises:
            InvalidInputError: The artifact was not written by ModelRegistrar.
        """
        name = version.get_string_custom_property(MODEL_NAME)
        number = version.get_string_custom_property(VERSION)
        if not name or not (number or "").isdecimal():
            raise InvalidInputError(
                f"cannot read the ModelVersion artifact at {version.uri!r}",
                "it does not say which version it means",
                "connect model_version to ModelRegistrar's output",
            )
        return cls(check_model_name(name), check_version_number(int(number)))


def _register_visualizations() -> None:
    """In a notebook TFX's InteractiveContext is told how to show these artifacts."""
    if "IPython" in sys.modules:
        from tfx_registry.components import visualizations

        visualizations.register()


_register_visualizations()
