"""Watches the file system calls of a publish, and lets one of them fail.

Works on the functions of `tfx_registry.syscalls`, through which all of them go (a test checks
that). A call is named by its function, its path and how many such calls came before, so that the
name means the same call in each run, whatever threads do and random names are.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tfx_registry import syscalls

__all__ = ["ERRORS", "SHORT_WRITE", "Call", "CallName", "Fault", "watched_calls"]

#: What a file system may say at any call.
ERRORS = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EXDEV, errno.EINTR)
#: Instead of an error: only half of the bytes are written.
SHORT_WRITE = -1

_COMPOSED = ("Path", "read_file", "write")  # made of the others
_BY_DESCRIPTOR = (
    "close", "read_into", "write_some", "fsync", "syncfs", "start_writeback", "fstat",
    "file_system_type", "flock", "give",
)  # fmt: skip
_SYNCS = ("fsync", "syncfs", "start_writeback")
_RANDOM = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, order=True)
class CallName:
    """Names one call of a publish.

    Attributes:
        function: The function of `tfx_registry.syscalls`.
        path: What it works on, relative to the watched folder; what is random in it is `*`.
        before: How many calls of the same function with the same path came before.
    """

    function: str
    path: str
    before: int

    def __str__(self) -> str:
        """Short text for the name of a test."""
        return f"{self.function} {self.path} {self.before}"


@dataclass(frozen=True)
class Call:
    """A call that was made, and did not fail.

    Attributes:
        name: Its name.
        paths: The full paths that it works on.
        descriptor: The descriptor that it works on, or that it made; -1 if none.
        data: What was written; else nothing.
        number: The flags of `open_file`, or the mode of `mkdir` and `chmod`; else 0.
    """

    name: CallName
    paths: tuple[str, ...]
    descriptor: int = -1
    data: bytes = b""
    number: int = 0


@dataclass(frozen=True)
class Fault:
    """A call that shall fail.

    Attributes:
        call: Which.
        error: With which error number; `SHORT_WRITE` writes half and is no error.
    """

    call: CallName
    error: int


@contextmanager
def watched_calls(
    root: Path, *, fault: Fault | None = None, sync: bool = True
) -> Iterator[list[Call]]:
    """Notes the calls that are made below a folder, or by descriptors of what lies there.

    Args:
        root: The folder.
        fault: The call that fails, if any.
        sync: Whether calls that make things durable are passed on; they are noted anyway.

    Yields:
        The calls made so far, in the order in which they ended.
    """
    watcher = _Watcher(root, fault, sync)
    wrapped: Any = {
        name: watcher.wrap(name, getattr(syscalls, name))
        for name in syscalls.__all__
        if name not in _COMPOSED
    }
    with mock.patch.multiple(syscalls, **wrapped):
        yield watcher.calls


class _Watcher:
    def __init__(self, root: Path, fault: Fault | None, sync: bool) -> None:
        self.calls: list[Call] = []
        self._prefix = f"{root}{os.sep}"
        self._fault = fault
        self._sync = sync
        self._paths: dict[int, str] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def wrap(self, function: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **named: Any) -> Any:
            paths = self._find_paths(function, arguments, named.get("dir_fd"))
            if not any(f"{path}{os.sep}".startswith(self._prefix) for path in paths):
                return original(*arguments, **named)
            name = self._name(function, paths)
            if self._fault is not None and self._fault.call == name:
                if self._fault.error == SHORT_WRITE:
                    descriptor, data = arguments
                    arguments = descriptor, data[: max(1, len(data) // 2)]
                else:
                    if function == "close":  # Linux closes it, whatever close(2) returns
                        original(*arguments)
                        self._paths.pop(arguments[0], None)
                    raise OSError(self._fault.error, os.strerror(self._fault.error), paths[0])
            if function in _SYNCS and not self._sync:
                result = None
            else:
                result = original(*arguments, **named)
            self._note(function, name, paths, arguments, result)
            return result

        return wrapper

    def _find_paths(
        self, function: str, arguments: tuple[Any, ...], folder: int | None
    ) -> tuple[str, ...]:
        if folder is not None:
            return (f"{self._paths.get(folder, '')}{os.sep}{os.fspath(arguments[0])}",)
        if function in _BY_DESCRIPTOR or isinstance(arguments[0], int):
            found = [self._paths.get(d) for d in arguments if isinstance(d, int)]
            kept = found if function == "clone" else found[:1]
            return tuple(path for path in kept if path is not None)
        count = 2 if function.startswith("rename") else 1
        return tuple(os.fspath(path) for path in arguments[:count])

    def _name(self, function: str, paths: tuple[str, ...]) -> CallName:
        relative = [path.replace(self._prefix, "", 1) for path in paths]
        path = _RANDOM.sub("*", " -> ".join(relative))
        with self._lock:
            before = self._counts[function, path]
            self._counts[function, path] += 1
        return CallName(function, path, before)

    def _note(
        self,
        function: str,
        name: CallName,
        paths: tuple[str, ...],
        arguments: tuple[Any, ...],
        result: Any,
    ) -> None:
        descriptor = arguments[0] if isinstance(arguments[0], int) else -1
        data, number = b"", 0
        if function == "open_file":
            descriptor, number = result, arguments[1]
        elif function == "write_some":
            data = bytes(arguments[1][:result])
        elif function in ("mkdir", "chmod"):
            number = arguments[1]
        elif function == "rename_no_replace" and not result:
            return
        with self._lock:
            if function == "open_file":
                self._paths[descriptor] = paths[0]
            elif function == "close":
                self._paths.pop(descriptor, None)
            self.calls.append(Call(name, paths, descriptor, data, number))
