"""Numbers, intervals and thresholds over versions."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from tfx_registry.gate import Check, CheckKind, GateReport, Interval
from tfx_registry.gate.report import Compared
from tfx_registry.pages.series import POINT_COLUMNS, MetricSeries, bounds_of
from tfx_registry.records import Metric, ModelFacts, ModelFormat, Verdict, Version

VALUE = Check(True, "", rule="value >= 0.9", metric="auc", value=0.95, bound=0.9,
              kind=CheckKind.VALUE, examples=344, interval=Interval(0.93, 0.97))  # fmt: skip
CHANGE = Check(True, "", rule="absolute change at least -0.02", metric="auc", value=0.95,
               baseline_value=0.94, change=0.01, bound=-0.02, kind=CheckKind.CHANGE)  # fmt: skip


def version(*metrics: Metric) -> Version:
    facts = ModelFacts("", ModelFormat.OTHER, "", "", 0, 0)
    return Version("m", 7, facts, "", "", metrics=metrics)


def point(*checks: Check, metrics: tuple[Metric, ...] = ()) -> dict[str, Any]:
    series = MetricSeries()
    series.add(version(*metrics), GateReport("m", Verdict.PASSED, Compared(7, ""), checks=checks))
    (one,) = series.to_json()
    (row,) = one["points"]
    return dict(zip(POINT_COLUMNS, row, strict=False))


@pytest.mark.parametrize(
    ("rule", "bounds"),
    [
        ("value >= 0.9", (0.9, None)),
        ("value <= -1e-05", (None, -1e-05)),
        ("value [0.1, 0.9]", (0.1, 0.9)),
        ("value >= 0.9 at 95 %", (0.9, None)),
        ("value as I like it", (None, None)),
        ("value >= NaN", (None, None)),
    ],
)
def test_bounds_of_a_value_are_what_its_rule_says(rule: str, bounds: tuple[Any, Any]) -> None:
    assert bounds_of(dataclasses.replace(VALUE, rule=rule)) == bounds


@pytest.mark.parametrize(
    ("rule", "bounds"),
    [
        ("absolute change at least -0.02", (0.92, None)),
        ("absolute change at most 0.06", (None, 1.0)),
        ("relative change at least -0.5", (0.47, None)),
        ("absolute change at least -0.02 and relative change at least -0.5", (0.92, None)),
        ("no worse than the baseline", (None, None)),
    ],
)
def test_bounds_of_a_change_are_moved_to_the_scale_of_values(
    rule: str, bounds: tuple[Any, Any]
) -> None:
    assert bounds_of(dataclasses.replace(CHANGE, rule=rule)) == pytest.approx(bounds)


def test_where_it_may_be_no_worse_the_limit_is_the_baseline_and_the_tolerance() -> None:
    for bound, limit in ((0.0, 0.94), (-0.01, 0.93), (0.02, 0.96)):
        check = dataclasses.replace(
            CHANGE, kind=CheckKind.NO_WORSE, rule="no worse than the baseline", bound=bound
        )
        found = point(VALUE, check)
        assert found["no_worse_than"] == pytest.approx(limit)
        assert found["least_by_baseline"] is None
    assert "no_worse_than" not in point(VALUE, dataclasses.replace(check, baseline_value=None))


def test_a_change_without_a_baseline_has_no_bounds() -> None:
    for baseline, rule in ((None, CHANGE.rule), (0.0, "relative change at least -0.5")):
        check = dataclasses.replace(CHANGE, baseline_value=baseline, rule=rule)
        assert bounds_of(check) == (None, None)


def test_a_point_holds_what_its_checks_say() -> None:
    assert point(VALUE, CHANGE) == {
        "number": 7, "value": 0.95, "lower": 0.93, "upper": 0.97, "lower_bound": 0.9,
        "upper_bound": None, "least_by_baseline": pytest.approx(0.92), "most_by_baseline": None,
        "passed": True, "examples": 344,
    }  # fmt: skip


def test_one_failure_is_enough() -> None:
    failed = dataclasses.replace(CHANGE, passed=False)
    for checks in ((VALUE, failed), (failed, VALUE)):
        assert point(*checks)["passed"] is False


def test_of_two_bounds_the_tighter_is_drawn() -> None:
    for rules in (("value >= 0.9", "value >= 0.8"), ("value >= 0.8", "value >= 0.9")):
        checks = [dataclasses.replace(VALUE, rule=rule) for rule in rules]
        assert point(*checks)["lower_bound"] == 0.9


def test_numbers_that_nobody_asked_about_are_there_and_unchecked() -> None:
    assert point(metrics=(Metric("loss", 0.2),)) == {"number": 7, "value": 0.2}
    assert point(metrics=(Metric("loss", math.nan),)) == {"number": 7, "value": "NaN"}


def test_the_interval_of_a_difference_is_not_one_of_the_value() -> None:
    assert point(dataclasses.replace(CHANGE, interval=Interval(-1, 1)))["lower"] is None


def test_differences_between_slices_are_no_values() -> None:
    between = dataclasses.replace(VALUE, versus=(("sex", "male"),), slice=(("sex", "female"),))
    assert point(VALUE, between)["value"] == 0.95
