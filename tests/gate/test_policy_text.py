"""Policies as text: JSON and YAML both ways, errors that name the place, the schema."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfx_registry.errors import InvalidPolicyError
from tfx_registry.gate import ChangeThreshold, GatePolicy, SliceSpec, ValueThreshold
from tfx_registry.gate.policy_text import read_yaml, write_yaml
from tfx_registry.testing.gate_strategies import policies

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "policies"
SCHEMA = ROOT / "docs" / "policy.schema.json"

AUC = "value_thresholds: [{metric: auc, lower_bound: 0.9}]\n"


@given(policies)
def test_a_policy_comes_back_from_each_of_its_forms(policy: GatePolicy) -> None:
    for read, text in (
        (GatePolicy.from_json, policy.to_json()),
        (GatePolicy.from_yaml, policy.to_yaml()),
        (GatePolicy.from_yaml, policy.to_json()),
    ):
        again = read(text)
        assert again.to_json() == policy.to_json()
        assert again.digest == policy.digest


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_yaml_returns_the_value_that_was_written(value: object) -> None:
    assert read_yaml(write_yaml(value)) == value


@pytest.mark.parametrize(
    "word",
    ["yes", "No", "on", "2026-01-01", "1e5", "0x1f", "~", "null", "1_000", "<<", "12:30", "", " a",
     "#", "- x", "?", "=", ".inf", "010", "true"],
)  # fmt: skip
def test_words_that_look_like_something_else_stay_text(word: str) -> None:
    spec = SliceSpec((), {"answer": word})
    policy = GatePolicy([ValueThreshold("auc", lower_bound=0.5, slices=[spec])])
    assert GatePolicy.from_yaml(policy.to_yaml()) == policy


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: yes", {"a": "yes"}),
        ("a: 1e-3", {"a": 0.001}),
        ("a: 010", {"a": 10}),
        ("a: .5", {"a": 0.5}),
        ("a: 2026-01-01", {"a": "2026-01-01"}),
        ("a: 12:30", {"a": "12:30"}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("", None),
    ],
)
def test_yaml_means_what_yaml_1_2_says(text: str, value: object) -> None:
    assert read_yaml(text) == value


BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(8)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (AUC + AUC, "line 2, column 1: 'value_thresholds' is given twice"),
        ("a: [", "line 1, column 5"),
        ("1: x", "the key '1' is no text"),
        ("[a]: x", "is no text"),
        ("&a [*a]", "an alias refers to itself"),
        (BOMB, "more than 100000 values"),
        ("a: !!python/object/apply:os.system [x]", "could not determine a constructor"),
        ("a: 1\n---\nb: 2", "but found another document"),
        ("\x00", "special characters are not allowed"),
        ("[" * 5000, "no YAML"),
        ("a: 0x1f\nvalue_thresholds: []", "unknown field 'a'"),
        ("", "must be an object"),
        ("value_treshold: []", "unknown field 'value_treshold', did you mean 'value_thresholds'"),
        (AUC.replace("lower_bound", "lowerbound"),
         r"value_thresholds\[0\] has the unknown field 'lowerbound', did you mean 'lower_bound'"),
        (AUC + "baseline: no", "baseline must be one of require, first_version_only, allow"),
        (AUC + "required_labels: {team: x}", r"required_labels.team must be a list, not 'x'"),
        (AUC + "max_model_bytes: 1.5", "max_model_bytes must be a whole number"),
        (AUC + "max_model_bytes: -1", "invalid max_model_bytes -1"),
        (AUC + "max_model_growth: .nan", "invalid max_model_growth nan"),
        (AUC + "max_evaluation_age_hours: -1", "invalid max_evaluation_age_hours -1"),
        (AUC + "confidence_level: 95", "invalid confidence_level 95.0.*below 1"),
        (AUC + "confidence_level: 0.4", "invalid confidence_level 0.4"),
        (AUC + "min_slice_size: 0", "invalid min_slice_size 0"),
        (AUC + "require_infra_blessing: 1", "require_infra_blessing must be true or false"),
        ("no_worse: [{metric: auc, tolerance: -1}]", "tolerance -1.0 is negative"),
        ("no_worse: [{metric: auc, slices: []}]", "names no slice"),
        ("value_thresholds: [{metric: auc, lower_bound: 1, min_examples: 0}]",
         "min_examples of the rule on 'auc': 0"),
        ("value_thresholds: [{metric: auc, lower_bound: 1, confidence: sure}]",
         "confidence must be one of point, bound"),
        ("value_thresholds: [{metric: auc, lower_bound: 1, slices: [{all_slices: true, "
         "feature_keys: [sex]}]}]", "all_slices means every slice"),
        ("value_thresholds: [{metric: auc, lower_bound: 1, slices: [{feature_keys: [sex]}], "
         "cross_slices: [{baseline: {}, slices: [{feature_keys: [sex]}]}]}]", "write two rules"),
        ("value_thresholds: [{metric: auc, lower_bound: 1, cross_slices: [{baseline: {}, "
         "slices: []}]}]", "at least one slice to compare"),
        ("value_thresholds: [{metric: auc, lower_bound: 1, slices: [{feature_values: "
         "{year: 2008}}]}]", r"feature_values.year must be text, not 2008"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(InvalidPolicyError, match=message):
        GatePolicy.from_yaml(text)


@pytest.mark.parametrize("text", ['{"min_examples": 1, "min_examples": 2}', "[" * 100_000])
def test_json_is_as_strict(text: str) -> None:
    with pytest.raises(InvalidPolicyError):
        GatePolicy.from_json(text)


pieces = st.sampled_from(
    ["value_thresholds", "metric", "lower_bound", "slices", "auc", "0.9", "1e999", "-", ":", " ",
     "\n", "[", "]", "{", "}", ",", '"', "&a", "*a", "!!", "|", "eval_config", "metrics_specs",
     "no_worse", "null", "\t", "\x00", "é", "\ud7ff", "<<"]
)  # fmt: skip


@given(st.lists(pieces, max_size=30).map("".join) | st.text(max_size=60))
def test_no_text_makes_any_other_error(text: str) -> None:
    for read in (GatePolicy.from_yaml, GatePolicy.from_json, GatePolicy.from_eval_config):
        try:
            policy = read(text)
        except InvalidPolicyError as error:  # noqa: PERF203
            assert error.what  # noqa: PT017 - the other outcome is a policy
        else:
            assert read(text).digest == policy.digest


@given(st.dictionaries(st.sampled_from([f.name for f in dataclasses.fields(GatePolicy)]
                                       + ["eval_config"]), json_values))  # fmt: skip
def test_no_document_makes_any_other_error(document: dict[str, object]) -> None:
    try:
        GatePolicy.from_dict(document)
    except InvalidPolicyError:
        return
    except Exception as error:  # noqa: BLE001
        pytest.fail(f"{type(error).__name__}: {error}")


def test_equal_thresholds_have_equal_digests() -> None:
    assert ValueThreshold("auc", lower_bound=1) == ValueThreshold("auc", lower_bound=1.0)
    whole, exact = (
        GatePolicy([ValueThreshold("auc", upper_bound=n)], max_evaluation_age_hours=n)
        for n in (1, 1.0)
    )
    assert whole.digest == exact.digest == GatePolicy.from_json(whole.to_json()).digest
    with pytest.raises(InvalidPolicyError, match="no threshold"):
        ChangeThreshold("auc", absolute=10**400)


def test_a_policy_of_the_first_release_keeps_its_digest() -> None:
    text = (
        '{"baseline":"require","change_thresholds":[{"absolute":-0.01,"metric":"auc"}],'
        '"min_examples":20,"required_slices":[{"feature_keys":["island"],'
        '"feature_values":{"sex":"female"}}],"value_thresholds":[{"lower_bound":0.9,'
        '"metric":"auc","slices":[{},{"feature_keys":["sex"]}]}]}'
    )
    policy = GatePolicy.from_json(text)
    assert policy.to_json() == text
    assert policy.digest == "e9d38d786f3c0acd82f6011aa4318778cb5f077e645c17d34df7732ce87f89ad"


def test_files_are_read_by_their_ending(tmp_path: Path) -> None:
    policy = GatePolicy([ValueThreshold("auc", lower_bound=0.9)])
    for name, text in (("a.json", policy.to_json()), ("b.yaml", policy.to_yaml()),
                       ("c.yml", policy.to_json())):  # fmt: skip
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert GatePolicy.load(tmp_path / name) == policy
        assert GatePolicy.load(str(tmp_path / name)) == policy


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.yaml", None, "cannot read the policy '.*none.yaml'"),
        ("latin.yaml", "metric: é".encode("latin-1"), "cannot read the policy"),
        ("policy.toml", b"", "ends in none of .json, .yaml, .yml, .pbtxt"),
        ("bad.json", b"{", "bad.json: invalid gate policy"),
        ("bad.pbtxt", b"nonsense: 1", "bad.pbtxt: invalid EvalConfig"),
    ],
)
def test_a_file_that_is_no_policy_is_named(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidPolicyError, match=message):
        GatePolicy.load(tmp_path / name)


@pytest.mark.source_tree
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*")), ids=lambda path: path.name)
def test_examples_are_policies_that_the_schema_accepts(path: Path) -> None:
    import jsonschema

    policy = GatePolicy.load(path)
    assert GatePolicy.from_yaml(policy.to_yaml()) == policy
    for document in (read_yaml(path.read_text(encoding="utf-8")), json.loads(policy.to_json())):
        jsonschema.validate(document, GatePolicy.json_schema())


@pytest.mark.source_tree
def test_the_schema_file_is_up_to_date() -> None:
    written = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert written == GatePolicy.json_schema(), "run tools/write_policy_schema.py"


@settings(max_examples=20)
@given(policies)
def test_the_schema_accepts_every_policy(policy: GatePolicy) -> None:
    import jsonschema

    jsonschema.validate(json.loads(policy.to_json()), GatePolicy.json_schema())


@pytest.mark.parametrize(
    "document",
    [
        {"value_threshold": []},
        {"value_thresholds": [{"metric": "auc", "lowerbound": 1}]},
        {"value_thresholds": [{"lower_bound": 1}]},
        {"value_thresholds": [{"metric": "auc", "slices": []}]},
        {"change_thresholds": [{"metric": "auc", "direction": "up"}]},
        {"min_examples": 0},
        {"confidence_level": 1},
        {"required_labels": {"team": "x"}},
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(document: object) -> None:
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(GatePolicy.json_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, GatePolicy.json_schema())
    with pytest.raises(InvalidPolicyError):
        GatePolicy.from_dict(document)
