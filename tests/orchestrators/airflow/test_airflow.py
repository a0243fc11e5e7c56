"""The penguin pipeline under a real Airflow, with the real executors."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.records import VersionState

pytestmark = pytest.mark.timeout(1800)


def test_each_run_registers_a_version_and_only_good_ones_serve(airflow: Any) -> None:
    first, second, third = airflow.versions()
    assert [v.state for v in (first, second, third)] == [
        VersionState.PASSED,
        VersionState.SERVING,
        VersionState.BLOCKED,
    ]
    assert airflow.visible() == ["1", "2"]
    assert first.hyperparameters["epochs"] == "5"
    assert second.hyperparameters["epochs"] == "60"


def test_the_baseline_is_what_served(airflow: Any) -> None:
    first, second, third = airflow.versions()
    assert [v.decision.baseline for v in (first, second, third)] == [None, 1, 2]
    assert "below" in third.decision.reasons[0] or "needs at least" in third.decision.reasons[0]


def test_versions_say_which_run_made_them(airflow: Any) -> None:
    runs = [version.origin.run_id for version in airflow.versions()]
    assert [run.partition("T")[0] for run in runs] == [
        f"manual__2026-01-0{day}" for day in (1, 2, 3)
    ]
    with ModelRegistry.open(airflow.registry, create=False) as registry:
        assert {event.actor for event in registry.history("penguin")} == {"airflow"}


def test_the_published_model_answers(airflow: Any) -> None:
    import tensorflow as tf

    model = tf.saved_model.load(str(airflow.root / "serving" / "penguin" / "2"))
    answer = model.signatures["measurements"](
        bill_length_mm=tf.constant([39.1]),
        bill_depth_mm=tf.constant([18.7]),
        flipper_length_mm=tf.constant([181.0]),
        body_mass_g=tf.constant([3750.0]),
    )
    assert answer["species"].numpy().tolist() == [b"Adelie"]


def test_a_task_without_its_registry_fails_with_a_message_and_a_retry_makes_no_second_version(
    airflow: Any,
) -> None:
    before = airflow.versions()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    task = ("tasks", "test", "penguin", "ModelRegistrar", "2026-01-02")
    failed = airflow.run(*task, epochs=60, registry=f"postgresql://tfx@127.0.0.1:{port}/registry")
    assert failed.returncode != 0
    assert f"127.0.0.1:{port}: nobody listens there" in failed.stdout, failed.stdout[-3000:]
    again = airflow.run(*task, epochs=60)
    assert again.returncode == 0, again.stdout[-5000:]
    assert [v.number for v in airflow.versions()] == [v.number for v in before]


def test_a_promoter_that_runs_again_changes_nothing(airflow: Any) -> None:
    before = airflow.versions()
    again = airflow.run("tasks", "test", "penguin", "Promoter", "2026-01-02", epochs=60)
    assert again.returncode == 0, again.stdout[-5000:]
    assert "serves already" in again.stdout
    assert [(v.number, v.state, v.seq) for v in airflow.versions()] == [
        (v.number, v.state, v.seq) for v in before
    ]
    assert airflow.visible() == ["1", "2"]


def test_a_serving_directory_that_is_not_mounted(airflow: Any, tmp_path: Path) -> None:
    in_the_way = tmp_path / "volume"
    in_the_way.write_text("not a directory", encoding="utf-8")
    failed = airflow.run(
        *("tasks", "test", "penguin", "Promoter", "2026-01-02"),
        epochs=60,
        serving_dir=str(in_the_way / "penguin"),
    )
    assert failed.returncode != 0
    assert "cannot publish into" in failed.stdout, failed.stdout[-3000:]
    assert in_the_way.read_text(encoding="utf-8") == "not a directory"


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"epoch": 5}, "no setting 'epoch'"), ({"epochs": 0}, "it must be 1 or more")],
)
def test_a_variable_that_makes_no_dag(airflow: Any, settings: dict[str, Any], said: str) -> None:
    errors = airflow.run("dags", "list-import-errors", "--output", "json", **settings)
    assert said in " ".join(errors.stdout.split())
