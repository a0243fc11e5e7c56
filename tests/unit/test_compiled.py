"""The compiled readers and writers against the plain ones of `codec`."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tfx_registry import codec, compiled
from tfx_registry.frozen import FrozenDict
from tfx_registry.records import (
    Approval,
    DecisionSummary,
    Deployment,
    Head,
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

VERSION = Version(
    model="penguin",
    number=3,
    facts=ModelFacts(
        uri="/models/3",
        format=ModelFormat.SAVED_MODEL,
        digest="ab",
        manifest="cd",
        size_bytes=9,
        file_count=2,
        tags=("serve",),
        signatures={
            "serving_default": Signature(
                {"x": TensorSpec("float32", (None, 3)), "y": TensorSpec("string", ())},
                {"z": TensorSpec("int64")},
                "predict",
            )
        },
        fingerprint={"checksum": "1"},
    ),
    time="2024-01-01T00:00:00.000000Z",
    actor="ada",
    origin=Origin(pipeline_name="p", libraries={"numpy": "1"}),
    sources=(LineageSource("examples", "Examples", "/data", {"span": "1"}, "ef"),),
    hyperparameters={"rate": "0.1"},
    metrics=(Metric("auc", 0.1 + 0.2), Metric("loss", math.inf, (("sex", "male"), ("year", "7")))),
    labels={"team": 'é\\"\n'},
    decision=DecisionSummary(Verdict.BLOCKED, 4, "t", "ada", reasons=("low", "too few")),
    approvals=(Approval(True, "bob", "t", 5),),
    override=Override("ada", "t", "u", 6, "why"),
    aliases=("production",),
    seq=7,
)
SERVING = Deployment("/s", "production", 3, 7, "t", "a")
HEAD = Head(
    "penguin", 7, "ab", 3, 3, {"production": 3}, {"/s": SERVING}, policy={"rules": [{"a": ["*"]}]}
)


@dataclasses.dataclass(frozen=True)
class Node:
    """Holds others of its kind."""

    name: str
    children: tuple[Node, ...] = ()
    table: Mapping[str, Node] = dataclasses.field(default_factory=dict)
    origin: Origin = dataclasses.field(default_factory=Origin)
    anything: Any = None


def outcome(read: Any, data: Any) -> str:
    """What a reader makes of a value, as text, because NaN does not equal itself."""
    try:
        return f"{read(data)!r}"
    except (codec.CodecError, codec._MisfitError, *compiled.MISFITS):
        return "misfit"


@pytest.mark.parametrize("record", [VERSION, HEAD])
def test_both_readers_make_the_same_record(record: Any) -> None:
    data = codec.loads(codec.dumps(record))
    kind = type(record)
    assert codec.decode(kind, data) == record == codec.decode(kind, data, strict=True)
    # Infinity is text, which the compiled readers leave to the others.
    finite = json.loads(json.dumps(data).replace('"Infinity"', "1e9"))
    assert compiled.reader(kind)(finite) == codec.decode(kind, finite, strict=True)


@pytest.mark.parametrize("record", [VERSION, HEAD])
def test_defaults_are_the_same_without_any_field_given(record: Any) -> None:
    kind = type(record)
    needed = {
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    data = {k: v for k, v in codec.encode(record).items() if k in needed}
    made = compiled.reader(kind)(data)
    assert made == codec.decode(kind, data, strict=True)
    assert set(vars(made)) == {field.name for field in dataclasses.fields(kind)}


def test_a_class_may_hold_others_of_its_kind() -> None:
    node = Node("a", (Node("b", (Node("c"),)),), {"d": Node("d")}, anything=[1, {"e": None}])
    assert compiled.reader(Node)(codec.encode(node)) == node


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, (dict, list)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(part, (*path, key))
    return found


# Without infinity: that is text, and the compiled readers leave it to the others at once.
DATA = json.loads(codec.dumps(VERSION).replace('"Infinity"', "1e9"))
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3),
    st.sampled_from(["NaN", "passed", "other"]), st.just([]), st.just({}),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=2)), max_size=3),
    st.dictionaries(st.text(max_size=2), st.one_of(st.text(max_size=2), st.none()), max_size=2),
)  # fmt: skip


@given(changes=st.lists(st.tuples(st.sampled_from(places(DATA)[1:]), ODD), min_size=1, max_size=2))
@example(changes=[(("metrics", 1, "slice", 0), ["sex"])])
@example(changes=[(("metrics", 1, "slice", 0), ["sex", "male", "?"])])
@example(changes=[(("metrics", 0, "value"), True)])
@example(changes=[(("metrics", 0, "value"), "1.5")])
@example(changes=[(("metrics", 0, "value"), "NaN")])
@example(changes=[(("number",), True)])
@example(changes=[(("facts", "format"), [])])
@example(changes=[(("labels", "team"), None)])
def test_the_compiled_reader_takes_nothing_that_the_other_refuses(
    changes: list[tuple[tuple[Any, ...], Any]],
) -> None:
    data = deepcopy(DATA)
    for path, value in changes:
        place = data
        try:
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    plain = outcome(codec._reader(Version, False), data)
    fast = outcome(compiled.reader(Version), data)
    assert fast in (plain, "misfit")
    assert outcome(lambda d: codec.decode(Version, d), data) == plain


def test_a_stored_record_cannot_be_changed() -> None:
    for strict in (False, True):
        version = codec.decode(Version, DATA, strict=strict)
        tables = [
            version.labels, version.hyperparameters, version.origin.libraries,
            version.facts.signatures, version.facts.fingerprint, version.sources[0].properties,
            version.facts.signatures["serving_default"].inputs,
        ]  # fmt: skip
        assert {type(table) for table in tables} == {FrozenDict}
    least = codec.decode(
        Version, {k: DATA[k] for k in ("model", "number", "facts", "time", "actor")}
    )
    with pytest.raises(TypeError, match="does not change"):
        least.origin.libraries["numpy"] = "2"  # type: ignore[index]
    assert Origin() == Origin(libraries={})


def test_a_stored_record_survives_copies() -> None:
    version = codec.decode(Version, codec.encode(VERSION))
    assert pickle.loads(pickle.dumps(version)) == version == deepcopy(version)
    assert dataclasses.asdict(version)["labels"] == dict(VERSION.labels)
    assert dataclasses.replace(version, labels={}).labels == {}


@pytest.mark.parametrize(
    "text", ["", " ", "{", '{"a":1} ', ' {"a":1}', '{"a":1}{', "NaN", "\ufeff{}", '{"a":1,}']
)
def test_json_is_read_as_the_standard_library_reads_it(text: str) -> None:
    def result(read: Any) -> str:
        try:
            return repr(read(text))
        except ValueError as error:
            return str(error)

    assert result(codec.loads) == result(json.loads)
