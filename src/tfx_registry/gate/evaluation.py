"""The numbers that a gate decides on, independent of where they come from."""

from __future__ import annotations

import enum
import functools
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tfx_registry import compiled
from tfx_registry.records import SliceKey

__all__ = [
    "EXAMPLE_COUNT",
    "NOT_NAMED",
    "CrossSliceKey",
    "DataIdentity",
    "DataSource",
    "EvaluatedModel",
    "Evaluation",
    "Interval",
    "IntervalKind",
    "MetricId",
    "make_interval",
    "normalize_location",
]

#: TFMA's name of the metric that counts examples; it is among TFMA's default metrics.
EXAMPLE_COUNT = "example_count"


class MetricId(NamedTuple):
    """Which number: TFMA's metric key without the model.

    A named tuple, because a decision looks up thousands of numbers by it, and those of data
    classes are hashed and compared in Python.

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
        return _text_of(self)


@functools.lru_cache(maxsize=4096)
def _text_of(metric: MetricId) -> str:
    text = f"{metric.output_name}/{metric.name}" if metric.output_name else metric.name
    more = ", ".join(filter(None, (metric.sub_key, metric.aggregation, metric.weighting)))
    return f"{text} ({more})" if more else text


class IntervalKind(str, enum.Enum):
    """How TFMA made a confidence interval.

    `T_DISTRIBUTION`: estimate and standard error with Student's t distribution (jackknife, and
    Poisson bootstrap in TFMA's default form). `QUANTILES`: quantiles of the resampled values,
    which are known at one level only.
    """

    T_DISTRIBUTION = "t_distribution"
    QUANTILES = "quantiles"


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided confidence interval of a number, both ends in the unit of the number.

    Attributes:
        lower: Its lower end.
        upper: Its upper end.
        level: The confidence level, such as 0.95; None when it is not known.
        kind: How it was made; None when it is not known.
        standard_error: Standard error of the number, where it is known.
        degrees_of_freedom: Degrees of freedom of the standard error, where they are known.
    """

    lower: float
    upper: float
    level: float | None = 0.95
    kind: IntervalKind | None = None
    standard_error: float | None = None
    degrees_of_freedom: int | None = None


#: Makes an interval of the values of all its fields as the constructor does, in a fraction of the
#: time: a result of thousands of slices holds tens of thousands.
make_interval: Callable[..., Interval] = compiled.maker(Interval)


#: A baseline slice and the slice that it is compared with (TFMA's cross-slice key).
CrossSliceKey = tuple[SliceKey, SliceKey]

Row = Mapping[MetricId, float]
Table = Mapping[SliceKey, Row]
CrossTable = Mapping[CrossSliceKey, Row]
IntervalRow = Mapping[MetricId, Interval]
IntervalTable = Mapping[SliceKey, IntervalRow]
CrossIntervalTable = Mapping[CrossSliceKey, IntervalRow]


class DataSource(str, enum.Enum):
    """How it is known which examples were evaluated. The values are stored and stay as they are.

    `OWN_EVALUATION`: the gate evaluated on them itself. `LINEAGE`: ML Metadata says that the
    evaluation was made of them. `GIVEN`: whoever built the pipeline says so.
    """

    OWN_EVALUATION = "own_evaluation"
    LINEAGE = "lineage"
    GIVEN = "given"

    @property
    def words(self) -> str:
        """The same for people."""
        return _SOURCES[self]


_SOURCES = {
    DataSource.OWN_EVALUATION: "evaluation run by the gate",
    DataSource.LINEAGE: "lineage of the evaluation",
    DataSource.GIVEN: "given, not proven",
}

#: What is said where nobody knows which examples were evaluated.
NOT_NAMED = "not known: neither the evaluation nor its lineage names the examples"


@dataclass(frozen=True)
class DataIdentity:
    """Which examples were evaluated, as far as known.

    Attributes:
        location: URI of the Examples artifact, or of the files.
        splits: Names of the splits that were evaluated.
        properties: What the artifact says of itself: span, version, input fingerprint, as text.
        digest: OMS root digest of the files. In an object store, of what is too large to read, one
            of their list, which begins with "listing:". "" where neither is known.
        source: How it is known; None where only TFMA's result names the location, or nothing
            does, and in reports of release 0.1.
    """

    location: str = ""
    splits: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""
    source: DataSource | None = None

    def known_by(self, data_location: str = "") -> str:
        """Says for people how the examples are known.

        Args:
            data_location: Where TFMA's result says that they lay, or "".

        Returns:
            Such as `source: lineage of the evaluation`; "" where nothing is known.
        """
        if self.source is not None:
            return f"source: {self.source.words}"
        named = self.location or data_location
        return "source: named by the evaluation, not proven" if named else ""


@dataclass(frozen=True)
class EvaluatedModel:
    """One of the models of an evaluation.

    Attributes:
        location: Where it lay.
        manifest: Manifest digest of the bytes that lie there now, "" when they are out of reach.
        metrics: Its numbers by slice.
        intervals: Their confidence intervals, where TFMA computed them.
        cross_slices: What TFMA computed between two slices: the number on the baseline slice
            minus the number on the slice that it is compared with.
        cross_intervals: The confidence intervals of `cross_slices`.
    """

    location: str
    manifest: str = ""
    metrics: Table = field(default_factory=dict)
    intervals: IntervalTable = field(default_factory=dict)
    cross_slices: CrossTable = field(default_factory=dict)
    cross_intervals: CrossIntervalTable = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """What one TFMA run measured.

    Attributes:
        location: Where the result lies.
        candidate: The candidate; None when the result is empty.
        baseline: The baseline; None when there was none.
        data_location: Where the examples lay, as far as TFMA says.
        digest: SHA-256 over the files of the result, or "".
        differences: TFMA's own differences, candidate minus baseline, by slice. They are shown
            and never decided on: see docs/design/0003.
        difference_intervals: Confidence intervals of the paired differences, by slice.
        cross_difference_intervals: The same between two slices: the candidate's cross-slice number
            minus the baseline's.
        made_at: When the evaluation was made, in seconds since the epoch; None when not known.
        versions: Versions of the libraries that made it, by distribution name, if known.
        data: Which examples were evaluated.
        serving_seq: Sequence number of the deployment that served under the alias when the
            baseline was chosen, 0 when nothing served; None when not known.
    """

    location: str
    candidate: EvaluatedModel | None = None
    baseline: EvaluatedModel | None = None
    data_location: str = ""
    digest: str = ""
    differences: Table = field(default_factory=dict)
    difference_intervals: IntervalTable = field(default_factory=dict)
    cross_difference_intervals: CrossIntervalTable = field(default_factory=dict)
    made_at: float | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    data: DataIdentity = field(default_factory=DataIdentity)
    serving_seq: int | None = None

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

        A count that is no number is 0; the least of several holds. A sum of weights is no count:
        where TFMA counted with weights only, it is not known how many examples there were.
        """
        row = self.numbers.get(slice_key, {})
        counts = [row[metric] for metric in self._counts if metric in row]
        return int(min(n if math.isfinite(n) else 0.0 for n in counts)) if counts else None

    @functools.cached_property
    def _counts(self) -> tuple[MetricId, ...]:
        """The numbers that count examples."""
        every: set[MetricId] = set().union(*self.numbers.values())
        return tuple(m for m in every if m.name == EXAMPLE_COUNT and not m.weighting)


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
