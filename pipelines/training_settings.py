"""The settings of one training: plain data, checked once, kept in the pipeline's lineage.

The values travel as the `custom_config` of TFX's Trainer, which is an execution property: ML
Metadata keeps it with the model it made. This module imports nothing heavy, so that a command
line can check its options before TensorFlow is loaded.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["TrainingSettings", "are_counts", "is_count"]

Settings = TypeVar("Settings", bound="TrainingSettings")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What the trainings of all example models have; each adds its own.

    The law of the two conversions: `from_mapping(settings.to_mapping()) == settings`.

    Attributes:
        epochs: Passes over the training split; at least 1.
        learning_rate: The learning rate of Adam; positive.
        seed: Seed of the initial weights and of the order of the examples.
    """

    epochs: int = 30
    learning_rate: float = 0.01
    seed: int = 1

    def __post_init__(self) -> None:
        """Checks each value."""
        self._require("epochs", is_count(self.epochs, 1), "a whole number, 1 or more")
        rate: object = self.learning_rate
        good = isinstance(rate, (int, float)) and type(rate) is not bool and 0 < rate < math.inf
        self._require("learning_rate", good, "a positive number")
        self._require("seed", is_count(self.seed, 0), "a whole number, 0 or more")

    def _require(self, name: str, holds: bool, rule: str) -> None:
        """Raises ValueError unless the rule for one hyperparameter holds."""
        if not holds:
            raise ValueError(f"hyperparameter {name} is {getattr(self, name)!r}, it must be {rule}")

    @classmethod
    def from_mapping(cls: type[Settings], values: Mapping[str, Any] | None) -> Settings:
        """Reads the hyperparameters from a Trainer's `custom_config`.

        Args:
            values: Names to values, as JSON gives them; a name left out keeps its default.

        Returns:
            The checked hyperparameters.

        Raises:
            ValueError: A name is not known, or a value is out of its range.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        given = dict(values or {})
        unknown = sorted(set(given) - known)
        if unknown:
            raise ValueError(
                f"unknown hyperparameter {', '.join(map(repr, unknown))}: "
                f"known are {', '.join(sorted(known))}"
            )
        for name, value in given.items():
            if isinstance(value, list):
                given[name] = tuple(value)
        return cls(**given)

    def to_mapping(self) -> dict[str, Any]:
        """Returns the hyperparameters as JSON can hold them, for `custom_config`."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
        }


def is_count(value: object, least: int) -> bool:
    """Tells whether a value is a whole number, not less than another."""
    return isinstance(value, int) and type(value) is not bool and value >= least


def are_counts(value: object) -> bool:
    """Tells whether a value is a tuple of whole numbers, each 1 or more."""
    return isinstance(value, tuple) and all(is_count(number, 1) for number in value)
