"""The generated trips, the settings and the policy of the taxi pipeline, without TFX."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tfx_registry.pipelines.taxi import data
from tfx_registry.pipelines.taxi.__main__ import main
from tfx_registry.pipelines.taxi.features import CATEGORIES, DENSE, LABEL_SOURCES, PLACES, WORDS
from tfx_registry.pipelines.taxi.hyperparameters import Hyperparameters
from tfx_registry.pipelines.taxi.policy import HOURS, MIN_EXAMPLES, default_policy


@pytest.fixture(scope="module")
def trips() -> list[dict[str, str]]:
    return list(data.generate_trips())


def big_tips(trips: list[dict[str, str]]) -> float:
    """The share of trips whose tip is more than a fifth of the fare."""
    big = [float(trip["tips"]) > 0.2 * float(trip["fare"]) for trip in trips]
    return sum(big) / len(big)


def test_the_same_seed_gives_the_same_trips(trips: list[dict[str, str]]) -> None:
    assert list(data.generate_trips()) == trips
    assert list(data.generate_trips(seed=2)) != trips


def test_the_hash_seed_changes_no_byte(tmp_path: Path) -> None:
    contents = set()
    for seed in ("0", "1"):
        place = tmp_path / seed
        script = (
            "import sys; from tfx_registry.pipelines.taxi.data import write_taxi_csv; "
            "write_taxi_csv(sys.argv[1], 1000)"
        )
        subprocess.run(
            [sys.executable, "-c", script, str(place)], env={"PYTHONHASHSEED": seed}, check=True
        )
        contents.add((place / "train" / "trips.csv").read_bytes())
    assert len(contents) == 1


def test_values_are_as_the_table_says(trips: list[dict[str, str]]) -> None:
    assert all(tuple(trip) == data.COLUMNS for trip in trips)
    assert all(float(trip["fare"]) > 3 and float(trip["trip_miles"]) > 0 for trip in trips)
    assert {trip["payment_type"] for trip in trips} == {"Cash", "Credit Card", "Unknown"}
    assert all(trip["tips"] == "0.00" for trip in trips if trip["payment_type"] != "Credit Card")
    companies = Counter(trip["company"] for trip in trips)
    assert set(companies) == {*data.COMPANIES, ""}
    assert companies["Amber Cab"] > 3 * companies["Early Bird"]
    missing = sum(not trip["pickup_community_area"] for trip in trips)
    assert 0.03 < missing / len(trips) < 0.07


def test_there_is_something_to_learn(trips: list[dict[str, str]]) -> None:
    by_card = [trip for trip in trips if trip["payment_type"] == "Credit Card"]
    evening = [trip for trip in by_card if int(trip["trip_start_hour"]) >= 18]
    morning = [trip for trip in by_card if int(trip["trip_start_hour"]) in range(6, 10)]
    assert 0.2 < big_tips(trips) < 0.5
    assert big_tips(evening) > 3 * big_tips(morning) > 0


def test_every_hour_has_examples_to_be_gated_on(trips: list[dict[str, str]]) -> None:
    train, evaluation = data.split_trips(trips)
    assert len(train) + len(evaluation) == len(trips) == data.ROWS
    for split in (train, evaluation):
        hours = Counter(trip["trip_start_hour"] for trip in split)
        assert set(hours) == set(HOURS)
        assert min(hours.values()) >= MIN_EXAMPLES


def test_files_that_are_there_are_left_alone(tmp_path: Path) -> None:
    paths = data.write_taxi_csv(tmp_path, 1000)
    before = paths.train.stat().st_mtime_ns
    assert data.write_taxi_csv(tmp_path, 1000).train.stat().st_mtime_ns == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["eval", "train"]
    assert data.write_taxi_csv(tmp_path, 1000, seed=5).train.stat().st_mtime_ns != before


def test_the_model_sees_no_tip_and_every_other_column_once() -> None:
    columns = [*DENSE, *PLACES, *WORDS, *CATEGORIES]
    assert sorted([*columns, "tips"]) == sorted(data.COLUMNS)
    assert set(LABEL_SOURCES) == {"tips", "fare"}


def test_hyperparameters_come_back_from_their_mapping() -> None:
    wanted = Hyperparameters(epochs=2, deep_units=(8,), night_tips_lost=True)
    assert Hyperparameters.from_mapping(wanted.to_mapping()) == wanted
    assert Hyperparameters.from_mapping(None) == Hyperparameters()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"epoch": 1}, "unknown hyperparameter 'epoch'"),
        ({"epochs": 0}, "epochs is 0, it must be a whole number, 1 or more"),
        ({"epochs": True}, "epochs is True"),
        ({"learning_rate": float("nan")}, "learning_rate is nan, it must be a positive number"),
        ({"deep_units": [0]}, "deep_units is"),
        ({"seed": -1}, "seed is -1"),
        ({"night_tips_lost": "no"}, "it must be true or false"),
    ],
)
def test_bad_hyperparameters_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Hyperparameters.from_mapping(values)


def test_the_command_says_what_is_wrong_before_anything_is_loaded() -> None:
    done = CliRunner().invoke(main, ["--epochs", "0"])
    assert done.exit_code == 2
    assert "epochs is 0" in done.output


def test_every_hour_must_be_measured() -> None:
    policy = default_policy()
    assert [str(spec) for spec in policy.required_slices] == [
        f"trip_start_hour={hour}" for hour in range(24)
    ]
    assert policy.min_examples == MIN_EXAMPLES
