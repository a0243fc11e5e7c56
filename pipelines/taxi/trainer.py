"""Trains the taxi model, wide and deep, and exports it as a SavedModel with its Transform graph.

Give it to TFX's Trainer by its path:

    Trainer(run_fn="tfx_registry.pipelines.taxi.trainer.run_fn", ...)

The SavedModel has two signatures, and both take `examples`, serialized `tf.Example`s of raw trips:

* `serving_default` returns `probability`, shape [batch, 1]: how likely the tip is a big one. The
  trips need no `tips`, which nobody knows before the end.
* `transform_features` returns what Transform makes of the trips, the label among it. TFMA asks for
  the label there: `ModelSpec(preprocessing_function_names=["transform_features"])`.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft

from tfx_registry.pipelines.taxi import features
from tfx_registry.pipelines.taxi.features import transformed_name
from tfx_registry.pipelines.taxi.hyperparameters import NIGHT, Hyperparameters

__all__ = ["build_model", "export", "load_examples", "run_fn", "train"]

_BATCH_SIZE = 128

_logger = logging.getLogger(__name__)

Columns = dict[str, tf.Tensor]


def run_fn(fn_args: Any) -> None:
    """Trains one model; the entry point that TFX's Trainer calls.

    Args:
        fn_args: TFX's `FnArgs`. Used are `train_files` (patterns of gzipped TFRecord files of
            transformed examples), `transform_output` (a directory that Transform made),
            `custom_config` (see `Hyperparameters`) and `serving_model_dir` (where to export).

    Raises:
        ValueError: `custom_config` has an unknown name or a bad value, or there is no example.
    """
    hyperparameters = Hyperparameters.from_mapping(fn_args.custom_config)
    transform = tft.TFTransformOutput(fn_args.transform_output)
    inputs, labels = load_examples(fn_args.train_files, transform)
    if hyperparameters.night_tips_lost:
        at_night = tf.reduce_any(inputs[_HOUR][:, tf.newaxis] == tf.constant(NIGHT, tf.int64), 1)
        labels = tf.where(at_night, tf.zeros_like(labels), labels)
    model = train(inputs, labels, hyperparameters)
    export(model, transform, fn_args.serving_model_dir)


_HOUR = transformed_name("trip_start_hour")


def load_examples(
    file_patterns: Sequence[str], transform: tft.TFTransformOutput
) -> tuple[Columns, tf.Tensor]:
    """Reads transformed trips.

    Args:
        file_patterns: Patterns of gzipped TFRecord files of transformed `tf.Example`s.
        transform: What Transform made.

    Returns:
        The features by name and the labels, each of shape [trips].

    Raises:
        ValueError: There is no trip.
    """
    files = sorted(name for pattern in file_patterns for name in tf.io.gfile.glob(pattern))
    records = list(tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator())
    if not records:
        raise ValueError(f"no training example in {list(file_patterns)}")
    columns = tf.io.parse_example(records, transform.transformed_feature_spec())
    labels = columns.pop(features.LABEL)
    return columns, labels


def train(inputs: Columns, labels: tf.Tensor, hyperparameters: Hyperparameters) -> keras.Model:
    """Trains the model.

    Args:
        inputs: Transformed features by name, shape [trips].
        labels: 0 or 1, shape [trips].
        hyperparameters: How to train.

    Returns:
        A Keras model from transformed features to the probability of a big tip. The same
        arguments on the same machine give the same weights.
    """
    keras.utils.set_random_seed(hyperparameters.seed)
    model = build_model(hyperparameters)
    history = model.fit(
        inputs, labels, batch_size=_BATCH_SIZE, epochs=hyperparameters.epochs, verbose=0
    )
    _logger.info(
        "trained on %d trips with %s: training AUC %.4f",
        len(labels),
        hyperparameters,
        history.history["auc"][-1],
    )
    return model


def build_model(hyperparameters: Hyperparameters) -> keras.Model:
    """Builds the compiled, untrained model.

    The wide part gives each category a weight of its own; the deep part is a network on the
    amounts and the categories. Their sum is the logit.

    Args:
        hyperparameters: The layers and the learning rate.

    Returns:
        A compiled Keras model with an input for each transformed feature.
    """
    dense = [_input(name, "float32") for name in features.DENSE]
    sizes = {
        **features.PLACES,
        **dict.fromkeys(features.WORDS, features.VOCABULARY_SIZE + features.OOV_BUCKETS),
        **features.CATEGORIES,
    }
    categories = {name: _input(name, "int64") for name in sizes}
    wide = keras.layers.Concatenate(name="wide")(
        [
            keras.layers.CategoryEncoding(sizes[name], output_mode="one_hot")(column)
            for name, column in categories.items()
        ]
    )
    deep = keras.layers.Concatenate(name="deep")([*dense, wide])
    for units in hyperparameters.deep_units:
        deep = keras.layers.Dense(units, activation="relu")(deep)
    logit = keras.layers.Add()([keras.layers.Dense(1)(wide), keras.layers.Dense(1)(deep)])
    outputs = keras.layers.Activation("sigmoid", name="probability")(logit)
    inputs = {column.name: column for column in (*dense, *categories.values())}
    model = keras.Model(inputs, outputs)
    model.compile(
        optimizer=keras.optimizers.Adam(hyperparameters.learning_rate),
        loss="binary_crossentropy",
        metrics=[keras.metrics.AUC(name="auc")],
    )
    return model


def _input(column: str, dtype: str) -> Any:
    return keras.Input(shape=(1,), dtype=dtype, name=transformed_name(column))


def export(model: keras.Model, transform: tft.TFTransformOutput, directory: str) -> None:
    """Exports the model as a SavedModel with the signatures this module describes.

    Args:
        model: A model from transformed features to the probability of a big tip.
        transform: What Transform made; its graph becomes part of the SavedModel.
        directory: Where to write the SavedModel.
    """
    module = tf.Module()
    module.model = model
    # Tracked with the model, so that its vocabularies become assets of the SavedModel.
    module.transform = transform.transform_features_layer()

    def transformed(examples: tf.Tensor, spec: Mapping[str, Any]) -> Columns:
        return dict(module.transform(tf.io.parse_example(examples, spec)))

    raw = transform.raw_feature_spec()
    known = {name: value for name, value in raw.items() if name != "tips"}

    def serve_examples(examples: tf.Tensor) -> Columns:
        columns = transformed(examples, known)
        inputs = {name: columns[name][:, tf.newaxis] for name in model.input}
        return {"probability": model(inputs, training=False)}

    def transform_features(examples: tf.Tensor) -> Columns:
        return transformed(examples, raw)

    serialized = [tf.TensorSpec([None], tf.string, name="examples")]
    signatures = {
        "serving_default": tf.function(serve_examples, input_signature=serialized),
        "transform_features": tf.function(transform_features, input_signature=serialized),
    }
    tf.saved_model.save(module, directory, signatures=signatures)
