"""Hypothesis strategies for policies, evaluations and situations of the gate."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import strategies as st

from tfx_registry.gate import (
    ChangeThreshold,
    Contender,
    CrossSliceKey,
    CrossSliceSpec,
    EvaluatedModel,
    Evaluation,
    GatePolicy,
    Interval,
    IntervalKind,
    MetricId,
    NoWorse,
    Situation,
    SliceSpec,
    ValueThreshold,
)
from tfx_registry.records import Signature, SliceKey, TensorSpec

__all__ = [
    "change_rules",
    "evaluations",
    "no_worse_rules",
    "policies",
    "situations",
    "value_rules",
]

T = TypeVar("T")

_COUNT = MetricId("example_count")
_METRICS = [
    MetricId("auc"),
    MetricId("auc", weighting="weighted"),
    MetricId("loss"),
    MetricId("recall"),
    MetricId("loss", weighting="weighted"),
    MetricId("recall", weighting="weighted"),
    MetricId("auc", output_name="head", sub_key="classId:0", aggregation="micro_average"),
]
_KEYS = [
    (),
    (("island", "Dream"),),
    (("island", "Torgersen"),),
    (("island", "Dream"), ("sex", "female")),
    (("year", "2008"),),
]

# Few different numbers, so that they often meet a bound exactly.
_numbers = st.sampled_from([-1.0, -0.1, 0.0, 0.1, 0.5, 0.9, 1.0]) | st.floats(-5, 5)
_specs = st.sampled_from(
    [
        SliceSpec(),
        SliceSpec(("island",)),
        SliceSpec((), {"island": "Dream"}),
        SliceSpec(("island",), {"sex": "female"}),
        SliceSpec((), {"year": "2008.0"}),
        SliceSpec(all_slices=True),
    ]
)
_slices = st.lists(_specs, min_size=1, max_size=3)
_crossed = st.lists(
    st.builds(CrossSliceSpec, _specs, st.lists(_specs, min_size=1, max_size=2)), max_size=1
)


def _make(kind: Callable[..., T], fields: dict[str, st.SearchStrategy[Any]]) -> Any:
    return st.fixed_dictionaries(fields).map(lambda drawn: kind(**drawn))


def _threshold(kind: type, **bounds: float | None) -> Callable[..., Any]:
    """A rule is about slices, or about pairs of them."""

    def make(slices: Any, cross_slices: Any, ends: tuple[float | None, ...], **fields: Any) -> Any:
        places = {"cross_slices": cross_slices} if cross_slices else {"slices": slices}
        given = {name: end for name, end in zip(bounds, ends, strict=True) if end is not None}
        return kind(**given, **places, **fields)

    return make


_common: dict[str, st.SearchStrategy[Any]] = {
    "metric": st.sampled_from(["auc", "loss", "recall"]),
    "slices": _slices,
    "weighting": st.sampled_from(["any", "any", "weighted", "unweighted"]),
    "confidence": st.sampled_from([None, "point", "bound"]),
    "min_examples": st.none() | st.integers(1, 50),
}
_direction = {"direction": st.sampled_from(["higher_is_better", "lower_is_better"])}
_one_or_both = st.sampled_from([(True, False), (False, True), (True, True)])


def _ends(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Two numbers, of which one may be left out."""
    return st.tuples(numbers, _one_or_both).map(
        lambda drawn: tuple(n if on else None for n, on in zip(*drawn, strict=True))
    )


#: Rules on a metric itself, some of them between slices.
value_rules = _make(
    _threshold(ValueThreshold, lower_bound=None, upper_bound=None),
    {**_common, "cross_slices": _crossed, "ends": _ends(st.tuples(_numbers, _numbers).map(sorted))},
)

#: Rules on a change, some of them between slices.
change_rules = _make(
    _threshold(ChangeThreshold, absolute=None, relative=None),
    {
        **_common,
        **_direction,
        "cross_slices": _crossed,
        "ends": _ends(st.tuples(_numbers, _numbers)),
    },
)

#: Rules of dominance.
no_worse_rules = _make(
    NoWorse,
    {
        **_common,
        **_direction,
        "tolerance": st.sampled_from([0.0, 0.1, 1.0]),
        "better_somewhere": st.booleans(),
    },
)

#: Policies with every kind of rule.
policies = _make(
    GatePolicy,
    {
        "value_thresholds": st.lists(value_rules, min_size=1, max_size=3),
        "change_thresholds": st.lists(change_rules, max_size=2),
        "required_slices": st.lists(_specs, max_size=2),
        "min_examples": st.integers(1, 50),
        "baseline": st.sampled_from(["require", "first_version_only", "allow"]),
        "no_worse": st.lists(no_worse_rules, max_size=2),
        "confidence": st.sampled_from(["point", "bound"]),
        "confidence_level": st.sampled_from([0.95, 0.99]),
        "missing_interval": st.sampled_from(["block", "use_point_value"]),
        "min_slice_size": st.sampled_from([1, 1, 10]),
        "max_evaluation_age_hours": st.sampled_from([None, 1.0]),
        "max_model_bytes": st.sampled_from([None, 100]),
        "max_model_growth": st.sampled_from([None, 0.5]),
        "signatures": st.sampled_from(["any", "additive", "same"]),
        "require_infra_blessing": st.booleans(),
        "required_labels": st.sampled_from([{}, {"team": ["x", "y"]}, {"team": []}]),
        "moved_baseline": st.sampled_from(["block", "re_evaluate"]),
    },
)


class _Dice:
    """Throws tables of numbers. Hypothesis draws the seed only: drawing each number takes long."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        #: In half of all evaluations nothing is missing, infinite or about another model.
        self._whole = self._random.random() < 0.5

    def number(self) -> float:
        """A measured number."""
        often = [-1.0, -0.1, 0.0, 0.1, 0.5, 0.9, 1.0, self._random.uniform(-2.0, 2.0)]
        rarely = [] if self._whole else [math.nan, math.inf, -math.inf]
        return self._random.choice(often + rarely)

    def interval(self) -> Interval:
        """An interval, seldom a useless one."""
        low, width = self.number(), self._random.choice([0.0, 0.1, 2.0])
        if self._whole:
            return Interval(low, low + width, 0.95, IntervalKind.T_DISTRIBUTION, width / 4, 19)
        return Interval(
            low,
            low + self._random.choice([width, -width]),
            self._random.choice([0.95, 0.95, None]),
            self._random.choice([None, *IntervalKind]),
            self._random.choice([None, width, -width]),
            self._random.choice([None, 0, 19]),
        )

    def row(self) -> dict[MetricId, float]:
        """Numbers of one slice."""
        row = {metric: self.number() for metric in self._some(_METRICS, 0.9)}
        if self._whole or self._random.random() < 0.9:
            row[_COUNT] = float(60 if self._whole else self._random.randint(0, 60))
        return row

    def intervals(self) -> dict[MetricId, Interval]:
        """Intervals of one slice."""
        return {metric: self.interval() for metric in self._some(_METRICS, 0.9)}

    def by_slice(self, make: Callable[[], T]) -> dict[SliceKey, T]:
        """A table by slice."""
        return {key: make() for key in self._some(_KEYS, 0.8)}

    def by_pair(self, make: Callable[[], T]) -> dict[CrossSliceKey, T]:
        """A table by pair of slices."""
        return {(left, right): make() for left in self._some(_KEYS, 0.4) for right in _KEYS[1:3]}

    def model(self, location: str, manifest: str) -> EvaluatedModel:
        """A measured model, mostly with the right bytes."""
        return EvaluatedModel(
            location,
            manifest if self._whole else self._random.choice([manifest] * 8 + ["", "other"]),
            self.by_slice(self.row),
            self.by_slice(self.intervals),
            self.by_pair(self.row),
            self.by_pair(self.intervals),
        )

    def evaluation(self) -> Evaluation:
        """An evaluation, mostly with a baseline."""
        return Evaluation(
            "/eval",
            self.model("/models/3", "candidate bytes"),
            self._random.choice([None, *[self.model("/models/1", "serving bytes")] * 3]),
            difference_intervals=self.by_slice(self.intervals),
            cross_difference_intervals=self.by_pair(self.intervals),
            made_at=self._random.choice([None, 0.0, 7000.0]),
            serving_seq=self._random.choice([None, 0, 7]),
        )

    def _some(self, items: list[Any], share: float) -> list[Any]:
        chosen = [item for item in items if self._whole or self._random.random() < share]
        self._random.shuffle(chosen)
        return chosen


evaluations = st.integers(0, 2**32).map(lambda seed: _Dice(seed).evaluation())

_SIGNATURES = {"serving_default": Signature({"x": TensorSpec("float32", (None, 3))})}
_signatures = st.sampled_from(
    [
        None,
        _SIGNATURES,
        {"serving_default": Signature({"x": TensorSpec("float32", (None, 4))})},
    ]
)


def _contenders(number: int, manifest: str) -> st.SearchStrategy[Contender]:
    return st.builds(
        Contender,
        st.just(number),
        st.just(str(number) * 64),
        st.just(manifest),
        st.just((f"/models/{number}",)),
        st.sampled_from([None, 90, 200]),
        _signatures,
    )


_GOOD = Situation(
    "penguin",
    "production",
    Contender(3, "3" * 64, "candidate bytes", (), 90, _SIGNATURES),
    Contender(1, "1" * 64, "serving bytes", (), 90, _SIGNATURES),
    serving_seq=7,
    labels={"team": "x"},
    infra_blessing=True,
    now=7200.0,
)

situations = st.just(_GOOD) | st.builds(
    Situation,
    st.just("penguin"),
    st.just("production"),
    _contenders(3, "candidate bytes"),
    st.none() | _contenders(1, "serving bytes"),
    st.sampled_from(["", "", "", "finish it"]),
    st.sampled_from([0, 7, 9]),
    st.sampled_from([{}, {"team": "x"}, {"team": "z"}]),
    st.sampled_from([None, True, False]),
    st.sampled_from([None, 7200.0]),
)
