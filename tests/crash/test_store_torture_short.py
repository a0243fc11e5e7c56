"""The short run of store_torture.py; `make torture` is the long one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TORTURE = Path(__file__).with_name("store_torture.py")


@pytest.mark.slow
def test_killed_operations_in_a_store_break_nothing() -> None:
    done = subprocess.run(
        [sys.executable, str(TORTURE), "--kills", "3"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = re.fullmatch(
        r"torture of an object store: (\d+) kills \(.*\), .*, (\d+) polls, 0 violations, \d+ s\n",
        done.stdout,
    )
    assert summary is not None, done.stdout
    kills, polls = map(int, summary.groups())
    assert kills >= 3
    assert polls > 0
