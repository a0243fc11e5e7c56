"""The measurement of pages runs. What it measures is never asserted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.source_tree


def test_pages_are_measured_at_each_size() -> None:
    script = Path(__file__).resolve().parents[2] / "benchmarks" / "page_load.py"
    done = subprocess.run(
        [sys.executable, str(script), "--versions", "2", "13", "--rounds", "1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "|  | 2 versions | 13 versions |" in done.stdout
    assert "| ready, ms |" in done.stdout
    assert "| find in the history, ms |" in done.stdout
