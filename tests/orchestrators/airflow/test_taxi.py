"""The taxi pipeline under a real Airflow: Transform, and a gate that evaluates by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.pipelines.taxi.policy import HOURS
from tfx_registry.records import VersionState

pytestmark = pytest.mark.timeout(1800)

_DAG = """\
from tfx_registry.pipelines.taxi.airflow_dag import create_dag

dag = create_dag()
"""


@pytest.fixture(scope="module")
def taxi(install: Callable[..., Any]) -> Any:
    """Airflow after one run of the DAG."""
    installation = install("taxi")
    installation.add_dag(_DAG)
    installation.run_dag(
        "2026-01-01",
        # TFX packs itself up for Beam's workers, once in each component, unless they have an image.
        beam_args=[
            "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",
            "--sdk_container_image=unused",
        ],
    )
    return installation


def test_the_model_is_registered_gated_and_published(taxi: Any) -> None:
    [version] = taxi.versions()
    assert version.state is VersionState.SERVING
    assert version.aliases == ("production",)
    assert version.decision is not None
    assert version.decision.baseline is None
    assert taxi.visible() == ["1"]
    assert (taxi.root / "serving" / "taxi" / "1" / "saved_model.pb").is_file()
    with ModelRegistry.open(taxi.registry, create=False) as registry:
        history = registry.history("taxi")
        decision = registry.decision("taxi", 1)
    assert [event.kind for event in history] == [
        *("registered", "decided", "publish_started", "promoted")
    ]
    assert decision is not None
    assert str(decision.run).startswith("taxi manual__2026-01-01T")


def test_what_the_gate_measured_is_recorded_for_each_hour(taxi: Any) -> None:
    [version] = taxi.versions()
    hours = {metric.slice for metric in version.metrics if metric.name == "auc"}
    assert hours == {(), *((("trip_start_hour", hour),) for hour in HOURS)}


def test_the_transform_graph_and_the_run_are_in_the_lineage(taxi: Any) -> None:
    [version] = taxi.versions()
    sources = {source.key: source.type_name for source in version.sources}
    assert sources["transform_graph"] == "TransformGraph"
    assert version.origin.pipeline_name == "taxi"
    assert version.origin.run_id.startswith("manual__2026-01-01T")


def test_what_was_published_is_what_was_registered(taxi: Any) -> None:
    from tfx_registry.digest import digest_path

    [version] = taxi.versions()
    assert digest_path(taxi.root / "serving" / "taxi" / "1").root == version.digest
