"""A model registry for TFX: versions, gate and promotion, recorded in ML Metadata.

The names below are loaded when they are first used. The registry itself needs neither TFX nor
TensorFlow; the artifact types `ModelVersion` and `GateReport` do. They are not in `__all__`, and
are here because Kubeflow imports them by these paths.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tfx_registry._version import __version__

if TYPE_CHECKING:
    from tfx_registry.components.artifacts import GateReport as GateReport
    from tfx_registry.components.artifacts import ModelVersion as ModelVersion
    from tfx_registry.errors import RegistryError
    from tfx_registry.gate import GatePolicy
    from tfx_registry.keras_export import export_keras
    from tfx_registry.names import VersionRef
    from tfx_registry.operations import Retention, adopt, prune, reconcile, rollback, verify
    from tfx_registry.promotion import promote
    from tfx_registry.registry import ModelRegistry, Version

__all__ = [
    "GatePolicy",
    "ModelRegistry",
    "RegistryError",
    "Retention",
    "Version",
    "VersionRef",
    "__version__",
    "adopt",
    "export_keras",
    "promote",
    "prune",
    "reconcile",
    "rollback",
    "verify",
]

_HOMES = {
    "GatePolicy": "tfx_registry.gate",
    "GateReport": "tfx_registry.components",
    "ModelRegistry": "tfx_registry.registry",
    "ModelVersion": "tfx_registry.components",
    "RegistryError": "tfx_registry.errors",
    "Retention": "tfx_registry.operations",
    "Version": "tfx_registry.registry",
    "VersionRef": "tfx_registry.names",
    "adopt": "tfx_registry.operations",
    "export_keras": "tfx_registry.keras_export",
    "promote": "tfx_registry.promotion",
    "prune": "tfx_registry.operations",
    "reconcile": "tfx_registry.operations",
    "rollback": "tfx_registry.operations",
    "verify": "tfx_registry.operations",
}


def __getattr__(name: str) -> Any:
    """Loads a public name from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return list(__all__)
