"""Just enough of the PostgreSQL protocol to log in and to list tables.

Source: "Frontend/Backend Protocol" of the PostgreSQL manual (version 3.0), and RFC 5802 and 7677
for SCRAM-SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import struct

from tfx_registry.registry.wire import (
    Client,
    ServerRefusedError,
    TlsOptions,
    UnsupportedServerError,
)

__all__ = ["PostgreSqlClient"]

_PROTOCOL = 196608
_TLS_REQUEST = 80877103
_AUTH_OK, _AUTH_CLEAR, _AUTH_MD5, _AUTH_SASL, _AUTH_CONTINUE, _AUTH_FINAL = 0, 3, 5, 10, 11, 12

_TABLES = (
    "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = ANY(current_schemas(false))"
)


class PostgreSqlClient(Client):
    """A connection to PostgreSQL."""

    def log_in(self, user: str, password: str, database: str, tls: TlsOptions | None) -> None:
        """Logs in.

        Args:
            user: Name of the user.
            password: Password, or "".
            database: Name of the database.
            tls: How to encrypt, or None for not at all.

        Raises:
            ServerRefusedError: The server says no.
            UnsupportedServerError: It asks for a way to log in that is not known here.
            OSError: The connection broke, or TLS failed.
        """
        encrypted = False
        if tls is not None:
            self._socket.sendall(struct.pack("!ii", 8, _TLS_REQUEST))
            encrypted = self._receive(1) == b"S"
            if encrypted:
                self._encrypt(tls)
            elif tls.required:
                raise ServerRefusedError("08001", "TLS was asked for, and the server offers none")
        fields = ("user", user, "database", database, "client_encoding", "UTF8")
        body = b"".join(field.encode() + b"\0" for field in fields) + b"\0"
        self._socket.sendall(struct.pack("!ii", len(body) + 8, _PROTOCOL) + body)
        scram = _Scram(password)
        while (message := self._read())[0] != b"Z":
            kind, data = message
            if kind != b"R":
                continue
            (asked,) = struct.unpack_from("!i", data)
            if asked == _AUTH_CLEAR and encrypted and tls is not None and tls.verify:
                self._write(b"p", password.encode() + b"\0")
            elif asked == _AUTH_MD5:
                self._write(b"p", _md5(user, password, data[4:8]) + b"\0")
            elif asked == _AUTH_SASL and b"SCRAM-SHA-256\0" in data[4:]:
                first = scram.first()
                size = struct.pack("!i", len(first))
                self._write(b"p", b"SCRAM-SHA-256\0" + size + first)
            elif asked == _AUTH_CONTINUE:
                self._write(b"p", scram.final(data[4:]))
            elif asked not in (_AUTH_OK, _AUTH_FINAL):
                raise UnsupportedServerError(f"it asks for authentication of kind {asked}")

    def tables(self) -> set[str]:
        """Returns the names of the tables that are found without naming a schema.

        Raises:
            ServerRefusedError: They may not be listed.
            OSError: The connection broke.
        """
        self._write(b"Q", _TABLES.encode() + b"\0")
        found = set()
        while (message := self._read())[0] != b"Z":
            if message[0] == b"D":
                (size,) = struct.unpack_from("!i", message[1], 2)
                found.add(message[1][6 : 6 + size].decode("utf-8", "replace"))
        return found

    def _read(self) -> tuple[bytes, bytes]:
        kind, size = struct.unpack("!ci", self._receive(5))
        if size < 4:
            raise UnsupportedServerError("it does not answer as PostgreSQL does")
        data = self._receive(size - 4)
        if kind == b"E":
            fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in data.split(b"\0")}
            raise ServerRefusedError(fields.get(b"C", ""), fields.get(b"M", ""))
        return kind, data

    def _write(self, kind: bytes, data: bytes) -> None:
        self._socket.sendall(kind + struct.pack("!i", len(data) + 4) + data)


class _Scram:
    """One conversation of SCRAM-SHA-256 without channel binding."""

    def __init__(self, password: str) -> None:
        self._password = password
        self._nonce = secrets.token_urlsafe(18)

    def first(self) -> bytes:
        return f"n,,n=,r={self._nonce}".encode()

    def final(self, challenge: bytes) -> bytes:
        text = challenge.decode("ascii", "replace")
        fields = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
        rounds, salt = int(fields.get("i", "0")), base64.b64decode(fields.get("s", ""))
        if not 0 < rounds <= 10_000_000 or not fields.get("r", "").startswith(self._nonce):
            raise UnsupportedServerError("its SCRAM challenge is odd")
        salted = hashlib.pbkdf2_hmac("sha256", self._password.encode(), salt, rounds)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        proofless = f"c=biws,r={fields['r']}"
        signed = f"n=,r={self._nonce},{text},{proofless}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        return f"{proofless},p={base64.b64encode(proof).decode()}".encode()


def _md5(user: str, password: str, salt: bytes) -> bytes:
    inner = hashlib.md5((password + user).encode()).hexdigest().encode()
    return b"md5" + hashlib.md5(inner + salt).hexdigest().encode()
