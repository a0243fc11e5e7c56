"""Lets go of connections to SQLite before this process forks.

SQLite keeps in memory which files it has locked. In a forked child that memory says the same, but
the locks are the parent's alone. A child that opens a file which its parent had open is then taken
for somebody who holds a lock, and holds none: as soon as the parent closes the file, the log is
deleted, and what the child writes into it from then on is lost although it was acknowledged.

So there is no connection while a process forks. Parent and child make new ones when they need them.
This is about `os.fork` and what uses it, such as `multiprocessing`; `subprocess` does not.
"""

from __future__ import annotations

import abc
import contextlib
import os
import threading
import time
import weakref
from collections.abc import Iterator

__all__ = ["Forkable"]

#: How long a fork waits for the calls of other threads.
_WAIT_SECONDS = 30.0


class Forkable(abc.ABC):
    """Something that threads use at the same time and that must not be there while a process forks.

    Whoever uses it does so inside of `_in_use`, and makes it with `_lock` held.
    """

    def __init__(self, *, release: bool) -> None:
        """Makes it.

        Args:
            release: Whether a fork waits for its users and calls `_release`.
        """
        self._reset()
        if release:
            _living.add(self)

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._users = 0

    @abc.abstractmethod
    def _release(self) -> None:
        """Lets go of what must not be copied; nobody uses it, and the lock is held."""

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._idle.notify_all()

    def _stop(self, deadline: float) -> bool:
        """Waits for the users, and keeps others away; tells whether the lock is held now."""
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return False
        if self._idle.wait_for(lambda: not self._users, max(0.0, deadline - time.monotonic())):
            self._release()
        return True


_living: weakref.WeakSet[Forkable] = weakref.WeakSet()
_forking = threading.Lock()  # one fork at a time, so that two never wait for each other
_stopped: list[Forkable] = []


def _before() -> None:
    _forking.acquire()
    deadline = time.monotonic() + _WAIT_SECONDS
    _stopped.extend(one for one in list(_living) if one._stop(deadline))


def _go_on() -> None:
    while _stopped:
        _stopped.pop()._lock.release()
    _forking.release()


def _begin_in_child() -> None:
    _stopped.clear()
    for one in list(_living):
        one._reset()  # the threads that might hold its lock are not here
    _forking.release()


os.register_at_fork(before=_before, after_in_parent=_go_on, after_in_child=_begin_in_child)
