"""Finding slices: each once, in order, and not by asking all of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfx_registry.gate import CrossSliceSpec, EvaluatedModel, Evaluation, MetricId, SliceSpec
from tfx_registry.gate.lookup import Lookup
from tfx_registry.records import SliceKey

AUC, COUNT = MetricId("auc"), MetricId("example_count")

features = st.sampled_from(["sex", "island", "year"])
values = st.sampled_from(["", "a", "3", "3.0", "03", "3.5", "x"])
keys = st.lists(st.tuples(features, values), max_size=3).map(lambda pairs: tuple(sorted(pairs)))
specs = st.builds(
    SliceSpec, st.lists(features, max_size=2), st.dictionaries(features, values, max_size=2)
) | st.just(SliceSpec(all_slices=True))


def evaluation(after: list[SliceKey], before: list[SliceKey]) -> Evaluation:
    return Evaluation(
        "/eval",
        EvaluatedModel("/c", "c", {key: {AUC: 0.5} for key in after}),
        EvaluatedModel("/b", "b", {key: {AUC: 0.5} for key in before}),
    )


@given(st.lists(keys, max_size=12), st.lists(keys, max_size=4), specs)
def test_the_slices_that_a_spec_means_are_found(
    after: list[SliceKey], before: list[SliceKey], spec: SliceSpec
) -> None:
    lookup = Lookup(evaluation(after, before))
    expected = sorted(key for key in {*after, *before} if spec.matches(key))
    assert [spot.slice for spot in lookup.matching(spec)] == expected
    assert [spot.slice for spot in lookup.matching(spec)] == expected
    for spot in lookup.matching(spec):
        assert (spot.numbers is None) == (spot.slice not in after)
        assert bool(spot.before) == (spot.slice in before)


@given(st.lists(st.tuples(keys, keys), max_size=8), specs, specs)
def test_the_pairs_that_a_spec_means_are_found(
    pairs: list[tuple[SliceKey, SliceKey]], baseline: SliceSpec, other: SliceSpec
) -> None:
    model = EvaluatedModel("/c", "c", {}, {}, {pair: {AUC: 0.1} for pair in pairs})
    spec = CrossSliceSpec(baseline, [other])  # type: ignore[arg-type]
    found = Lookup(Evaluation("/eval", model)).matching_pairs(spec)
    expected = sorted(p for p in set(pairs) if baseline.matches(p[0]) and other.matches(p[1]))
    assert [(spot.slice, spot.versus) for spot in found] == expected


def test_all_that_is_known_of_a_slice_is_found_together() -> None:
    key, pair = (("sex", "x"),), ((), (("sex", "x"),))
    model = EvaluatedModel(
        "/c", "c", {(): {COUNT: 9.0}, key: {AUC: 0.5, COUNT: 4.0}}, {}, {pair: {AUC: 0.1}}
    )
    lookup = Lookup(Evaluation("/eval", model))
    (spot,) = lookup.matching(SliceSpec(("sex",)))
    assert (spot.place, spot.counted, spot.examples) == ("slice sex=x", " (4 examples)", 4)
    (crossed,) = lookup.pairs
    assert crossed.place == "overall against sex=x"
    assert (crossed.counted, crossed.examples) == (" (9 and 4 examples)", 4)
    uncounted = EvaluatedModel("/c", "c", {(): {COUNT: 9.0}}, {}, {pair: {AUC: 0.1}})
    (crossed,) = Lookup(Evaluation("/eval", uncounted)).pairs
    assert (crossed.counted, crossed.examples) == ("", 9)


@pytest.mark.parametrize("min_slice_size", [1, 4, 5, 100])
def test_small_slices_are_left_out_of_both_models(min_slice_size: int) -> None:
    key, uncounted = (("sex", "x"),), (("sex", "y"),)
    none = (("sex", "z"),)
    table = {(): {COUNT: 0.0}, key: {COUNT: 4.0}, uncounted: {AUC: 0.5}, none: {COUNT: 0.0}}
    found = Evaluation("/eval", EvaluatedModel("/c", "c", table), EvaluatedModel("/b", "b", table))
    lookup = Lookup(found, min_slice_size)
    left = [spot.slice for spot in lookup.slices]
    expected = {1: [(), key, uncounted, none], 4: [(), key, uncounted]}
    assert left == expected.get(min_slice_size, [(), uncounted])
    assert lookup.left_out == 4 - len(left)


@pytest.mark.parametrize(
    ("asked", "value", "same"),
    [
        ("3", "3.0", True),
        ("3.0", "3", True),
        ("3", "03", True),
        ("3.5", "3", False),
        ("1e2", "100", False),
        ("1.0e2", "100", True),
        ("x", "x", True),
        ("x", "3", False),
        ("", "", True),
    ],
)
def test_values_that_read_as_numbers_are_these_numbers(asked: str, value: str, same: bool) -> None:
    """As in TFMA; `tests/gate/test_policy.py` compares with it."""
    spec = SliceSpec((), {"year": asked})
    assert spec.matches((("year", value),)) is same
    found = Lookup(evaluation([(("year", value),)], [])).matching(spec)
    assert bool(found) is same
