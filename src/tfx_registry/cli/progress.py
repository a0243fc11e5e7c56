"""Progress bars on a terminal: how much was hashed or copied, and how fast. Nothing in pipes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["copying", "hashing"]

#: What takes less time is over before anybody reads a bar.
_PATIENCE_SECONDS = 0.5

_copying = threading.Event()


@contextmanager
def copying(size_bytes: int) -> Iterator[Callable[[int], None]]:
    """Shows how much of a model was copied, as soon as it takes longer than half a second.

    Args:
        size_bytes: Size of the model.

    Yields:
        A function that is told how many bytes were copied since the last call.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    _copying.set()
    shown = _Counted("copying", size_bytes)
    try:
        yield shown.add
    finally:
        shown.end()
        _copying.clear()


@contextmanager
def hashing() -> Iterator[None]:
    """Shows how much was hashed, as soon as it takes longer than half a second."""
    if not sys.stderr.isatty():
        yield
        return
    from tfx_registry import digest

    shown = _Counted("hashing", None)
    with digest.watched(shown.add):
        try:
            yield
        finally:
            shown.end()


class _Counted:
    """Counts bytes from several threads, and shows a bar once they take long."""

    def __init__(self, title: str, size_bytes: int | None) -> None:
        self._title = title
        self._size_bytes = size_bytes
        self._lock = threading.Lock()
        self._begun: float | None = None
        self._count = 0
        self._bar: Progress | None = None

    def add(self, count: int) -> None:
        """Counts more bytes."""
        with self._lock:
            self._count += count
            now = time.monotonic()
            if self._begun is None:
                self._begun = now
            if self._bar is None and now - self._begun > _PATIENCE_SECONDS:
                if self._size_bytes is None and _copying.is_set():
                    return  # there is a bar already, of what is copied while it is hashed
                self._bar = _bar(self._title, self._size_bytes)
                self._bar.start()
            if self._bar is not None:
                self._bar.update(self._bar.tasks[0].id, completed=self._count)

    def end(self) -> None:
        """Takes the bar away."""
        with self._lock:
            if self._bar is not None:
                self._bar.stop()


def _bar(title: str, size_bytes: int | None) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    bar.add_task(title, total=size_bytes)
    return bar
