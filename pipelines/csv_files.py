"""Raw data as CSV files that TFX recognises as unchanged when they are.

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
from pathlib import Path

__all__ = ["to_csv", "write_if_changed"]


def to_csv(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> bytes:
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
