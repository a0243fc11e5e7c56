"""Each operation on a serving directory, killed at each of its steps: see serving_steps.py."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("serving_steps.py")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("beginnings", "cases"),
    [(["promote"], 3), (["rollback"], 2), (["prune", "adopt"], 2), (["reconcile"], 4)],
)
def test_killed_at_each_step(beginnings: list[str], cases: int) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *beginnings],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    steps = [int(n) for n in re.findall(r"^.*: killed at (\d+) steps$", done.stdout, re.MULTILINE)]
    assert len(steps) == cases
    assert min(steps) >= 4
