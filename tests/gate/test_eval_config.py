"""EvalConfigs as policies: what TFMA reads out of them, and what cannot be taken."""

from __future__ import annotations

import json
from typing import Any

import pytest
import tensorflow_model_analysis as tfma
import yaml
from google.protobuf import descriptor_pb2, json_format, text_format
from tensorflow_model_analysis.metrics import metric_specs, metric_types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import config_util

from tfx_registry.errors import InvalidPolicyError
from tfx_registry.gate import (
    ChangeThreshold,
    CrossSliceSpec,
    GatePolicy,
    SliceSpec,
    ValueThreshold,
    Weighting,
)
from tfx_registry.gate.eval_config import metric_name
from tfx_registry.gate.eval_config_proto import parse_eval_config

VALUE = "value_threshold { lower_bound { value: 0.9 } }"
CHANGE = "change_threshold { direction: HIGHER_IS_BETTER absolute { value: -0.01 } }"
ALL = (SliceSpec(all_slices=True),)

FULL = """
model_specs { label_key: "y" }
slicing_specs {} slicing_specs { feature_keys: "sex" }
cross_slicing_specs {
  baseline_spec { feature_values { key: "sex" value: "female" } }
  slicing_specs { feature_values { key: "sex" value: "male" } }
}
metrics_specs {
  metrics {
    class_name: "AUC"
    config: '"num_thresholds": 100'
    threshold { value_threshold { lower_bound { value: 0.9 } upper_bound { value: 1.0 } } }
    per_slice_thresholds {
      slicing_specs {}
      slicing_specs { feature_keys: "sex" feature_values { key: "age" value: "3" } }
      threshold { change_threshold { direction: LOWER_IS_BETTER relative { value: 0.1 } } }
    }
    cross_slice_thresholds {
      cross_slicing_specs {
        baseline_spec { feature_values { key: "sex" value: "female" } }
        slicing_specs { feature_values { key: "sex" value: "male" } }
      }
      threshold { value_threshold { upper_bound { value: 0.05 } } }
    }
  }
  metrics { class_name: "ExampleCount" }
}
options { min_slice_size { value: 20 } compute_confidence_intervals { value: true } }
"""
FEMALE, MALE = SliceSpec((), {"sex": "female"}), SliceSpec((), {"sex": "male"})
FULL_POLICY = GatePolicy(
    [
        ValueThreshold("auc", 0.9, 1.0, ALL, weighting="unweighted"),
        ValueThreshold(
            "auc",
            upper_bound=0.05,
            weighting="unweighted",
            cross_slices=[CrossSliceSpec(FEMALE, [MALE])],
        ),
    ],
    [
        ChangeThreshold(
            "auc",
            "lower_is_better",
            relative=0.1,
            slices=[SliceSpec(), SliceSpec(["sex"], {"age": "3"})],
            weighting="unweighted",
        )
    ],
    min_slice_size=20,
)


def config(text: str) -> Any:
    return text_format.Parse(text, tfma.EvalConfig())


def test_every_form_says_the_same() -> None:
    message = config(FULL)
    as_dict = json_format.MessageToDict(message)
    same = json_format.MessageToDict(message, preserving_proto_field_name=True)
    for form in (message, FULL, as_dict, same, json.dumps(as_dict)):
        assert GatePolicy.from_eval_config(form) == FULL_POLICY
    assert GatePolicy.from_dict(as_dict) == FULL_POLICY
    assert GatePolicy.from_json(json.dumps(same)) == FULL_POLICY
    assert GatePolicy.from_yaml(yaml.safe_dump(same)) == FULL_POLICY


def test_a_policy_may_hold_one(tmp_path: Any) -> None:
    held = {"eval_config": json_format.MessageToDict(config(FULL)), "max_model_bytes": 5,
            "value_thresholds": [{"metric": "loss", "upper_bound": 1}]}  # fmt: skip
    policy = GatePolicy.from_dict(held)
    assert [rule.metric for rule in policy.value_thresholds] == ["loss", "auc", "auc"]
    assert (policy.max_model_bytes, policy.min_slice_size) == (5, 20)
    assert GatePolicy.from_dict({**held, "min_slice_size": 2}).min_slice_size == 2
    with pytest.raises(InvalidPolicyError, match="value_thresholds must be a list"):
        GatePolicy.from_dict({**held, "value_thresholds": "auc"})
    path = tmp_path / "config.pbtxt"
    path.write_text(FULL, encoding="utf-8")
    assert GatePolicy.load(path) == FULL_POLICY


SPECS = [
    f'metrics {{ class_name: "AUC" threshold {{ {VALUE} }} }}',
    f'metrics {{ class_name: "AUC" threshold {{ {VALUE} {CHANGE} }} }}',
    f'metrics {{ class_name: "AUC" config: \'{{"name": "my_auc"}}\' threshold {{ {VALUE} }} }}',
    f'metrics {{ class_name: "BinaryCrossEntropy" threshold {{ {VALUE} }} }}',
    f'metrics {{ class_name: "SparseTopKCategoricalAccuracy" threshold {{ {VALUE} }} }}',
    f'metrics {{ class_name: "MeanSquaredError" per_slice_thresholds {{ slicing_specs {{}} '
    f"threshold {{ {VALUE} }} }} }}",
    f'thresholds {{ key: "loss" value {{ {VALUE} }} }}',
    f'thresholds {{ key: "loss" value {{ {CHANGE} }} }} output_names: "a" output_names: "b"',
    f'per_slice_thresholds {{ key: "loss" value {{ thresholds {{ slicing_specs {{ feature_keys: '
    f'"sex" }} threshold {{ {VALUE} }} }} }} }}',
    f'cross_slice_thresholds {{ key: "loss" value {{ thresholds {{ cross_slicing_specs {{ '
    f'baseline_spec {{}} slicing_specs {{ feature_keys: "sex" }} }} threshold {{ {VALUE} }} '
    "} } }",
    f'metrics {{ class_name: "AUC" threshold {{ {VALUE} }} }} output_names: "a" output_names: "b"',
    f'metrics {{ class_name: "AUC" threshold {{ {VALUE} }} }} '
    "binarize { class_ids { values: [0, 2] } k_list { values: 1 } top_k_list { values: 3 } }",
    f'metrics {{ class_name: "AUC" threshold {{ {VALUE} }} }} aggregate {{ micro_average: true }}',
    f'metrics {{ class_name: "AUC" threshold {{ {VALUE} }} }} binarize {{ class_ids {{ values: 0 '
    "} } aggregate { macro_average: true top_k_list { values: [2, 5] } }",
    f'metrics {{ class_name: "AUC" threshold {{ {VALUE} }} }} aggregate {{ weighted_macro_average: '
    "true class_weights { key: 0 value: 0.5 } }",
    f'metrics {{ class_name: "AUC" threshold {{ {VALUE} }} }} aggregate {{ top_k_list {{ values: 2 '
    "} }",
    f'metrics {{ class_name: "AUC" threshold {{ {VALUE} }} }} example_weights {{ weighted: true '
    "unweighted: true }",
    f'metrics {{ class_name: "AUC" threshold {{ {VALUE} }} }} example_weights {{ weighted: true }}',
    f'metrics {{ class_name: "AUC" threshold {{ {VALUE} }} }} binarize {{}}',
]
MODELS = [
    "model_specs {}",
    'model_specs { name: "only" }',
    'model_specs { name: "candidate" } model_specs { name: "baseline" is_baseline: true }',
    'model_specs { name: "candidate" example_weight_key: "w" } '
    'model_specs { name: "baseline" is_baseline: true example_weight_key: "w" }',
    'model_specs { example_weight_keys { key: "a" value: "w" } }',
]


def tfma_thresholds(message: Any) -> set[Any]:
    """What TFMA would check of the candidate: name, output, sub key, weighting, slices, rule."""
    has_baseline = any(spec.is_baseline for spec in message.model_specs)
    full = config_util.update_eval_config_with_defaults(
        message, has_baseline=has_baseline or None, rubber_stamp=True
    )
    found = set()
    thresholds = metric_specs.metric_thresholds_from_metrics_specs(full.metrics_specs, full)
    for key, slices in thresholds.items():
        if key.model_name == "baseline":
            continue
        aggregation = next(
            (n for n, on in (key.aggregation_type._asdict() if key.aggregation_type else {}).items()
             if on), "")  # fmt: skip
        place = (key.name, key.output_name, str(key.sub_key or ""), aggregation)
        for spec, threshold in slices:
            found.add((*place, key.example_weighted, str(spec).strip() if spec is not None
                       else "all", key.is_diff, str(threshold).strip()))  # fmt: skip
    return found


def policy_thresholds(policy: GatePolicy) -> set[Any]:
    """The same of a policy."""
    weighted = {Weighting.WEIGHTED: [True], Weighting.UNWEIGHTED: [False]}

    def proto(spec: SliceSpec) -> Any:
        return tfma.SlicingSpec(feature_keys=spec.feature_keys, feature_values=spec.feature_values)

    found = set()
    for rule in policy.rules:
        specs = ["all" if spec.all_slices else str(proto(spec)).strip() for spec in rule.slices]
        if rule.cross_slices:
            specs = [
                str(config_pb2.CrossSlicingSpec(baseline_spec=proto(spec.baseline),
                                          slicing_specs=map(proto, spec.slices))).strip()
                for spec in rule.cross_slices
            ]  # fmt: skip
        if isinstance(rule, ValueThreshold):
            threshold = text_format.Parse(VALUE, tfma.MetricThreshold()).value_threshold
            assert threshold.lower_bound.value == rule.lower_bound
        else:
            threshold = text_format.Parse(CHANGE, tfma.MetricThreshold()).change_threshold
            assert threshold.absolute.value == rule.absolute
        place = (rule.metric, rule.output_name, rule.sub_key, rule.aggregation)
        is_diff = isinstance(rule, ChangeThreshold)
        for spec in specs:
            for example_weighted in weighted.get(rule.weighting, [None]):
                found.add((*place, example_weighted, spec, is_diff, str(threshold).strip()))
    return found


@pytest.mark.parametrize("models", MODELS)
@pytest.mark.parametrize("spec", SPECS)
def test_rules_are_the_thresholds_that_tfma_finds(spec: str, models: str) -> None:
    message = config(f"{models} metrics_specs {{ {spec} }}")
    expected = tfma_thresholds(message)
    # Asked of both variants, a rule names neither.
    both = {(*entry[:4], None, *entry[5:]) for entry in expected
            if (*entry[:4], not entry[4], *entry[5:]) in expected}  # fmt: skip
    single = {entry for entry in expected if (*entry[:4], None, *entry[5:]) not in both}
    assert policy_thresholds(GatePolicy.from_eval_config(message)) == single | both


def test_model_names_choose_the_metrics_specs_of_the_candidate() -> None:
    models = 'model_specs { name: "a" } model_specs { name: "b" } '
    models += 'model_specs { name: "base" is_baseline: true } '
    specs = [f'metrics_specs {{ model_names: "{name}" metrics {{ class_name: "{metric}" '
             f"threshold {{ {VALUE} }} }} }} " for name, metric in
             (("a", "AUC"), ("b", "Recall"), ("base", "Precision"))]  # fmt: skip
    text = (
        models
        + "".join(specs)
        + specs[0].replace('model_names: "a"', "").replace("AUC", "MeanLabel")
    )
    for name, metrics in (("a", ["auc", "mean_label"]), ("b", ["recall", "mean_label"])):
        policy = GatePolicy.from_eval_config(text, candidate=name)
        assert [rule.metric for rule in policy.rules] == metrics


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no threshold, so it would pass every model"),
        ('metrics_specs { metrics { class_name: "AUC" } }', "no threshold"),
        ("nonsense {}", "invalid EvalConfig.*nonsense"),
        ('{"metricsSpec": []}', "invalid EvalConfig.*metricsSpec"),
        ("{", "invalid EvalConfig"),
        ('metrics_specs { metrics { class_name: "AUC" threshold { value_threshold {} } } }',
         r"metrics_specs\[0\].metrics\[0\].threshold.*no threshold"),
        ('metrics_specs { metrics { class_name: "AUC" threshold { value_threshold { lower_bound '
         "{ value: inf } } } } }", r"metrics\[0\].threshold.*inf is no threshold"),
        ('metrics_specs { metrics { class_name: "AUC" threshold { value_threshold { lower_bound '
         "{ value: 1 } upper_bound { value: 0 } } } } }", "it would block all"),
        ('metrics_specs {} metrics_specs { metrics { class_name: "AUC" threshold { change_threshold'
         " { absolute { value: 1 } } } } }",
         r"metrics_specs\[1\].metrics\[0\].threshold.change_threshold.direction.*HIGHER_IS_BETTER"),
        (f'metrics_specs {{ metrics {{ class_name: "AUC" per_slice_thresholds {{ threshold '
         f"{{ {VALUE} }} }} }} }}", r"per_slice_thresholds\[0\].*names no slice"),
        (f'metrics_specs {{ metrics {{ class_name: "AUC" cross_slice_thresholds {{ threshold '
         f"{{ {VALUE} }} }} }} }}", r"cross_slice_thresholds\[0\].*names no slices"),
        (f'metrics_specs {{ metrics {{ class_name: "AUC" cross_slice_thresholds {{ threshold '
         f"{{ {VALUE} }} cross_slicing_specs {{}} }} }} }}", "at least one slice to compare"),
        (f'metrics_specs {{ metrics {{ class_name: "AUC" per_slice_thresholds {{ slicing_specs '
         f'{{ slice_keys_sql: "SELECT 1" }} threshold {{ {VALUE} }} }} }} }}',
         r"per_slice_thresholds\[0\].slicing_specs.slice_keys_sql.*only after the evaluation"),
        (f'metrics_specs {{ metrics {{ class_name: "Mine" module: "my.metrics" threshold '
         f"{{ {VALUE} }} }} }}", r"metrics\[0\].*class 'Mine'.*give it in its config"),
        (f'metrics_specs {{ metrics {{ class_name: "QueryStatistics" threshold {{ {VALUE} }} '
         "} }", "class 'QueryStatistics'"),
        (f'metrics_specs {{ metrics {{ class_name: "AUC" config: "{{" threshold {{ {VALUE} }} '
         "} }",
         r"metrics\[0\].config.*no JSON"),
        ('model_specs { name: "a" } model_specs { name: "b" }', "2 candidates: 'a', 'b'"),
        ('model_specs { name: "a" } model_specs { name: "b" is_baseline: true } metrics_specs '
         f'{{ model_names: "c" metrics {{ class_name: "AUC" threshold {{ {VALUE} }} }} }}',
         r"metrics_specs\[0\].model_names.*'c' is none of the model_specs"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_named(text: str, message: str) -> None:
    with pytest.raises(InvalidPolicyError, match=message):
        GatePolicy.from_eval_config(text)


@pytest.mark.parametrize("form", [None, 3, [], tfma.SlicingSpec()])
def test_what_is_no_eval_config_is_refused(form: object) -> None:
    with pytest.raises(InvalidPolicyError, match="invalid EvalConfig"):
        GatePolicy.from_eval_config(form)


def test_an_unknown_candidate_is_refused() -> None:
    with pytest.raises(InvalidPolicyError, match="no candidate 'x'; there are 'a'"):
        GatePolicy.from_eval_config('model_specs { name: "a" }', candidate="x")


def test_a_metric_of_my_own_may_have_a_name() -> None:
    text = f"""metrics_specs {{ metrics {{ class_name: "Mine" module: "my.metrics"
        config: '"name": "mine"' threshold {{ {VALUE} }} }} }}"""
    assert GatePolicy.from_eval_config(text).value_thresholds[0].metric == "mine"


#: What the constructors of some metrics cannot do without.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "Mean": {"feature_key_path": "x"},
    "NDCG": {"gain_key": "x"},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtPrecision": {"precision": 0.5},
    "RecallAtFalsePositiveRate": {"false_positive_rate": 0.5},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
    "ThresholdAtRecall": {"recall": 0.5},
    "ConfusionMatrixAtThresholds": {"thresholds": [0.5]},
    "FalsePositiveFeatureSampler": {"threshold": 0.5, "feature_key": "x"},
}


def test_metrics_are_called_as_tfma_calls_them() -> None:
    """Also of classes that a later TFMA adds: this test will say if their names follow no rule."""
    checked = 0
    for class_name, cls in metric_types.registered_metrics().items():
        try:
            name = cls(**ARGUMENTS.get(class_name, {})).name
        except (TypeError, ValueError):
            continue  # makes numbers that no threshold can be put on, or needs a model
        if "Plot" in class_name:
            continue
        if name is None or class_name == "Mean":
            with pytest.raises(InvalidPolicyError):
                metric_name(class_name, "", {}, "here")
            continue
        assert metric_name(class_name, "", {}, "here") == name
        checked += 1
    assert checked > 60


def test_the_messages_are_declared_as_tfma_declares_them() -> None:
    def shape(descriptor: Any, seen: dict[str, Any]) -> dict[str, Any]:
        if descriptor.full_name not in seen:
            seen[descriptor.full_name] = None
            declared = descriptor_pb2.DescriptorProto()
            descriptor.CopyToProto(declared)
            seen[descriptor.full_name] = {
                field.name: (field.number, field.type, field.label) for field in declared.field
            }
            for field in descriptor.fields:
                if field.message_type is not None:
                    shape(field.message_type, seen)
        return seen

    ours = shape(parse_eval_config("").DESCRIPTOR, {})
    assert ours == shape(tfma.EvalConfig.DESCRIPTOR, {})
