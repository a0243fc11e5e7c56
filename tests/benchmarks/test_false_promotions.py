"""The simulation draws and estimates as TFMA does, and shows what it is to show."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.source_tree

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def simulation():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location(
            "false_promotions", BENCHMARKS / "false_promotions.py"
        )
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(BENCHMARKS))
        sys.modules.pop("false_promotions", None)


@pytest.fixture
def sample(simulation):
    return simulation.draw(0.01, 1_000, np.random.default_rng(1))


def difference(counts):
    """Candidate's accuracy minus the other's, from counts or from a replicate of them."""
    only_candidate, only_other, _, _ = counts
    return (only_candidate - only_other) / counts.sum()


def tfma_interval(combine, replicates, point):
    """What TFMA says of a metric's replicates."""
    from tensorflow_model_analysis.evaluators import confidence_intervals_util
    from tensorflow_model_analysis.metrics import metric_types
    from tensorflow_model_analysis.utils import math_util

    key = metric_types.MetricKey("difference")
    accumulator = combine.create_accumulator()
    for number, value in [(-1, point), *enumerate(replicates)]:
        found = confidence_intervals_util.SampleMetrics(metrics={key: value}, sample_id=number)
        accumulator = combine.add_input(accumulator, found)
    value = combine.extract_output(accumulator)[key]
    return math_util.calculate_confidence_interval(value)[1:]


def test_the_jackknife_is_that_of_tfma(simulation, sample):
    from tensorflow_model_analysis.evaluators import jackknife

    total = sample.counts.sum(axis=0)
    replicates = [difference(total - partition) for partition in sample.counts]
    combine = jackknife._JackknifeSampleCombineFn(num_jackknife_samples=20)
    interval = simulation.jackknife(sample).interval()
    found = tfma_interval(combine, replicates, difference(total))
    assert (interval.lower, interval.upper) == pytest.approx(found)


def test_the_bootstrap_is_that_of_tfma(simulation, sample):
    from tensorflow_model_analysis.evaluators import poisson_bootstrap

    total = sample.counts.sum(axis=0)
    drawn = np.random.default_rng(5).poisson(total, size=(20, 4))
    combine = poisson_bootstrap._BootstrapSampleCombineFn(num_bootstrap_samples=20)
    interval = simulation.bootstrap(sample, np.random.default_rng(5)).interval()
    found = tfma_interval(combine, [difference(row) for row in drawn], difference(total))
    assert (interval.lower, interval.upper) == pytest.approx(found)


def test_a_sample_has_its_size_and_its_difference(simulation):
    random = np.random.default_rng(2)
    found = [simulation.draw(0.02, 5_000, random).accuracies() for _ in range(200)]
    candidate, other = np.mean(found, axis=0)
    assert simulation.draw(0.02, 5_000, random).size == 5_000
    assert candidate - other == pytest.approx(0.02, abs=0.002)
    assert other == pytest.approx(0.9, abs=0.002)


def test_intervals_keep_false_promotions_low_and_let_good_models_pass(simulation, capsys):
    assert simulation.main(["--runs", "200", "--sizes", "1000", "30000"]) == 0
    table = capsys.readouterr().out
    rows = {}
    for line in table.splitlines()[2:8]:
        scenario, size, *shares = (cell.strip() for cell in line.strip("|").split("|"))
        rows[scenario, size] = [float(share) for share in shares]
    point, jackknife, bootstrap, _ = rows["as good as the other", "1,000"]
    assert point > 40
    assert max(jackknife, bootstrap) < 7
    assert min(rows["better by 0.01", "30,000"]) > 95
    assert "seed 7" in table
