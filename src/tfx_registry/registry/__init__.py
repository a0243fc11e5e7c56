"""The registry: an append-only log of events in ML Metadata, and its fold.

`ModelRegistry` is loaded when it is first used: with all that it can do it is much to load for who
only wants to read a version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfx_registry.records import (
    DecisionSummary,
    Deployment,
    Head,
    LineageSource,
    Metric,
    ModelFacts,
    ModelFormat,
    Origin,
    Signature,
    TensorSpec,
    Verdict,
    Version,
    VersionState,
)

if TYPE_CHECKING:
    from tfx_registry.registry.registry import ModelRegistry

__all__ = [
    "DecisionSummary",
    "Deployment",
    "Head",
    "LineageSource",
    "Metric",
    "ModelFacts",
    "ModelFormat",
    "ModelRegistry",
    "Origin",
    "Signature",
    "TensorSpec",
    "Verdict",
    "Version",
    "VersionState",
]


def __getattr__(name: str) -> Any:
    """Loads the registry (PEP 562)."""
    if name != "ModelRegistry":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tfx_registry.registry.registry import ModelRegistry

    return ModelRegistry
