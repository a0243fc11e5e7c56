"""How ML Metadata is told where its database is, and with which password and TLS files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("GLOG_minloglevel", "3")  # before the C++ library reads it

from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_registry.errors import InvalidInputError
from tfx_registry.registry.uri import RegistryUri
from tfx_registry.registry.wire import TlsOptions

__all__ = [
    "PASSWORD_FILE_VARIABLE",
    "PASSWORD_VARIABLE",
    "connection_config",
    "read_password",
    "tls_options",
]

#: The environment variables that give the password of the database user.
PASSWORD_VARIABLE = "TFX_REGISTRY_PASSWORD"
PASSWORD_FILE_VARIABLE = "TFX_REGISTRY_PASSWORD_FILE"

_GRPC_SECONDS = 30.0
_GRPC_MESSAGE_BYTES = 2**31 - 1
_SSL_MODES_THAT_VERIFY = ("verify-ca", "verify-full")


def read_password() -> str:
    """Returns the password of the environment, "" where none is given.

    Raises:
        InvalidInputError: Both variables are set, or the file cannot be read. The message holds
            nothing of the password.
    """
    password, file = os.environ.get(PASSWORD_VARIABLE), os.environ.get(PASSWORD_FILE_VARIABLE)
    if password is not None and file:
        raise InvalidInputError(
            "cannot tell the password of the registry",
            f"both {PASSWORD_VARIABLE} and {PASSWORD_FILE_VARIABLE} are set",
            "unset one of them",
        )
    if password is None and file:
        try:
            password = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise InvalidInputError(
                "cannot read the password of the registry",
                f"the file {file!r} of {PASSWORD_FILE_VARIABLE}: {why}",
                "correct the path, or let this user read the file",
            ) from None
    if "\0" in (password or ""):
        raise InvalidInputError(
            "cannot use the password of the registry", "it holds a NUL character", "change it"
        )
    return password or ""


def connection_config(uri: RegistryUri, password: str, *, create: bool) -> Any:
    """Returns what ML Metadata connects with.

    Args:
        uri: Where to.
        password: The password, or "".
        create: Whether a missing database is made.

    Returns:
        A `ConnectionConfig`, or for a gRPC server a `MetadataStoreClientConfig`.

    Raises:
        InvalidInputError: A file that an option names cannot be read.
    """
    if uri.scheme == "grpc":
        return _grpc_config(uri)
    config = pb.ConnectionConfig()
    # Once, that is without ML Metadata's own retries: they sleep for seconds.
    config.retry_options.max_num_retries = 1
    if uri.scheme == "sqlite":
        source = config.sqlite
        # SQLite would read "file:..." as a URI of its own, with options in it.
        source.filename_uri = f"./{uri.path}" if uri.path.startswith("file:") else uri.path
        modes = pb.SqliteMetadataSourceConfig
        source.connection_mode = modes.READWRITE_OPENCREATE if create else modes.READWRITE
    elif uri.scheme == "mysql":
        # Exactly one of host and socket: with both the library aborts the process.
        config.mysql.host = _mysql_host(uri)
        config.mysql.port = uri.port
        config.mysql.database = uri.database
        config.mysql.user = uri.user
        config.mysql.password = password
        config.mysql.skip_db_creation = not create
        for name, value in uri.options:
            field = name[len("ssl_") :]
            setattr(
                config.mysql.ssl_options,
                field,
                value == "true" if field == "verify_server_cert" else value,
            )
    else:
        # ML Metadata pastes these into libpq's "key=value key=value".
        config.postgresql.host = _quote(uri.host)
        config.postgresql.port = str(uri.port)
        config.postgresql.dbname = uri.database  # also pasted into SQL; the URI checks it
        config.postgresql.user = _quote(uri.user)
        if password:
            config.postgresql.password = _quote(password)
        config.postgresql.skip_db_creation = not create
        for name, value in uri.options:
            setattr(config.postgresql.ssloption, name, _quote(value))
    return config


def tls_options(uri: RegistryUri) -> TlsOptions | None:
    """Returns how a connection is encrypted, or None where it is not."""
    given = dict(uri.options)
    if uri.scheme == "mysql" and given:
        verify = given.get("ssl_verify_server_cert") == "true"
        return TlsOptions(
            True, given.get("ssl_ca", ""), given.get("ssl_capath", ""),
            given.get("ssl_cert", ""), given.get("ssl_key", ""), verify, verify,
        )  # fmt: skip
    mode = given.get("sslmode", "prefer")
    if uri.scheme == "postgresql" and mode != "disable":
        return TlsOptions(
            mode in ("require", *_SSL_MODES_THAT_VERIFY), given.get("sslrootcert", ""), "",
            given.get("sslcert", ""), given.get("sslkey", ""),
            mode in _SSL_MODES_THAT_VERIFY, mode == "verify-full",
        )  # fmt: skip
    return None


def _grpc_config(uri: RegistryUri) -> Any:
    config = pb.MetadataStoreClientConfig()
    config.host = f"[{uri.host}]" if ":" in uri.host else uri.host
    config.port = uri.port
    config.client_timeout_sec = float(uri.option("timeout_seconds") or _GRPC_SECONDS)
    config.channel_arguments.max_receive_message_length = _GRPC_MESSAGE_BYTES
    files = {"ssl_ca": "custom_ca", "ssl_cert": "server_cert", "ssl_key": "client_key"}
    for option, field in files.items():
        if path := uri.option(option):
            setattr(config.ssl_config, field, _read_pem(path, option))
    if uri.option("tls") == "true":
        config.ssl_config.SetInParent()
    return config


def _read_pem(path: str, option: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not a PEM file"
        raise InvalidInputError(
            "cannot connect to the registry",
            f"the file {path!r} of the option {option!r}: {why}",
            "correct the path, or let this user read the file",
        ) from None


def _mysql_host(uri: RegistryUri) -> str:
    # The client library takes "localhost" as a wish for a socket file, wherever that may be.
    return "127.0.0.1" if uri.host == "localhost" else uri.host


def _quote(value: str) -> str:
    """Quotes a value for libpq (PostgreSQL manual, "Keyword/Value Connection Strings")."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
