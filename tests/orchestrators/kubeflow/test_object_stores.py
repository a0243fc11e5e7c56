"""Our tasks publish into a bucket by their command lines; artifacts lie on the volume.

Artifacts in a bucket are TFX's own affair: its entrypoint writes through TensorFlow, whose client
of Google Cloud Storage knows one server alone and cannot be led to an emulator.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.operations import status
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
