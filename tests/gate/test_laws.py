"""Laws of the gate that hold for every policy, evaluation and situation."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tfx_registry.gate import (
    ChangeThreshold,
    Confidence,
    Evaluation,
    GatePolicy,
    GateReport,
    NoWorse,
    Situation,
    ValueThreshold,
    decide,
    summarize,
)
from tfx_registry.records import Verdict
from tfx_registry.testing.gate_strategies import (
    change_rules,
    evaluations,
    no_worse_rules,
    policies,
    situations,
    value_rules,
)

SEQUENCES = ("value_thresholds", "change_thresholds", "no_worse", "required_slices")


def failed_questions(report: GateReport) -> set[Any]:
    """What failed, whatever the reason."""
    return {(check.kind, check.metric, check.slice, check.versus) for check in report.failures}


def turned(table: Any) -> Any:
    """A mapping of mappings in the opposite order."""
    rows = [
        (key, dict(reversed(row.items())) if isinstance(row, dict) else row)
        for key, row in reversed(table.items())
    ]
    return dict(rows)


def turned_evaluation(evaluation: Evaluation) -> Evaluation:
    def model(one: Any) -> Any:
        fields = ("metrics", "intervals", "cross_slices", "cross_intervals")
        return one and dataclasses.replace(one, **{f: turned(getattr(one, f)) for f in fields})

    fields = ("difference_intervals", "cross_difference_intervals")
    return dataclasses.replace(
        evaluation,
        candidate=model(evaluation.candidate),
        baseline=model(evaluation.baseline),
        **{f: turned(getattr(evaluation, f)) for f in fields},
    )


def same_but_for_the_policy(report: GateReport) -> str:
    """The report as text, without the policy, which may be written in another order."""
    return dataclasses.replace(report, policy={}, policy_digest="").to_json()


@given(policies, evaluations, situations)
def test_the_order_of_rules_slices_and_metrics_never_matters(
    policy: GatePolicy, evaluation: Evaluation, situation: Situation
) -> None:
    def rule(one: Any) -> Any:
        return dataclasses.replace(one, slices=one.slices[::-1])

    other = dataclasses.replace(
        policy,
        value_thresholds=[rule(one) for one in policy.value_thresholds[::-1]],
        change_thresholds=[rule(one) for one in policy.change_thresholds[::-1]],
        no_worse=[rule(one) for one in policy.no_worse[::-1]],
        required_slices=policy.required_slices[::-1],
        required_labels=dict(reversed(policy.required_labels.items())),
    )
    first = decide(policy, evaluation, situation)
    second = decide(other, turned_evaluation(evaluation), situation)
    assert same_but_for_the_policy(first) == same_but_for_the_policy(second)


@given(policies, evaluations, situations)
def test_what_stands_twice_counts_once(
    policy: GatePolicy, evaluation: Evaluation, situation: Situation
) -> None:
    def rule(one: Any) -> Any:
        slices = one.slices if getattr(one, "cross_slices", ()) else one.slices * 2
        return dataclasses.replace(one, slices=slices)

    doubled = dataclasses.replace(
        policy,
        required_slices=policy.required_slices * 2,
        **{
            name: [*getattr(policy, name), *map(rule, getattr(policy, name))]
            for name in SEQUENCES[:3]
        },
    )
    first, second = (decide(p, evaluation, situation) for p in (policy, doubled))
    assert same_but_for_the_policy(first) == same_but_for_the_policy(second)


@given(
    policies,
    evaluations,
    situations,
    st.lists(value_rules, max_size=1),
    st.lists(change_rules, max_size=1),
    st.lists(no_worse_rules, max_size=1),
)
def test_a_further_rule_never_turns_a_block_into_a_pass(
    policy: GatePolicy,
    evaluation: Evaluation,
    situation: Situation,
    values: list[ValueThreshold],
    changes: list[ChangeThreshold],
    no_worse: list[NoWorse],
) -> None:
    further = dataclasses.replace(
        policy,
        value_thresholds=[*policy.value_thresholds, *values],
        change_thresholds=[*policy.change_thresholds, *changes],
        no_worse=[*policy.no_worse, *no_worse],
    )
    before, after = decide(policy, evaluation, situation), decide(further, evaluation, situation)
    assert set(before.reasons) <= set(after.reasons)


@st.composite
def stricter(draw: st.DrawFn, policy: GatePolicy) -> GatePolicy:
    """A policy that asks for more in one way."""
    step = draw(st.sampled_from([0.0, 0.05, 1.0]))

    def value(rule: ValueThreshold) -> ValueThreshold:
        low, high = rule.lower_bound, rule.upper_bound
        if low is not None and high is not None:
            low, high = low + min(step, (high - low) / 2), high
        elif low is not None:
            low += step
        elif high is not None:
            high -= step
        return dataclasses.replace(rule, lower_bound=low, upper_bound=high)

    def change(rule: ChangeThreshold) -> ChangeThreshold:
        sign = 1 if rule.direction.value == "higher_is_better" else -1
        bounds = (rule.absolute, rule.relative)
        absolute, relative = (None if b is None else b + sign * step for b in bounds)
        return dataclasses.replace(rule, absolute=absolute, relative=relative)

    def no_worse(rule: NoWorse) -> NoWorse:
        tolerance = max(0.0, rule.tolerance - step)
        return dataclasses.replace(rule, tolerance=tolerance, better_somewhere=True)

    def more(rule: Any) -> Any:
        least = None if rule.min_examples is None else rule.min_examples + 1
        return dataclasses.replace(rule, min_examples=least)

    def surely(rule: Any) -> Any:
        return dataclasses.replace(rule, confidence=Confidence.BOUND)

    ways: list[dict[str, Any]] = [
        {"value_thresholds": list(map(value, policy.value_thresholds))},
        {"change_thresholds": list(map(change, policy.change_thresholds))},
        {"no_worse": list(map(no_worse, policy.no_worse))},
        *({name: list(map(way, getattr(policy, name)))} for name in SEQUENCES[:3]
          for way in (more, surely)),
        {"min_examples": policy.min_examples + 1},
        {"baseline": "require"},
        {"missing_interval": "block"},
        {"max_evaluation_age_hours": 0.5},
        {"max_model_bytes": 50},
        {"max_model_growth": 0.1},
        {"signatures": "same"},
        {"require_infra_blessing": True},
        {"required_labels": {**policy.required_labels, "team": ["x"]}},
        {"required_slices": [*policy.required_slices, *policy.value_thresholds[0].slices]},
    ]  # fmt: skip
    return dataclasses.replace(policy, **draw(st.sampled_from(ways)))


@given(st.data(), policies, evaluations, situations)
def test_a_stricter_rule_never_turns_a_block_into_a_pass(
    data: st.DataObject, policy: GatePolicy, evaluation: Evaluation, situation: Situation
) -> None:
    demanding = data.draw(stricter(policy))
    before, after = decide(policy, evaluation, situation), decide(demanding, evaluation, situation)
    assert before.verdict is Verdict.PASSED or after.verdict is Verdict.BLOCKED
    assert failed_questions(before) <= failed_questions(after)


@given(policies, evaluations, situations)
def test_equal_inputs_give_equal_bytes_and_these_are_read_back(
    policy: GatePolicy, evaluation: Evaluation, situation: Situation
) -> None:
    report = decide(policy, evaluation, situation)
    text = report.to_json()
    again = GatePolicy.from_json(policy.to_json())
    assert text == decide(again, evaluation, situation).to_json()
    assert GateReport.from_json(text).to_json() == text
    assert (report.verdict is Verdict.PASSED) == (not report.failures)
    assert all(check.message and (check.reason is None) == check.passed for check in report.checks)
    assert len(summarize(report).splitlines()) == 1 + len(report.reasons) + len(report.notes)
