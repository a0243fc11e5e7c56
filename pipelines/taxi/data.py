"""Taxi trips as raw CSV files, generated: no trip in them has taken place.

The columns are named as in the trips that the City of Chicago publishes and TFX's taxi tutorial
uses; the values are drawn from the distributions below, of an invented city with twelve areas.
Everything comes from `random.Random(seed).random()`, whose sequence Python keeps the same.

| column | distribution |
|---|---|
| `trip_start_hour` | 0 to 23 with the weights `HOUR_WEIGHTS`: few trips at night, most from 16 to 20 |
| `trip_start_day`, `trip_start_month` | uniform on 1 to 7, and on 1 to 12 |
| `pickup_community_area`, `dropoff_community_area` | 1 to 12, the areas 1 to 4 three times as often; 5 % missing |
| `pickup_latitude`, `pickup_longitude` | normal around the area's centre on a grid, deviation 0.01 degrees |
| `trip_miles` | log-normal, median 2, deviation of the logarithm 0.7; median 9 to or from area 12 |
| `trip_seconds` | the miles at 11 mph from 7 to 9 and 16 to 18, 22 mph from 22 to 5, else 15 mph; times a log-normal with deviation 0.2; 3 % missing |
| `fare` | 3.25 + 2.25 a mile + 0.30 a minute, in dollars, times a normal 1 +- 0.03 |
| `payment_type` | credit card with probability 0.5, or 0.75 from 5 miles on; otherwise 92 % cash, 8 % unknown |
| `company` | one of five invented names, weights 5:4:3:2:1; 15 % missing |
| `tips` | 0 unless paid by credit card; then the fare times a normal with deviation 0.05 around 0.19, plus 0.06 from 18 to 5, minus 0.03 from 6 to 9, minus 0.04 with the last company, minus 0.03 from 10 miles on; at least 0 |

What is to be predicted, whether the tip is more than a fifth of the fare, is no column: the
pipeline's Transform works it out, as in the tutorial.

What this module promises: the same seed and number of rows give the same trips, whatever the day
or the hash seed; and every hour is in both splits, so every slice that is gated has examples.
"""  # noqa: E501 - rows of a table

import math
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence

from tfx_registry.pipelines.csv_files import SplitFiles, write_splits

COLUMNS: tuple[str, ...] = (
    "trip_start_month",
    "trip_start_day",
    "trip_start_hour",
    "trip_miles",
    "trip_seconds",
    "fare",
    "pickup_community_area",
    "pickup_latitude",
    "pickup_longitude",
    "dropoff_community_area",
    "payment_type",
    "company",
    "tips",
)
"""The columns of the raw data, in their order."""

HOUR_WEIGHTS: tuple[int, ...] = (
    *(4, 3, 3, 2, 2, 2, 3, 5, 6, 6, 5, 5),
    *(6, 6, 6, 7, 8, 9, 9, 8, 8, 7, 6, 5),
)
"""How often trips start in each hour, from 0 to 23, in proportion to each other."""

COMPANIES: tuple[str, ...] = ("Amber Cab", "Blue Line", "Checkered", "Day & Night", "Early Bird")
"""The companies; drivers of the last one get smaller tips."""

FILE_NAME = "trips.csv"
ROWS = 6000
SEED = 1

_AIRPORT = 12
_AREA_WEIGHTS = (3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1)
_COMPANY_WEIGHTS = (5, 4, 3, 2, 1)
_EVAL_EVERY = 3

Row = dict[str, str]


def generate_trips(rows: int = ROWS, seed: int = SEED) -> Iterator[Row]:
    """Generates trips.

    Args:
        rows: How many.
        seed: Seed of the random numbers; another seed gives another day's trips of the same city.

    Yields:
        Column to text, for one trip each. A missing value is an empty text.
    """
    draw = _Draw(seed)
    for _ in range(rows):
        yield _trip(draw)


def split_trips(trips: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Splits the trips about 2:1: within each hour every third trip is for evaluation.

    Args:
        trips: The trips.

    Returns:
        The trips for training and those for evaluation, each in the order of `trips`.
    """
    seen: Counter[str] = Counter()
    train: list[Row] = []
    evaluation: list[Row] = []
    for trip in trips:
        hour = trip["trip_start_hour"]
        seen[hour] += 1
        (train if seen[hour] % _EVAL_EVERY else evaluation).append(trip)
    return train, evaluation


def write_taxi_csv(
    directory: str | os.PathLike[str], rows: int = ROWS, seed: int = SEED
) -> SplitFiles:
    """Writes trips as `train/trips.csv` and `eval/trips.csv`.

    Args:
        directory: Where to write; made if it does not exist. Files already there with the right
            content are not touched.
        rows: How many trips, in both files together.
        seed: Seed of the random numbers.

    Returns:
        The paths of what is now there.

    Raises:
        OSError: The directory cannot be written.
    """
    train, evaluation = split_trips(list(generate_trips(rows, seed)))
    return write_splits(directory, FILE_NAME, COLUMNS, train, evaluation)


class _Draw:
    """Random numbers from `random()` alone, the one method whose sequence Python promises."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def chance(self, probability: float) -> bool:
        return self._random() < probability

    def whole(self, first: int, last: int) -> int:
        return first + int(self._random() * (last - first + 1))

    def weighted(self, weights: Sequence[int]) -> int:
        rest = self._random() * sum(weights)
        for index, weight in enumerate(weights):
            rest -= weight
            if rest < 0:
                return index
        return len(weights) - 1

    def normal(self, mean: float, deviation: float) -> float:
        radius = math.sqrt(-2 * math.log(1 - self._random()))
        return mean + deviation * radius * math.cos(2 * math.pi * self._random())

    def log_normal(self, median: float, deviation: float) -> float:
        return median * math.exp(self.normal(0, deviation))


def _trip(draw: _Draw) -> Row:
    hour = draw.weighted(HOUR_WEIGHTS)
    pickup, dropoff = (1 + draw.weighted(_AREA_WEIGHTS) for _ in range(2))
    miles = draw.log_normal(9 if _AIRPORT in (pickup, dropoff) else 2, 0.7)
    seconds = miles / _miles_per_hour(hour) * 3600 * draw.log_normal(1, 0.2)
    fare = (3.25 + 2.25 * miles + 0.3 * seconds / 60) * draw.normal(1, 0.03)
    by_card = draw.chance(0.75 if miles >= 5 else 0.5)
    otherwise = "Unknown" if draw.chance(0.08) else "Cash"
    company = draw.weighted(_COMPANY_WEIGHTS)
    share = draw.normal(_usual_tip(hour, company, miles), 0.05)
    row, column = divmod(pickup - 1, 4)
    return {
        "trip_start_month": str(draw.whole(1, 12)),
        "trip_start_day": str(draw.whole(1, 7)),
        "trip_start_hour": str(hour),
        "trip_miles": f"{miles:.2f}",
        "trip_seconds": "" if draw.chance(0.03) else f"{seconds:.0f}",
        "fare": f"{fare:.2f}",
        "pickup_community_area": "" if draw.chance(0.05) else str(pickup),
        "pickup_latitude": f"{draw.normal(41.8 + 0.05 * row, 0.01):.4f}",
        "pickup_longitude": f"{draw.normal(-87.8 + 0.05 * column, 0.01):.4f}",
        "dropoff_community_area": "" if draw.chance(0.05) else str(dropoff),
        "payment_type": "Credit Card" if by_card else otherwise,
        "company": "" if draw.chance(0.15) else COMPANIES[company],
        "tips": f"{max(0.0, fare * share) if by_card else 0.0:.2f}",
    }


def _miles_per_hour(hour: int) -> float:
    if hour in range(7, 10) or hour in range(16, 19):
        return 11
    return 22 if hour >= 22 or hour <= 5 else 15


def _usual_tip(hour: int, company: int, miles: float) -> float:
    """Returns the middle of the tips for a trip paid by card, as a fraction of the fare."""
    share = 0.19
    if hour >= 18 or hour <= 5:
        share += 0.06
    elif 6 <= hour <= 9:
        share -= 0.03
    if company == len(COMPANIES) - 1:
        share -= 0.04
    return share - 0.03 if miles >= 10 else share
