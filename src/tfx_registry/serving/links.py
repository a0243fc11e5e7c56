"""Hard links that lead out of a model directory, and how those that this package makes are known.

A file with a name elsewhere can be written there, and may be somebody's who does not want it
published. So by default a model with such a file is refused. One kind must not be: `PushedModel`
holds the model by hard links, and afterwards the model has a second name for each file, though it
is promoted a second time, into another directory, or back after a rollback. Therefore each file
says itself how many of its names elsewhere this package has made, in an extended attribute: it
belongs to the file and not to a name, and only who may write the file can set it.

Stores that keep each content once are made of hard links (git-annex, DVC with links, `rdfind`).
For models there, `TFX_REGISTRY_HARD_LINKS=same-owner` takes links to files of the model's owner.
"""

from __future__ import annotations

import contextlib
import enum
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tfx_registry import syscalls
from tfx_registry.errors import InvalidInputError, InvalidModelError

__all__ = ["HARD_LINKS_VARIABLE", "HardLinks", "Links", "hard_links_allowed", "mark_links"]

#: The environment variable that says which hard links a model may have.
HARD_LINKS_VARIABLE = "TFX_REGISTRY_HARD_LINKS"

# Only in this name space may users set attributes (xattr(7)).
_ATTRIBUTE = "user.tfx_registry.links"


class HardLinks(str, enum.Enum):
    """Which hard links that lead out of a model are taken.

    Attributes:
        REFUSE: None but those to a `PushedModel`.
        SAME_OWNER: Those to files of the user who owns the model directory.
    """

    REFUSE = "refuse"
    SAME_OWNER = "same-owner"


def hard_links_allowed() -> HardLinks:
    """Returns what the environment says.

    Raises:
        InvalidInputError: It says something unknown.
    """
    text = os.environ.get(HARD_LINKS_VARIABLE) or HardLinks.REFUSE.value
    try:
        return HardLinks(text)
    except ValueError as error:
        raise InvalidInputError(
            f"invalid value {text!r} of {HARD_LINKS_VARIABLE}",
            "it says which hard links that lead out of a model are taken",
            f"set it to {' or '.join(rule.value for rule in HardLinks)}, or not at all",
        ) from error


class Links:
    """The files of one model directory that have more than one name."""

    def __init__(self) -> None:
        """Knows no file yet."""
        self._found: dict[tuple[int, int], tuple[str, os.stat_result]] = {}
        self._inside: Counter[tuple[int, int]] = Counter()

    def add(self, path: str, found: os.stat_result) -> None:
        """Notes a file, if it has more than one name.

        Args:
            path: Its path, relative to the model directory.
            found: Its status.
        """
        if found.st_nlink > 1:
            identity = found.st_dev, found.st_ino
            self._found[identity] = path, found
            self._inside[identity] += 1

    def check(self, root: Path, owner: int) -> None:
        """Refuses hard links that lead out of the model.

        Args:
            root: The model directory.
            owner: The user who owns it.

        Raises:
            InvalidModelError: There is one.
            InvalidInputError: The environment says something unknown.
        """
        for identity, (path, found) in self._found.items():
            outside = found.st_nlink - self._inside[identity]
            if not outside:
                continue
            if found.st_uid != owner:
                raise _foreign(root, path, found.st_uid, owner)
            if hard_links_allowed() is HardLinks.REFUSE and outside > _own(f"{root}/{path}"):
                raise _outside(root, path)


def mark_links(root: Path, paths: Iterable[str]) -> bool:
    """Notes on each file of a model that it is about to get one more name for each that it has.

    Before, and not after: who looks at the model meanwhile must not find a name too many.

    Args:
        root: The model directory.
        paths: Its files, relative.

    Returns:
        False where that cannot be noted: not on this system, or file system, or by this user.
    """
    inside: Counter[str] = Counter()
    names: dict[tuple[int, int], str] = {}
    for path in paths:
        found = syscalls.lstat(f"{root}/{path}")
        name = names.setdefault((found.st_dev, found.st_ino), path)
        inside[name] += 1
    for path, count in inside.items():
        outside = syscalls.lstat(f"{root}/{path}").st_nlink - count
        known = min(outside, _own(f"{root}/{path}"))  # some may have been removed
        try:
            syscalls.set_attribute(f"{root}/{path}", _ATTRIBUTE, str(known + count).encode())
        except OSError:
            return False
    return True


def _own(path: str) -> int:
    """Returns how many names of a file elsewhere this package has made."""
    with contextlib.suppress(OSError, ValueError):
        return int(syscalls.get_attribute(path, _ATTRIBUTE))
    return 0


def _foreign(root: Path, path: str, user: int, owner: int) -> InvalidModelError:
    return InvalidModelError(
        f"cannot publish {str(root)!r}",
        f"{path!r} in it is a hard link to a file outside that belongs to somebody else "
        f"(user {user}, the model belongs to {owner}), and publishing it would show its content to "
        "everybody",
        "copy the file itself into the model directory",
    )


def _outside(root: Path, path: str) -> InvalidModelError:
    return InvalidModelError(
        f"cannot publish {str(root)!r}",
        f"{path!r} in it is a hard link: the file has a name outside, too, where it can be "
        "written, and may be one that nobody wants published",
        "copy the file itself into the model directory; or, where a store of yours is made of hard "
        f"links, set {HARD_LINKS_VARIABLE}={HardLinks.SAME_OWNER.value}",
    )
