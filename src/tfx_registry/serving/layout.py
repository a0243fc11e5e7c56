"""How TensorFlow Serving reads a base directory.

Every child whose name parses as a number is a version
(tensorflow_serving/sources/storage_path/file_system_storage_path_source.cc, which uses
`absl::SimpleAtoi`: surrounding blanks, a sign and leading zeros are accepted). Everything else is
skipped, so that is where this package keeps its own files.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from tfx_registry import syscalls
from tfx_registry.errors import ServingDirectoryError

__all__ = [
    "STATE_DIRECTORY",
    "base_directory",
    "check_writable",
    "list_version_directories",
    "parse_version_name",
]

#: Child of the base directory that holds what is not for the server.
STATE_DIRECTORY = ".tfx_registry"

_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)[ \t\n\v\f\r]*", re.ASCII)
_INT64 = 2**63


def parse_version_name(name: str) -> int | None:
    """Reads the name of a child as TensorFlow Serving does.

    Args:
        name: The name.

    Returns:
        The version, or None when the server skips the child.
    """
    match = _NUMBER.fullmatch(name)
    if match is None:
        return None
    number = int(match[1])
    return number if -_INT64 <= number < _INT64 else None


def list_version_directories(base: Path) -> dict[int, list[str]]:
    """Lists the children that TensorFlow Serving takes for versions.

    Args:
        base: The base directory; it need not exist.

    Returns:
        Names by version, ascending; more than one name means a collision such as `1` and `001`.
    """
    found: dict[int, list[str]] = {}
    if base.is_dir():
        for name in syscalls.list_directory(base):
            number = parse_version_name(name)
            if number is not None:
                found.setdefault(number, []).append(name)
    return dict(sorted(found.items()))


def base_directory(text: str | os.PathLike[str]) -> Path:
    """Checks the name of a serving base directory.

    Args:
        text: A path on a local or mounted file system.

    Returns:
        The absolute path without symbolic links. The directory need not exist.

    Raises:
        ServingDirectoryError: It is a file, or no local path, or its name is not UTF-8.
    """
    name = os.fspath(text)
    if name.startswith("file://"):
        name = name[len("file://") :]
    if "://" in name or not name:
        raise ServingDirectoryError(
            f"cannot publish into {name!r}",
            "this needs a directory on a local or mounted file system; in an object store (s3://, "
            "gs://) promote, rollback, reconcile, status and prune work, without a model config",
            "give a path, or leave out what is not possible there",
        )
    try:
        # Two names of one directory are one destination.
        base = Path(name).resolve()
        existing = base
        while not os.path.lexists(existing):
            existing = existing.parent
    except (OSError, ValueError, RuntimeError) as error:
        raise ServingDirectoryError(
            f"cannot publish into {name!r}", str(error), "give the path of a directory"
        ) from error
    if _is_no_text(str(base)):
        raise ServingDirectoryError(
            f"cannot publish into {str(base)!r}",
            "its name is not UTF-8, and the registry stores it as text",
            "rename it, or give another directory",
        )
    if not existing.is_dir():
        raise ServingDirectoryError(
            f"cannot publish into {str(base)!r}",
            f"{str(existing)!r} is not a directory",
            "give a directory; it is made when it does not exist",
        )
    return base


def _is_no_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def check_writable(base: Path) -> None:
    """Refuses a serving base directory that this user cannot write.

    Args:
        base: What `base_directory` has returned; it need not exist.

    Raises:
        ServingDirectoryError: It, or the directory in which it would be made, is not writable.
    """
    existing = next(path for path in (base, *base.parents) if os.path.lexists(path))
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ServingDirectoryError(
            f"cannot publish into {str(base)!r}",
            f"{str(existing)!r} is not writable for this user",
            "correct its permissions, or run as the user who owns it",
        )
