"""The whole pipeline with a gate that evaluates on a Dask cluster, beside the demo's in memory."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.components import dask_workers
from tfx_registry.pipelines.demo.stages import STORY
from tfx_registry.pipelines.options import RunOptions, build_pipeline, hidden_arguments
from tfx_registry.records import Verdict, Version, VersionState
from tfx_registry.testing.beam_workers import DaskCluster

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]

COUNT = "example_count"


def numbers(version: Version) -> dict[tuple[str, Any], float]:
    return {(metric.name, metric.slice): float(metric.value) for metric in version.metrics}


def test_a_gate_on_dask_publishes_and_blocks_what_a_gate_in_memory_does(
    demo: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from tfx import v1 as tfx

    # With a copy of the demo's metadata its data and its models come from the cache: the same
    # bytes. Registry and serving directory are new, so these three components work for themselves.
    for file in demo.root.glob("metadata.sqlite*"):
        shutil.copy(file, tmp_path / file.name)
    uri = f"sqlite:///{tmp_path}/registry.sqlite"
    caplog.set_level(logging.INFO, logger=dask_workers.__name__)
    with DaskCluster(workers=2) as cluster, hidden_arguments():
        for training in STORY[:2]:
            options = RunOptions.below(
                tmp_path,
                data_dir=demo.root / "data",
                registry=uri,
                hyperparameters=training.hyperparameters,
                gate_evaluates=True,
            )
            pipeline = build_pipeline(options)
            [gate] = [one for one in pipeline.components if one.id == "VersionGate"]
            gate.with_beam_pipeline_args(cluster.beam_args)
            tfx.orchestration.LocalDagRunner().run(pipeline)
        ran = [r for r in caplog.records if "2 Beam workers on Dask" in r.getMessage()]
        assert {cluster.address in record.getMessage() for record in ran} == {True}
        assert len(ran) == 2

    with ModelRegistry.open(uri, create=False) as registry:
        versions = registry.list_versions("penguin", newest_first=False)
        decision = registry.decision("penguin", 2)
    serving = tmp_path / "serving" / "penguin"
    assert [path.name for path in serving.iterdir() if path.name.isdigit()] == ["1"]
    assert [v.state for v in versions] == [VersionState.SERVING, VersionState.BLOCKED]
    assert decision is not None
    assert decision.report["baseline"]["evaluated_at"] == str(serving / "1")
    for there, here in zip(versions, demo.versions, strict=False):
        assert there.digest == here.digest, "the same model"
        found, expected = numbers(there), numbers(here)
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)
        for key, value in expected.items():
            assert key[0] != COUNT or found[key] == value
        assert there.decision is not None
        assert there.decision.verdict is here.decision.verdict
        assert there.decision.baseline == here.decision.baseline
        assert there.decision.reasons == here.decision.reasons
    assert versions[1].decision.verdict is Verdict.BLOCKED
    assert versions[1].decision.reasons
