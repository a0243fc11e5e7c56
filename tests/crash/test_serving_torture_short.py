"""The short run of serving_torture.py; `make torture` is the long one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TORTURE = Path(__file__).with_name("serving_torture.py")


@pytest.mark.slow
def test_killed_operations_break_nothing() -> None:
    done = subprocess.run(
        [sys.executable, str(TORTURE), "--kills", "20"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = re.fullmatch(
        r"torture of a serving directory: (\d+) kills \(.* at (\d+) of \d+ named steps, .*\), "
        r".*, (\d+) polls, 0 violations, \d+ s\n",
        done.stdout,
    )
    assert summary is not None, done.stdout
    kills, steps, polls = map(int, summary.groups())
    assert kills >= 20
    assert steps >= 3
    assert polls > 0
