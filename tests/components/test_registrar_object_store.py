"""ModelRegistrar where the artifacts of a pipeline lie in an object store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfx.types import standard_artifacts

from tfx_registry.components.model_registrar.executor import Executor
from tfx_registry.digest import digest_path
from tfx_registry.serving.objects.models import upload_tree
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.object_stores import ObjectStoreServer


def test_sources_in_a_store_have_the_digest_of_their_files(
    server: ObjectStoreServer, pipeline: Any, tmp_path: Path
) -> None:
    model = write_minimal_model(tmp_path / "model")
    data = tmp_path / "examples" / "Split-train"
    data.mkdir(parents=True)
    (data / "data_tfrecord-00000-of-00001.gz").write_bytes(b"rows")
    examples, nothing = standard_artifacts.Examples(), standard_artifacts.Schema()
    examples.uri = f"{server.scheme}://pipelines/registrar/examples"
    nothing.uri = f"{server.scheme}://pipelines/registrar/nothing"
    upload_tree(data.parent, examples.uri)
    Executor().Do(
        {"model": [pipeline.model(model)], "examples": [examples], "schema": [nothing]},
        {"model_version": [pipeline.output(standard_artifacts.Model)]},
        {"model_name": "ages", "registry": pipeline.uri},
    )
    (version,) = pipeline.versions()
    found = {source.key: source.digest for source in version.sources}
    assert found == {
        "examples": digest_path(data.parent).root,
        "model": digest_path(model).root,
        "schema": "",
    }
