"""Reads the index of a checkpoint (TensorBundle) without TensorFlow.

The index, `variables/variables.index` in a SavedModel, is a table in LevelDB's format (footer,
index block, data blocks, each with a CRC-32C) whose values are protocol buffers: under the empty
key a header that says how many data files there are, under each other key where a tensor lies in
which of them. Source of the rules: tensorflow/core/lib/io/format.cc and table_format.txt,
tensorflow/core/util/tensor_bundle/tensor_bundle.cc.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tfx_registry.crc32c import masked_crc32c
from tfx_registry.saved_model import parse_message

__all__ = ["BundleEntry", "BundleIndex", "parse_index", "shard_name"]

_FOOTER_BYTES = 48
_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
_TRAILER_BYTES = 5  # kind of compression, masked CRC-32C
_MOST_SHARDS = 99_999  # a file name has five digits

# Bytes of an element; strings, resources and variants have no fixed length, and for types of less
# than a byte it depends on the release.
_ELEMENT_BYTES = {
    1: 4, 2: 8, 3: 4, 4: 1, 5: 2, 6: 1, 8: 8, 9: 8, 10: 1, 11: 1, 12: 1, 13: 4, 14: 2, 15: 2,
    16: 2, 17: 2, 18: 16, 19: 2, 22: 4, 23: 8, 24: 1, 25: 1,
}  # fmt: skip


@dataclass(frozen=True)
class BundleEntry:
    """Where one tensor, or one slice of one, lies.

    Attributes:
        name: Its key in the checkpoint.
        shard: Which data file.
        offset: Where in it, in bytes.
        size_bytes: How many bytes it has there.
    """

    name: str
    shard: int
    offset: int
    size_bytes: int


@dataclass(frozen=True)
class BundleIndex:
    """The index of a checkpoint.

    Attributes:
        shards: How many data files there are.
        entries: All tensors.
    """

    shards: int
    entries: tuple[BundleEntry, ...]

    def shard_sizes(self) -> tuple[int, ...]:
        """Returns how long each data file must be at least, in bytes."""
        sizes = [0] * self.shards
        for entry in self.entries:
            sizes[entry.shard] = max(sizes[entry.shard], entry.offset + entry.size_bytes)
        return tuple(sizes)


def shard_name(prefix: str, shard: int, shards: int) -> str:
    """Returns the name of a data file.

    Args:
        prefix: What the checkpoint is called, such as `variables`.
        shard: Number of the data file, from 0.
        shards: How many there are.
    """
    return f"{prefix}.data-{shard:05d}-of-{shards:05d}"


def parse_index(content: bytes) -> BundleIndex:
    """Reads an index.

    Args:
        content: The whole file.

    Returns:
        What it says.

    Raises:
        ValueError: It is damaged, or contradicts itself; the text says how.
    """
    rows = dict(_rows(content))
    if b"" not in rows:
        raise ValueError("it has no header")
    header = parse_message("BundleHeader", rows.pop(b""))
    if not 0 < header.num_shards <= _MOST_SHARDS:
        raise ValueError(f"it says that there are {header.num_shards} data files")
    if header.endianness != 0:
        raise ValueError("its numbers are big-endian, which servers on other machines cannot read")
    entries = tuple(_entry(key, value, header.num_shards) for key, value in rows.items())
    return BundleIndex(header.num_shards, entries)


def _entry(key: bytes, value: bytes, shards: int) -> BundleEntry:
    name = key.decode("utf-8", "backslashreplace")
    found = parse_message("BundleEntry", value)
    if not 0 <= found.shard < shards:
        raise ValueError(f"{name!r} lies in data file {found.shard} of {shards}")
    if found.offset < 0 or found.size < 0:
        raise ValueError(f"{name!r} has the offset {found.offset} and the size {found.size}")
    expected = _tensor_bytes(found)
    if expected is not None and found.size != expected:
        raise ValueError(f"{name!r} has {found.size} bytes, and by its shape {expected}")
    return BundleEntry(name, found.shard, found.offset, found.size)


def _tensor_bytes(entry: Any) -> int | None:
    """Bytes by type and shape; None where they say nothing about what lies in the file."""
    width = _ELEMENT_BYTES.get(entry.dtype)
    if width is None or entry.slices or entry.shape.unknown_rank:
        return None
    elements: int = math.prod(dim.size for dim in entry.shape.dims)
    return width * elements


def _rows(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(content) < _FOOTER_BYTES or not content.endswith(_MAGIC):
        raise ValueError("it is no table, or its end is missing")
    try:
        position = len(content) - _FOOTER_BYTES
        _, _, position = _handle(content, position)  # of the meta index, which is empty
        offset, size, _ = _handle(content, position)
        for _, place in _block_rows(_block(content, offset, size)):
            offset, size, _ = _handle(place, 0)
            yield from _block_rows(_block(content, offset, size))
    except (IndexError, struct.error) as error:
        raise ValueError("it is damaged: something in it points outside of it") from error


def _handle(data: bytes, position: int) -> tuple[int, int, int]:
    offset, position = _varint(data, position)
    size, position = _varint(data, position)
    return offset, size, position


def _block(content: bytes, offset: int, size: int) -> bytes:
    end = offset + size
    if end + _TRAILER_BYTES > len(content):
        raise IndexError
    (stored,) = struct.unpack_from("<I", content, end + 1)
    if masked_crc32c(content[offset : end + 1]) != stored:
        raise ValueError(f"it is damaged: the checksum of the block at byte {offset} is wrong")
    if content[end] != 0:
        raise ValueError("its blocks are compressed, which TensorFlow does not do")
    return content[offset:end]


def _block_rows(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 * (restarts + 1)
    position, key = 0, b""
    while position < end:
        shared, position = _varint(block, position)
        own, position = _varint(block, position)
        length, position = _varint(block, position)
        value = position + own
        if value + length > end or shared > len(key):
            raise IndexError
        key = key[:shared] + block[position:value]
        position = value + length
        yield key, block[value:position]


def _varint(data: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    while shift < 64:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7
    raise IndexError
