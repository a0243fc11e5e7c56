"""A SavedModel of a `.keras` version: on request, as a version of its own."""

from __future__ import annotations

import datetime
import json
import shutil
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry, export_keras, keras_export
from tfx_registry.cli.main import main
from tfx_registry.errors import IntegrityError, InvalidInputError, InvalidModelError
from tfx_registry.promotion import promote
from tfx_registry.records import ModelFormat
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.store_world import MemoryStore


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that adds up its three inputs."""
    import keras

    model = keras.Sequential(
        [keras.Input([3]), keras.layers.Dense(1, kernel_initializer="ones", use_bias=False)]
    )
    path = tmp_path_factory.mktemp("keras") / "sum.keras"
    model.save(path)
    return path


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/r.sqlite"


@pytest.mark.slow
def test_an_export_is_a_version_that_may_be_promoted(
    keras_file: Path, uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import tensorflow as tf

    with ModelRegistry.open(uri) as registry:
        first = registry.register("sum", keras_file, labels={"team": "x"})
        registry.override("sum", 1, reason="test", expires=datetime.timedelta(1))
        with pytest.raises(InvalidModelError, match=r"run 'tfx-registry export-keras sum:1 --out"):
            promote(registry, "sum", 1, tmp_path / "serving")
        assert not (tmp_path / "serving").exists()
    out = tmp_path / "exports" / "sum"
    command = ["--registry", uri, "--json", "export-keras", "sum:1", "--out", str(out)]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["ref"] == "sum:2"
    assert [path.name for path in out.parent.iterdir()] == ["sum"]
    with ModelRegistry.open(uri) as registry:
        made = registry.get("sum", 2)
        assert made.facts.format is ModelFormat.SAVED_MODEL
        assert dict(made.labels) == {"team": "x"}
        (source,) = made.sources
        assert (source.key, source.digest, source.properties["version"]) == (
            "keras_version", first.digest, "sum:1",
        )  # fmt: skip
        registry.override("sum", 2, reason="test", expires=datetime.timedelta(1))
        promoted = promote(registry, "sum", 2, tmp_path / "serving")
    serve = tf.saved_model.load(promoted.path).signatures["serving_default"]
    (answer,) = serve(tf.constant([[1.0, 2.0, 4.0]])).values()
    assert answer.numpy().tolist() == [[7.0]]


def test_what_cannot_be_exported_is_refused(
    keras_file: Path, plain_model: Path, uri: str, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.keras"
    shutil.copy(keras_file, copy)
    with ModelRegistry.open(uri) as registry:
        registry.register("sum", plain_model)
        registry.register("sum", copy)
        with pytest.raises(InvalidModelError, match=r"not '\.keras'"):
            export_keras(registry, "sum", 1, tmp_path / "out")
        with pytest.raises(InvalidInputError, match="exists"):
            export_keras(registry, "sum", 2, tmp_path)
        copy.write_bytes(b"changed")
        with pytest.raises(IntegrityError, match="other bytes"):
            export_keras(registry, "sum", 2, tmp_path / "out")
        assert registry.latest("sum").number == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_export_that_fails_leaves_nothing(uri: str, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.keras"
    damaged.write_bytes(b"PK\x03\x04 no model")
    with ModelRegistry.open(uri) as registry:
        registry.register("sum", damaged)
        with pytest.raises(InvalidModelError, match="failed with exit code 1"):
            export_keras(registry, "sum", 1, tmp_path / "exports" / "sum")
        assert registry.latest("sum").number == 1
    assert list((tmp_path / "exports").iterdir()) == []


def test_a_version_in_an_object_store_is_fetched_for_it(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store, seen = MemoryStore(), []
    monkeypatch.setattr("tfx_registry.serving.objects.models.open_bucket", store.open)
    store.put("sum.keras", b"a model")

    def run(_module: str, arguments: list[str], *, timeout_seconds: float) -> None:
        file, output = map(Path, arguments)
        seen.append((file.name, file.read_bytes()))
        write_minimal_model(output, "exported")

    monkeypatch.setattr(keras_export, "run_module", run)
    monkeypatch.chdir(tmp_path)
    place = "s3://models/penguin/sum.keras"
    with ModelRegistry.open(uri) as registry:
        registry.register("sum", place)
        made = export_keras(registry, "sum", 1, "out")
        assert seen == [("sum.keras", b"a model")]
        assert (made.number, made.uri, made.sources[0].uri) == (2, str(tmp_path / "out"), place)
        store.put("sum.keras", b"another model")
        with pytest.raises(IntegrityError, match="other bytes"):
            export_keras(registry, "sum", 1, "again")
    command = ["--registry", uri, "export-keras", "sum:1", "--out", "s3://models/out"]
    assert main(command) == 2
    assert "'s3://models/out' is no directory on a disk" in capsys.readouterr().err
    made_here = {path.name for path in tmp_path.iterdir()}
    assert {name for name in made_here if not name.startswith("r.sqlite")} == {"out"}
