"""Checks, before a server sees a SavedModel, that the server will be able to load it.

TensorFlow Serving takes every directory with a numeric name for a version. Without an index of
variables it loads the model uninitialised and says nothing; what else is missing it notices when
it loads, or answers. So all that a load reads is looked at here, without TensorFlow:

- `saved_model.pb` parses, and one of its graphs is tagged "serve" and nothing else;
- if that graph restores variables, `variables/variables.index` reads as a table with right
  checksums, each tensor has as many bytes as its shape needs, and each data file is there and as
  long as the index says;
- each asset that the graph names is there;
- the warm-up requests, if there are any, are at most 1,000 whole records of the right kind, for
  signatures that the model has (tensorflow_serving/servables/tensorflow/saved_model_warmup.cc and
  saved_model_warmup_util.cc: anything else fails the load).

Whether the bytes of weights are the right ones is the business of the digest.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tfx_registry import syscalls
from tfx_registry.errors import InvalidModelError
from tfx_registry.saved_model import (
    SAVED_MODEL_FILE,
    SERVE_TAG,
    ServingGraph,
    parse_message,
    read_serving_graph,
)
from tfx_registry.tensor_bundle import parse_index, shard_name
from tfx_registry.tfrecord import parse_records

__all__ = ["MOST_WARMUP_RECORDS", "WARMUP_FILE", "check_servable"]

#: Where warm-up requests lie in a SavedModel.
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MOST_WARMUP_RECORDS = 1_000

_INDEX = "variables/variables.index"
_DEFAULT_SIGNATURE = "serving_default"
_AGAIN = "export the model again"


def check_servable(
    source: str | os.PathLike[str], *, shown_as: str | os.PathLike[str] | None = None
) -> None:
    """Checks that a directory is a SavedModel that TensorFlow Serving can load.

    Args:
        source: The directory.
        shown_as: What errors call it; None means its own path.

    Raises:
        InvalidModelError: It is not there, is no SavedModel, or lacks what a server needs.
    """
    try:
        _check(Path(source))
    except InvalidModelError as error:
        shown = os.fspath(source if shown_as is None else shown_as)
        raise InvalidModelError(f"cannot publish {shown!r}", error.why, error.todo) from error


def _check(path: Path) -> None:
    if _size(path, directory=True) is None:
        raise InvalidModelError(
            "",
            "the directory is not there (any more)",
            "bring the registered bytes back to this place",
        )
    if _size(path / SAVED_MODEL_FILE) is None:
        raise InvalidModelError(
            "",
            f"it is not a SavedModel: there is no {SAVED_MODEL_FILE}",
            "export the model as a SavedModel and register that",
        )
    graph = read_serving_graph(path)  # its errors name the file; what they say is enough
    if not any(set(tags) == {SERVE_TAG} for tags in graph.tags):
        found = ", ".join(str(list(tags)) for tags in graph.tags) or "none at all"
        raise InvalidModelError(
            "",
            f"its graphs have the tags {found}, and a server loads the one tagged just 'serve'",
            "export the model for serving",
        )
    _check_variables(path, graph)
    _check_assets(path, graph)
    _check_warmup(path, graph)


def _check_variables(path: Path, graph: ServingGraph) -> None:
    folder = path / "variables"
    names: list[str] = []
    if _size(folder, directory=True) is not None:
        names = _list(path, folder)
    if "variables.index" not in names:
        if graph.restores_variables or any(name.startswith("variables.data-") for name in names):
            raise InvalidModelError(
                "", f"{_INDEX} is missing, so a server would load it uninitialised", _AGAIN
            )
        return
    try:
        index = parse_index(syscalls.read_file(path / _INDEX))
    except (OSError, ValueError) as error:
        raise InvalidModelError("", f"{_INDEX} cannot be read: {error}", _AGAIN) from error
    for shard, needed in enumerate(index.shard_sizes()):
        name = shard_name("variables", shard, index.shards)
        size = _size(folder / name)
        if size is None:
            raise InvalidModelError(
                "",
                f"variables/{name} is missing, and by its index the model has {index.shards} such "
                "data files",
                _AGAIN,
            )
        if size < needed:
            raise InvalidModelError(
                "",
                f"variables/{name} has {size} bytes, and by its index it needs {needed}",
                _AGAIN,
            )


def _check_assets(path: Path, graph: ServingGraph) -> None:
    for asset in graph.assets:
        if not asset or "\0" in asset or asset[0] == "/" or ".." in asset.split("/"):
            raise InvalidModelError(
                "", f"it names the asset {asset!r}, which lies outside of it", _AGAIN
            )
        if _size(f"{path}/assets/{asset}") is None:
            raise InvalidModelError("", f"the asset 'assets/{asset}' is missing", _AGAIN)


def _check_warmup(path: Path, graph: ServingGraph) -> None:
    file = path / WARMUP_FILE
    # What is there and no file is no warm-up file for us, and an error for a server.
    if not os.path.lexists(file):
        return
    todo = f"write {WARMUP_FILE} again, or leave it out"
    count = 0
    try:
        for record in parse_records(syscalls.read_file(file)):
            count += 1
            if count > MOST_WARMUP_RECORDS:
                raise ValueError(f"it has more than {MOST_WARMUP_RECORDS} records")
            for signature in _warmup_signatures(count, record):
                if signature not in graph.signatures:
                    known = ", ".join(sorted(graph.signatures)) or "none"
                    raise ValueError(
                        f"record {count} asks for the signature {signature!r}, and the model has "
                        f"{known}"
                    )
    except (OSError, ValueError) as error:
        raise InvalidModelError(
            "", f"with {WARMUP_FILE} a server would not load it: {error}", todo
        ) from error


def _warmup_signatures(number: int, record: bytes) -> Iterator[str]:
    try:
        log = parse_message("PredictionLog", record)
    except ValueError as error:
        raise ValueError(f"record {number} is no PredictionLog") from error
    if log.HasField("session_run_log"):
        raise ValueError(f"record {number} is a SessionRunLog, which cannot warm up a model")
    specs = [
        getattr(log, name).request.spec
        for name in ("predict_log", "classify_log", "regress_log")
        if log.HasField(name)
    ]
    specs += [task.spec for task in log.multi_inference_log.request.tasks]
    for spec in specs:
        yield spec.signature.decode("utf-8", "replace") or _DEFAULT_SIGNATURE


def _size(path: str | Path, *, directory: bool = False) -> int | None:
    """Length of a file or directory; None where there is none of this kind."""
    try:
        found = syscalls.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            # A model may be named by a link; in a model there are none (see source.py).
            found = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InvalidModelError(
            "", f"{str(path)!r} cannot be looked at: {error.strerror}", "check the permissions"
        ) from error
    kind = stat.S_ISDIR if directory else stat.S_ISREG
    return found.st_size if kind(found.st_mode) else None


def _list(path: Path, folder: Path) -> list[str]:
    try:
        return syscalls.list_directory(folder)
    except OSError as error:
        raise InvalidModelError(
            "", f"{str(folder)!r} cannot be listed: {error.strerror}", "check the permissions"
        ) from error
