"""Trains the penguin classifier and exports it as a SavedModel.

Give it to TFX's Trainer by its path, which needs no user module and no wheel to be built:

    Trainer(run_fn="tfx_registry.pipelines.penguin.trainer.run_fn", ...)

The SavedModel has two signatures with the same outputs:

* `serving_default` takes `examples`, serialized `tf.Example`s of the raw data. TFMA and gRPC
  callers use this one.
* `measurements` takes the four measurements as floats, for callers who have no `tf.Example`, such
  as the REST interface of TensorFlow Serving. A missing measurement is NaN.

The outputs are, for each penguin: `species`, the most likely one; `scores`, the probability of each
species; `classes`, the names that the scores belong to. `scores` and `classes` are the names of a
TensorFlow classification signature. TFMA knows them: it turns the text of the label column into a
class number with `classes`, so that an evaluation can use the raw data as it is.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfx_registry.pipelines.penguin.hyperparameters import Hyperparameters

_BATCH_SIZE = 32
_ISLAND = "island"
_MISSING = -1
# As `CsvExampleGen` infers them: a column of whole numbers becomes int64.
_TYPES: Mapping[str, tf.DType] = {
    "bill_length_mm": tf.float32,
    "bill_depth_mm": tf.float32,
    "flipper_length_mm": tf.int64,
    "body_mass_g": tf.int64,
}

MEASUREMENTS: tuple[str, ...] = tuple(_TYPES)
"""The model's features, in the order of its input columns."""

LABEL = "species"
SPECIES: tuple[str, ...] = ("Adelie", "Chinstrap", "Gentoo")
"""The classes. Fixed, so that a model trained without one of them still has its column."""

_logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


def run_fn(fn_args: Any) -> None:
    """Trains one model; the entry point that TFX's Trainer calls.

    Args:
        fn_args: TFX's `FnArgs`. Used are `train_files` (patterns of gzipped TFRecord files),
            `custom_config` (see `Hyperparameters`) and `serving_model_dir` (where to export).

    Raises:
        ValueError: `custom_config` has an unknown name or a bad value, or no training example is
            left to train on.
    """
    hyperparameters = Hyperparameters.from_mapping(fn_args.custom_config)
    features, labels = load_examples(fn_args.train_files, hyperparameters.only_island)
    model = train(features, labels, hyperparameters)
    export(model, fn_args.serving_model_dir)


def load_examples(
    file_patterns: Sequence[str], only_island: str | None = None
) -> tuple[FloatArray, IntArray]:
    """Reads penguins from the files of a TFX Examples artifact.

    Args:
        file_patterns: Patterns of gzipped TFRecord files of `tf.Example`s.
        only_island: Keep the penguins of this island alone.

    Returns:
        The measurements, shape [penguins, 4], NaN where one is missing, and the class numbers,
        shape [penguins].

    Raises:
        ValueError: No penguin is left, or one has a species that is not in `SPECIES`.
    """
    files = sorted(name for pattern in file_patterns for name in tf.io.gfile.glob(pattern))
    records = list(tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator())
    parsed = parse_examples(tf.constant(records, tf.string, shape=[len(records)]), training=True)
    features = measurement_columns(parsed).numpy()
    species = [name.decode() for name in parsed[LABEL].numpy()]
    unknown = sorted(set(species) - set(SPECIES))
    if unknown:
        raise ValueError(f"unknown species in the training data: {unknown}; known: {list(SPECIES)}")
    labels = np.array([SPECIES.index(name) for name in species], dtype=np.int64)
    if only_island is not None:
        kept = parsed[_ISLAND].numpy() == only_island.encode()
        features, labels = features[kept], labels[kept]
    if not len(labels):
        raise ValueError(
            f"no training example in {list(file_patterns)} with island {only_island or 'any'}"
        )
    return features, labels


def parse_examples(serialized: tf.Tensor, *, training: bool = False) -> dict[str, tf.Tensor]:
    """Parses serialized `tf.Example`s of the raw data.

    Args:
        serialized: Strings, shape [batch].
        training: Whether to read the label and the island too, which a caller of the served model
            does not have.

    Returns:
        Column name to values, shape [batch]. A missing measurement is -1.
    """
    columns: dict[str, Any] = {name: tf.io.VarLenFeature(dtype) for name, dtype in _TYPES.items()}
    if training:
        columns[LABEL] = tf.io.FixedLenFeature([], tf.string)
        columns[_ISLAND] = tf.io.FixedLenFeature([], tf.string)
    parsed: dict[str, Any] = tf.io.parse_example(serialized, columns)
    for name, dtype in _TYPES.items():
        # A missing value is a feature with no value in it, which a fixed length would refuse.
        column = tf.sparse.reset_shape(parsed[name], [tf.shape(serialized)[0], 1])
        missing = tf.constant(_MISSING, dtype)
        parsed[name] = tf.squeeze(tf.sparse.to_dense(column, default_value=missing), axis=-1)
    return parsed


def measurement_columns(values: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Stacks the measurements as the model's input.

    Args:
        values: The columns named in `MEASUREMENTS`, shape [batch]. A missing measurement is NaN or
            not positive: no penguin weighs 0 g.

    Returns:
        Floats, shape [batch, 4], NaN where a measurement is missing.
    """
    stacked = tf.stack([tf.cast(values[name], tf.float32) for name in MEASUREMENTS], axis=-1)
    return tf.where(stacked > 0, stacked, tf.constant(float("nan"), tf.float32))


def train(features: FloatArray, labels: IntArray, hyperparameters: Hyperparameters) -> keras.Model:
    """Trains the classifier.

    Args:
        features: Measurements, shape [penguins, 4], NaN where one is missing.
        labels: Class numbers, shape [penguins].
        hyperparameters: How to train.

    Returns:
        A Keras model from measurements to the probability of each species. The same arguments on
        the same machine give the same weights.
    """
    keras.utils.set_random_seed(hyperparameters.seed)
    model = build_model(features, hyperparameters)
    history = model.fit(
        features, labels, batch_size=_BATCH_SIZE, epochs=hyperparameters.epochs, verbose=0
    )
    _logger.info(
        "trained on %d penguins with %s: training accuracy %.4f",
        len(labels),
        hyperparameters,
        history.history["accuracy"][-1],
    )
    return model


def build_model(features: FloatArray, hyperparameters: Hyperparameters) -> keras.Model:
    """Builds the compiled, untrained classifier.

    Each measurement is brought to mean 0 and variance 1 with the statistics of `features`; a
    missing one becomes 0, which is the mean.

    Args:
        features: The training split's measurements, shape [penguins, 4], NaN where one is missing.
        hyperparameters: The layers and the learning rate.

    Returns:
        A compiled Keras model.
    """
    inputs = keras.Input(shape=(len(MEASUREMENTS),), dtype="float32", name="measurements")
    hidden = keras.layers.Normalization(
        mean=np.nanmean(features, axis=0), variance=np.nanvar(features, axis=0)
    )(inputs)
    hidden = keras.ops.where(keras.ops.isnan(hidden), 0.0, hidden)
    for units in hyperparameters.hidden_units:
        hidden = keras.layers.Dense(units, activation="relu")(hidden)
    outputs = keras.layers.Dense(len(SPECIES), activation="softmax", name="scores")(hidden)
    model = keras.Model(inputs, outputs)
    model.compile(
        optimizer=keras.optimizers.Adam(hyperparameters.learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def export(model: keras.Model, directory: str) -> None:
    """Exports the model as a SavedModel with the signatures this module describes.

    Args:
        model: A model from measurements to the probability of each species.
        directory: Where to write the SavedModel.
    """
    # `model.export()` would make one signature that takes floats; TFMA feeds serialized examples.
    archive = keras.export.ExportArchive()
    archive.track(model)

    def classify(values: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        scores = model(measurement_columns(values), training=False)
        names = tf.constant(SPECIES)
        return {
            "species": tf.gather(names, tf.argmax(scores, axis=-1)),
            "scores": scores,
            "classes": tf.tile(names[tf.newaxis, :], [tf.shape(scores)[0], 1]),
        }

    def serve_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return classify(parse_examples(examples))

    def serve_measurements(
        bill_length_mm: tf.Tensor,
        bill_depth_mm: tf.Tensor,
        flipper_length_mm: tf.Tensor,
        body_mass_g: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        columns = (bill_length_mm, bill_depth_mm, flipper_length_mm, body_mass_g)
        return classify(dict(zip(MEASUREMENTS, columns, strict=True)))

    archive.add_endpoint(
        "serving_default", serve_examples, [tf.TensorSpec([None], tf.string, name="examples")]
    )
    archive.add_endpoint(
        "measurements",
        serve_measurements,
        [tf.TensorSpec([None], tf.float32, name=name) for name in MEASUREMENTS],
    )
    archive.write_out(directory, verbose=False)
