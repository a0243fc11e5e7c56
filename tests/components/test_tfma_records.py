"""Records of TFMA, field by field, also as older releases wrote them."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_model_analysis.proto import metrics_for_slice_pb2 as pb

from tfx_registry.components.version_gate.tfma_bytes import parse_serialized
from tfx_registry.components.version_gate.tfma_records import parse_records
from tfx_registry.gate import Interval, IntervalKind, MetricId

AUC = MetricId("auc")
KEY = 'key { name: "auc" }'


def record(text: str, slice_key: str = "slice_key {}") -> Any:
    return text_format.Parse(f"{slice_key} {text}", pb.MetricsForSlice())


def numbers(*texts: str) -> Any:
    records = [record(text) for text in texts]
    models, differences = parse_records(records)
    again = parse_serialized(message.SerializeToString() for message in records)
    assert repr(again) == repr((models, differences))
    assert not differences
    (found,) = models.values()
    return found


def test_a_value_and_its_interval() -> None:
    found = numbers(
        f"""metric_keys_and_values {{ {KEY}
          value {{ double_value {{ value: 0.5 }} }}
          confidence_interval {{
            lower_bound {{ double_value {{ value: 0.25 }} }}
            upper_bound {{ double_value {{ value: 0.75 }} }}
            standard_error {{ double_value {{ value: 0.125 }} }}
            degrees_of_freedom {{ value: 19 }}
          }} }}"""
    )
    assert found.values == {(): {AUC: 0.5}}
    interval = Interval(0.25, 0.75, 0.95, IntervalKind.T_DISTRIBUTION, 0.125, 19)
    assert dict(found.intervals[()]) == {AUC: interval}
    again = pickle.loads(pickle.dumps(found))
    assert again.intervals[()][AUC] == interval


def test_an_interval_of_which_only_the_ends_are_known() -> None:
    found = numbers(
        f"""metric_keys_and_values {{ {KEY}
          value {{ double_value {{ value: 0.5 }} }}
          confidence_interval {{
            lower_bound {{ double_value {{ value: 0.25 }} }}
            upper_bound {{ double_value {{ value: 0.75 }} }}
          }} }}"""
    )
    assert found.intervals[()][AUC] == Interval(0.25, 0.75, 0.95)


def test_an_interval_without_numbers_is_of_no_use() -> None:
    found = numbers(
        f"""metric_keys_and_values {{ {KEY}
          value {{ double_value {{ value: 0.5 }} }}
          confidence_interval {{ lower_bound {{ bytes_value: "?" }} }} }}"""
    )
    interval = found.intervals[()][AUC]
    assert math.isnan(interval.lower)
    assert math.isnan(interval.upper)
    assert interval.level is None


def test_a_bounded_value_does_not_say_at_which_level() -> None:
    found = numbers(
        f"""metric_keys_and_values {{ {KEY} value {{ bounded_value {{
          value {{ value: 0.5 }} lower_bound {{ value: 0.25 }} upper_bound {{ value: 0.75 }}
        }} }} }}"""
    )
    assert found.values == {(): {AUC: 0.5}}
    assert found.intervals[()][AUC] == Interval(0.25, 0.75, None)


def test_a_t_distribution_is_an_interval_at_tfma_s_level() -> None:
    found = numbers(
        f"""metric_keys_and_values {{ {KEY} value {{ t_distribution_value {{
          sample_mean {{ value: 0.5 }} sample_standard_deviation {{ value: 0.1 }}
          sample_degrees_of_freedom {{ value: 19 }} unsampled_value {{ value: 0.48 }}
        }} }} }}"""
    )
    assert found.values == {(): {AUC: 0.48}}
    interval = found.intervals[()][AUC]
    assert interval.kind is IntervalKind.T_DISTRIBUTION
    assert (interval.lower, interval.upper) == pytest.approx((0.2906976, 0.7093024), abs=1e-6)
    assert (interval.level, interval.degrees_of_freedom) == (0.95, 19)


def test_the_whole_key_counts() -> None:
    keys = {
        'name: "auc" example_weighted { value: true }': MetricId("auc", weighting="weighted"),
        'name: "auc" example_weighted { }': AUC,
        'name: "auc" output_name: "a"': MetricId("auc", "a"),
        'name: "auc" sub_key { class_id { value: 0 } }': MetricId("auc", "", "classId:0"),
        'name: "auc" sub_key { k { value: 2 } }': MetricId("auc", "", "k:2"),
        'name: "auc" sub_key { top_k { value: 3 } } aggregation_type { micro_average: true }':
            MetricId("auc", "", "topK:3", "micro_average"),
    }  # fmt: skip
    rows = [
        f"metric_keys_and_values {{ key {{ {key} }} value {{ double_value {{ value: {i} }} }} }}"
        for i, key in enumerate(keys)
    ]
    found = numbers(" ".join(rows))
    assert found.values == {(): {metric: float(i) for i, metric in enumerate(keys.values())}}


def test_slices_may_have_their_keys_in_any_order_or_lack_some() -> None:
    a, b = (
        f'metric_keys_and_values {{ key {{ name: "{name}" }} '
        "value { double_value { value: 1 } } }"
        for name in "ab"
    )
    plot = 'metric_keys_and_values { key { name: "c" } value { array_value { } } }'
    cuts = [
        f'slice_key {{ single_slice_keys {{ column: "x" int64_value: {i} }} }}' for i in range(4)
    ]
    texts = [f"{plot} {a} {b}", f"{b} {a}", f"{b}", f"{a} {plot} {b}"]
    models, _ = parse_records(record(text, cut) for text, cut in zip(texts, cuts, strict=True))
    both = {MetricId("a"): 1.0, MetricId("b"): 1.0}
    assert models[""].values == {
        (("x", "0"),): both,
        (("x", "1"),): both,
        (("x", "2"),): {MetricId("b"): 1.0},
        (("x", "3"),): both,
    }


def test_models_differences_and_cross_slices_are_kept_apart() -> None:
    pairs = " ".join(
        f'metric_keys_and_values {{ key {{ name: "auc" {more} }} '
        f"value {{ double_value {{ value: {value} }} }} }}"
        for more, value in (
            ('model_name: "candidate"', 0.75),
            ('model_name: "baseline"', 0.5),
            ('model_name: "candidate" is_diff: true', 0.25),
        )
    )
    sex = 'single_slice_keys {{ column: "sex" bytes_value: "{}" }}'
    crossed = (
        f"cross_slice_key {{ baseline_slice_key {{ {sex.format('f')} }} "
        f"comparison_slice_key {{ {sex.format('m')} }} }}"
    )
    models, differences = parse_records([record(pairs), record(pairs, crossed)])
    between = ((("sex", "f"),), (("sex", "m"),))
    for tables, name, value in (
        (models, "candidate", 0.75),
        (models, "baseline", 0.5),
        (differences, "candidate", 0.25),
    ):
        assert tables[name].values == {(): {AUC: value}}
        assert tables[name].cross_values == {between: {AUC: value}}
    assert set(models) == {"candidate", "baseline"}
    assert set(differences) == {"candidate"}


def test_what_tfma_could_not_compute_is_not_left_out_silently() -> None:
    with pytest.raises(ValueError, match="TFMA noted __ERROR__: too few"):
        numbers('metrics { key: "__ERROR__" value { debug_message: "too few" } }')


def test_a_number_that_stands_twice() -> None:
    pair = f"metric_keys_and_values {{ {KEY} value {{ double_value {{ value: 0.5 }} }} }}"
    with pytest.raises(ValueError, match="stands twice"):
        numbers(f"{pair} {pair}")
