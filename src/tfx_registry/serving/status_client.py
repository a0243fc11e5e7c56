"""Asks model servers which versions they serve, over TensorFlow Serving's REST API.

Rules of the API (tensorflow_serving/model_servers/http_rest_api_handler.cc and
get_model_status_impl.cc): `/v1/models/M` lists every version that the server has ever tracked, with
its last state; `/labels/L` there is accepted and ignored, so where a label points is asked of
`/labels/L/metadata`, which resolves it.
"""

from __future__ import annotations

import enum
import http.client
import json
import queue
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tfx_registry.errors import InvalidUriError, ModelServerError, NotFoundError
from tfx_registry.text import printable

__all__ = ["ModelServer", "ServerState", "VersionStatus"]

_TIMEOUT_SECONDS = 10.0
_GRACE_SECONDS = 1.0
_LIMIT_BYTES = 64 << 20
_MOST_WORDS = 500
_LOOPBACK = ("127.", "localhost", "[::1]")


class ServerState(str, enum.Enum):
    """State of a version in a server (tensorflow_serving/apis/get_model_status.proto)."""

    UNKNOWN = "UNKNOWN"
    START = "START"
    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    UNLOADING = "UNLOADING"
    END = "END"


@dataclass(frozen=True)
class VersionStatus:
    """What a server says of one version.

    Attributes:
        number: The version.
        state: Its state. END means that it was unloaded, or that loading it failed.
        error_code: "OK", or why it is not well, such as "NOT_FOUND".
        error_message: The server's words.
    """

    number: int
    state: ServerState
    error_code: str = "OK"
    error_message: str = ""

    @property
    def failed(self) -> bool:
        """Whether loading has failed for good: a server does not try again while it is listed."""
        return self.state is ServerState.END and self.error_code != "OK"

    def __str__(self) -> str:
        """The state, and the error if there is one."""
        if self.error_code == "OK":
            return self.state.value
        return f"{self.state.value} ({self.error_code}: {self.error_message})"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follows none: whoever answers for another host is not the server that was named."""


class ModelServer:
    """One model of one server.

    Attributes:
        url: `http://host:port` with what stands before `/v1`, without a slash at the end.
        model: Name of the model there.
    """

    def __init__(self, url: str, model: str, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        """Names the server; nothing is sent.

        Args:
            url: Such as `http://host:8501`; or with the model, `http://host:8501/v1/models/name`.
            model: Name of the model, where the URL names none.
            timeout_seconds: How long one question may take.

        Raises:
            InvalidUriError: The URL is none of these.
        """
        self.url, named = _split(url)
        self.model = named or model
        self._timeout_seconds = timeout_seconds
        host = urllib.parse.urlsplit(self.url).netloc
        direct = [urllib.request.ProxyHandler({})] if host.startswith(_LOOPBACK) else []
        self._opener = urllib.request.build_opener(_NoRedirects, *direct)

    def __str__(self) -> str:
        """The URL of the model."""
        return f"{self.url}/v1/models/{urllib.parse.quote(self.model, safe='')}"

    def versions(self, *, timeout_seconds: float | None = None) -> Mapping[int, VersionStatus]:
        """Returns what the server says of all versions that it knows, by number.

        Args:
            timeout_seconds: How long to wait, if not as long as said at the start.

        Raises:
            NotFoundError: The server knows no version of the model (yet).
            ModelServerError: It does not answer, or not as a model server does.
        """
        answer = self._get("", timeout_seconds)
        try:
            found = [_status(item) for item in answer["model_version_status"]]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise self._strange(f"the answer has no version states ({error!r})") from error
        return {status.number: status for status in sorted(found, key=lambda s: s.number)}

    def status(self, number: int, *, timeout_seconds: float | None = None) -> VersionStatus | None:
        """Returns what the server says of one version; None where it does not know it.

        Args:
            number: The version.
            timeout_seconds: How long to wait, if not as long as said at the start.

        Raises:
            ModelServerError: The server does not answer, or not as a model server does.
        """
        try:
            return self.versions(timeout_seconds=timeout_seconds).get(number)
        except NotFoundError:
            return None

    def available(self) -> tuple[int, ...]:
        """Returns the versions that the server answers for, ascending.

        Raises:
            ModelServerError: The server does not answer, or not as a model server does.
        """
        try:
            versions = self.versions()
        except NotFoundError:
            return ()
        return tuple(n for n, s in versions.items() if s.state is ServerState.AVAILABLE)

    def label(self, label: str) -> int | None:
        """Returns the version that a label means to the server; None where it has no such label.

        Args:
            label: The label.

        Raises:
            ModelServerError: The server does not answer, or not as a model server does.
        """
        try:
            answer = self._get(f"/labels/{urllib.parse.quote(label, safe='')}/metadata", None)
            return int(answer["model_spec"]["version"])
        except NotFoundError:
            return None
        except _Refused:
            return None  # "Unrecognized servable version label" is an invalid argument there
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise self._strange(f"the answer names no version ({error!r})") from error

    def _get(self, path: str, timeout_seconds: float | None) -> Any:
        timeout = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        try:
            data = _within(timeout + _GRACE_SECONDS, lambda: self._ask(path, timeout))
        except TimeoutError as error:
            raise self._no_answer(error) from error
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._strange("the answer is no JSON") from error

    def _ask(self, path: str, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        request = urllib.request.Request(f"{self}{path}", headers={"Accept": "application/json"})
        try:
            with self._opener.open(request, timeout=max(timeout, 0.001)) as response:
                return _read(response.read1, deadline)
        except urllib.error.HTTPError as error:
            with error:
                raise self._http_error(error) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._no_answer(error) from error

    def _no_answer(self, error: Exception) -> ModelServerError:
        reason = getattr(error, "reason", None) or error
        return ModelServerError(
            f"the model server {self} did not answer",
            printable(str(reason)) or type(error).__name__,
            "check that it runs and that its REST port (--rest_api_port) can be reached",
        )

    def _http_error(self, error: urllib.error.HTTPError) -> Exception:
        if error.code == 404:
            return NotFoundError(
                f"the model server {self} knows no such model",
                _words(error) or "it answered 404",
                "check the name of the model there (--model_name, or name: in the model config)",
            )
        if 300 <= error.code < 400:
            return self._strange("it redirects, and redirects are not followed")
        kind = _Refused if error.code == 400 else ModelServerError
        return kind(
            f"the model server {self} answered {error.code}",
            _words(error) or str(error.reason),
            "look into its log",
        )

    def _strange(self, why: str) -> ModelServerError:
        return ModelServerError(
            f"what listens at {self} does not answer as TensorFlow Serving does",
            why,
            "give the URL of a model server's REST API",
        )


class _Refused(ModelServerError):  # noqa: N818 - no error of its own, callers see its base
    """The server takes the question for an invalid one."""


def _split(url: str) -> tuple[str, str]:
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise _invalid(url, str(error)) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _invalid(url, "it is no http:// or https:// URL")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise _invalid(url, "it may hold no user, password, query or fragment")
    before, found, model = parts.path.partition("/v1/models/")
    if not found:
        before = before.rstrip("/").removesuffix("/v1/models").removesuffix("/v1")
    elif "/" in model.rstrip("/") or ":" in model:
        raise _invalid(url, "it goes on behind the name of the model")
    base = f"{parts.scheme}://{parts.netloc}{before.rstrip('/')}"
    return base, urllib.parse.unquote(model.rstrip("/"))


def _within(seconds: float, ask: Callable[[], bytes]) -> bytes:
    """Asks, and waits no longer for the answer.

    A timeout of a socket begins anew with each byte, and looking up a name has none.
    """
    answers: queue.SimpleQueue[bytes | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put(ask())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            answers.put(error)

    threading.Thread(target=run, name="tfx-registry-status", daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError("timed out while the answer came in") from None
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _read(read: Callable[[int], bytes], deadline: float) -> bytes:
    parts, size = [], 0
    while part := read(1 << 16):
        parts.append(part)
        size += len(part)
        if size > _LIMIT_BYTES:
            raise ValueError(f"the answer has more than {_LIMIT_BYTES} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError("timed out while the answer came in")
    return b"".join(parts)


def _words(error: urllib.error.HTTPError) -> str:
    try:
        return _shown(json.loads(error.read(1 << 16))["error"])
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return ""


def _status(item: Any) -> VersionStatus:
    state = item.get("state", "UNKNOWN")
    status = item.get("status", {})
    number = item["version"]  # an int64, which JSON of protobuf writes as text
    if not isinstance(number, str | int) or isinstance(number, bool):
        raise TypeError(f"{number!r:.20} is no version")
    return VersionStatus(
        int(number),
        ServerState(state) if state in ServerState.__members__ else ServerState.UNKNOWN,
        _shown(status.get("error_code", "OK")),
        _shown(status.get("error_message", "")),
    )


def _shown(said: object) -> str:
    """Returns what a server says, short and without anything that steers a terminal."""
    return printable(str(said)[:_MOST_WORDS])


def _invalid(url: str, why: str) -> InvalidUriError:
    return InvalidUriError(
        f"invalid URL of a model server {url!r}", why, "give one such as http://host:8501"
    )
