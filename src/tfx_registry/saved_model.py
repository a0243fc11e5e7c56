"""Reads what a SavedModel says of itself, without TensorFlow.

Only the parts of `saved_model.pb` and `fingerprint.pb` that the registry records are declared
here, as protocol buffer descriptors with the field numbers of TensorFlow's own
(tensorflow/core/protobuf/saved_model.proto, meta_graph.proto, fingerprint.proto and
framework/types.proto, tensor_shape.proto). Everything else in the files is skipped. No graph is
loaded and no code of the model runs.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from tfx_registry import syscalls
from tfx_registry.errors import InvalidModelError
from tfx_registry.records import Signature, TensorSpec

__all__ = [
    "SAVED_MODEL_FILE",
    "SERVE_TAG",
    "TFX_SERVING_MODEL_DIR",
    "ServingGraph",
    "find_saved_model",
    "parse_message",
    "read_fingerprint",
    "read_metagraph",
    "read_serving_graph",
]

SAVED_MODEL_FILE = "saved_model.pb"
SERVE_TAG = "serve"

#: Where TFX's Trainer puts the SavedModel inside its Model artifact
#: (tfx/utils/path_utils.py, SERVING_MODEL_DIR).
TFX_SERVING_MODEL_DIR = "Format-Serving"

# The signature that keeps the variables' initialiser, not meant for callers.
_INTERNAL_SIGNATURES = frozenset({"__saved_model_init_op", "__saved_model_train_op"})

# tensorflow/core/framework/types.proto, enum DataType; reference types are 100 higher.
_DTYPES = dict(
    enumerate(
        [
            "invalid",
            "float32",
            "float64",
            "int32",
            "uint8",
            "int16",
            "int8",
            "string",
            "complex64",
            "int64",
            "bool",
            "qint8",
            "quint8",
            "qint32",
            "bfloat16",
            "qint16",
            "quint16",
            "uint16",
            "complex128",
            "float16",
            "resource",
            "variant",
            "uint32",
            "uint64",
            "float8_e5m2",
            "float8_e4m3fn",
            "float8_e4m3fnuz",
            "float8_e4m3b11fnuz",
            "float8_e5m2fnuz",
            "int4",
            "uint4",
            "int2",
            "uint2",
        ]
    )
)

_Field = descriptor_pb2.FieldDescriptorProto
# Text is declared as bytes: the parser writes to stderr when text is no UTF-8.
_TEXT, _INT64, _UINT64 = _Field.TYPE_BYTES, _Field.TYPE_INT64, _Field.TYPE_UINT64
_INT32, _BOOL, _FIXED32 = _Field.TYPE_INT32, _Field.TYPE_BOOL, _Field.TYPE_FIXED32

# message -> field -> (number, type or message name, repeated)
_SCHEMA: dict[str, dict[str, tuple[int, Any, bool]]] = {
    "SavedModel": {"meta_graphs": (2, "MetaGraph", True)},
    "MetaGraph": {"info": (1, "MetaInfo", False), "signatures": (5, "SignatureEntry", True)},
    "MetaInfo": {"tags": (4, _TEXT, True), "tensorflow_version": (5, _TEXT, False)},
    "SignatureEntry": {"key": (1, _TEXT, False), "value": (2, "SignatureDef", False)},
    "SignatureDef": {
        "inputs": (1, "TensorEntry", True),
        "outputs": (2, "TensorEntry", True),
        "method_name": (3, _TEXT, False),
    },
    "TensorEntry": {"key": (1, _TEXT, False), "value": (2, "TensorInfo", False)},
    "TensorInfo": {"dtype": (2, _INT32, False), "shape": (3, "Shape", False)},
    "Shape": {"dims": (2, "Dim", True), "unknown_rank": (3, _BOOL, False)},
    "Dim": {"size": (1, _INT64, False)},
    # More of the same messages, for who looks at all of a model.
    "WholeSavedModel": {"meta_graphs": (2, "WholeMetaGraph", True)},
    "WholeMetaGraph": {
        "info": (1, "MetaInfo", False),
        "graph": (2, "Graph", False),
        "saver": (3, "Saver", False),
        "signatures": (5, "SignatureEntry", True),
        "assets": (6, "Asset", True),
        "objects": (7, "ObjectGraph", False),
    },
    "Graph": {"nodes": (1, "Node", True)},
    "Node": {"name": (1, _TEXT, False), "op": (2, _TEXT, False)},
    "Saver": {"restore_op": (3, _TEXT, False)},
    "Asset": {"filename": (2, _TEXT, False)},
    "ObjectGraph": {"nodes": (1, "Object", True)},
    "Object": {"variable": (7, "Variable", False)},
    "Variable": {"dtype": (1, _INT32, False)},
    # tensorflow/core/protobuf/tensor_bundle.proto
    "BundleHeader": {"num_shards": (1, _INT32, False), "endianness": (2, _INT32, False)},
    "BundleEntry": {
        "dtype": (1, _INT32, False),
        "shape": (2, "Shape", False),
        "shard": (3, _INT32, False),
        "offset": (4, _INT64, False),
        "size": (5, _INT64, False),
        "crc32c": (6, _FIXED32, False),
        "slices": (7, "Slice", True),
    },
    "Slice": {},
    # tensorflow_serving/apis/prediction_log.proto and what it includes
    "PredictionLog": {
        "classify_log": (2, "RequestLog", False),
        "regress_log": (3, "RequestLog", False),
        "multi_inference_log": (4, "MultiInferenceLog", False),
        "session_run_log": (5, "Opaque", False),
        "predict_log": (6, "RequestLog", False),
    },
    "RequestLog": {"request": (1, "Request", False)},
    "Request": {"spec": (1, "ModelSpec", False)},
    "ModelSpec": {"signature": (3, _TEXT, False)},
    "MultiInferenceLog": {"request": (1, "MultiInferenceRequest", False)},
    "MultiInferenceRequest": {"tasks": (1, "InferenceTask", True)},
    "InferenceTask": {"spec": (1, "ModelSpec", False)},
    "Opaque": {},
    "Fingerprint": {
        "saved_model_checksum": (1, _UINT64, False),
        "graph_def_program_hash": (2, _UINT64, False),
        "signature_def_hash": (3, _UINT64, False),
        "saved_object_graph_hash": (4, _UINT64, False),
        "checkpoint_hash": (5, _UINT64, False),
        "uuid": (7, _TEXT, False),
    },
}


def find_saved_model(path: str | os.PathLike[str]) -> Path | None:
    """Finds the SavedModel at a path.

    Args:
        path: A SavedModel directory, or a TFX Model artifact that holds one in `Format-Serving`.

    Returns:
        The directory with `saved_model.pb`, or None when there is none.
    """
    root = Path(path)
    for folder in (root, root / TFX_SERVING_MODEL_DIR):
        if (folder / SAVED_MODEL_FILE).is_file():
            return folder
    return None


def read_metagraph(directory: str | Path) -> tuple[tuple[str, ...], dict[str, Signature], str]:
    """Reads tags, signatures and the TensorFlow version of the graph that a server would load.

    Args:
        directory: The SavedModel directory.

    Returns:
        The tags, the signatures by name, and the version of TensorFlow that wrote the model. Of
        several graphs the one tagged "serve" is taken, else the first.

    Raises:
        InvalidModelError: `saved_model.pb` does not parse or holds no graph.
    """
    path = Path(directory) / SAVED_MODEL_FILE
    parsed = _parse("SavedModel", path)
    graphs = list(parsed.meta_graphs)
    if not graphs:
        raise InvalidModelError(
            f"cannot take {str(path)!r} for a SavedModel",
            "it holds no graph",
            "export the model again",
        )
    graph = next((g for g in graphs if SERVE_TAG.encode() in g.info.tags), graphs[0])
    signatures = {
        _text(entry.key): Signature(
            inputs={_text(t.key): _tensor_spec(t.value) for t in entry.value.inputs},
            outputs={_text(t.key): _tensor_spec(t.value) for t in entry.value.outputs},
            method=_text(entry.value.method_name),
        )
        for entry in graph.signatures
        if _text(entry.key) not in _INTERNAL_SIGNATURES
    }
    return (
        tuple(map(_text, graph.info.tags)),
        dict(sorted(signatures.items())),
        _text(graph.info.tensorflow_version),
    )


@dataclass(frozen=True)
class ServingGraph:
    """What of a SavedModel a server has to find on disk.

    Attributes:
        tags: The tags of each graph.
        signatures: Names of the signatures of the graph tagged "serve", without internal ones.
        assets: Names of its asset files, relative to `assets/`.
        restores_variables: Whether loading it reads values of variables.
    """

    tags: tuple[tuple[str, ...], ...]
    signatures: frozenset[str]
    assets: tuple[str, ...]
    restores_variables: bool


def read_serving_graph(directory: str | Path) -> ServingGraph:
    """Reads what the graph tagged "serve" needs, and that all of `saved_model.pb` parses.

    Args:
        directory: The SavedModel directory.

    Returns:
        What it needs; nothing if no graph has the tag.

    Raises:
        InvalidModelError: `saved_model.pb` cannot be read or does not parse.
    """
    parsed = _parse("WholeSavedModel", Path(directory) / SAVED_MODEL_FILE)
    graphs = list(parsed.meta_graphs)
    tags = tuple(tuple(map(_text, graph.info.tags)) for graph in graphs)
    # Exactly this tag: a server asks for the graph whose set of tags is {"serve"}.
    graph = next(
        (g for g, found in zip(graphs, tags, strict=True) if set(found) == {SERVE_TAG}), None
    )
    if graph is None:
        return ServingGraph(tags, frozenset(), (), restores_variables=False)
    variables = any(node.HasField("variable") for node in graph.objects.nodes)
    return ServingGraph(
        tags,
        frozenset(_text(entry.key) for entry in graph.signatures) - _INTERNAL_SIGNATURES,
        tuple(_text(asset.filename) for asset in graph.assets),
        restores_variables=variables or bool(graph.saver.restore_op),
    )


def read_fingerprint(directory: str | Path) -> dict[str, str]:
    """Reads TensorFlow's own fingerprint of a SavedModel.

    Args:
        directory: The SavedModel directory.

    Returns:
        The hashes of `fingerprint.pb` as decimal text by field name; empty when there is no such
        file (models written before TensorFlow 2.12).

    Raises:
        InvalidModelError: The file does not parse.
    """
    path = Path(directory) / "fingerprint.pb"
    if not path.is_file():
        return {}
    parsed = _parse("Fingerprint", path)
    found = {name: getattr(parsed, name) for name in _SCHEMA["Fingerprint"]}
    values = {k: _text(v) if isinstance(v, bytes) else str(v) for k, v in found.items()}
    return {name: value for name, value in values.items() if value not in ("", "0")}


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _tensor_spec(info: Any) -> TensorSpec:
    dtype = _DTYPES.get(info.dtype % 100, f"dtype_{info.dtype}")
    if info.shape.unknown_rank:
        return TensorSpec(dtype, None)
    return TensorSpec(dtype, tuple(d.size if d.size >= 0 else None for d in info.shape.dims))


def _parse(kind: str, path: Path) -> Any:
    parsed = _message_classes()[kind]()
    try:
        parsed.ParseFromString(syscalls.read_file(path))
    except (message.DecodeError, OSError) as error:
        raise InvalidModelError(
            f"cannot read {str(path)!r}",
            f"{path.name} is not what TensorFlow writes ({error})",
            "export the model again",
        ) from error
    return parsed


def parse_message(kind: str, content: bytes) -> Any:
    """Parses a message of the kinds that this module knows.

    Args:
        kind: Name of the kind in this module.
        content: The serialized message.

    Returns:
        The message.

    Raises:
        ValueError: It does not parse.
    """
    parsed = _message_classes()[kind]()
    try:
        parsed.ParseFromString(content)
    except message.DecodeError as error:
        raise ValueError(str(error)) from error
    return parsed


@functools.cache
def _message_classes() -> dict[str, Any]:
    package = "tfx_registry.saved_model"
    file = descriptor_pb2.FileDescriptorProto(
        name="tfx_registry/saved_model.proto", package=package, syntax="proto3"
    )
    for name, fields in _SCHEMA.items():
        descriptor = file.message_type.add(name=name)
        for field_name, (number, kind, repeated) in fields.items():
            field = descriptor.field.add(name=field_name, number=number)
            field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            if isinstance(kind, str):
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    # protobuf 3 and 4 and later spell the same thing differently.
    if hasattr(message_factory, "GetMessageClass"):
        make = message_factory.GetMessageClass
    else:
        make = message_factory.MessageFactory(pool).GetPrototype
    return {name: make(pool.FindMessageTypeByName(f"{package}.{name}")) for name in _SCHEMA}
