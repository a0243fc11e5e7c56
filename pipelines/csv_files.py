"""Raw data as CSV files, one for each split, that TFX recognises as unchanged when they are.

What this module promises:

* A file that already has the right bytes is left alone. TFX recognises unchanged input by its
  modification time, so a second pipeline run finds its examples in the cache.
* A reader sees a whole file or none: a new file is written aside, flushed, and renamed.
"""

import contextlib
import csv
import io
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "EVAL_SPLIT",
    "TRAIN_SPLIT",
    "SplitFiles",
    "to_csv",
    "write_if_changed",
    "write_splits",
]

TRAIN_SPLIT = "train"
EVAL_SPLIT = "eval"

Rows = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class SplitFiles:
    """Where the two files of a data set are.

    Attributes:
        root: The directory to give to `CsvExampleGen` as `input_base`.
        train: The CSV file of the training split, below `root`.
        eval: The CSV file of the evaluation split, below `root`.
    """

    root: Path
    train: Path
    eval: Path


def write_splits(
    directory: str | os.PathLike[str],
    file_name: str,
    columns: Sequence[str],
    train: Rows,
    evaluation: Rows,
) -> SplitFiles:
    """Writes a data set as `train/FILE_NAME` and `eval/FILE_NAME`.

    Args:
        directory: Where to write; made if it does not exist. Files already there with the right
            content are not touched.
        file_name: Name of both files.
        columns: The columns, in their order.
        train: The rows of the training split, column to text.
        evaluation: Those of the evaluation split.

    Returns:
        The paths of what is now there.

    Raises:
        OSError: The directory cannot be written.
    """
    root = Path(directory)
    files = SplitFiles(root, root / TRAIN_SPLIT / file_name, root / EVAL_SPLIT / file_name)
    write_if_changed(files.train, to_csv(columns, train))
    write_if_changed(files.eval, to_csv(columns, evaluation))
    return files


def to_csv(columns: Sequence[str], rows: Rows) -> bytes:
    """Writes rows as CSV with a header and Unix line ends.

    Args:
        columns: The columns, in their order.
        rows: Column to text; an empty text is a missing value.

    Returns:
        The content of the file.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")


def write_if_changed(path: Path, content: bytes) -> None:
    """Makes a file hold some content, atomically, and not at all when it already does.

    Args:
        path: The file, in a folder of its own split; both are made if they do not exist.
        content: What it is to hold.

    Raises:
        OSError: The directory cannot be written.
    """
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == content:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    # The temporary file is outside the split's folder: `CsvExampleGen` reads `train/*.csv`.
    descriptor, name = tempfile.mkstemp(dir=path.parent.parent, prefix=f".{path.stem}-")
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        aside.chmod(0o644)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
