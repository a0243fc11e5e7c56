"""The short runs of the tortures; `make torture` makes the long ones."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tortured() -> Callable[..., list[int]]:
    """Runs a torture and returns the numbers that a pattern of its last line finds."""

    def run(script: str, *options: str, summary: str) -> list[int]:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name(script)), *options],
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found = re.fullmatch(summary, done.stdout)
        assert found is not None, done.stdout
        return [int(number) for number in found.groups()]

    return run
