"""What is in the compiled pipelines; both releases of TFX compile the same."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from google.protobuf import json_format
from kfp.dsl import structures
from kfp.pipeline_spec import pipeline_spec_pb2

from tfx_registry.errors import InvalidInputError
from tfx_registry.pipelines.kubeflow_runner import EXAMPLES, compile_pipeline, main

pytestmark = pytest.mark.timeout(600)

PASSWORD = "hunter2"
REGISTRY = "postgresql://tfx@postgres/registry"


@pytest.fixture(scope="module", params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def job(example: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("compiled") / "pipeline.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFX_REGISTRY_PASSWORD", PASSWORD)
        patch.setenv("TFX_REGISTRY_URI", "postgresql://tfx@elsewhere/registry")
        compile_pipeline(
            path,
            example=example,
            image="tfx-registry:latest",
            registry=REGISTRY,
            volume=f"/mnt/{example}",
        )
    return dict(json.loads(path.read_text(encoding="utf-8")))


def test_the_compiled_pipeline_is_the_golden_one(example: str, job: dict[str, Any]) -> None:
    spec = {name: value for name, value in job["pipelineSpec"].items() if name != "sdkVersion"}
    labels = {name: value for name, value in job["labels"].items() if "version" not in name}
    compiled = {**job, "labels": labels, "pipelineSpec": spec}
    golden = Path(__file__).with_name(f"{example}_pipeline.json")
    if os.environ.get("WRITE_GOLDEN"):
        text = json.dumps(compiled, indent=2, sort_keys=True) + "\n"
        golden.write_text(text, encoding="utf-8")
    assert compiled == json.loads(golden.read_text(encoding="utf-8"))


def test_the_compiled_pipeline_is_a_pipeline_spec(job: dict[str, Any]) -> None:
    spec = pipeline_spec_pb2.PipelineSpec()
    json_format.ParseDict(job["pipelineSpec"], spec)
    assert set(spec.root.dag.tasks) >= {"ModelRegistrar", "VersionGate", "Promoter"}
    assert spec.schema_version == "2.1.0"


def test_nothing_of_the_compiling_machine_s_registry_is_in_it(job: dict[str, Any]) -> None:
    text = json.dumps(job)
    assert PASSWORD not in text
    assert "elsewhere" not in text


def test_kubeflow_reads_the_pipeline_and_what_its_pods_get(example: str, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    compile_pipeline(
        path, example=example, image="tfx-registry:latest", volume="/mnt/data", claim="data"
    )
    component = structures.ComponentSpec.from_yaml_documents(path.read_text(encoding="utf-8"))
    assert component.name == example
    assert component.platform_spec is not None
    pods = json_format.MessageToDict(component.platform_spec)["platforms"]["kubernetes"][
        "deploymentSpec"
    ]["executors"]
    tasks = component.implementation.graph.deployment_spec.fields["executors"].struct_value.fields
    assert set(pods) == set(tasks)
    assert pods["Promoter_executor"] == {
        "pvcMount": [{"constant": "data", "mountPath": "/mnt/data"}],
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


def test_the_command_compiles_the_example_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "taxi.yaml"
    arguments = ["--output-file", str(path), "--image", "i", "--volume", "/mnt/taxi/"]
    done = CliRunner().invoke(main, [*arguments, "--example", "taxi", "--epochs", "2"])
    assert done.exit_code == 0, done.output
    text = path.read_text(encoding="utf-8")
    assert "constant: taxi" in text
    assert "/mnt/taxi/serving/taxi" in text


@pytest.mark.parametrize(
    ("registry", "why"),
    [
        ("postgres//tfx@postgres/registry", "postgres//tfx"),
        ("postgresql://tfx:hunter2@postgres/registry", "TFX_REGISTRY_PASSWORD"),
    ],
)
def test_a_wrong_address_of_the_registry_is_refused_before_anything_is_written(
    registry: str, why: str, tmp_path: Path
) -> None:
    path = tmp_path / "pipeline.yaml"
    with pytest.raises(InvalidInputError, match=why):
        compile_pipeline(path, image="i", volume="/mnt/penguin", registry=registry)
    arguments = ["--output-file", str(path), "--image", "i", "--volume", "/mnt/penguin"]
    done = CliRunner().invoke(main, [*arguments, "--registry", registry])
    assert done.exit_code == 2
    assert why in done.output
    assert PASSWORD not in done.output
    assert not path.exists()
