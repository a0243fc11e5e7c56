"""The settings of one training of the penguin classifier."""

from dataclasses import dataclass

from tfx_registry.pipelines.training_settings import TrainingSettings, are_counts

__all__ = ["ISLANDS", "Hyperparameters"]

ISLANDS: tuple[str, ...] = ("Biscoe", "Dream", "Torgersen")
"""The islands of the data, in alphabetical order."""


@dataclass(frozen=True, kw_only=True)
class Hyperparameters(TrainingSettings):
    """How to train the penguin classifier.

    Attributes:
        hidden_units: Units of each hidden layer, from input to output; may be empty.
        only_island: Train on the penguins of this island alone, as if a filter upstream had lost
            the others; `None` trains on all of them.
    """

    hidden_units: tuple[int, ...] = (16,)
    only_island: str | None = None

    def __post_init__(self) -> None:
        """Checks each value."""
        super().__post_init__()
        self._require(
            "hidden_units",
            are_counts(self.hidden_units),
            "a sequence of whole numbers, each 1 or more",
        )
        self._require(
            "only_island",
            self.only_island is None or self.only_island in ISLANDS,
            f"one of {', '.join(ISLANDS)}, or left out",
        )
