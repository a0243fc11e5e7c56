"""What is read of a SavedModel without TensorFlow, against what TensorFlow says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tfx_registry.errors import InvalidModelError
from tfx_registry.inspection import describe_model
from tfx_registry.records import ModelFormat, TensorSpec
from tfx_registry.saved_model import find_saved_model, read_fingerprint, read_metagraph


def test_signature_equals_what_tensorflow_loads(saved_model: Path) -> None:
    import tensorflow as tf

    tags, signatures, version = read_metagraph(saved_model)
    loaded = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
    inputs = loaded.structured_input_signature[1]
    assert tags == ("serve",)
    assert version == tf.__version__
    assert set(signatures) == {"serving_default"}
    assert dict(signatures["serving_default"].inputs) == {
        name: TensorSpec(spec.dtype.name, tuple(spec.shape)) for name, spec in inputs.items()
    }
    assert dict(signatures["serving_default"].outputs) == {
        name: TensorSpec(spec.dtype.name, tuple(spec.shape))
        for name, spec in loaded.structured_outputs.items()
    }
    assert signatures["serving_default"].outputs["count"].shape == ()
    assert signatures["serving_default"].method == "tensorflow/serving/predict"


def test_fingerprint_equals_tensorflows(saved_model: Path) -> None:
    import tensorflow as tf

    expected = tf.saved_model.experimental.read_fingerprint(str(saved_model))
    found = read_fingerprint(saved_model)
    assert found["saved_model_checksum"] == str(expected.saved_model_checksum)
    assert found["graph_def_program_hash"] == str(expected.graph_def_program_hash)
    assert found["checkpoint_hash"] == str(expected.checkpoint_hash)


def test_describe(saved_model: Path) -> None:
    facts = describe_model(saved_model)
    assert facts.format is ModelFormat.SAVED_MODEL
    assert facts.uri == str(saved_model)
    assert facts.size_bytes == sum(f.stat().st_size for f in saved_model.rglob("*") if f.is_file())


def test_a_tfx_model_artifact_is_looked_into(saved_model: Path, tmp_path: Path) -> None:
    inside = tmp_path / "model" / "Format-Serving"
    shutil.copytree(saved_model, inside)
    assert find_saved_model(tmp_path / "model") == inside
    assert describe_model(tmp_path / "model").digest == describe_model(saved_model).digest


def test_other_formats(plain_model: Path, tmp_path: Path) -> None:
    assert describe_model(plain_model).format is ModelFormat.OTHER
    assert find_saved_model(plain_model) is None
    keras = tmp_path / "model.keras"
    keras.write_bytes(b"PK")
    assert describe_model(keras).format is ModelFormat.KERAS


@pytest.mark.parametrize("content", [b"\xff\xff\xff", b"", b"not a model at all"])
def test_a_damaged_saved_model_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(InvalidModelError, match="export the model again"):
        describe_model(tmp_path)
