"""Keeps Python's cyclic garbage collector out of work that makes many objects and no cycle.

The collector looks at all objects of a process again and again while their number grows. The checks
of a decision refer to no check, so it finds nothing, and takes the more time the more slices there
are: without it, ten times the slices take about ten times as long.

What is freed by its count of references is freed as ever. Cycles that other threads make meanwhile
wait until the work is done, which is a second for 200,000 checks.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collector_paused"]

#: Holds an item for each thread that pauses the collector.
_paused: list[bool] = []


@contextmanager
def collector_paused() -> Iterator[None]:
    """Switches the collector off, and on again however the work ends.

    A collector that is off already stays off: the program wants it so, or the work of another
    thread or an outer one has paused it. In a process that is forked meanwhile it is on.
    """
    if not gc.isenabled():
        yield
        return
    _paused.append(True)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        del _paused[-1:]


def _resume_in_child() -> None:
    """A forked process has only the thread that forked: nobody else would switch it on again."""
    if _paused:
        gc.enable()
        _paused.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_resume_in_child)
