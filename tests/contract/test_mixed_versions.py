"""Databases that one release of ML Metadata wrote, and another goes on with.

`tests/data` holds a registry that was made on each supported release. Both lanes read both of them
and write on. New files are made with

    python tests/contract/test_mixed_versions.py FILE

and old ones stay for ever.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.records import LineageSource, Metric
from tfx_registry.registry import fold

DATA = Path(__file__).resolve().parent.parent / "data"
HOSTILE = "\\ ~ ~1 ' \" % ; -- \u00e9 \U0001f427 \t {} 日本"


def make(registry: ModelRegistry, model: Path) -> None:
    """Writes one of everything that a registry of the first release could hold."""
    (model / "weights").mkdir(parents=True)
    (model / "model.txt").write_text("a model", encoding="utf-8")
    (model / "weights" / "0.bin").write_bytes(bytes(range(256)))
    for number in range(1, 4):
        registry.register(
            "Penguin", model, description=HOSTILE * 100, labels={"team": "birds"},
            metrics=[Metric("auc", 0.1 + 0.2, (("island", "Dream"),))],
            hyperparameters={HOSTILE: HOSTILE}, semantic_version=f"1.0.{number}",
            sources=[LineageSource("examples", "Examples", "/data/1", {"span": "7"})],
            actor="ada", reason=HOSTILE, idempotency_key=f"run-{number}",
        )  # fmt: skip
    registry.set_alias("penguin", "champion", 1, actor="ada")
    registry.set_alias("penguin", "champion", 2, actor="ben")
    registry.set_alias("penguin", "old", 1, actor="ada")
    registry.remove_alias("penguin", "old", actor="ada")


@pytest.fixture(params=["1.16", "1.21"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> ModelRegistry:
    """A copy of a database that some release of ML Metadata wrote."""
    path = tmp_path / "old.sqlite"
    shutil.copyfile(DATA / f"registry-mlmd-{request.param}.sqlite", path)
    return ModelRegistry.open(f"sqlite:///{path}", create=False)


def check(registry: ModelRegistry) -> None:
    events = registry.history("penguin")
    state = fold.replay(events)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert state.head == registry.head("penguin")
    listed = registry.list_versions("penguin", newest_first=False)
    assert list(state.versions.values()) == listed
    assert registry.fsck().findings == ()


def test_what_another_release_wrote_is_read(registry: ModelRegistry) -> None:
    check(registry)
    assert registry.head("penguin").model == "Penguin"
    assert [version.number for version in registry.list_versions("penguin")] == [3, 2, 1]
    version = registry.resolve("penguin@champion")
    assert version.number == 2
    assert version.description == HOSTILE * 100
    assert version.hyperparameters == {HOSTILE: HOSTILE}
    assert version.metric("auc", (("island", "Dream"),)) == 0.1 + 0.2
    assert version.sources == (LineageSource("examples", "Examples", "/data/1", {"span": "7"}),)
    assert version.same_bytes_as == 1
    assert [event.actor for event in registry.history("penguin")][3:] == [
        "ada",
        "ben",
        "ada",
        "ada",
    ]


def test_what_another_release_wrote_is_gone_on_with(
    registry: ModelRegistry, plain_model: Path
) -> None:
    # The same operation as in the file is found, and the same bytes.
    assert registry.register("penguin", plain_model, idempotency_key="run-2").number == 2
    made = registry.register("penguin", plain_model, actor="cleo")
    assert (made.number, made.model, made.same_bytes_as) == (4, "Penguin", 3)
    registry.set_alias("penguin", "champion", 4, expect=2)
    assert registry.register("auk", plain_model).number == 1
    check(registry)


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as folder,
        ModelRegistry.open(f"sqlite:///{sys.argv[1]}") as new,
    ):
        make(new, Path(folder) / "model")
