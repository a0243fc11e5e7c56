"""What the small database clients of this package have in common.

ML Metadata's own connection errors are empty or say "connection pointer is NULL". So before it
connects, one of these logs in, with the standard library alone, asks which tables there are, and
goes. Whatever the server answers can then be said in words.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

__all__ = ["Client", "ServerRefusedError", "TlsOptions", "UnsupportedServerError"]

Self = TypeVar("Self", bound="Client")


class ServerRefusedError(Exception):
    """The server answered with an error.

    Attributes:
        code: Its number or SQLSTATE.
        message: Its words.
    """

    def __init__(self, code: str, message: str) -> None:
        """Keeps code and words."""
        super().__init__(code, message)
        self.code = code
        self.message = message


class UnsupportedServerError(Exception):
    """The server speaks something that these small clients do not; ML Metadata may."""


@dataclass(frozen=True)
class TlsOptions:
    """How a connection is encrypted.

    Attributes:
        required: Whether a server without TLS is refused.
        ca: File with the certificates that are trusted, or "" for those of the system.
        capath: Folder of the same.
        cert: File with the client's certificate, or "".
        key: File with its key, or "".
        verify: Whether the certificate of the server is checked.
        verify_host: Whether the name in it must be that of the host.
    """

    required: bool = True
    ca: str = ""
    capath: str = ""
    cert: str = ""
    key: str = ""
    verify: bool = False
    verify_host: bool = False

    def context(self) -> ssl.SSLContext:
        """Returns the settings for the standard library.

        Raises:
            OSError: A file is missing or is not what it should be.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = self.verify and self.verify_host
        context.verify_mode = ssl.CERT_REQUIRED if self.verify else ssl.CERT_NONE
        if self.ca or self.capath:
            context.load_verify_locations(self.ca or None, self.capath or None)
        elif self.verify:
            context.load_default_certs()
        if self.cert:
            context.load_cert_chain(self.cert, self.key or None)
        return context


class Client:
    """One connection to a server; closes itself at the end of a `with`."""

    def __init__(self, host: str, port: int, timeout_seconds: float) -> None:
        """Connects.

        Args:
            host: Name or address.
            port: Port.
            timeout_seconds: For connecting and for each answer.

        Raises:
            OSError: Nobody answers there.
        """
        self._host = host
        self._socket = socket.create_connection((host, port), timeout=timeout_seconds)

    def __enter__(self: Self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the connection."""
        self._socket.close()

    def _encrypt(self, tls: TlsOptions) -> None:
        self._socket = tls.context().wrap_socket(self._socket, server_hostname=self._host)

    def _receive(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                raise ConnectionResetError("the server closed the connection")
            data += piece
        return bytes(data)
