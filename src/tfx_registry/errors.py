"""One tree of errors; one class for each decision that a caller makes.

Every error says three things: what happened, why, and what to do next. They are kept apart as
attributes, so that a command line, a log and a page can lay them out as they like. Errors survive
pickling (Beam moves them between processes), and each class carries the exit code of the command
line.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AccessDeniedError",
    "AliasConflictError",
    "ApprovalsMissingError",
    "ConflictError",
    "IntegrityError",
    "InvalidExpressionError",
    "InvalidInputError",
    "InvalidModelError",
    "InvalidNameError",
    "InvalidPolicyError",
    "InvalidUriError",
    "ModelServerError",
    "NotFoundError",
    "NotServedError",
    "RefusedError",
    "RegistryError",
    "RejectedError",
    "ServingDirectoryError",
    "StoreUnavailableError",
]


class RegistryError(Exception):
    """The root of all errors that this package raises on purpose.

    Attributes:
        what: What was attempted and did not happen; names the thing and the value.
        why: The rule or the cause.
        todo: The next step for the person who reads it.
        exit_code: The exit code of `tfx-registry` for this class.
    """

    exit_code = 1

    def __init__(self, what: str, why: str = "", todo: str = "", **fields: Any) -> None:
        """Makes the error.

        Args:
            what: What did not happen.
            why: The rule or the cause.
            todo: What to do next.
            **fields: Facts that a program may want, set as attributes.
        """
        super().__init__(what, why, todo)
        self.what = what
        self.why = why
        self.todo = todo
        for name, value in fields.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        """One line: what: why; next step."""
        text = self.what
        if self.why:
            text += f": {self.why}"
        if self.todo:
            text += f"; {self.todo}"
        return " ".join(text.split())


class InvalidInputError(RegistryError):
    """The request itself is wrong. Correct it; repeating it will not help."""

    exit_code = 2


class InvalidNameError(InvalidInputError):
    """A name of a model, alias or label, or a version reference, breaks the grammar."""


class InvalidUriError(InvalidInputError):
    """The registry URI is malformed, unsupported or holds a password."""


class InvalidExpressionError(InvalidInputError):
    """A search expression does not follow the language, or asks what cannot be asked.

    Attributes:
        position: The character where the trouble begins, counted from 1.
    """

    position: int = 0


class InvalidModelError(InvalidInputError):
    """The model path is missing, empty, or not the kind of model that the step needs."""


class InvalidPolicyError(InvalidInputError):
    """A gate policy does not say what it must, or contradicts itself."""


class ServingDirectoryError(InvalidInputError):
    """The serving directory cannot take a version: it is a file, or not writable."""


class NotFoundError(RegistryError):
    """The model, version or alias does not exist. Check the name, or register it first.

    Attributes:
        model: The name where no model has it; None where something else is missing.
    """

    exit_code = 3
    model: str | None = None


class RefusedError(RegistryError):
    """A rule forbids it: gate, approval or state. Satisfy the rule, then repeat."""

    exit_code = 4


class ApprovalsMissingError(RefusedError):
    """Not enough people have approved yet. Wait for them; nothing is wrong with the version."""


class AccessDeniedError(RefusedError):
    """The access policy does not let this actor do that. Ask an admin of the registry."""


class RejectedError(RefusedError):
    """Somebody rejected the version. Talk to them; their approval takes it back."""


class IntegrityError(RefusedError):
    """Bytes are not the bytes that were registered. Find out who changed them."""


class NotServedError(RefusedError):
    """A model server did not make the version available. Look at its log, correct, and repeat."""


class ConflictError(RegistryError):
    """Somebody else was faster. Read the new state, then decide again."""

    exit_code = 5


class AliasConflictError(ConflictError):
    """The alias does not point at the expected version any more.

    Attributes:
        expected: The version number that the caller expected; None for "not set".
        actual: The version number that the alias points at; None for "not set".
    """

    expected: int | None = None
    actual: int | None = None


class StoreUnavailableError(RegistryError):
    """The store cannot be reached or written. Repeat once it can; nothing was half-written."""

    exit_code = 6


class ModelServerError(RegistryError):
    """A model server cannot be asked. Repeat once it answers; nothing was changed there."""

    exit_code = 6
