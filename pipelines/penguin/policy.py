"""When a penguin classifier may serve: the gate's policy, as plain data.

The names of the metrics are the ones that TFMA gives to the metrics of `evaluation.py`.
"""

from tfx_registry.gate import (
    BaselineRule,
    ChangeThreshold,
    Direction,
    GatePolicy,
    SliceSpec,
    ValueThreshold,
)
from tfx_registry.pipelines.penguin.hyperparameters import ISLANDS

ACCURACY = "sparse_categorical_accuracy"
CROSS_ENTROPY = "sparse_categorical_crossentropy"

SEXES: tuple[str, ...] = ("female", "male")

MIN_EXAMPLES = 10
"""Examples that each gated slice must have; the smallest, the island Torgersen, has 16."""

_OVERALL = SliceSpec()
_EACH_ISLAND = SliceSpec(feature_keys=("island",))
_EACH_SEX = SliceSpec(feature_keys=("sex",))


def default_policy() -> GatePolicy:
    """Returns the policy of the example pipeline.

    A model may serve when it is right on 90 % of all penguins and on 80 % of each island and of
    each sex, and when it is not clearly worse than the model that serves now: at most two points
    of accuracy lost overall and five on each island, and no large rise of the cross-entropy.
    Only the first version may serve without such a comparison.

    Returns:
        The policy.
    """
    return GatePolicy(
        value_thresholds=(
            ValueThreshold(ACCURACY, lower_bound=0.9, slices=(_OVERALL,)),
            ValueThreshold(ACCURACY, lower_bound=0.8, slices=(_EACH_ISLAND, _EACH_SEX)),
        ),
        change_thresholds=(
            ChangeThreshold(
                ACCURACY, Direction.HIGHER_IS_BETTER, absolute=-0.02, slices=(_OVERALL,)
            ),
            ChangeThreshold(
                ACCURACY, Direction.HIGHER_IS_BETTER, absolute=-0.05, slices=(_EACH_ISLAND,)
            ),
            ChangeThreshold(
                CROSS_ENTROPY, Direction.LOWER_IS_BETTER, absolute=0.1, slices=(_OVERALL,)
            ),
        ),
        required_slices=tuple(
            SliceSpec(feature_values={feature: value})
            for feature, values in (("island", ISLANDS), ("sex", SEXES))
            for value in values
        ),
        min_examples=MIN_EXAMPLES,
        baseline=BaselineRule.FIRST_VERSION_ONLY,
    )
