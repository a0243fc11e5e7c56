"""Reports: what was written is read forever."""

from __future__ import annotations

import dataclasses
import math
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfx_registry import codec
from tfx_registry.compiled import NumberTexts
from tfx_registry.gate import (
    Check,
    CheckKind,
    DataIdentity,
    GateReport,
    Interval,
    IntervalKind,
    Reason,
)
from tfx_registry.gate.report import Compared, make_check
from tfx_registry.records import Verdict

#: As release 0.1 wrote it.
FIRST_FORM = (
    '{"alias":"production","baseline":{"digest":"b","evaluated_at":"/models/1","number":1},'
    '"baseline_rule":"first_version_only","candidate":{"digest":"c","evaluated_at":"/models/3",'
    '"number":3},"checks":[{"bound":0.9,"examples":40,"message":"slice island=Torgersen: auc 0.8 '
    'is below the lower bound 0.9 (40 examples)","metric":"auc","passed":false,'
    '"reason":"below_lower_bound","rule":"value >= 0.9","slice":[["island","Torgersen"]],'
    '"value":0.8}],"data_location":"/data","evaluation":"/eval","evaluation_digest":"e",'
    '"metrics":[["auc",[],0.95]],"model":"penguin","policy":{"value_thresholds":[]},'
    '"policy_digest":"p","verdict":"blocked"}'
)


def test_a_report_of_the_first_release_is_read_and_written_the_same() -> None:
    report = GateReport.from_json(FIRST_FORM)
    assert report.to_json() == FIRST_FORM
    check = report.checks[0]
    assert (check.kind, check.interval, check.level, check.versus) == (None, None, None, None)
    assert (report.made_at, report.serving_seq, report.data) == (None, 0, DataIdentity())


def test_intervals_and_data_come_back_from_json() -> None:
    interval = Interval(0.91, 0.97, 0.95, IntervalKind.T_DISTRIBUTION, 0.015, 19)
    check = Check(
        False,
        "no",
        Reason.BELOW_LOWER_BOUND,
        kind=CheckKind.VALUE,
        slice=(("sex", "female"),),
        versus=(("sex", "male"),),
        interval=interval,
        level=0.95,
    )
    report = GateReport(
        "penguin",
        Verdict.BLOCKED,
        Compared(3, "c"),
        checks=(check,),
        data=DataIdentity("/data", ("eval",), {"span": "3"}, "d"),
        made_at=1.5e9,
        versions={"tensorflow-model-analysis": "0.47.0"},
        serving_seq=7,
    )
    assert GateReport.from_json(report.to_json()) == report


def test_a_quickly_made_check_is_a_check() -> None:
    names = [field.name for field in dataclasses.fields(Check)]
    values = [True, "m", Reason.NO_EXAMPLES, "r", "auc", (("a", "b"),), 1.0, 2.0, 3.0, 4.0, 5,
              CheckKind.VALUE, (), Interval(0.0, 1.0), 0.95]  # fmt: skip
    assert len(names) == len(values)
    quick = make_check(*values)
    assert quick == Check(*values)  # type: ignore[arg-type]
    assert type(quick) is Check
    assert [getattr(quick, name) for name in names] == values
    assert hash(quick) == hash(Check(*values))  # type: ignore[arg-type]
    assert pickle.loads(pickle.dumps(quick)) == quick
    assert dataclasses.replace(quick, level=None).level is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        quick.passed = False  # type: ignore[misc]


def test_a_quickly_made_check_does_not_change_either() -> None:
    quick = make_check(True, "m", None, "r", "auc", (), *[None] * 9)
    with pytest.raises(dataclasses.FrozenInstanceError):
        quick.passed = False
    assert pickle.loads(pickle.dumps(quick)) == quick
    assert dataclasses.replace(quick, message="n") == Check(True, "n", None, "r", "auc")


_NUMBERS = st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 0.1 + 0.2, 1e22, 7])
_TEXTS = st.sampled_from(["", "auc", 'é\\"\n\x7f\u2028', "\U0001f427", "</script>"])
_SLICES = st.lists(st.tuples(_TEXTS, _TEXTS), max_size=2).map(tuple)
_INTERVALS = st.builds(
    Interval,
    _NUMBERS,
    _NUMBERS,
    st.none() | _NUMBERS,
    st.none() | st.sampled_from(list(IntervalKind)),
    st.none() | _NUMBERS,
    st.none() | st.integers(0, 2**70),
)
_CHECKS = st.builds(
    Check,
    st.booleans(),
    _TEXTS,
    st.none() | st.sampled_from(list(Reason)),
    _TEXTS,
    _TEXTS,
    _SLICES,
    st.none() | _NUMBERS,
    st.none() | _NUMBERS,
    st.none() | _NUMBERS,
    st.none() | _NUMBERS,
    st.none() | st.integers(0, 2**70),
    st.none() | st.sampled_from(list(CheckKind)),
    st.none() | _SLICES,
    st.none() | _INTERVALS,
    st.none() | _NUMBERS,
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(_CHECKS, max_size=4),
    st.lists(st.tuples(_TEXTS, _SLICES, _NUMBERS), max_size=4),
    _TEXTS,
    st.none() | _NUMBERS,
)
def test_a_report_is_written_as_the_codec_writes_it(
    checks: list[Check], metrics: list[Any], text: str, number: float | None
) -> None:
    report = GateReport(
        text,
        Verdict.PASSED,
        Compared(3, text, text),
        checks=(*checks, *checks),
        notes=(text,),
        policy={text: {"b": [number, None, True]}, "a": 1},
        metrics=tuple(metrics),
        made_at=number,
        versions={"b": "1", "a": text},
    )
    assert report.to_json() == codec.dumps(report)


def test_texts_of_numbers_are_those_of_python_however_many_there_are() -> None:
    texts = NumberTexts()
    numbers = [0.0, -0.0, *(n / 7 for n in range(-9000, 9000)), -0.0, 0.0]
    assert [texts[n] for n in numbers] == list(map(repr, numbers))
    assert len(texts) < 5000
