"""Reads a write-ahead log of SQLite as its recovery does, and sees what was damaged.

The format is that of sqlite.org/fileformat2.html, 4. Each frame holds a page and a checksum that
goes on from the frame before it; the frame that ends a transaction holds the size of the database,
too. SQLite takes the first frame that does not fit for the end of the log, and says nothing of
what stands behind it.

What may stand there after a crash: frames of an earlier, longer log, with other salts; and pieces
of transactions that were never acknowledged, because a killed process or a power cut leaves the
last one in pieces, in any order, and the next one is written over it. A transaction is flushed
before the next one is written, and that one goes on from its checksum. So no crash leaves behind
the end *a frame that goes on from the end of a transaction*: where there is one, that transaction
had been acknowledged, and something before its end was damaged later.

A sector (512 bytes or more) is written whole or not at all. That matters for a head of a frame that
lies in two of them: then one half may be that of an earlier frame. And no single frame is believed
whose checksum is wrong, but for its checksum: SQLite writes pages of a large transaction anew in
their frames, and puts the checksums right when it commits.
"""

from __future__ import annotations

import array
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

__all__ = [
    "HEADER_BYTES",
    "Header",
    "LogFile",
    "Page1",
    "Scan",
    "last_frame",
    "read_header",
    "scan",
]

HEADER_BYTES = 32
_FRAME_BYTES = 24
_SECTOR_BYTES = 512
#: Checksums are of words in the order of bytes that the last bit says.
_MAGIC = {0x377F0682: "little", 0x377F0683: "big"}
_FORMAT = 3_007_000
_MASK = 0xFFFFFFFF
#: So many words are added up before the sums are cut to 32 bits; each pair adds 1.4 bits to them.
_AT_ONCE = 16

Sums = tuple[int, int]


class LogFile(Protocol):
    """What a log is read from; `pread` of a file."""

    def __call__(self, length: int, offset: int, /) -> bytes:
        """Returns up to `length` bytes from `offset` on."""


@dataclass(frozen=True)
class Header:
    """The header of a log.

    Attributes:
        text: Its 32 bytes.
        page_bytes: Size of a page.
        salts: What stands in each frame of this log, and in none of an earlier one.
        sums: The checksum from which the first frame goes on.
        swaps: Whether its words are not in the order of bytes of this machine.
    """

    text: bytes
    page_bytes: int
    salts: bytes
    sums: Sums
    swaps: bool


@dataclass(frozen=True)
class Page1:
    """What the first page of a database says of it.

    Attributes:
        change: The number of its last change of this page; with a log, other changes do not count.
        pages: Size of the database, in pages; 0 where a release of SQLite did not keep it.
        application: The number that its maker gave it; 0 for none.
        page_bytes: Size of a page.
    """

    change: int
    pages: int
    application: int
    page_bytes: int

    @classmethod
    def read(cls, data: bytes) -> Page1:
        """Reads the first 100 bytes of the page."""
        size, change, pages = struct.unpack_from(">16xH6xII", data)
        application, valid_for = struct.unpack_from(">68xI20xI", data)
        return cls(change, pages if change == valid_for else 0, application, size or 65536)


@dataclass(frozen=True)
class Scan:
    """What a log holds.

    Attributes:
        committed: Number of the frame with which the last transaction ends that SQLite will read.
        proof: Number of a frame behind it that no crash leaves there; 0 for none.
        first_pages: The first pages that it holds in committed transactions: the first of them,
            and the last.
        pages: Sizes of the database in pages after the first transaction and after the last.
    """

    committed: int
    proof: int
    first_pages: tuple[Page1, Page1] | None
    pages: tuple[int, int]


def read_header(data: bytes) -> Header | None:
    """Reads the header of a log.

    Args:
        data: Its first 32 bytes.

    Returns:
        The header; None if it is none.
    """
    if len(data) < HEADER_BYTES:
        return None
    magic, version, page_bytes = struct.unpack_from(">III", data)
    order = _MAGIC.get(magic)
    if order is None or version != _FORMAT:
        return None
    if page_bytes & (page_bytes - 1) or not 512 <= page_bytes <= 65536:
        return None
    swaps = order != sys.byteorder
    sums = _add((0, 0), data[:24], swaps)
    if _sums(data, 24) != sums:
        return None
    return Header(data[:HEADER_BYTES], page_bytes, data[16:24], sums, swaps)


def scan(header: Header, read: LogFile) -> Scan:
    """Reads a log to its end, and what stands behind that.

    Args:
        header: Its header.
        read: Reads the file.

    Returns:
        What it holds.
    """
    log = _Log(header, read)
    sums, number, committed = header.sums, 0, 0
    seen: list[Page1] = []
    pages: list[int] = []
    before: list[Page1] = []
    for number, frame in log.frames(1):
        found = log.sums(sums, frame)
        if not log.is_of_this(frame) or _page(frame) == 0 or _stored(frame) != found:
            break
        sums = found
        if _page(frame) == 1:
            before.append(Page1.read(frame[_FRAME_BYTES : _FRAME_BYTES + 100]))
        if size := _size(frame):
            committed = number
            seen = [*seen, *before][:1] + [*seen, *before][-1:]
            before = []
            pages = [*pages[:1], size]
    else:
        number += 1  # the file ends here
    return Scan(
        committed,
        log.proof(number, sums),
        (seen[0], seen[-1]) if seen else None,
        (pages[0], pages[-1]) if pages else (0, 0),
    )


def last_frame(header: Header, index: bytes) -> int:
    """Returns up to where a log was acknowledged, as its index in shared memory says.

    SQLite writes that there after it has flushed the log, so it never says too much. It does not
    read it when nobody has the database open; that is when it is worth most.

    Args:
        header: The header of the log.
        index: The first 96 bytes of the index.

    Returns:
        Number of the last frame; 0 if this is not a whole index of this log.
    """
    if len(index) < 96 or index[:48] != index[48:96]:
        return 0
    version, _, _, is_set, _, _, last, _ = struct.unpack_from("=IIIBBHII", index)
    if version != _FORMAT or not is_set or index[32:40] != header.salts:
        return 0
    is_whole = struct.unpack_from("=II", index, 40) == _add((0, 0), index[:40], False)
    return int(last) if is_whole else 0


class _Log:
    """The frames of a log."""

    def __init__(self, header: Header, read: LogFile) -> None:
        self._header = header
        self._read = read
        self._step = _FRAME_BYTES + header.page_bytes

    def frame(self, number: int, length: int | None = None) -> bytes:
        """Returns a frame, counted from 1, or its beginning; b"" behind the last whole one."""
        length = length or self._step
        data = self._read(length, HEADER_BYTES + (number - 1) * self._step)
        return data if len(data) == length else b""

    def frames(self, number: int) -> Iterator[tuple[int, bytes]]:
        while frame := self.frame(number):
            yield number, frame
            number += 1

    def is_of_this(self, frame: bytes) -> bool:
        """Tells whether a frame has the salts of this log."""
        return frame[8:16] == self._header.salts

    def sums(self, sums: Sums, frame: bytes) -> Sums:
        """Returns what the checksum of a frame must be if it goes on from `sums`."""
        return _add(sums, frame[:8] + frame[_FRAME_BYTES:], self._header.swaps)

    def goes_on(self, number: int, sums: Sums) -> bool:
        """Tells whether a frame goes on from a checksum."""
        frame = self.frame(number)
        return bool(frame) and self.is_of_this(frame) and _stored(frame) == self.sums(sums, frame)

    def proof(self, end: int, sums: Sums) -> int:
        """Looks for a frame that goes on from the end of a transaction, and is not read.

        Args:
            end: Number of the first frame that SQLite does not read.
            sums: The checksum of the frame before it.

        Returns:
            Its number; 0 if there is none.
        """
        if self._first_was_an_end(end, sums):
            return end + 1
        number, last = end, b""
        while head := self.frame(number, _FRAME_BYTES):
            may_go_on = self.is_of_this(head) and self.is_of_this(last) and _size(last) > 0
            if may_go_on and self.goes_on(number, _stored(last)) and self._is_sure(number - 1, end):
                return number
            number, last = number + 1, head
        return 0

    def _is_sure(self, number: int, end: int) -> bool:
        """Tells whether the head of a frame, whose checksum is right, is right as a whole."""
        if not self._is_torn_here(number):
            return True
        return number > end and self.goes_on(number, _stored(self.frame(number - 1, _FRAME_BYTES)))

    def _is_torn_here(self, number: int) -> bool:
        """Tells whether the head of a frame lies in two sectors."""
        begins = (HEADER_BYTES + (number - 1) * self._step) % _SECTOR_BYTES
        return begins + _FRAME_BYTES > _SECTOR_BYTES

    def _first_was_an_end(self, number: int, sums: Sums) -> bool:
        """Tells whether the first frame that does not fit did end a transaction, and was followed.

        That is so if all of it is right but its checksum or its salts.
        """
        frame = self.frame(number)
        return _size(frame) > 0 and self.goes_on(number + 1, self.sums(sums, frame))


def _page(frame: bytes) -> int:
    return int.from_bytes(frame[:4], "big")


def _size(frame: bytes) -> int:
    return int.from_bytes(frame[4:8], "big")


def _stored(frame: bytes) -> Sums:
    return _sums(frame, 16)


def _sums(data: bytes, offset: int) -> Sums:
    first, second = struct.unpack_from(">II", data, offset)
    return first, second


def _words(data: bytes, swaps: bool) -> array.array[int]:
    words = array.array("I", data)
    if swaps:
        words.byteswap()
    return words


def _add(sums: Sums, data: bytes, swaps: bool) -> Sums:
    """Returns a checksum of SQLite, gone on with words."""
    a, b = sums
    words = _words(data, swaps)
    rest = len(words) % _AT_ONCE
    for first, second in zip(words[:rest:2], words[1:rest:2], strict=True):
        a = (a + first + b) & _MASK
        b = (b + second + a) & _MASK
    parts = iter(words[rest:])
    for w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, wa, wb, wc, wd, we, wf in zip(
        *[parts] * _AT_ONCE, strict=True
    ):
        a += w0 + b
        b += w1 + a
        a += w2 + b
        b += w3 + a
        a += w4 + b
        b += w5 + a
        a += w6 + b
        b += w7 + a
        a += w8 + b
        b += w9 + a
        a += wa + b
        b += wb + a
        a += wc + b
        b += wd + a
        a = a + we + b & _MASK
        b = b + wf + a & _MASK
    return a, b
