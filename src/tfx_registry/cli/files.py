"""Files and progress of export and import."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from tfx_registry.cli.encoding import utf8_output
from tfx_registry.errors import InvalidInputError
from tfx_registry.registry.verify import Progress

__all__ = ["counting", "source", "target"]


@contextlib.contextmanager
def target(out: str) -> Iterator[Callable[[str], object]]:
    """Gives the function that writes; a file gets its name once it is complete."""
    path = Path(out)
    if out == "-" or (path.exists() and not path.is_file()):
        with contextlib.ExitStack() as stack:
            stream = (
                utf8_output()
                if out == "-"
                else stack.enter_context(path.open("w", encoding="utf-8"))
            )
            yield stream.write
            stream.flush()
        return
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with part.open("x", encoding="utf-8") as file:
            yield file.write
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise InvalidInputError(
            f"cannot write {out!r}", error.strerror or str(error), ""
        ) from error
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def source(file: str) -> Iterator[BinaryIO]:
    """Opens the file; what cannot be read twice is copied aside first."""
    with contextlib.ExitStack() as stack:
        try:
            stream: BinaryIO = (
                sys.stdin.buffer if file == "-" else stack.enter_context(Path(file).open("rb"))
            )
        except OSError as error:
            raise InvalidInputError(
                f"cannot read {file!r}", error.strerror or str(error), ""
            ) from error
        if not stream.seekable():
            copy = stack.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(stream, copy)
            copy.seek(0)
            stream = copy
        yield stream


@contextlib.contextmanager
def counting() -> Iterator[Progress]:
    """Counts events on a terminal, nothing in pipes."""
    if not sys.stderr.isatty():
        yield lambda _stage, _count: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description} {task.completed} events"), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def progress(stage: str, count: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=None)
            bars.advance(tasks[stage], count)

        yield progress
