"""The benchmarks run. What they measure is in benchmarks/RESULTS.md, and never asserted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.source_tree

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run(script, *arguments):
    variables = {k: v for k, v in os.environ.items() if not k.startswith("TFX_REGISTRY_")}
    done = subprocess.run(
        [sys.executable, BENCHMARKS / script, *map(str, arguments)],
        capture_output=True, text=True, check=False, env=variables,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_generated_registry_is_valid(tmp_path):
    uri = f"sqlite:///{tmp_path}/made.sqlite"
    run("generate_registry.py", uri, "--versions", 20)  # folds the log, and compares

    from tfx_registry import ModelRegistry

    with ModelRegistry.open(uri, create=False) as registry:
        assert registry.latest("churn").number == 20
        assert registry.resolve("churn@production").number == 10


def test_a_generator_overwrites_nothing(tmp_path):
    made = tmp_path / "made.sqlite"
    made.write_text("mine")
    with pytest.raises(AssertionError, match="exists already"):
        run("generate_registry.py", f"sqlite:///{made}", "--versions", 3)
    assert made.read_text() == "mine"


def test_speed_is_measured_at_each_size(tmp_path):
    found = run(
        "registry_speed.py", "--only", "scale", "--sizes", 10, 20, "--rounds", 1,
        "--folder", tmp_path,
    )  # fmt: skip
    assert "| operation, ms | 10 versions | 20 versions |" in found
    assert "| register |" in found


def test_processor_time_is_measured_instead(tmp_path):
    found = run(
        "registry_speed.py", "--only", "scale", "--sizes", 10, 20, "--rounds", 1,
        "--folder", tmp_path, "--processor-time",
    )  # fmt: skip
    assert "measured: the processor's time" in found
    assert "| get by number |" in found


def test_a_check_of_everything_is_measured(tmp_path):
    found = run("fsck_speed.py", "--sizes", 10, "--folder", tmp_path)
    assert "| versions | seconds |" in found
    assert "| 10 |" in found


def test_a_rollback_is_measured(tmp_path):
    found = run("rollback_speed.py", "--folder", tmp_path, "--mebibytes", 1, "--rounds", 1)
    assert "| rollback, 1 MiB in 20 files |" in found
    assert "| command, by receipt |" in found
