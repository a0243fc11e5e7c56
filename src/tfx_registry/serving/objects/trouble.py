"""What goes wrong with object stores: what is tried again, and what is said in the end."""

from __future__ import annotations

import asyncio
import errno
import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from tfx_registry.errors import RegistryError, ServingDirectoryError, StoreUnavailableError
from tfx_registry.serving.objects.options import ObjectOptions

__all__ = ["explain", "retried", "status_of"]

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")

_LONGEST_PAUSE = 20.0
_BUSY_CODES = frozenset(
    {
        "BandwidthLimitExceeded", "ConditionalRequestConflict", "InternalError",
        "OperationAborted", "RequestLimitExceeded", "RequestTimeout", "ServiceUnavailable",
        "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests",
    }
)  # fmt: skip
_BUSY_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
# By name, so that nothing has to be imported: botocore, aiohttp, requests and fsspec raise these
# where a connection was refused, dropped, or took too long.
_LOST = frozenset(
    {
        "ClientConnectionError", "ClientError", "ClientOSError", "ClientPayloadError",
        "ConnectTimeoutError", "ConnectionClosedError", "ConnectionError",
        "EndpointConnectionError", "FSTimeoutError", "HTTPClientError", "IncompleteRead",
        "ProxyError", "ReadTimeoutError",
        "ResponseParserError", "ServerDisconnectedError", "Timeout",
    }
)  # fmt: skip


def retried(action: Callable[[], _T], options: ObjectOptions, what: str) -> _T:
    """Does something again while the store is too busy for it, or connections drop.

    Args:
        action: What to do; doing it twice must do no harm.
        options: How often, and how long to wait.
        what: What it is, for the log.

    Returns:
        What it returns.

    Raises:
        Exception: What the last attempt raised.
    """
    pause = options.backoff_seconds
    for attempt in range(1, options.attempts + 1):
        try:
            return action()
        except Exception as error:  # noqa: PERF203 - to try again is the point
            if attempt == options.attempts or not _is_passing(error):
                raise
            # Full jitter: those who failed together do not come back together.
            wait = random.uniform(0, pause)
            _logger.info("%s failed (%s), trying again in %.2f s", what, error, wait)
            time.sleep(wait)
            pause = min(pause * 2, _LONGEST_PAUSE)
    raise AssertionError("unreachable")


def explain(error: BaseException, what: str, place: str) -> BaseException:
    """Makes one clear error of what a client raised.

    Args:
        error: What it raised.
        what: What was attempted: "read", "write", ...
        place: Where.

    Returns:
        The error to raise: one of ours, or the given one where it says enough to a program.
    """
    if isinstance(error, RegistryError) or not isinstance(error, Exception):
        return error
    said = _said(error)
    tried = f"cannot {what} {place!r}"
    status, code = status_of(error)
    if code == "NoSuchBucket" or (isinstance(error, FileNotFoundError) and what != "read"):
        return ServingDirectoryError(tried, "there is no such bucket", "check its name, or make it")
    if isinstance(error, FileNotFoundError):
        return ServingDirectoryError(
            tried, "there is no such object (any more), or no such bucket", "look what lies there"
        )
    if _is_missing_credentials(error):
        return ServingDirectoryError(
            tried, f"there are no usable credentials ({said})",
            "give them as the client of this store expects: for s3 the variables AWS_* or a "
            "profile, for gs 'gcloud auth application-default login'",
        )  # fmt: skip
    if isinstance(error, PermissionError) or status in (401, 403) or "Forbidden" in said:
        return ServingDirectoryError(
            tried, f"access is denied ({said})",
            "let this user list, read, write and delete below the prefix",
        )  # fmt: skip
    if _is_passing(error):
        return StoreUnavailableError(
            tried, f"the store does not answer as it should ({said})",
            "repeat once it does; what was begun is finished or undone then",
        )  # fmt: skip
    return ServingDirectoryError(tried, said, "correct it and repeat")


def status_of(error: BaseException) -> tuple[int, str]:
    """Finds the HTTP status and the store's own code in an error; 0 and "" where it has none."""
    for one in _chain(error):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return int(status or 0), str(response.get("Error", {}).get("Code", ""))
        code = getattr(one, "code", None)
        if isinstance(code, int | str) and str(code).isdigit():
            return int(code), ""
    return 0, ""


def _is_passing(error: BaseException) -> bool:
    status, code = status_of(error)
    if code in _BUSY_CODES or status in _BUSY_STATUS:
        return True
    if status or code or _is_missing_credentials(error):
        return False
    if isinstance(error, ConnectionError | TimeoutError | asyncio.TimeoutError):
        return True
    if isinstance(error, OSError) and error.errno in (errno.EBUSY, errno.ECONNRESET, errno.EPIPE):
        return True
    return any(kind.__name__ in _LOST for one in _chain(error) for kind in type(one).__mro__)


def _is_missing_credentials(error: BaseException) -> bool:
    names = {kind.__name__ for one in _chain(error) for kind in type(one).__mro__}
    return bool(names & {"NoCredentialsError", "PartialCredentialsError", "GoogleAuthError"})


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(5):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:300]
