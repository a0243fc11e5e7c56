"""The data that a new project begins with: generated, and small enough to read.

A row is a machine on one of three sites, and `fails_soon` says whether it failed within a week.

| column | distribution |
|---|---|
| `site` | north, south or west, in turn |
| `temperature_c` | normal, mean 60, deviation 8 |
| `vibration_mm_s` | exponential, mean 2 |
| `hours_since_service` | uniform on 0 to 2000 |
| `fails_soon` | 1 with probability sigmoid(s), s = (temperature - 60) / 4 + (vibration - 2) + (hours - 1000) / 400 - 1 |
"""  # noqa: E501 - rows of a table

from __future__ import annotations

import math
import random

__all__ = ["sample_csv"]

_SITES = ("north", "south", "west")
_COLUMNS = ("site", "temperature_c", "vibration_mm_s", "hours_since_service", "fails_soon")


def sample_csv(rows: int, seed: int) -> str:
    """Generates machines.

    Args:
        rows: How many.
        seed: Seed of the random numbers; the same one gives the same rows.

    Returns:
        A CSV file with a header.
    """
    draw = random.Random(seed).random
    lines = [",".join(_COLUMNS)]
    for number in range(rows):
        radius = math.sqrt(-2 * math.log(1 - draw()))
        temperature = 60 + 8 * radius * math.cos(2 * math.pi * draw())
        vibration = -2 * math.log(1 - draw())
        hours = int(draw() * 2000)
        score = (temperature - 60) / 4 + (vibration - 2) + (hours - 1000) / 400 - 1
        fails = int(draw() < 1 / (1 + math.exp(-score)))
        site = _SITES[number % len(_SITES)]
        lines.append(f"{site},{temperature:.1f},{vibration:.2f},{hours},{fails}")
    return "\n".join(lines) + "\n"
