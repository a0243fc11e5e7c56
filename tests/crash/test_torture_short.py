"""The short run of torture.py; `make torture` is the long one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TORTURE = Path(__file__).with_name("torture.py")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "kills", "server_kills"),
    [("sqlite", 40, 0), ("mysql", 12, 1), ("postgresql", 12, 1), ("grpc", 12, 1)],
)
def test_killed_writers_and_servers_break_nothing(kind: str, kills: int, server_kills: int) -> None:
    done = subprocess.run(
        [sys.executable, str(TORTURE), "--on", kind, "--kills", str(kills)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = re.fullmatch(
        rf"torture on {kind}: (\d+) kills of writers \(.* at (\d+) of \d+ named steps, .*\), "
        r"(\d+) of the server, .*, 0 violations, \d+ s\n",
        done.stdout,
    )
    assert summary is not None, done.stdout
    assert int(summary[1]) >= kills
    assert int(summary[2]) > kills // 2
    assert int(summary[3]) >= server_kills
