"""Reads TFMA's metric records from their bytes, without making a message of each number.

Access to a field of a protocol buffer is a call, and a number needs up to ten of them. But the
records of a result are alike: from slice to slice the same keys, and all bytes of a number are the
same but the eight of the number itself. So what stands in front of these eight is read once, by
TFMA's own classes, and then recognised by comparing bytes.

What comes out is what `tfma_records.parse_records` makes of the messages. Whatever does not look as
TFMA writes it is handed to that: a number, or the whole record. So nothing here depends on the form
of the bytes, except how long it takes.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, MutableMapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow_model_analysis.proto import metrics_for_slice_pb2 as pb

from tfx_registry.components.version_gate.tfma_records import (
    TFMA_LEVEL,
    MessageParser,
    Numbers,
    cross_slice_key_of,
    number_of,
    slice_key_of,
)
from tfx_registry.components.version_gate.tfma_shapes import (
    NUMBER,
    T_DISTRIBUTION,
    Found,
    Layout,
    Shape,
)
from tfx_registry.gate import Interval, MetricId
from tfx_registry.gate.collector import collector_paused
from tfx_registry.gate.evaluation import make_interval

__all__ = ["parse_serialized"]

# Tags: number of the field times 8, plus 2 for bytes with their length (protobuf's encoding).
_SLICE_KEY = 1 << 3 | 2
_CROSS_SLICE_KEY = 3 << 3 | 2
_PAIR = b"\x9a\x03"  # 51 << 3 | 2 as a varint: metric_keys_and_values
_KEY = 1 << 3 | 2
#: A double_value within a MetricValue, with its length, up to the eight bytes of the number.
_DOUBLE = b"\x0b\n\t\t"
_VALUE = b"\x12" + _DOUBLE
_INTERVAL = b"\x1a"
_UPPER = b"\n" + _DOUBLE
_LOWER = b"\x12" + _DOUBLE
_ERROR = b"\x1a" + _DOUBLE
_DEGREES = b'"'
_NUMBER_BYTES = 8
#: Tag and length of an interval, and what stands in front of its upper end.
_UPPER_AT = len(_INTERVAL) + 1 + len(_UPPER)
#: The same and all that follows, up to the degrees of freedom.
_ENDS_BYTES = _UPPER_AT + len(_LOWER) + len(_ERROR) + 3 * _NUMBER_BYTES
#: Lengths from here on take two bytes.
_TWO_BYTES = 0x80
#: Longer pairs, and more of them, are not remembered: they hold matrices, which are not alike.
_LONGEST_BYTES = 255
_MOST = 10_000
#: Putting a layout together takes as long as reading some records without.
_MOST_LAYOUTS = 50


class _UnlikeError(Exception):
    """The record does not look as TFMA writes it."""


def parse_serialized(
    records: Iterable[bytes],
) -> tuple[dict[str, Numbers], dict[str, Numbers]]:
    """Parses records.

    Args:
        records: Serialized `MetricsForSlice` messages, as they stand in TFMA's files.

    Returns:
        What `tfma_records.parse_records` returns for these messages.

    Raises:
        ValueError: One number stands twice, or TFMA noted an error instead of metrics.
        DecodeError: A record is no message.
    """
    parser = _Parser()
    # The numbers refer to nothing: the collector would look at all of them, again and again.
    with collector_paused():
        for record in records:
            parser.add(record)
    return parser.messages.models, parser.messages.differences


class _Parser:
    """Reads records one after the other, and remembers what they have in common."""

    def __init__(self) -> None:
        self.messages = MessageParser()
        self._tables: list[Numbers] = []
        self._shapes: dict[bytes, Shape] = {}
        self._first = Shape(b"", -1, None)
        #: By the number of bytes behind the slice.
        self._layouts: dict[int, list[Layout]] = {}
        self._layouts_made = 0
        self._sizes: set[int] = set()

    def add(self, record: bytes) -> None:
        try:
            self._add(record)
        except (_UnlikeError, DecodeError, struct.error, IndexError):
            # Nothing of the record was kept. If it is damaged, this says so.
            self.messages.add(_message(record))

    def _add(self, record: bytes) -> None:
        _, position = _content(record, 1)
        crossed = record[0] == _CROSS_SLICE_KEY
        if not crossed and record[0] != _SLICE_KEY:
            raise _UnlikeError
        beginning = _message(record[:position])
        slice_key: Any = (
            cross_slice_key_of(beginning.cross_slice_key)
            if crossed
            else slice_key_of(beginning.slice_key)
        )
        rows, intervals = self._all(record, position) or self._one_by_one(record, position)
        tables = []
        for table, row in rows.items():
            numbers = self._tables[table]
            values: Any = numbers.cross_values if crossed else numbers.values
            if slice_key in values:
                raise _UnlikeError
            tables.append((values, row))
        for values, row in tables:
            values[slice_key] = row
        for table, found in intervals.items():
            numbers = self._tables[table]
            of_slices: Any = numbers.cross_intervals if crossed else numbers.intervals
            of_slices[slice_key] = found

    def _all(self, record: bytes, position: int) -> Found | None:
        """Reads a record that is like an earlier one, which most are."""
        layouts = self._layouts.get(len(record) - position, [])
        for place, layout in enumerate(layouts):
            found = layout(record, position)
            if found is not None:
                if place:  # those that come again stand in front
                    layouts[0], layouts[place] = layout, layouts[0]
                return found
        return None

    def _one_by_one(self, record: bytes, position: int) -> Found:
        """Reads the keys and values of a record that is not like an earlier one."""
        size, shapes = len(record) - position, list[Shape]()
        rows: dict[int, dict[MetricId, float]] = defaultdict(dict)
        intervals: dict[int, MutableMapping[MetricId, Interval]] = defaultdict(dict)
        count, end, shape = 0, len(record), self._first
        while position < end:
            before, shape = shape, shape.following
            if not (shape.size and record.startswith(shape.head, position)):
                shape = before.following = self._shape_at(record, position)
            if shape.read is None:
                number, interval = shape.number, shape.interval
            elif not shape.between:
                (number,) = shape.read(record, position + len(shape.head))
                interval = None
            else:
                parts = shape.read(record, position + len(shape.head))
                if parts[1::2] == shape.between:
                    number, _, upper, _, lower, _, error, _ = parts
                    interval = make_interval(
                        lower, upper, TFMA_LEVEL, T_DISTRIBUTION, error, shape.degrees
                    )
                else:
                    shape = self._whole(_pair(record, position)[0])
                    number, interval = shape.number, shape.interval
            position += shape.size
            shapes.append(shape)
            if shape.table < 0:
                continue
            count += 1
            rows[shape.table][shape.metric] = number
            if interval is not None:
                intervals[shape.table][shape.metric] = interval
        if count != sum(map(len, rows.values())):
            raise _UnlikeError  # a number stands twice
        self._learn_layout(size, shapes)
        return rows, intervals

    def _learn_layout(self, size: int, shapes: Sequence[Shape]) -> None:
        """Remembers the layout of a record, if another one of the same size was met before.

        So what does not come again is not put together, such as records with matrices.
        """
        if size not in self._sizes:
            self._sizes.add(size)
        elif self._layouts_made < _MOST_LAYOUTS:
            self._layouts_made += 1
            self._layouts.setdefault(size, []).append(Layout(shapes))

    def _shape_at(self, record: bytes, position: int) -> Shape:
        """Finds out what stands at a place that does not begin as expected."""
        pair, start = _pair(record, position)
        known = self._shapes.get(pair)
        if known is not None:
            return known
        if pair[start] == _KEY:
            _, value = _content(pair, start + 1)
            number = value + len(_VALUE)
            if pair[value:number] == _VALUE:
                head = pair[:number]
                known = self._shapes.get(head)
                if known is None:
                    known = self._learn(pair, number)
                if known is not None:
                    return known
        return self._whole(pair)

    def _learn(self, pair: bytes, number: int) -> Shape | None:
        """Learns what stands where; returns None where that is not as in other results."""
        message = _message(pair).metric_keys_and_values[0]
        beside = pair[number + _NUMBER_BYTES :]
        between: tuple[bytes, ...] = ()
        read, degrees = NUMBER, 0
        if beside:
            length, tail = len(beside) - len(_INTERVAL) - 1, beside[_ENDS_BYTES:]
            if not 0 <= length < _TWO_BYTES or tail[:1] != _DEGREES:
                return None
            read = struct.Struct(f"<d{_UPPER_AT}sd{len(_LOWER)}sd{len(_ERROR)}sd{len(tail)}s")
            between = (_INTERVAL + bytes((length,)) + _UPPER, _LOWER, _ERROR, tail)
            alone = pb.ConfidenceInterval.FromString(tail)
            if any(map(alone.HasField, ("upper_bound", "lower_bound", "standard_error"))):
                return None
            degrees = alone.degrees_of_freedom.value
        shape = Shape(pair[:number], *self._place_of(message.key))
        shape.size += read.size
        shape.read, shape.between, shape.degrees = read.unpack_from, between, degrees
        return self._remember(shape)

    def _whole(self, pair: bytes) -> Shape:
        """Lets TFMA's class read a key and its value: what is no number, or zero, or special."""
        message = _message(pair).metric_keys_and_values[0]
        number, interval = number_of(message)
        if number is None:
            return self._remember(Shape(pair, -1, None))
        shape = Shape(pair, *self._place_of(message.key))
        shape.number, shape.interval = number, interval
        return self._remember(shape)

    def _remember(self, shape: Shape) -> Shape:
        if len(shape.head) <= _LONGEST_BYTES and len(self._shapes) < _MOST:
            self._shapes[shape.head] = shape
        return shape

    def _place_of(self, key: Any) -> tuple[int, MetricId]:
        numbers, metric = self.messages.place_of(key)
        for place, table in enumerate(self._tables):
            if table is numbers:
                return place, metric
        self._tables.append(numbers)
        return len(self._tables) - 1, metric


def _message(part: bytes) -> Any:
    """Reads a part of a record, with its tag: alone it is a record as well.

    The content without the tag is not read alone: there, some releases of protobuf let pass an end
    of a group that within a message is an error.
    """
    return pb.MetricsForSlice.FromString(part)


def _pair(record: bytes, position: int) -> tuple[bytes, int]:
    """Returns the bytes of a key with its value, and where in them its content begins."""
    if not record.startswith(_PAIR, position):
        raise _UnlikeError
    begin, end = _content(record, position + len(_PAIR))
    return record[position:end], begin - position


def _content(data: bytes, position: int) -> tuple[int, int]:
    """Reads the length that stands at a position; returns where the content begins and ends."""
    length = shift = 0
    while True:
        byte = data[position]
        position += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if position + length > len(data) or shift > 35:
        raise _UnlikeError
    return position, position + length
