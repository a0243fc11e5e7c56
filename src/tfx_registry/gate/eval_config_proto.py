"""Reads an EvalConfig of TFMA in each of its forms, without TFMA.

The messages are declared here with the field numbers of TFMA's own
(tensorflow_model_analysis/proto/config.proto, TFMA 0.47 to 0.52), complete, so that a misspelt
field is an error and not silently left out.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    json_format,
    message_factory,
    text_format,
    wrappers_pb2,
)
from google.protobuf.message import DecodeError

from tfx_registry.errors import InvalidPolicyError

__all__ = ["parse_eval_config"]

_Field = descriptor_pb2.FieldDescriptorProto
_TEXT, _BOOL = _Field.TYPE_STRING, _Field.TYPE_BOOL
_INT32, _INT64, _FLOAT = _Field.TYPE_INT32, _Field.TYPE_INT64, _Field.TYPE_FLOAT

_PACKAGE = "tensorflow_model_analysis"
_DOUBLE_VALUE = "google.protobuf.DoubleValue"
_BOOL_VALUE = "google.protobuf.BoolValue"
_INT32_VALUE = "google.protobuf.Int32Value"
_MAP = "map:"

# message -> field -> (number, type or message, repeated). "map:" makes a map of text to it.
_MESSAGES: dict[str, dict[str, tuple[int, Any, bool]]] = {
    "EvalConfig": {
        "model_specs": (2, "ModelSpec", True),
        "slicing_specs": (4, "SlicingSpec", True),
        "cross_slicing_specs": (8, "CrossSlicingSpec", True),
        "metrics_specs": (5, "MetricsSpec", True),
        "options": (6, "Options", False),
    },
    "ModelSpec": {
        "name": (2, _TEXT, False),
        "model_type": (12, _TEXT, False),
        "signature_name": (3, _TEXT, False),
        "preprocessing_function_names": (13, _TEXT, True),
        "label_key": (5, _TEXT, False),
        "label_keys": (6, f"{_MAP}text", True),
        "prediction_key": (7, _TEXT, False),
        "prediction_keys": (8, f"{_MAP}text", True),
        "example_weight_key": (9, _TEXT, False),
        "example_weight_keys": (10, f"{_MAP}text", True),
        "is_baseline": (11, _BOOL, False),
        "padding_options": (14, "PaddingOptions", False),
        "inference_batch_size": (15, _INT32, False),
    },
    "SlicingSpec": {
        "feature_keys": (1, _TEXT, True),
        "feature_values": (2, f"{_MAP}text", True),
        "slice_keys_sql": (3, _TEXT, False),
    },
    "CrossSlicingSpec": {
        "baseline_spec": (1, "SlicingSpec", False),
        "slicing_specs": (2, "SlicingSpec", True),
    },
    "AggregationOptions": {
        "micro_average": (1, _BOOL, False),
        "macro_average": (2, _BOOL, False),
        "weighted_macro_average": (3, _BOOL, False),
        "class_weights": (4, f"{_MAP}class_weight", True),
        "top_k_list": (5, "RepeatedInt32Value", False),
    },
    "BinarizationOptions": {
        "class_ids": (4, "RepeatedInt32Value", False),
        "k_list": (5, "RepeatedInt32Value", False),
        "top_k_list": (6, "RepeatedInt32Value", False),
    },
    "ExampleWeightOptions": {"weighted": (1, _BOOL, False), "unweighted": (2, _BOOL, False)},
    "PaddingOptions": {
        "label_int_padding": (1, _INT64, False),
        "label_float_padding": (2, _FLOAT, False),
        "prediction_int_padding": (3, _INT64, False),
        "prediction_float_padding": (4, _FLOAT, False),
    },
    "GenericChangeThreshold": {
        "absolute": (1, _DOUBLE_VALUE, False),
        "relative": (2, _DOUBLE_VALUE, False),
        "direction": (3, "MetricDirection", False),
    },
    "GenericValueThreshold": {
        "lower_bound": (1, _DOUBLE_VALUE, False),
        "upper_bound": (2, _DOUBLE_VALUE, False),
    },
    "MetricThreshold": {
        "value_threshold": (1, "GenericValueThreshold", False),
        "change_threshold": (2, "GenericChangeThreshold", False),
    },
    "PerSliceMetricThreshold": {
        "slicing_specs": (1, "SlicingSpec", True),
        "threshold": (2, "MetricThreshold", False),
    },
    "PerSliceMetricThresholds": {"thresholds": (1, "PerSliceMetricThreshold", True)},
    "CrossSliceMetricThreshold": {
        "cross_slicing_specs": (1, "CrossSlicingSpec", True),
        "threshold": (2, "MetricThreshold", False),
    },
    "CrossSliceMetricThresholds": {"thresholds": (1, "CrossSliceMetricThreshold", True)},
    "MetricConfig": {
        "class_name": (1, _TEXT, False),
        "module": (2, _TEXT, False),
        "config": (3, _TEXT, False),
        "threshold": (4, "MetricThreshold", False),
        "per_slice_thresholds": (5, "PerSliceMetricThreshold", True),
        "cross_slice_thresholds": (6, "CrossSliceMetricThreshold", True),
    },
    "MetricsSpec": {
        "metrics": (1, "MetricConfig", True),
        "model_names": (2, _TEXT, True),
        "output_names": (3, _TEXT, True),
        "output_weights": (10, f"{_MAP}weight", True),
        "binarize": (4, "BinarizationOptions", False),
        "aggregate": (6, "AggregationOptions", False),
        "example_weights": (11, "ExampleWeightOptions", False),
        "query_key": (5, _TEXT, False),
        "thresholds": (7, f"{_MAP}MetricThreshold", True),
        "per_slice_thresholds": (8, f"{_MAP}PerSliceMetricThresholds", True),
        "cross_slice_thresholds": (9, f"{_MAP}CrossSliceMetricThresholds", True),
    },
    "Options": {
        "include_default_metrics": (1, _BOOL_VALUE, False),
        "compute_confidence_intervals": (2, _BOOL_VALUE, False),
        "confidence_intervals": (9, "ConfidenceIntervalOptions", False),
        "min_slice_size": (3, _INT32_VALUE, False),
        "disabled_outputs": (7, "RepeatedStringValue", False),
    },
    "ConfidenceIntervalOptions": {"method": (1, "ConfidenceIntervalMethod", False)},
    "RepeatedStringValue": {"values": (1, _TEXT, True)},
    "RepeatedInt32Value": {"values": (1, _INT32, True)},
}

_ENUMS = {
    "MetricDirection": ["UNKNOWN", "LOWER_IS_BETTER", "HIGHER_IS_BETTER"],
    "ConfidenceIntervalMethod": [
        "UNKNOWN_CONFIDENCE_INTERVAL_METHOD",
        "POISSON_BOOTSTRAP",
        "JACKKNIFE",
    ],
}

_MAP_TYPES: dict[str, tuple[Any, Any]] = {
    "text": (_TEXT, _TEXT),
    "weight": (_TEXT, _FLOAT),
    "class_weight": (_INT32, _FLOAT),
}


def parse_eval_config(config: Any) -> Any:
    """Reads an EvalConfig.

    Args:
        config: A `tfma.EvalConfig`, or the same as dictionary (as its JSON form), as JSON text or
            as text protocol buffer.

    Returns:
        A message with the fields of TFMA's EvalConfig.

    Raises:
        InvalidPolicyError: It is none of these, or has fields that EvalConfig has not.
    """
    message = _message_class()()
    try:
        if hasattr(config, "SerializeToString"):
            return _from_message(config, message)
        if isinstance(config, Mapping):
            return json_format.ParseDict(config, message)
        if isinstance(config, str) and config.lstrip().startswith("{"):
            return json_format.ParseDict(json.loads(config), message)
        if isinstance(config, str):
            return text_format.Parse(config, message)
    except (json_format.Error, text_format.ParseError, DecodeError) as error:
        raise _invalid(str(error)) from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _invalid(str(error)) from error
    raise _invalid(f"{type(config).__name__} is not a form of it")


def _invalid(why: str) -> InvalidPolicyError:
    return InvalidPolicyError(
        "invalid EvalConfig",
        why[:500],
        "give a tfma.EvalConfig, or its JSON or text form",
    )


def _from_message(config: Any, message: Any) -> Any:
    name = config.DESCRIPTOR.full_name
    if name != f"{_PACKAGE}.EvalConfig":
        raise _invalid(f"a {name} is no EvalConfig")
    text = json_format.MessageToJson(config, preserving_proto_field_name=True)
    return json_format.Parse(text, message)


@functools.cache
def _message_class() -> Any:
    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    pool.Add(wrappers)
    file = descriptor_pb2.FileDescriptorProto(
        name="tfx_registry/eval_config.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[wrappers.name],
    )
    for name, words in _ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, word in enumerate(words):
            # Words of an enumeration are unique in the whole package.
            enum.value.add(name=word, number=number)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            _add_field(message, field, number, kind, repeated)
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName(f"{_PACKAGE}.EvalConfig")
    if hasattr(message_factory, "GetMessageClass"):  # protobuf 4.22 and later
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


def _add_field(message: Any, name: str, number: int, kind: Any, repeated: bool) -> None:
    label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=label)
    if isinstance(kind, str) and kind.startswith(_MAP):
        of = kind.removeprefix(_MAP)
        entry_name = "".join(part.capitalize() for part in name.split("_")) + "Entry"
        entry = message.nested_type.add(name=entry_name)
        entry.options.map_entry = True
        key, value = _MAP_TYPES.get(of, (_TEXT, of))
        _add_field(entry, "key", 1, key, False)
        _add_field(entry, "value", 2, value, False)
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{message.name}.{entry_name}"
    elif isinstance(kind, str):
        field.type = _Field.TYPE_ENUM if kind in _ENUMS else _Field.TYPE_MESSAGE
        field.type_name = f".{kind}" if "." in kind else f".{_PACKAGE}.{kind}"
    else:
        field.type = kind
