"""Compares head, versions, content index and edges with the log, and rebuilds them from it.

The log is the truth and is never touched. Where it does not hold together itself, nothing of that
model is repaired: a state that follows from a damaged log would look right and be wrong.

Reading goes on beside writers. Each mutation changes log and state in one transaction; so a state
that is read after a stretch of the log can only be newer than it. What does not fit is therefore
looked at again as long as the log grows.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from tfx_registry.names import model_key
from tfx_registry.records import Head
from tfx_registry.registry.differences import (
    content_problem,
    decode,
    differences,
    shown,
    version_problem,
)
from tfx_registry.registry.replay import Replay
from tfx_registry.registry.store import AppendConflict, StateRepair, Store, StoredKeys
from tfx_registry.registry.verify import UNREADABLE_ROW, Damage, Progress, read_log, silent

__all__ = ["FileStore", "FsckReport", "LinkedStore", "check", "check_model", "repair"]

_TRIES = 10
_BATCH = 500

T = TypeVar("T")

#: The head stands elsewhere than the log, or is none: it does not tell where the log ended.
_HEAD_IS_NO_WITNESS = frozenset({"head.missing", "head.unreadable", "head.stale", "log.end"})

#: The state knows more than the log. Without a head that vouches for the end of the log, this may
#: be all that is left of lost events.
_MORE_THAN_THE_LOG = frozenset({"version.ahead", "version.extra", "content.extra"})

#: A place in the state: ("head", None), ("version", 3) or ("content", "ab12...").
_Place = tuple[str, Any]


@runtime_checkable
class LinkedStore(Protocol):
    """A store that keeps edges between records, and where other nodes may lie beside them."""

    def check_links(self, model: str, last: int, *, mend: bool) -> list[Damage]:
        """Compares the edges with the log up to event `last`; writes missing ones on `mend`."""

    def find_strays(self) -> list[Damage]:
        """Names what looks like a record of the registry and has not the key of one."""


@runtime_checkable
class FileStore(Protocol):
    """A store that may lie in a file of its own."""

    def check_file(self) -> list[Damage]:
        """Names what is wrong with the file below the records; nothing where it is in none."""


@dataclass(frozen=True)
class FsckReport:
    """What a check found, and what a repair left.

    Attributes:
        models: How many models were looked at.
        events: How many events were read.
        findings: What is wrong now.
        repaired: What was wrong and has been put right.
    """

    models: int
    events: int
    findings: tuple[Damage, ...] = ()
    repaired: tuple[Damage, ...] = ()


def check(store: Store, model: str | None = None, progress: Progress = silent) -> FsckReport:
    """Checks one model, or all.

    Args:
        store: The store.
        model: Name of the model; None means everything that is in the store.
        progress: Told of each event that is read.

    Returns:
        What is wrong.
    """
    return _run(store, model, progress, repairing=False)


def repair(store: Store, model: str | None = None, progress: Progress = silent) -> FsckReport:
    """Checks one model, or all, and rebuilds from the log what is wrong beside it.

    Args:
        store: The store.
        model: Name of the model; None means everything that is in the store.
        progress: Told of each event that is read.

    Returns:
        What was repaired, and what is still wrong.

    Raises:
        StoreUnavailableError: The store cannot be written.
    """
    return _run(store, model, progress, repairing=True)


def check_model(
    store: Store, model: str, keys: StoredKeys, progress: Progress = silent
) -> ModelCheck:
    """Checks one model.

    Args:
        store: The store.
        model: Name of the model.
        keys: What `Store.scan` found of it; taken before anything is read here.
        progress: Told of each event that is read.

    Returns:
        The check.
    """
    checked = ModelCheck(store, model, keys, progress)
    checked.run()
    return checked


def _run(store: Store, model: str | None, progress: Progress, *, repairing: bool) -> FsckReport:
    file = store.check_file() if isinstance(store, FileStore) else []
    if any(finding.code == UNREADABLE_ROW for finding in file):
        return FsckReport(0, 0, tuple(file))  # to read on might end this process
    found = store.scan()
    if model is not None:
        found = {key: keys for key, keys in found.items() if key == model_key(model)}
    events, left, repaired = 0, list[Damage](), list[Damage]()
    for key, keys in found.items():
        checked = check_model(store, key, keys, progress)
        first = checked.findings
        for _ in range(_TRIES if repairing else 0):
            if not checked.findings or not all(f.repairable for f in checked.findings):
                break
            with contextlib.suppress(AppendConflict):
                store.put_state(checked.replay.verifier.model, checked.repair())
            # Once more with the log as it is now: a writer may have been at work meanwhile.
            now = store.scan().get(key, StoredKeys())
            checked = check_model(store, key, now, progress)
        events += checked.replay.verifier.count
        findings = checked.findings
        if isinstance(store, LinkedStore) and not checked.findings:
            links = _check_links(store, checked.replay, repairing=False)
            if repairing and any(finding.repairable for finding in links):
                _check_links(store, checked.replay, repairing=True)
                findings = _check_links(store, checked.replay, repairing=False)
            else:
                findings = links
            first = first + links
        repaired += [finding for finding in first if finding not in findings]
        left += findings
    if isinstance(store, LinkedStore):
        left += [
            finding
            for finding in store.find_strays()
            if model is None or model_key(finding.model) == model_key(model)
        ]
    return FsckReport(len(found), events, (*left, *file), tuple(repaired))


def _check_links(store: LinkedStore, replay: Replay, *, repairing: bool) -> list[Damage]:
    return store.check_links(replay.verifier.model, replay.verifier.seq, mend=repairing)


class ModelCheck:
    """The check of one model.

    Attributes:
        replay: The log and the state that follows from it.
        findings: What is wrong.
    """

    def __init__(
        self, store: Store, model: str, keys: StoredKeys, progress: Progress = silent
    ) -> None:
        """Prepares the check; `run` does it."""
        self._store = store
        self._model = model
        self._keys = keys
        self._progress = progress
        self._wrong: dict[_Place, Damage] = {}
        self.replay = Replay(model)
        self.findings: list[Damage] = []

    def run(self) -> None:
        """Reads the log, compares the state with it, and looks again where it may have changed."""
        places: Collection[_Place] | None = None
        self._read_on(max(self._head_seq(), self._keys.last_event))
        for _ in range(_TRIES):
            self._wrong = {} if self.replay.broken else dict(self._compare(places))
            if not self._wrong or not self._read_on(0):
                break
            places = list(self._wrong)
        self._check_reach()
        log, state = self.replay.all_findings, list(self._wrong.values())
        if log or not self._trustworthy(state):
            state = [dataclasses.replace(finding, repairable=False) for finding in state]
        self.findings = log + state

    def repair(self) -> StateRepair:
        """Returns what `Store.put_state` has to write to put the findings right."""
        versions = self.replay.versions
        contents = self.replay.contents
        wrong = {kind: [key for k, key in self._wrong if k == kind] for kind, _ in self._wrong}
        numbers, digests = wrong.get("version", []), wrong.get("content", [])
        return StateRepair(
            self.replay.head if "head" in wrong else None,
            [versions[number] for number in numbers if number in versions],
            {digest: contents[digest] for digest in digests if digest in contents},
            [number for number in numbers if number not in versions],
            [digest for digest in digests if digest not in contents],
        )

    def _read_on(self, at_least: int) -> bool:
        """Reads the log to its end; tells whether it has grown."""
        before = self.replay.verifier.seq
        for seq, record in read_log(self._store, self._model, before + 1, at_least):
            self.replay.feed(seq, record)
            self._progress("checking", 1)
        return self.replay.verifier.seq > before

    def _check_reach(self) -> None:
        """Names a log that ends before its head; it may not have been compared at all."""
        stands = self._head_seq()
        if stands <= self.replay.verifier.seq:
            return
        self._read_on(stands)
        if stands > (last := self.replay.verifier.seq):
            problem = f"it ends with event {last}, and the head stands at event {stands}"
            self._wrong["head", None] = self._finding("log.truncated", "log", problem, False)

    def _head_seq(self) -> int:
        """Returns the number of the event at which the head stands; 0 if it cannot be read."""
        record = self._store.read_raw_head(self._model)
        head = decode(Head, record) if record is not None else None
        return head.seq if isinstance(head, Head) else 0

    def _trustworthy(self, state: Sequence[Damage]) -> bool:
        """Tells whether the log is known to be whole, so that state may be rebuilt from it."""
        codes = {finding.code for finding in state}
        whole = not codes & _HEAD_IS_NO_WITNESS or not codes & _MORE_THAN_THE_LOG
        return whole and all(finding.repairable for finding in state)

    def _compare(self, places: Collection[_Place] | None) -> Iterator[tuple[_Place, Damage]]:
        """Compares the state with the log.

        Args:
            places: Where to look; None means everywhere.

        Yields:
            What is wrong, and where.
        """
        wanted: dict[str, list[Any]] = {"head": [], "version": [], "content": []}
        if places is None:
            contents = self._keys.contents | set(self.replay.contents)
            wanted = {
                "head": [None],
                "version": sorted(self._keys.versions | set(self.replay.versions)),
                "content": sorted(contents),
            }
        for kind, key in places or ():
            wanted[kind].append(key)
        for number, finding in self._compare_versions(wanted["version"]):
            yield ("version", number), finding
        for digest, finding in self._compare_contents(wanted["content"]):
            yield ("content", digest), finding
        if wanted["head"] and (found := self._compare_head()):
            yield ("head", None), found

    def _compare_versions(self, numbers: Sequence[int]) -> Iterator[tuple[int, Damage]]:
        last = self.replay.verifier.seq
        for batch in _batches(numbers):
            stored = self._store.read_raw_versions(self._model, batch)
            for number in batch:
                record = stored.get(number)
                if record and not record.wrong and record.text == self.replay.version_text(number):
                    continue
                expected = self.replay.versions.get(number)
                code, problem = version_problem(expected, record, last)
                if code:
                    yield number, self._finding(code, f"version {number}", problem)

    def _compare_contents(self, digests: Sequence[str]) -> Iterator[tuple[str, Damage]]:
        expected = self.replay.contents
        for batch in _batches(digests):
            stored = self._store.read_raw_contents(self._model, batch)
            for digest in batch:
                code, problem = content_problem(expected.get(digest), stored.get(digest))
                if code:
                    yield digest, self._finding(code, f"digest {digest[:12]}", problem)

    def _compare_head(self) -> Damage | None:
        expected = self.replay.head
        record = self._store.read_raw_head(self._model)
        if record is None:
            return self._finding("head.missing", "head", "there is none", expected is not None)
        head = decode(Head, record)
        if isinstance(head, str):
            return self._finding("head.unreadable", "head", head, expected is not None)
        if expected is None or head.seq > expected.seq:
            return self._finding("log.truncated", "log", "it ends before the head", False)
        if head.seq < expected.seq:
            problem = f"it stands at event {head.seq}, the log at event {expected.seq}"
            return self._finding("head.stale", "head", problem)
        if head.digest != expected.digest:
            # Nothing but the head vouches for the last event, so neither is believed.
            problem = (
                f"it says that event {head.seq}, the last, has the digest {head.digest[:12]}; "
                f"stored is {expected.digest[:12]}: that event was edited, or the head was; "
                "compare with an export"
            )
            return self._finding("log.end", "head", problem, False)
        if wrong := differences(head, expected):
            return self._finding(f"head.{wrong[0][0]}", "head", shown(wrong))
        return None

    def _finding(self, code: str, thing: str, problem: str, repairable: bool = True) -> Damage:
        return Damage(code, self.replay.verifier.model, thing, problem, repairable)


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]
