"""Notes whenever a Python program asks for something on another machine.

Python tells its audit hooks of each connection and of each URL that is opened. A hook is put into
programs, and into the workers that these start, by a module that Python loads before anything else.
What libraries in C connect to by themselves, such as gRPC, is not seen.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["asked_for", "watched"]

_HOOK = "sitecustomize.py"
_NOTES = "asked_for.txt"
_PROGRAM = """\
import sys
from urllib.parse import urlsplit

_HERE = ("", "0.0.0.0", "::", "::1", "localhost")


def _look(event, arguments):
    if event == "urllib.Request":
        asked, host = arguments[0], urlsplit(arguments[0]).hostname
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        asked, host = f"{arguments[1][0]}:{arguments[1][1]}", arguments[1][0]
    else:
        return
    host = str(host or "").lower()
    if host not in _HERE and not host.startswith("127."):
        with open(NOTES, "a", encoding="utf-8") as notes:
            notes.write(f"{asked}\\n")


sys.addaudithook(_look)
"""


def watched(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Makes an environment whose Python programs are watched.

    Args:
        folder: For the hook and for what it notes; made if it is not there.
        environment: The variables to begin with.

    Returns:
        The variables for the program, which hands them on to those that it starts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    notes = str((folder / _NOTES).absolute())
    (folder / _HOOK).write_text(_PROGRAM.replace("NOTES", repr(notes), 1), encoding="utf-8")
    path = [str(folder.absolute()), environment.get("PYTHONPATH", "")]
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, path))}


def asked_for(folder: Path) -> list[str]:
    """Returns what the watched programs asked other machines for.

    Args:
        folder: That of `watched`.

    Returns:
        URLs, and addresses as `HOST:PORT`, in their order.
    """
    notes = folder / _NOTES
    return notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []
