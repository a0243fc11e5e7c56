"""Registry URIs: where the registry lives, never a secret.

Execution properties and compiled pipelines keep the URI in clear text, so a password in it is
refused.
"""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from tfx_registry.errors import InvalidUriError

__all__ = ["REGISTRY_URI_VARIABLE", "RegistryUri", "default_uri"]

#: The environment variable that names the registry where no URI is given.
REGISTRY_URI_VARIABLE = "TFX_REGISTRY_URI"

_EXAMPLES = (
    "use sqlite:///relative/path.sqlite, sqlite:////absolute/path.sqlite, "
    "mysql://user@host:3306/database, postgresql://user@host:5432/database, grpc://host:8080, "
    "or memory://"
)

_DEFAULT_PORTS = {"mysql": 3306, "postgresql": 5432, "grpc": 8080}

#: The options of each scheme. They name files and modes, never their content.
_OPTIONS = {
    "mysql": (
        "ssl_ca", "ssl_capath", "ssl_cert", "ssl_cipher", "ssl_key", "ssl_verify_server_cert",
    ),
    "postgresql": ("sslcert", "sslkey", "sslmode", "sslrootcert"),
    "grpc": ("ssl_ca", "ssl_cert", "ssl_key", "timeout_seconds", "tls"),
    "sqlite": ("journal",),
}  # fmt: skip
_CHOICES = {
    "journal": ("wal", "delete"),
    "ssl_verify_server_cert": ("true", "false"),
    "tls": ("true", "false"),
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
}

_SECRET_KEY = re.compile(r"pass|pwd|secret|token|credential", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_HOST = re.compile(
    r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?|[0-9a-f:.]*:[0-9a-f:.]*(?:%[a-z0-9]+)?"
)
_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_QUERY = re.compile(r"[a-z_]+=")
_SECONDS = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,3})?")


@dataclass(frozen=True)
class RegistryUri:
    """A parsed registry URI.

    Law: `RegistryUri.parse(str(uri)) == uri` for every uri that `parse` returns.

    Attributes:
        scheme: "sqlite", "memory", "mysql", "postgresql" or "grpc".
        path: The database file for "sqlite"; three slashes in the URI mean a path relative to
            the working directory, four an absolute one (SQLAlchemy's convention).
        host: Name or address of the server, in lower case.
        port: Port of the server.
        user: User of the database server.
        database: Name of the database on the server.
        options: TLS options, time limits, or the journal of SQLite, by name, in order of the name.
    """

    scheme: str
    path: str = ""
    host: str = ""
    port: int = 0
    user: str = ""
    database: str = ""
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> RegistryUri:
        """Reads a URI.

        Args:
            text: The URI.

        Returns:
            The parsed URI.

        Raises:
            InvalidUriError: It is malformed, of an unsupported kind, or holds a password. The
                message never repeats the password.
        """
        try:
            parts = urlsplit(text)
            port = parts.port
        except (ValueError, AttributeError, TypeError):
            # Their messages may repeat the text, and with it a password.
            raise InvalidUriError("invalid registry URI", "it is malformed", _EXAMPLES) from None
        _refuse_password(text, parts)
        if _CONTROL.search(text):
            raise _invalid(text, "it holds a control character")
        if _SURROGATE.search(text):
            raise _invalid(text, "it holds bytes that are no UTF-8, which ML Metadata cannot take")
        if text == "memory://":
            return cls("memory")
        if parts.scheme == "sqlite":
            path, query = _split_file(text[len("sqlite:///") :])
            if not text.startswith("sqlite:///") or not path or path.endswith("/"):
                raise _invalid(text, "it names no database file")
            if path == ":memory:" or path.startswith("file:"):
                raise _invalid(text, "SQLite would take it for a database in memory or a URI")
            return cls("sqlite", path, options=_options(text, "sqlite", query))
        if parts.scheme not in _DEFAULT_PORTS:
            raise _invalid(
                text,
                f"the scheme {parts.scheme!r} is not supported"
                if parts.scheme
                else "it has no scheme",
            )
        return _parse_server(text, parts, port)

    def absolute(self) -> RegistryUri:
        """Returns the same URI with an absolute path, for use from another working directory."""
        if not self.path:
            return self
        return dataclasses.replace(self, path=str(Path(self.path).absolute()))

    def option(self, name: str) -> str:
        """Returns an option, or "" where it is not given."""
        return dict(self.options).get(name, "")

    def __str__(self) -> str:
        """The text that parses back to this URI."""
        options = "?" + urlencode(self.options) if self.options else ""
        if self.scheme == "sqlite":
            return f"sqlite:///{self.path}{options}"
        if self.scheme == "memory":
            return "memory://"
        user = quote(self.user, safe="") + "@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        database = f"/{self.database}" if self.database else ""
        return f"{self.scheme}://{user}{host}:{self.port}{database}{options}"


def default_uri() -> str:
    """Returns the registry URI of the environment.

    Raises:
        InvalidUriError: The variable `TFX_REGISTRY_URI` is not set.
    """
    text = os.environ.get(REGISTRY_URI_VARIABLE, "")
    if not text:
        raise InvalidUriError(
            "no registry given",
            f"there is no URI and the variable {REGISTRY_URI_VARIABLE} is not set",
            "pass the URI, for example sqlite:///metadata.sqlite, or set the variable",
        )
    return text


def _parse_server(text: str, parts: SplitResult, port: int | None) -> RegistryUri:
    scheme = parts.scheme
    host, user = (parts.hostname or "").lower(), unquote(parts.username or "")
    database = unquote(parts.path[1:])
    if not _HOST.fullmatch(host):
        raise _invalid(text, "it names no host" if not host else "the name of the host is odd")
    if port == 0 or parts.fragment or parts.netloc.endswith(":"):
        raise _invalid(text, "the port is 0 or missing" if not parts.fragment else "it holds a '#'")
    if scheme == "grpc":
        if user or parts.path not in ("", "/"):
            raise _invalid(text, "ML Metadata's gRPC service knows no users and no databases")
    elif not user or len(user) > 128 or _CONTROL.search(user) or "\ufffd" in user:
        raise _invalid(text, "it names no user" if not user else "the name of the user is odd")
    elif not _DATABASE.fullmatch(database) or (
        scheme == "postgresql" and database.lower() != database
    ):
        case = " in lower case" if scheme == "postgresql" else ""
        raise _invalid(
            text,
            f"the name of a database is 1 to 63 letters{case}, digits or '_' and begins with no "
            "digit: ML Metadata takes no others",
        )
    options = _options(text, scheme, parts.query)
    return RegistryUri(scheme, "", host, port or _DEFAULT_PORTS[scheme], user, database, options)


def _split_file(text: str) -> tuple[str, str]:
    """Splits options from the path of a file, which may hold a "?" itself."""
    path, mark, query = text.rpartition("?")
    return (path, query) if mark and _QUERY.match(query) else (text, "")


def _options(text: str, scheme: str, query: str) -> tuple[tuple[str, str], ...]:
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    for name, value in options.items():
        if name not in _OPTIONS[scheme]:
            raise _invalid(
                text, f"it has an unknown option; known are {', '.join(_OPTIONS[scheme])}"
            )
        choices = _CHOICES.get(name)
        if (
            not value
            or _CONTROL.search(value)
            or (choices and value not in choices)
            or (name == "timeout_seconds" and not (_SECONDS.fullmatch(value) and float(value)))
        ):
            wanted = " or ".join(choices) if choices else "given"
            wanted = "a number of seconds" if name == "timeout_seconds" else wanted
            raise _invalid(text, f"the option {name!r} must be {wanted}")
    if len(pairs) != len(options):
        raise _invalid(text, "an option is given twice")
    return tuple(sorted(options.items()))


def _refuse_password(text: str, parts: SplitResult) -> None:
    fields = parse_qsl(f"{parts.query}&{parts.fragment}", keep_blank_values=True)
    # An '@' in what is no host part: two of them, or "user:password@host" without a scheme.
    before, at, _ = (
        text.partition("//")[2].rpartition("@") if "//" in text else text.rpartition("@")
    )
    user = unquote(unquote(before)) if at and parts.scheme != "sqlite" else ""
    if ":" in user or any(_SECRET_KEY.search(unquote(key)) for key, _ in fields):
        scheme = parts.scheme if parts.scheme in (*_DEFAULT_PORTS, "sqlite", "memory") else ""
        raise InvalidUriError(
            f"invalid registry URI{f' of scheme {scheme!r}' if scheme else ''}",
            "it holds a password, and URIs are stored in clear text in ML Metadata and in "
            "compiled pipelines",
            "leave the password out and set TFX_REGISTRY_PASSWORD or TFX_REGISTRY_PASSWORD_FILE",
        )


def _invalid(text: str, why: str) -> InvalidUriError:
    # Options are left out: one that is misspelled may hold what should not be shown.
    return InvalidUriError(f"invalid registry URI {text.partition('?')[0]!r}", why, _EXAMPLES)
