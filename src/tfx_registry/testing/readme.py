"""Does what the README of a new project says, as somebody would who types its commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["commands_of", "run_commands"]

_BLOCK = re.compile(r"^```\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def commands_of(readme: Path) -> str:
    """Returns the commands in a README, in their order.

    Args:
        readme: A Markdown file; its code blocks without a language are commands.

    Returns:
        A program for bash.
    """
    return "".join(_BLOCK.findall(readme.read_text(encoding="utf-8")))


def run_commands(
    commands: str, folder: Path, variables: Mapping[str, str], *, timeout_seconds: float
) -> str:
    """Runs commands with the Python that runs this, up to the first that fails.

    What they install has to be there already: they reach no package index.

    Args:
        commands: A program for bash.
        folder: Where to run them.
        variables: The environment.
        timeout_seconds: How long they may take together.

    Returns:
        What they said, errors too.

    Raises:
        RuntimeError: One failed. The message ends with what was said.
    """
    path = [str(Path(sys.executable).parent), variables.get("PATH", os.defpath)]
    environment = {**variables, "PATH": os.pathsep.join(path), "PIP_NO_INDEX": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder, env=environment, text=True, check=False, timeout=timeout_seconds,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the commands ended with {done.returncode}:\n{done.stdout[-6000:]}")
    return done.stdout
