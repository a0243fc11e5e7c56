"""A registry as a team would have it after some weeks, made through the registry's own methods.

For the tests of the pages, their screenshots and the measurement of large ones. Versions are
registered, decided on by the real gate with intervals, approved, rejected, overridden, promoted,
rolled back, archived and put on trial; nothing is trained and no serving directory is written.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tfx_registry.gate import (
    ChangeThreshold,
    DataIdentity,
    Direction,
    EvaluatedModel,
    Evaluation,
    GatePolicy,
    Interval,
    MetricId,
    NoWorse,
    SliceSpec,
    ValueThreshold,
    decide,
)
from tfx_registry.gating import Standing, decision_of, situation_of
from tfx_registry.records import (
    ConfigTarget,
    LineageSource,
    Origin,
    PipelineRun,
    SliceKey,
    Version,
)
from tfx_registry.registry import ModelRegistry
from tfx_registry.registry.memory_store import MemoryStore
from tfx_registry.registry.store import Store

__all__ = ["HOSTILE", "SAMPLE_SLICES", "Sample", "fill_sample", "hostile_sample"]

#: What a page must show as text, whatever it looks like.
HOSTILE = (
    "</script><script>document.title='hit'</script><img src=x onerror=\"document.title='hit'\">"
)

#: The slices that every version of the sample is measured on.
SAMPLE_SLICES: tuple[SliceKey, ...] = (
    (),
    (("island", "Biscoe"),),
    (("island", "Dream"),),
    (("island", "Torgersen"),),
    (("sex", "female"),),
    (("sex", "male"),),
)
_BEGIN = datetime.datetime(2026, 9, 1, 3, 0, tzinfo=datetime.timezone.utc)
_METRICS = {"auc": 0.95, "accuracy": 0.93, "loss": 0.22}
#: Positions in the story at which a slice is bad, counted from 1 within a dozen.
_BAD = frozenset({3, 5, 8})


@dataclass
class Sample:
    """What a sample is made of. The texts may be hostile.

    Attributes:
        model: Name of the model.
        versions: How many versions.
        destination: The serving base directory.
        slices: The slices that are measured.
        labels: Labels of every version.
        description: Description of every version.
        actor: Who registers.
        reason: Why, in approvals and promotions.
    """

    model: str = "penguin"
    versions: int = 12
    destination: str = "/srv/models/penguin"
    slices: tuple[SliceKey, ...] = SAMPLE_SLICES
    labels: Mapping[str, str] = field(default_factory=lambda: {"team": "seabirds"})
    description: str = "Nightly training"
    actor: str = "nightly"
    reason: str = "looks good on the holdout"


class _Clock:
    """A clock that goes on by some minutes whenever it is read."""

    def __init__(self) -> None:
        self.now = _BEGIN

    def __call__(self) -> datetime.datetime:
        self.now += datetime.timedelta(minutes=7)
        return self.now


def fill_sample(
    folder: Path, sample: Sample | None = None, store: Store | None = None
) -> ModelRegistry:
    """Makes the registry.

    Args:
        folder: An empty folder for what stands in for models.
        sample: What it is made of; None means a dozen penguins.
        store: An empty store; None means one in memory.

    Returns:
        The registry, open.
    """
    sample = sample or Sample()
    clock = _Clock()
    registry = ModelRegistry(store or MemoryStore(), clock=clock)
    for number in range(1, sample.versions + 1):
        clock.now = _BEGIN + datetime.timedelta(days=number, minutes=13 * (number % 5))
        _live_through(registry, folder, sample, number)
    return registry


def hostile_sample() -> Sample:
    """Returns a sample in which everything that may hold any text holds markup."""
    return Sample(
        slices=(
            (),
            (("island", HOSTILE),),
            (("island", "Dream\u202e"),),
            (("island", f"Torgersen {HOSTILE}"),),
            (("sex", HOSTILE),),
        ),
        labels={"team": HOSTILE},
        description=HOSTILE,
        actor=HOSTILE,
        reason=HOSTILE,
        destination=f"/srv/{HOSTILE}",
    )


def _live_through(registry: ModelRegistry, folder: Path, sample: Sample, number: int) -> None:
    """Registers a version and does with it what its place in the dozen says."""
    place = (number - 1) % 12 + 1
    version = _register(registry, folder, sample, number)
    model, target = sample.model, sample.destination
    if place == 10:
        registry.archive(model, number, reason="trained on last year's schema", actor="ada")
        return
    _decide(registry, sample, version, bad=place in _BAD)
    if place == 7:
        registry.reject(model, number, reason="the colours of the bill are off", actor="grace")
    elif place == 8:
        registry.override(
            model, number, reason="the slice is known to be mislabelled",
            expires=datetime.timedelta(days=1), actor="grace",
        )  # fmt: skip
        _promote(registry, sample, number, "grace")
    elif place == 12 and number == sample.versions:
        config = _config(sample)
        begun = registry.record_rollout(
            model, number, target, "production", config, canary=True, actor="ada"
        )
        registry.record_canary(
            model, number, target, "production", config,
            begun=begun, actor="ada", reason="5 % of the traffic",
        )  # fmt: skip
    elif place not in _BAD and place != 12:
        registry.approve(model, number, reason=sample.reason, actor="grace")
        _promote(registry, sample, number, sample.actor)
        if place == 6:
            _roll_back(registry, sample, number)


def _config(sample: Sample) -> ConfigTarget:
    return ConfigTarget(f"{sample.destination}/models.config", sample.model, sample.destination)


def _promote(registry: ModelRegistry, sample: Sample, number: int, actor: str) -> None:
    place = (sample.model, number, sample.destination, "production", _config(sample))
    begun = registry.record_rollout(*place, canary=False, actor=actor)
    registry.record_config_promotion(*place, begun=begun, actor=actor, reason=sample.reason)


def _roll_back(registry: ModelRegistry, sample: Sample, number: int) -> None:
    trail = registry.deployment(sample.model, sample.destination).trail
    registry.record_rollback(
        sample.model, trail[0], sample.destination, [number],
        reason="half of the chicks were called adults, ticket 4711", actor="on-call",
    )  # fmt: skip


def _register(registry: ModelRegistry, folder: Path, sample: Sample, number: int) -> Version:
    path = folder / str(number)
    path.write_text(f"version {number}", encoding="utf-8")
    span = str(number)
    return registry.register(
        sample.model,
        path,
        description=sample.description,
        labels={**sample.labels, "week": str(number // 7)},
        hyperparameters={"learning_rate": 0.01 / (1 + number % 3), "units": 16},
        origin=Origin(
            "penguin-nightly", f"run-{number:04}", "ModelRegistrar", "", f"{number % 4:040x}",
            {"tensorflow": "2.16.2", "tfx": "1.16.0"},
        ),
        sources=(
            LineageSource(
                "examples", "Examples", f"/data/penguins/span-{span}",
                {"span": span, "split_names": '["train", "eval"]'},
            ),
            LineageSource("schema", "Schema", "/data/penguins/schema"),
            LineageSource("transform_graph", "TransformGraph", f"/runs/{span}/transform"),
        ),
        actor=sample.actor,
    )  # fmt: skip


def _decide(registry: ModelRegistry, sample: Sample, version: Version, *, bad: bool) -> None:
    standing = Standing.now(registry, sample.model, "production")
    baseline = standing.version
    report = decide(
        _policy(),
        Evaluation(
            f"/runs/{version.number}/evaluation",
            _measured(sample, version, bad=bad),
            _measured(sample, baseline, bad=False) if baseline else None,
            data=DataIdentity(f"/data/penguins/span-{version.number}", ("eval",)),
            serving_seq=standing.seq,
        ),
        situation_of(registry, version, standing),
    )
    registry.record_decision(
        sample.model,
        decision_of(
            report, PipelineRun("penguin-nightly", f"run-{version.number:04}", "VersionGate")
        ),
        actor="VersionGate",
        reason="nightly run",
    )


def _policy() -> GatePolicy:
    everywhere = (SliceSpec(), SliceSpec(("island",)), SliceSpec(("sex",)))
    return GatePolicy(
        value_thresholds=(
            ValueThreshold("auc", lower_bound=0.9, slices=everywhere),
            ValueThreshold("accuracy", lower_bound=0.85, upper_bound=1.0, slices=everywhere),
        ),
        change_thresholds=(ChangeThreshold("auc", absolute=-0.02),),
        no_worse=(
            NoWorse("loss", Direction.LOWER_IS_BETTER, tolerance=0.05, better_somewhere=False),
        ),
    )


def _measured(sample: Sample, version: Version, *, bad: bool) -> EvaluatedModel:
    numbers: dict[SliceKey, dict[MetricId, float]] = {}
    intervals: dict[SliceKey, dict[MetricId, Interval]] = {}
    for place, key in enumerate(sample.slices):
        draw = random.Random(version.number * 1000 + place)
        numbers[key] = {MetricId("example_count"): 344.0 if not key else 60.0 + 40 * place}
        intervals[key] = {}
        for name, middle in _METRICS.items():
            value = middle + draw.uniform(-0.009, 0.009) + min(version.number, 12) / 1000
            if bad and place == 3:
                value -= 0.2 if name != "loss" else -0.3
            reach = draw.uniform(0.008, 0.016) * (2 if key else 1)
            numbers[key][MetricId(name)] = min(value, 1.0)
            intervals[key][MetricId(name)] = Interval(value - reach, min(value + reach, 1.0))
    return EvaluatedModel(version.uri, version.facts.manifest, numbers, intervals)
