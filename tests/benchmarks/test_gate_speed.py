"""The benchmark of the gate measures what it says it does."""

import importlib.util
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.source_tree

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("gate_speed", BENCHMARKS / "gate_speed.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gate_speed", module)
    spec.loader.exec_module(module)
    return module


def test_each_slice_is_asked_twenty_times(benchmark, capsys):
    benchmark.main(["--sizes", "2", "7", "--rounds", "1"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in row.strip("| ").split("|")] for row in rows[2:]]
    expected = [(how, n, str(20 * n)) for how in ("point", "bound") for n in (2, 7)]
    assert [(row[0], int(row[1]), row[2]) for row in cells] == expected


def test_bounds_decide_where_they_are_to(benchmark):
    from tfx_registry.gate import decide

    for confidence, level in (("point", None), ("bound", 0.95)):
        found = benchmark.evaluation(3)
        report = decide(benchmark.policy(confidence), found, benchmark.SITUATION)
        assert {check.level for check in report.checks} == {level}
        assert all(check.interval is not None for check in report.checks)
