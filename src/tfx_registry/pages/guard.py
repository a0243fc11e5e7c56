"""Who may ask: addresses, host names, the token, and the headers of every answer.

Nothing here needs Flask, so all of it is tested as plain functions.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tfx_registry.errors import InvalidInputError, RefusedError

__all__ = [
    "TOKEN_VARIABLE",
    "Guard",
    "check_binding",
    "cookie_name",
    "is_loopback",
    "read_token",
    "security_headers",
]

#: The environment variable that holds the token.
TOKEN_VARIABLE = "TFX_REGISTRY_UI_TOKEN"
#: How names of cookies begin that stand for the token once it was shown.
_COOKIE = "tfx_registry_ui"

_MIN_TOKEN = 16
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Tells whether only this machine can reach an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(file: str | None) -> str | None:
    """Returns the token, or None where none is given.

    Args:
        file: A file that holds it; None means the variable `TFX_REGISTRY_UI_TOKEN`.

    Raises:
        InvalidInputError: The file cannot be read, or the token is too short. The message holds
            nothing of the token.
    """
    where = f"the file {file!r}" if file is not None else f"the variable {TOKEN_VARIABLE}"
    if file is not None:
        try:
            token = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise InvalidInputError(
                f"cannot read the token in {where}", why, "correct the path or the file"
            ) from None
    elif TOKEN_VARIABLE in os.environ:
        token = os.environ[TOKEN_VARIABLE].strip()
    else:
        return None
    if len(token) < _MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidInputError(
            f"cannot use the token in {where}",
            f"it needs at least {_MIN_TOKEN} ASCII characters without blanks",
            "make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )
    return token


def cookie_name(port: str) -> str:
    """Returns the name of the cookie that stands for the token of one server.

    A browser keeps cookies by host name and leaves the port out. Two servers on one machine, or two
    machines behind tunnels to this one, would take each other's cookie away.

    Args:
        port: The port that is listened on.
    """
    place = f"{socket.gethostname()}:{port}"
    return f"{_COOKIE}_{hashlib.sha256(place.encode()).hexdigest()[:8]}"


def check_binding(
    host: str, *, allow_remote: bool, token: str | None, names: Sequence[str]
) -> None:
    """Refuses to be reachable from elsewhere unless that is wanted and protected.

    Args:
        host: The address to listen on.
        allow_remote: Whether it was said that others may reach it.
        token: The token, or None.
        names: Names that visitors may use for this machine, beside the address.

    Raises:
        RefusedError: The address is no loopback address, and the flag or the token is missing.
        InvalidInputError: It stands for all addresses, and no name is given.
    """
    if is_loopback(host):
        return
    missing = [
        text
        for text, there in (("--allow-remote", allow_remote), ("a token", token is not None))
        if not there
    ]
    if missing:
        raise RefusedError(
            f"cannot serve pages on {host!r}",
            f"others could reach it, and {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing",
            f"give --allow-remote and a token ({TOKEN_VARIABLE} or --token-file), behind a proxy "
            "that speaks TLS; or leave --host out and use ssh -L",
        )
    if _is_any(host) and not names:
        raise InvalidInputError(
            f"cannot serve pages on {host!r}",
            "it stands for all addresses, so it is not known by which names visitors may come",
            "name each with --allowed-host",
        )


def security_headers(policy: str) -> Mapping[str, str]:
    """Returns the headers of every answer.

    Args:
        policy: The Content-Security-Policy.
    """
    return {
        "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


@dataclass(frozen=True)
class Guard:
    """Decides on requests.

    Attributes:
        host: The address that is listened on.
        names: Names that visitors may use beside it; a port is left out of account.
        token: The token; None means that everybody may ask who can reach the address.
    """

    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()
    token: str | None = field(default=None, repr=False)
    #: What the cookie holds: worth nothing once this process has ended.
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    def knows_host(self, header: str) -> bool:
        """Tells whether the Host header names this server.

        A page elsewhere can have its own name lead to a loopback address (DNS rebinding); then the
        browser takes it for one origin with these pages, but the header betrays it. Any port will
        do: it may have been forwarded.
        """
        name = _name_of(header)
        known = {self.host.lower(), *map(_name_of, self.names)}
        if is_loopback(self.host):
            known |= _LOCAL_NAMES
        return name in known

    def is_token(self, shown: str) -> bool:
        """Compares a token in constant time."""
        return self.token is not None and _same(shown, self.token)

    def may_pass(self, cookie: str, authorization: str) -> bool:
        """Tells whether a request may pass by its cookie or its Authorization header."""
        if self.token is None:
            return True
        scheme, _, shown = authorization.partition(" ")
        by_header = scheme.lower() == "bearer" and self.is_token(shown.strip())
        return _same(cookie, self.session) or by_header


def _same(a: str, b: str) -> bool:
    return hmac.compare_digest(a.encode("utf-8", "replace"), b.encode("utf-8", "replace"))


def _name_of(header: str) -> str:
    """Takes the port off a Host header, and the brackets off an IPv6 address."""
    text = header.strip().lower()
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return address if not port or port.startswith(":") else text
    return text.rpartition(":")[0] if text.count(":") == 1 else text


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return not host
