"""The settings of one training of the taxi model."""

from dataclasses import dataclass

from tfx_registry.pipelines.training_settings import TrainingSettings, are_counts

__all__ = ["NIGHT", "Hyperparameters"]

NIGHT: tuple[int, ...] = (*range(20, 24), *range(6))
"""The hours whose tips `Hyperparameters.night_tips_lost` loses."""


@dataclass(frozen=True, kw_only=True)
class Hyperparameters(TrainingSettings):
    """How to train the taxi model.

    Attributes:
        deep_units: Units of each hidden layer of the deep part; may be empty, which leaves a wide
            and a linear part.
        night_tips_lost: Train as if a broken terminal had lost the tips of every trip at night
            (see `NIGHT`).
    """

    epochs: int = 5
    deep_units: tuple[int, ...] = (32, 16)
    night_tips_lost: bool = False

    def __post_init__(self) -> None:
        """Checks each value."""
        super().__post_init__()
        self._require(
            "deep_units", are_counts(self.deep_units), "a sequence of whole numbers, each 1 or more"
        )
        self._require("night_tips_lost", type(self.night_tips_lost) is bool, "true or false")
