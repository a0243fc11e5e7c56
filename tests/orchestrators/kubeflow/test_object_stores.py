"""Our tasks publish into a bucket by their command lines, and read and write artifacts there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.operations import status
from tfx_registry.testing.gcs_proxy import GcsProxy
from tfx_registry.testing.object_stores import GcsServer, ObjectStoreServer, S3Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(params=[GcsServer, S3Server], ids=lambda kind: kind.scheme)
def store(request: pytest.FixtureRequest) -> Iterator[ObjectStoreServer]:
    with request.param() as server:
        server.make_bucket("models")
        yield server


def test_a_version_is_published_into_a_bucket_once(
    penguin: Any, database: Any, store: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"{store.scheme}://models/penguin"
    registry_uri = database.uri(f"bucket_{store.scheme}")
    job = json.loads(json.dumps(penguin.job).replace(f"{penguin.serving}/penguin", place))
    pods = replace(
        penguin.cluster,
        environment={
            **penguin.cluster.environment,
            **store.environment,
            "TFX_REGISTRY_URI": registry_uri,
        },
        log={},
    )
    made = pods.run(job, store.scheme, penguin.made)
    pushed = made["Promoter"]["pushed_model"]["metadata"]
    assert pushed["pushed"] == 1
    assert pushed["pushed_destination"] == f"{place}/1"
    again = pods.run_task(job["pipelineSpec"], "Promoter", made, store.scheme)
    assert again == made["Promoter"]
    for name, value in {**store.environment, "TFX_REGISTRY_PASSWORD": database.password}.items():
        monkeypatch.setenv(name, value)
    with ModelRegistry.open(registry_uri, create=False) as registry:
        assert registry.get("penguin", 1).serving == (place,)
        seen = status(registry, place)
    assert (seen.loads, seen.problems) == (1, ())


def test_a_bucket_that_is_not_there_fails_the_task_and_is_named(
    penguin: Any, database: Any, store: ObjectStoreServer
) -> None:
    place = f"{store.scheme}://nowhere/penguin"
    job = json.loads(json.dumps(penguin.job).replace(f"{penguin.serving}/penguin", place))
    registry_uri = database.uri(f"nowhere_{store.scheme}")
    environment = {**penguin.cluster.environment, **store.environment}
    pods = replace(
        penguin.cluster, environment={**environment, "TFX_REGISTRY_URI": registry_uri}, log={}
    )
    with pytest.raises(AssertionError, match=r"Promoter ended with 1") as failed:
        pods.run(job, f"nowhere-{store.scheme}", penguin.made)
    said = str(failed.value).strip().splitlines()[-1]
    assert said.startswith("tfx_registry.errors.")
    assert "nowhere" in said


def test_artifacts_and_what_is_served_lie_in_a_bucket(
    penguin: Any, database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TFX's entrypoint writes through TensorFlow; our executors have a client of their own."""
    from gcsfs.core import GCSFileSystem

    model = penguin.made["Trainer"]["model"]
    registry_uri = database.uri("all_in_a_bucket")
    place = "gs://models/served/penguin"
    with GcsServer() as store, GcsProxy(store.url, tmp_path) as proxy:
        store.make_bucket("models")
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        # fsspec's own choice asks by gRPC for the kind of a bucket, which no emulator answers.
        bucket = GCSFileSystem(token="anon", skip_instance_cache=True)
        bucket.put(model["uri"], "models/trained", recursive=True)
        moved = {
            model["uri"]: "gs://models/trained",
            f"{penguin.cluster.root}/moved": "gs://models/moved",
            f"{penguin.serving}/penguin": place,
        }

        def start(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
            """Runs a task that is told of addresses, and brings back what it says of outputs."""
            told = [_replaced(text, moved) for text in arguments]
            code, said = penguin.cluster.start(told, environment)
            for path in bucket.find("models/moved"):
                if path.endswith("/executor_output.json"):
                    local = penguin.cluster.root / path.removeprefix("models/")
                    local.parent.mkdir(parents=True, exist_ok=True)
                    local.write_bytes(bucket.cat_file(path))
            return code, said

        pods = replace(
            penguin.cluster,
            start=start,
            environment={
                **penguin.cluster.environment,
                **store.environment,
                **proxy.environment,
                "TFX_REGISTRY_URI": registry_uri,
            },
            log={},
        )
        made = pods.run(penguin.job, "moved", penguin.made)
        written = set(bucket.find("models/moved"))
        served = bucket.cat_file("models/served/penguin/1/saved_model.pb")
        monkeypatch.setenv("TFX_REGISTRY_PASSWORD", database.password)
        with ModelRegistry.open(registry_uri, create=False) as registry:
            version = registry.get("penguin", 1)
    assert made["Promoter"]["pushed_model"]["metadata"]["pushed_destination"] == f"{place}/1"
    assert version.serving == (place,)
    assert version.uri.startswith("gs://models/trained")
    assert served == next(Path(model["uri"]).rglob("saved_model.pb")).read_bytes()
    assert {
        "models/moved/ModelRegistrar/model_version/version.json",
        "models/moved/VersionGate/report/report.json",
        "models/moved/Promoter/pushed_model/saved_model.pb",
    } <= written


def _replaced(text: str, names: Mapping[str, str]) -> str:
    for old, new in names.items():
        text = text.replace(old, new)
    return text
