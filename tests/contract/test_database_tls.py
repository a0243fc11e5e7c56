"""Encrypted connections to database servers, as far as ML Metadata can."""

from __future__ import annotations

import datetime
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tfx_registry import ModelRegistry
from tfx_registry.errors import StoreUnavailableError
from tfx_registry.registry import session
from tfx_registry.testing import MariaDbServer, PostgreSqlServer


@pytest.fixture(scope="module")
def keys() -> Iterator[Path]:
    """A folder with a self-signed certificate and its key, which servers may read."""
    folder = Path(tempfile.mkdtemp(prefix="tfx-registry-tls-"))
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 7)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").touch(mode=0o600)
    (folder / "key.pem").write_bytes(secret)
    yield folder
    shutil.rmtree(folder)


def give(folder: Path, server: MariaDbServer | PostgreSqlServer) -> None:
    owner = server.folder.stat()
    for path in (folder, *folder.iterdir()):
        os.chown(path, owner.st_uid, owner.st_gid)


def test_mysql_with_tls(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = MariaDbServer([f"--ssl-cert={keys}/cert.pem", f"--ssl-key={keys}/key.pem"])
    give(keys, server)
    with server:
        monkeypatch.setenv("TFX_REGISTRY_PASSWORD", server.password)
        server.sql("ALTER USER tfx@'%' REQUIRE SSL")
        uri = server.uri("registry")
        with ModelRegistry.open(f"{uri}?ssl_ca={keys}/cert.pem") as registry:
            assert registry.list_models() == []
            assert "Ssl_cipher\tTLS" in server.sql("SHOW GLOBAL STATUS LIKE 'Ssl_cipher'") or (
                int(server.sql("SHOW GLOBAL STATUS LIKE 'Ssl_finished_accepts'").split()[1]) > 0
            )
        with pytest.raises(StoreUnavailableError, match="may come without TLS"):
            ModelRegistry.open(uri)
        with pytest.raises(StoreUnavailableError, match="a file of the TLS options is missing"):
            ModelRegistry.open(f"{uri}?ssl_ca={keys}/nothing.pem")
        with pytest.raises(StoreUnavailableError, match=r"TLS with .* failed: self.signed"):
            ModelRegistry.open(f"{uri}?ssl_verify_server_cert=true")


def test_mysql_without_tls_on_the_server(
    mariadb: MariaDbServer, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFX_REGISTRY_PASSWORD", mariadb.password)
    if "YES" in mariadb.sql("SHOW VARIABLES LIKE 'have_ssl'"):
        return  # MariaDB 11.4 and later make a certificate for themselves
    with pytest.raises(StoreUnavailableError, match="the server offers none"):
        ModelRegistry.open(mariadb.uri("tls") + f"?ssl_ca={keys}/cert.pem")


def test_postgresql_with_tls(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ML Metadata's client knows no TLS: that is said, and without it the same server works."""
    server = PostgreSqlServer(
        ["-c", "ssl=on", "-c", f"ssl_cert_file={keys}/cert.pem",
         "-c", f"ssl_key_file={keys}/key.pem"]
    )  # fmt: skip
    give(keys, server)
    monkeypatch.setattr(session, "_LOST_SECONDS", 0.2)
    with server:
        monkeypatch.setenv("TFX_REGISTRY_PASSWORD", server.password)
        uri = server.uri("registry")
        for mode in ("", "?sslmode=disable", "?sslmode=prefer"):
            with ModelRegistry.open(uri + mode) as registry:
                assert registry.list_models() == []
        for mode in ("require", "verify-ca"):
            with pytest.raises(StoreUnavailableError, match="knows no TLS"):
                ModelRegistry.open(f"{uri}?sslmode={mode}&sslrootcert={keys}/cert.pem")
        with pytest.raises(StoreUnavailableError, match=r"TLS with .* failed"):
            ModelRegistry.open(f"{uri}?sslmode=verify-full")
