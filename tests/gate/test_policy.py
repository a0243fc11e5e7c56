"""Policies: what they accept, and their JSON."""

from __future__ import annotations

import pytest

from tfx_registry.errors import InvalidPolicyError
from tfx_registry.gate import (
    BaselineRule,
    ChangeThreshold,
    CrossSliceSpec,
    Direction,
    GatePolicy,
    NoWorse,
    SliceSpec,
    ValueThreshold,
)

POLICY = GatePolicy(
    value_thresholds=[
        ValueThreshold("auc", lower_bound=0.9, slices=[SliceSpec(), SliceSpec(["sex"])]),
        ValueThreshold("loss", upper_bound=1e300, output_name="head", sub_key="classId:0"),
    ],
    change_thresholds=[
        ChangeThreshold("auc", "higher_is_better", absolute=-0.01, relative=0.1),
    ],
    required_slices=[SliceSpec(["island"], {"sex": "female"})],
    min_examples=20,
    baseline="require",
)


def test_json_both_ways() -> None:
    assert GatePolicy.from_json(POLICY.to_json()) == POLICY
    assert POLICY.baseline is BaselineRule.REQUIRE
    assert POLICY.change_thresholds[0].direction is Direction.HIGHER_IS_BETTER


def test_digest_follows_the_content() -> None:
    assert GatePolicy.from_json(POLICY.to_json()).digest == POLICY.digest
    other = GatePolicy(value_thresholds=[ValueThreshold("auc", lower_bound=0.9)])
    assert other.digest != POLICY.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "invalid gate policy"),
        ("[]", "must be an object"),
        ("{}", "no threshold"),
        ('{"value_thresholds":[{"metric":"auc"}]}', "'auc'.*no threshold"),
        ('{"value_thresholds":[{"metric":"","lower_bound":1}]}', "names no metric"),
        ('{"value_thresholds":[{"metric":"auc","lower_bound":"x"}]}',
         r"value_thresholds\[0\].lower_bound must be a number"),
        ('{"value_thresholds":[{"metric":"auc","lowerbound":1}]}', "unknown field 'lowerbound'"),
        ('{"value_thresholds":[{"metric":"auc","lower_bound":"NaN"}]}', "nan is no threshold"),
        ('{"value_thresholds":[{"metric":"auc","lower_bound":1,"slices":[]}]}', "names no slice"),
        ('{"value_thresholds":[{"metric":"auc","lower_bound":1}],"min_examples":0}', "at least 1"),
        ('{"value_thresholds":[{"metric":"auc","lower_bound":1}],"min_examples":2.5}',
         "min_examples must be a whole number"),
        ('{"value_thresholds":[{"metric":"auc","lower_bound":1}],"baseline":"maybe"}',
         "baseline must be one of require, first_version_only, allow"),
        ('{"change_thresholds":[{"metric":"auc","absolute":1,"direction":"up"}]}',
         "direction must be one of"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(InvalidPolicyError, match=message):
        GatePolicy.from_json(text)


@pytest.mark.parametrize(
    "build",
    [
        lambda: GatePolicy([ChangeThreshold("auc", absolute=0.0)]),
        lambda: GatePolicy((), [ValueThreshold("auc", lower_bound=0.5)]),
        lambda: GatePolicy(ValueThreshold("auc", lower_bound=0.5)),
        lambda: GatePolicy([ValueThreshold("auc", lower_bound=0.5)], required_slices=["sex"]),
        lambda: GatePolicy([ValueThreshold("auc", lower_bound=0.5)], min_examples=1.5),
        lambda: GatePolicy([ValueThreshold("auc", lower_bound=0.5)], min_examples=True),
        lambda: ValueThreshold("auc", lower_bound=0.5, slices=["sex"]),
        lambda: ValueThreshold("auc", lower_bound=0.5, slices=SliceSpec(["sex"])),
        lambda: ValueThreshold("auc", lower_bound=0.5, slices="sex"),
        lambda: ValueThreshold("auc", "0.9"),
        lambda: ValueThreshold("auc", lower_bound=True),
        lambda: ValueThreshold("auc", lower_bound=float("-inf")),
        lambda: ValueThreshold("auc", lower_bound=0.6, upper_bound=0.5),
        lambda: ChangeThreshold("auc", relative=float("nan")),
        lambda: NoWorse("auc", tolerance=None),
        lambda: NoWorse("auc", better_somewhere=1),
        lambda: NoWorse("auc", slices=None),
        lambda: ValueThreshold("auc", 0.5, sub_key=3),
        lambda: ValueThreshold("auc", 0.5, cross_slices=["sex"]),
        lambda: ValueThreshold("auc", 0.5, min_examples=1.5),
        lambda: ValueThreshold("auc", 0.5, weighting="both"),
        lambda: SliceSpec(None),
        lambda: SliceSpec([3]),
        lambda: SliceSpec((), "sex"),
        lambda: SliceSpec((), {3: "sex"}),
        lambda: SliceSpec(all_slices="yes"),
        lambda: CrossSliceSpec("sex", [SliceSpec()]),
        lambda: CrossSliceSpec(SliceSpec(), SliceSpec()),
        lambda: GatePolicy(no_worse=[ValueThreshold("auc", 0.5)]),
        lambda: GatePolicy(no_worse=[NoWorse("auc")], required_labels="team"),
        lambda: GatePolicy(no_worse=[NoWorse("auc")], required_labels={"team": 3}),
        lambda: GatePolicy(no_worse=[NoWorse("auc")], required_labels={"team": [3]}),
        lambda: GatePolicy(no_worse=[NoWorse("auc")], required_labels={"": ["x"]}),
        lambda: GatePolicy(no_worse=[NoWorse("auc")], max_model_bytes=True),
        lambda: GatePolicy(no_worse=[NoWorse("auc")], max_model_growth="0.2"),
        lambda: GatePolicy(no_worse=[NoWorse("auc")], confidence_level=1),
        lambda: GatePolicy(no_worse=[NoWorse("auc")], signatures="equal"),
    ],
)
def test_nonsense_is_found_when_the_policy_is_built(build) -> None:
    with pytest.raises(InvalidPolicyError):
        build()


@pytest.mark.parametrize("text", ["[" * 100_000, "1e999", '{"min_examples": 1e999}', "nul"])
def test_hostile_texts_are_errors_of_ours(text: str) -> None:
    with pytest.raises(InvalidPolicyError):
        GatePolicy.from_json(text)


def test_wrong_words_in_python() -> None:
    with pytest.raises(InvalidPolicyError, match="invalid direction 'up'"):
        ChangeThreshold("auc", "up", absolute=0.0)
    with pytest.raises(InvalidPolicyError, match="invalid baseline rule 'maybe'"):
        GatePolicy([ValueThreshold("auc", lower_bound=0.5)], baseline="maybe")
    with pytest.raises(InvalidPolicyError, match="a list of features"):
        SliceSpec("island")


@pytest.mark.parametrize(
    ("spec", "key", "matches"),
    [
        (SliceSpec(), (), True),
        (SliceSpec(), (("sex", "female"),), False),
        (SliceSpec(["sex"]), (("sex", "female"),), True),
        (SliceSpec(["sex"]), (("sex", ""),), True),
        (SliceSpec(["sex"]), (), False),
        (SliceSpec(["sex"]), (("island", "Dream"),), False),
        (SliceSpec(["sex"]), (("island", "Dream"), ("sex", "female")), False),
        (SliceSpec(["sex", "island"]), (("island", "Dream"), ("sex", "female")), True),
        (SliceSpec((), {"sex": "female"}), (("sex", "female"),), True),
        (SliceSpec((), {"sex": "female"}), (("sex", "male"),), False),
        (SliceSpec(["island"], {"sex": "male"}), (("island", "Dream"), ("sex", "male")), True),
        (SliceSpec((), {"year": "3"}), (("year", "3.0"),), True),
        (SliceSpec((), {"year": 2008}), (("year", "2008"),), True),
        (SliceSpec((), {"year": "x"}), (("year", "3"),), False),
    ],
)
def test_slices_match_as_in_tfma(spec: SliceSpec, key: object, matches: bool) -> None:
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.slicer import slicer_lib

    proto = tfma.SlicingSpec(feature_keys=spec.feature_keys, feature_values=spec.feature_values)
    assert slicer_lib.SingleSliceSpec(spec=proto).is_slice_applicable(key) is matches
    assert spec.matches(key) is matches  # type: ignore[arg-type]
