import json

import pytest

from tfx_registry.pipelines.penguin.hyperparameters import Hyperparameters


@pytest.mark.parametrize(
    "hyperparameters",
    [
        Hyperparameters(),
        Hyperparameters(epochs=1, learning_rate=1e-5, hidden_units=(), seed=0),
        Hyperparameters(hidden_units=(16, 8), only_island="Biscoe"),
    ],
)
def test_what_json_carries_comes_back_equal(hyperparameters: Hyperparameters) -> None:
    carried = json.loads(json.dumps(hyperparameters.to_mapping()))

    assert Hyperparameters.from_mapping(carried) == hyperparameters


def test_what_is_left_out_keeps_its_default() -> None:
    assert Hyperparameters.from_mapping(None) == Hyperparameters()
    assert Hyperparameters.from_mapping({"epochs": 3}) == Hyperparameters(epochs=3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "unknown hyperparameter 'epoch': known are epochs, hidden_units"),
        ({"epochs": 0}, "epochs is 0, it must be a whole number, 1 or more"),
        ({"epochs": 2.5}, "epochs is 2.5"),
        ({"epochs": True}, "epochs is True"),
        ({"learning_rate": 0}, "learning_rate is 0, it must be a positive number"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"learning_rate": float("inf")}, "learning_rate is inf"),
        ({"hidden_units": [16, 0]}, r"hidden_units is \(16, 0\)"),
        ({"hidden_units": 16}, "hidden_units is 16"),
        ({"seed": -1}, "seed is -1, it must be a whole number, 0 or more"),
        ({"only_island": "Atlantis"}, "only_island is 'Atlantis', it must be one of Biscoe, Dream"),
    ],
)
def test_bad_values_name_the_parameter_the_value_and_the_rule(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Hyperparameters.from_mapping(values)
