"""How often does a gate promote a model that is not better?

    python benchmarks/false_promotions.py                  # the table, two to four minutes
    python benchmarks/false_promotions.py --plot FILE.png  # and the plot (needs matplotlib)

A candidate and the version that serves are evaluated on the same N examples. The candidate is as
good as the other, slightly worse, or better; what the gate sees is the sample. Its rule is
"accuracy at least as high": once asked of the point estimate, once of the lower end of the 95 %
interval of the paired difference, from TFMA's jackknife and from its Poisson bootstrap. A fourth
gate allows a loss, if the interval shows that it is not larger. The verdicts are those of
`tfx_registry.gate.decide`.

The draws are exact and cheap. An example counts by who classified it correctly: only the candidate,
only the other, or both or none alike. The counts of these in the 20 partitions of the jackknife are
one multinomial draw; a Poisson bootstrap replicate of n like examples has Poisson(n) of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from report import table

from tfx_registry.gate import (
    ChangeThreshold,
    Contender,
    EvaluatedModel,
    Evaluation,
    GatePolicy,
    Interval,
    IntervalKind,
    MetricId,
    Situation,
    decide,
)
from tfx_registry.gate.policy import Confidence
from tfx_registry.gate.student_t import two_sided_quantile
from tfx_registry.records import Verdict

__all__ = ["GATES", "Estimate", "Sample", "bootstrap", "draw", "evaluation", "jackknife", "main"]

#: Accuracy of the version that serves.
ACCURACY = 0.90
#: Share of the examples that exactly one of the two models classifies correctly.
DISAGREEMENT = 0.10
SIZES = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
#: Partitions of TFMA's jackknife, and replicates of its bootstrap; both are TFMA's defaults.
REPLICATES = 20
SEED = 7
#: Loss of accuracy that the fourth gate allows.
MARGIN = 0.01

METRIC = MetricId("accuracy")
COUNT = MetricId("example_count")
CANDIDATE, SERVING = Contender(2, "2" * 64, "c"), Contender(1, "1" * 64, "b")
SITUATION = Situation("model", "production", CANDIDATE, SERVING)


@dataclass(frozen=True)
class Scenario:
    """How good the candidate really is.

    Attributes:
        name: What it is called in the table.
        change: True accuracy of the candidate minus that of the version that serves.
    """

    name: str
    change: float


SCENARIOS = (
    Scenario("as good as the other", 0.0),
    Scenario("worse by 0.005", -0.005),
    Scenario("better by 0.01", 0.01),
)


@dataclass(frozen=True)
class Gate:
    """A way to decide.

    Attributes:
        name: What it is called.
        policy: The policy.
        interval: Which interval the evaluation has: "jackknife", "bootstrap" or "" for none.
    """

    name: str
    policy: GatePolicy
    interval: str = ""


def _policy(loss: float, confidence: Confidence) -> GatePolicy:
    rule = ChangeThreshold("accuracy", absolute=-loss, confidence=confidence)
    return GatePolicy(change_thresholds=(rule,))


GATES = (
    Gate("point estimate", _policy(0.0, Confidence.POINT)),
    Gate("95 % interval, jackknife", _policy(0.0, Confidence.BOUND), "jackknife"),
    Gate("95 % interval, bootstrap", _policy(0.0, Confidence.BOUND), "bootstrap"),
    Gate(f"loss shown below {MARGIN}", _policy(MARGIN, Confidence.BOUND), "jackknife"),
)


@dataclass(frozen=True)
class Sample:
    """One evaluation, as counts in partitions.

    Attributes:
        counts: Integers of shape (20, 4), for each partition of the jackknife: examples that only
            the candidate classified correctly, only the other, both, none.
    """

    counts: np.ndarray[Any, np.dtype[np.int64]]

    @property
    def size(self) -> int:
        """Number of examples."""
        return int(self.counts.sum())

    def accuracies(self) -> tuple[float, float]:
        """Returns the measured accuracy of the candidate and of the other."""
        only_candidate, only_other, both, _ = self.counts.sum(axis=0)
        return (only_candidate + both) / self.size, (only_other + both) / self.size


@dataclass(frozen=True)
class Estimate:
    """A paired difference as TFMA writes it.

    Attributes:
        mean: Centre of the interval: the mean of the replicates.
        error: Standard error.
    """

    mean: float
    error: float

    def interval(self) -> Interval:
        """Returns the 95 % interval as TFMA computes it (utils/math_util.py)."""
        degrees = REPLICATES - 1
        reach = two_sided_quantile(0.95, degrees) * self.error
        return Interval(
            self.mean - reach,
            self.mean + reach,
            0.95,
            IntervalKind.T_DISTRIBUTION,
            self.error,
            degrees,
        )


def draw(change: float, size: int, random: np.random.Generator) -> Sample:
    """Draws one evaluation.

    Args:
        change: True accuracy of the candidate minus that of the other.
        size: Number of examples.
        random: Where the numbers come from.

    Returns:
        The sample. TFMA puts each example into one of the partitions at random, and so it is here.
    """
    only_candidate = (DISAGREEMENT + change) / 2
    only_other = (DISAGREEMENT - change) / 2
    both = ACCURACY - only_other
    shares = [only_candidate, only_other, both, 1 - only_candidate - only_other - both]
    return Sample(
        random.multinomial(size, np.repeat(shares, REPLICATES) / REPLICATES)
        .reshape(4, REPLICATES)
        .T
    )


def jackknife(sample: Sample) -> Estimate:
    """Estimates the difference as TFMA's jackknife does (evaluators/jackknife.py).

    Each replicate leaves out one partition; the standard error is that of the pseudo-values.
    """
    left = sample.counts.sum(axis=0) - sample.counts
    replicates = (left[:, 0] - left[:, 1]) / left.sum(axis=1)
    candidate, other = sample.accuracies()
    pseudo_values = (candidate - other) * REPLICATES - replicates * (REPLICATES - 1)
    error = pseudo_values.std(ddof=1) / REPLICATES**0.5
    return Estimate(float(replicates.mean()), float(error))


def bootstrap(sample: Sample, random: np.random.Generator) -> Estimate:
    """Estimates the difference as TFMA's Poisson bootstrap does (evaluators/poisson_bootstrap.py).

    In each replicate an example counts as often as a Poisson variable of mean 1 says, the same for
    both models; the standard error is the deviation between the replicates.
    """
    drawn = random.poisson(sample.counts.sum(axis=0), size=(REPLICATES, 4))
    replicates = (drawn[:, 0] - drawn[:, 1]) / drawn.sum(axis=1)
    return Estimate(float(replicates.mean()), float(replicates.std(ddof=1)))


def evaluation(sample: Sample, estimate: Estimate | None) -> Evaluation:
    """Writes a sample as the gate gets it from TFMA.

    Args:
        sample: The sample.
        estimate: The paired difference; None where no interval was computed.

    Returns:
        The evaluation of the candidate and the other.
    """
    numbers = [
        EvaluatedModel(
            contender.manifest,
            contender.manifest,
            {(): {METRIC: float(accuracy), COUNT: float(sample.size)}},
        )
        for contender, accuracy in zip((CANDIDATE, SERVING), sample.accuracies(), strict=True)
    ]
    intervals = {(): {METRIC: estimate.interval()}} if estimate is not None else {}
    return Evaluation("simulated", numbers[0], numbers[1], difference_intervals=intervals)


def shares_promoted(
    change: float, size: int, runs: int, random: np.random.Generator
) -> dict[str, float]:
    """Counts how often each gate promotes.

    Args:
        change: True accuracy of the candidate minus that of the other.
        size: Number of examples in each evaluation.
        runs: Number of evaluations.
        random: Where the numbers come from.

    Returns:
        The share of promotions by name of the gate. All gates see the same samples.
    """
    promoted = dict.fromkeys((gate.name for gate in GATES), 0)
    for _ in range(runs):
        sample = draw(change, size, random)
        seen = {
            "": evaluation(sample, None),
            "jackknife": evaluation(sample, jackknife(sample)),
            "bootstrap": evaluation(sample, bootstrap(sample, random)),
        }
        for gate in GATES:
            report = decide(gate.policy, seen[gate.interval], SITUATION)
            promoted[gate.name] += report.verdict is Verdict.PASSED
    return {name: count / runs for name, count in promoted.items()}


#: Shares by scenario, size of the evaluation, and gate.
Shares = Mapping[str, Mapping[int, Mapping[str, float]]]


def as_table(shares: Shares) -> str:
    """Writes the shares as a table in Markdown, in percent."""
    header = ["candidate", "examples", *(gate.name for gate in GATES)]
    rows = [
        [scenario, f"{size:,}", *(f"{found[gate.name] * 100:.1f}" for gate in GATES)]
        for scenario, sizes in shares.items()
        for size, found in sizes.items()
    ]
    return table(header, rows)


def plot(shares: Shares, path: Path) -> None:
    """Draws the shares of the first three gates, a panel for each scenario.

    Args:
        shares: The shares.
        path: The PNG file.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise SystemExit(
            f"--plot needs matplotlib: install tfx-registry[benchmarks] ({error})"
        ) from error
    mpl.use("Agg")
    from matplotlib import pyplot

    # Told apart by shape and dashes as well as by colour (Okabe and Ito's palette).
    styles = [
        {"color": "#d55e00", "marker": "o", "linestyle": "-"},
        {"color": "#0072b2", "marker": "s", "linestyle": "--"},
        {"color": "#000000", "marker": "^", "linestyle": ":", "markerfacecolor": "white"},
    ]
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, panels = pyplot.subplots(1, len(shares), figsize=(9.6, 3.7), sharey=True)
    for panel, (scenario, sizes) in zip(panels, shares.items(), strict=True):
        for gate, style in zip(GATES, styles, strict=False):
            percent = [found[gate.name] * 100 for found in sizes.values()]
            panel.plot(list(sizes), percent, label=gate.name, linewidth=1.6, **style)
        panel.set(xscale="log", ylim=(-3, 103), xlabel="examples in the evaluation")
        powers = [size for size in sizes if f"{size}".strip("0") == "1"]
        panel.set_xticks(powers, [f"{size:,}" for size in powers])
        panel.minorticks_off()
        right = "right" if scenario.startswith("better") else "wrong"
        panel.set_title(f"candidate {scenario}:\n{right} to promote", fontsize=9.5)
        panel.grid(axis="y", color="#d0d0d0", linewidth=0.6)
    panels[0].set_ylabel("promoted, percent")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=3, frameon=False)
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the simulation; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000, help="evaluations for each number")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="examples")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--plot", type=Path, metavar="FILE.png")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    shares: dict[str, dict[int, dict[str, float]]] = {}
    for number, scenario in enumerate(SCENARIOS):
        for size in options.sizes:
            # Each number has a stream of its own, so that it is the same whatever else is run.
            random = np.random.default_rng([options.seed, number, size])
            found = shares_promoted(scenario.change, size, options.runs, random)
            shares.setdefault(scenario.name, {})[size] = found
            print(f"{scenario.name}, {size} examples", file=sys.stderr)
    print(as_table(shares))
    print(
        f"\nPercent promoted of {options.runs:,} evaluations; seed {options.seed}, "
        f"numpy {np.__version__}"
    )
    print(f"{time.monotonic() - started:.0f} seconds", file=sys.stderr)
    if options.plot is not None:
        plot(shares, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
