"""Runs the web pages in a production server, until it is told to stop."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from tfx_registry.errors import InvalidInputError
from tfx_registry.pages.guard import Guard
from tfx_registry.pages.view import RegistryView

__all__ = ["check_installed", "serve"]

_THREADS = 4
#: Nothing here reads what a request brings along; Waitress would keep up to a gigabyte of it.
_MAX_BODY_BYTES = 4096


def check_installed() -> None:
    """Raises InvalidInputError where what the pages need is not installed."""
    missing = [name for name in ("flask", "waitress") if importlib.util.find_spec(name) is None]
    if missing:
        raise InvalidInputError(
            "cannot serve pages",
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed",
            "install the extra: pip install 'tfx-registry[ui]'",
        )


def serve(
    view: RegistryView,
    guard: Guard,
    port: int,
    *,
    title: str = "",
    started: Callable[[str], object],
) -> None:
    """Serves the pages until SIGINT or SIGTERM.

    Args:
        view: The registry.
        guard: Who may ask; its host is listened on.
        port: The port; 0 takes a free one.
        title: What the pages call the registry.
        started: Told the address once requests are taken.

    Raises:
        InvalidInputError: Something is not installed, or the address cannot be listened on.
    """
    check_installed()
    from waitress.server import create_server  # type: ignore[import-untyped]

    from tfx_registry.pages.web import make_app

    app = make_app(view, guard, title=title)
    try:
        server: Any = create_server(
            app,
            host=guard.host,
            port=port,
            threads=_THREADS,
            max_request_body_size=_MAX_BODY_BYTES,
            ident=None,
            clear_untrusted_proxy_headers=True,
        )
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"cannot listen on {guard.host}:{port}",
            getattr(error, "strerror", None) or str(error),
            "choose another --port, or stop what listens there",
        ) from error
    name = f"[{guard.host}]" if ":" in guard.host else guard.host
    with _stopping():
        started(f"http://{name}:{_port_of(server)}/")
        try:
            server.run()  # returns at SystemExit, after the requests at work are answered
        finally:
            with contextlib.suppress(OSError):
                server.close()


def _port_of(server: Any) -> int:
    listening = getattr(server, "effective_listen", None)
    return int(listening[0][1] if listening else server.effective_port)


@contextlib.contextmanager
def _stopping() -> Iterator[None]:
    """Turns SIGTERM into the end of the program; SIGINT does that by itself."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
