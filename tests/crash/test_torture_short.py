"""The short run of torture.py; `make torture` is the long one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TORTURE = Path(__file__).with_name("torture.py")


@pytest.mark.slow
def test_killed_writers_break_nothing() -> None:
    done = subprocess.run(
        [sys.executable, str(TORTURE), "--kills", "24"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = re.search(r"torture on sqlite: (\d+) kills .*, 0 violations", done.stdout)
    assert summary is not None, done.stdout
    assert int(summary[1]) >= 24
