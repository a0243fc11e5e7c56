"""The TFX components of the registry: `ModelRegistrar`, `VersionGate`, `Promoter`.

The names are loaded when they are first used, because TFX takes many seconds to import; without
TFX they raise an ImportError that says what to install.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if __name__ != "tfx_registry.components":
    raise ImportError(
        "import tfx_registry.components instead of components: a second copy of the same classes "
        "would register a second set of types in ML Metadata"
    )

if TYPE_CHECKING:
    from tfx_registry.components.artifacts import GateReport, ModelVersion
    from tfx_registry.components.model_registrar.component import ModelRegistrar
    from tfx_registry.components.production_model_strategy import ProductionModelStrategy
    from tfx_registry.components.promoter.component import Promoter
    from tfx_registry.components.version_gate.component import VersionGate

__all__ = [
    "GateReport",
    "ModelRegistrar",
    "ModelVersion",
    "ProductionModelStrategy",
    "Promoter",
    "VersionGate",
]

_HOMES = {
    "GateReport": "artifacts",
    "ModelRegistrar": "model_registrar.component",
    "ModelVersion": "artifacts",
    "ProductionModelStrategy": "production_model_strategy",
    "Promoter": "promoter.component",
    "VersionGate": "version_gate.component",
}


def __getattr__(name: str) -> Any:
    """Loads a public name from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("tfx", "tensorflow"):
            raise
        raise ImportError(
            f"{name} needs TFX, which is not installed here; install tfx-registry[tfx]"
        ) from error
    return getattr(module, name)


def __dir__() -> list[str]:
    """The public names."""
    return list(__all__)
