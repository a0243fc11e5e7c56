"""The grammar of names."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfx_registry import names
from tfx_registry.errors import InvalidNameError
from tfx_registry.names import VersionRef

GOOD_MODELS = ["penguin", "a", "9lives", "Fraud-Detector_2.1", "x" * 128]
BAD_MODELS = [
    "", ".hidden", "-dash", "a/b", "a\\b", "..", "a..b", "a b", "a\n", "ü", "a:1", "a@b",
    "x" * 129, "a'", 'a"', None, 7, "a\x00",
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD_MODELS)
def test_good_model_names(name: str) -> None:
    assert names.check_model_name(name) == name


@pytest.mark.parametrize("name", BAD_MODELS)
def test_bad_model_names(name: object) -> None:
    with pytest.raises(InvalidNameError, match="invalid model name"):
        names.check_model_name(name)


@pytest.mark.parametrize(
    "alias", ["latest", "LATEST", "Production", "3", "", "1st", "a b", "a.b", "x" * 64, None]
)
def test_bad_aliases(alias: object) -> None:
    with pytest.raises(InvalidNameError, match="invalid alias"):
        names.check_alias(alias)


def test_good_aliases() -> None:
    for alias in ("production", "canary-eu", "a_1", "x" * 63):
        assert names.check_alias(alias) == alias


@pytest.mark.parametrize(
    ("key", "value"),
    [("", "x"), ("a b", "x"), ("a//b", "x"), ("x" * 129, "x"), ("a", "line\nbreak"), ("a", 7),
     ("a", "x" * 1025), ("a", "\ud800")],
)  # fmt: skip
def test_bad_labels(key: object, value: object) -> None:
    with pytest.raises(InvalidNameError):
        names.check_label(key, value)


def test_a_bad_label_value_is_not_repeated_at_length() -> None:
    with pytest.raises(InvalidNameError) as caught:
        names.check_label("key", "x" * 100_000)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("number", [0, -1, 2**63, True, "1", 1.0, None])
def test_bad_version_numbers(number: object) -> None:
    with pytest.raises(InvalidNameError):
        names.check_version_number(number)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("penguin", VersionRef("penguin")),
        ("penguin:3", VersionRef("penguin", number=3)),
        ("penguin@production", VersionRef("penguin", alias="production")),
        ("penguin@latest", VersionRef("penguin")),
        ("penguin:latest", VersionRef("penguin")),
        ("penguin:9223372036854775807", VersionRef("penguin", number=2**63 - 1)),
    ],
)
def test_references(text: str, expected: VersionRef) -> None:
    assert VersionRef.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["", ":", "@", "penguin:", "penguin@", "penguin:0", "penguin:-1", "penguin:03",
             "penguin:x", "penguin@3", ":3", "@production", "a@b:1", "penguin:9223372036854775808"],
)  # fmt: skip
def test_bad_references(text: str) -> None:
    with pytest.raises(InvalidNameError):
        VersionRef.parse(text)


@given(st.text(max_size=40))
def test_parsing_never_fails_in_another_way(text: str) -> None:
    try:
        ref = VersionRef.parse(text)
    except InvalidNameError:
        return
    assert VersionRef.parse(str(ref)) == ref


ORDERED = [
    "0.0.4", "0.9.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta",
    "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.2.0", "1.10.0", "2.0.0",
]  # fmt: skip


def test_semantic_versions_are_ordered_by_precedence() -> None:
    parsed = [names.SemanticVersion.parse(text) for text in ORDERED]
    shuffled = random.Random(1).sample(parsed, len(parsed))
    assert shuffled != parsed
    assert sorted(shuffled) == parsed
    assert [str(version) for version in parsed] == ORDERED
    build = names.SemanticVersion.parse("1.0.0+b.1")
    assert str(build) == "1.0.0+b.1"
    assert not build < names.SemanticVersion.parse("1.0.0")


@pytest.mark.parametrize(
    "text", ["", "1", "1.0", "01.0.0", "1.0.0-", "1.0.0-01", "v1.0.0", "1.0.0 "]
)
def test_what_is_no_semantic_version(text: str) -> None:
    with pytest.raises(InvalidNameError, match="invalid semantic version"):
        names.SemanticVersion.parse(text)
