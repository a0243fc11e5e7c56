"""Is what lies beside an SQLite file as its write-ahead log one?

SQLite takes a log that it cannot read for an empty one: what was acknowledged and stood only there
would be lost without a word, and the next writer writes over it. It makes the header of a log
durable before the first transaction, so a log that may hold one has a header that can be read
(sqlite.org/fileformat2.html, 4.1).
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

from tfx_registry.registry.probe import Problem

__all__ = ["log_problem"]

_HEADER_BYTES = 32
#: Checksums are of words in the order of bytes that the last bit says.
_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}
_FORMAT = 3_007_000
#: How often a header is read again that another process may just be writing, and how soon.
_LOOKS, _LOOK_SECONDS = 5, 0.02


def log_problem(path: Path) -> Problem | None:
    """Looks at the header of the log of a database; never at the database itself.

    Args:
        path: The database.

    Returns:
        What is wrong with it; None where there is none, or where nothing can stand in it.
    """
    log = Path(f"{path}-wal")
    for look in range(_LOOKS):
        if look:
            time.sleep(_LOOK_SECONDS)
        try:
            with log.open("rb", buffering=0) as file:
                data = file.read(_HEADER_BYTES + 1) or b""
        except FileNotFoundError:
            return None
        except OSError:
            break
        if len(data) <= _HEADER_BYTES or _is_header(data[:_HEADER_BYTES]):
            return None
    else:
        return Problem(
            f"{log.name} beside it is damaged, or is no write-ahead log of SQLite",
            "restore the database with the log that belongs to it; only if you know that nothing "
            f"was written since its processes ended, move {log.name} away",
        )
    if log.is_dir():
        return Problem(f"{log.name} beside it is a directory", "move it away")
    return None  # this user may not read it; SQLite says so itself


def _is_header(data: bytes) -> bool:
    magic, version, page_bytes = struct.unpack(">III", data[:12])
    order = _MAGIC.get(magic)
    if order is None or version != _FORMAT:
        return False
    if page_bytes & (page_bytes - 1) or not 512 <= page_bytes <= 65536:
        return False
    words = struct.unpack(f"{order}6I", data[:24])
    first = second = 0
    for a, b in zip(words[::2], words[1::2], strict=True):
        first = (first + a + second) & 0xFFFFFFFF
        second = (second + b + first) & 0xFFFFFFFF
    return struct.unpack(">II", data[24:]) == (first, second)
