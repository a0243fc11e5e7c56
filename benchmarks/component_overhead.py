"""How much longer is a pipeline run with the three components than with stock Pusher?

    python benchmarks/component_overhead.py             # some three minutes
    python benchmarks/component_overhead.py --rounds 3

The penguin pipeline runs with LocalDagRunner in this process, in turns: as it is, and with TFX's
own LatestBlessedModelStrategy and Pusher in the place of ProductionModelStrategy, ModelRegistrar,
VersionGate and Promoter. Data, training and evaluation are the same, and nothing comes from the
cache. One round of both goes before and does not count: it loads what Python loads once. Each
counted run has a baseline to compare with. A table in Markdown goes to stdout.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import report
import tensorflow_model_analysis as tfma
from report import Sample
from tfx import v1 as tfx

from tfx_registry.pipelines.csv_files import EVAL_SPLIT, TRAIN_SPLIT
from tfx_registry.pipelines.options import IN_MEMORY_BEAM_ARGS, RunOptions, build_pipeline
from tfx_registry.pipelines.penguin.data import write_penguin_csv
from tfx_registry.pipelines.penguin.evaluation import eval_config
from tfx_registry.pipelines.penguin.hyperparameters import Hyperparameters
from tfx_registry.pipelines.penguin.pipeline import RUN_FN
from tfx_registry.pipelines.wiring import push_destination, read_csv

_HYPERPARAMETERS = Hyperparameters(epochs=20)
_TARGET_SECONDS = 3.0


def with_registry(root: Path) -> Any:
    """Builds the pipeline as it is."""
    return build_pipeline(
        RunOptions.below(root, hyperparameters=_HYPERPARAMETERS, enable_cache=False)
    )


def with_pusher(root: Path) -> Any:
    """Builds the same pipeline with what TFX has for the purpose."""
    components = tfx.components
    data = read_csv(str(write_penguin_csv(root / "data").root))
    examples, schema = data.example_gen.outputs["examples"], data.schema_gen.outputs["schema"]
    trainer = components.Trainer(
        run_fn=RUN_FN,
        examples=examples,
        schema=schema,
        train_args=tfx.proto.TrainArgs(splits=[TRAIN_SPLIT]),
        eval_args=tfx.proto.EvalArgs(splits=[EVAL_SPLIT]),
        custom_config=_HYPERPARAMETERS.to_mapping(),
    )
    resolver = tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
    ).with_id("latest_blessed_model_resolver")
    evaluator = components.Evaluator(
        examples=examples,
        example_splits=[EVAL_SPLIT],
        model=trainer.outputs["model"],
        baseline_model=resolver.outputs["model"],
        eval_config=_with_threshold(eval_config()),
        schema=schema,
    )
    pusher = components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=push_destination(str(root / "serving" / "penguin")),
    )
    return tfx.dsl.Pipeline(
        pipeline_name="penguin",
        pipeline_root=str(root / "pipeline"),
        components=[*data, trainer, resolver, evaluator, pusher],
        enable_cache=False,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(root / "metadata.sqlite")
        ),
        beam_pipeline_args=list(IN_MEMORY_BEAM_ARGS),
    )


def _with_threshold(config: tfma.EvalConfig) -> tfma.EvalConfig:
    """Adds a threshold that all models pass; without one Evaluator blesses nothing."""
    for metric in config.metrics_specs[0].metrics:
        if metric.class_name == "SparseCategoricalAccuracy":
            metric.threshold.value_threshold.lower_bound.value = 0.1
    return config


def run(build: Any, root: Path) -> float:
    """Runs a pipeline, with a new version served at the end; returns seconds."""
    before = served(root)
    with contextlib.redirect_stdout(io.StringIO()):
        pipeline = build(root)
        started = time.perf_counter()
        tfx.orchestration.LocalDagRunner().run(pipeline)
        seconds = time.perf_counter() - started
    assert len(served(root)) == len(before) + 1, f"nothing was published by {build.__name__}"
    return seconds


def served(root: Path) -> list[str]:
    """Returns the names of the versions in the serving directory."""
    folder = root / "serving" / "penguin"
    return [path.name for path in folder.glob("*") if path.name.isdigit()]


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds of both")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    builds = {"stock Pusher": with_pusher, "the three components": with_registry}
    seconds: dict[str, list[float]] = {name: [] for name in builds}
    with tempfile.TemporaryDirectory(prefix="component-overhead-") as scratch:
        for number in range(options.rounds + 1):
            order = list(builds) if number % 2 else list(reversed(builds))
            for name in order:
                took = run(builds[name], Path(scratch) / builds[name].__name__)
                if number:
                    seconds[name].append(took)
    samples = {name: Sample(tuple((s,) for s in found)) for name, found in seconds.items()}
    pusher, ours = (samples[name] for name in builds)
    more = ours.median - pusher.median
    print(
        report.table(
            ("pipeline with", "run, s (10 % - 90 %)"),
            [
                (
                    name,
                    f"{s.median:.1f} ({s.quantile(0.1):.1f} - {s.quantile(0.9):.1f})",
                )
                for name, s in samples.items()
            ],
        )
    )
    print(
        f"\nThe three components add {more:.1f} s; at most {_TARGET_SECONDS:.0f} s is the target: "
        f"{report.verdict(more <= _TARGET_SECONDS)}."
    )


if __name__ == "__main__":
    main()
