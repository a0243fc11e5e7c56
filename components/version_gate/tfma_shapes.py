"""What the bytes of TFMA's metric records have in common: of one number, and of a whole record.

From slice to slice a record differs in the bytes of its numbers alone, eight each. So the bytes
between them are learned once (`tfma_bytes`), and recognised by comparing: number by number as a
`Shape`, or all of a record at once as a `Layout`, which takes a fraction of the time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from itertools import repeat
from typing import Any

from tfx_registry.components.version_gate.tfma_records import TFMA_LEVEL
from tfx_registry.gate import Interval, IntervalKind, MetricId
from tfx_registry.gate.evaluation import make_interval

__all__ = ["NUMBER", "T_DISTRIBUTION", "Found", "Layout", "Shape"]

NUMBER = struct.Struct("<d")
#: Looking a member up in its enumeration is slow before Python 3.12.
T_DISTRIBUTION = IntervalKind.T_DISTRIBUTION

#: Numbers and their intervals, each by the place of the table that they belong to.
Found = tuple[dict[int, dict[MetricId, float]], dict[int, MutableMapping[MetricId, Interval]]]

_NUMBER_BYTES = 8


class Shape:
    """The beginning of a key with its value, as it stands in record after record.

    Attributes:
        head: Its bytes, up to the number; all of them where the value is not read from bytes.
        size: Number of bytes of the whole, the number included.
        table: Place of the table that it belongs to; -1 where the value is no number.
        metric: Which number it is.
        number: The number, where it is not read from bytes.
        interval: Its interval, if any, where it is not read from bytes.
        read: Reads number and interval, or None where they are not read from bytes.
        between: What stands between the ends of the interval and behind them; () without one.
        degrees: Degrees of freedom of the interval.
        following: What followed last time, so it is tried first.
    """

    __slots__ = (
        "between", "degrees", "following", "head", "interval", "metric", "number", "read", "size",
        "table",
    )  # fmt: skip

    def __init__(self, head: bytes, table: int, metric: MetricId | None) -> None:
        """Describes bytes that stand for one value, whatever record they are in."""
        self.head = head
        self.size = len(head)
        self.table = table
        self.metric: Any = metric
        self.number: Any = None
        self.interval: Interval | None = None
        self.read: Any = None
        self.between: tuple[bytes, ...] = ()
        self.degrees = 0
        self.following: Shape = self


class Layout:
    """The bytes of a whole record behind its slice, without those of its numbers.

    A record that fits has the same shapes in the same order, and so says the same with other
    numbers. It fits if all bytes between its numbers are equal to those that were learned.
    """

    def __init__(self, shapes: Sequence[Shape]) -> None:
        """Puts shapes together.

        Args:
            shapes: Those of a record, in their order; no number stands twice among them.
        """
        between = [b""]
        rows: dict[int, list[tuple[Shape, int]]] = {}
        place = 0
        for shape in shapes:
            if shape.table >= 0:
                rows.setdefault(shape.table, []).append((shape, place + len(shape.head)))
            between[-1] += shape.head
            if shape.read is not None:
                # What stands behind the last number stands in front of the next shape's first.
                between += shape.between or (b"",)
            place += shape.size
        self._between = tuple(between)
        gap = f"{_NUMBER_BYTES}x"
        self._read = struct.Struct(gap.join(f"{len(part)}s" for part in between)).unpack_from
        self._numbers = [(table, _Numbers(row)) for table, row in rows.items()]
        self._intervals = [
            (table, _Intervals(beside))
            for table, row in rows.items()
            if (beside := [(s, at) for s, at in row if s.between or s.interval is not None])
        ]

    def __call__(self, record: bytes, position: int) -> Found | None:
        """Reads a record.

        Args:
            record: The record.
            position: Where its keys and values begin. As many bytes stand there as in the record
                that was learned from.

        Returns:
            What the shapes would give; None where the record does not fit.
        """
        if self._read(record, position) != self._between:
            return None
        return (
            {table: numbers(record, position) for table, numbers in self._numbers},
            {table: _Row(read, record, position) for table, read in self._intervals},
        )


class _Numbers:
    """Reads the numbers of one table from a record."""

    def __init__(self, row: Sequence[tuple[Shape, int]]) -> None:
        self._metrics = [shape.metric for shape, _ in row]
        self._read = _reader([at for shape, at in row if shape.read is not None])
        #: Those that are the same in every record, by their place in the row.
        self._alike = [(i, s.number) for i, (s, _) in enumerate(row) if s.read is None]

    def __call__(self, record: bytes, position: int) -> dict[MetricId, float]:
        numbers = self._read(record, position)
        if self._alike:
            numbers = _inserted(numbers, self._alike)
        return dict(zip(self._metrics, numbers, strict=True))


class _Intervals:
    """Reads the intervals of one table from a record."""

    def __init__(self, beside: Sequence[tuple[Shape, int]]) -> None:
        self._metrics = [shape.metric for shape, _ in beside]
        places = []
        for shape, place in beside:
            for part in shape.between[:-1]:
                place += _NUMBER_BYTES + len(part)
                places.append(place)
        self._read = _reader(places)
        self._degrees = [shape.degrees for shape, _ in beside if shape.between]
        self._alike = [(i, s.interval) for i, (s, _) in enumerate(beside) if not s.between]

    def __call__(self, record: bytes, position: int) -> dict[MetricId, Interval]:
        ends = self._read(record, position)
        made: Any = map(
            make_interval,
            ends[1::3],
            ends[::3],
            repeat(TFMA_LEVEL),
            repeat(T_DISTRIBUTION),
            ends[2::3],
            self._degrees,
        )
        if self._alike:
            made = _inserted(made, self._alike)
        return dict(zip(self._metrics, made, strict=True))


class _Row(MutableMapping[MetricId, Interval]):
    """Intervals of a slice that are read when somebody first asks for one.

    Most rules look at the intervals of the candidate or at those of the differences, and some at
    none; making all of them takes longer than reading everything else.
    """

    __slots__ = ("_made", "_position", "_read", "_record")

    def __init__(self, read: _Intervals, record: bytes, position: int) -> None:
        self._read = read
        self._record = record
        self._position = position
        self._made: dict[MetricId, Interval] = {}

    def _all(self) -> dict[MetricId, Interval]:
        record = self._record  # another thread may have read it meanwhile
        if record:
            self._made = self._read(record, self._position)
            self._record = b""
        return self._made

    def get(self, metric: Any, default: Any = None) -> Any:
        return (self._made or self._all()).get(metric, default)

    def __getitem__(self, metric: MetricId) -> Interval:
        return self._all()[metric]

    def __setitem__(self, metric: MetricId, interval: Interval) -> None:
        self._all()[metric] = interval

    def __delitem__(self, metric: MetricId) -> None:
        del self._all()[metric]

    def __iter__(self) -> Iterator[MetricId]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return repr(self._all())

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self._all(),)


def _reader(places: Sequence[int]) -> Any:
    """Returns what reads the numbers that begin at some places of a record, in rising order."""
    end, parts = 0, ["<"]
    for place in places:
        parts.append(f"{place - end}xd")
        end = place + _NUMBER_BYTES
    return struct.Struct("".join(parts)).unpack_from


def _inserted(items: Iterable[Any], others: Sequence[tuple[int, Any]]) -> list[Any]:
    """Puts others among items, at the places that they then have."""
    found = list(items)
    for place, other in others:
        found.insert(place, other)
    return found
