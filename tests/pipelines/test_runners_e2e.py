"""The thin runner files, as a user starts them, one after the other in the same place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.records import Version, VersionState
from tfx_registry.testing.outgoing import asked_for, watched

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


def run(runner: str, output_dir: Path, *options: str) -> None:
    environment = {**os.environ}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment.pop("TFX_REGISTRY_URI", None)
    done = subprocess.run(
        [
            *(sys.executable, "-m", f"tfx_registry.pipelines.{runner}"),
            *("--output-dir", str(output_dir), "-v", *options),
        ],
        env=watched(output_dir / "watch", environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    # Beam's own default looks for another runner first, and downloads it.
    assert asked_for(output_dir / "watch") == []


def versions_in(output_dir: Path) -> list[Version]:
    uri = f"sqlite:///{output_dir}/metadata.sqlite"
    with ModelRegistry.open(uri, create=False) as registry:
        return registry.list_versions("penguin", newest_first=False)


def executions(output_dir: Path, component: str) -> list[str]:
    """Returns the states of a component's executions, oldest first."""
    import ml_metadata as mlmd
    from ml_metadata.proto import metadata_store_pb2 as pb

    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = str(output_dir / "metadata.sqlite")
    config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READONLY
    store = mlmd.MetadataStore(config)
    names = [kind.name for kind in store.get_execution_types() if component in kind.name]
    assert len(names) == 1, names
    return [
        pb.Execution.State.Name(execution.last_known_state)
        for execution in sorted(store.get_executions_by_type(names[0]), key=lambda e: e.id)
    ]


def test_local_then_beam_runner_share_registry_serving_directory_and_cache(
    tmp_path: Path,
) -> None:
    run("local_runner", tmp_path, "--epochs", "5")

    [first] = versions_in(tmp_path)
    assert first.state is VersionState.SERVING

    run("beam_runner", tmp_path, "--epochs", "30", "--gate-evaluates")

    first, second = versions_in(tmp_path)
    assert first.state is VersionState.PASSED
    assert second.state is VersionState.SERVING
    assert second.decision is not None
    assert second.decision.baseline == 1
    assert first.hyperparameters["epochs"] == "5"
    assert second.hyperparameters["epochs"] == "30"
    serving = tmp_path / "serving" / "penguin"
    assert sorted(p.name for p in serving.iterdir() if p.name.isdigit()) == ["1", "2"]
    # The data has not changed, so the second run takes it from the cache.
    assert executions(tmp_path, "CsvExampleGen") == ["COMPLETE", "CACHED"]
    assert executions(tmp_path, "StatisticsGen") == ["COMPLETE", "CACHED"]
    assert executions(tmp_path, "Trainer") == ["COMPLETE", "COMPLETE"]
    # The second time the gate evaluated by itself, against the copy that serves.
    assert executions(tmp_path, "Evaluator") == ["COMPLETE"]
    with ModelRegistry.open(f"sqlite:///{tmp_path}/metadata.sqlite") as registry:
        decision = registry.decision("penguin", 2)
    assert decision is not None
    assert decision.report["baseline"]["evaluated_at"] == str(serving / "1")
    assert decision.report["data"]["splits"] == ["eval"]
