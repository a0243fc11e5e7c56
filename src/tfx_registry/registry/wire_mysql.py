"""Just enough of the MySQL protocol to log in and to list tables.

Source: "Client/Server Protocol" of the MariaDB and MySQL manuals (handshake version 10,
HandshakeResponse41, text result sets).
"""

from __future__ import annotations

import hashlib
import struct

from tfx_registry.registry.wire import (
    Client,
    ServerRefusedError,
    TlsOptions,
    UnsupportedServerError,
)

__all__ = ["MySqlClient"]

# LONG_PASSWORD, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, PLUGIN_AUTH
_CAPABILITIES = 0x1 | 0x200 | 0x2000 | 0x8000 | 0x80000
_TLS = 0x800
_UTF8MB4 = 45
_MAX_PACKET = 1 << 24

_NATIVE = "mysql_native_password"
_SHA2 = "caching_sha2_password"

_OK, _MORE, _EOF, _ERROR = 0x00, 0x01, 0xFE, 0xFF
_INIT_DB, _QUERY = b"\x02", b"\x03"


class MySqlClient(Client):
    """A connection to MySQL or MariaDB."""

    def log_in(self, user: str, password: str, tls: TlsOptions | None) -> None:
        """Logs in without choosing a database.

        Args:
            user: Name of the user.
            password: Password, or "".
            tls: How to encrypt, or None for not at all.

        Raises:
            ServerRefusedError: The server says no.
            UnsupportedServerError: It asks for a way to log in that is not known here.
            OSError: The connection broke, or TLS failed.
        """
        greeting = self._read()
        plugin, salt, offered = _parse_greeting(greeting)
        encrypted = tls is not None and bool(offered & _TLS)
        if tls is not None and tls.required and not encrypted:
            raise ServerRefusedError("2026", "TLS was asked for, and the server offers none")
        flags = _CAPABILITIES | (_TLS if encrypted else 0)
        head = struct.pack("<IIB23x", flags, _MAX_PACKET, _UTF8MB4)
        if encrypted and tls is not None:
            self._write(head)
            self._encrypt(tls)
        # A plugin that is not known here may still be switched from, so begin with a known one.
        plugin = plugin if plugin in (_NATIVE, _SHA2) else _NATIVE
        answer = _scramble(plugin, password, salt)
        self._write(
            head + user.encode() + b"\0" + bytes([len(answer)]) + answer + plugin.encode() + b"\0"
        )
        while (reply := self._read())[0] != _OK:
            if reply[0] == _EOF:
                name, _, salt = reply[1:].partition(b"\0")
                plugin = name.decode("ascii", "replace")
                self._write(_scramble(plugin, password, salt[:20]))
            elif reply[0] == _MORE and reply[1:] == b"\x04" and encrypted and tls and tls.verify:
                self._write(password.encode() + b"\0")
            elif reply[0] != _MORE or reply[1:] != b"\x03":
                raise UnsupportedServerError(f"it asks for authentication by {plugin!r}")

    def tables(self, database: str) -> set[str]:
        """Returns the names of the tables of a database.

        Raises:
            ServerRefusedError: There is no such database, or it may not be used.
            OSError: The connection broke.
        """
        self._sequence = 0
        self._write(_INIT_DB + database.encode())
        self._read()
        return set(self._column("SHOW TABLES"))

    def has_rows(self, table: str) -> bool:
        """Tells whether a table, as `tables` named it, holds anything; call that before."""
        return bool(self._column(f"SELECT 1 FROM `{table}` LIMIT 1"))

    def _column(self, query: str) -> list[str]:
        """Runs a query with one column of short texts or numbers."""
        self._sequence = 0
        self._write(_QUERY + query.encode())
        self._read()  # the number of columns, which is one
        while self._read()[0] != _EOF:
            pass  # their definitions
        found = []
        while (row := self._read())[0] != _EOF:
            # A table name is at most 256 bytes; its length is one byte, or 0xfc and two.
            start, size = (1, row[0]) if row[0] < 0xFB else (3, int.from_bytes(row[1:3], "little"))
            found.append(row[start : start + size].decode("utf-8", "replace"))
        return found

    _sequence = 0

    def _read(self) -> bytes:
        head = self._receive(4)
        self._sequence = head[3] + 1
        data = self._receive(int.from_bytes(head[:3], "little"))
        if not data:
            raise UnsupportedServerError("its answer is empty")
        if data[0] == _ERROR:
            code = str(int.from_bytes(data[1:3], "little"))
            text = data[9:] if data[3:4] == b"#" else data[3:]
            raise ServerRefusedError(code, text.decode("utf-8", "replace"))
        return data

    def _write(self, data: bytes) -> None:
        self._socket.sendall(len(data).to_bytes(3, "little") + bytes([self._sequence]) + data)
        self._sequence += 1


def _parse_greeting(data: bytes) -> tuple[str, bytes, int]:
    """Returns plugin, salt and capabilities of the server's first packet."""
    if data[0] != 10:
        raise UnsupportedServerError("it does not greet as MySQL or MariaDB does")
    rest = data.partition(b"\0")[2]
    low, high, size = struct.unpack_from("<13xH3xHB", rest)
    salt, _, plugin = rest[4:12] + rest[31:43], size, rest[44:].partition(b"\0")[0]
    return plugin.decode("ascii", "replace"), salt, low | high << 16


def _scramble(plugin: str, password: str, salt: bytes) -> bytes:
    """Proves the password without sending it."""
    secret = password.encode()
    if plugin not in (_NATIVE, _SHA2):
        raise UnsupportedServerError(f"it asks for authentication by {plugin!r}")
    if not secret:
        return b""
    make = hashlib.sha1 if plugin == _NATIVE else hashlib.sha256
    once = make(secret).digest()
    twice = make(once).digest()
    mask = make(salt + twice if plugin == _NATIVE else twice + salt).digest()
    return bytes(a ^ b for a, b in zip(once, mask, strict=True))
