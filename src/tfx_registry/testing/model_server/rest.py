"""The REST API of the emulator: status, metadata and predictions, on the loopback interface.

Paths, methods and answers: tensorflow_serving/model_servers/http_rest_api_util.cc and
http_rest_api_handler.cc; the codes: http_server.cc.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import urllib.parse
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from tfx_registry.testing.model_server.loaders import Loaded, LoadError
from tfx_registry.testing.model_server.manager import Status
from tfx_registry.testing.process import LOOPBACK

__all__ = ["RestServer"]

_logger = logging.getLogger(__name__)

_MODEL = r"/v1/models/([^/:]+)(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?"
_POST = re.compile(_MODEL + r":(classify|regress|predict)", re.IGNORECASE)
_GET = re.compile(_MODEL + r"(?:/(metadata))?", re.IGNORECASE)

_HTTP = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "NOT_FOUND": 404,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
}


class Answers(Protocol):
    """What the REST API asks of the server."""

    def statuses(self, model: str) -> Mapping[int, Status]:
        """Returns what is known of all versions of a model, by number."""

    def resolve(
        self, model: str, number: int | None = None, label: str | None = None
    ) -> tuple[int, Loaded]:
        """Finds the version that answers a request; raises LoadError where there is none."""


class RestServer:
    """Listens once it is opened; the port is taken before, so that it is known.

    Attributes:
        url: Where it listens.
    """

    def __init__(self, answers: Answers, port: int) -> None:
        handler = type("Handler", (_Handler,), {"answers": answers})
        self._server = ThreadingHTTPServer((LOOPBACK, port), handler, bind_and_activate=False)
        self._server.daemon_threads = True
        self._server.server_bind()
        self._thread: threading.Thread | None = None
        self.url = f"http://{LOOPBACK}:{self._server.server_address[1]}"

    def open(self) -> None:
        """Begins to listen."""
        self._server.server_activate()
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Ends."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    answers: Answers
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' name
        _logger.debug(format, *args)

    def do_GET(self) -> None:
        self._answer(_GET, self._get)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(_POST, lambda *found: self._post(body, *found))

    def _answer(self, pattern: re.Pattern[str], work: Any) -> None:
        path = self.path.partition("?")[0]
        match = pattern.fullmatch(path)
        try:
            if match is None:
                if not path.lower().startswith("/v1/"):
                    raise LoadError("NOT_FOUND", "Not Found")
                raise LoadError("INVALID_ARGUMENT", f"Malformed request: {self.command} {path}")
            model, number, label, rest = match.groups()
            document = work(
                urllib.parse.unquote(model),
                int(number) if number else None,
                urllib.parse.unquote(label) if label else None,
                rest,
            )
            code = 200
        except LoadError as error:
            document, code = {"error": error.message}, _HTTP.get(error.code, 500)
        data = json.dumps(document, indent=1).encode("utf-8")
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _get(self, model: str, number: int | None, label: str | None, metadata: str | None) -> Any:
        if metadata:
            version, _ = self.answers.resolve(model, number, label)
            return {
                "model_spec": {"name": model, "signature_name": "", "version": str(version)},
                "metadata": {"signature_def": {"signature_def": {}}},
            }
        # A label is accepted and not looked at: get_model_status_impl.cc asks has_version() only.
        statuses = self.answers.statuses(model)
        if number is not None:
            if number not in statuses:
                raise LoadError("NOT_FOUND", f"Could not find version {number} of model {model}")
            statuses = {number: statuses[number]}
        if not statuses:
            raise LoadError("NOT_FOUND", f"Could not find any versions of model {model}")
        return {
            "model_version_status": [
                {
                    "version": str(version),
                    "state": status.state,
                    "status": {
                        "error_code": status.error_code,
                        "error_message": status.error_message,
                    },
                }
                for version, status in statuses.items()
            ]
        }

    def _post(
        self, body: bytes, model: str, number: int | None, label: str | None, method: str
    ) -> Any:
        if method.lower() != "predict":
            raise LoadError("UNIMPLEMENTED", f"the emulator does not {method}")
        _, loaded = self.answers.resolve(model, number, label)
        try:
            request = json.loads(body)
        except ValueError as error:
            raise LoadError("INVALID_ARGUMENT", f"JSON Parse error: {error}") from error
        if not isinstance(request, dict):
            raise LoadError("INVALID_ARGUMENT", "JSON Value: is not object")
        return loaded.predict(request)
