"""A last check before a version becomes visible: it loads, and predicts on given examples."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from tfx_registry import codec
from tfx_registry.errors import InvalidInputError, RefusedError
from tfx_registry.serving.subprocesses import run_module

__all__ = ["SmokeTest"]

_logger = logging.getLogger(__name__)
_MODULE = "tfx_registry.components.smoke_prediction"


@dataclass(frozen=True)
class SmokeTest:
    """Asks a model for predictions, in a process of its own; the `check` of a promotion.

    It needs TensorFlow in the environment of the caller. A version that a server sees already is
    not asked again.

    Attributes:
        examples: A TFRecord file of `tf.Example`s, or a file of JSON instances as TensorFlow
            Serving's REST API takes them.
        signature: Which signature is asked.
        timeout_seconds: A model that takes longer, with loading TensorFlow, fails.
    """

    examples: str
    signature: str = "serving_default"
    timeout_seconds: float = 300.0

    def to_json(self) -> str:
        """Writes the options as JSON text."""
        return codec.dumps(self)

    @classmethod
    def from_json(cls, text: str) -> SmokeTest:
        """Reads what `to_json` wrote.

        Raises:
            InvalidInputError: It is something else.
        """
        try:
            return codec.decode(cls, json.loads(text), strict=True)
        except ValueError as error:
            raise InvalidInputError("invalid smoke test", str(error), "correct it") from error

    def __call__(self, model: Path) -> None:
        """Asks a model.

        Args:
            model: The SavedModel directory, as it will be served.

        Raises:
            InvalidInputError: There is no such file of examples.
            RefusedError: The model could not be loaded, did not answer in time, or what it
                answered is not a finite number.
        """
        examples = Path(self.examples)
        if not examples.is_file():
            raise InvalidInputError(
                f"cannot ask the model for predictions on {str(examples)!r}",
                "there is no such file",
                "give a TFRecord or JSON file of examples",
            )
        try:
            said = run_module(
                _MODULE,
                [str(model), str(examples), "--signature", self.signature],
                timeout_seconds=self.timeout_seconds,
            )
        except ValueError as error:
            raise RefusedError(
                "cannot publish the model",
                f"asked for predictions on {str(examples)!r} {error}",
                "correct the model, or the examples, and repeat; no version was added",
            ) from error
        _logger.info("smoke prediction: %s", said.strip())
