"""The taxi pipeline's own tasks by their command lines: nothing in them is made for penguins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.records import VersionState

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="session")
def run(taxi: Any) -> Any:
    return taxi.cluster.run(taxi.job, "run1", taxi.made)


@pytest.fixture
def registry(taxi: Any, database: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelRegistry]:
    monkeypatch.setenv("TFX_REGISTRY_PASSWORD", database.password)
    with ModelRegistry.open(taxi.registry) as opened:
        yield opened


def test_the_model_is_registered_gated_by_the_hour_and_served(
    run: Any, taxi: Any, registry: ModelRegistry
) -> None:
    [version] = registry.list_versions("taxi")
    assert version.state is VersionState.SERVING
    assert version.decision is not None
    assert {source.key for source in version.sources} >= {"examples", "schema", "transform_graph"}
    assert (taxi.serving / "taxi" / "1" / "saved_model.pb").is_file()
    assert run["VersionGate"]["blessing"]["metadata"]["blessed"] == 1
    assert run["Promoter"]["pushed_model"]["metadata"]["pushed_version"] == "1"
