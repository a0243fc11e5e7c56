"""Registry URIs: where the registry lives, never a secret.

Execution properties and compiled pipelines keep the URI in clear text, so a password in it is
refused.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from tfx_registry.errors import InvalidUriError

__all__ = ["REGISTRY_URI_VARIABLE", "RegistryUri", "default_uri"]

#: The environment variable that names the registry where no URI is given.
REGISTRY_URI_VARIABLE = "TFX_REGISTRY_URI"

_SECRET_QUERY_KEYS = frozenset({"password", "passwd", "pwd", "secret", "token"})
_EXAMPLES = "use sqlite:///relative/path.sqlite, sqlite:////absolute/path.sqlite, or memory://"


@dataclass(frozen=True)
class RegistryUri:
    """A parsed registry URI.

    Attributes:
        scheme: "sqlite" or "memory".
        path: The database file for "sqlite"; three slashes in the URI mean a path relative to
            the working directory, four an absolute one (SQLAlchemy's convention).
    """

    scheme: str
    path: str = ""

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
            password, scheme = parts.password, parts.scheme
        except (ValueError, AttributeError) as error:
            raise InvalidUriError("invalid registry URI", str(error), _EXAMPLES) from error
        query_keys = {key.casefold() for key, _ in parse_qsl(parts.query, keep_blank_values=True)}
        if password is not None or query_keys & _SECRET_QUERY_KEYS:
            raise InvalidUriError(
                f"invalid registry URI of scheme {scheme!r}",
                "it holds a password, and URIs are stored in clear text in ML Metadata and in "
                "compiled pipelines",
                "leave the password out and set TFX_REGISTRY_PASSWORD or "
                "TFX_REGISTRY_PASSWORD_FILE",
            )
        if scheme == "memory" and text == "memory://":
            return cls("memory")
        if scheme != "sqlite":
            raise InvalidUriError(
                f"invalid registry URI {text!r}",
                f"the scheme {scheme!r} is not supported" if scheme else "it has no scheme",
                _EXAMPLES,
            )
        path = text[len("sqlite:///") :]
        if not text.startswith("sqlite:///") or not path or path.endswith("/"):
            raise InvalidUriError(
                f"invalid registry URI {text!r}", "it names no database file", _EXAMPLES
            )
        return cls("sqlite", path)

    def absolute(self) -> RegistryUri:
        """Returns the same URI with an absolute path, for use from another working directory."""
        return RegistryUri(self.scheme, str(Path(self.path).absolute()) if self.path else "")

    def __str__(self) -> str:
        """The text that parses back to this URI."""
        return f"{self.scheme}:///{self.path}" if self.path else f"{self.scheme}://"


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
