"""Loads and unloads versions in the order in which a model server does.

Rules: tensorflow_serving/core/aspired_versions_manager.cc (what is aspired, when a request has to
wait), availability_preserving_policy.cc (the order of loads and unloads), loader_harness.cc and
util/retrier.cc (tries), servable_state_monitor.cc (what the status API remembers).
"""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tfx_registry.testing.model_server.loaders import Loaded, Loader, LoadError
from tfx_registry.testing.model_server.source import Aspired

__all__ = ["Manager", "Status"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Status:
    """What the status API says of a version.

    Attributes:
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        error_code: "OK" or the error's name.
        error_message: The error in words.
    """

    state: str
    error_code: str = "OK"
    error_message: str = ""


class _State(enum.Enum):
    NEW = enum.auto()
    READY = enum.auto()
    DISABLED = enum.auto()
    ERROR = enum.auto()


@dataclass
class _Harness:
    path: str
    state: _State = _State.NEW
    aspired: bool = True
    loaded: Loaded | None = None


class Manager:
    """The versions of all models. Only one thread changes them; any may ask."""

    def __init__(
        self,
        loader: Loader,
        *,
        max_num_load_retries: int,
        load_retry_interval_seconds: float,
        wait: Callable[[float], bool],
    ) -> None:
        """Makes a manager of nothing.

        Args:
            loader: Loads versions.
            max_num_load_retries: Tries after the first one that failed.
            load_retry_interval_seconds: Pause between them; not positive means none.
            wait: Waits so many seconds; True means that the server ends.
        """
        self._loader = loader
        self._retries = max_num_load_retries
        self._interval_seconds = load_retry_interval_seconds
        self._wait = wait
        self._lock = threading.RLock()
        self._harnesses: dict[str, dict[int, _Harness]] = {}
        self._pending: dict[str, Sequence[Aspired]] = {}
        self._states: dict[str, dict[int, Status]] = {}

    # Asking

    def statuses(self, name: str) -> Mapping[int, Status]:
        """Returns what is known of every version that was ever tracked, by number."""
        with self._lock:
            return dict(sorted(self._states.get(name, {}).items()))

    def available(self, name: str, number: int | None = None) -> tuple[int, Loaded] | None:
        """Returns a version that can answer; without a number the highest, None if there is none.

        A request that names neither a version nor a label goes to the highest
        (`ServableRequest::Latest`).
        """
        with self._lock:
            ready = {
                version: harness.loaded
                for version, harness in self._harnesses.get(name, {}).items()
                if harness.state is _State.READY and harness.loaded is not None
            }
            wanted = max(ready, default=None) if number is None else number
            return (wanted, ready[wanted]) if wanted in ready and wanted is not None else None

    # Changing

    def aspire(self, name: str, versions: Sequence[Aspired]) -> None:
        """Notes which versions of a model should be served; none means that all are unloaded."""
        self._pending[name] = versions

    def settle(self) -> None:
        """Works until nothing is left to do."""
        while self._step():
            pass

    def close(self) -> None:
        """Lets go of everything that is loaded."""
        for versions in self._harnesses.values():
            for harness in versions.values():
                if harness.loaded is not None:
                    harness.loaded.unload()

    def _step(self) -> bool:
        """One round of the thread that manages states; tells whether it did anything."""
        flushed = self._flush()
        handled = self._handle_pending()
        return self._act() or flushed or handled

    def _flush(self) -> bool:
        """`FlushServables`: forgets what is neither aspired nor loaded."""
        gone = [
            (name, number)
            for name, versions in self._harnesses.items()
            for number, harness in versions.items()
            if not harness.aspired and harness.state is not _State.READY
        ]
        with self._lock:
            for name, number in gone:
                del self._harnesses[name][number]
        return bool(gone)

    def _handle_pending(self) -> bool:
        """`HandlePendingAspiredVersionsRequests`.

        A request for a version that was dropped and is not unloaded yet waits, with all that it
        asks for.
        """
        ready = [
            name for name, versions in self._pending.items() if not self._waits(name, versions)
        ]
        changed = False
        for name in ready:
            changed |= self._process(name, self._pending.pop(name))
        return changed

    def _waits(self, name: str, versions: Sequence[Aspired]) -> bool:
        known = self._harnesses.get(name, {})
        return any(v.version in known and not known[v.version].aspired for v in versions)

    def _process(self, name: str, versions: Sequence[Aspired]) -> bool:
        """`ProcessAspiredVersionsRequest`: a version that failed is left alone while listed."""
        known = self._harnesses.setdefault(name, {})
        wanted = {v.version for v in versions}
        changed = False
        for number, harness in known.items():
            if harness.aspired and number not in wanted:
                harness.aspired = False
                changed = True
        for version in versions:
            if version.version in known:
                continue
            with self._lock:
                known[version.version] = _Harness(version.path)
            self._publish(name, version.version, Status("START"))
            changed = True
        return changed

    def _act(self) -> bool:
        """Takes the next action of one model: unloading comes first."""
        loads = []
        for name, versions in self._harnesses.items():
            action = _next_action(versions)
            if action is None:
                continue
            number, load = action
            if not load:
                self._unload(name, number)
                return True
            loads.append((number, name))
        if loads:
            number, name = max(loads)
            self._load(name, number)
        return bool(loads)

    def _unload(self, name: str, number: int) -> None:
        harness = self._harnesses[name][number]
        self._publish(name, number, Status("UNLOADING"))
        with self._lock:
            loaded, harness.loaded = harness.loaded, None
            harness.state = _State.DISABLED
        if loaded is not None:
            loaded.unload()
        self._publish(name, number, Status("END"))

    def _load(self, name: str, number: int) -> None:
        harness = self._harnesses[name][number]
        self._publish(name, number, Status("LOADING"))
        tries = 0
        while True:
            tries += 1
            try:
                loaded = self._loader.load(harness.path)
            except LoadError as error:
                _logger.info("loading %s version %d failed: %s", name, number, error)
                if tries <= self._retries and not self._pause():
                    continue
                harness.state = _State.ERROR
                self._publish(name, number, Status("END", error.code, error.message))
                return
            with self._lock:
                harness.loaded, harness.state = loaded, _State.READY
            self._publish(name, number, Status("AVAILABLE"))
            return

    def _pause(self) -> bool:
        return self._wait(max(self._interval_seconds, 0.0))

    def _publish(self, name: str, number: int, status: Status) -> None:
        with self._lock:
            self._states.setdefault(name, {})[number] = status
        _logger.info("%s version %d: %s", name, number, status.state)


def _next_action(versions: Mapping[int, _Harness]) -> tuple[int, bool] | None:
    """`AvailabilityPreservingPolicy::GetNextAction`: the version, and whether to load it."""
    aspired = [h for h in versions.values() if h.aspired]
    serving = any(h.state is _State.READY for h in aspired)
    unwanted = [n for n, h in versions.items() if not h.aspired and h.state is _State.READY]
    if unwanted and (not aspired or serving or len(unwanted) > 1):
        return min(unwanted), False
    new = [n for n, h in versions.items() if h.aspired and h.state is _State.NEW]
    return (max(new), True) if new else None
