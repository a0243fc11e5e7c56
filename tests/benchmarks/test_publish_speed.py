"""The benchmark of publishing runs. What it measures is never asserted."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.source_tree

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run(script, *arguments):
    command = [sys.executable, BENCHMARKS / script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_publishing_is_measured(tmp_path):
    small = ("--rounds", 1, "--scale", 0.002, "--rest", 0, "--no-pusher")
    found = run("publish_speed.py", *small, "--folder", tmp_path)
    assert "### 2 MiB in 3 files" in found
    assert "in 4 files" in found
    assert found.count("| verified publish |") == 4
    assert list(tmp_path.iterdir()) == []


def test_a_generated_model_is_one_that_may_be_served(tmp_path):
    from tfx_registry.digest import digest_path
    from tfx_registry.serving import check_servable

    run("generate_model.py", tmp_path / "model", "--files", 7, "--mebibytes", 1)
    check_servable(tmp_path / "model")
    digest = digest_path(tmp_path / "model")
    assert len(digest.files) == 7
    assert (1 << 20) < digest.size_bytes < (1 << 20) + 1000
