"""The penguin pipeline under a real Airflow, with the real executors."""

from __future__ import annotations

import json
from collections.abc import Callable
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


def test_a_promoter_that_runs_again_changes_nothing(airflow: Any) -> None:
    before = airflow.versions()
    again = airflow.run("tasks", "test", "penguin", "Promoter", "2026-01-02", epochs=60)
    assert again.returncode == 0, again.stdout[-5000:]
    assert "serves already" in again.stdout
    assert [(v.number, v.state, v.seq) for v in airflow.versions()] == [
        (v.number, v.state, v.seq) for v in before
    ]
    assert airflow.visible() == ["1", "2"]


# settings of the DAG -> what Airflow says of the file
_WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown_setting": ({"epoch": 5}, "no setting 'epoch'"),
    "bad_value": ({"epochs": 0}, "epochs is 0, it must be"),
    "unknown_scheme": ({"registry": "sqllite:///registry.sqlite"}, "'sqllite' is not supported"),
    "password_in_uri": (
        {"registry": "postgresql://tfx:hunter2@database/registry"},
        "TFX_REGISTRY_PASSWORD",
    ),
}


def test_settings_that_make_no_dag(install: Callable[..., Any]) -> None:
    installation = install("wrong")
    for name, (settings, _) in _WRONG.items():
        installation.add_dag(
            "import os\n"
            "from tfx_registry.pipelines.airflow_dag import create_dag\n"
            f"os.environ['AIRFLOW_VAR_PENGUIN_PIPELINE'] = {json.dumps(settings)!r}\n"
            "dag = create_dag()\n",
            name,
        )
    listed = installation.run("dags", "list-import-errors", "--output", "json")
    errors = {Path(e["filepath"]).stem: e["error"] for e in json.loads(_json_list(listed.stdout))}
    assert set(errors) == set(_WRONG), listed.stdout[-3000:]
    for name, (_, said) in _WRONG.items():
        assert said in errors[name]
    assert "hunter2" not in listed.stdout


def _json_list(printed: str) -> str:
    """Leaves out what is logged before the answer."""
    return printed[printed.index("[{") :]
