"""How the emulator loads a version: by checking it, or with TensorFlow in another process."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any, Protocol

from tfx_registry.errors import InvalidModelError
from tfx_registry.saved_model import SAVED_MODEL_FILE, SERVE_TAG, read_metagraph
from tfx_registry.serving import check_servable
from tfx_registry.testing.model_server.files import local

__all__ = ["LoadError", "Loaded", "Loader", "TensorFlowLoader", "ValidatingLoader"]

_logger = logging.getLogger(__name__)


class LoadError(Exception):
    """A version cannot be loaded, or does not answer.

    Attributes:
        code: Name of the error (tensorflow/core/protobuf/error_codes.proto).
        message: The error in words.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class Loaded(Protocol):
    """A version in memory."""

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answers the JSON of a `:predict` request; raises LoadError where it cannot."""

    def unload(self) -> None:
        """Lets go of it."""


class Loader(Protocol):
    """Loads versions."""

    def load(self, path: str) -> Loaded:
        """Loads the SavedModel at a path; raises LoadError where that fails."""

    def close(self) -> None:
        """Lets go of everything."""


class _Checked:
    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        raise LoadError(
            "UNIMPLEMENTED", "the emulator only checks models; start it with --load tensorflow"
        )

    def unload(self) -> None:
        """Nothing is in memory."""


class ValidatingLoader:
    """Loads nothing, and fails where TensorFlow Serving would fail to load.

    Where the index of the variables is missing, TensorFlow Serving loads the model without an
    error, uninitialised; so does this one, and notes the path.

    Attributes:
        uninitialised: Paths of models that a server would serve with variables of no value.
    """

    def __init__(self) -> None:
        self.uninitialised: list[str] = []

    def load(self, path: str) -> Loaded:
        """Checks a SavedModel; raises LoadError where a server could not load it."""
        try:
            with local(path) as folder:
                return self._check(path, folder)
        except OSError as error:
            raise LoadError("UNAVAILABLE", str(error)) from error

    def _check(self, path: str, folder: Path) -> Loaded:
        if not (folder / SAVED_MODEL_FILE).is_file():
            raise LoadError(
                "NOT_FOUND",
                "Could not find SavedModel .pb or .pbtxt at supplied export directory path: "
                f"{path}",
            )
        try:
            tags, _, _ = read_metagraph(folder)
        except InvalidModelError as error:
            raise LoadError("DATA_LOSS", f"Can't parse {path}/{SAVED_MODEL_FILE}") from error
        if SERVE_TAG not in tags:
            raise LoadError(
                "NOT_FOUND",
                f"Could not find meta graph def matching supplied tags: {{ serve }} {path}",
            )
        if not (folder / "variables" / "variables.index").is_file():
            if (folder / "variables").is_dir() and any((folder / "variables").iterdir()):
                self.uninitialised.append(path)
            return _Checked()
        try:
            check_servable(folder)
        except InvalidModelError as error:
            raise LoadError("DATA_LOSS", error.why) from error
        return _Checked()

    def close(self) -> None:
        """Nothing is in memory."""


class TensorFlowLoader:
    """Loads versions with TensorFlow, in one process beside this one, started when needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def load(self, path: str) -> Loaded:
        """Loads a SavedModel; raises LoadError with TensorFlow's words where that fails."""
        key = uuid.uuid4().hex
        self._ask({"do": "load", "key": key, "path": path})
        return _InTensorFlow(self, key)

    def close(self) -> None:
        """Ends the process."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            process = self._process
            if process is None or process.poll() is not None:
                process = self._process = subprocess.Popen(
                    [sys.executable, "-m", "tfx_registry.testing.model_server.worker"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(json.dumps(question) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except OSError:
                line = ""
        if not line:
            raise LoadError("INTERNAL", "the process that runs TensorFlow has ended")
        answer: dict[str, Any] = json.loads(line)
        if "code" in answer:
            raise LoadError(answer["code"], answer["message"])
        return answer


class _InTensorFlow:
    def __init__(self, loader: TensorFlowLoader, key: str) -> None:
        self._loader, self._key = loader, key

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._loader._ask({"do": "predict", "key": self._key, "request": request})

    def unload(self) -> None:
        try:
            self._loader._ask({"do": "unload", "key": self._key})
        except LoadError as error:
            _logger.info("unloading: %s", error)
