"""The numbers that a gate decides on, independent of where they come from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from tfx_registry.records import SliceKey

__all__ = ["EXAMPLE_COUNT", "Evaluation", "MetricId", "normalize_location"]

#: TFMA's name of the metric that counts examples; it is among TFMA's default metrics.
EXAMPLE_COUNT = "example_count"


@dataclass(frozen=True, order=True)
class MetricId:
    """Which number: TFMA's metric key without the model.

    Attributes:
        name: Name of the metric.
        output_name: Output of a multi-output model, or "".
        sub_key: TFMA sub key as text, or "".
    """

    name: str
    output_name: str = ""
    sub_key: str = ""

    def __str__(self) -> str:
        """For people: `auc`, `auc (classId:0)`, `head/auc`."""
        text = f"{self.output_name}/{self.name}" if self.output_name else self.name
        return f"{text} ({self.sub_key})" if self.sub_key else text


Table = Mapping[SliceKey, Mapping[MetricId, float]]


@dataclass(frozen=True)
class Evaluation:
    """What one TFMA run measured.

    Attributes:
        location: Where the result lies.
        candidate_location: Where the evaluated candidate lay, "" if unknown.
        baseline_location: Where the baseline lay, "" if there was none.
        data_location: Where the examples lay, as far as TFMA says.
        candidate: The candidate's numbers by slice.
        baseline: The baseline's numbers by slice; empty if there was none.
        diff: Candidate minus baseline by slice, as TFMA computed it.
        digest: SHA-256 over the files of the result, or "".
    """

    location: str
    candidate_location: str = ""
    baseline_location: str = ""
    data_location: str = ""
    candidate: Table = field(default_factory=dict)
    baseline: Table = field(default_factory=dict)
    diff: Table = field(default_factory=dict)
    digest: str = ""

    def change(self, slice_key: SliceKey, metric: MetricId) -> float | None:
        """Returns candidate minus baseline on a slice, or None when either is unknown."""
        known = self.diff.get(slice_key, {}).get(metric)
        if known is not None:
            return known
        before = self.baseline.get(slice_key, {}).get(metric)
        after = self.candidate.get(slice_key, {}).get(metric)
        return None if before is None or after is None else after - before

    def examples(self, slice_key: SliceKey) -> int | None:
        """Returns the number of examples in a slice, or None when it was not counted."""
        counts = [
            value
            for metric, value in self.candidate.get(slice_key, {}).items()
            if metric.name == EXAMPLE_COUNT
        ]
        return int(min(counts)) if counts else None


def normalize_location(location: str) -> str:
    """Writes a location so that equal places have equal texts.

    Args:
        location: A path, relative or absolute, or a URI with a scheme.

    Returns:
        An absolute path without a trailing slash; URIs only lose the trailing slash.
    """
    if not location:
        return ""
    if "://" in location:
        return location.rstrip("/")
    return os.path.abspath(location)  # noqa: PTH100 - without following links
