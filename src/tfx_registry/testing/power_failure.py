"""What may be on the disk after a power failure: a model of the weakest file system there is.

Takes the calls that a publish made (`file_calls`) and gives, for each moment in between, states
that a file system may come back with. It promises no more than POSIX does (the idea is that of
ALICE: Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014):

- bytes, modes and names are durable after a sync of the file, or directory, that holds them, and
  may or may not be before, each by itself and in any order;
- bytes that are not may be missing, or zero;
- the two halves of a rename into another directory may become durable one without the other.

Real file systems promise more, so what holds here holds there.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tfx_registry.testing.file_calls import Call

__all__ = ["Node", "State", "states_after_power_failures"]

_RANDOM_STATES = 12


@dataclass
class Node:
    """A file or directory.

    Attributes:
        mode: Its permissions.
        data: The bytes, if it is a file.
        entries: What lies in it by name, if it is a directory; None for a file.
    """

    mode: int
    data: bytearray = field(default_factory=bytearray)
    entries: dict[str, Node] | None = None

    def find(self, path: str) -> Node | None:
        """Returns what lies at a relative path, or None."""
        node: Node | None = self
        for part in PurePosixPath(path).parts:
            node = node.entries.get(part) if node is not None and node.entries else None
        return node

    def files(self, prefix: str = "") -> Iterator[tuple[str, Node]]:
        """Yields each file and directory below, with its relative path."""
        for name, node in sorted((self.entries or {}).items()):
            yield prefix + name, node
            yield from node.files(f"{prefix}{name}/")

    def write_to(self, path: Path) -> None:
        """Makes a directory that looks like this one."""
        path.mkdir()
        for relative, node in self.files():
            if node.entries is None:
                (path / relative).write_bytes(node.data)
            else:
                (path / relative).mkdir()
        for relative, node in self.files():
            (path / relative).chmod(node.mode)


@dataclass(frozen=True)
class State:
    """What may be on the disk.

    Attributes:
        calls: After how many calls the power failed.
        lost: What of the calls before was lost, in words.
        root: The watched folder.
    """

    calls: int
    lost: str
    root: Node


@dataclass(frozen=True)
class _Change:
    """A change that is not durable yet: which node holds it, and how to make it elsewhere."""

    holder: int
    what: str
    make: Callable[[_Disk, bool], None]


class _Disk:
    """Nodes by number. The numbers are the same on what is in memory and on what is on the disk."""

    def __init__(self) -> None:
        self.modes: dict[int, int] = {}
        self.data: dict[int, bytearray] = {}
        self.entries: dict[int, dict[str, int]] = {}

    def copy(self) -> _Disk:
        other = _Disk()
        other.modes = dict(self.modes)
        other.data = {number: bytearray(data) for number, data in self.data.items()}
        other.entries = {number: dict(entries) for number, entries in self.entries.items()}
        return other

    def add(self, number: int, mode: int, *, directory: bool) -> None:
        self.modes.setdefault(number, mode)
        if directory:
            self.entries.setdefault(number, {})
        else:
            self.data.setdefault(number, bytearray())

    def node(self, number: int) -> Node:
        if number in self.entries:
            below = {name: self.node(child) for name, child in self.entries[number].items()}
            return Node(self.modes[number], entries=below)
        return Node(self.modes[number], bytearray(self.data[number]))


class _Replay:
    """Makes the calls again, in memory, and notes which changes are not durable yet."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._memory = _Disk()
        self._memory.add(0, 0o755, directory=True)
        self._count = 0
        self._open: dict[int, tuple[int, int]] = {}  # descriptor -> node, position
        self.durable = self._memory.copy()
        self.pending: list[_Change] = []

    def _find(self, path: str) -> tuple[int, str, int | None]:
        """Directory that a path lies in, its last name, and its node."""
        parts = PurePosixPath(os.path.relpath(path, self._root)).parts
        node = 0
        for part in parts[:-1]:
            node = self._memory.entries[node][part]
        if not parts:
            return 0, "", 0
        return node, parts[-1], self._memory.entries[node].get(parts[-1])

    def _change(self, holder: int, what: str, make: Callable[[_Disk, bool], None]) -> None:
        make(self._memory, False)
        self.pending.append(_Change(holder, what, make))

    def _link(self, path: str, child: int, *, mode: int, directory: bool) -> None:
        folder, name, _ = self._find(path)

        def make(disk: _Disk, _: bool) -> None:
            disk.add(folder, 0o755, directory=True)
            disk.add(child, mode, directory=directory)
            disk.entries[folder][name] = child

        self._change(folder, f"name {path}", make)

    def _remove(self, path: str) -> None:
        folder, name, _ = self._find(path)

        def make(disk: _Disk, _: bool) -> None:
            disk.entries.get(folder, {}).pop(name, None)

        self._change(folder, f"removal of {path}", make)

    def _make(self, path: str, mode: int, *, directory: bool) -> int:
        self._count += 1
        self._link(path, self._count, mode=mode, directory=directory)
        return self._count

    def apply(self, call: Call) -> None:
        """Makes one call again."""
        function, path = call.name.function, call.paths[0]
        if function == "mkdir":
            self._make(path, call.number, directory=True)
        elif function == "open_file":
            self._open_file(call, path)
        elif function == "write_some":
            self._write(call, path)
        elif function == "chmod":
            self._chmod(call, path)
        elif function in ("unlink", "rmdir"):
            self._remove(path)
        elif function in ("rename", "rename_no_replace"):
            self._rename(*call.paths)
        elif function == "fsync":
            self._sync({self._open[call.descriptor][0]})
        elif function == "syncfs":
            self._sync(None)
        elif function == "close":
            self._open.pop(call.descriptor, None)

    def _open_file(self, call: Call, path: str) -> None:
        _, _, node = self._find(path)
        if node is None:
            node = self._make(path, 0o600, directory=False)
        self._open[call.descriptor] = node, 0

    def _write(self, call: Call, path: str) -> None:
        node, position = self._open[call.descriptor]
        end = position + len(call.data)

        def make(disk: _Disk, zeros: bool) -> None:
            disk.add(node, 0o600, directory=False)
            data = disk.data[node]
            data.extend(bytes(max(0, end - len(data))))
            if not zeros:
                data[position:end] = call.data

        self._change(node, f"bytes {position} to {end} of {path}", make)
        self._open[call.descriptor] = node, end

    def _chmod(self, call: Call, path: str) -> None:
        node = self._open[call.descriptor][0] if call.descriptor >= 0 else self._find(path)[2]
        assert node is not None, path

        def make(disk: _Disk, _: bool) -> None:
            if node in disk.modes:
                disk.modes[node] = call.number

        self._change(node, f"mode of {path}", make)

    def _rename(self, source: str, target: str) -> None:
        _, _, node = self._find(source)
        assert node is not None, source
        directory = node in self._memory.entries
        self._link(target, node, mode=self._memory.modes[node], directory=directory)
        self._remove(source)

    def _sync(self, holders: set[int] | None) -> None:
        kept = []
        for change in self.pending:
            if holders is None or change.holder in holders:
                change.make(self.durable, False)
            else:
                kept.append(change)
        self.pending = kept


def states_after_power_failures(
    root: Path, calls: Sequence[Call], *, seed: int = 1
) -> Iterator[State]:
    """Lists states of the disk after a power failure, for each moment in a run.

    For each moment: nothing that was not durable is there, all of it is, all but one change, only
    one change, all with one write turned to zeros, and some random selections.

    Args:
        root: The watched folder, which was empty and durable before.
        calls: What was called, in this order.
        seed: Of the random selections.

    Yields:
        The states.
    """
    rng = random.Random(seed)
    replay = _Replay(root)
    yield _state(replay, 0, [])
    for number, call in enumerate(calls, start=1):
        before = len(replay.pending)
        replay.apply(call)
        if len(replay.pending) == before and call.name.function not in ("fsync", "syncfs"):
            continue  # it changed nothing
        count = len(replay.pending)
        yield _state(replay, number, [True] * count)
        for index in range(count):
            yield _state(replay, number, [other != index for other in range(count)])
            yield _state(replay, number, [other == index for other in range(count)])
            yield _state(replay, number, [True] * count, zeros=index)
        for _ in range(_RANDOM_STATES if count else 0):
            yield _state(replay, number, [rng.random() < 0.5 for _ in range(count)])
        yield _state(replay, number, [False] * count)


def _state(replay: _Replay, calls: int, there: list[bool], *, zeros: int = -1) -> State:
    disk = replay.durable.copy()
    lost = []
    for index, change in enumerate(replay.pending):
        if there and there[index]:
            change.make(disk, index == zeros)
        if not (there and there[index]) or index == zeros:
            lost.append(change.what)
    return State(calls, ", ".join(lost) or "nothing", disk.node(0))
