"""The gate: pure functions from a policy and measured numbers to a decision."""

from tfx_registry.gate.decide import Contender, Situation, blocked, decide, summarize
from tfx_registry.gate.evaluation import (
    CrossSliceKey,
    DataIdentity,
    EvaluatedModel,
    Evaluation,
    Interval,
    IntervalKind,
    MetricId,
    normalize_location,
)
from tfx_registry.gate.policy import (
    BaselineRule,
    ChangeThreshold,
    Direction,
    GatePolicy,
    SliceSpec,
    ValueThreshold,
)
from tfx_registry.gate.report import Check, CheckKind, GateReport, Reason

__all__ = [
    "BaselineRule",
    "ChangeThreshold",
    "Check",
    "CheckKind",
    "Contender",
    "CrossSliceKey",
    "DataIdentity",
    "Direction",
    "EvaluatedModel",
    "Evaluation",
    "GatePolicy",
    "GateReport",
    "Interval",
    "IntervalKind",
    "MetricId",
    "Reason",
    "Situation",
    "SliceSpec",
    "ValueThreshold",
    "blocked",
    "decide",
    "normalize_location",
    "summarize",
]
