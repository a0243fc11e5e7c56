"""Leads TensorFlow's own client of Google Cloud Storage to an emulator.

That client (`tensorflow/core/platform/cloud/gcs_file_system.cc`) asks `www.googleapis.com` and
`storage.googleapis.com` over TLS, whatever `STORAGE_EMULATOR_HOST` says. But it goes through the
proxy that `https_proxy` names and trusts the certificates in `CURL_CA_BUNDLE`: this proxy answers
by those names with a certificate of its own, and asks the emulator.
"""

from __future__ import annotations

import datetime
import http.client
import http.server
import ssl
import threading
import urllib.parse
from pathlib import Path
from typing import Any

__all__ = ["GcsProxy"]

_HOSTS = ("www.googleapis.com", "storage.googleapis.com")
_TIMEOUT_SECONDS = 60
_JOIN_SECONDS = 10
_CONNECTION_ONLY = {"connection", "content-length", "host", "transfer-encoding"}


class GcsProxy:
    """A proxy in this process, on a free port; use it as a context manager.

    Attributes:
        environment: The variables that lead TensorFlow here; no other program should have them.
    """

    def __init__(self, emulator_url: str, folder: Path) -> None:
        """Makes the certificate.

        Args:
            emulator_url: Where the emulator listens, such as `GcsServer.url`.
            folder: Where the certificate and its key go.
        """
        bundle = _write_certificate(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(bundle)
        handler = _handler(context, urllib.parse.urlsplit(emulator_url).netloc)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.environment = {
            "https_proxy": f"http://127.0.0.1:{self._server.server_address[1]}",
            "no_proxy": "127.0.0.1,localhost",
            "CURL_CA_BUNDLE": str(bundle),
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "testing",
        }

    def __enter__(self) -> GcsProxy:
        """Starts it."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_JOIN_SECONDS)


def _write_certificate(folder: Path) -> Path:
    """Makes a certificate for Google's names, valid for a day, and returns it with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "proxy of an emulator")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(h) for h in _HOSTS]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "google.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


def _handler(context: ssl.SSLContext, emulator: str) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        """Answers CONNECT, and then for the server that was asked for."""

        protocol_version = "HTTP/1.1"

        def do_CONNECT(self) -> None:
            if self.path.partition(":")[0] not in _HOSTS:
                self.send_error(403, "only Google Cloud Storage is here")
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            self.connection = context.wrap_socket(self.connection, server_side=True)
            self.rfile = self.connection.makefile("rb")
            self.wfile: Any = self.connection.makefile("wb", 0)
            self.close_connection = False

        def forward(self) -> None:
            """Asks the emulator and passes on what it says."""
            body = self.body()
            kept = {k: v for k, v in self.headers.items() if k.lower() not in _CONNECTION_ONLY}
            asking = http.client.HTTPConnection(emulator, timeout=_TIMEOUT_SECONDS)
            try:
                asking.request(self.command, self.path, body, kept)
                answer = asking.getresponse()
                content = answer.read()
            finally:
                asking.close()
            self.send_response(answer.status)
            for key, value in answer.getheaders():
                if key.lower() == "location":
                    # Where an upload goes on: through here, too.
                    parts = urllib.parse.urlsplit(value)
                    value = parts._replace(scheme="https", netloc=_HOSTS[0]).geturl()
                if key.lower() not in {*_CONNECTION_ONLY, "date", "server"}:
                    self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def body(self) -> bytes:
            """Reads what comes with a request; TensorFlow sends files in chunks."""
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = forward  # noqa: N815 - as in http.server

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    return Handler
