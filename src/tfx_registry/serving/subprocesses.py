"""Runs the parts that need TensorFlow as programs of their own, with a deadline."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

__all__ = ["run_module"]

_SHOWN_CHARACTERS = 600


def run_module(module: str, arguments: Sequence[str], *, timeout_seconds: float) -> str:
    """Runs a module of this package as a program.

    Args:
        module: Its full name.
        arguments: Its command line.
        timeout_seconds: After this time it is killed, with all that it started.

    Returns:
        What it wrote on stdout.

    Raises:
        ValueError: It failed, crashed or took too long; the text says which, and what it said
            last.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"it took longer than {timeout_seconds:g} seconds") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode < 0:
        raise ValueError(f"it was killed by {signal.Signals(-process.returncode).name}")
    if process.returncode:
        lines = [line for line in err.splitlines() if line.strip()]
        said = lines[-1][:_SHOWN_CHARACTERS] if lines else "it said nothing"
        raise ValueError(f"it failed with exit code {process.returncode}: {said}")
    return out
