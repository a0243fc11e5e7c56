"""Reads a TFMA result into the numbers that the gate understands."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import tensorflow_model_analysis as tfma

from tfx_registry.digest import digest_path
from tfx_registry.errors import InvalidInputError, InvalidModelError
from tfx_registry.gate import EvaluatedModel, Evaluation, MetricId
from tfx_registry.records import SliceKey

__all__ = ["AmbiguousEvaluationError", "UnreadableEvaluationError", "load_evaluation"]

Values = dict[SliceKey, dict[MetricId, float]]


class UnreadableEvaluationError(InvalidInputError):
    """TFMA cannot read the result. Run the evaluation again."""


class AmbiguousEvaluationError(InvalidInputError):
    """The result has several candidates. Evaluate one model and one baseline."""


def load_evaluation(location: str) -> Evaluation:
    """Reads a TFMA result.

    Args:
        location: The ModelEvaluation artifact, that is TFMA's output path.

    Returns:
        The numbers of the candidate and of the baseline. For a path without a result, where TFMA
        returns an empty one, the evaluation is empty.

    Raises:
        UnreadableEvaluationError: The files are damaged.
        AmbiguousEvaluationError: There is more than one candidate.
    """
    try:
        overview = tfma.load_eval_result(location)
        if overview.config is None:
            return Evaluation(location)
        specs = list(overview.config.model_specs)
        candidate_name = _only([s.name for s in specs if not s.is_baseline], location)
        baselines = [s.name for s in specs if s.is_baseline]
        numbers = _numbers(location)
        candidate = tfma.load_eval_result(location, model_name=candidate_name)
        baseline = tfma.load_eval_result(location, model_name=baselines[0]) if baselines else None
    except AmbiguousEvaluationError:
        raise
    except Exception as error:
        raise UnreadableEvaluationError(
            f"cannot read the evaluation at {location!r}",
            f"{type(error).__name__}: {error}"[:300],
            "run the evaluation again",
        ) from error
    # A result about one model may call it by no name, whatever the config says.
    own = {**numbers.get("", {}), **numbers.get(candidate_name, {})}
    return Evaluation(
        location=location,
        candidate=_model_at(candidate.model_location, own),
        baseline=_model_at(baseline.model_location, numbers.get(baselines[0], {}))
        if baseline
        else None,
        data_location=candidate.data_location or "",
        digest=_digest(location),
    )


def _only(names: list[str], location: str) -> str:
    if len(names) > 1:
        raise AmbiguousEvaluationError(
            f"cannot decide on the evaluation at {location!r}",
            f"it has {len(names)} candidates: {', '.join(names)}",
            "evaluate one model and one baseline",
        )
    # TFMA fills in a nameless model where the config names none.
    return names[0] if names else ""


def _model_at(location: str | None, metrics: Values) -> EvaluatedModel:
    """Describes an evaluated model, with the digest of the bytes that lie there now."""
    try:
        manifest = digest_path(location).manifest if location else ""
    except InvalidModelError:
        manifest = ""
    return EvaluatedModel(location or "", manifest, metrics)


def _numbers(location: str) -> dict[str, Values]:
    """Reads every number of a result, by model, slice and whole metric key.

    `tfma.load_eval_result` leaves out of the key whether examples were weighted, so that one
    number would hide the other.
    """
    found: dict[str, Values] = {}
    for record in tfma.load_metrics(location):
        if record.WhichOneof("slicing_spec_oneof") == "cross_slice_key":
            continue
        key = _slice_key(record.slice_key)
        for pair in record.metric_keys_and_values:
            number = _number(pair.value)
            if number is None or pair.key.is_diff:
                continue
            row = found.setdefault(pair.key.model_name, {}).setdefault(key, {})
            metric = _metric_id(pair.key)
            if metric in row:
                raise ValueError(f"{metric} stands twice in the slice {key}")
            row[metric] = number
    return found


def _slice_key(key: Any) -> SliceKey:
    pairs = []
    for single in key.single_slice_keys:
        value = getattr(single, single.WhichOneof("kind"))
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        pairs.append((str(single.column), text))
    return tuple(sorted(pairs))


def _metric_id(key: Any) -> MetricId:
    sub_key = [
        f"{name}:{getattr(key.sub_key, field).value}"
        for field, name in (("class_id", "classId"), ("k", "k"), ("top_k", "topK"))
        if key.sub_key.HasField(field)
    ]
    weighting = "weighted" if key.example_weighted.value else ""
    aggregation = key.aggregation_type.WhichOneof("type") or ""
    return MetricId(key.name, key.output_name, ",".join(sub_key), aggregation, weighting)


def _number(value: Any) -> float | None:
    """Reads a TFMA metric value; with a confidence interval, the point value counts."""
    kind = value.WhichOneof("type")
    if kind == "double_value":
        return float(value.double_value.value)
    if kind == "bounded_value":
        return float(value.bounded_value.value.value)
    if kind == "t_distribution_value":
        return float(value.t_distribution_value.unsampled_value.value)
    return None


def _digest(location: str) -> str:
    """Hashes the files of a result that lies on a local disk."""
    folder = Path(location)
    sha = hashlib.sha256()
    if not folder.is_dir():
        return ""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        sha.update(f"{content}  {path.relative_to(folder).as_posix()}\n".encode())
    return sha.hexdigest()
