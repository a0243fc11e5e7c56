"""What TFMA measures on the penguins, and on which slices of them."""

import tensorflow_model_analysis as tfma

_LABEL = "species"


def eval_config() -> tfma.EvalConfig:
    """Returns the configuration of the example pipeline's Evaluator.

    It has no thresholds: the gate decides, with its own policy. The label is the text in the raw
    data; TFMA finds the class number with the `classes` output of the model.

    Returns:
        Metrics on all penguins, on each island and on each sex.
    """
    return tfma.EvalConfig(
        model_specs=[tfma.ModelSpec(label_key=_LABEL)],
        slicing_specs=[
            tfma.SlicingSpec(),
            tfma.SlicingSpec(feature_keys=["island"]),
            tfma.SlicingSpec(feature_keys=["sex"]),
        ],
        metrics_specs=[
            tfma.MetricsSpec(
                metrics=[
                    tfma.MetricConfig(class_name="ExampleCount"),
                    tfma.MetricConfig(class_name="SparseCategoricalAccuracy"),
                    tfma.MetricConfig(class_name="SparseCategoricalCrossentropy"),
                ]
            )
        ],
    )
