"""The grammar of names, written once: models, aliases, labels and version references.

Names become parts of database keys and of paths that people type, so the grammar is narrow. Two
model names that differ only in case are the same model: MySQL compares names that way, and so do
the file systems of macOS and Windows.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

from tfx_registry.errors import InvalidNameError

__all__ = [
    "RESERVED_ALIASES",
    "SemanticVersion",
    "VersionRef",
    "check_actor",
    "check_alias",
    "check_label",
    "check_model_name",
    "check_text",
    "check_version_number",
    "model_key",
]

_MODEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,127}")
_ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_KEY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]|/(?!/)){0,127}")
_SEMANTIC_VERSION = re.compile(
    r"(?P<major>0|[1-9]\d{0,17})\.(?P<minor>0|[1-9]\d{0,17})\.(?P<patch>0|[1-9]\d{0,17})"
    r"(?:-(?P<prerelease>(?:0|[1-9]\d{0,17}|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
    r"(?:\.(?:0|[1-9]\d{0,17}|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+(?P<build>[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?",
    re.ASCII,
)
_NUMBER = re.compile(r"[1-9][0-9]{0,18}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

#: Words that already mean something in a version reference.
RESERVED_ALIASES = frozenset({"latest"})

#: The largest version number: TensorFlow Serving parses directory names as signed 64-bit integers
#: (tensorflow_serving/sources/storage_path/file_system_storage_path_source.cc).
MAX_VERSION = 2**63 - 1

_MAX_LABEL_VALUE = 1024
_MAX_TEXT = 1_000_000


def _shown(value: object) -> str:
    """Shows what breaks a rule, or how it begins: an error is one line."""
    try:
        shown = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        shown = "with thousands of digits"
    return shown if len(shown) <= 80 else shown[:77] + "..."


def check_model_name(name: object) -> str:
    """Checks the name of a model.

    Args:
        name: 1 to 128 ASCII letters, digits, `_`, `-` and single dots, beginning with a letter or
            a digit.

    Returns:
        The name, unchanged.

    Raises:
        InvalidNameError: The name breaks the grammar.
    """
    if isinstance(name, str) and _MODEL.fullmatch(name):
        return name
    raise InvalidNameError(
        f"invalid model name {_shown(name)}",
        "a model name is 1 to 128 letters, digits, '_', '-' or single dots and begins with a "
        "letter or a digit",
        "choose another name",
    )


def model_key(name: str) -> str:
    """Returns what makes two model names the same model (their case-folded form)."""
    return name.casefold()


def check_alias(alias: object) -> str:
    """Checks an alias.

    Args:
        alias: 1 to 63 lower-case ASCII letters, digits, `_` and `-`, beginning with a letter, and
            not a reserved word.

    Returns:
        The alias, unchanged.

    Raises:
        InvalidNameError: The alias breaks the grammar or is reserved.
    """
    if not isinstance(alias, str) or not _ALIAS.fullmatch(alias):
        raise InvalidNameError(
            f"invalid alias {_shown(alias)}",
            "an alias is 1 to 63 lower-case letters, digits, '_' or '-' and begins with a letter",
            "choose another alias, for example 'production'",
        )
    if alias.casefold() in RESERVED_ALIASES:
        raise InvalidNameError(
            f"invalid alias {_shown(alias)}",
            "it is reserved: it always means the newest version",
            "choose another alias, for example 'production'",
        )
    return alias


def check_actor(actor: object) -> str:
    """Checks the name of who acts.

    Args:
        actor: 1 to 256 characters of text without control characters, and without spaces around
            it: `ada` and `ada ` would look like one person and count as two.

    Returns:
        The name, unchanged.

    Raises:
        InvalidNameError: It is no such text.
    """
    if (
        not isinstance(actor, str)
        or not 1 <= len(actor) <= 256
        or _CONTROL.search(actor)
        or actor != actor.strip()
    ):
        raise InvalidNameError(
            f"invalid actor {_shown(actor)}",
            "an actor is 1 to 256 characters without control characters, and no space around them",
            "set TFX_REGISTRY_ACTOR",
        )
    return check_text(actor, "actor")


def check_label(key: object, value: object) -> tuple[str, str]:
    """Checks one label.

    Args:
        key: 1 to 128 ASCII letters, digits, `_`, `-`, `.` and single `/`, beginning with a letter
            or a digit.
        value: Up to 1,024 characters of text without control characters.

    Returns:
        Key and value, unchanged.

    Raises:
        InvalidNameError: One of them breaks the grammar.
    """
    if not isinstance(key, str) or not _LABEL_KEY.fullmatch(key):
        raise InvalidNameError(
            f"invalid label key {_shown(key)}",
            "a label key is 1 to 128 letters, digits, '_', '-', '.' or single '/' and begins with "
            "a letter or a digit",
            "choose another key",
        )
    if not isinstance(value, str) or len(value) > _MAX_LABEL_VALUE or _CONTROL.search(value):
        raise InvalidNameError(
            f"invalid value {_shown(value)} of label {key!r}",
            f"a label value is text of at most {_MAX_LABEL_VALUE} characters without control "
            "characters",
            "shorten it, or put long text into the description",
        )
    check_text(value, f"value of label {key!r}")
    return key, value


def check_text(text: object, what: str) -> str:
    """Checks free text such as a description or a reason.

    Args:
        text: Any text that UTF-8 can carry, up to 1,000,000 characters.
        what: What the text is, for the error.

    Returns:
        The text, unchanged.

    Raises:
        InvalidNameError: It is no text, too long, or holds lone surrogates.
    """
    if not isinstance(text, str):
        raise InvalidNameError(f"invalid {what}", f"it is {type(text).__name__}, not text", "")
    if len(text) > _MAX_TEXT:
        raise InvalidNameError(
            f"invalid {what}",
            f"{len(text)} characters are more than {_MAX_TEXT}",
            "store the long form elsewhere and link to it",
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidNameError(
            f"invalid {what}", f"it cannot be written as UTF-8 ({error.reason})", "re-encode it"
        ) from error
    return text


def check_version_number(number: object) -> int:
    """Checks a version number.

    Args:
        number: A positive integer below 2**63.

    Returns:
        The number.

    Raises:
        InvalidNameError: It is not such a number.
    """
    if isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= MAX_VERSION:
        return number
    raise InvalidNameError(
        f"invalid version number {_shown(number)}",
        "version numbers are the integers 1, 2, 3, ...",
        "list the versions with 'tfx-registry versions MODEL'",
    )


@functools.total_ordering
@dataclass(frozen=True)
class SemanticVersion:
    """A semantic version, ordered by precedence (semver.org 2.0.0, item 11).

    Law: `str(SemanticVersion.parse(text)) == text`. Build metadata does not count in the order.

    Attributes:
        major: Raised by incompatible changes.
        minor: Raised by compatible additions.
        patch: Raised by corrections.
        prerelease: Identifiers after the hyphen.
        build: Identifiers after the plus sign.
    """

    major: int
    minor: int
    patch: int
    prerelease: tuple[str, ...] = ()
    build: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> SemanticVersion:
        """Reads a semantic version.

        Raises:
            InvalidNameError: The text is none.
        """
        match = _SEMANTIC_VERSION.fullmatch(text)
        if match is None:
            raise InvalidNameError(
                f"invalid semantic version {_shown(text)}",
                "it is MAJOR.MINOR.PATCH with an optional -prerelease and +build",
                "write for example 1.4.0",
            )
        prerelease, build = match["prerelease"], match["build"]
        return cls(
            int(match["major"]),
            int(match["minor"]),
            int(match["patch"]),
            tuple(prerelease.split(".")) if prerelease else (),
            tuple(build.split(".")) if build else (),
        )

    def __str__(self) -> str:
        """The text that parses back to this version."""
        text = f"{self.major}.{self.minor}.{self.patch}"
        text += f"-{'.'.join(self.prerelease)}" if self.prerelease else ""
        return text + (f"+{'.'.join(self.build)}" if self.build else "")

    def __lt__(self, other: SemanticVersion) -> bool:
        """Compares by precedence."""
        return self._precedence() < other._precedence()

    def _precedence(self) -> tuple[Any, ...]:
        # A release comes after its prereleases; numbers come before words.
        identifiers = tuple(
            (0, int(part), "") if part.isdecimal() else (1, 0, part) for part in self.prerelease
        )
        return (self.major, self.minor, self.patch, not self.prerelease, identifiers)


@dataclass(frozen=True, order=True)
class VersionRef:
    """A reference to one version: `name:3`, `name@alias`, or `name` for the latest.

    Law: `VersionRef.parse(str(ref)) == ref`.

    Attributes:
        model: Name of the model.
        number: Version number, or None.
        alias: Alias, or None. At most one of number and alias is given.
    """

    model: str
    number: int | None = None
    alias: str | None = None

    def __post_init__(self) -> None:
        """Checks each part."""
        check_model_name(self.model)
        if self.number is not None and self.alias is not None:
            raise InvalidNameError(
                f"invalid reference to {self.model!r}",
                "a version is named by a number or by an alias, not by both",
                "use name:3 or name@alias",
            )
        if self.number is not None:
            check_version_number(self.number)
        if self.alias is not None:
            check_alias(self.alias)

    @classmethod
    def parse(cls, text: str) -> VersionRef:
        """Reads a reference.

        Args:
            text: `name`, `name:3`, `name@alias`; `name@latest` and `name:latest` mean `name`.

        Returns:
            The reference.

        Raises:
            InvalidNameError: The text is none of these.
        """
        for separator in ":@":
            name, found, rest = text.partition(separator)
            if not found:
                continue
            if rest.casefold() == "latest":
                return cls(check_model_name(name))
            if separator == "@":
                return cls(name, alias=check_alias(rest))
            if not _NUMBER.fullmatch(rest):
                raise InvalidNameError(
                    f"invalid version reference {_shown(text)}",
                    f"{_shown(rest)} is not a version number",
                    "write name:3, name@alias, or name for the latest version",
                )
            return cls(name, number=int(rest))
        return cls(text)

    def __str__(self) -> str:
        """The text that parses back to this reference."""
        if self.number is not None:
            return f"{self.model}:{self.number}"
        if self.alias is not None:
            return f"{self.model}@{self.alias}"
        return self.model
