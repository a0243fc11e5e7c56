"""Dataclasses to JSON and back."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfx_registry import codec
from tfx_registry.codec import CodecError


class Colour(str, enum.Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    shape: tuple[int | None, ...] | None = None


@dataclass(frozen=True)
class Outer:
    name: str
    number: float
    whole: int = 0
    colour: Colour = Colour.RED
    inners: tuple[Inner, ...] = ()
    pair: tuple[str, int] = ("", 0)
    table: Mapping[str, Inner] = field(default_factory=dict)
    flag: bool = False


def test_everything_comes_back() -> None:
    value = Outer("é\\\"\n", 0.1 + 0.2, 7, Colour.RED, (Inner((None, 3)), Inner(())), ("a", 1),
                  {"k": Inner(None)}, True)  # fmt: skip
    assert codec.decode(Outer, codec.loads(codec.dumps(value))) == value


def test_an_empty_shape_is_not_an_unknown_one() -> None:
    for inner in (Inner(()), Inner(None)):
        assert codec.decode(Inner, codec.loads(codec.dumps(inner))) == inner


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_every_float_comes_back_exactly(number: float) -> None:
    back = codec.decode(Outer, codec.loads(codec.dumps(Outer("", number)))).number
    assert math.isnan(back) if math.isnan(number) else back == number
    assert math.copysign(1, back) == math.copysign(1, number) or math.isnan(number)


def test_defaults_are_left_out() -> None:
    assert codec.encode(Outer("a", 1.0)) == {"name": "a", "number": 1.0}


def test_text_is_canonical() -> None:
    assert codec.dumps({"b": 1, "a": "é"}) == '{"a":"é","b":1}'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "the document must be an object"),
        ({"name": "a"}, "number must be given"),
        ({"name": 1, "number": 1}, "name must be text"),
        ({"name": "a", "number": "x"}, "number must be a number"),
        ({"name": "a", "number": True}, "number must be a number"),
        ({"name": "a", "number": 10**400}, "number must be a number that a float can hold"),
        ({"name": "a", "number": 1, "whole": 1.5}, "whole must be a whole number"),
        ({"name": "a", "number": 1, "colour": "blue"}, "colour must be one of red"),
        ({"name": "a", "number": 1, "inners": {}}, "inners must be a list"),
        ({"name": "a", "number": 1, "inners": [{"shape": ["x"]}]}, r"inners\[0\].shape\[0\]"),
        ({"name": "a", "number": 1, "pair": ["a"]}, "pair must be a list of 2"),
        ({"name": "a", "number": 1, "flag": 1}, "flag must be true or false"),
    ],
)
def test_what_does_not_fit_is_named(data: object, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        codec.decode(Outer, data)


def test_unknown_fields_are_errors_only_when_asked() -> None:
    data = {"name": "a", "number": 1, "nmae": "b"}
    assert codec.decode(Outer, data).name == "a"
    with pytest.raises(CodecError, match="unknown field 'nmae'"):
        codec.decode(Outer, data, strict=True)
