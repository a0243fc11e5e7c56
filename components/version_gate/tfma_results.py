"""Reads a TFMA result into the numbers that the gate understands."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow_model_analysis as tfma

from tfx_registry.errors import InvalidInputError
from tfx_registry.gate import Evaluation, MetricId
from tfx_registry.records import SliceKey

__all__ = ["AmbiguousEvaluationError", "UnreadableEvaluationError", "load_evaluation"]

_DIFF = "_diff"

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
        candidate = tfma.load_eval_result(location, model_name=candidate_name)
        numbers, diff = _split(_values(candidate))
        baselines = [s.name for s in specs if s.is_baseline]
        baseline = tfma.load_eval_result(location, model_name=baselines[0]) if baselines else None
    except AmbiguousEvaluationError:
        raise
    except Exception as error:  # TFMA raises whatever its readers raise
        raise UnreadableEvaluationError(
            f"cannot read the evaluation at {location!r}",
            f"{type(error).__name__}: {error}"[:300],
            "run the evaluation again",
        ) from error
    return Evaluation(
        location=location,
        candidate_location=candidate.model_location or "",
        baseline_location=(baseline.model_location or "") if baseline else "",
        data_location=candidate.data_location or "",
        candidate=numbers,
        baseline=_values(baseline) if baseline else {},
        diff=diff,
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


def _values(result: Any) -> Values:
    table: Values = {}
    for key, by_output in result.slicing_metrics:
        row = table.setdefault(_slice_key(key), {})
        for output_name, by_sub_key in by_output.items():
            for sub_key, metrics in by_sub_key.items():
                for name, value in metrics.items():
                    number = _number(value)
                    if number is not None:
                        row[MetricId(name, output_name, sub_key)] = number
    return table


def _slice_key(key: Any) -> SliceKey:
    return tuple(sorted((str(feature), _text(value)) for feature, value in key))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _number(value: Mapping[str, Any]) -> float | None:
    """Reads a TFMA metric value; with a confidence interval, the point value counts."""
    if "doubleValue" in value:
        return _float(value["doubleValue"])
    if "boundedValue" in value:
        return _float(value["boundedValue"].get("value", math.nan))
    return None


def _float(value: Any) -> float:
    return float(value) if value is not None else math.nan  # "NaN" and "Infinity" come as text


def _split(table: Values) -> tuple[Values, Values]:
    """Separates the candidate's numbers from the differences that TFMA put beside them."""
    numbers: Values = {}
    diffs: Values = {}
    for key, row in table.items():
        numbers[key], diffs[key] = {}, {}
        for metric, value in row.items():
            base = MetricId(metric.name.removesuffix(_DIFF), metric.output_name, metric.sub_key)
            if metric.name.endswith(_DIFF) and base in row:
                diffs[key][base] = value
            else:
                numbers[key][metric] = value
    return numbers, diffs


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
