"""Reports: what was written is read forever."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

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
    quick = make_check(*values)  # type: ignore[arg-type]
    assert quick == Check(*values)  # type: ignore[arg-type]
    assert list(vars(quick)) == names
    assert pickle.loads(pickle.dumps(quick)) == quick
    assert dataclasses.replace(quick, level=None).level is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        quick.passed = False  # type: ignore[misc]
