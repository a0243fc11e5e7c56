"""When a taxi model may serve: the gate's policy, as plain data."""

from tfx_registry.gate import (
    BaselineRule,
    ChangeThreshold,
    Direction,
    GatePolicy,
    SliceSpec,
    ValueThreshold,
)

__all__ = ["HOURS", "MIN_EXAMPLES", "default_policy"]

HOURS: tuple[str, ...] = tuple(str(hour) for hour in range(24))

MIN_EXAMPLES = 20
"""Trips that each hour must have; the hour with the fewest has about 30 of 2000."""

_OVERALL = SliceSpec()
_EACH_HOUR = SliceSpec(feature_keys=("trip_start_hour",))


def default_policy() -> GatePolicy:
    """Returns the policy of the taxi pipeline.

    A model may serve when it ranks trips well (AUC) and is right on most, at every hour, and when
    it is not clearly worse than the model that serves now. Every hour must have been measured.

    Returns:
        The policy.
    """
    return GatePolicy(
        value_thresholds=(
            ValueThreshold("auc", lower_bound=0.8, slices=(_OVERALL,)),
            ValueThreshold("auc", lower_bound=0.6, slices=(_EACH_HOUR,)),
            ValueThreshold("binary_accuracy", lower_bound=0.6, slices=(_EACH_HOUR,)),
        ),
        change_thresholds=(
            ChangeThreshold("auc", Direction.HIGHER_IS_BETTER, absolute=-0.02, slices=(_OVERALL,)),
            ChangeThreshold(
                "binary_crossentropy",
                Direction.LOWER_IS_BETTER,
                absolute=0.05,
                slices=(_OVERALL,),
            ),
        ),
        required_slices=tuple(
            SliceSpec(feature_values={"trip_start_hour": hour}) for hour in HOURS
        ),
        min_examples=MIN_EXAMPLES,
        baseline=BaselineRule.FIRST_VERSION_ONLY,
    )
