"""Asks a server what is wrong, because ML Metadata does not say.

Before ML Metadata connects, `probe` does: it names what stands in the way, and finds out whether
the database is missing, empty, one of ML Metadata, or one of another program. In the last case
ML Metadata would put its tables beside the others, so that is refused.
"""

from __future__ import annotations

import enum
import re
import socket
import ssl
from collections.abc import Collection
from dataclasses import dataclass

from tfx_registry.registry.connections import (
    PASSWORD_FILE_VARIABLE,
    PASSWORD_VARIABLE,
    tls_options,
)
from tfx_registry.registry.uri import RegistryUri
from tfx_registry.registry.wire import Client, ServerRefusedError, UnsupportedServerError
from tfx_registry.registry.wire_mysql import MySqlClient
from tfx_registry.registry.wire_postgresql import PostgreSqlClient

__all__ = [
    "Database",
    "Problem",
    "explain_missing_tables",
    "judge_tables",
    "probe",
]

_TIMEOUT_SECONDS = 10.0

#: Tables of ML Metadata, in lower case (PostgreSQL folds them).
_MLMD_TABLES = frozenset(
    {
        "artifact", "artifactproperty", "association", "attribution", "context",
        "contextproperty", "event", "eventpath", "execution", "executionproperty", "mlmdenv",
        "parentcontext", "parenttype", "type", "typeproperty",
    }
)  # fmt: skip

#: Those of them that are empty until something is stored.
_TABLES_OF_DATA = frozenset({"artifact", "context", "execution"})

_TOO_MANY = "ask for more connections on the server, or close some; then repeat"


class Database(enum.Enum):
    """What is there."""

    READY = "tables of ML Metadata"
    EMPTY = "no tables"
    MISSING = "no such database"
    UNKNOWN = "could not be looked at"


@dataclass(frozen=True)
class Problem:
    """What stands in the way.

    Attributes:
        why: The cause.
        todo: The next step.
        passes: Whether it may pass without anybody doing anything: a server that restarts.
    """

    why: str
    todo: str
    passes: bool = False


def probe(uri: RegistryUri, password: str) -> Database | Problem:
    """Looks at a database server.

    Args:
        uri: A "mysql", "postgresql" or "grpc" URI.
        password: The password, or "".

    Returns:
        What is there, or what stands in the way.
    """
    where = f"{uri.host}:{uri.port}"
    try:
        if uri.scheme == "grpc":
            with Client(uri.host, uri.port, _TIMEOUT_SECONDS):
                return Database.UNKNOWN
        return judge_tables(_tables(uri, password))
    except ServerRefusedError as error:
        if error.code in ("1049", "3D000"):
            return Database.MISSING
        return _explain(uri, password, error)
    except UnsupportedServerError as error:
        if "authentication" in str(error):
            return Database.UNKNOWN
        return Problem(
            f"what answers on {where} is no {_name(uri)}: {error}", "check host and port"
        )
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason or str(error)
        return Problem(f"TLS with {where} failed: {reason}", "check the TLS options of the URI")
    except socket.gaierror as error:
        return Problem(
            f"the host name {uri.host!r} is not known ({error.strerror})", "check the host"
        )
    except FileNotFoundError as error:
        return Problem(f"a file of the TLS options is missing: {error.strerror}", "check its path")
    except TimeoutError:
        return Problem(
            f"{where} did not answer as {_name(uri)} does within {_TIMEOUT_SECONDS:g} s",
            "check host and port, and whether a firewall is in between",
            passes=True,
        )
    except OSError as error:
        cause = "nobody listens there" if error.errno == 111 else error.strerror or str(error)
        return Problem(
            f"cannot reach {_name(uri)} on {where}: {cause}",
            "check host and port, and that the server runs",
            passes=True,
        )


def explain_missing_tables(uri: RegistryUri, password: str, error: str) -> Problem | None:
    """Says why some tables of ML Metadata are missing, after waiting for others to make them.

    Args:
        uri: Where.
        password: The password, or "".
        error: What ML Metadata said.

    Returns:
        The problem, or None if the error is another one.
    """
    if not re.search(r"subset of tables|no schema_version can be found", error):
        return None
    found: set[str] = set()
    holds_data = uri.scheme != "mysql"  # the others make all tables in one transaction
    if uri.scheme == "mysql":
        try:
            with MySqlClient(uri.host, uri.port, _TIMEOUT_SECONDS) as mysql:
                mysql.log_in(uri.user, password, tls_options(uri))
                found = mysql.tables(uri.database)
                data = [name for name in found if name.casefold() in _TABLES_OF_DATA]
                holds_data = any(mysql.has_rows(name) for name in data)
        except (OSError, ServerRefusedError, UnsupportedServerError):
            return None
    if holds_data:
        missing = ", ".join(sorted(_MLMD_TABLES - {name.casefold() for name in found}))
        return Problem(
            "tables of ML Metadata are missing, and others are there"
            + (f": it has no {missing}" if found and missing else ""),
            "restore the database from a backup; nothing was changed here",
        )
    return Problem(
        f"only half made: a first start was cut off after {len(found)} tables, and MySQL does not "
        "undo that; nothing was stored in it yet",
        "if no other process is starting right now, let an administrator run: "
        f"DROP DATABASE {uri.database}; CREATE DATABASE {uri.database}; then repeat",
    )


def judge_tables(tables: Collection[str]) -> Database | Problem:
    """Says whose tables these are."""
    names = {name.casefold() for name in tables}
    if not names:
        return Database.EMPTY
    # A first start that was cut off leaves some of the tables; ML Metadata itself judges that.
    if names & {"mlmdenv"} or names <= _MLMD_TABLES:
        return Database.READY
    some = ", ".join(sorted(tables)[:3])
    return Problem(
        f"the database belongs to another program: it holds other tables ({some}) and none of "
        "ML Metadata",
        "name a database of its own for the registry, or one of ML Metadata; this one was not "
        "touched",
    )


def _tables(uri: RegistryUri, password: str) -> set[str]:
    tls = tls_options(uri)
    if uri.scheme == "mysql":
        with MySqlClient(uri.host, uri.port, _TIMEOUT_SECONDS) as mysql:
            mysql.log_in(uri.user, password, tls)
            return mysql.tables(uri.database)
    with PostgreSqlClient(uri.host, uri.port, _TIMEOUT_SECONDS) as postgresql:
        postgresql.log_in(uri.user, password, uri.database, tls)
        return postgresql.tables()


def _explain(uri: RegistryUri, password: str, error: ServerRefusedError) -> Problem:
    who = f"the user {uri.user!r}"
    if error.code in ("1045", "28P01") or (error.code == "28000" and "password" in error.message):
        given = "the password is wrong" if password else "no password was given"
        return Problem(
            f"{_name(uri)} does not let {who} in: {given}, or there is no such user"
            + (" that may come without TLS" if uri.scheme == "mysql" and not uri.options else ""),
            f"set {PASSWORD_VARIABLE} or {PASSWORD_FILE_VARIABLE}, and check the user in the URI",
        )
    if error.code == "1044":
        return Problem(
            f"{who} has no rights on the database {uri.database!r}, or it does not exist",
            f"let an administrator run: CREATE DATABASE IF NOT EXISTS {uri.database}; "
            f"GRANT ALL ON {uri.database}.* TO '{uri.user}'",
        )
    said = f"{_name(uri)} answers: {error.message} ({error.code})"
    if error.code in ("1040", "53300"):
        return Problem(said, _TOO_MANY, passes=True)
    if error.code in ("57P03", "57P01", "57P02", "1053"):
        return Problem(said, "wait until the server is up", passes=True)
    if error.code in ("08001", "2026", "3159"):
        return Problem(said, "check the TLS options of the URI, and those of the server")
    return Problem(said, "ask the administrator of the database to let this user in from here")


def _name(uri: RegistryUri) -> str:
    return {"mysql": "MySQL", "postgresql": "PostgreSQL", "grpc": "an ML Metadata server"}[
        uri.scheme
    ]
