"""The settings of one training: plain data, checked once, kept in the pipeline's lineage.

The values travel as the `custom_config` of TFX's Trainer, which is an execution property: ML
Metadata keeps it with the model it made. This module imports nothing heavy, so that a command
line can check its options before TensorFlow is loaded.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ISLANDS: tuple[str, ...] = ("Biscoe", "Dream", "Torgersen")
"""The islands of the data, in alphabetical order."""


@dataclass(frozen=True)
class Hyperparameters:
    """How to train the penguin classifier.

    The law of the two conversions: `Hyperparameters.from_mapping(h.to_mapping()) == h`.

    Attributes:
        epochs: Passes over the training split; at least 1.
        learning_rate: The learning rate of Adam; positive.
        hidden_units: Units of each hidden layer, from input to output; may be empty.
        seed: Seed of the initial weights and of the order of the examples.
        only_island: Train on the penguins of this island alone, as if a filter upstream had lost
            the others; `None` trains on all of them.
    """

    epochs: int = 30
    learning_rate: float = 0.01
    hidden_units: tuple[int, ...] = (16,)
    seed: int = 1
    only_island: str | None = None

    def __post_init__(self) -> None:
        _require(_is_int(self.epochs) and self.epochs >= 1, "epochs", self.epochs, "1 or more")
        _require(
            _is_number(self.learning_rate) and 0 < self.learning_rate < math.inf,
            "learning_rate",
            self.learning_rate,
            "a positive number",
        )
        _require(
            _are_units(self.hidden_units),
            "hidden_units",
            self.hidden_units,
            "a sequence of whole numbers, each 1 or more",
        )
        _require(_is_int(self.seed) and self.seed >= 0, "seed", self.seed, "0 or more")
        _require(
            self.only_island is None or self.only_island in ISLANDS,
            "only_island",
            self.only_island,
            f"one of {', '.join(ISLANDS)}, or left out",
        )

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
        if isinstance(given.get("hidden_units"), list):
            given["hidden_units"] = tuple(given["hidden_units"])
        return cls(**given)

    def to_mapping(self) -> dict[str, Any]:
        """Returns the hyperparameters as JSON can hold them, for `custom_config`."""
        return {**dataclasses.asdict(self), "hidden_units": list(self.hidden_units)}


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    """Raises ValueError unless the rule for one hyperparameter holds."""
    if not holds:
        raise ValueError(f"hyperparameter {name} is {value!r}, it must be {rule}")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_units(value: object) -> bool:
    return isinstance(value, tuple) and all(_is_int(units) and units >= 1 for units in value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
