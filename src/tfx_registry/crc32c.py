"""CRC-32C (Castagnoli) as TensorFlow writes it beside its records and tables: masked."""

from __future__ import annotations

import functools
from collections.abc import Callable

__all__ = ["crc32c", "masked_crc32c"]

_POLYNOMIAL = 0x82F63B78  # reflected
_MASK_DELTA = 0xA282EAD8  # tensorflow/core/lib/hash/crc32c.h


def crc32c(data: bytes) -> int:
    """Computes the CRC-32C.

    Args:
        data: The bytes.

    Returns:
        The checksum, below 2**32. With the package `google-crc32c`, which TFX brings, this runs at
        the speed of memory; without it at a few megabytes a second.
    """
    return _implementation()(data)


def masked_crc32c(data: bytes) -> int:
    """Computes the CRC-32C in the form that is stored.

    Args:
        data: The bytes.

    Returns:
        The checksum rotated right by 15 bits plus a constant, below 2**32: a checksum of bytes
        that hold checksums would be weak.
    """
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def crc32c_in_python(data: bytes) -> int:
    """Computes the CRC-32C without any package; see `crc32c`."""
    table = _table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@functools.cache
def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


@functools.cache
def _implementation() -> Callable[[bytes], int]:
    try:
        import google_crc32c
    except ImportError:
        return crc32c_in_python
    return google_crc32c.value if google_crc32c.implementation == "c" else crc32c_in_python
