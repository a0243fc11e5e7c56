"""Object stores on the loopback interface, for tests: S3 and Google Cloud Storage.

Both are emulators, moto and gcp-storage-emulator. Where they fall short of the real thing:

- moto looks whether an object exists and writes it in two steps, so two conditional writes at the
  same instant could both win. Here requests that write take turns.
- gcp-storage-emulator ignores `ifGenerationMatch`, and fails at empty objects. Here an upload with
  that condition is checked first. Only uploads that name the object in the query are known; others
  with a condition are refused, so that none is ignored.

`Faults` makes requests fail in the ways in which stores do: throttling, errors of the server,
connections that drop before or after the request took effect, denied access.

Example:
    with S3Server() as server:
        server.make_bucket("models")
        os.environ.update(server.environment)
        promote(registry, "penguin", 3, "s3://models/penguin")
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import struct
import threading
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from http.server import HTTPServer
from typing import Any, ClassVar

__all__ = [
    "Fault",
    "Faults",
    "GcsServer",
    "ObjectStoreServer",
    "S3Server",
]

_HOST = "127.0.0.1"
_WRITING = frozenset({"PUT", "POST", "DELETE"})
_JOIN_SECONDS = 10


@dataclass
class Fault:
    """Requests that fail.

    Attributes:
        kind: An HTTP status such as "503", "reset" (the connection drops, nothing was done), or
            "lost answer" (it drops after the request was done).
        method: HTTP method; "" means any.
        contains: Part of the decoded path and query; "" means any.
        times: How many requests fail; -1 means all.
        after: How many such requests go well first.
    """

    kind: str
    method: str = ""
    contains: str = ""
    times: int = 1
    after: int = 0


@dataclass
class Faults:
    """What is to fail, and what was asked for.

    Attributes:
        planned: The faults; add to it, or clear it.
        requests: Each request so far: its method, its decoded path and query.
        on_request: Called with each of them before it is answered, such as to stop a process then.
    """

    planned: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    on_request: Callable[[str, str], None] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, method: str, target: str) -> str:
        """Notes a request.

        Args:
            method: Its method.
            target: Its path and query.

        Returns:
            The kind of the fault that it meets, or "".
        """
        target = urllib.parse.unquote(target)
        with self._lock:
            self.requests.append((method, target))
            if self.on_request is not None:
                self.on_request(method, target)
            for fault in self.planned:
                if fault.method not in ("", method) or fault.contains not in target:
                    continue
                if fault.after > 0:
                    fault.after -= 1
                elif fault.times:
                    fault.times -= 1
                    return fault.kind
        return ""

    def clear(self) -> None:
        """Forgets faults and requests."""
        with self._lock:
            self.planned.clear()
            self.requests.clear()
            self.on_request = None


class ObjectStoreServer(ABC):
    """An object store in this process, on a free port; use it as a context manager.

    Attributes:
        faults: What is to fail, and what was asked for.
        url: Where it listens.
    """

    scheme: str

    def __init__(self) -> None:
        """Starts nothing yet."""
        self.faults = Faults()
        self.url = ""
        self._server: Any = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> ObjectStoreServer:
        """Starts it."""
        self._server = self._make_server()
        self.url = f"http://{_HOST}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops it and forgets what it held."""
        self.faults.clear()
        self._server.shutdown()
        self._server.server_close()
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)

    @property
    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The variables that lead clients of this kind of store here."""

    @abstractmethod
    def make_bucket(self, name: str) -> None:
        """Makes a bucket."""

    @abstractmethod
    def _make_server(self) -> Any:
        """Makes the HTTP server; it listens, and serves nothing yet."""


class S3Server(ObjectStoreServer):
    """moto's S3; one at a time.

    moto keeps objects for the whole process. Two servers would share them, and the end of one would
    empty the other.
    """

    scheme = "s3"
    _only: ClassVar[threading.Lock] = threading.Lock()

    def __enter__(self) -> ObjectStoreServer:
        """Starts it.

        Raises:
            RuntimeError: Another one runs in this process.
        """
        if not self._only.acquire(blocking=False):
            raise RuntimeError("another S3Server runs in this process: use that, or end it first")
        try:
            return super().__enter__()
        except BaseException:
            self._only.release()
            raise

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead clients of S3 here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def make_bucket(self, name: str) -> None:
        """Makes a bucket."""
        self._ask(f"/{name}", "PUT")

    def __exit__(self, *_: object) -> None:
        """Stops it and forgets what it held."""
        self.faults.clear()
        try:
            with contextlib.suppress(OSError):
                self._ask("/moto-api/reset", "POST")
            super().__exit__()
        finally:
            self._only.release()

    def _ask(self, path: str, method: str) -> None:
        credential = "AWS4-HMAC-SHA256 Credential=testing/20200101/us-east-1/s3/aws4_request"
        headers = {"Authorization": f"{credential}, SignedHeaders=host, Signature=x"}
        request = urllib.request.Request(self.url + path, b"", headers, method=method)
        with urllib.request.urlopen(request, timeout=_JOIN_SECONDS):
            return

    def _make_server(self) -> Any:
        from moto.moto_server.werkzeug_app import (
            DomainDispatcherApplication,
            MotoRequestHandler,
            create_backend_app,
        )
        from werkzeug.serving import make_server

        class Quiet(MotoRequestHandler):  # type: ignore[misc]
            def log(self, *_: Any) -> None:
                """Says nothing."""

        app = _FaultyApplication(DomainDispatcherApplication(create_backend_app), self.faults)
        return make_server(_HOST, 0, app, threaded=True, request_handler=Quiet)


@dataclass
class _FaultyApplication:
    """A WSGI application of which requests fail as planned, and those that write take turns."""

    inner: Any
    faults: Faults
    turn: Any = field(default_factory=threading.Lock)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        target = environ["PATH_INFO"] + "?" + environ.get("QUERY_STRING", "")
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if length:
            # Whatever becomes of it, the request is read first, as by a real server.
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
        kind = self.faults.take(method, target)
        if kind == "reset":
            _drop(environ["werkzeug.socket"])
            return []
        if kind and kind != "lost answer":
            return _refuse(kind, start_response)
        with self.turn if method in _WRITING else contextlib.nullcontext():
            answer = list(self.inner(environ, start_response))
        if kind == "lost answer":
            _drop(environ["werkzeug.socket"])
            return []
        return answer


_S3_CODES = {
    "403": "AccessDenied", "429": "TooManyRequests", "500": "InternalError",
    "503": "SlowDown",
}  # fmt: skip


def _refuse(kind: str, start_response: Any) -> Iterable[bytes]:
    code = _S3_CODES.get(kind, "InternalError")
    body = f"<Error><Code>{code}</Code><Message>on purpose</Message></Error>".encode()
    headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
    start_response(f"{kind} on purpose", headers)
    return [body]


def _drop(connection: socket.socket) -> None:
    """Ends a connection as a crash would: the client sees a reset."""
    with contextlib.suppress(OSError):
        linger = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        connection.shutdown(socket.SHUT_RDWR)


class GcsServer(ObjectStoreServer):
    """gcp-storage-emulator, with conditions on the generation of objects.

    It answers one request at a time.
    """

    scheme = "gs"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead clients of Google Cloud Storage here."""
        return {"STORAGE_EMULATOR_HOST": self.url}

    def make_bucket(self, name: str) -> None:
        """Makes a bucket."""
        body = json.dumps({"name": name}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/storage/v1/b?project=p", body, headers)
        with urllib.request.urlopen(request, timeout=_JOIN_SECONDS):
            return

    def _make_server(self) -> Any:
        from gcp_storage_emulator.storage import Storage

        handler = partial(_gcs_handler(), Storage(use_memory_fs=True), self.faults)
        return HTTPServer((_HOST, 0), handler)


def _gcs_handler() -> Any:
    from gcp_storage_emulator.exceptions import NotFound
    from gcp_storage_emulator.handlers import objects
    from gcp_storage_emulator.server import RequestHandler, Router

    class Handler(RequestHandler):  # type: ignore[misc,unused-ignore]
        """The emulator's handler, with faults and conditions before it."""

        def __init__(self, storage: Any, faults: Faults, *args: Any) -> None:
            self.faults = faults
            super().__init__(storage, *args)

        def handle_method(self, method: str) -> None:
            kind = self.faults.take(method, self.path)
            if kind == "reset":
                _drop(self.connection)
                return
            if kind and kind != "lost answer":
                self.answer(int(kind), "on purpose")
                return
            if method == "POST" and not self.condition_holds():
                return
            if kind == "lost answer":
                self.wfile = io.BytesIO()
            if method != "POST" or not self.made_empty():
                Router(self).handle(method)
            if kind == "lost answer":
                _drop(self.connection)

        def query(self) -> dict[str, list[str]]:
            return urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)

        def bucket(self) -> str:
            return urllib.parse.unquote(self.path.split("/b/")[1].split("/")[0])

        def made_empty(self) -> bool:
            """Makes an empty object, at which the emulator fails."""
            query = self.query()
            empty = int(self.headers.get("Content-Length") or 0) == 0
            if not empty or query.get("uploadType") != ["media"]:
                return False
            name = query["name"][0]
            made = objects._make_object_resource("", self.bucket(), name, "", "0")
            try:
                self.storage.create_file(self.bucket(), name, b"", objects._checksums(b"", made))
            except NotFound:
                self.answer(404, "no such bucket")
            else:
                self.answer(200, made)
            return True

        def condition_holds(self) -> bool:
            query = self.query()
            wanted = query.get("ifGenerationMatch")
            if not wanted or "upload_id" in query:
                return True
            if "name" not in query:
                self.answer(501, "a condition on an upload that does not name its object")
                return False
            try:
                now = str(self.storage.get_file_obj(self.bucket(), query["name"][0])["generation"])
            except NotFound:
                now = "0"
            if now != wanted[0]:
                self.answer(412, "the condition does not hold")
            return now == wanted[0]

        def answer(self, status: int, said: Any) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if status >= 400:
                said = {"error": {"code": status, "message": said}}
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:  # noqa: N802 - the name in http.server
            self.handle_method("GET")

        def do_POST(self) -> None:  # noqa: N802
            self.handle_method("POST")

        def do_PUT(self) -> None:  # noqa: N802
            self.handle_method("PUT")

        def do_DELETE(self) -> None:  # noqa: N802
            self.handle_method("DELETE")

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    return Handler
