from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfx_registry.pipelines.penguin import data
from tfx_registry.pipelines.penguin.hyperparameters import Hyperparameters

pytestmark = pytest.mark.slow

TEXT = {"species", "island", "sex"}
FLOATS = {"bill_length_mm", "bill_depth_mm"}


@pytest.fixture(scope="module")
def trainer() -> Any:
    from tfx_registry.pipelines.penguin import trainer

    return trainer


def serialize(row: Mapping[str, str]) -> bytes:
    """Makes what CsvExampleGen makes: an empty field is a list with no value in it."""
    import tensorflow as tf

    features = {}
    for name, text in row.items():
        values = [text] if text else []
        if name in TEXT:
            feature = tf.train.Feature(
                bytes_list=tf.train.BytesList(value=[value.encode() for value in values])
            )
        elif name in FLOATS:
            feature = tf.train.Feature(float_list=tf.train.FloatList(value=map(float, values)))
        else:
            feature = tf.train.Feature(int64_list=tf.train.Int64List(value=map(int, values)))
        features[name] = feature
    example = tf.train.Example(features=tf.train.Features(feature=features))
    serialized: bytes = example.SerializeToString()
    return serialized


def write_examples(directory: Path, rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Writes rows as a split of an Examples artifact and returns the pattern of its files."""
    import tensorflow as tf

    directory.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(directory / "data_tfrecord-00000-of-00001.gz"), "GZIP") as out:
        for row in rows:
            out.write(serialize(row))
    return [f"{directory}/*"]


@pytest.fixture(scope="module")
def splits() -> tuple[list[data.Row], list[data.Row]]:
    return data.split_penguins(data.read_penguins())


@pytest.fixture(scope="module")
def train_files(
    tmp_path_factory: pytest.TempPathFactory, splits: tuple[list[data.Row], list[data.Row]]
) -> list[str]:
    return write_examples(tmp_path_factory.mktemp("examples") / "Split-train", splits[0])


@pytest.fixture(scope="module")
def model_dir(
    trainer: Any, train_files: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A SavedModel, made the way that TFX's Trainer makes it."""
    directory = tmp_path_factory.mktemp("model") / "Format-Serving"
    trainer.run_fn(
        types.SimpleNamespace(
            train_files=train_files,
            custom_config=Hyperparameters(epochs=10).to_mapping(),
            serving_model_dir=str(directory),
        )
    )
    return directory


@pytest.fixture(scope="module")
def signatures(model_dir: Path) -> Any:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(model_dir))
    # The signatures live as long as what they were loaded with.
    return types.SimpleNamespace(loaded=loaded, **loaded.signatures)


def test_examples_become_measurements_and_class_numbers(
    trainer: Any, train_files: list[str]
) -> None:
    features, labels = trainer.load_examples(train_files)

    assert features.shape == (234, 4)
    np.testing.assert_allclose(features[0], [39.1, 18.7, 181, 3750])
    assert np.isnan(features[3]).all()
    assert {int(label) for label in labels} == {0, 1, 2}
    assert labels[0] == trainer.SPECIES.index("Adelie")


def test_only_one_island_is_kept(trainer: Any, train_files: list[str]) -> None:
    features, labels = trainer.load_examples(train_files, "Biscoe")

    assert len(features) == len(labels) == 114
    assert {trainer.SPECIES[label] for label in labels} == {"Adelie", "Gentoo"}


def test_nothing_left_to_train_on_is_an_error(trainer: Any, tmp_path: Path) -> None:
    row = {**dict.fromkeys(data.COLUMNS, "1"), "species": "Adelie", "island": "Dream"}
    files = write_examples(tmp_path / "s", [row])

    with pytest.raises(ValueError, match=r"no training example .* with island Biscoe"):
        trainer.load_examples(files, "Biscoe")


def test_no_file_at_all_is_an_error(trainer: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no training example"):
        trainer.load_examples([f"{tmp_path}/*"])


def test_an_unknown_species_is_an_error(trainer: Any, tmp_path: Path) -> None:
    row = {**dict.fromkeys(data.COLUMNS, "1"), "species": "Emperor", "island": "Dream"}
    files = write_examples(tmp_path / "s", [row])

    with pytest.raises(ValueError, match=r"unknown species .*\['Emperor'\]"):
        trainer.load_examples(files)


def test_a_misspelled_hyperparameter_is_an_error_before_training(
    trainer: Any, tmp_path: Path
) -> None:
    arguments = types.SimpleNamespace(
        train_files=[], custom_config={"epoch": 1}, serving_model_dir=str(tmp_path / "model")
    )

    with pytest.raises(ValueError, match="'epoch'"):
        trainer.run_fn(arguments)

    assert not (tmp_path / "model").exists()


def test_the_same_seed_gives_the_same_weights(trainer: Any, train_files: list[str]) -> None:
    features, labels = trainer.load_examples(train_files)

    def weights(seed: int) -> list[np.ndarray[Any, Any]]:
        settings = Hyperparameters(epochs=2, seed=seed)
        trained: list[np.ndarray[Any, Any]] = trainer.train(
            features, labels, settings
        ).get_weights()
        return trained

    first, again, other = weights(1), weights(1), weights(2)

    for left, right in zip(first, again, strict=True):
        np.testing.assert_array_equal(left, right)
    assert any(not np.array_equal(left, right) for left, right in zip(first, other, strict=True))


def test_missing_measurements_count_as_the_mean(trainer: Any, train_files: list[str]) -> None:
    features, _ = trainer.load_examples(train_files)
    model = trainer.build_model(features, Hyperparameters())
    mean = np.nanmean(features, axis=0)
    given = np.array([[np.nan] * 4, mean, [np.nan, *mean[1:]]], dtype=np.float32)

    scores = model.predict(given, verbose=0)

    np.testing.assert_allclose(scores[0], scores[1], atol=1e-4)
    np.testing.assert_allclose(scores[2], scores[1], atol=1e-4)


def test_the_served_model_is_right_on_most_penguins_it_has_not_seen(
    signatures: Any, splits: tuple[list[data.Row], list[data.Row]]
) -> None:
    import tensorflow as tf

    evaluation = splits[1]
    answer = signatures.serving_default(examples=tf.constant([serialize(r) for r in evaluation]))

    predicted = [name.decode() for name in answer["species"].numpy()]
    right = [name == row["species"] for name, row in zip(predicted, evaluation, strict=True)]
    assert sum(right) / len(right) > 0.9


def test_scores_are_probabilities_in_the_order_of_classes(signatures: Any) -> None:
    import tensorflow as tf

    examples = [serialize({"bill_length_mm": "50.0", "flipper_length_mm": "220"}), serialize({})]
    answer = signatures.serving_default(examples=tf.constant(examples))

    scores, classes = answer["scores"].numpy(), answer["classes"].numpy()
    assert scores.shape == classes.shape == (2, 3)
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, rtol=1e-5)
    assert classes.tolist() == [[b"Adelie", b"Chinstrap", b"Gentoo"]] * 2
    best = classes[[0, 1], scores.argmax(axis=1)]
    assert answer["species"].numpy().tolist() == best.tolist()


def test_both_signatures_answer_the_same(signatures: Any, trainer: Any) -> None:
    import tensorflow as tf

    row = {
        "bill_length_mm": "46.5",
        "bill_depth_mm": "17.9",
        "flipper_length_mm": "192",
        "body_mass_g": "",
    }
    by_example = signatures.serving_default(examples=tf.constant([serialize(row)]))
    by_measurement = signatures.measurements(
        **{name: tf.constant([float(row[name] or "nan")]) for name in trainer.MEASUREMENTS}
    )

    assert by_example.keys() == by_measurement.keys() == {"species", "scores", "classes"}
    np.testing.assert_allclose(by_example["scores"], by_measurement["scores"], rtol=1e-5)


def test_an_empty_batch_gets_an_empty_answer(signatures: Any) -> None:
    import tensorflow as tf

    answer = signatures.serving_default(examples=tf.constant([], tf.string))

    assert answer["classes"].shape == (0, 3)


def test_tfma_finds_the_class_number_of_a_text_label(signatures: Any) -> None:
    import tensorflow as tf
    from tensorflow_model_analysis.metrics import metric_util

    answer = signatures.serving_default(examples=tf.constant([serialize({})]))
    outputs = {name: tensor.numpy()[0] for name, tensor in answer.items()}

    labels, predictions = metric_util.prepare_labels_and_predictions(np.array([b"Gentoo"]), outputs)

    assert labels.tolist() == [2]
    assert predictions.tolist() == outputs["scores"].tolist()
