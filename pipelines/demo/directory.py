"""Makes room for a run of the demo without ever touching what the demo did not make.

A directory belongs to the demo when it holds the demo's marker file. Only then is anything deleted
in it, and only the entries that the demo itself makes. While a demo runs it holds a lock on the
marker, so that two runs cannot share a directory.
"""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MARKER_NAME = ".tfx-registry-demo"

_MARKER_TEXT = """\
This directory was made by the demo of tfx-registry. The next run of the demo deletes what the last
one made here. Delete this file to make the demo keep its hands off.
"""
_DATA = "data"
_PIPELINE = "pipeline"
_SERVING = "serving"
_DATABASE = "metadata.sqlite"
_LOG = "demo.log"


class DirectoryRefusedError(Exception):
    """The demo may not use this directory; the message says why and what to do."""


@dataclass(frozen=True)
class DemoDirectory:
    """Where things are in the demo's directory.

    Attributes:
        root: The directory, as the user named it.
    """

    root: Path

    @property
    def log(self) -> Path:
        """Everything that the libraries had to say."""
        return self.root / _LOG

    @property
    def database(self) -> Path:
        """The SQLite file that ML Metadata and the registry share."""
        return self.root / _DATABASE

    @property
    def registry_uri(self) -> str:
        """The registry, as one types it in the directory where the demo was started."""
        return f"sqlite:///{self.database}"

    def serving(self, model_name: str) -> Path:
        """Returns the base directory that TensorFlow Serving would watch for a model."""
        return self.root / _SERVING / model_name


@contextlib.contextmanager
def fresh_directory(path: Path) -> Iterator[DemoDirectory]:
    """Gives a directory in which nothing is left of an earlier run.

    Args:
        path: The directory; made if it does not exist.

    Yields:
        The directory, locked against other runs of the demo until the context ends.

    Raises:
        DirectoryRefusedError: It is a file, it cannot be written, it holds files that the demo did
            not make, or another demo is running in it.
    """
    with contextlib.ExitStack() as stack:
        # Only the preparation is translated: an error of the demo itself is another matter.
        try:
            _prepare(path, stack)
        except (FileExistsError, NotADirectoryError) as error:
            raise DirectoryRefusedError(f"{error.filename} is a file, not a directory") from error
        except PermissionError as error:
            raise DirectoryRefusedError(f"cannot write in {path}: {error}") from error
        yield DemoDirectory(path)


def _prepare(path: Path, stack: contextlib.ExitStack) -> None:
    """Takes possession of the directory and empties it; `stack` holds the lock."""
    marker = path / MARKER_NAME
    path.mkdir(parents=True, exist_ok=True)
    if not marker.is_file() and any(path.iterdir()):
        raise DirectoryRefusedError(
            f"{path} is not empty and was not made by the demo: name another directory with "
            "--output-dir (make demo DEMO_DIR=...)"
        )
    stream = stack.enter_context(marker.open("a+", encoding="utf-8"))
    _lock(stream.fileno(), path)
    if not marker.stat().st_size:
        stream.write(_MARKER_TEXT)
        stream.flush()
    _delete_own_entries(path)


def _lock(descriptor: int, path: Path) -> None:
    """Takes the lock that the kernel drops when this process ends, however it ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DirectoryRefusedError(
            f"another demo is running in {path}: wait for it, or name another directory with "
            "--output-dir"
        ) from error


def _delete_own_entries(path: Path) -> None:
    """Deletes what an earlier run made, and nothing else."""
    for name in (_DATA, _PIPELINE, _SERVING):
        entry = path / name
        if entry.is_symlink():
            entry.unlink()
        elif entry.exists():
            shutil.rmtree(entry)
    # The database may have a journal beside it.
    for entry in (path / _LOG, *path.glob(f"{_DATABASE}*")):
        entry.unlink(missing_ok=True)
