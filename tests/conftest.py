"""Models that several tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel that triples its input, made by TensorFlow, with a variable and an asset."""
    import tensorflow as tf

    class Triple(tf.Module):
        def __init__(self, asset: Path) -> None:
            super().__init__()
            self.factor = tf.Variable(3.0)
            self.asset = tf.saved_model.Asset(str(asset))

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
        def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": x * self.factor, "count": tf.size(x)}

    folder = tmp_path_factory.mktemp("models")
    asset = folder / "words.txt"
    asset.write_text("auk\n", encoding="utf-8")
    model = Triple(asset)
    path = folder / "triple"
    tf.saved_model.save(model, str(path), signatures={"serving_default": model.serve})
    return path


@pytest.fixture
def plain_model(tmp_path: Path) -> Path:
    """A model of a format that nobody here knows: two files."""
    path = tmp_path / "plain_model"
    (path / "weights").mkdir(parents=True)
    (path / "model.txt").write_text("a model", encoding="utf-8")
    (path / "weights" / "0.bin").write_bytes(bytes(range(256)))
    return path
