"""What TFMA measures on the trips, and on which slices of them."""

import tensorflow_model_analysis as tfma

from tfx_registry.pipelines.taxi.features import LABEL

__all__ = ["eval_config"]


def eval_config() -> tfma.EvalConfig:
    """Returns what the gate evaluates with.

    The label is not in the raw data; TFMA asks the model's signature `transform_features` for it.
    The hour is sliced by as the raw data has it. There are no thresholds: the policy decides.

    Returns:
        Metrics on all trips and on those of each hour.
    """
    metrics = ("ExampleCount", "AUC", "BinaryAccuracy", "BinaryCrossentropy", "MeanLabel")
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                signature_name="serving_default",
                preprocessing_function_names=["transform_features"],
                label_key=LABEL,
            )
        ],
        slicing_specs=[
            tfma.SlicingSpec(),
            tfma.SlicingSpec(feature_keys=["trip_start_hour"]),
        ],
        metrics_specs=[
            tfma.MetricsSpec(metrics=[tfma.MetricConfig(class_name=name) for name in metrics])
        ],
    )
