"""Parses TFMA's metric records (metrics_for_slice.proto) into the gate's tables.

Every number is kept under its whole key: `tfma.load_eval_result` leaves out of the key whether
examples were weighted, so that one number would hide the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.utils import math_util

from tfx_registry.gate import Interval, IntervalKind, MetricId
from tfx_registry.gate.evaluation import CrossSliceKey
from tfx_registry.records import SliceKey

__all__ = [
    "TFMA_LEVEL",
    "MessageParser",
    "Numbers",
    "cross_slice_key_of",
    "number_of",
    "parse_records",
    "slice_key_of",
]

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
    intervals: dict[SliceKey, MutableMapping[MetricId, Interval]] = field(default_factory=dict)
    cross_values: dict[CrossSliceKey, dict[MetricId, float]] = field(default_factory=dict)
    cross_intervals: dict[CrossSliceKey, MutableMapping[MetricId, Interval]] = field(
        default_factory=dict
    )


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
    parser = MessageParser()
    for record in records:
        parser.add(record)
    return parser.models, parser.differences


class MessageParser:
    """Reads records one after the other.

    Attributes:
        models: The numbers so far, by the name of the model.
        differences: The differences to the baseline so far, by the name of the compared model.
    """

    def __init__(self) -> None:
        """Begins with no numbers."""
        self.models: dict[str, Numbers] = {}
        self.differences: dict[str, Numbers] = {}
        # Slices have the same keys, in the same order: each is read once, then recognised.
        self._keys: list[tuple[Any, Numbers, MetricId]] = []

    def add(self, record: Any) -> None:
        """Reads a record.

        Args:
            record: The `MetricsForSlice` message.

        Raises:
            ValueError: One number stands twice, or TFMA noted an error instead of metrics.
        """
        for name, value in record.metrics.items():
            if value.WhichOneof("type") == "debug_message":
                raise ValueError(f"TFMA noted {name}: {value.debug_message}"[:300])
        crossed = record.WhichOneof("slicing_spec_oneof") == "cross_slice_key"
        slice_key: Any = (
            cross_slice_key_of(record.cross_slice_key)
            if crossed
            else slice_key_of(record.slice_key)
        )
        for place, pair in enumerate(record.metric_keys_and_values):
            number, interval = number_of(pair)
            if number is None:
                continue
            numbers, metric = self._find(place, pair.key)
            values: Any = numbers.cross_values if crossed else numbers.values
            row = values.setdefault(slice_key, {})
            if metric in row:
                raise ValueError(f"{metric} stands twice in the slice {slice_key}")
            row[metric] = number
            if interval is not None:
                intervals: Any = numbers.cross_intervals if crossed else numbers.intervals
                intervals.setdefault(slice_key, {})[metric] = interval

    def _find(self, place: int, key: Any) -> tuple[Numbers, MetricId]:
        if place < len(self._keys) and self._keys[place][0] == key:
            return self._keys[place][1:]
        found = (key, *self.place_of(key))
        self._keys[place : place + 1] = [found]
        return found[1:]

    def place_of(self, key: Any) -> tuple[Numbers, MetricId]:
        """Returns the table that a number belongs to, and its name in there.

        Args:
            key: The `MetricKey` message.
        """
        tables = self.differences if key.is_diff else self.models
        return tables.setdefault(str(key.model_name), Numbers()), _metric_id(key)


def slice_key_of(key: Any) -> SliceKey:
    """Reads a `SliceKey` message."""
    pairs = []
    for single in key.single_slice_keys:
        value = getattr(single, single.WhichOneof("kind"))
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        pairs.append((str(single.column), text))
    return tuple(sorted(pairs))


def cross_slice_key_of(key: Any) -> CrossSliceKey:
    """Reads a `CrossSliceKey` message."""
    return slice_key_of(key.baseline_slice_key), slice_key_of(key.comparison_slice_key)


def _metric_id(key: Any) -> MetricId:
    sub_key = [
        f"{name}:{getattr(key.sub_key, field).value}"
        for field, name in (("class_id", "classId"), ("k", "k"), ("top_k", "topK"))
        if key.sub_key.HasField(field)
    ]
    weighting = "weighted" if key.example_weighted.value else ""
    aggregation = key.aggregation_type.WhichOneof("type") or ""
    return MetricId(key.name, key.output_name, ",".join(sub_key), aggregation, weighting)


def number_of(pair: Any) -> tuple[float | None, Interval | None]:
    """Reads a point value and its interval.

    TFMA writes the interval beside the value. Results of older releases hold both in one value,
    as a bounded value or as a t distribution.

    Args:
        pair: The `MetricKeyAndValue` message.

    Returns:
        The value, None where it is no number; its interval, None where there is none.
    """
    value = pair.value
    kind = value.WhichOneof("type")
    if kind == "double_value":
        interval = _interval(pair.confidence_interval) if pair.HasField(_INTERVAL) else None
        return value.double_value.value, interval
    if kind == "bounded_value":
        bounded = value.bounded_value
        # The result does not say at which level.
        ends = (float(bounded.lower_bound.value), float(bounded.upper_bound.value))
        return float(bounded.value.value), Interval(*ends, level=None)
    if kind == "t_distribution_value":
        return _from_t_distribution(value.t_distribution_value)
    return None, None


_INTERVAL = "confidence_interval"


def _interval(interval: Any) -> Interval:
    """Reads the interval that stands beside a value; its ends are NaN when they are no numbers."""
    lower, upper, error = interval.lower_bound, interval.upper_bound, interval.standard_error
    if lower.WhichOneof("type") != "double_value" or upper.WhichOneof("type") != "double_value":
        return Interval(math.nan, math.nan, None)
    ends = lower.double_value.value, upper.double_value.value
    if error.WhichOneof("type") != "double_value" or not interval.HasField("degrees_of_freedom"):
        return Interval(*ends, TFMA_LEVEL)
    return Interval(
        *ends,
        TFMA_LEVEL,
        IntervalKind.T_DISTRIBUTION,
        error.double_value.value,
        interval.degrees_of_freedom.value,
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
