"""Reads TFRecord files without TensorFlow.

A record is its length (8 bytes, little-endian), the masked CRC-32C of these 8 bytes, the content,
and the masked CRC-32C of the content (tensorflow/core/lib/io/record_writer.h).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tfx_registry.crc32c import masked_crc32c

__all__ = ["parse_records"]

_HEADER_BYTES = 12
_FOOTER_BYTES = 4


def parse_records(content: bytes) -> Iterator[bytes]:
    """Reads records.

    Args:
        content: The whole file, not compressed.

    Yields:
        The content of each record.

    Raises:
        ValueError: A record is cut off or damaged; the text says which.
    """
    position = number = 0
    while position < len(content):
        number += 1
        header = content[position : position + _HEADER_BYTES]
        if len(header) < _HEADER_BYTES:
            raise ValueError(f"record {number} is cut off")
        length, checksum = struct.unpack("<QI", header)
        if masked_crc32c(header[:8]) != checksum:
            raise ValueError(f"the checksum of the length of record {number} is wrong")
        begin = position + _HEADER_BYTES
        end = begin + length
        if end + _FOOTER_BYTES > len(content):
            raise ValueError(f"record {number} is cut off")
        record = content[begin:end]
        (checksum,) = struct.unpack_from("<I", content, end)
        if masked_crc32c(record) != checksum:
            raise ValueError(f"the checksum of record {number} is wrong")
        yield record
        position = end + _FOOTER_BYTES
