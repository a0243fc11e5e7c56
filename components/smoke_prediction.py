"""Loads a SavedModel and asks it for predictions: a program of its own.

    python -m tfx_registry.components.smoke_prediction MODEL EXAMPLES [--signature NAME]

A program of its own, because a model that crashes, hangs or eats all memory must not take its
publisher with it, and because TensorFlow is loaded only here. On success one JSON document on
stdout says what came out; otherwise one line on stderr says why not, and the exit code is 1.

Examples are a TFRecord file of serialized `tf.Example`s, for signatures that take those, or JSON as
TensorFlow Serving's REST API takes it: `{"instances": [...]}`, a list of instances, or one
instance on each line. An instance is a value, or an object with a value for each input; bytes are
written as `{"b64": "..."}`.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfx_registry.tfrecord import parse_records

__all__ = ["main", "predict", "read_examples"]


def read_examples(path: Path) -> list[Any]:
    """Reads examples.

    Args:
        path: A file of JSON or TFRecord.

    Returns:
        The instances; those of a TFRecord file are bytes.

    Raises:
        ValueError: It is neither, or holds no example.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8").strip()
        found = _parse_json(text) if text[:1] in ("{", "[", '"', *"-0123456789") else None
    except UnicodeDecodeError:
        found = None
    if found is None:
        found = list(parse_records(content))
    if not found:
        raise ValueError("it holds no example")
    return [_decode(instance) for instance in found]


def _parse_json(text: str) -> list[Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(found, dict) and "instances" in found:
        found = found["instances"]
    return found if isinstance(found, list) else [found]


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"b64"}:
            return base64.b64decode(value["b64"], validate=True)
        return {name: _decode(part) for name, part in value.items()}
    return [_decode(part) for part in value] if isinstance(value, list) else value


def predict(model: Path, examples: Sequence[Any], signature: str) -> dict[str, list[int]]:
    """Asks a model.

    Args:
        model: The SavedModel directory.
        examples: The instances, sent as one batch.
        signature: Which signature is asked.

    Returns:
        The shape of each output.

    Raises:
        ValueError: The model has no such signature, the examples do not fit it, or what came out
            is not a finite number.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(str(model))
    if signature not in loaded.signatures:
        known = ", ".join(sorted(loaded.signatures)) or "none"
        raise ValueError(f"it has no signature {signature!r}; it has {known}")
    function = loaded.signatures[signature]
    inputs = function.structured_input_signature[1]
    columns = _columns(examples, sorted(inputs))
    outputs = function(
        **{name: tf.constant(column, inputs[name].dtype) for name, column in columns.items()}
    )
    for name, value in outputs.items():
        if value.dtype.is_floating and not bool(tf.reduce_all(tf.math.is_finite(value))):
            raise ValueError(f"its output {name!r} holds NaN or infinity")
    return {name: value.shape.as_list() for name, value in sorted(outputs.items())}


def _columns(examples: Sequence[Any], inputs: Sequence[str]) -> dict[str, list[Any]]:
    if all(isinstance(example, dict) for example in examples):
        for example in examples:
            if set(example) != set(inputs):
                raise ValueError(
                    f"an example has the values {sorted(example)}, and the signature takes "
                    f"{list(inputs)}"
                )
        return {name: [example[name] for example in examples] for name in inputs}
    if len(inputs) != 1:
        raise ValueError(f"the signature takes {list(inputs)}, and an example is one value")
    return {inputs[0]: list(examples)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program.

    Args:
        arguments: The command line; None means that of the process.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("examples", type=Path)
    parser.add_argument("--signature", default="serving_default")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a training beside it may need all of the GPU
    try:
        examples = read_examples(options.examples)
        shapes = predict(options.model, examples, options.signature)
    except Exception as error:  # noqa: BLE001 - whatever TensorFlow raises, it did not predict
        text = " ".join(str(error).split())[:500]
        sys.stderr.write(f"\n{type(error).__name__}: {text}\n")
        return 1
    sys.stdout.write(json.dumps({"examples": len(examples), "outputs": shapes}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
