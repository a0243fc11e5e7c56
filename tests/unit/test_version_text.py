"""The short part of a version's text says what all of it says, whatever stands in the version."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfx_registry import codec
from tfx_registry.records import (
    Approval,
    DecisionSummary,
    LineageSource,
    Metric,
    ModelFacts,
    ModelFormat,
    Origin,
    Override,
    Signature,
    TensorSpec,
    Verdict,
    Version,
)
from tfx_registry.registry.version_text import (
    RUN_ID,
    SHORT_FIELDS,
    URI,
    read_short,
    version_text,
)

#: What looks like the places where a text is cut, and other traps.
TRAPS = (
    "", "facts", "origin", "uri", "run_id", "labels", "number", "~0", "\\", '"', "}", "}}", "a,",
    ',"facts":{"uri":"/x"', '"}},"facts":{"uri":"/x"}}', ',"origin":{"run_id":"r"', "\u2028",
    "\U0001f427",
    "\x00", "{", '{"facts":{"uri":"x"}}',
)  # fmt: skip
words = st.one_of(st.sampled_from(TRAPS), st.text(max_size=8))
mappings = st.dictionaries(words, words, max_size=4)
numbers = st.integers(0, 2**40)
tensors = st.dictionaries(words, st.just(TensorSpec("float32", (None, 3))), max_size=2)
facts = st.builds(
    ModelFacts, words, st.sampled_from(ModelFormat), words, words, numbers, numbers,
    signatures=st.dictionaries(words, st.builds(Signature, tensors, tensors, words), max_size=3),
    fingerprint=mappings,
)  # fmt: skip
decisions = st.builds(
    DecisionSummary, st.sampled_from(Verdict), numbers, words, words,
    reasons=st.lists(words, max_size=3).map(tuple),
)  # fmt: skip
versions = st.builds(
    Version, words, numbers, facts, words, words,
    origin=st.builds(Origin, words, words, words, words, words, mappings),
    sources=st.lists(st.builds(LineageSource, words, words, words, mappings), max_size=2).map(
        tuple
    ),
    hyperparameters=mappings,
    metrics=st.lists(st.builds(Metric, words, st.floats(allow_nan=False)), max_size=2).map(tuple),
    description=words, labels=mappings, semantic_version=words,
    same_bytes_as=st.none() | numbers, decision=st.none() | decisions,
    approvals=st.lists(
        st.builds(Approval, st.booleans(), words, words, numbers, words), max_size=2
    ).map(tuple),
    override=st.none() | st.builds(Override, words, words, words, numbers, words),
    archived=st.booleans(),
    aliases=st.lists(words, max_size=2).map(tuple), serving=st.lists(words, max_size=2).map(tuple),
    seq=numbers, rolled_back=numbers, bytes_gone=st.booleans(),
)  # fmt: skip

PLAIN = Version("m", 7, ModelFacts("/u", ModelFormat.OTHER, "d", "e", 1, 1), "t", "ada")


def short_of(version: Version) -> dict[str, Any]:
    found = {name: getattr(version, name) for name in SHORT_FIELDS}
    return {**found, RUN_ID: version.origin.run_id, URI: version.facts.uri}


@given(versions)
def test_short_and_whole_say_the_same(version: Version) -> None:
    text = version_text(version)
    assert read_short(text) == short_of(version)
    assert codec.decode(Version, codec.loads(text)) == version
    # The same fields as `codec.dumps` writes, in another order.
    assert codec.loads(text) == codec.loads(codec.dumps(version))


@given(versions)
def test_texts_of_earlier_releases_are_never_read_in_short(version: Version) -> None:
    assert read_short(codec.dumps(version)) is None


@given(versions, st.data())
def test_a_beginning_says_the_same_or_nothing(version: Version, data: st.DataObject) -> None:
    text = version_text(version)
    beginning = text[: data.draw(st.integers(0, len(text)))]
    assert read_short(beginning) in (None, short_of(version))


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[1]", "null", '{"facts":{"uri":"/u"}}', "[" * 100_000),
        version_text(PLAIN).replace('"number":7', '"number":"7"'),
        version_text(PLAIN).replace('"actor":"ada",', ""),
        version_text(PLAIN).replace('"/u"', "7"),
        version_text(PLAIN).replace('"actor":', '"x":{"actor":'),
        '{"x":' + "[" * 100_000 + ',"facts":{"uri":"/u"}}',
    ],
)
def test_what_is_no_version_has_no_short_part(text: str) -> None:
    assert read_short(text) is None


def test_each_field_may_be_at_its_default_or_not() -> None:
    full = dataclasses.replace(
        PLAIN, origin=Origin(run_id="r"), description="d", labels={"a": "b"},
        hyperparameters={"c": "d"}, seq=3, bytes_gone=True,
    )  # fmt: skip
    names = ("origin", "description", "labels", "hyperparameters", "seq", "bytes_gone")
    for count in range(len(names) + 1):
        for chosen in itertools.combinations(names, count):
            version = dataclasses.replace(PLAIN, **{n: getattr(full, n) for n in chosen})
            text = version_text(version)
            assert read_short(text) == short_of(version)
            assert codec.decode(Version, codec.loads(text)) == version
    assert version_text(full) == (
        '{"actor":"ada","description":"d","labels":{"a":"b"},"model":"m","number":7,"seq":3,'
        '"time":"t","origin":{"run_id":"r"},"facts":{"uri":"/u","digest":"d","file_count":1,'
        '"format":"other","manifest":"e","size_bytes":1},"bytes_gone":true,'
        '"hyperparameters":{"c":"d"}}'
    )
