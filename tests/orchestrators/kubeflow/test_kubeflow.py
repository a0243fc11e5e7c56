"""The compiled pipeline: what is in it, and what its tasks do when their command lines are run."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from tfx_registry import ModelRegistry
from tfx_registry.records import Version, VersionState

pytestmark = pytest.mark.timeout(1800)

GOLDEN = Path(__file__).with_name("penguin_pipeline.json")


@pytest.fixture
def registry(
    registry_uri: str, database: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ModelRegistry]:
    monkeypatch.setenv("TFX_REGISTRY_PASSWORD", database.password)
    with ModelRegistry.open(registry_uri) as opened:
        yield opened


def versions(registry: ModelRegistry) -> list[Version]:
    return registry.list_versions("penguin", newest_first=False)


def test_the_compiled_pipeline_is_the_golden_one(tmp_path: Path) -> None:
    from tfx_registry.pipelines.kubeflow_runner import compile_pipeline

    path = tmp_path / "pipeline.json"
    compile_pipeline(
        path,
        image="tfx-registry:latest",
        registry="postgresql://tfx@postgres/registry",
        volume="/mnt/penguin",
    )
    job = json.loads(path.read_text(encoding="utf-8"))
    job["pipelineSpec"].pop("sdkVersion")
    if os.environ.get("WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(job, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    assert job == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_the_compiled_pipeline_is_a_pipeline_spec(compiled: Any) -> None:
    spec = pipeline_spec_pb2.PipelineSpec()
    json_format.ParseDict(compiled()["pipelineSpec"], spec)
    assert set(spec.root.dag.tasks) >= {"ModelRegistrar", "VersionGate", "Promoter"}
    assert spec.schema_version == "2.1.0"


def test_no_password_is_in_the_compiled_pipeline(compiled: Any, database: Any) -> None:
    assert database.password not in json.dumps(compiled())


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


def test_a_task_without_its_registry_fails_and_says_what_to_do(
    runs: Any, cluster: Any, compiled: Any, registry: ModelRegistry
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    spec = compiled(registry=f"postgresql://tfx@127.0.0.1:{port}/registry")
    with pytest.raises(AssertionError, match=rf"127\.0\.0\.1:{port}: nobody listens there"):
        cluster.run_task(spec["pipelineSpec"], "ModelRegistrar", runs[1], "run2")
    assert len(versions(registry)) == 3


def test_a_task_without_its_password_says_where_one_is_given(
    runs: Any, cluster: Any, compiled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(cluster.environment, "TFX_REGISTRY_PASSWORD_FILE")
    with pytest.raises(AssertionError, match="TFX_REGISTRY_PASSWORD"):
        cluster.run_task(compiled()["pipelineSpec"], "ModelRegistrar", runs[1], "run2")


def test_a_version_of_another_model_is_refused(runs: Any, cluster: Any, compiled: Any) -> None:
    wired_wrong = {**runs[1], "ModelRegistrar": runs[0]["ModelRegistrar"]}
    with pytest.raises(AssertionError, match="cannot promote penguin:1"):
        cluster.run_task(compiled()["pipelineSpec"], "Promoter", wired_wrong, "run4")


def test_kubeflow_reads_the_pipeline_and_what_its_pods_get(tmp_path: Path) -> None:
    from kfp.dsl import structures

    from tfx_registry.pipelines.kubeflow_runner import compile_pipeline

    path = tmp_path / "penguin.yaml"
    compile_pipeline(
        path,
        image="tfx-registry:latest",
        volume="/mnt/penguin",
        claim="data",
    )
    component = structures.ComponentSpec.from_yaml_documents(path.read_text(encoding="utf-8"))
    assert component.name == "penguin"
    assert component.platform_spec is not None
    pods = json_format.MessageToDict(component.platform_spec)["platforms"]["kubernetes"][
        "deploymentSpec"
    ]["executors"]
    tasks = component.implementation.graph.deployment_spec.fields["executors"].struct_value.fields
    assert set(pods) == set(tasks)
    assert pods["Promoter_executor"] == {
        "pvcMount": [{"constant": "data", "mountPath": "/mnt/penguin"}],
        "configMapAsEnv": [
            {
                "configMapName": "tfx-registry",
                "keyToEnv": [{"configMapKey": "TFX_REGISTRY_URI", "envVar": "TFX_REGISTRY_URI"}],
            }
        ],
        "secretAsEnv": [
            {
                "secretName": "tfx-registry",
                "keyToEnv": [
                    {"secretKey": "TFX_REGISTRY_PASSWORD", "envVar": "TFX_REGISTRY_PASSWORD"}
                ],
            }
        ],
    }
