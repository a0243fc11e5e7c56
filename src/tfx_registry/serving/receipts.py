"""Tells quickly whether the bytes of a published version are still those that were verified.

After a directory was hashed, size, times of modification and of change, and inode of each of its
files are written to `.tfx_registry/receipts/<number>.json`. As long as they are the same, nobody
has written to the files, and looking at them takes milliseconds where hashing a large model takes
seconds. A receipt is a cache: without one, or when one does not fit, everything is hashed.

The time of change (ctime) cannot be set. So whoever sets modification times back is noticed, too;
not who sets the clock of the machine back, or writes to the disk past the file system, unless
`hash_all` is asked for.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfx_registry.digest import digest_path, walk_files
from tfx_registry.errors import InvalidModelError
from tfx_registry.serving.layout import STATE_DIRECTORY
from tfx_registry.serving.ownership import make_directory

__all__ = ["Bytes", "BytesCheck", "check_bytes", "drop_receipt", "fits_receipt", "write_receipt"]

_RECEIPTS = "receipts"
_DIRECTORY_MODE = 0o755
_NOTED = 4  # of each file


class Bytes(str, enum.Enum):
    """What lies where the bytes of a version should lie."""

    RIGHT = "right"
    CHANGED = "changed"
    MISSING = "missing"


@dataclass(frozen=True)
class BytesCheck:
    """What a check of a directory found.

    Attributes:
        state: Whether the bytes are right.
        hashed: Whether everything was hashed; otherwise the receipt was enough.
        detail: What is wrong, in words; "" if nothing is.
    """

    state: Bytes
    hashed: bool = False
    detail: str = ""


def check_bytes(
    base: Path, path: Path, number: int, *, manifest: str, hash_all: bool = False
) -> BytesCheck:
    """Checks the bytes of a version.

    Args:
        base: The serving base directory, which holds the receipts.
        path: Where the version lies.
        number: Number of the version.
        manifest: Manifest digest that names and bytes must have.
        hash_all: Whether to hash everything, whatever the receipt says.

    Returns:
        What was found. Right bytes that had to be hashed leave a new receipt.
    """
    if not os.path.lexists(path):
        return BytesCheck(Bytes.MISSING, detail="there is nothing")
    if path.is_symlink() or not path.is_dir():
        return BytesCheck(Bytes.CHANGED, detail="it is no directory of its own")
    visible = base / str(number)
    tells = path == visible or not os.path.lexists(visible)  # there is one receipt for both places
    try:
        seen = _look(path)
        if not hash_all and _read(base, number) == {"manifest": manifest, "files": seen}:
            return BytesCheck(Bytes.RIGHT)
        found = digest_path(path)
        if found.manifest != manifest:
            detail = f"its manifest digest is {found.manifest[:16]}, registered is {manifest[:16]}"
            if tells:
                drop_receipt(base, number)
            return BytesCheck(Bytes.CHANGED, hashed=True, detail=detail)
        if tells and _look(path) == seen:
            _write(base, number, manifest, seen)
    except InvalidModelError as error:
        return BytesCheck(Bytes.CHANGED, detail=error.why)
    return BytesCheck(Bytes.RIGHT, hashed=True)


def fits_receipt(base: Path, path: Path, number: int, *, manifest: str) -> bool | None:
    """Tells whether a directory looks as it did when it was last hashed. Hashes nothing.

    Args:
        base: The serving base directory, which holds the receipts.
        path: Where the version lies.
        number: Number of the version.
        manifest: Manifest digest that names and bytes must have.

    Returns:
        None if there is no receipt to tell by.
    """
    receipt = _read(base, number)
    if receipt is None:
        return None
    try:
        return bool(receipt == {"manifest": manifest, "files": _look(path)})
    except InvalidModelError:
        return False


def write_receipt(base: Path, number: int, *, manifest: str) -> None:
    """Writes the receipt of a version whose bytes have just been verified.

    Args:
        base: The serving base directory.
        number: The version.
        manifest: Manifest digest of its bytes.
    """
    with contextlib.suppress(InvalidModelError):
        _write(base, number, manifest, _look(base / str(number)))


def drop_receipt(base: Path, number: int) -> None:
    """Removes the receipt of a version, if there is one."""
    with contextlib.suppress(OSError):
        _path(base, number).unlink(missing_ok=True)


def _look(path: Path) -> dict[str, list[int]]:
    found = {}
    try:
        for relative, file in walk_files(path):
            status = file.stat(follow_symlinks=False)
            times = status.st_mtime_ns, status.st_ctime_ns
            found[relative] = [status.st_size, *times, status.st_ino]
    except OSError as error:
        raise InvalidModelError("", str(error.strerror or error)) from error
    return found


def _path(base: Path, number: int) -> Path:
    return base / STATE_DIRECTORY / _RECEIPTS / f"{number}.json"


def _read(base: Path, number: int) -> Any:
    """Returns a receipt; None if there is none, or one of a release that noted less."""
    try:
        text = _path(base, number).read_text(encoding="utf-8", errors="replace")
        receipt = json.loads(text)
        noted = {len(file) for file in receipt["files"].values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return receipt if noted <= {_NOTED} else None


def _write(base: Path, number: int, manifest: str, seen: dict[str, list[int]]) -> None:
    """Writes a receipt; failing to is no error, the next check hashes again."""
    path = _path(base, number)
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        with contextlib.suppress(FileExistsError):
            make_directory(path.parent, _DIRECTORY_MODE)
        unfinished.write_text(json.dumps({"manifest": manifest, "files": seen}), encoding="utf-8")
        unfinished.replace(path)
    except (OSError, UnicodeEncodeError):  # a read-only mount, or a name that is not UTF-8
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
