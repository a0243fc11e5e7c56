"""The numbers that a gate decides on, independent of where they come from."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from tfx_registry.records import SliceKey

__all__ = ["EXAMPLE_COUNT", "EvaluatedModel", "Evaluation", "MetricId", "normalize_location"]

#: TFMA's name of the metric that counts examples; it is among TFMA's default metrics.
EXAMPLE_COUNT = "example_count"


@dataclass(frozen=True, order=True)
class MetricId:
    """Which number: TFMA's metric key without the model.

    Attributes:
        name: Name of the metric.
        output_name: Output of a multi-output model, or "".
        sub_key: TFMA sub key as text, such as "classId:0", or "".
        aggregation: How classes were aggregated, such as "macro_average", or "".
        weighting: "weighted" where examples counted by their weight, else "".
    """

    name: str
    output_name: str = ""
    sub_key: str = ""
    aggregation: str = ""
    weighting: str = ""

    def __str__(self) -> str:
        """For people: `auc`, `auc (classId:0)`, `head/auc (macro_average, weighted)`."""
        text = f"{self.output_name}/{self.name}" if self.output_name else self.name
        more = ", ".join(filter(None, (self.sub_key, self.aggregation, self.weighting)))
        return f"{text} ({more})" if more else text


Table = Mapping[SliceKey, Mapping[MetricId, float]]


@dataclass(frozen=True)
class EvaluatedModel:
    """One of the models of an evaluation.

    Attributes:
        location: Where it lay.
        manifest: Manifest digest of the bytes that lie there now, "" when they are out of reach.
        metrics: Its numbers by slice.
    """

    location: str
    manifest: str = ""
    metrics: Table = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """What one TFMA run measured.

    Attributes:
        location: Where the result lies.
        candidate: The candidate; None when the result is empty.
        baseline: The baseline; None when there was none.
        data_location: Where the examples lay, as far as TFMA says.
        digest: SHA-256 over the files of the result, or "".
    """

    location: str
    candidate: EvaluatedModel | None = None
    baseline: EvaluatedModel | None = None
    data_location: str = ""
    digest: str = ""

    @property
    def numbers(self) -> Table:
        """The candidate's numbers by slice."""
        return self.candidate.metrics if self.candidate else {}

    @property
    def baseline_numbers(self) -> Table:
        """The baseline's numbers by slice."""
        return self.baseline.metrics if self.baseline else {}

    def slices(self) -> list[SliceKey]:
        """Returns every slice that either model was measured on, in order."""
        return sorted({*self.numbers, *self.baseline_numbers})

    def examples(self, slice_key: SliceKey) -> int | None:
        """Returns the number of examples in a slice, or None when it was not counted.

        A count that is no number is 0. Where TFMA counted with and without weights, the count
        without holds; else the least of several.
        """
        counts = {
            metric: value if math.isfinite(value) else 0.0
            for metric, value in self.numbers.get(slice_key, {}).items()
            if metric.name == EXAMPLE_COUNT
        }
        plain = [value for metric, value in counts.items() if not metric.weighting]
        return int(min(plain or counts.values())) if counts else None


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
