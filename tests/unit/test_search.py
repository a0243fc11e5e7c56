"""The search language: grammar, meaning, errors, and what hostile text can do (nothing)."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfx_registry.errors import InvalidExpressionError, InvalidInputError
from tfx_registry.records import (
    Approval,
    DecisionSummary,
    LineageSource,
    Metric,
    ModelFacts,
    ModelFormat,
    Origin,
    Override,
    Verdict,
    Version,
)
from tfx_registry.registry.search import MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES, parse, parse_order
from tfx_registry.registry.search_fields import FIELDS
from tfx_registry.registry.search_match import predicate, required_models
from tfx_registry.registry.search_tokens import MAX_LENGTH
from tfx_registry.registry.search_tree import And, Condition, FieldRef, Literal, Node, Not, Or
from tfx_registry.registry.search_values import MAX_PATTERN, compile_like

VERSION = Version(
    model="Penguin",
    number=3,
    facts=ModelFacts(
        "/models/3", ModelFormat.SAVED_MODEL, "ab12cd", "m", 2048, 4, tensorflow_version="2.16.2"
    ),
    time="2024-05-17T10:30:15.250000Z",
    actor="ada",
    origin=Origin("nightly", "run-7", libraries={"tfx": "1.16.0", "scikit-learn": "1.5"}),
    sources=(
        LineageSource("examples", "Examples", "/data/1", {"span": "7"}),
        LineageSource("examples", "Examples", "/data/2", {"span": "8", "a.b": "c"}),
        LineageSource("schema", "Schema", "/schema", digest="5c"),
    ),
    hyperparameters={"learning_rate": "0.001", "optimizer": "adam", "blank": ""},
    metrics=(
        Metric("auc", 0.93),
        Metric("auc", 0.8, (("island", "Dream"), ("sex", "female"))),
        Metric("loss", math.nan),
        Metric("peak", math.inf),
        Metric("precision@5", 0.5),
    ),
    description="100% of the birds, it's_fine",
    labels={"team": "birds", "a/b": "it's", "prio": "10", "a.b": "dotted", "in": "word"},
    semantic_version="1.10.0",
    decision=DecisionSummary(
        Verdict.PASSED, 5, "2024-05-18T00:00:00.000000Z", "gate", baseline=1, notes=("first",)
    ),
    approvals=(Approval(True, "bob", "2024-05-19T00:00:00.000000Z", 6),),
    aliases=("champion", "production"),
)


def matches(expression: str, version: Version = VERSION) -> bool:
    return predicate(parse(expression))(version)


TRUE = """
metrics.auc > 0.9 and labels.team = 'birds'
model = 'penguin'
model = 'PENGUIN' and model like 'peng%'
model in ('auk', 'penguin')
number = 3 and number != 4 and number in (1, 2, 3)
number >= 3.0 and number < 3.5
state = 'approved'
actor = "ada"
time = '2024' and time = '2024-05' and time = '2024-05-17'
time = '2024-05-17T10' and time = '2024-05-17 10:30' and time = '2024-05-17T10:30:15Z'
time = '2024-05-17T10:30:15.25' and time = '2024-05-17T12:30:15+02:00'
time >= '2024-05-17' and time <= '2024-05-17' and not time > '2024-05-17'
time > '2024-05-16' and time < '2024-06' and time != '2024-06'
time in ('2023', '2024')
digest like 'ab12%'
digest = 'ab12cd'
format = 'saved_model'
size_bytes > 1e3 and file_count <= 4
description like '100\\% of%' and description contains 'birds'
description like '%it''s\\_fine'
semantic_version > '1.9.0' and semantic_version = '1.10.0' and semantic_version < '2.0.0-rc.1'
aliases contains 'production' and aliases = 'champion' and aliases like 'prod%'
aliases in ('x', 'production')
serving is null
labels.'a/b' = 'it''s' and labels.'a/b' = "it's"
labels.a.b = 'dotted' and labels.'a.b' = 'dotted'
labels.in = 'word' and labels.'in' = 'word'
labels.prio > 9 and labels.prio < '9'
labels.prio in (10, 11)
labels.none is null and labels.team is not null
hyperparameters.learning_rate < 0.01 and hyperparameters.learning_rate = 1e-3
hyperparameters.optimizer = 'adam'
hyperparameters.blank = '' and hyperparameters.blank is not null
metrics.auc[island='Dream', sex='female'] = 0.8
metrics.auc[sex='female', island='Dream'] <= 0.8
metrics.'precision@5' = 0.5
metrics.peak = inf and metrics.peak > 1e300
metrics.loss is nan and metrics.loss is not null and metrics.auc is not nan
decision.verdict = 'passed' and decision.verdict in ('passed')
decision.baseline = 1 and decision.time > '2024-05-17'
approved_by = 'bob' and rejected_by is null
override.actor is null
origin.pipeline_name = 'nightly' and origin.run_id like 'run-_'
origin.code_revision is null
origin.libraries.tfx = '1.16.0' and origin.libraries.scikit-learn = '1.5'
sources = '/data/2' and sources like '/data/%'
sources.examples = '/data/1' and sources.examples.span = 8 and sources.examples.span > 7
sources.examples.a.b = 'c'
sources.schema.digest = '5c'
sources.schema.span is null
tensorflow_version like '2.16%'
same_bytes_as is null
not (number = 4) and not number = 4
not not number = 3
number = 4 or number = 3 and actor = 'ada'
number == 3 AND number <> 4
not labels.none = 'x'
not metrics.loss > 0
not (metrics.loss != 0)
""".strip().splitlines()

FALSE = """
labels.none = 'x'
labels.none != 'x'
labels.none not in ('x')
labels.none not like 'x'
metrics.none > 0
metrics.none is nan
metrics.none is not nan
metrics.loss > 0
metrics.loss != 0
metrics.loss not in (0)
metrics.auc[island='Dream'] > 0
labels.team > 3
labels.team != 3
labels.prio < 9
semantic_version < '1.9.0'
number = 4 or number = 3 and actor = 'bob'
(number = 4 or number = 3) and actor = 'bob'
digest like 'AB12%'
digest like 'ab1'
digest like '_ab12cd'
aliases = 'prod'
""".strip().splitlines()


@pytest.mark.parametrize("expression", TRUE)
def test_it_matches(expression: str) -> None:
    assert matches(expression)


@pytest.mark.parametrize("expression", FALSE)
def test_it_does_not_match(expression: str) -> None:
    assert not matches(expression)


@pytest.mark.parametrize("expression", TRUE + FALSE)
def test_what_is_written_back_reads_the_same(expression: str) -> None:
    tree = parse(expression)
    assert parse(str(tree)) == tree


@pytest.mark.parametrize(
    ("expression", "position", "says"),
    [
        ("", 1, "expected a field"),
        ("metrics.auc", 12, "contains, in or is, found the end"),
        ("metrics.auc >", 14, "expected a number, or a text in quotes, found the end"),
        ("labels.team = birds", 15, "put text into single quotes: 'birds'"),
        ("metric.auc > 1", 1, "did you mean metrics.NAME?"),
        ("modell = 'x'", 1, "did you mean model?"),
        ("name = 'x'", 1, "did you mean model?"),
        ("tags.team = 'x'", 1, "did you mean labels.KEY?"),
        ("zzz = 1", 1, "known are"),
        ("labels = 'x'", 1, "write labels.KEY"),
        ("decision = 'passed'", 1, "there is no field 'decision'"),
        ("number = '3'", 10, "number is a number, '3' is text; write a number without quotes"),
        ("number like '3'", 1, "is a number, not text"),
        ("actor = 3", 9, "actor is text, 3 is a number; put it into quotes: '3'"),
        ("state = 'servng'", 9, "did you mean serving?"),
        ("state > 'passed'", 1, "use = or in"),
        ("aliases != 'x'", 1, "write not (aliases = ...)"),
        ("aliases not contains 'x'", 1, "write not (aliases contains ...)"),
        ("time > '2024-13'", 8, "month must be in 1..12"),
        ("time > 'yesterday'", 8, "is no time"),
        ("time = '9999'", 8, "is no time"),
        ("time = '0001-01-01T00:00+23:00'", 8, "is no time"),
        ("time like '2024%'", 1, "such as time = '2024-05'"),
        ("time > 2024", 8, "put it into quotes: '2024'"),
        ("semantic_version > '1'", 20, "MAJOR.MINOR.PATCH"),
        ("labels.x in ('a', 1)", 14, "mixes numbers and text"),
        ("labels.x like 3", 15, "put it into quotes"),
        ("labels.x is nan", 1, "use is null"),
        ("labels.x[a='b'] = 'c'", 1, "has no slices"),
        ("metrics.auc[a='b', a='c'] > 1", 20, "'a' is there twice"),
        ("metrics.auc[island] > 1", 19, "expected '='"),
        ("labels.2x = 'y'", 8, "a name after the dot"),
        ("number = 3 number = 4", 12, "expected 'and', 'or' or the end"),
        ("(number = 3", 12, "expected ')'"),
        ("number in ()", 12, "expected a number, or a text in quotes, found ')'"),
        ("number = 'abc", 10, "no closing '"),
        ("number = 3; drop table", 11, "begins nothing that is known here"),
        ("number = 1e999", 10, "too large"),
        ("number = " + "1" * 41, 10, "a number of 41 characters"),
        ("number is 3", 11, "expected 'null' or 'nan'"),
        ("not", 4, "expected a field"),
        ("and = 1", 1, "expected a field"),
        (f"description like '{'a' * (MAX_PATTERN + 1)}'", 18, "more than 256"),
    ],
)
def test_errors_say_where_and_what(expression: str, position: int, says: str) -> None:
    with pytest.raises(InvalidExpressionError, match=re.escape(says)) as caught:
        matches(expression)
    error = caught.value
    assert error.position == position
    assert f"at character {position}" in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 700
    assert error.exit_code == 2
    assert error.todo


@pytest.mark.parametrize("value", [None, 3, b"number = 3", ["number"]])
def test_what_is_no_text_is_no_expression(value: object) -> None:
    with pytest.raises(InvalidExpressionError, match="not text"):
        parse(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "not " * 2000,
        "(" * (MAX_DEPTH + 1) + "number = 1" + ")" * (MAX_DEPTH + 1),
        "number=1 or " * 800 + "number=1",
        "number in (" + "1," * 4000 + "1)",
        "'" + "''" * 50_000,
        "'" + "''" * 4000,
        "\x00" * 100_000,
        "a" * 100_000,
        "a." * 4999,
        "metrics.a[" + "b='c'," * 1500,
        "\ud800",
        "number = 3" + " " * 100_000,
        "9" * 9999,
        "labels." + "'" * 9000,
        "number = '" + "\U0001f427" * 9000,
    ],
)
@pytest.mark.timeout(100)
def test_hostile_text_ends_at_once(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        matches(text)
    str(caught.value).encode()  # no lone surrogates
    assert len(str(caught.value)) < 700


def test_the_limits_themselves_are_allowed() -> None:
    assert matches("(" * MAX_DEPTH + "number = 3" + ")" * MAX_DEPTH)
    assert matches(" or ".join(["number=1"] * (MAX_CONDITIONS - 1) + ["number=3"]))
    assert matches(f"number in ({','.join(['1'] * (MAX_VALUES - 1))},3)")
    assert matches("number = 3".ljust(MAX_LENGTH))


@pytest.mark.timeout(100)  # backtracking would not end at all
def test_a_pattern_cannot_be_made_slow() -> None:
    version = dataclasses.replace(VERSION, description="a" * 1_000_000)
    for pattern in ("%a" * 127 + "b", "%" + "a" * 200 + "b%", "%_" * 127 + "b"):
        assert not matches(f"description like '{pattern}'", version)


@given(st.text(alphabet="ab%_\\.*\n", max_size=12), st.text(alphabet="ab%_\\.*\n", max_size=8))
@settings(max_examples=500, deadline=None)
def test_like_is_like_a_regular_expression(text: str, pattern: str) -> None:
    escaped = re.sub(
        r"\\([%_\\])|(%)|(_)|(.)",
        lambda m: ".*" if m[2] else "." if m[3] else re.escape(m[1] or m[4]),
        pattern,
        flags=re.DOTALL,
    )
    assert compile_like(pattern)(text) == bool(re.fullmatch(escaped, text, re.DOTALL))


names = st.text(min_size=1, max_size=8)
literals = st.builds(
    Literal,
    st.one_of(
        st.text(max_size=8),
        st.integers(-(10**30), 10**30),
        st.floats(allow_nan=False),
    ),
)
fields = st.builds(
    FieldRef,
    st.tuples(st.sampled_from(["metrics", "labels", "inf_", "x"]), names, names),
    st.dictionaries(names, st.text(max_size=5), max_size=2).map(lambda d: tuple(sorted(d.items()))),
)
conditions = st.one_of(
    st.builds(
        lambda by, how, value: Condition(by, how, (value,)),
        fields,
        st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "like", "not like", "not contains"]),
        literals,
    ),
    st.builds(Condition, fields, st.sampled_from(["is null", "is not null", "is nan"])),
    st.builds(
        lambda by, how, values: Condition(by, how, tuple(values)),
        fields,
        st.sampled_from(["in", "not in"]),
        st.lists(literals, min_size=1, max_size=3),
    ),
)
trees = st.recursive(
    conditions,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: Or(tuple(parts))),
    ),
    max_leaves=8,
)


@given(trees)
@settings(max_examples=300, deadline=None)
def test_every_tree_can_be_written_and_read(tree: Node) -> None:
    assert parse(str(tree)) == tree


WORDS = """
and or not in like contains is null nan ( ) [ ] , . = != < <= > >= 'x' "y" 'it''s' 3 -1.5e3 inf
model number metrics labels time state sources aliases semantic_version decision auc verdict
examples '2024-05' '1.0.0' 'passed'
"""
words = st.sampled_from(WORDS.split())


@given(st.one_of(st.text(max_size=60), st.lists(words, max_size=14).map(" ".join)))
@settings(max_examples=1500, deadline=None)
def test_any_text_is_an_expression_or_an_error(text: str) -> None:
    error = None
    try:
        assert matches(text) in (True, False)
    except InvalidExpressionError as caught:
        error = caught
    assert error is None or 1 <= error.position <= len(text) + 1
    with contextlib.suppress(InvalidExpressionError):
        parse_order(text)


@given(conditions, conditions)
@settings(max_examples=100, deadline=None)
def test_negation_joins_and_splits_by_de_morgan(a: Node, b: Node) -> None:
    try:
        both = predicate(Not(And((a, b))))(VERSION)
    except InvalidExpressionError:
        return
    assert both == predicate(Or((Not(a), Not(b))))(VERSION)


@pytest.mark.parametrize(
    ("expression", "models"),
    [
        ("model = 'Penguin' and number = 3", {"penguin"}),
        ("model in ('a', 'B') and model = 'b'", {"b"}),
        ("model = 'a' or number = 3", None),
        ("not model = 'a'", None),
        ("model != 'a'", None),
    ],
)
def test_which_models_can_match(expression: str, models: set[str] | None) -> None:
    assert required_models(parse(expression)) == models


def test_order() -> None:
    assert parse_order("metrics.auc[a='b'] DESC").descending
    assert not parse_order("time asc").descending
    for wrong in ("", "time up", "time desc desc", "time, number", "3"):
        with pytest.raises(InvalidExpressionError):
            parse_order(wrong)


def overridden(*aliases: str) -> Version:
    """Returns a version with overrides, the newest one last."""
    given = tuple(
        Override(f"boss{seq}", "2024-05-20", f"2024-06-0{seq}T00:00:00.000000Z", seq, "why", alias)
        for seq, alias in enumerate(aliases, start=1)
    )[::-1]
    return dataclasses.replace(VERSION, override=given[0], other_overrides=given[1:])


@pytest.mark.parametrize(
    ("aliases", "found", "not_found"),
    [
        (["production"], ["override.alias = 'production'", "override.alias is not null"],
         ["override.alias is null", "override.alias = 'canary'"]),
        ([""], ["override.alias is null", "override.actor = 'boss1'"],
         ["override.alias is not null", "override.alias like '%'"]),
        (["canary", "production"],
         ["override.alias = 'canary' and override.alias = 'production'",
          "override.actor = 'boss1'", "override.actor in ('boss2', 'x')",
          "override.expires = '2024-06-01'", "override.expires >= '2024-06-02'",
          "override.expires in ('2023', '2024-06-01')", "not (override.actor = 'boss3')"],
         ["override.expires > '2024-06-02'", "override.alias is null", "override.actor is null"]),
        # One for any alias stands beside a later one for one alias,
        (["", "production"], ["override.alias is null and override.alias = 'production'",
                              "override.actor = 'boss1'"], []),
        # and replaces an earlier one.
        (["production", ""], ["override.alias is null", "override.actor = 'boss2'"],
         ["override.alias = 'production'", "override.actor = 'boss1'",
          "override.expires < '2024-06-02'"]),
    ],
)  # fmt: skip
def test_every_override_in_force_is_searched(
    aliases: list[str], found: list[str], not_found: list[str]
) -> None:
    version = overridden(*aliases)
    assert [text for text in found if not matches(text, version)] == []
    assert [text for text in not_found if matches(text, version)] == []


@pytest.mark.parametrize(
    "expression",
    ["override.actor != 'ada'", "override.expires != '2024'", "override.expires not in ('2024')",
     "override.expires like '2024%'", "override.expires > 3", "override.expires = 'soon'"],
)  # fmt: skip
def test_what_could_mean_two_things_of_overrides_is_refused(expression: str) -> None:
    with pytest.raises(InvalidExpressionError):
        predicate(parse(expression))


@pytest.mark.source_tree
def test_every_field_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "search.md").read_text(encoding="utf-8")
    for field in FIELDS:
        assert f"`{field.name}`" in text, field.name


@pytest.mark.source_tree
def test_every_example_of_the_documentation_can_be_searched() -> None:
    text = (Path(__file__).parents[2] / "docs" / "search.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```text\n(.*?)```", text, re.DOTALL)[:1]
    examples = block.strip().splitlines()
    assert len(examples) >= 5
    for example in examples:
        predicate(parse(example))
