"""Threads for work that waits for the disk or hashes: both give other threads their turn."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["for_each", "worker_count"]

_T = TypeVar("_T")
_R = TypeVar("_R")

_MOST_WORKERS = 4  # beyond that one disk is the limit, and a training job may run beside it


def worker_count() -> int:
    """Returns how many threads are worth while on this machine, at least 2."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(2, min(_MOST_WORKERS, cores))


def for_each(work: Callable[[_T], _R], items: Iterable[_T], workers: int) -> list[_R]:
    """Does something with each item, in several threads.

    The first error stops the rest: what has begun is finished, nothing new begins.

    Args:
        work: What to do.
        items: With what; begun in this order.
        workers: How many threads; 1 means this one.

    Returns:
        The results, in no particular order.

    Raises:
        BaseException: What `work` raised first.
    """
    queue = deque(items)
    results: list[_R] = []
    stop = threading.Event()

    def drain() -> None:
        while not stop.is_set():
            try:
                item = queue.popleft()
            except IndexError:
                return
            try:
                results.append(work(item))
            except BaseException:
                stop.set()
                raise

    workers = min(workers, len(queue))
    if workers <= 1:
        drain()
        return results
    with ThreadPoolExecutor(workers, "tfx-registry-files") as pool:
        try:
            for task in [pool.submit(drain) for _ in range(workers)]:
                task.result()
        finally:
            stop.set()
    return results
