"""Two small classifiers, evaluated by TFMA for real: one good, one that fails on a slice."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PEOPLE = 40
_THRESHOLD = "threshold { value_threshold { lower_bound { value: 0.4 } } }"


@dataclass(frozen=True)
class Evaluated:
    """Models as Trainer leaves them, and TFMA results about them.

    Attributes:
        good: Model artifact directory; right on everybody.
        bad: Model artifact directory; wrong on the old.
        good_alone: Evaluation of the good one.
        bad_alone: Evaluation of the bad one.
        bad_against_good: Evaluation of the bad one with the good one as baseline.
        good_against_good: Evaluation of the good one with itself as baseline.
        weighted_and_not: Evaluation of the bad one, with TFMA's threshold of 0.4, that holds each
            metric twice; with the weights only the old count.
        swapped: A place where a copy of the good one lay when it was evaluated; nothing is there.
        swapped_alone: Evaluation of what lay there.
        bad_against_swapped: Evaluation of the bad one with what lay there as baseline.
    """

    good: Path
    bad: Path
    good_alone: Path
    bad_alone: Path
    bad_against_good: Path
    good_against_good: Path
    weighted_and_not: Path
    swapped: Path
    swapped_alone: Path
    bad_against_swapped: Path


def _write_model(root: Path, sign_for_old: float) -> Path:
    import tensorflow as tf

    class Classifier(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def serve(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
            spec = {
                "x": tf.io.FixedLenFeature([], tf.float32),
                "age": tf.io.FixedLenFeature([], tf.string),
            }
            parsed = tf.io.parse_example(examples, spec)
            sign = tf.where(parsed["age"] == "old", sign_for_old, 1.0)
            return {"probability": tf.reshape(tf.sigmoid(4.0 * sign * parsed["x"]), [-1, 1])}

    model = Classifier()
    inside = root / "Format-Serving"
    tf.saved_model.save(model, str(inside), signatures={"serving_default": model.serve})
    return root


def _write_examples(path: Path) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for index in range(PEOPLE):
            x = 1.0 if index % 4 < 2 else -1.0
            features = {
                "x": tf.train.Feature(float_list=tf.train.FloatList(value=[x])),
                "label": tf.train.Feature(float_list=tf.train.FloatList(value=[float(x > 0)])),
                "age": tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[b"old" if index % 2 else b"young"])
                ),
                "weight": tf.train.Feature(float_list=tf.train.FloatList(value=[float(index % 2)])),
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())


def _evaluate(
    output: Path, examples: Path, candidate: Path, baseline: Path | None, weights: str = ""
) -> Path:
    import tensorflow_model_analysis as tfma
    from google.protobuf import text_format

    weighted = 'example_weight_key: "weight"' if weights else ""
    specs = f'model_specs {{ name: "candidate" label_key: "label" {weighted} }}'
    if baseline:
        specs += ' model_specs { name: "baseline" label_key: "label" is_baseline: true }'
    config = text_format.Parse(
        specs
        + """
        metrics_specs {
          WEIGHTS
          metrics { class_name: "BinaryAccuracy" THRESHOLD }
          metrics { class_name: "ExampleCount" }
        }
        slicing_specs {}
        slicing_specs { feature_keys: "age" }
        """.replace("WEIGHTS", weights).replace("THRESHOLD", _THRESHOLD if weights else ""),
        tfma.EvalConfig(),
    )
    models = [("candidate", candidate)] + ([("baseline", baseline)] if baseline else [])
    tfma.run_model_analysis(
        eval_shared_model=[
            tfma.default_eval_shared_model(
                str(path / "Format-Serving"), eval_config=config, model_name=name
            )
            for name, path in models
        ],
        eval_config=config,
        data_location=str(examples),
        output_path=str(output),
    )
    return output


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """Trains nothing and evaluates for real: seven TFMA runs on Beam."""
    root = tmp_path_factory.mktemp("evaluated")
    examples = root / "examples.tfrecord"
    _write_examples(examples)
    good = _write_model(root / "good", 1.0)
    bad = _write_model(root / "bad", -1.0)
    swapped = root / "swapped"
    shutil.copytree(good, swapped)
    swapped_alone = _evaluate(root / "swapped_alone", examples, swapped, None)
    bad_against_swapped = _evaluate(root / "bad_against_swapped", examples, bad, swapped)
    shutil.rmtree(swapped)
    both = "example_weights { weighted: true unweighted: true }"
    return Evaluated(
        good,
        bad,
        _evaluate(root / "good_alone", examples, good, None),
        _evaluate(root / "bad_alone", examples, bad, None),
        _evaluate(root / "bad_against_good", examples, bad, good),
        _evaluate(root / "good_against_good", examples, good, good),
        _evaluate(root / "weighted_and_not", examples, bad, None, both),
        swapped,
        swapped_alone,
        bad_against_swapped,
    )


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """URI of an empty registry."""
    return f"sqlite:///{tmp_path}/registry.sqlite"


def artifact(cls: Any, uri: Path | str, identifier: int = 1) -> Any:
    """Makes an artifact as an orchestrator would."""
    made = cls()
    made.uri = str(uri)
    made.id = identifier
    return made
