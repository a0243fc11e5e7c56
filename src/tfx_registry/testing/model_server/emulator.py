"""The emulator: configuration, labels, polling.

Rules: tensorflow_serving/model_servers/server_core.cc (`ReloadConfig`,
`UpdateModelVersionLabelMap`, `ServableRequestFromModelSpec`) and server.cc (what is polled when).
"""

from __future__ import annotations

import importlib
import logging
import os
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from tfx_registry.testing.model_server.files import is_absolute, read_text
from tfx_registry.testing.model_server.loaders import Loaded, Loader, LoadError, ValidatingLoader
from tfx_registry.testing.model_server.manager import Manager, Status
from tfx_registry.testing.model_server.rest import RestServer
from tfx_registry.testing.model_server.source import (
    MissingBasePathError,
    ModelConfig,
    aspired_versions,
)

__all__ = ["ModelServerEmulator", "ModelServerStartError"]

_logger = logging.getLogger(__name__)


class ModelServerStartError(Exception):
    """A model server with this configuration, or these models, would end at its start."""


class ModelServerEmulator:
    """An emulator of one model server. It is not TensorFlow Serving; see the package.

    Use `start` for a server that polls in a thread of its own; or only `poll_once`, which does one
    poll of the config file and of the file system and everything that follows from it, for tests
    that want to know what has happened when.

    Attributes:
        url: Where the REST API listens, on the loopback interface, once the first models are there.
        errors: What a server would have written into its log as errors.
    """

    def __init__(
        self,
        *,
        model_name: str = "default",
        model_base_path: str | os.PathLike[str] | None = None,
        model_config_file: str | os.PathLike[str] | None = None,
        rest_api_port: int = 0,
        loader: Loader | None = None,
        max_num_load_retries: int = 5,
        load_retry_interval_seconds: float = 60.0,
        file_system_poll_wait_seconds: float = 1.0,
        model_config_file_poll_wait_seconds: float = 0.0,
        allow_version_labels_for_unavailable_models: bool = False,
    ) -> None:
        """Takes the options of `tensorflow_model_server`, with its defaults.

        Args:
            model_name: Name of the model; ignored with a config file.
            model_base_path: Its base path; ignored with a config file.
            model_config_file: A `ModelServerConfig` in text format. Reading it needs the package
                tensorflow-serving-api, which comes with TFX.
            rest_api_port: 0 means a free port, which `url` tells.
            loader: Loads versions; None means `ValidatingLoader`.
            max_num_load_retries: Tries after the first one that failed.
            load_retry_interval_seconds: Pause between them.
            file_system_poll_wait_seconds: Pause between two polls of the base paths; 0 means that
                there is one only.
            model_config_file_poll_wait_seconds: Pause between two polls of the config file; 0 means
                that it is read at the start only.
            allow_version_labels_for_unavailable_models: Whether a label that does not exist yet may
                be given to a version that is not AVAILABLE.

        Raises:
            ModelServerStartError: Neither a base path nor a config file is given.
        """
        if not model_base_path and not model_config_file:
            raise ModelServerStartError("Both model_base_path and model_config_file are empty!")
        self._single = ModelConfig(model_name, os.fspath(model_base_path or ""))
        self._config_file = os.fspath(model_config_file) if model_config_file else None
        self._polls_config = self._config_file is not None and (
            model_config_file_poll_wait_seconds > 0
        )
        self._config_wait_seconds = model_config_file_poll_wait_seconds
        self._wait_seconds = file_system_poll_wait_seconds
        self._allow_new_labels = allow_version_labels_for_unavailable_models
        self._loader = loader or ValidatingLoader()
        self._ending = threading.Event()
        self._manager = Manager(
            self._loader,
            max_num_load_retries=max_num_load_retries,
            load_retry_interval_seconds=load_retry_interval_seconds,
            wait=self._ending.wait,
        )
        self._lock = threading.RLock()
        self._config: tuple[ModelConfig, ...] | None = None
        self._watched: tuple[ModelConfig, ...] = ()
        self._labels: dict[str, dict[str, int]] = {}
        self._started = False
        self._thread: threading.Thread | None = None
        self._start_error: ModelServerStartError | None = None
        self._rest = RestServer(self, rest_api_port)
        self.errors: list[str] = []

    # Life

    def start(self) -> ModelServerEmulator:
        """Begins to poll in a thread. The REST API answers once the first models are there."""
        self._thread = threading.Thread(target=self._run, name="model-server", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Ends everything."""
        self._ending.set()
        # First, because it may be about to open what is closed here.
        if self._thread is not None:
            self._thread.join()
        self._rest.close()
        self._manager.close()
        self._loader.close()

    def wait(self) -> None:
        """Serves until `close`.

        Raises:
            ModelServerStartError: The server could not start.
        """
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(0.2)
        if self._start_error is not None:
            raise self._start_error

    def __enter__(self) -> ModelServerEmulator:
        """Returns the server, not started."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends everything."""
        self.close()

    @property
    def url(self) -> str:
        """Where the REST API listens."""
        return self._rest.url

    def poll_once(self) -> None:
        """Polls the config file and the base paths once, and does what follows from that.

        The first poll is the start: its errors end a server.

        Raises:
            ModelServerStartError: The server would have ended at its start.
        """
        self._poll_config()
        self._poll_file_system()

    def _run(self) -> None:
        config_due = fs_due = 0.0
        first = True
        while not self._ending.is_set():
            now = time.monotonic()
            try:
                if now >= config_due and (first or self._polls_config):
                    self._poll_config()
                    config_due = time.monotonic() + self._config_wait_seconds
                if now >= fs_due and (first or self._wait_seconds > 0):
                    self._poll_file_system()
                    fs_due = time.monotonic() + self._wait_seconds
            except ModelServerStartError as error:
                self._start_error = error
                self._log(str(error))
                return
            first = False
            self._ending.wait(min(0.05, self._wait_seconds or 0.05))

    def _poll_config(self) -> None:
        first = self._config is None
        if not first and not self._polls_config:
            return
        try:
            self._reload(self._read_config())
        except (OSError, ValueError) as error:
            if first:
                raise ModelServerStartError(f"Failed to start server. Error: {error}") from error
            self._log(str(error))

    def _poll_file_system(self) -> None:
        """`PollFileSystemAndInvokeCallback`: one missing base path stops the poll of all models."""
        try:
            found = {model.name: aspired_versions(model) for model in self._watched}
        except (MissingBasePathError, OSError) as error:
            self._log(f"FileSystemStoragePathSource encountered a filesystem access error: {error}")
            self._manager.settle()
            return
        for name, versions in found.items():
            self._manager.aspire(name, versions)
        self._manager.settle()
        if not self._started:
            self._started = self._first_models_are_there()
            if self._started:
                self._rest.open()

    def _first_models_are_there(self) -> bool:
        """`ConnectAdaptersToManagerAndAwaitModelLoads`: each model has a version that ended up."""
        for model in self._watched:
            statuses = self._manager.statuses(model.name)
            if not statuses:
                return False
            if not any(status.state == "AVAILABLE" for status in statuses.values()):
                shown = "; ".join(f"version {n}: {s.error_message}" for n, s in statuses.items())
                raise ModelServerStartError(
                    f"Failed to start server. Error: Unknown: 1 servable(s) did not become "
                    f"available: {{{model.name}: {shown}}}"
                )
        return True

    def _log(self, message: str) -> None:
        _logger.warning("%s", message)
        self.errors.append(message)

    # Configuration

    def _read_config(self) -> tuple[ModelConfig, ...]:
        if self._config_file is None:
            return (self._single,)
        return read_model_server_config(self._config_file)

    def _reload(self, new: tuple[ModelConfig, ...]) -> None:
        """`ReloadConfig`: validates, sets the labels, and only then changes what is watched.

        A label for a version that is not AVAILABLE ends the reload, for all models of the file; it
        is tried again with the next poll.
        """
        names = [model.name for model in new]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"Illegal to list model {name} multiple times in config list")
        for model in new:
            if not is_absolute(model.base_path):
                raise ValueError(
                    f"Expected model {model.name} to have an absolute path or URI; got "
                    f"base_path()={model.base_path}"
                )
            if model.platform != "tensorflow":
                raise ValueError(
                    f"Model {model.name} requests unsupported platform {model.platform}"
                )
        self._config = new
        labels = {model.name: dict(self._check_labels(model)) for model in new if model.labels}
        with self._lock:
            self._labels = labels
        for model in self._watched:
            if model.name not in names:
                self._manager.aspire(model.name, [])
        self._watched = new

    def _check_labels(self, model: ModelConfig) -> Mapping[str, int]:
        statuses = self._manager.statuses(model.name)
        for label, number in model.labels:
            old = self._labels.get(model.name, {}).get(label)
            if self._allow_new_labels and old in (None, number):
                continue
            if number not in statuses or statuses[number].state != "AVAILABLE":
                raise ValueError(
                    f"Request to assign label to version {number} of model {model.name}, which is "
                    "not currently available for inference"
                )
        return dict(model.labels)

    # Asking

    def statuses(self, model: str) -> Mapping[int, Status]:
        """Returns what is known of all versions of a model that were ever tracked, by number."""
        return self._manager.statuses(model)

    def labels(self, model: str) -> Mapping[str, int]:
        """Returns the labels in force for a model."""
        with self._lock:
            return dict(self._labels.get(model, {}))

    def resolve(
        self, model: str, number: int | None = None, label: str | None = None
    ) -> tuple[int, Loaded]:
        """Finds the version that answers a request.

        Args:
            model: The model.
            number: The version, if the request names one.
            label: The label, if it names one.

        Raises:
            LoadError: There is none.
        """
        if label is not None:
            number = self.labels(model).get(label)
            if number is None:
                raise LoadError("INVALID_ARGUMENT", f"Unrecognized servable version label: {label}")
        found = self._manager.available(model, number)
        if found is None:
            wanted = f"Specific({model}, {number})" if number is not None else f"Latest({model})"
            raise LoadError("NOT_FOUND", f"Servable not found for request: {wanted}")
        return found


def read_model_server_config(path: str) -> tuple[ModelConfig, ...]:
    """Reads a config file with TensorFlow Serving's own message definition.

    Args:
        path: The file.

    Returns:
        The models.

    Raises:
        ModuleNotFoundError: The package tensorflow-serving-api is not installed.
        OSError: The file cannot be read.
        ValueError: It cannot be parsed.
    """
    definition: Any = importlib.import_module("tensorflow_serving.config.model_server_config_pb2")
    protobuf_text: Any = importlib.import_module("google.protobuf.text_format")
    config = definition.ModelServerConfig()
    text = read_text(path)
    try:
        protobuf_text.Parse(text, config)
    except protobuf_text.ParseError as error:
        raise ValueError(f"Failed to read ModelServerConfig file: {error}") from error
    return tuple(map(_model_config, config.model_config_list.config))


def _model_config(config: Any) -> ModelConfig:
    policy = config.model_version_policy
    return ModelConfig(
        config.name,
        config.base_path,
        policy.WhichOneof("policy_choice") or "latest",
        policy.latest.num_versions,
        tuple(policy.specific.versions),
        tuple(sorted(config.version_labels.items())),
        config.model_platform,
    )
