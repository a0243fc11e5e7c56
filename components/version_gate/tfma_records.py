"""Parses TFMA's metric records (metrics_for_slice.proto) into the gate's tables.

Every number is kept under its whole key: `tfma.load_eval_result` leaves out of the key whether
examples were weighted, so that one number would hide the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.utils import math_util

from tfx_registry.gate import Interval, IntervalKind, MetricId
from tfx_registry.gate.evaluation import CrossSliceKey
from tfx_registry.records import SliceKey

__all__ = ["Numbers", "parse_records"]

#: The confidence level of every interval that TFMA computes (its utils/math_util.py).
TFMA_LEVEL = 0.95


@dataclass
class Numbers:
    """The numbers of one model, or the differences of two, by slice and metric.

    Attributes:
        values: Point values on slices.
        intervals: Their confidence intervals, where there are any.
        cross_values: Point values between two slices.
        cross_intervals: Their confidence intervals, where there are any.
    """

    values: dict[SliceKey, dict[MetricId, float]] = field(default_factory=dict)
    intervals: dict[SliceKey, dict[MetricId, Interval]] = field(default_factory=dict)
    cross_values: dict[CrossSliceKey, dict[MetricId, float]] = field(default_factory=dict)
    cross_intervals: dict[CrossSliceKey, dict[MetricId, Interval]] = field(default_factory=dict)


def parse_records(records: Iterable[Any]) -> tuple[dict[str, Numbers], dict[str, Numbers]]:
    """Parses records.

    Args:
        records: `MetricsForSlice` messages, as `tfma.load_metrics` yields them.

    Returns:
        The numbers by model name, and the differences to the baseline by the name of the model
        that was compared. What is no number (plots, arrays, matrices, text) is left out.

    Raises:
        ValueError: One number stands twice, or TFMA noted an error instead of metrics.
    """
    parser = _Parser()
    for record in records:
        parser.add(record)
    return parser.models, parser.differences


class _Parser:
    def __init__(self) -> None:
        self.models: dict[str, Numbers] = {}
        self.differences: dict[str, Numbers] = {}
        # Serialized key to model, whether a difference, and metric: there are few keys and many
        # slices.
        self._keys: dict[bytes, tuple[str, bool, MetricId]] = {}

    def add(self, record: Any) -> None:
        for name, value in record.metrics.items():
            if value.WhichOneof("type") == "debug_message":
                raise ValueError(f"TFMA noted {name}: {value.debug_message}"[:300])
        crossed = record.WhichOneof("slicing_spec_oneof") == "cross_slice_key"
        slice_key = () if crossed else _slice_key(record.slice_key)
        cross_key = _cross_slice_key(record.cross_slice_key) if crossed else ((), ())
        for pair in record.metric_keys_and_values:
            number, interval = _number(pair)
            if number is None:
                continue
            model, is_difference, metric = self._read_key(pair.key)
            tables = self.differences if is_difference else self.models
            numbers = tables.setdefault(model, Numbers())
            if crossed:
                _put(numbers.cross_values, cross_key, metric, number)
                if interval is not None:
                    numbers.cross_intervals.setdefault(cross_key, {})[metric] = interval
            else:
                _put(numbers.values, slice_key, metric, number)
                if interval is not None:
                    numbers.intervals.setdefault(slice_key, {})[metric] = interval

    def _read_key(self, key: Any) -> tuple[str, bool, MetricId]:
        raw = key.SerializeToString()
        if raw not in self._keys:
            self._keys[raw] = (str(key.model_name), bool(key.is_diff), _metric_id(key))
        return self._keys[raw]


def _put(
    table: dict[Any, dict[MetricId, float]], key: Any, metric: MetricId, number: float
) -> None:
    row = table.setdefault(key, {})
    if metric in row:
        raise ValueError(f"{metric} stands twice in the slice {key}")
    row[metric] = number


def _slice_key(key: Any) -> SliceKey:
    pairs = []
    for single in key.single_slice_keys:
        value = getattr(single, single.WhichOneof("kind"))
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        pairs.append((str(single.column), text))
    return tuple(sorted(pairs))


def _cross_slice_key(key: Any) -> CrossSliceKey:
    return _slice_key(key.baseline_slice_key), _slice_key(key.comparison_slice_key)


def _metric_id(key: Any) -> MetricId:
    sub_key = [
        f"{name}:{getattr(key.sub_key, field).value}"
        for field, name in (("class_id", "classId"), ("k", "k"), ("top_k", "topK"))
        if key.sub_key.HasField(field)
    ]
    weighting = "weighted" if key.example_weighted.value else ""
    aggregation = key.aggregation_type.WhichOneof("type") or ""
    return MetricId(key.name, key.output_name, ",".join(sub_key), aggregation, weighting)


def _number(pair: Any) -> tuple[float | None, Interval | None]:
    """Reads a point value and its interval.

    TFMA writes the interval beside the value. Results of older releases hold both in one value,
    as a bounded value or as a t distribution.
    """
    value = pair.value
    kind = value.WhichOneof("type")
    if kind == "double_value":
        interval = _interval(pair.confidence_interval) if pair.HasField(_INTERVAL) else None
        return float(value.double_value.value), interval
    if kind == "bounded_value":
        bounded = value.bounded_value
        # The result does not say at which level.
        ends = (float(bounded.lower_bound.value), float(bounded.upper_bound.value))
        return float(bounded.value.value), Interval(*ends, level=None)
    if kind == "t_distribution_value":
        return _from_t_distribution(value.t_distribution_value)
    return None, None


_INTERVAL = "confidence_interval"


def _interval(interval: Any) -> Interval | None:
    """Reads the interval that stands beside a value; None when its ends are no numbers."""
    ends = (interval.lower_bound, interval.upper_bound)
    if any(end.WhichOneof("type") != "double_value" for end in ends):
        return None
    lower, upper = (float(end.double_value.value) for end in ends)
    has_error = interval.standard_error.WhichOneof("type") == "double_value"
    if not has_error or not interval.HasField("degrees_of_freedom"):
        return Interval(lower, upper, TFMA_LEVEL)
    return Interval(
        lower,
        upper,
        TFMA_LEVEL,
        IntervalKind.T_DISTRIBUTION,
        float(interval.standard_error.double_value.value),
        int(interval.degrees_of_freedom.value),
    )


def _from_t_distribution(value: Any) -> tuple[float, Interval]:
    error = float(value.sample_standard_deviation.value)
    degrees = int(value.sample_degrees_of_freedom.value)
    _, lower, upper = math_util.calculate_confidence_interval(
        tfma.types.ValueWithTDistribution(
            sample_mean=float(value.sample_mean.value),
            sample_standard_deviation=error,
            sample_degrees_of_freedom=degrees,
            unsampled_value=float(value.unsampled_value.value),
        )
    )
    interval = Interval(
        float(lower), float(upper), TFMA_LEVEL, IntervalKind.T_DISTRIBUTION, error, degrees
    )
    return float(value.unsampled_value.value), interval
