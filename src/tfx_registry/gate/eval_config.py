"""What an EvalConfig of TFMA demands, as fields of a policy.

Follows tensorflow_model_analysis/metrics/metric_specs.py (metric_thresholds_from_metrics_specs)
and evaluators/metrics_validator.py: a threshold holds for the outputs, sub keys and aggregations
of its MetricsSpec; without slices it holds for every slice; thresholds of the baseline model mean
nothing. Whatever a policy cannot express is an error that names the place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tfx_registry import codec
from tfx_registry.errors import InvalidPolicyError
from tfx_registry.gate.eval_config_proto import parse_eval_config
from tfx_registry.gate.slices import CrossSliceSpec, SliceSpec
from tfx_registry.gate.thresholds import ChangeThreshold, Direction, ValueThreshold, Weighting

__all__ = ["fields_of", "looks_like_one", "merge", "metric_name"]

#: Fields that only an EvalConfig has, in the spelling of both of its JSON forms.
_OWN_FIELDS = {
    name
    for field in ("model_specs", "metrics_specs", "slicing_specs", "cross_slicing_specs")
    for name in (field, re.sub(r"_(\w)", lambda match: match[1].upper(), field))
}

#: TFMA's own metrics whose name is not their class in snake case.
_NAMES = {
    "BinaryCrossEntropy": "binary_crossentropy",
    "Bleu": "BLEU",
    "COCOAveragePrecision": "average_precision",
    "COCOAverageRecall": "average_recall",
    "COCOMeanAveragePrecision": "mean_average_precision",
    "COCOMeanAverageRecall": "mean_average_recall",
    "CategoricalCrossEntropy": "categorical_crossentropy",
}

#: TFMA's own metrics that make several numbers, or put their arguments into the name.
_NAMELESS = {"BooleanFlipRates", "Mean", "QueryStatistics", "Rouge"}

#: Modules whose metrics are named by the rule of `metric_name`.
_KNOWN_MODULES = ("tensorflow_model_analysis", "tensorflow", "tf_keras", "keras")


@dataclass(frozen=True)
class _Place:
    """Where thresholds of a MetricsSpec hold.

    Attributes:
        output_name: Output of the model, or "".
        sub_key: Sub key as text, or "".
        aggregation: Aggregation, or "".
    """

    output_name: str
    sub_key: str
    aggregation: str


def looks_like_one(document: Mapping[str, Any]) -> bool:
    """Tells whether a document is an EvalConfig rather than a policy."""
    return bool(_OWN_FIELDS & set(document))


def merge(document: Mapping[str, Any]) -> dict[str, Any]:
    """Puts the thresholds of the field `eval_config` to those of the document.

    Args:
        document: Fields of a policy, one of them `eval_config`.

    Returns:
        The document without that field, with its thresholds; what the document says itself about
        `min_slice_size` holds.

    Raises:
        InvalidPolicyError: The EvalConfig cannot be taken.
    """
    merged = {name: value for name, value in document.items() if name != "eval_config"}
    for name, value in fields_of(document["eval_config"]).items():
        encoded = codec.encode(value)
        if isinstance(encoded, list):
            own = merged.get(name, [])
            merged[name] = [*own, *encoded] if isinstance(own, list) else own
        else:
            merged.setdefault(name, encoded)
    return merged


def fields_of(config: Any, candidate: str = "") -> dict[str, Any]:
    """Reads the fields of a policy from an EvalConfig.

    Args:
        config: The EvalConfig in any of its forms.
        candidate: Name of the model that is to be decided on; needed only where there are several.

    Returns:
        `value_thresholds`, `change_thresholds` and, where it is set, `min_slice_size`.

    Raises:
        InvalidPolicyError: It is no EvalConfig, or has a threshold that a policy cannot express.
    """
    message = parse_eval_config(config)
    baselines, candidate = _models(message, candidate)
    rules: list[ValueThreshold | ChangeThreshold] = []
    for number, spec in enumerate(message.metrics_specs):
        where = f"metrics_specs[{number}]"
        if _is_about_candidate(spec, where, message, baselines, candidate):
            rules += _rules_of(spec, where, message)
    unique = {codec.dumps([type(rule).__name__, rule]): rule for rule in rules}
    fields: dict[str, Any] = {
        "value_thresholds": tuple(r for r in unique.values() if isinstance(r, ValueThreshold)),
        "change_thresholds": tuple(r for r in unique.values() if isinstance(r, ChangeThreshold)),
    }
    if message.options.min_slice_size.value > 1:
        fields["min_slice_size"] = message.options.min_slice_size.value
    return fields


def metric_name(class_name: str, module: str, config: Mapping[str, Any], where: str) -> str:
    """Finds the name that TFMA gives to the number of a MetricConfig.

    Args:
        class_name: Class of the metric.
        module: Module of the class, or "" for one that TFMA knows.
        config: Parsed configuration; a name in it holds.
        where: The place in the EvalConfig, for the message.

    Returns:
        The name.

    Raises:
        InvalidPolicyError: The name cannot be known without importing the class.
    """
    if isinstance(config.get("name"), str) and config["name"]:
        return str(config["name"])
    foreign = module and module.split(".")[0] not in _KNOWN_MODULES
    if foreign or class_name in _NAMELESS or not class_name:
        raise _inexpressible(
            where,
            f"the name of the metric of class {class_name!r} cannot be told from its class",
            'give it in its config, as in config: \'{"name": "my_metric"}\', or put the '
            "threshold under the metric's name into thresholds of the MetricsSpec",
        )
    # The same rule as in TFMA's metric_specs._maybe_add_name_to_config.
    words = re.sub("(.)([A-Z][a-z0-9]+)", r"\1_\2", class_name)
    snake = re.sub("([a-z])([A-Z])", r"\1_\2", words).lower()
    return _NAMES.get(class_name, snake)


def _inexpressible(where: str, why: str, todo: str) -> InvalidPolicyError:
    return InvalidPolicyError(f"cannot take the EvalConfig as a policy at {where}", why, todo)


def _models(message: Any, candidate: str) -> tuple[set[str], str]:
    """Returns the names of the baselines, and the name of the candidate."""
    baselines = {spec.name for spec in message.model_specs if spec.is_baseline}
    others = [spec.name for spec in message.model_specs if not spec.is_baseline]
    if candidate and others and candidate not in others:
        raise _inexpressible(
            "model_specs",
            f"there is no candidate {candidate!r}; there are {', '.join(map(repr, others))}",
            "name one of these",
        )
    if len(others) > 1 and not candidate:
        raise _inexpressible(
            "model_specs",
            f"there are {len(others)} candidates: {', '.join(map(repr, others))}",
            "say which one is to be decided on: from_eval_config(config, candidate=...)",
        )
    return baselines, candidate or (others[0] if others else "")


def _is_about_candidate(
    spec: Any, where: str, message: Any, baselines: set[str], candidate: str
) -> bool:
    names = list(spec.model_names)
    # With one model TFMA ignores what it is called (update_eval_config_with_defaults).
    if not names or len(message.model_specs) <= 1 or candidate in names:
        return True
    known = {model.name for model in message.model_specs}
    unknown = sorted(set(names) - known)
    if unknown:
        raise _inexpressible(
            f"{where}.model_names",
            f"{unknown[0]!r} is none of the model_specs",
            f"known are {', '.join(map(repr, sorted(known)))}",
        )
    return False


def _rules_of(spec: Any, where: str, message: Any) -> Iterator[ValueThreshold | ChangeThreshold]:
    places = [
        _Place(output, sub_key, aggregation)
        for aggregation, sub_keys in _sub_keys(spec).items()
        for output in (list(spec.output_names) or [""])
        for sub_key in sub_keys
    ]
    for number, config in enumerate(spec.metrics):
        here = f"{where}.metrics[{number}]"
        if (
            config.HasField("threshold")
            or config.per_slice_thresholds
            or (config.cross_slice_thresholds)
        ):
            name = metric_name(config.class_name, config.module, _parsed(config, here), here)
            weighting = _weighting(spec, message)
            yield from _everywhere(config.threshold, name, places, weighting, f"{here}.threshold")
            yield from _per_slice(config.per_slice_thresholds, name, places, weighting, here)
            yield from _cross(config.cross_slice_thresholds, name, places, weighting, here)
    # Thresholds by name are for metrics that the model's graph computes; those have no weighting.
    for name, threshold in sorted(spec.thresholds.items()):
        here = f"{where}.thresholds[{name!r}]"
        yield from _everywhere(threshold, name, places, Weighting.ANY, here)
    for name, some in sorted(spec.per_slice_thresholds.items()):
        here = f"{where}.per_slice_thresholds[{name!r}]"
        yield from _per_slice(some.thresholds, name, places, Weighting.ANY, here)
    for name, some in sorted(spec.cross_slice_thresholds.items()):
        here = f"{where}.cross_slice_thresholds[{name!r}]"
        yield from _cross(some.thresholds, name, places, Weighting.ANY, here)


def _parsed(config: Any, where: str) -> dict[str, Any]:
    text = config.config.strip()
    try:
        parsed = json.loads(text if text.startswith("{") else "{" + text + "}")
    except ValueError as error:
        raise _inexpressible(f"{where}.config", f"no JSON: {error}", "correct it") from error
    return dict(parsed)


def _sub_keys(spec: Any) -> dict[str, list[str]]:
    """Returns sub keys by aggregation, as TFMA's metric_specs._create_sub_keys."""
    found: dict[str, list[str]] = {}
    if spec.HasField("binarize"):
        binarized = [
            f"{word}:{value}"
            for word, values in (
                ("classId", spec.binarize.class_ids.values),
                ("k", spec.binarize.k_list.values),
                ("topK", spec.binarize.top_k_list.values),
            )
            for value in values
        ]
        if binarized:
            found[""] = binarized
    if spec.HasField("aggregate"):
        kinds = ("micro_average", "macro_average", "weighted_macro_average")
        kind = next((kind for kind in kinds if getattr(spec.aggregate, kind)), "")
        found[kind] = [f"topK:{value}" for value in spec.aggregate.top_k_list.values] or [""]
    return found or {"": [""]}


def _weighting(spec: Any, message: Any) -> Weighting:
    """Returns which variants TFMA computes, as its metric_specs._example_weight_options."""
    if spec.HasField("example_weights"):
        chosen = spec.example_weights
        if chosen.weighted != chosen.unweighted:
            return Weighting.WEIGHTED if chosen.weighted else Weighting.UNWEIGHTED
        return Weighting.ANY
    models = [m for m in message.model_specs if not spec.model_names or m.name in spec.model_names]
    weighted = any(
        m.example_weight_key or any(out in m.example_weight_keys for out in spec.output_names)
        for m in models or message.model_specs
    )
    return Weighting.WEIGHTED if weighted else Weighting.UNWEIGHTED


def _everywhere(
    threshold: Any, name: str, places: list[_Place], weighting: Weighting, where: str
) -> Iterator[ValueThreshold | ChangeThreshold]:
    slices = {"slices": (SliceSpec(all_slices=True),)}
    yield from _rules(threshold, name, places, weighting, slices, where)


def _per_slice(
    thresholds: Any, name: str, places: list[_Place], weighting: Weighting, where: str
) -> Iterator[ValueThreshold | ChangeThreshold]:
    for number, item in enumerate(thresholds):
        here = f"{where}.per_slice_thresholds[{number}]"
        specs = tuple(_slice_spec(spec, f"{here}.slicing_specs") for spec in item.slicing_specs)
        if not specs:
            raise _inexpressible(here, "it names no slice, so it would never apply", "name slices")
        yield from _rules(item.threshold, name, places, weighting, {"slices": specs}, here)


def _cross(
    thresholds: Any, name: str, places: list[_Place], weighting: Weighting, where: str
) -> Iterator[ValueThreshold | ChangeThreshold]:
    for number, item in enumerate(thresholds):
        here = f"{where}.cross_slice_thresholds[{number}]"
        specs = tuple(
            CrossSliceSpec(
                _slice_spec(spec.baseline_spec, f"{here}.cross_slicing_specs.baseline_spec"),
                tuple(_slice_spec(other, f"{here}.slicing_specs") for other in spec.slicing_specs),
            )
            for spec in item.cross_slicing_specs
        )
        if not specs:
            raise _inexpressible(here, "it names no slices, so it would never apply", "name slices")
        yield from _rules(item.threshold, name, places, weighting, {"cross_slices": specs}, here)


def _slice_spec(spec: Any, where: str) -> SliceSpec:
    if spec.slice_keys_sql:
        raise _inexpressible(
            f"{where}.slice_keys_sql",
            "which slices a query makes is known only after the evaluation",
            "name the slices by feature_keys and feature_values",
        )
    return SliceSpec(tuple(spec.feature_keys), dict(spec.feature_values))


def _rules(
    threshold: Any,
    name: str,
    places: list[_Place],
    weighting: Weighting,
    slices: Mapping[str, Any],
    where: str,
) -> Iterator[ValueThreshold | ChangeThreshold]:
    for place in places:
        common: dict[str, Any] = {
            "metric": name,
            "output_name": place.output_name,
            "sub_key": place.sub_key,
            "aggregation": place.aggregation,
            "weighting": weighting,
            **slices,
        }
        try:
            if threshold.HasField("value_threshold"):
                value = threshold.value_threshold
                yield ValueThreshold(
                    lower_bound=_optional(value, "lower_bound"),
                    upper_bound=_optional(value, "upper_bound"),
                    **common,
                )
            if threshold.HasField("change_threshold"):
                change = threshold.change_threshold
                yield ChangeThreshold(
                    direction=_direction(change.direction, f"{where}.change_threshold"),
                    absolute=_optional(change, "absolute"),
                    relative=_optional(change, "relative"),
                    **common,
                )
        except InvalidPolicyError as error:
            if error.what.startswith("cannot take"):
                raise
            raise _inexpressible(where, f"{error.what}: {error.why}", error.todo) from error


def _optional(message: Any, field: str) -> float | None:
    return float(getattr(message, field).value) if message.HasField(field) else None


def _direction(number: int, where: str) -> Direction:
    if number not in (1, 2):
        raise _inexpressible(
            f"{where}.direction",
            "without a direction TFMA fails every model",
            "say HIGHER_IS_BETTER or LOWER_IS_BETTER",
        )
    return Direction.LOWER_IS_BETTER if number == 1 else Direction.HIGHER_IS_BETTER
