"""Reading the bytes of TFMA's records gives what TFMA's own classes give, whatever the bytes."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_model_analysis.proto import metrics_for_slice_pb2 as pb

from tfx_registry.components.version_gate import tfma_bytes
from tfx_registry.components.version_gate.tfma_bytes import parse_serialized
from tfx_registry.components.version_gate.tfma_records import MessageParser, parse_records
from tfx_registry.gate import Interval, IntervalKind, MetricId

Pair = pb.MetricsForSlice.MetricKeyAndValue


def outcome(parse: Callable[[], Any]) -> str:
    """What comes out, as text: NaN equals no other NaN. The order counts too."""
    try:
        return repr(parse())
    except (DecodeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def read_alike(records: Sequence[bytes]) -> str:
    """Reads records both ways, and returns what came out of both."""
    ours = outcome(lambda: parse_serialized(records))
    theirs = outcome(lambda: parse_records(map(pb.MetricsForSlice.FromString, records)))
    assert ours == theirs
    return ours


# Records as TFMA writes them, and as it never does.

SPECIAL = [0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 0.5]
NUMBERS = st.sampled_from(SPECIAL) | st.floats()


def double(number: float) -> Any:
    value = pb.MetricValue()
    value.double_value.value = number
    return value


@st.composite
def keys(draw: st.DrawFn) -> Any:
    key = pb.MetricKey(
        name=draw(st.sampled_from(["auc", "example_count", "schärfe", "long" * 40])),
        model_name=draw(st.sampled_from(["", "candidate", "baseline", "n" * 130])),
        output_name=draw(st.sampled_from(["", "", "head"])),
        is_diff=draw(st.booleans()),
    )
    if draw(st.booleans()):
        key.example_weighted.value = draw(st.booleans())
    if draw(st.booleans()):
        key.sub_key.class_id.value = draw(st.integers(0, 2))
    if draw(st.booleans()):
        key.aggregation_type.macro_average = True
    return key


OTHER_VALUES = [
    pb.MetricValue(),
    pb.MetricValue(bytes_value=b"\n\t\t text"),
    pb.MetricValue(array_value={"shape": [2], "float64_values": [0.5, 0.25]}),
    pb.MetricValue(unknown_type={"error": "no number", "value": b"?"}),
    pb.MetricValue(confusion_matrix_at_thresholds={"matrices": [{"threshold": 0.5}] * 40}),
    pb.MetricValue(debug_message="only a text"),
]


@st.composite
def values(draw: st.DrawFn) -> Any:
    kind = draw(st.sampled_from(["double"] * 5 + ["other", "bounded", "t"]))
    if kind == "double":
        return double(draw(NUMBERS))
    if kind == "other":
        return draw(st.sampled_from(OTHER_VALUES))
    value = pb.MetricValue()
    if kind == "bounded":
        value.bounded_value.value.value = draw(NUMBERS)
        value.bounded_value.lower_bound.value = draw(NUMBERS)
    else:
        value.t_distribution_value.unsampled_value.value = draw(NUMBERS)
        value.t_distribution_value.sample_mean.value = 0.5
        value.t_distribution_value.sample_standard_deviation.value = 0.1
        value.t_distribution_value.sample_degrees_of_freedom.value = draw(st.integers(1, 200))
    return value


@st.composite
def intervals(draw: st.DrawFn) -> Any:
    interval = pb.ConfidenceInterval(
        upper_bound=double(draw(NUMBERS)), lower_bound=double(draw(NUMBERS))
    )
    kind = draw(st.sampled_from(["t", "t", "t", "ends", "text"]))
    if kind == "t":
        interval.standard_error.double_value.value = draw(NUMBERS)
        interval.degrees_of_freedom.value = draw(st.sampled_from([19, 19, 0, 1, 199, -1]))
    if kind == "text":
        interval.lower_bound.bytes_value = b"?"
    return interval


def varint(number: int, more: int = 0) -> bytes:
    """Writes a length, with that many bytes more than necessary."""
    groups = []
    while number or not groups:
        groups.append(number & 0x7F)
        number >>= 7
    groups += [0] * more
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def field(number: int, content: bytes, more: int = 0) -> bytes:
    return varint(number << 3 | 2) + varint(len(content), more) + content


UNKNOWN = [field(60, b"later"), varint(61 << 3) + b"\x05", varint(62 << 3 | 1) + b"12345678"]


def parts_of(pair: Any, more: int) -> list[bytes]:
    """The fields of a key with its value, one by one."""
    found = [field(1, pair.key.SerializeToString(), more), field(2, pair.value.SerializeToString())]
    if pair.HasField("confidence_interval"):
        found.append(field(3, pair.confidence_interval.SerializeToString(), more))
    return found


@st.composite
def pair_bytes(draw: st.DrawFn, key: Any) -> bytes:
    """A key with its value and interval, mostly as TFMA writes it."""
    pair = Pair(key=key, value=draw(values()))
    if draw(st.booleans()):
        pair.confidence_interval.CopyFrom(draw(intervals()))
    done = draw(st.sampled_from(["no"] * 12 + ["turn", "twice", "split", "unknown", "longer"]))
    parts = parts_of(pair, more=1 if done == "longer" else 0)
    if done == "turn":
        parts.reverse()
    elif done == "twice":  # the last one wins, or is merged
        again = Pair(key=draw(keys()), value=draw(values()), confidence_interval=draw(intervals()))
        parts += draw(st.permutations(parts_of(again, 0)))[:1]
    elif done == "split" and pair.HasField("confidence_interval"):
        rest = pb.ConfidenceInterval(upper_bound=pair.confidence_interval.upper_bound)
        pair.confidence_interval.ClearField("upper_bound")
        parts[2:] = [field(3, pair.confidence_interval.SerializeToString())]
        parts.insert(draw(st.integers(0, 3)), field(3, rest.SerializeToString()))
    elif done == "unknown":
        parts.insert(draw(st.integers(0, len(parts))), draw(st.sampled_from(UNKNOWN)))
    return b"".join(parts)


def slice_of(column: str, value: Any) -> Any:
    key = pb.SliceKey()
    single = key.single_slice_keys.add(column=column)
    if isinstance(value, bytes):
        single.bytes_value = value
    elif isinstance(value, int):
        single.int64_value = value
    else:
        single.float_value = value
    return key


CUTS = [
    pb.SliceKey(),
    slice_of("age", b"old"),
    slice_of("age", b"old"),  # the same again
    slice_of("age", b"y\xff"),
    slice_of("age", b"old" * 60),
    slice_of("zip", -7),
    slice_of("zip", 0.5),
]


@st.composite
def results(draw: st.DrawFn) -> list[bytes]:
    """Records of one result: nearly the same keys in each."""
    shared = draw(
        st.lists(keys(), min_size=1, max_size=6, unique_by=lambda key: key.SerializeToString())
    )
    records = []
    for cut in draw(st.lists(st.sampled_from(CUTS), min_size=1, max_size=6)):
        if draw(st.integers(0, 3)):
            fields = [field(1, cut.SerializeToString())]
        else:
            crossed = pb.CrossSliceKey(baseline_slice_key=CUTS[1], comparison_slice_key=cut)
            fields = [field(3, crossed.SerializeToString())]
        for key in shared:
            if draw(st.integers(0, 9)):
                fields.append(
                    field(51, draw(pair_bytes(key)), draw(st.sampled_from([0] * 9 + [1])))
                )
        done = draw(st.sampled_from(["no"] * 12 + ["turn", "unknown", "old", "bare"]))
        if done == "turn":
            fields.reverse()
        elif done == "unknown":
            fields.insert(draw(st.integers(0, len(fields))), draw(st.sampled_from(UNKNOWN)))
        elif done == "old":
            name, value = field(1, b"auc"), field(2, double(0.5).SerializeToString())
            fields.insert(draw(st.integers(0, len(fields))), field(2, name + value))
        elif done == "bare":
            del fields[0]
        records.append(b"".join(fields))
    return records


@settings(max_examples=150)
@given(results())
def test_numbers_of_any_records_are_those_of_tfma_s_classes(records: list[bytes]) -> None:
    read_alike(records)


#: Each kind of field with a small number: groups that begin or end, fields of 4 or 8 bytes, ...
TAGS = [number << 3 | kind for number in (1, 2, 3, 4) for kind in range(8)]


@pytest.mark.filterwarnings("ignore:Unexpected end-group tag")
@settings(max_examples=150)
@given(results(), st.data())
def test_damaged_records_are_what_they_are_to_tfma_s_classes(
    records: list[bytes], data: st.DataObject
) -> None:
    """Checksums find damage before; here it meets what was learned of the records before."""
    damaged = bytearray(records[-1])
    for _ in range(data.draw(st.integers(1, 3))):
        if damaged:
            place = data.draw(st.integers(0, len(damaged) - 1))
            damaged[place] = data.draw(st.sampled_from(TAGS) | st.integers(0, 255))
    end = data.draw(st.integers(0, len(damaged)) | st.just(len(damaged)))
    read_alike([*records, bytes(damaged[:end])])


# Records as TFMA writes them are read from their bytes, or it takes as long as before.


def whole_record(index: int, pairs: Iterable[Any]) -> bytes:
    record = pb.MetricsForSlice(slice_key=slice_of("city", index), metric_keys_and_values=pairs)
    return bytes(record.SerializeToString())


def estimate(name: str, number: float, degrees: int | None) -> Any:
    pair = Pair(key={"name": name, "model_name": "candidate"}, value=double(number))
    if degrees is not None:
        interval = pair.confidence_interval
        interval.lower_bound.double_value.value = number - 1
        interval.upper_bound.double_value.value = number + 1
        interval.standard_error.double_value.value = 0.25
        interval.degrees_of_freedom.value = degrees
    return pair


@pytest.mark.parametrize("degrees", [None, 19, 199])
def test_tfma_s_classes_read_no_number_twice(
    degrees: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"metric_{i}" for i in range(10)]
    records = [
        whole_record(
            cut,
            [
                estimate("zero", 0.0, None),
                *(estimate(name, cut + i + 2.5, degrees) for i, name in enumerate(names)),
            ],
        )
        for cut in range(20)
    ]
    read_alike(records)
    keys_read, whole = [], []
    monkeypatch.setattr(MessageParser, "add", lambda *_: pytest.fail("a message was made"))
    place_of, number_of = MessageParser.place_of, tfma_bytes.number_of
    monkeypatch.setattr(
        MessageParser, "place_of", lambda self, key: keys_read.append(key) or place_of(self, key)
    )
    monkeypatch.setattr(tfma_bytes, "number_of", lambda pair: whole.append(pair) or number_of(pair))
    models, _ = parse_serialized(records)
    assert len(keys_read) == 11
    assert [pair.key.name for pair in whole] == ["zero"]
    row = models["candidate"].values[(("city", "7"),)]
    assert row == {MetricId("zero"): 0.0, **{MetricId(n): 9.5 + i for i, n in enumerate(names)}}
    if degrees is not None:
        assert models["candidate"].intervals[(("city", "7"),)][MetricId("metric_1")] == Interval(
            9.5, 11.5, 0.95, IntervalKind.T_DISTRIBUTION, 0.25, degrees
        )


def test_records_that_are_alike_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def record(cut: int, reverse: bool) -> bytes:
        pairs = [estimate(name, cut + 0.5, 19) for name in ("auc", "loss")]
        pairs += [estimate("zero", 0.0, 19), estimate("count", cut + 1.0, None)]
        pairs.append(Pair(key={"name": "text"}, value=pb.MetricValue(bytes_value=b"none")))
        return whole_record(cut, pairs[::-1] if reverse else pairs)

    # Beam writes the keys in one order or another, record by record.
    records = [record(cut, reverse=cut % 3 == 0) for cut in range(1, 41)]
    read_alike(records)
    one_by_one = tfma_bytes._Parser._one_by_one
    looked_at: list[bytes] = []
    monkeypatch.setattr(
        tfma_bytes._Parser,
        "_one_by_one",
        lambda self, record, at: looked_at.append(record) or one_by_one(self, record, at),
    )
    parse_serialized(records)
    assert len(looked_at) <= 4
    # What differs in a single byte between the numbers is no number of these.
    for place in range(len(records[0])):
        changed = bytearray(records[-1])
        changed[place] ^= 1
        read_alike([*records[:8], bytes(changed)])


def test_intervals_are_there_whoever_asks_and_however() -> None:
    records = [whole_record(cut, [estimate("auc", cut + 0.5, 19)]) for cut in range(1, 6)]
    auc, key = MetricId("auc"), (("city", "5"),)
    expected = {auc: Interval(4.5, 6.5, 0.95, IntervalKind.T_DISTRIBUTION, 0.25, 19)}

    def row() -> Any:
        return parse_serialized(records)[0]["candidate"].intervals[key]

    assert row() == expected
    assert expected == row()
    assert dict(row()) == expected
    assert row()[auc] == row().get(auc) == expected[auc]
    assert row().get(MetricId("loss")) is None
    assert auc in row()
    assert len(row()) == 1
    assert pickle.loads(pickle.dumps(row())) == copy.deepcopy(row()) == expected
    changed = row()
    changed[MetricId("loss")] = expected[auc]
    del changed[auc]
    assert changed == {MetricId("loss"): expected[auc]}


def test_a_slice_in_two_records_of_which_one_is_like_others() -> None:
    records = [whole_record(cut, [estimate("auc", cut + 0.5, 19)]) for cut in range(1, 6)]
    more = whole_record(5, [estimate("loss", 0.5, 19)])
    assert read_alike([*records, more]).count("lower=-0.5") == 1


def test_records_of_many_layouts_are_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfma_bytes, "_MOST_LAYOUTS", 3)
    parser = tfma_bytes._Parser()
    for size in range(1, 9):
        for cut in range(3):
            pairs = [estimate(f"m{i}", 0.5, None) for i in range(size)]
            parser.add(whole_record(100 * size + cut, pairs))
    assert sum(map(len, parser._layouts.values())) == 3
    assert len(parser.messages.models["candidate"].values) == 24


def test_an_interval_of_another_form_where_one_was_learned() -> None:
    odd = estimate("auc", 0.5, 19)
    odd.confidence_interval.degrees_of_freedom.value = 21  # as long as before
    swapped = estimate("auc", 0.5, 19)
    swapped.confidence_interval.standard_error.bytes_value = b"123456789"  # as long as before
    pairs = [estimate("auc", 0.75, 19), odd, swapped, estimate("auc", 0.25, 19)]
    text = read_alike([whole_record(cut, [pair]) for cut, pair in enumerate(pairs)])
    assert text.count("degrees_of_freedom=19") == 2
    assert text.count("degrees_of_freedom=21") == 1
    assert text.count("degrees_of_freedom=None") == 1


@pytest.mark.parametrize("later", [b"later", b"later" * 60], ids=["short", "long"])
@pytest.mark.parametrize("error", [0.25, 2.0**-479], ids=["usual", "ends-like-a-tag"])
def test_an_interval_with_other_fields_than_usual(later: bytes, error: float) -> None:
    pair = estimate("auc", 0.5, 19)
    pair.confidence_interval.standard_error.double_value.value = error
    interval = pair.confidence_interval.SerializeToString()
    degrees = field(4, b"\x08\x13")
    assert interval.endswith(degrees)
    upper = field(1, double(9.0).SerializeToString())
    more = field(60, later)
    for beside in (interval + more, interval + more + upper, interval[: -len(degrees)] + more):
        pair.ClearField("confidence_interval")
        content = pair.SerializeToString() + field(3, beside)
        records = [field(1, CUTS[i].SerializeToString()) + field(51, content) for i in (0, 1)]
        text = read_alike(records)
        assert text.count("degrees_of_freedom=19") == (2 if degrees in beside else 0)
        assert text.count("upper=9.0") == (2 if beside.endswith(upper) else 0)


def test_a_number_that_stands_twice_in_a_record_or_in_two() -> None:
    record = whole_record(1, [estimate("auc", 0.5, None)])
    for records in ([record, record], [whole_record(1, [estimate("auc", 0.5, None)] * 2)]):
        assert "stands twice" in read_alike(records)
    # What is not the same number may come in two records.
    other = whole_record(1, [estimate("loss", 0.5, None)])
    assert "stands twice" not in read_alike([record, other])


def test_a_record_that_is_cut_off_anywhere() -> None:
    whole, other = (
        whole_record(i, [estimate("auc", 0.5 + i, 19), estimate("loss", 0.25 + i, None)])
        for i in (1, 2)
    )
    damaged = [read_alike([other, whole[:end]]) for end in range(len(whole))]
    # Where a field has just ended, what is there is a record.
    assert sum(text.startswith("DecodeError") for text in damaged) == len(whole) - 3


@pytest.mark.filterwarnings("ignore:Unexpected end-group tag")
@pytest.mark.parametrize("before", [0, 1], ids=["first", "after-a-good-one"])
def test_a_group_that_ends_without_beginning(before: int) -> None:
    """Alone, a message with one passes in protobuf 3.20; within another message it does not."""
    good = whole_record(1, [estimate("auc", 0.5, 19)])
    key = good.index(b"\n\x10\n\x03auc")
    # The slice, in it its only feature, the key, its name, the value, in it its kind.
    for place, tag in ((0, 10), (2, 10), (key, 10), (key + 2, 10), (key + 18, 18), (key + 20, 10)):
        assert good[place] == tag, place
        bad = bytearray(good)
        bad[place] = tag + 2
        other = whole_record(2, [estimate("auc", 0.5, 19)])
        text = read_alike([*[other] * before, bytes(bad)])
        assert text.startswith("DecodeError") or place == 0


def test_what_does_not_repeat_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfma_bytes, "_MOST", 5)
    matrix = {"matrices": [{"threshold": 0.5, "precision": 0.25}] * 40}
    large = Pair(
        key={"name": "matrix", "model_name": "candidate"},
        value=pb.MetricValue(confusion_matrix_at_thresholds=matrix),
    )
    parser = tfma_bytes._Parser()
    for cut in range(20):
        pairs = [large, *(estimate(f"{cut}_{i}", 0.5, None) for i in range(3))]
        parser.add(whole_record(cut, pairs))
    assert len(parser._shapes) == 5
    assert max(map(len, parser._shapes)) <= 255
    assert len(parser.messages.models["candidate"].values) == 20
