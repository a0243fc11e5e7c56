"""Sends what libraries print to a file, whoever prints it.

TensorFlow and ML Metadata write to the file descriptors of the process from C++, past `sys.stdout`
and `logging`. So the descriptors themselves are exchanged.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from absl import logging as absl_logging

_STDOUT = 1
_STDERR = 2


@contextlib.contextmanager
def output_to(log: Path) -> Iterator[IO[str]]:
    """Redirects the output of this process to a file for as long as the context lasts.

    All but debugging messages of `logging` go to the file, too.

    Args:
        log: The file; an old one is overwritten.

    Yields:
        What was the standard output before, for those who do want to talk to the reader.
    """
    _flush()
    saved = os.dup(_STDOUT), os.dup(_STDERR)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    os.dup2(descriptor, _STDOUT)
    os.dup2(descriptor, _STDERR)
    os.close(descriptor)
    # The stream has a descriptor of its own, so closing it leaves the saved one open.
    reader = os.fdopen(
        os.dup(saved[0]), "w", encoding=sys.stdout.encoding or "utf-8", errors="replace"
    )
    with _log_to(log), reader:
        try:
            yield reader
        finally:
            _flush()
            for source, target in zip(saved, (_STDOUT, _STDERR), strict=True):
                os.dup2(source, target)
                os.close(source)


@contextlib.contextmanager
def _log_to(log: Path) -> Iterator[None]:
    """Appends what is logged to a file."""
    handler = logging.FileHandler(log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    levels = root.level, absl_logging.get_verbosity()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    # TFX logs with absl. TensorFlow silences it while it saves a model and then restores the level
    # that was set explicitly, so without this line all is silent after the first training.
    absl_logging.set_verbosity(absl_logging.INFO)
    try:
        yield
    finally:
        root.setLevel(levels[0])
        absl_logging.set_verbosity(levels[1])
        root.removeHandler(handler)
        handler.close()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError):  # closed
            stream.flush()
