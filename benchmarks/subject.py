"""One process that is measured, and the handle on it.

Every registry is measured in a process of its own, by this same loop, so that each has its own
libraries, caches and garbage. The driver sends one line of JSON, such as
`{"operation": "get", "count": 50, "processor": false}`, and gets back how many seconds each call
took. So the driver can let the processes take turns, and what else the machine does meets all of
them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["Operation", "Subject", "serve"]

#: Makes ready and returns the call that is timed.
Operation = Callable[[], Callable[[], object]]


def serve(operations: Mapping[str, Operation]) -> None:
    """Runs what the driver asks for, until it closes the pipe.

    Args:
        operations: By name.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not come between the answers
    print(json.dumps(sorted(operations)), file=answers, flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        operation = operations[task["operation"]]
        clock = time.process_time if task["processor"] else time.perf_counter
        seconds = []
        for _ in range(task["count"]):
            call = operation()
            start = clock()
            call()
            seconds.append(clock() - start)
        print(json.dumps(seconds), file=answers, flush=True)


class Subject:
    """The driver's end of a process that runs `serve`.

    Attributes:
        operations: Names of what it can do.
        processor_time: Whether the processor's time is measured, of all threads, in place of the
            clock's. For machines that do something else as well: what waits for the disk is not
            in it.
    """

    processor_time = False

    def __init__(self, command: Sequence[str]) -> None:
        """Starts the process and waits until it is ready."""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
        )
        self.operations: list[str] = self._answer()

    def seconds(self, operation: str, count: int) -> list[float]:
        """Returns how long each of `count` calls took."""
        assert self._process.stdin is not None
        task = {"operation": operation, "count": count, "processor": self.processor_time}
        print(json.dumps(task), file=self._process.stdin, flush=True)
        found: list[float] = self._answer()
        return found

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def __enter__(self) -> Subject:
        """Returns the subject itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the process."""
        self.close()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(
                f"the measured process ended: {' '.join(map(str, self._process.args))}"  # type: ignore[arg-type]
            )
        return json.loads(line)
