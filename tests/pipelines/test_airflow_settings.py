"""The settings of the DAGs, without Airflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfx_registry.errors import InvalidInputError
from tfx_registry.pipelines import airflow_dag as penguin
from tfx_registry.pipelines.taxi import airflow_dag as taxi

READERS = [penguin.read_options, taxi.read_options]


@pytest.mark.parametrize(
    ("read", "settings", "said"),
    [
        (read, settings, said)
        for read in READERS
        for settings, said in (
            ({"epoch": 5}, "no setting 'epoch'"),
            ({"epochs": 0}, "epochs is 0"),
            ({"learning_rate": "fast"}, "learning_rate is 'fast'"),
            ({"output_dir": 5}, "output_dir is 5, it must be a text"),
            ({"registry": ""}, "registry is '', it must be a text that is not empty"),
            ({"beam_args": "--runner=x"}, "beam_args is '--runner=x', it must be a list"),
            ({"beam_args": [1]}, "beam_args is [1]"),
        )
    ]
    + [
        (
            penguin.read_options,
            {"enable_cache": "false"},
            "enable_cache is 'false', it must be true",
        ),
        (penguin.read_options, {"gate_evaluates": 1}, "gate_evaluates is 1, it must be true or"),
        (penguin.read_options, {"data_dir": 7}, "data_dir is 7"),
        (penguin.read_options, {"model_name": ["a"]}, "model_name is ['a']"),
        (taxi.read_options, {"rows": True}, "rows is True"),
        (taxi.read_options, {"rows": "6000"}, "rows is '6000'"),
        (taxi.read_options, {"data_seed": -1}, "data_seed is -1"),
        (taxi.read_options, {"only_island": "Dream"}, "no setting 'only_island'"),
    ],
)
def test_a_wrong_setting_is_named_with_its_variable(
    read: Callable[..., Any], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInputError, match="_pipeline") as caught:
        read(settings)
    assert said in str(caught.value)
    assert caught.value.todo


def test_without_settings_everything_is_below_airflow_s_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    options = penguin.read_options({})
    assert options.data_dir == tmp_path / "penguin" / "data"
    assert options.registry == f"sqlite:///{tmp_path}/penguin/metadata.sqlite"
    assert taxi.read_options({})["output_dir"] == tmp_path / "taxi"


def test_null_stands_for_the_default(tmp_path: Path) -> None:
    names = ("registry", "beam_args")
    given = {"output_dir": str(tmp_path), **dict.fromkeys(names)}
    usual = {"output_dir": str(tmp_path)}
    more = dict.fromkeys(("data_dir", "description", "enable_cache", "gate_evaluates"))
    assert penguin.read_options({**given, **more}) == penguin.read_options(usual)
    assert taxi.read_options({**given, "rows": None}) == taxi.read_options(usual)


def test_settings_go_where_they_belong(tmp_path: Path) -> None:
    given = {"output_dir": str(tmp_path), "epochs": 7, "registry": "grpc://metadata:8080"}
    options = penguin.read_options({**given, "serving_dir": "/srv/models/penguin"})
    assert options.hyperparameters.epochs == 7
    assert options.registry == "grpc://metadata:8080"
    assert options.serving_dir == Path("/srv/models/penguin")
    assert options.pipeline_root == tmp_path / "pipeline"
    arguments = taxi.read_options({**given, "rows": 7000})
    assert arguments["hyperparameters"].epochs == 7
    assert {name: arguments[name] for name in ("output_dir", "registry", "rows")} == {
        "output_dir": tmp_path,
        "registry": "grpc://metadata:8080",
        "rows": 7000,
    }
