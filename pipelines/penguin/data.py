"""The Palmer penguins as raw CSV files, split for training and evaluation.

The rows come from the data file inside the `palmerpenguins` package; nothing is downloaded. Every
original column is kept as it is, and a missing value is an empty field, which is what TFX's
`CsvExampleGen` reads as "no value".

What this module promises:

* The same package gives the same bytes, whatever the machine, the day or the hash seed.
* A file that already has the right bytes is left alone. TFX recognises unchanged input by its
  modification time, so a second pipeline run finds its examples in the cache.
* A reader sees a whole file or none: a new file is written aside, flushed, and renamed.
* Each island and each sex is in both splits, so every slice that is gated has examples.
"""

import contextlib
import csv
import importlib.util
import io
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tfx_registry.pipelines.csv_files import SplitFiles, write_splits

COLUMNS: tuple[str, ...] = (
    "species",
    "island",
    "bill_length_mm",
    "bill_depth_mm",
    "flipper_length_mm",
    "body_mass_g",
    "sex",
    "year",
)
"""The columns of the raw data, in their order."""

STRATA_COLUMNS: tuple[str, ...] = ("island", "sex")
"""The columns whose combinations have the same share in both splits."""

FILE_NAME = "penguins.csv"

_MISSING = "NA"
_EVAL_EVERY = 3

Row = Mapping[str, str]


def read_penguins() -> list[dict[str, str]]:
    """Reads the raw penguins from the `palmerpenguins` package.

    The package is located, not imported: importing it would load pandas.

    Returns:
        One mapping of column to text per penguin, in the order of the source. A missing value is
        an empty string.

    Raises:
        ModuleNotFoundError: `palmerpenguins` is not installed.
        ValueError: The packaged file does not have the expected columns.
    """
    with _packaged_csv() as stream:
        reader = csv.DictReader(stream)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(
                f"the packaged penguins have the columns {reader.fieldnames}, expected "
                f"{list(COLUMNS)}: install the version of palmerpenguins named in the constraints"
            )
        return [
            {name: "" if row[name] == _MISSING else row[name] for name in COLUMNS} for row in reader
        ]


def split_penguins(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Splits the penguins about 2:1, stratified by island and sex.

    Within each combination of island and sex every third penguin, in the order of the source, is
    for evaluation. The source is ordered by species and year, so these keep their shares too. A
    combination with fewer than three penguins is for training only.

    Args:
        rows: Penguins with at least the columns of `STRATA_COLUMNS`.

    Returns:
        The training rows and the evaluation rows, each in the order of `rows`.
    """
    seen: Counter[tuple[str, ...]] = Counter()
    train: list[Row] = []
    evaluation: list[Row] = []
    for row in rows:
        stratum = tuple(row[name] for name in STRATA_COLUMNS)
        seen[stratum] += 1
        (train if seen[stratum] % _EVAL_EVERY else evaluation).append(row)
    return train, evaluation


def write_penguin_csv(directory: str | os.PathLike[str]) -> SplitFiles:
    """Writes the penguins as `train/penguins.csv` and `eval/penguins.csv`.

    Args:
        directory: Where to write; made if it does not exist. Files already there with the right
            content are not touched.

    Returns:
        The paths of what is now there.

    Raises:
        ModuleNotFoundError: `palmerpenguins` is not installed.
        OSError: The directory cannot be written.
    """
    return write_splits(directory, FILE_NAME, COLUMNS, *split_penguins(read_penguins()))


@contextlib.contextmanager
def _packaged_csv() -> Iterator[io.TextIOBase]:
    """Opens the data file of `palmerpenguins` without importing the package."""
    spec = importlib.util.find_spec("palmerpenguins")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "the package palmerpenguins is not installed; it holds the data of the example "
            "pipeline: install it with 'pip install palmerpenguins'",
            name="palmerpenguins",
        )
    path = Path(spec.submodule_search_locations[0], "data", FILE_NAME)
    with path.open(encoding="utf-8", newline="") as stream:
        yield stream
