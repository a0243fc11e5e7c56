"""Edits of a model config file, checked with TensorFlow Serving's own message definition."""

from __future__ import annotations

import re

import pytest
from google.protobuf import text_format as protobuf_text
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.config import model_server_config_pb2

from tfx_registry.errors import InvalidInputError, NotFoundError
from tfx_registry.serving.model_config import (
    AllVersions,
    LatestVersions,
    ServedModel,
    SpecificVersions,
    parse_model_config,
    put_model,
    remove_model,
)
from tfx_registry.serving.text_format import TextFormatError, parse, quote

BY_HAND = """\
# Owned by the serving team; ask before you change it.
model_config_list {
  config {
    name: "iris"   # the oldest one
    base_path: '/models/' "iris"
    model_platform: "tensorflow"
    model_version_policy: { latest { num_versions: 2 } }
    logging_config { sampling_config { sampling_rate: 0.5 } }
  }
  config <
    name: "penguin";
    base_path: "/models/penguin",
    model_platform: "tensorflow"
    # Which versions: decided elsewhere.
    model_version_policy { specific { versions: [1, 0x2] } }
    version_labels { key: "stable" value: 1 }
    version_labels { key: "frozen", value: 2 }
  >
}
"""


def real(text: str) -> model_server_config_pb2.ModelServerConfig:
    return protobuf_text.Parse(text, model_server_config_pb2.ModelServerConfig())


def as_model(config: model_server_config_pb2.ModelConfig) -> ServedModel:
    policy = config.model_version_policy
    chosen = policy.WhichOneof("policy_choice")
    return ServedModel(
        config.name,
        config.base_path,
        SpecificVersions(tuple(policy.specific.versions))
        if chosen == "specific"
        else AllVersions()
        if chosen == "all"
        else LatestVersions(policy.latest.num_versions if chosen else 1),
        dict(config.version_labels),
        config.model_platform,
    )


def as_models(text: str) -> tuple[ServedModel, ...]:
    return tuple(as_model(config) for config in real(text).model_config_list.config)


def test_what_is_read_is_what_the_server_reads() -> None:
    models = parse_model_config(BY_HAND)
    assert models == as_models(BY_HAND)
    assert models[1] == ServedModel(
        "penguin", "/models/penguin", SpecificVersions((1, 2)), {"stable": 1, "frozen": 2}
    )


def test_an_edit_keeps_every_other_character() -> None:
    model = ServedModel(
        "penguin", "/models/penguin", SpecificVersions((1, 2, 3)), {"stable": 1, "canary": 3}
    )
    text = put_model(BY_HAND, model)
    assert as_models(text) == (as_models(BY_HAND)[0], model)
    assert text.startswith(BY_HAND[: BY_HAND.index("model_version_policy { specific")])
    assert "# Which versions: decided elsewhere." in text
    assert text.endswith(
        '    version_labels { key: "canary" value: 3 }\n'
        '    version_labels { key: "stable" value: 1 }\n  >\n}\n'
    )
    assert put_model(text, model) == text


def test_putting_what_is_there_changes_nothing() -> None:
    for model in parse_model_config(BY_HAND):
        assert put_model(BY_HAND, model) == BY_HAND


def test_a_new_model_comes_behind_the_others() -> None:
    model = ServedModel("tuna", "/models/tuna", SpecificVersions((4,)), {"stable": 4})
    text = put_model(BY_HAND, model)
    assert as_models(text) == (*as_models(BY_HAND), model)
    assert remove_model(text, "tuna") == BY_HAND


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing yet",
        "model_config_list {}",
        "model_config_list: < >",
        "model_config_list{}\n",
    ],
)
def test_a_first_model(text: str) -> None:
    model = ServedModel("tuna", "/models/tuna", SpecificVersions((4,)), {"stable": 4})
    assert as_models(put_model(text, model)) == (model,)


@pytest.mark.parametrize(
    "text",
    [
        'model_config_list { config { name: "tuna" base_path: "/a" '
        'model_platform: "tensorflow" } }',
        'model_config_list{config:[{name:"tuna",base_path:"/a",model_platform:"tensorflow",'
        'version_labels:[{key:"x",value:1},{key:"y"}]}]}',
        'model_config_list { config { name: "tuna" base_path: "/a" model_platform: "tensorflow" '
        'version_labels { key: "x" value: 1 } } config { name: "z" } }',
    ],
)
def test_models_on_one_line(text: str) -> None:
    model = ServedModel("tuna", "/a", SpecificVersions((4, 5)), {"stable": 4, "canary": 5})
    changed = put_model(text, model)
    assert as_models(changed) == (model, *as_models(text)[1:])


def test_fields_that_nobody_here_knows_are_kept() -> None:
    text = (
        'model_config_list { config { name: "tuna" base_path: "/a" [new.ext.field]: -1.5e3f\n'
        'from_the_future { x: inf y: [1, -2] [type.googleapis.com/a.B] < s: "\\303\\251\\x21" > } }'
        "\n}"
    )
    changed = put_model(text, ServedModel("tuna", "/a", SpecificVersions((4,)), {"stable": 4}))
    assert changed.startswith(text[: text.index(" }\n}")])
    assert parse_model_config(changed)[0].labels == {"stable": 4}


def test_removing() -> None:
    text = remove_model(BY_HAND, "iris")
    assert as_models(text) == as_models(BY_HAND)[1:]
    with pytest.raises(NotFoundError, match="'tuna'"):
        remove_model(BY_HAND, "tuna")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("model_config_list {", "line 1: '}' is missing"),
        ("model_config_list {\n  config { name: 5 } }", "line 2: expected a string, found 5"),
        ('model_config_list { config { name: "a" name: "b" } }', "name may be given once only"),
        ('model_config_list { config { name: "a" } config { name: "a" } }', "more than once"),
        ('model_config_list { config { name "a" } }', "expected ':'"),
        ('custom_model_config { type_url: "x" }', "custom_model_config"),
        ("models { }", "expected model_config_list, found models"),
        ("model_config_list { config { model_version_policy { all {} latest {} } } }", "more than"),
        ('model_config_list { config { name: "a\n" } }', "cannot read"),
        ("model_config_list { ? }", "cannot read"),
        ("model_config_list: 5", "must be a message"),
        ("x {" * 200, "nested"),
        ('model_config_list { config { version_labels { key: "a" value: 08 } } }', "an integer"),
    ],
)
def test_what_is_not_a_list_of_models_is_refused(text: str, why: str) -> None:
    model = ServedModel("tuna", "/a")
    with pytest.raises(InvalidInputError, match=re.escape(why)):
        parse_model_config(text)
    with pytest.raises(InvalidInputError):
        put_model(text, model)


@pytest.mark.parametrize("label", ["", "a-b", "a b", "ä"])
def test_labels_that_a_server_refuses(label: str) -> None:
    with pytest.raises(InvalidInputError, match="letters, digits"):
        put_model("", ServedModel("tuna", "/a", labels={label: 1}))


@given(st.text())
def test_parse_of_quote_is_the_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return
    message = parse(f"x: {quote(text)}")
    assert next(message.scalars("x")).string() == text
    written = f"model_config_list {{ config {{ name: {quote(text)} }} }}"
    assert real(written).model_config_list.config[0].name == text


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
POLICIES = st.one_of(
    st.builds(LatestVersions, st.integers(0, 2**32 - 1)),
    st.just(AllVersions()),
    st.builds(SpecificVersions, st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4).map(tuple)),
)
MODELS = st.builds(
    ServedModel,
    NAMES,
    NAMES,
    POLICIES,
    st.dictionaries(st.from_regex(r"[A-Za-z0-9_]{1,6}", fullmatch=True), st.integers(0, 2**63 - 1),
                    max_size=3),
)  # fmt: skip


@given(st.lists(MODELS, max_size=4, unique_by=lambda m: m.name), st.data())
def test_laws_of_putting(models: list[ServedModel], data: st.DataObject) -> None:
    """The server reads what was put; putting one model changes no other; the last put counts."""
    text = data.draw(st.sampled_from(["", "# note\n", "model_config_list { }"]))
    for model in models:
        text = put_model(text, model)
    assert as_models(text) == tuple(models) == parse_model_config(text)
    if models:
        at = data.draw(st.integers(0, len(models) - 1))
        new = data.draw(st.builds(ServedModel, st.just(models[at].name),
                                  st.just(models[at].base_path), POLICIES))  # fmt: skip
        changed = put_model(text, new)
        expected = [*models[:at], new, *models[at + 1 :]]
        assert as_models(changed) == tuple(expected)
        again = put_model(changed, models[at])
        assert as_models(again) == tuple(models)


def test_an_escape_beyond_all_characters_is_refused() -> None:
    parse('name: "\\U0010FFFF"')
    for code in ("00110000", "FFFFFFFF"):
        with pytest.raises(TextFormatError, match="no character"):
            parse(f'name: "\\U{code}"')


@given(st.text(alphabet="{}<>[]:,;\"'\\#-\n 019axn", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        tree = parse(text)
    except TextFormatError:
        return
    assert tree.end == len(text)


@given(st.text(alphabet="{}<>:,;\"'\\#-\n 019axn", max_size=12))
def test_what_the_real_parser_reads_is_read_here(inside: str) -> None:
    """No file that a server accepts is refused: here with anything between the names of a model."""
    text = f'model_config_list {{ config {{ name: "a" {inside} }} }}'
    try:
        config = real(text).model_config_list.config[0]
    except protobuf_text.ParseError:
        return
    assert parse_model_config(text)[0].name == config.name
