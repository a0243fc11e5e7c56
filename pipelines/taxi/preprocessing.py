"""What Transform makes of the raw trips: the same for training, evaluation and serving.

Give it to TFX's Transform by its path, which needs no user module:

    Transform(preprocessing_fn="tfx_registry.pipelines.taxi.preprocessing.preprocessing_fn", ...)
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from tfx_registry.pipelines.taxi import features
from tfx_registry.pipelines.taxi.features import transformed_name

__all__ = ["preprocessing_fn"]

_BIG = 0.2


def preprocessing_fn(inputs: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    """Turns raw columns into the features of the model, and into the label.

    Args:
        inputs: The raw columns, dense or sparse, as the schema has them.

    Returns:
        The features, named by `transformed_name`, and the label; each of shape [batch].
    """
    outputs: dict[str, tf.Tensor] = {}
    for name in features.DENSE:
        values = _filled(inputs[name], float("nan"), tf.float32)
        scaled = tft.scale_to_z_score(values)  # leaves NaN out of mean and variance
        outputs[transformed_name(name)] = tf.where(tf.math.is_nan(scaled), 0.0, scaled)
    for name, buckets in features.PLACES.items():
        outputs[transformed_name(name)] = tft.bucketize(_filled(inputs[name], 0.0), buckets)
    for name in features.WORDS:
        outputs[transformed_name(name)] = tft.compute_and_apply_vocabulary(
            _filled(inputs[name], ""),
            top_k=features.VOCABULARY_SIZE,
            num_oov_buckets=features.OOV_BUCKETS,
            vocab_filename=name,
        )
    for name, size in features.CATEGORIES.items():
        values = _filled(inputs[name], 0)
        outputs[transformed_name(name)] = tf.clip_by_value(values, 0, size - 1)
    tips, fare = (_filled(inputs[name], 0.0) for name in features.LABEL_SOURCES)
    outputs[features.LABEL] = tf.cast(tips > fare * _BIG, tf.int64)
    return outputs


def _filled(values: Any, missing: Any, dtype: tf.DType | None = None) -> tf.Tensor:
    """Returns one value for each trip, shape [batch]."""
    if isinstance(values, tf.SparseTensor):
        if dtype is not None:
            values = tf.cast(values, dtype)
        shape = [values.dense_shape[0], 1]
        column = tf.SparseTensor(values.indices, values.values, shape)
        values = tf.sparse.to_dense(column, tf.constant(missing, values.dtype))
    elif dtype is not None:
        values = tf.cast(values, dtype)
    return tf.reshape(values, [-1])
