"""The registry: an append-only log of events in ML Metadata, and its fold."""

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
