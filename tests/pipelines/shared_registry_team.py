"""One team's pipeline, run some times in a process of its own: see test_shared_registry.py.

    python shared_registry_team.py TEAM ROOT RUNS REGISTRY [REGISTRY ...]

No `from __future__ import annotations`: TFX reads the annotations of components.
"""

import datetime
import json
import sys
import time
from pathlib import Path
from typing import Any

from tfx import v1 as tfx
from tfx.types import standard_artifacts

from tfx_registry import ModelRegistry
from tfx_registry.components import ModelRegistrar, ModelVersion, Promoter
from tfx_registry.testing.minimal_model import write_minimal_model

SHARED = "fares"
#: Who publishes the shared model. A version that comes after a newer one would be refused.
PUBLISHER = "north"
WAIT_SECONDS = 900.0


@tfx.dsl.components.component
def Trainer(  # noqa: N802 - a component
    examples: tfx.dsl.components.InputArtifact[standard_artifacts.Examples],
    model: tfx.dsl.components.OutputArtifact[standard_artifacts.Model],
    note: tfx.dsl.components.Parameter[str],
) -> None:
    """Writes a model whose bytes are its own."""
    write_minimal_model(Path(model.uri) / "Format-Serving", f"{note} from {examples.uri}")


@tfx.dsl.components.component
def Reviewer(  # noqa: N802 - a component
    model_version: tfx.dsl.components.InputArtifact[ModelVersion],
    reviewed: tfx.dsl.components.OutputArtifact[standard_artifacts.String],
    registry: tfx.dsl.components.Parameter[str],
) -> None:
    """Lets the version pass, in the place of a gate: there is nothing to measure on."""
    number = int(model_version.get_string_custom_property("version"))
    name = model_version.get_string_custom_property("model_name")
    with ModelRegistry.open(registry) as opened:
        opened.override(name, number, reason="reviewed", expires=datetime.timedelta(hours=1))
    reviewed.value = f"{name}@{number}"


def build(team: str, root: Path, number: int, registry: str) -> Any:
    """Builds the pipeline: a model that both teams register, and one of the team alone."""
    own = root / team
    place = registry.partition(":")[0]
    data = own / "examples" / str(number)
    data.mkdir(parents=True, exist_ok=True)
    (data / "data.txt").write_text(f"{team} {number}", encoding="utf-8")
    examples = tfx.dsl.Importer(
        source_uri=str(data),
        artifact_type=standard_artifacts.Examples,
        properties={"span": number, "split_names": '["train"]'},
        reimport=True,
    ).with_id("data")
    nodes = [examples]
    for name in (SHARED, team):
        trainer = Trainer(examples=examples.outputs["result"], note=f"{team} {name} {number}")
        registrar = ModelRegistrar(
            model=trainer.outputs["model"],
            model_name=name,
            registry=registry,
            lineage={"examples": examples.outputs["result"]},
        )
        nodes += [trainer.with_id(f"trainer_{name}"), registrar.with_id(f"registrar_{name}")]
        if name == SHARED and team != PUBLISHER:
            continue
        reviewer = Reviewer(model_version=registrar.outputs["model_version"], registry=registry)
        destination = tfx.proto.PushDestination.Filesystem(
            base_directory=str(root / "serving" / place / name)
        )
        promoter = Promoter(
            model=trainer.outputs["model"],
            model_version=registrar.outputs["model_version"],
            registry=registry,
            push_destination=tfx.proto.PushDestination(filesystem=destination),
        )
        promoter.add_upstream_node(reviewer)
        nodes += [reviewer.with_id(f"reviewer_{name}"), promoter.with_id(f"promoter_{name}")]
    config = tfx.orchestration.metadata.sqlite_metadata_connection_config(
        str(own / f"{place}.sqlite")
    )
    return tfx.dsl.Pipeline(
        pipeline_name=f"{team}_daily",
        pipeline_root=str(own / "root" / place),
        components=nodes,
        metadata_connection_config=config,
        enable_cache=False,
    )


def meet(root: Path, team: str, number: int) -> None:
    """Waits until both teams are about to begin the same run."""
    (root / f"{team}.{number}").touch()
    deadline = time.monotonic() + WAIT_SECONDS
    while len(list(root.glob(f"*.{number}"))) < 2:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the other team never came to run {number}")
        time.sleep(0.02)


def main() -> None:
    """Runs the pipelines, and says how long each took."""
    team, root, runs, *registries = sys.argv[1:]
    sys.argv = sys.argv[:1]
    seconds = []
    for number in range(int(runs)):
        for index, registry in enumerate(registries):
            pipeline = build(team, Path(root), number, registry)
            meet(Path(root), team, number * len(registries) + index)
            begin = time.monotonic()
            tfx.orchestration.LocalDagRunner().run(pipeline)
            seconds.append(round(time.monotonic() - begin, 1))
    sys.stdout.write(json.dumps(seconds) + "\n")


if __name__ == "__main__":
    main()
