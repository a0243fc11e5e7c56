"""What ML Metadata's errors mean, in words: what is wrong with a database, and what to do."""

from __future__ import annotations

import re

from tfx_registry.errors import StoreUnavailableError
from tfx_registry.registry.probe import Database, Problem
from tfx_registry.registry.signs import looks_lost
from tfx_registry.registry.uri import RegistryUri

__all__ = ["cannot_open", "missing_database", "open_problem", "several_names", "unavailable"]


def cannot_open(uri: RegistryUri, problem: Problem) -> StoreUnavailableError:
    """Returns the error for a registry that cannot be opened."""
    return StoreUnavailableError(f"cannot open the registry at {uri}", problem.why, problem.todo)


def unavailable(uri: RegistryUri, error: Exception) -> StoreUnavailableError:
    """Returns the error for a call to ML Metadata that failed, after which nothing was written."""
    text = " ".join(str(error).split()) or type(error).__name__
    damaged = re.search(
        r"database disk image is malformed|malformed database schema|file is not a database", text
    )
    if damaged and uri.scheme == "sqlite":
        why = f"its file is damaged ({damaged[0]})"
        todo = (
            "copy it, and restore a backup; 'tfx-registry fsck' names what it can still read, and "
            "sqlite3's '.recover' saves rows"
        )
        return StoreUnavailableError(f"the registry at {uri} cannot be read", why, todo)
    if re.search(r"readonly|read-only|read only", text, re.IGNORECASE):
        why, todo = "it cannot be written", "let this user write to it and to its folder"
    elif re.search(
        r"disk is full|no space left|is full|could not extend|disk space", text, re.IGNORECASE
    ):
        why, todo = "its disk is full", "free some space"
    elif re.search(r"command denied|permission denied|access denied", text, re.IGNORECASE):
        why = f"this user may not write to it ({_end(text)})"
        todo = "let an administrator give the user all rights on the database"
    elif looks_lost(text) and uri.scheme == "mysql":
        why = f"the connection is lost each time ({_cut(text)})"
        todo = "look into the log of the server; max_allowed_packet may be too small"
    else:
        why = _end(text)
        todo = "check that it is a database of ML Metadata, readable and writable"
    return StoreUnavailableError(
        f"the registry at {uri} did not answer",
        why,
        f"{todo}; then repeat: nothing was half-written",
    )


def several_names(uri: RegistryUri, error: Exception) -> StoreUnavailableError:
    """Returns the error for a write to a file that has several names."""
    return StoreUnavailableError(
        f"cannot write to the registry at {uri}",
        f"{error}; under each it has another lock and another journal, and writers under two names "
        "would destroy it",
        f"find them with 'find DIRECTORY -samefile {uri.path}' and keep one name, or copy the file "
        "and put the copy in its place; nothing was written",
    )


def missing_database(uri: RegistryUri, found: Database) -> Problem:
    """Says that there is no database, or an empty one, where none shall be made."""
    missing = found is Database.MISSING
    if uri.scheme == "sqlite":
        return Problem(
            "the database file does not exist" if missing else "the database file is empty",
            "check the path (three slashes mean relative to the working directory), or "
            "register a first version to create it",
        )
    return Problem(
        f"the database {uri.database!r} " + ("does not exist" if missing else "is empty"),
        f"check the name, or create it (CREATE DATABASE {uri.database}) and register a first "
        "version",
    )


def open_problem(uri: RegistryUri, found: Database, error: Exception) -> Problem:
    """Says why ML Metadata could not open what the probe has just opened."""
    why = _cut(" ".join(str(error).split()))
    if found is Database.MISSING and uri.scheme != "sqlite":
        return Problem(
            f"the database {uri.database!r} does not exist, and the user {uri.user!r} could not "
            f"create it ({why})",
            f"let an administrator run: CREATE DATABASE {uri.database}, and give the user all "
            "rights on it",
        )
    if uri.scheme == "postgresql" and not str(error).partition("error:")[2].strip():
        # What libpq says is lost. Logging in with the same values has just worked, with TLS.
        return Problem(
            "the server lets this user in, but the PostgreSQL client inside ML Metadata could not "
            "connect; the one in the wheels of 1.16 and 1.21 knows no TLS",
            "use sslmode=disable or prefer with a server that allows it, and protect the way "
            "there with a tunnel, or connect to an ML Metadata server (grpc://) with TLS",
        )
    if uri.options:
        return Problem(f"ML Metadata could not connect ({why})", "check the TLS options of the URI")
    return Problem(
        f"ML Metadata could not open it ({why})",
        "check that it is a database of ML Metadata, and that this user may read, write and make "
        "tables there",
    )


def _end(text: str) -> str:
    """Cuts text from the front: ML Metadata repeats the request before it says what is wrong."""
    return text if len(text) <= 300 else "..." + text[-297:]


def _cut(text: str) -> str:
    return text if len(text) <= 300 else text[:297] + "..."
