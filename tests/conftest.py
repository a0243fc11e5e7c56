"""Models that several tests share, and the same conditions on every machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# What a machine's own environment says of registries, people and terminals is not for tests.
for _name in (
    "TFX_REGISTRY_URI", "TFX_REGISTRY_ACTOR", "TFX_REGISTRY_PASSWORD",
    "TFX_REGISTRY_PASSWORD_FILE", "GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILD_USER_ID",
    "COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE",
):  # fmt: skip
    os.environ.pop(_name, None)
# gRPC would send even what goes to this machine itself through a proxy.
for _name in ("no_proxy", "NO_PROXY"):
    os.environ[_name] = ",".join(filter(None, (os.environ.get(_name), "127.0.0.1,localhost")))

# The same examples in each run, however slow the machine is. To look for new ones:
# pytest --hypothesis-profile=explore
settings.register_profile(
    "same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", settings.get_profile("same"), derandomize=False)
settings.load_profile("same")


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
