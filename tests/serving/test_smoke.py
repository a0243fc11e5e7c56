"""Predictions on given examples before a version becomes visible."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.components import smoke_prediction
from tfx_registry.digest import digest_path
from tfx_registry.errors import InvalidInputError, RefusedError
from tfx_registry.promotion import promote
from tfx_registry.serving import ServingDirectory, SmokeTest, smoke
from tfx_registry.serving.subprocesses import run_module

INSTANCES = [{"x": [1.0, 2.0]}, {"x": [3.0, 4.0]}]


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    path = tmp_path / "examples.json"
    path.write_text(json.dumps({"instances": INSTANCES}), encoding="utf-8")
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "serving"


def publish(model: Path, base: Path, check: Callable[[Path], None]) -> None:
    digest = digest_path(model)
    with ServingDirectory.lock(base) as directory:
        directory.publish(
            model, 1, owner="triple", digest=digest.root, manifest=digest.manifest, check=check
        )


def visible(base: Path) -> list[str]:
    return [path.name for path in base.iterdir() if path.name != ".tfx_registry"]


@pytest.mark.slow
def test_a_model_that_predicts_is_published(
    saved_model: Path, base: Path, examples: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        publish(saved_model, base, SmokeTest(str(examples)))
    assert visible(base) == ["1"]
    assert '"outputs": {"count": [], "y": [2, 2]}' in caplog.text


@pytest.mark.slow
def test_a_model_that_does_not_predict_is_not_published(
    saved_model: Path, base: Path, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.json"
    path.write_text('{"z": 1}', encoding="utf-8")
    with pytest.raises(RefusedError, match=r"has the values \['z'\], and .* takes \['x'\]"):
        publish(saved_model, base, SmokeTest(str(path)))
    assert visible(base) == []
    assert [p.name for p in (base / ".tfx_registry").iterdir()] == ["lock"]


def test_missing_examples_are_named(saved_model: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="there is no such file"):
        publish(saved_model, base, SmokeTest(str(tmp_path / "nowhere")))
    assert visible(base) == []


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import time; time.sleep(1000)", "took longer than 3 seconds"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "was killed by SIGSEGV"),
        ("import sys; sys.exit('out of memory')", "exit code 1: out of memory"),
        ("import sys; sys.exit(4)", "exit code 4: it said nothing"),
    ],
)
def test_a_model_that_hangs_or_crashes_takes_nothing_with_it(
    saved_model: Path,
    base: Path,
    examples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    message: str,
) -> None:
    (tmp_path / "stand_in.py").write_text(program, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(smoke, "_MODULE", "stand_in")
    # The deadline only has to be missed by what hangs.
    seconds = 3.0 if "sleep" in program else 120.0
    with pytest.raises(RefusedError, match=message):
        publish(saved_model, base, SmokeTest(str(examples), timeout_seconds=seconds))
    assert visible(base) == []


def test_what_a_program_started_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its child keeps stdout open: this returns only because that is killed, too."""
    (tmp_path / "stand_in.py").write_text(
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ValueError, match="took longer"):
        run_module("stand_in", [], timeout_seconds=3)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"instances": [[1, 2], [3, 4]]}', [[1, 2], [3, 4]]),
        ("[1, 2]", [1, 2]),
        ('{"x": 1}\n{"x": 2}\n', [{"x": 1}, {"x": 2}]),
        ('{"x": {"b64": "AP8="}}', [{"x": b"\0\xff"}]),
        ('["a", "b"]', ["a", "b"]),
        ("7", [7]),
    ],
)
def test_examples_are_read_as_the_rest_api_takes_them(
    tmp_path: Path, content: str, found: list[object]
) -> None:
    path = tmp_path / "examples"
    path.write_text(content, encoding="utf-8")
    assert smoke_prediction.read_examples(path) == found


@pytest.mark.parametrize("content", [b"", b"[]", b"no examples", b"\xff\xfe\x00\x01" * 10, b"{"])
def test_what_holds_no_examples_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "examples"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        smoke_prediction.read_examples(path)


@pytest.fixture(scope="module")
def parsing_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes serialized examples, and answers 1 / x."""
    import tensorflow as tf

    class Inverse(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def serve(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
            parsed = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([], tf.float32)})
            return {"y": 1.0 / parsed["x"]}

    path = tmp_path_factory.mktemp("models") / "inverse"
    model = Inverse()
    tf.saved_model.save(model, str(path), signatures={"serving_default": model.serve})
    return path


def write_examples(path: Path, *values: float) -> Path:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for value in values:
            feature = tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
            features = tf.train.Features(feature={"x": feature})
            writer.write(tf.train.Example(features=features).SerializeToString())
    return path


def test_serialized_examples_are_sent_as_they_are(parsing_model: Path, tmp_path: Path) -> None:
    examples = smoke_prediction.read_examples(write_examples(tmp_path / "e", 1.0, 2.0))
    assert smoke_prediction.predict(parsing_model, examples, "serving_default") == {"y": [2]}


def test_what_is_not_finite_is_an_error(parsing_model: Path, tmp_path: Path) -> None:
    examples = smoke_prediction.read_examples(write_examples(tmp_path / "e", 1.0, 0.0))
    with pytest.raises(ValueError, match="output 'y' holds NaN or infinity"):
        smoke_prediction.predict(parsing_model, examples, "serving_default")
    with pytest.raises(ValueError, match="no signature 'other'; it has serving_default"):
        smoke_prediction.predict(parsing_model, examples, "other")


def test_a_promotion_that_fails_the_check_is_not_recorded(
    saved_model: Path, base: Path, tmp_path: Path
) -> None:
    def refuse(model: Path) -> None:
        seen.append(digest_path(model).root)
        raise RefusedError("no")

    seen: list[str] = []
    with ModelRegistry.open(f"sqlite:///{tmp_path}/r.sqlite") as registry:
        version = registry.register("triple", saved_model)
        registry.override("triple", 1, reason="test", expires=datetime.timedelta(1))
        events = len(registry.history("triple"))
        with pytest.raises(RefusedError, match="no"):
            promote(registry, "triple", 1, base, check=refuse)
        assert seen == [version.digest]
        assert visible(base) == []
        assert len(registry.history("triple")) == events
        assert promote(registry, "triple", 1, base, check=lambda _: None).changed
