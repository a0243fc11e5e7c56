"""Reads a TFMA result into the numbers that the gate understands."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow_model_analysis.writers import eval_config_writer

from tfx_registry import tfrecord
from tfx_registry.components import places
from tfx_registry.components.version_gate.tfma_bytes import parse_serialized
from tfx_registry.components.version_gate.tfma_records import Numbers
from tfx_registry.errors import InvalidInputError, InvalidModelError
from tfx_registry.gate import DataIdentity, EvaluatedModel, Evaluation

__all__ = [
    "CONFIG_FILE",
    "AmbiguousEvaluationError",
    "CandidateMissingError",
    "UnreadableEvaluationError",
    "load_evaluation",
]

#: TFMA's names for a location that it was not told.
_UNKNOWN = frozenset({"<unknown>", "<user provided PCollection>"})
#: TFMA's file of the run's configuration; made after the metrics or beside them.
CONFIG_FILE = "eval_config.json"
_SHARD = re.compile(r"(?P<name>.+)-(?P<number>\d+)-of-(?P<count>\d+)(\.[a-z]+)?")


class UnreadableEvaluationError(InvalidInputError):
    """TFMA cannot read the result. Run the evaluation again."""


class AmbiguousEvaluationError(InvalidInputError):
    """The result has several candidates. Evaluate one model and one baseline."""


class CandidateMissingError(InvalidInputError):
    """The result has numbers, and none under the candidate's name. Correct the model names."""


def load_evaluation(
    location: str, *, created_at: float | None = None, data: DataIdentity | None = None
) -> Evaluation:
    """Reads a TFMA result.

    Args:
        location: The ModelEvaluation artifact, that is TFMA's output path; also in an object store
            (`s3://`, `gs://`).
        created_at: When the artifact was made, in seconds since the epoch, where that is known.
            The evaluation counts as made then or when its files were written, whatever is earlier.
        data: Which examples were evaluated, where the caller knows more than TFMA.

    Returns:
        The numbers of the candidate and of the baseline. Without a candidate where the path holds
        no result (TFMA returns an empty one), and with a candidate without numbers where TFMA has
        finished and found no example.

    Raises:
        UnreadableEvaluationError: Files are damaged or missing.
        AmbiguousEvaluationError: There is more than one candidate.
        CandidateMissingError: No number is about the candidate.
        RegistryError: The object store refuses, or does not answer.
    """
    if not places.is_in_store(location):
        return _load(location, location, created_at, data)
    if not places.lies_there(location):
        return Evaluation(location)
    try:
        with places.local_copy(location) as folder:
            return _load(str(folder), location, created_at, data)
    except InvalidModelError as error:
        raise _unreadable(location, error.why) from error


def _unreadable(location: str, why: str) -> UnreadableEvaluationError:
    return UnreadableEvaluationError(
        f"cannot read the evaluation at {location!r}", why[:300], "run the evaluation again"
    )


def _load(
    folder: str, location: str, created_at: float | None, data: DataIdentity | None
) -> Evaluation:
    """Reads a result from a folder, and calls it by its location."""
    try:
        files = _files(folder)
        config, data_location, _, lay = eval_config_writer.load_eval_run(folder)
        if config is None:
            return Evaluation(location)
        _check_shards(files)
        models, differences = parse_serialized(_records(folder))
        facts = _Facts.read(folder, files, created_at)
    except Exception as error:
        raise _unreadable(location, f"{type(error).__name__}: {error}") from error
    specs = list(config.model_specs)
    name = _only([spec.name for spec in specs if not spec.is_baseline], specs, location)
    baselines = [spec.name for spec in specs if spec.is_baseline]
    own = _own_numbers(name, models, lay, baselines, location)
    difference = differences.get(name, Numbers())
    known = data_location if data_location not in _UNKNOWN else ""
    return Evaluation(
        location=location,
        candidate=_model_at(lay.get(name) or lay.get(""), own),
        baseline=_model_at(lay.get(baselines[0]), models.get(baselines[0], Numbers()))
        if baselines
        else None,
        data_location=known,
        digest=facts.digest,
        differences=difference.values,
        difference_intervals=difference.intervals,
        cross_difference_intervals=difference.cross_intervals,
        made_at=facts.made_at,
        versions=facts.versions,
        data=data or DataIdentity(location=known),
    )


def _only(names: list[str], specs: list[Any], location: str) -> str:
    if len(names) > 1:
        raise AmbiguousEvaluationError(
            f"cannot decide on the evaluation at {location!r}",
            f"it has {len(names)} candidates: {', '.join(names)}",
            "evaluate one model and one baseline",
        )
    if specs and not names:
        raise CandidateMissingError(
            f"cannot decide on the evaluation at {location!r}",
            "it is of a baseline alone",
            "evaluate the candidate as well",
        )
    # TFMA fills in a nameless model where the config names none.
    return names[0] if names else ""


def _own_numbers(
    name: str,
    models: dict[str, Numbers],
    lay: Any,
    baselines: list[str],
    location: str,
) -> Numbers:
    """Picks the candidate's numbers; a result about one model may call it by no name."""
    for key in (name, ""):
        if key in models:
            return models[key]
    if models:
        found = ", ".join(repr(model) for model in sorted(models))
        raise CandidateMissingError(
            f"cannot decide on the evaluation at {location!r}",
            f"its candidate is {name!r}, and its numbers are about {found}",
            "give models and model specs the same names",
        )
    if name not in lay and "" not in lay and lay:
        known = ", ".join(repr(place) for place in sorted(lay) if place not in baselines)
        raise CandidateMissingError(
            f"cannot decide on the evaluation at {location!r}",
            f"its candidate is {name!r}, and it says only where {known or 'the baseline'} lay",
            "give models and model specs the same names",
        )
    return Numbers()


def _model_at(location: str | None, numbers: Numbers) -> EvaluatedModel:
    """Describes an evaluated model, with the digest of the bytes that lie there now."""
    known = location if location and location not in _UNKNOWN else ""
    try:
        manifest = places.digests_of(known)[1] if known else ""
    except InvalidInputError:
        manifest = ""
    return EvaluatedModel(
        known,
        manifest,
        metrics=numbers.values,
        intervals=numbers.intervals,
        cross_slices=numbers.cross_values,
        cross_intervals=numbers.cross_intervals,
    )


@dataclasses.dataclass(frozen=True)
class _Facts:
    """What the files of a result say about it."""

    digest: str
    made_at: float | None
    versions: dict[str, str]

    @classmethod
    def read(cls, location: str, files: list[str], created_at: float | None) -> _Facts:
        sha = hashlib.sha256()
        times = [created_at] if created_at else []
        for name in files:
            path = posixpath.join(location, name)
            with tf.io.gfile.GFile(path, "rb") as stream:
                content = hashlib.sha256(stream.read()).hexdigest()
            sha.update(f"{content}  {name}\n".encode())
            # Whole seconds: the bits below are lost in a copy of the files.
            times.append(float(tf.io.gfile.stat(path).mtime_nsec // 1_000_000_000))
        return cls(sha.hexdigest(), min(times, default=None), _versions(location, files))


def _versions(location: str, files: list[str]) -> dict[str, str]:
    if CONFIG_FILE not in files:
        return {}
    with tf.io.gfile.GFile(posixpath.join(location, CONFIG_FILE), "r") as stream:
        version = json.loads(stream.read()).get("version")
    return {"tensorflow-model-analysis": str(version)} if version else {}


def _files(location: str) -> list[str]:
    """Lists the files of a result, on any file system that TensorFlow knows."""
    if not location or not tf.io.gfile.isdir(location):
        return []
    found = []
    for folder, _, names in tf.io.gfile.walk(location):
        below = folder[len(location) :].strip("/")
        found += [posixpath.join(below, name) for name in names]
    return sorted(found)


def _records(folder: str) -> Iterator[bytes]:
    """Reads the records of the files that `tfma.load_metrics` reads; their checksums must fit."""
    files = tf.io.gfile.glob(posixpath.join(folder, "metrics*.tfrecord"))
    # Older releases wrote no suffix.
    for file in files or tf.io.gfile.glob(posixpath.join(folder, "metrics*")):
        with tf.io.gfile.GFile(file, "rb") as stream:
            yield from tfrecord.parse_records(stream.read())


def _check_shards(files: Iterable[str]) -> None:
    """TFMA reads the shards of its files that are there; here all must be there."""
    seen: dict[tuple[str, int], set[int]] = {}
    for name in files:
        shard = _SHARD.fullmatch(name)
        if shard:
            key = (shard["name"], int(shard["count"]))
            seen.setdefault(key, set()).add(int(shard["number"]))
    for (name, count), numbers in sorted(seen.items()):
        missing = sorted(set(range(count)) - numbers)
        if missing:
            raise ValueError(f"of {count} shards of {name!r}, {missing[:5]} are missing")
    if not any(name.split("-")[0].split(".")[0] == "metrics" for name in files):
        raise ValueError("there is no file of metrics")
