"""Publishers of one place in an object store take turns by a lease.

There is no lock there that the operating system takes back. So whoever works writes an object,
with the condition that nobody else has, and writes it again every few seconds as a sign of life.
Whoever waits watches it: has it not changed for the length of the lease, by the own clock, its
holder counts as dead, and the lease is taken over. No two clocks are compared.

A holder that was only asleep (a suspended machine) notices before its next step that its time is
over, and stops. A single request that is on its way at that moment may still arrive: the steps of
`directory.py` are such that one late request makes nothing wrong visible.

Some stores that speak S3's protocol ignore conditions. So each time the lease is taken, it is
tried to take it a second time; where that works, nothing is done there at all.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tfx_registry.errors import ConflictError, RegistryError, ServingDirectoryError
from tfx_registry.serving.objects.bucket import Bucket

__all__ = ["Lease", "hold_lease"]

_logger = logging.getLogger(__name__)

_BEATS = 4  # signs of life in the length of a lease


class Lease:
    """The right to change what lies below a prefix, as long as `check` says so."""

    def __init__(self, bucket: Bucket, key: str, seconds: float) -> None:
        """Use `hold_lease`."""
        self._bucket = bucket
        self._key = key
        self._seconds = seconds
        self._token = uuid.uuid4().hex
        self._beat = 0
        self._tag = ""
        self._good_until = 0.0
        self._lost = False
        self._stop = threading.Event()

    def check(self) -> None:
        """Refuses to go on where somebody else may have taken over.

        Raises:
            ConflictError: Somebody may have.
        """
        if self._lost or time.monotonic() >= self._good_until:
            raise ConflictError(
                f"cannot go on in {str(self._bucket.url)!r}",
                "this process gave no sign of life for too long, and another one may work there",
                "repeat it; what was begun is finished or undone then",
            )

    def _content(self, holder: str) -> bytes:
        self._beat += 1
        who = {"host": socket.gethostname(), "process": os.getpid(), "beat": self._beat}
        return json.dumps({"holder": holder, "seconds": self._seconds, **who}).encode()

    def acquire(self) -> None:
        """Waits until nobody else has it, and takes it."""
        seen, since, told = "", 0.0, False
        while True:
            begun = time.monotonic()
            found = self._bucket.look(self._key)
            if found is None:
                self._bucket.create(self._key, self._content(self._token))
                taken = True
            else:
                state, tag = _parse(found[0]), found[1]
                if tag != seen:
                    seen, since = tag, time.monotonic()
                length = max(self._seconds, float(state.get("seconds", 0)))
                dead = time.monotonic() - since > length
                taken = dead or not state.get("holder")
                if taken:
                    if dead:
                        _logger.warning("%s: took over from one that died: %s", self._key, state)
                    self._bucket.swap(self._key, self._content(self._token), tag)
                elif not told:
                    told = True
                    _logger.warning("waiting until %s is done with %s", state, self._bucket.url)
            # An answer may have been lost: what lies there says who won.
            if taken and self._mine():
                self._good_until = begun + self._seconds
                self._probe()
                return
            time.sleep(min(1.0, self._seconds / 10))

    def _mine(self) -> bool:
        found = self._bucket.look(self._key)
        if found is None or _parse(found[0]).get("holder") != self._token:
            return False
        self._tag = found[1]
        return True

    def _probe(self) -> None:
        if self._bucket.create(self._key, self._content(self._token)):
            self._bucket.delete([self._key])
            raise ServingDirectoryError(
                f"cannot publish into {str(self._bucket.url)!r}",
                "the store ignores the condition to make an object only if there is none, so two "
                "promoters could undo each other's work",
                "use a store that knows conditional writes, or a mounted file system",
            )

    def keep(self) -> None:
        """Gives signs of life until `release`; runs in a thread."""
        while not self._stop.wait(self._seconds / _BEATS):
            begun = time.monotonic()
            try:
                tag = self._bucket.swap(self._key, self._content(self._token), self._tag)
                if tag is None:
                    # Whether this one has arrived nobody knows; if all is well, the next one does.
                    self._lost = not self._mine()
                    if self._lost:
                        return
                    continue
                self._tag = tag
            except RegistryError as error:
                _logger.warning("%s: no sign of life: %s", self._key, error)
                continue
            self._good_until = begun + self._seconds

    def release(self, keeper: threading.Thread) -> None:
        """Lets the next one in."""
        self._stop.set()
        keeper.join()
        # Where that fails it is over by itself, only later.
        with contextlib.suppress(RegistryError):
            self._bucket.swap(self._key, self._content(""), self._tag)


@contextmanager
def hold_lease(bucket: Bucket, key: str) -> Iterator[Lease]:
    """Waits until nobody else works below a prefix, and holds it.

    Args:
        bucket: The bucket.
        key: Key of the object by which publishers take turns.

    Yields:
        The lease.

    Raises:
        ServingDirectoryError: The store refuses, or does not know conditions.
        StoreUnavailableError: It does not answer.
    """
    lease = Lease(bucket, key, bucket.options.lease_seconds)
    lease.acquire()
    keeper = threading.Thread(target=lease.keep, name="tfx-registry-lease", daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        lease.release(keeper)


def _parse(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
