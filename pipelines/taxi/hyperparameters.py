"""The settings of one training of the taxi model: plain data, kept in the pipeline's lineage.

This module imports nothing heavy, so that a command line can check its options before TensorFlow
is loaded.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["NIGHT", "Hyperparameters"]

NIGHT: tuple[int, ...] = (*range(20, 24), *range(6))
"""The hours whose tips `Hyperparameters.night_tips_lost` loses."""


@dataclass(frozen=True)
class Hyperparameters:
    """How to train the taxi model.

    The law of the two conversions: `Hyperparameters.from_mapping(h.to_mapping()) == h`.

    Attributes:
        epochs: Passes over the training split; at least 1.
        learning_rate: The learning rate of Adam; positive.
        deep_units: Units of each hidden layer of the deep part; may be empty, which leaves a wide
            and a linear part.
        seed: Seed of the initial weights and of the order of the examples.
        night_tips_lost: Train as if a broken terminal had lost the tips of every trip at night
            (see `NIGHT`).
    """

    epochs: int = 5
    learning_rate: float = 0.01
    deep_units: tuple[int, ...] = (32, 16)
    seed: int = 1
    night_tips_lost: bool = False

    def __post_init__(self) -> None:
        """Checks each value."""
        self._require("epochs", _is_count(self.epochs, 1), "a whole number, 1 or more")
        rate: object = self.learning_rate
        good = isinstance(rate, (int, float)) and type(rate) is not bool and 0 < rate < math.inf
        self._require("learning_rate", good, "a positive number")
        units: object = self.deep_units
        good = isinstance(units, tuple) and all(_is_count(number, 1) for number in units)
        self._require("deep_units", good, "a sequence of whole numbers, each 1 or more")
        self._require("seed", _is_count(self.seed, 0), "a whole number, 0 or more")
        self._require("night_tips_lost", type(self.night_tips_lost) is bool, "true or false")

    def _require(self, name: str, holds: bool, rule: str) -> None:
        if not holds:
            raise ValueError(f"hyperparameter {name} is {getattr(self, name)!r}, it must be {rule}")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any] | None) -> "Hyperparameters":
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
        if isinstance(given.get("deep_units"), list):
            given["deep_units"] = tuple(given["deep_units"])
        return cls(**given)

    def to_mapping(self) -> dict[str, Any]:
        """Returns the hyperparameters as JSON can hold them, for `custom_config`."""
        return {**dataclasses.asdict(self), "deep_units": list(self.deep_units)}


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and type(value) is not bool and value >= least
