"""Waits until model servers serve a version, or says why they do not."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from tfx_registry.errors import ModelServerError, NotServedError
from tfx_registry.serving.status_client import ModelServer, ServerState, VersionStatus

__all__ = ["Before", "ServerReport", "look", "wait_until_available", "wait_until_labelled"]

T = TypeVar("T")

_POLL_SECONDS = 0.5
_PARALLEL = 16

#: What each server said of a version, by URL; None where it knew nothing of it, or said nothing.
Before = Mapping[str, "VersionStatus | None"]


@dataclass(frozen=True)
class ServerReport:
    """What one server said last.

    Attributes:
        server: URL of the model there.
        available: Whether it answers for the version.
        failed: Whether it has given up on the version.
        detail: Its state or error in words.
    """

    server: str
    available: bool
    failed: bool
    detail: str

    def __str__(self) -> str:
        """The server and what it said."""
        return f"{self.server}: {self.detail}"


def look(servers: Sequence[ModelServer], number: int, *, timeout_seconds: float = 5.0) -> Before:
    """Asks each server once what it says of a version, before anything is changed.

    A server remembers the last failure of a version for ever. What it says now tells such a memory
    from a failure that happens afterwards.

    Args:
        servers: The servers.
        number: The version.
        timeout_seconds: How long one may take; one that does not answer is no error here.

    Returns:
        The answers by the server's URL.
    """

    def ask(server: ModelServer) -> VersionStatus | None:
        try:
            return server.status(number, timeout_seconds=timeout_seconds)
        except ModelServerError:
            return None

    return dict(zip(map(str, servers), _each(ask, servers), strict=True))


def wait_until_available(
    servers: Sequence[ModelServer],
    number: int,
    *,
    deadline_seconds: float,
    before: Before | None = None,
    poll_seconds: float = _POLL_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[ServerReport, ...]:
    """Polls servers until each of them answers for a version.

    A server that does not answer is asked again, because it may be starting. One whose load of the
    version fails ends the wait at once: TensorFlow Serving has then tried `max_num_load_retries`
    times and does not try again while the version stays listed.

    Args:
        servers: The servers; at least one.
        number: The version.
        deadline_seconds: How long to wait for all of them together.
        before: What `look` returned before the version was published or listed.
        poll_seconds: Pause between two rounds of questions.
        clock: Tells seconds; for tests.
        sleep: Waits; for tests.

    Returns:
        What each server said.

    Raises:
        NotServedError: A server has given up on the version, or the deadline has passed. Its
            attribute `reports` holds a `ServerReport` for each server.
    """
    deadline = clock() + deadline_seconds
    stale = {url: status for url, status in (before or {}).items() if status and status.failed}
    reports: dict[str, ServerReport] = {}
    while True:
        waiting = [s for s in servers if not (r := reports.get(str(s))) or not r.available]
        left = max(deadline - clock(), 0.0)
        timeout = min(5.0, max(left, 0.5))
        answers = _each(
            functools.partial(_ask, number=number, timeout=timeout, stale=stale), waiting
        )
        for report in answers:
            if report.detail != _STALE and not report.failed:
                stale.pop(report.server, None)
            reports[report.server] = report
        ordered = tuple(reports[str(server)] for server in servers)
        if all(report.available for report in ordered):
            return ordered
        failed = [report for report in ordered if report.failed]
        late = clock() >= deadline
        if failed or late:
            raise _not_served(number, ordered, failed, deadline_seconds, stale)
        sleep(min(poll_seconds, max(deadline - clock(), 0.0)))


def wait_until_labelled(
    servers: Sequence[ModelServer],
    label: str,
    number: int | None,
    *,
    deadline_seconds: float,
    poll_seconds: float = _POLL_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Polls servers until a label means a version to each of them.

    Args:
        servers: The servers.
        label: The label.
        number: The version; None means that the label is gone.
        deadline_seconds: How long to wait for all of them together.
        poll_seconds: Pause between two rounds of questions.
        clock: Tells seconds; for tests.
        sleep: Waits; for tests.

    Raises:
        NotServedError: The deadline has passed.
    """
    deadline = clock() + deadline_seconds
    waiting = list(servers)
    while True:
        answers = _each(functools.partial(_label, label=label), waiting)
        told = [(s, a) for s, a in zip(waiting, answers, strict=True) if a != number]
        waiting = [server for server, _ in told]
        if not waiting:
            return
        if clock() >= deadline:
            shown = "; ".join(f"{s}: {'not set' if a is None else a}" for s, a in told)
            raise NotServedError(
                f"the label {label!r} has not reached {len(waiting)} of {len(servers)} model "
                "servers",
                f"after {deadline_seconds:g} seconds, {shown}",
                "check that they poll the file (--model_config_file_poll_wait_seconds) and look "
                "into their logs; what was recorded stands, and they follow once they read it",
            )
        sleep(min(poll_seconds, max(deadline - clock(), 0.0)))


def _label(server: ModelServer, *, label: str) -> int | str | None:
    try:
        return server.label(label)
    except ModelServerError as error:
        return f"no answer ({error.why})"


_STALE = "it has failed before, and has not tried again yet"


def _ask(
    server: ModelServer, *, number: int, timeout: float, stale: Mapping[str, VersionStatus]
) -> ServerReport:
    url = str(server)
    try:
        status = server.status(number, timeout_seconds=timeout)
    except ModelServerError as error:
        return ServerReport(url, False, False, f"no answer ({error.why})")
    if status is None:
        return ServerReport(url, False, False, "it does not know the version")
    if status.failed and stale.get(url) == status:
        return ServerReport(url, False, False, _STALE)
    available = status.state is ServerState.AVAILABLE
    return ServerReport(url, available, status.failed, str(status))


def _not_served(
    number: int,
    reports: Collection[ServerReport],
    failed: Sequence[ServerReport],
    deadline_seconds: float,
    stale: Mapping[str, VersionStatus],
) -> NotServedError:
    shown = failed or [report for report in reports if not report.available]
    why = "; ".join(
        f"{report} ({stale[report.server]})" if report.detail == _STALE else str(report)
        for report in shown
    )
    waited = "" if failed else f"after {deadline_seconds:g} seconds, "
    return NotServedError(
        f"version {number} is not available in {len(shown)} of {len(reports)} model servers",
        f"{waited}{why}",
        "look into the server's log; a version that failed is loaded again only after it was "
        "taken away and put back, or the server was started again",
        reports=tuple(reports),
    )


def _each(function: Callable[[ModelServer], T], servers: Sequence[ModelServer]) -> list[T]:
    if len(servers) < 2:
        return [function(server) for server in servers]
    with ThreadPoolExecutor(min(_PARALLEL, len(servers))) as pool:
        return list(pool.map(function, servers))
