"""Three whole runs: what each task of the compiled pipeline does when its command line is run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.records import Version, VersionState

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


@pytest.fixture
def registry(
    registry_uri: str, database: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ModelRegistry]:
    monkeypatch.setenv("TFX_REGISTRY_PASSWORD", database.password)
    with ModelRegistry.open(registry_uri) as opened:
        yield opened


def versions(registry: ModelRegistry) -> list[Version]:
    return registry.list_versions("penguin", newest_first=False)


def test_each_run_registers_a_version_and_only_good_ones_serve(
    runs: Any, registry: ModelRegistry, cluster: Any
) -> None:
    first, second, third = versions(registry)
    assert [v.state for v in (first, second, third)] == [
        VersionState.PASSED,
        VersionState.SERVING,
        VersionState.BLOCKED,
    ]
    assert [v.decision.baseline if v.decision else 0 for v in (first, second, third)] == [
        None,
        1,
        2,
    ]
    serving = cluster.root / "serving" / "penguin"
    assert sorted(p.name for p in serving.iterdir() if p.name.isdigit()) == ["1", "2"]
    assert "island" in " ".join(third.decision.reasons if third.decision else ())


def test_artifacts_tell_what_happened(runs: Any) -> None:
    pushed = [run["Promoter"]["pushed_model"]["metadata"] for run in runs]
    assert [p["pushed"] for p in pushed] == [1, 1, 0]
    assert [p.get("pushed_version") for p in pushed] == ["1", "2", None]
    assert "not_pushed_reason" in pushed[2]
    blessed = [run["VersionGate"]["blessing"]["metadata"]["blessed"] for run in runs]
    assert blessed == [1, 1, 0]


def test_the_published_model_answers(runs: Any, cluster: Any) -> None:
    import tensorflow as tf

    model = tf.saved_model.load(str(cluster.root / "serving" / "penguin" / "2"))
    answer = model.signatures["measurements"](
        bill_length_mm=tf.constant([39.1]),
        bill_depth_mm=tf.constant([18.7]),
        flipper_length_mm=tf.constant([181.0]),
        body_mass_g=tf.constant([3750.0]),
    )
    assert answer["species"].numpy().tolist() == [b"Adelie"]


def test_a_registrar_that_runs_again_makes_no_second_version(
    runs: Any, registry: ModelRegistry, cluster: Any, compiled: Any
) -> None:
    spec = compiled(epochs=60)["pipelineSpec"]
    again = cluster.run_task(spec, "ModelRegistrar", runs[1], "run2")
    assert again["model_version"]["metadata"]["version"] == "2"
    assert len(versions(registry)) == 3


def test_the_version_of_another_run_is_not_promoted(runs: Any, cluster: Any, compiled: Any) -> None:
    wired_wrong = {**runs[1], "ModelRegistrar": runs[0]["ModelRegistrar"]}
    with pytest.raises(AssertionError, match="cannot promote penguin:1"):
        cluster.run_task(compiled()["pipelineSpec"], "Promoter", wired_wrong, "run4")
