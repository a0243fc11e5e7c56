"""The process that loads and runs models with TensorFlow for the emulator.

It reads one JSON object per line and answers each with one: `load`, `predict` or `unload`. The
shape of a prediction's request and answer is that of TensorFlow Serving's REST API
(tensorflow_serving/util/json_tensor.h): `instances` and `predictions` by row, `inputs` and
`outputs` by column; bytes are `{"b64": "..."}`.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import sys
from typing import Any, TextIO

__all__ = ["main"]


class Models:
    """The models in memory."""

    def __init__(self) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        self._tf: Any = importlib.import_module("tensorflow")
        self._models: dict[str, Any] = {}

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Does what was asked; errors become an object with code and message."""
        try:
            key = question["key"]
            if question["do"] == "load":
                self._models[key] = self._tf.saved_model.load(question["path"], tags=["serve"])
                return {}
            if question["do"] == "unload":
                self._models.pop(key, None)
                return {}
            return self._predict(self._models[key], question["request"])
        except (
            self._tf.errors.OpError,
            OSError,
            ValueError,
            TypeError,
            KeyError,
            RuntimeError,
        ) as e:
            return {"code": _code(e), "message": str(e) or type(e).__name__}

    def _predict(self, model: Any, request: dict[str, Any]) -> dict[str, Any]:
        name = request.get("signature_name", "serving_default")
        if name not in model.signatures:
            raise ValueError(f'Serving signature name: "{name}" not found in signature def')
        signature = model.signatures[name]
        specs = signature.structured_input_signature[1]
        by_row = "instances" in request
        if by_row == ("inputs" in request):
            raise ValueError("JSON Value: needs 'instances' or 'inputs', and not both")
        columns = _columns(request["instances"]) if by_row else request["inputs"]
        if not isinstance(columns, dict):
            if len(specs) != 1:
                raise ValueError("the signature has several inputs: name each")
            columns = {next(iter(specs)): columns}
        tensors = {
            key: self._tf.constant(_decode(value), dtype=specs[key].dtype)
            for key, value in columns.items()
        }
        outputs = {key: _encode(value.numpy()) for key, value in signature(**tensors).items()}
        if not by_row:
            return {"outputs": next(iter(outputs.values())) if len(outputs) == 1 else outputs}
        count = len(request["instances"])
        if len(outputs) == 1:
            return {"predictions": next(iter(outputs.values()))}
        for key, value in outputs.items():
            if not isinstance(value, list) or len(value) != count:
                raise ValueError(f"Tensor name: {key} has no batch size of {count}")
        return {
            "predictions": [
                {key: value[row] for key, value in outputs.items()} for row in range(count)
            ]
        }


def _columns(rows: list[Any]) -> Any:
    if rows and isinstance(rows[0], dict) and "b64" not in rows[0]:
        return {key: [row[key] for row in rows] for key in rows[0]}
    return rows


def _decode(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(value["b64"])
    return [_decode(item) for item in value] if isinstance(value, list) else value


def _encode(array: Any) -> Any:
    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(item) for item in value]
        if isinstance(value, bytes):
            try:
                return value.decode("utf-8")
            except UnicodeDecodeError:
                return {"b64": base64.b64encode(value).decode("ascii")}
        return value

    return plain(array.tolist() if hasattr(array, "tolist") else array)


def _code(error: Exception) -> str:
    number = getattr(error, "error_code", None)
    names = {3: "INVALID_ARGUMENT", 5: "NOT_FOUND", 9: "FAILED_PRECONDITION", 15: "DATA_LOSS"}
    if number is not None:
        return names.get(int(number), "INTERNAL")
    return "NOT_FOUND" if isinstance(error, OSError) else "INVALID_ARGUMENT"


def main(questions: TextIO, answers: TextIO) -> None:
    """Answers until there are no more questions."""
    models = Models()
    for line in questions:
        answers.write(json.dumps(models.answer(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    # What TensorFlow prints must not get between the answers.
    with os.fdopen(os.dup(1), "w") as channel:
        os.dup2(2, 1)
        main(sys.stdin, channel)
