"""Numbers taken back out of a report, and asked by another policy."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from tfx_registry import codec
from tfx_registry.gate import (
    BaselineRule,
    ChangeThreshold,
    Confidence,
    Contender,
    EvaluatedModel,
    Evaluation,
    GatePolicy,
    GateReport,
    Interval,
    MetricId,
    Situation,
    SliceSpec,
    ValueThreshold,
    decide,
)
from tfx_registry.gate.policy import CrossSliceSpec, MissingInterval, NoWorse
from tfx_registry.gate.recorded import (
    evaluation_of,
    infra_blessing_of,
    left_behind,
    looked_at_numbers,
    metric_of,
)
from tfx_registry.gate.report import Check, CheckKind, Reason
from tfx_registry.records import SliceKey

AUC, LOSS, COUNT = MetricId("auc"), MetricId("loss"), MetricId("example_count")
WEIGHTED = MetricId("auc", weighting="weighted")
MALE, FEMALE, OLD = (("sex", "m"),), (("sex", "f"),), (("age", "9"),)
SITUATION = Situation(
    "penguin", "production", Contender(2, "2" * 64, "c"), Contender(1, "1" * 64, "b"), serving_seq=3
)

numbers = st.sampled_from([0.1, 0.5, 0.7, 0.9, float("nan")])
metrics = st.dictionaries(st.sampled_from([AUC, LOSS, WEIGHTED]), numbers, max_size=3)
keys: st.SearchStrategy[SliceKey] = st.sampled_from([(), MALE, FEMALE, OLD])
specs = st.sampled_from(
    [
        SliceSpec(),
        SliceSpec(("sex",)),
        SliceSpec(feature_values={"sex": "m"}),
        SliceSpec(("age",)),
        SliceSpec(all_slices=True),
    ]
)
names = st.sampled_from(["auc", "loss"])
confidences = st.sampled_from([None, Confidence.POINT, Confidence.BOUND])
slices = st.lists(specs, min_size=1, max_size=2).map(tuple)
values = st.builds(
    ValueThreshold, names, numbers.filter(lambda x: x == x), slices=slices, confidence=confidences
)
bounds = st.sampled_from([-0.5, 0.0, 0.3])
changes = st.builds(ChangeThreshold, names, absolute=bounds, slices=slices, confidence=confidences)
ratios = st.builds(ChangeThreshold, names, relative=bounds, slices=slices, confidence=confidences)
dominances = st.builds(NoWorse, names, slices=slices, confidence=confidences)


def rules(kind: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(kind, max_size=2).map(tuple)


policies = st.tuples(rules(values), rules(st.one_of(changes, ratios)), rules(dominances)).flatmap(
    lambda found: st.builds(
        GatePolicy,
        st.just(found[0] or (ValueThreshold("auc", 0.5),)),
        st.just(found[1]),
        rules(specs),
        st.sampled_from([1, 30]),
        st.sampled_from(list(BaselineRule)),
        st.just(found[2]),
        missing_interval=st.sampled_from(list(MissingInterval)),
        min_slice_size=st.sampled_from([1, 30]),
    )
)


@st.composite
def models(draw: st.DrawFn, location: str) -> EvaluatedModel:
    table = {key: dict(draw(metrics)) for key in draw(st.lists(keys, max_size=4))}
    counted = draw(st.booleans())
    for row in table.values():
        if counted:
            row[COUNT] = draw(st.sampled_from([0.0, 20.0, 40.0]))
    intervals = {
        key: {m: Interval(v - 0.1, v + 0.1) for m, v in row.items() if draw(st.booleans())}
        for key, row in table.items()
    }
    return EvaluatedModel(location, location, table, intervals)


@st.composite
def evaluations(draw: st.DrawFn) -> Evaluation:
    baseline = draw(st.one_of(st.none(), models("b"), models("other")))
    candidate = draw(models("c"))
    return Evaluation(
        "/results",
        candidate,
        baseline,
        digest="e",
        difference_intervals={
            key: {metric: Interval(-0.1, 0.2) for metric in row if draw(st.booleans())}
            for key, row in candidate.metrics.items()
        },
    )


def again(report: GateReport) -> Evaluation:
    return evaluation_of(report, "c", "b")


@settings(max_examples=100, deadline=None)
@given(evaluations(), policies)
def test_the_recorded_policy_gives_the_recorded_decision(
    evaluation: Evaluation, policy: GatePolicy
) -> None:
    recorded = decide(policy, evaluation, SITUATION)
    assume(looked_at_numbers(recorded))
    decided = decide(policy, again(recorded), SITUATION)
    if left_behind(recorded, policy, decided):
        event("refused")
        return
    assert decided.verdict == recorded.verdict
    assert {c.message for c in decided.failures} >= {
        c.message for c in recorded.failures if c.reason is not Reason.METRIC_MISSING
    }


@settings(max_examples=150, deadline=None)
@given(evaluations(), policies, policies)
def test_another_policy_decides_as_on_the_evaluation_itself_or_not_at_all(
    evaluation: Evaluation, policy: GatePolicy, other: GatePolicy
) -> None:
    recorded = decide(policy, evaluation, SITUATION)
    assume(looked_at_numbers(recorded))
    decided = decide(other, again(recorded), SITUATION)
    if left_behind(recorded, other, decided):
        event("refused")
        return
    event("answered")
    assert decided.verdict == decide(other, evaluation, SITUATION).verdict


def evaluation(male: float = 0.95) -> Evaluation:
    def model(name: str, part: float) -> EvaluatedModel:
        return EvaluatedModel(
            name, name, {(): {AUC: 0.9, LOSS: 0.3, COUNT: 90.0}, MALE: {AUC: part, LOSS: 0.2}}
        )

    return Evaluation("/results", model("c", male), model("b", 0.9), digest="e", made_at=1.7e9)


EACH = (SliceSpec(), SliceSpec(("sex",)))
POLICY = GatePolicy(
    value_thresholds=(ValueThreshold("auc", 0.8, slices=EACH),),
    change_thresholds=(ChangeThreshold("auc", absolute=-0.01, slices=EACH),),
)


def test_a_decision_is_repeated_byte_for_byte() -> None:
    for male in (0.95, 0.4):
        recorded = decide(POLICY, evaluation(male), SITUATION)
        stored = codec.decode(GateReport, codec.loads(recorded.to_json()))
        decided = decide(POLICY, again(stored), SITUATION)
        assert left_behind(stored, POLICY, decided) == []
        assert decided.to_json() == recorded.to_json()


@pytest.mark.parametrize(
    ("other", "missing"),
    [
        (GatePolicy((ValueThreshold("loss", upper_bound=1.0),)), ["slice sex=m: loss is missing"]),
        (GatePolicy((ValueThreshold("f1", 0.5),)), ["overall: f1 is missing"]),
        (
            dataclasses.replace(POLICY, confidence=Confidence.BOUND),
            ["overall: auc 0.9 is within >= 0.8; there is no confidence interval of auc"],
        ),
        (
            dataclasses.replace(
                POLICY,
                confidence=Confidence.BOUND,
                missing_interval=MissingInterval.USE_POINT_VALUE,
            ),
            ["all intervals"],
        ),
        (dataclasses.replace(POLICY, min_examples=10), ["slice sex=m: the evaluation has no exam"]),
        (dataclasses.replace(POLICY, required_slices=(SliceSpec(("age",)),)), ["slice each age"]),
        (
            GatePolicy(
                (
                    ValueThreshold(
                        "auc",
                        -0.1,
                        cross_slices=(CrossSliceSpec(SliceSpec(), (SliceSpec(("sex",)),)),),
                    ),
                )
            ),
            ["comparisons between slices"],
        ),
    ],
)
def test_what_was_not_kept_is_named(other: GatePolicy, missing: list[str]) -> None:
    recorded = decide(POLICY, evaluation(), SITUATION)
    lines = left_behind(recorded, other, decide(other, again(recorded), SITUATION))
    for text in missing:
        assert any(line.startswith(text) for line in lines), (text, lines)


def test_a_stricter_bound_on_the_same_numbers_is_answered() -> None:
    recorded = decide(POLICY, evaluation(), SITUATION)
    stricter = dataclasses.replace(
        POLICY, value_thresholds=(ValueThreshold("auc", 0.92, slices=EACH),)
    )
    decided = decide(stricter, again(recorded), SITUATION)
    assert left_behind(recorded, stricter, decided) == []
    assert [(c.slice, c.reason) for c in decided.failures] == [((), Reason.BELOW_LOWER_BOUND)]


def test_decisions_that_looked_at_no_numbers_have_none() -> None:
    whole = evaluation()
    assert looked_at_numbers(decide(POLICY, whole, SITUATION))
    other = dataclasses.replace(whole, candidate=dataclasses.replace(whole.candidate, manifest="x"))
    assert not looked_at_numbers(decide(POLICY, other, SITUATION))
    assert not looked_at_numbers(decide(POLICY, Evaluation("/nothing"), SITUATION))


def test_what_infra_validator_said_is_remembered() -> None:
    asked = dataclasses.replace(POLICY, require_infra_blessing=True)
    for said in (True, False, None):
        situation = dataclasses.replace(SITUATION, infra_blessing=said)
        assert infra_blessing_of(decide(asked, evaluation(), situation)) is said
    assert infra_blessing_of(decide(POLICY, evaluation(), SITUATION)) is None


texts = st.text(st.sampled_from("ab_:0"), min_size=1)
metric_ids = st.builds(
    MetricId,
    texts,
    st.one_of(st.just(""), texts),
    st.sampled_from(["", "classId:0", "topK:5", "classId:1,k:2"]),
    st.sampled_from(["", "micro_average", "macro_average", "weighted_macro_average"]),
    st.sampled_from(["", "weighted"]),
)


@given(metric_ids)
def test_metrics_are_read_as_they_were_written(metric: MetricId) -> None:
    assert metric_of(str(metric)) == metric


@given(st.text())
def test_any_text_names_some_metric(text: str) -> None:
    assert str(metric_of(text)) == text


def test_pairs_of_slices_are_taken_along() -> None:
    pair = (MALE, FEMALE)
    rule = ValueThreshold(
        "auc",
        -0.1,
        cross_slices=(
            CrossSliceSpec(
                SliceSpec(feature_values={"sex": "m"}), (SliceSpec(feature_values={"sex": "f"}),)
            ),
        ),
    )
    policy = GatePolicy((rule,))
    whole = evaluation()
    assert whole.candidate is not None
    candidate = dataclasses.replace(whole.candidate, cross_slices={pair: {AUC: -0.05}})
    recorded = decide(policy, dataclasses.replace(whole, candidate=candidate), SITUATION)
    assert [c.versus for c in recorded.checks if c.kind is CheckKind.VALUE] == [FEMALE]
    decided = decide(policy, again(recorded), SITUATION)
    assert left_behind(recorded, policy, decided) == []
    assert decided.to_json() == recorded.to_json()


def test_older_reports_are_taken_apart_as_well() -> None:
    recorded = decide(POLICY, evaluation(), SITUATION)
    older = dataclasses.replace(
        recorded, checks=tuple(dataclasses.replace(c, kind=None) for c in recorded.checks)
    )
    assert again(older) == again(recorded)
    assert isinstance(older.checks[0], Check)


def alone(*keys: SliceKey, baseline: tuple[SliceKey, ...] | None = None) -> Evaluation:
    """Models that were measured on some slices, with auc alone."""

    def model(name: str, cut: tuple[SliceKey, ...]) -> EvaluatedModel:
        return EvaluatedModel(name, name, {key: {AUC: 0.9} for key in ((), *cut)})

    return Evaluation(
        "/results", model("c", keys), model("b", baseline) if baseline is not None else None
    )


def test_a_slice_without_the_metric_goes_on_failing() -> None:
    whole = alone(MALE, baseline=(MALE,))
    assert whole.candidate is not None
    table = {**whole.candidate.metrics, FEMALE: {LOSS: 0.1}}
    whole = dataclasses.replace(
        whole, candidate=dataclasses.replace(whole.candidate, metrics=table)
    )
    overall = GatePolicy((ValueThreshold("auc", 0.8),))
    recorded = decide(overall, whole, SITUATION)
    assert [(c.reason, c.slice) for c in recorded.failures] == [(Reason.METRIC_MISSING, FEMALE)]
    lower = GatePolicy((ValueThreshold("auc", 0.7),))
    decided = decide(lower, again(recorded), SITUATION)
    assert left_behind(recorded, lower, decided) == []
    assert [(c.reason, c.slice) for c in decided.failures] == [(Reason.METRIC_MISSING, FEMALE)]


def test_slices_of_the_baseline_alone_are_not_forgotten() -> None:
    whole = alone(MALE, baseline=(MALE, FEMALE))
    overall = GatePolicy((ValueThreshold("auc", 0.8),))
    each = GatePolicy((ValueThreshold("auc", 0.8, slices=(SliceSpec(("sex",)),)),))
    assert decide(each, whole, SITUATION).verdict != decide(overall, whole, SITUATION).verdict
    for policy in (overall, each):
        recorded = decide(policy, whole, SITUATION)
        assert left_behind(recorded, each, decide(each, again(recorded), SITUATION))


def test_a_baseline_that_did_not_serve_is_not_forgotten() -> None:
    whole = alone(MALE, baseline=(MALE, FEMALE))
    assert whole.baseline is not None
    other = dataclasses.replace(whole, baseline=dataclasses.replace(whole.baseline, manifest="x"))
    policy = GatePolicy((ValueThreshold("auc", 0.8),), baseline=BaselineRule.ALLOW)
    recorded = decide(policy, other, SITUATION)
    lines = left_behind(recorded, policy, decide(policy, again(recorded), SITUATION))
    assert lines == ["the numbers of a baseline that did not serve"]
    without = dataclasses.replace(whole, baseline=None)
    recorded = decide(policy, without, SITUATION)
    assert left_behind(recorded, policy, decide(policy, again(recorded), SITUATION)) == []


def test_intervals_are_taken_along() -> None:
    whole = evaluation()
    assert whole.candidate is not None
    intervals = {(): {AUC: Interval(0.85, 0.95)}, MALE: {AUC: Interval(0.7, 1.0)}}
    whole = dataclasses.replace(
        whole,
        candidate=dataclasses.replace(whole.candidate, intervals=intervals),
        difference_intervals={key: {AUC: Interval(-0.005, 0.02)} for key in ((), MALE)},
    )
    recorded = decide(POLICY, whole, SITUATION)
    sure = dataclasses.replace(POLICY, confidence=Confidence.BOUND)
    decided = decide(sure, again(recorded), SITUATION)
    assert left_behind(recorded, sure, decided) == []
    assert [(c.reason, c.slice) for c in decided.failures] == [(Reason.NOT_CONFIDENT, MALE)]
    assert decided.to_json() == decide(sure, whole, SITUATION).to_json()
