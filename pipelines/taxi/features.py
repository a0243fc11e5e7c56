"""The features of the taxi model: which columns are which, before and after Transform."""

from collections.abc import Mapping

__all__ = [
    "CATEGORIES",
    "DENSE",
    "LABEL",
    "LABEL_SOURCES",
    "OOV_BUCKETS",
    "PLACES",
    "VOCABULARY_SIZE",
    "WORDS",
    "transformed_name",
]

DENSE: tuple[str, ...] = ("trip_miles", "trip_seconds", "fare")
"""Amounts: brought to mean 0 and variance 1, for the deep part. A missing one becomes the mean."""

PLACES: Mapping[str, int] = {"pickup_latitude": 8, "pickup_longitude": 8}
"""Coordinates to the number of buckets with equally many trips, for the wide part."""

WORDS: tuple[str, ...] = ("payment_type", "company")
"""Texts: each becomes its number in a vocabulary, for the wide part."""

VOCABULARY_SIZE = 10
OOV_BUCKETS = 2
"""Numbers for words that the vocabulary does not have, a missing one among them."""

CATEGORIES: Mapping[str, int] = {
    "trip_start_hour": 24,
    "trip_start_day": 8,
    "trip_start_month": 13,
    "pickup_community_area": 13,
    "dropoff_community_area": 13,
}
"""Whole numbers to one more than the largest, for the wide part; a missing one is 0."""

LABEL_SOURCES: tuple[str, ...] = ("tips", "fare")
"""What the label is worked out from. Whoever asks for a prediction knows the fare, not the tip."""

LABEL = "big_tip"
"""1 where the tip is more than a fifth of the fare, otherwise 0; made by Transform."""


def transformed_name(column: str) -> str:
    """Returns the name of a column after Transform; TFX asks for one that is not the raw name."""
    return f"{column}_xf"
