"""Measures the stages of the demo and tells a reporter about them."""

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class StageTime:
    """How long one stage of the demo took.

    Attributes:
        title: The stage.
        seconds: Its duration.
        components: The TFX components that ran in it, with their seconds, in order.
    """

    title: str
    seconds: float
    components: tuple[tuple[str, float], ...] = ()


class Reporter(Protocol):
    """Is told how far the demo is."""

    def started(self, title: str) -> None:
        """A stage begins."""

    def component(self, name: str) -> None:
        """A TFX component begins within the stage."""

    def finished(self, stage: StageTime, outcome: str) -> None:
        """A stage is over; `outcome` says in one line what came out of it."""


class StageFailedError(Exception):
    """A stage of the demo failed, or came out otherwise than the story says.

    Attributes:
        title: The stage.
    """

    def __init__(self, title: str, reason: str) -> None:
        super().__init__(title, reason)
        self.title = title
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.title}: {self.reason}"


class Stage:
    """A stage that is going on.

    Attributes:
        outcome: What came out of it, in one line; set while it goes on.
    """

    outcome = ""


class Stages:
    """Measures stages, and turns whatever goes wrong in one into a `StageFailedError`.

    Attributes:
        times: The stages that are over.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.times: list[StageTime] = []

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[Stage]:
        """Runs the body of the context as a stage.

        Args:
            title: The stage, in a few words.

        Yields:
            The stage, to be told its outcome.

        Raises:
            StageFailedError: The body raised; its cause is the original error.
        """
        stage = Stage()
        self._reporter.started(title)
        started = time.monotonic()
        with _ComponentWatch(self._reporter) as watch:
            try:
                yield stage
            except Exception as error:
                logging.getLogger(__name__).exception("stage failed: %s", title)
                raise StageFailedError(title, _last_words(error)) from error
        done = StageTime(title, time.monotonic() - started, tuple(watch.seconds.items()))
        self.times.append(done)
        self._reporter.finished(done, stage.outcome)


def _last_words(error: BaseException) -> str:
    """Returns the type of an error and the end of its message, which is where Beam says why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: " + " / ".join(lines[-3:])


class _ComponentWatch(logging.Handler):
    """Learns from TFX's log which component runs, and for how long.

    TFX has no hook for it. Should the wording change, the demo only shows less progress.
    """

    _RUNNING = "Component %s is running."
    _FINISHED = "Component %s is finished."

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.INFO)
        self._reporter = reporter
        self._started = 0.0
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> "_ComponentWatch":
        logging.getLogger("absl").addHandler(self)
        return self

    def __exit__(self, *_: Any) -> None:
        logging.getLogger("absl").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Takes note of a component's begin or end."""
        if record.msg == self._RUNNING and isinstance(record.args, tuple):
            self._started = time.monotonic()
            self._reporter.component(str(record.args[0]))
        elif record.msg == self._FINISHED and isinstance(record.args, tuple):
            self.seconds[str(record.args[0])] = time.monotonic() - self._started
