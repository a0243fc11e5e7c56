"""A Beam runner on the workers of a Dask cluster, for whatever a component computes with Beam.

    beam_pipeline_args=[
        "--runner=tfx_registry.components.dask_workers.DaskWorkersRunner",
        "--dask_client_address=tcp://scheduler:8786",
    ]

Beam's own DaskRunner turns a pipeline into Dask's operations, and loses parts of it on the way: it
has no sources, mixes tagged outputs and computes only the last of several sinks
(apache_beam/runners/dask/). Here Beam's own in-process runner keeps the plan, and only the workers,
which read the examples and compute, are elsewhere: Dask starts Beam's stock worker program on its
machines, and the workers speak Beam's Fn API with the runner. What runs locally runs there.

What the runner's process holds in memory is what passes between stages. With TFMA these are names
of files and accumulators of metrics, not examples.

The connections are plain text and carry code, like those of Dask and Beam themselves: for a trusted
network only.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_fn_api_pb2, endpoints_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner, worker_handlers
from apache_beam.transforms import environments
from google.protobuf import text_format

from tfx_registry.errors import InvalidInputError

__all__ = ["DaskWorkersOptions", "DaskWorkersRunner"]

_logger = logging.getLogger(__name__)

#: Of an environment in the sense of Beam's model: where the code of a pipeline runs.
_URN = "tfx_registry:env:dask_worker:v1"
_CONNECT_SECONDS = 30
_LOOK_SECONDS = 0.5
_LEAVE_SECONDS = 30.0
_LOG_BYTES = 2000


class DaskWorkersOptions(PipelineOptions):
    """What the runner reads of `beam_pipeline_args`, besides Beam's `--dask_client_address`."""

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        parser.add_argument(
            "--dask_num_workers",
            type=int,
            default=0,
            help="Beam workers to start on the Dask cluster; 0: one for each of its threads.",
        )
        parser.add_argument(
            "--dask_runner_host",
            default="",
            help="Name or address of this machine as the Dask workers see it; empty: the address "
            "from which the scheduler is reached.",
        )


class DaskWorkersRunner(fn_runner.FnApiRunner):  # type: ignore[misc, unused-ignore]
    """Beam's in-process runner with its workers on a Dask cluster."""

    def run_pipeline(self, pipeline: Any, options: Any) -> Any:
        """Runs a pipeline to its end.

        Args:
            pipeline: The Beam pipeline.
            options: Its options; see `DaskWorkersOptions`.

        Returns:
            Beam's result of the run.

        Raises:
            InvalidInputError: There is no cluster or it has no workers. RuntimeError if a worker
                was lost, and whatever the pipeline's own code raises.
        """
        # Beam's flag has its home there. The module needs Dask, which is an extra.
        from apache_beam.runners.dask.dask_runner import DaskOptions

        chosen = options.view_as(DaskWorkersOptions)
        given = options.view_as(DaskOptions)
        address = given.address
        if not address:
            raise InvalidInputError(
                "cannot run on Dask",
                "no scheduler is named",
                "add --dask_client_address=tcp://HOST:PORT to beam_pipeline_args",
            )
        client = _connect(address, given.timeout)
        try:
            slots = _slots(client, address)
            self._dask_num_workers = chosen.dask_num_workers or len(slots)
            place = {
                "scheduler": address,
                "slots": slots,
                "host": chosen.dask_runner_host or _own_address(address),
                "options": _options_of_workers(options, (DaskOptions, DaskWorkersOptions)),
            }
            self._default_environment = DaskWorkerEnvironment(json.dumps(place, default=str))
            _logger.info("%d Beam workers on Dask at %s", self._dask_num_workers, address)
            return super().run_pipeline(pipeline, options)
        finally:
            client.close()

    def run_via_runner_api(self, pipeline_proto: Any, options: Any) -> Any:
        """Runs a pipeline that is a message already; called by `run_pipeline`.

        Args:
            pipeline_proto: The pipeline.
            options: Its options.

        Returns:
            Beam's result of the run.
        """
        self._num_workers = self._dask_num_workers
        return super().run_via_runner_api(pipeline_proto, options)


def _connect(address: str, timeout_seconds: Any = None) -> Any:
    from distributed import Client

    timeout = timeout_seconds if isinstance(timeout_seconds, int) else _CONNECT_SECONDS
    try:
        return Client(address, timeout=timeout, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise InvalidInputError(
            f"cannot run on Dask at {address!r}",
            f"{error}"[:300] or "no answer",
            "start the scheduler, or correct --dask_client_address",
        ) from error


def _options_of_workers(options: Any, foreign: Iterable[Any]) -> dict[str, Any]:
    """Returns what a worker is to know: all options but those that only the runner understands."""
    known = options.get_all_options(drop_default=True)
    for kind in foreign:
        for name in options.view_as(kind).get_all_options(current_only=True):
            known.pop(name, None)
    return dict(known)


def _slots(client: Any, address: str) -> list[str]:
    """Lists the addresses of the cluster's workers, each as often as it has threads.

    All workers come once before one comes again, so that few Beam workers are spread out.
    """
    threads = {worker: int(count) for worker, count in sorted(client.nthreads().items())}
    slots = [
        worker
        for turn in range(max(threads.values(), default=0))
        for worker, count in threads.items()
        if turn < count
    ]
    if not slots:
        raise InvalidInputError(
            f"cannot run on Dask at {address!r}",
            "the cluster has no workers",
            "start some with `dask worker`, or wait until they have joined",
        )
    return slots


def _own_address(scheduler: str) -> str:
    """Finds the address from which this machine reaches another; nothing is sent for that."""
    host = urlsplit(scheduler if "//" in scheduler else f"//{scheduler}").hostname or ""
    try:
        family, kind, _, _, target = socket.getaddrinfo(host, 1, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(target)
            own = str(probe.getsockname()[0])
    except OSError:
        return socket.getfqdn()
    return f"[{own}]" if ":" in own else own


@environments.Environment.register_urn(_URN, bytes)  # type: ignore[untyped-decorator, unused-ignore]
class DaskWorkerEnvironment(environments.Environment):  # type: ignore[misc, unused-ignore]
    """Says in a pipeline that its code runs on Dask.

    Attributes:
        place: Which cluster, and how; JSON.
    """

    def __init__(
        self,
        place: str,
        capabilities: Iterable[str] | None = None,
        artifacts: Iterable[Any] = (),
        resource_hints: Mapping[str, bytes] | None = None,
    ) -> None:
        if capabilities is None:
            capabilities = environments.python_sdk_capabilities()
        super().__init__(capabilities, artifacts, resource_hints)
        self.place = place

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        """Beam's way of writing it down."""
        return _URN, self.place.encode()

    @staticmethod
    def from_runner_api_parameter(
        payload: bytes,
        capabilities: Iterable[str],
        artifacts: Iterable[Any],
        resource_hints: Mapping[str, bytes],
        context: Any,
    ) -> DaskWorkerEnvironment:
        """Beam's way of reading it."""
        return DaskWorkerEnvironment(payload.decode(), capabilities, artifacts, resource_hints)


@worker_handlers.WorkerHandler.register_environment(_URN, bytes)  # type: ignore[untyped-decorator, unused-ignore]
class DaskWorkerHandler(worker_handlers.GrpcWorkerHandler):  # type: ignore[misc, unused-ignore]
    """Starts one Beam worker on the Dask cluster, and ends what waits for it if it is lost."""

    def __init__(self, payload: bytes, state: Any, provision_info: Any, grpc_server: Any) -> None:
        self._place = json.loads(payload)
        super().__init__(state, provision_info, grpc_server)
        self._closed = threading.Event()
        self._lost = ""

    def host_from_worker(self) -> str:
        """Returns this machine's address as a worker sees it."""
        return str(self._place["host"])

    def start_worker(self) -> None:
        """Starts the worker; whoever gives it work waits until it has come."""
        # worker_0, worker_1, ...
        number = int(self.worker_id.rpartition("_")[2])
        slots = self._place["slots"]
        self._address = slots[number % len(slots)]
        self._client = _connect(self._place["scheduler"])
        self._future = self._client.submit(
            run_worker,
            {
                "CONTROL_API_SERVICE_DESCRIPTOR": _descriptor(self.control_address),
                "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(
                    self.logging_api_service_descriptor()
                ),
                "PIPELINE_OPTIONS": json.dumps({"options": self._place["options"]}),
                "WORKER_ID": self.worker_id,
            },
            workers=[self._address],
            allow_other_workers=False,
            pure=False,
            retries=0,
        )
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def close(self) -> None:
        """Ends the connections, and with them the worker."""
        try:
            super().close()
        finally:
            self.stop_worker()

    def stop_worker(self) -> None:
        """Waits until the worker has ended, unless it is lost."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._watcher.join()
        try:
            if not self._lost:
                self._future.exception(timeout=_LEAVE_SECONDS)
        except Exception as error:  # noqa: BLE001 - the work is done; nothing is lost with it
            _logger.info("left %s on %s: %s", self.worker_id, self._address, error)
        finally:
            self._future.cancel()
            self._client.close()

    def _watch(self) -> None:
        """Answers in the worker's place once it is lost: Beam would wait for it forever."""
        while not self._closed.wait(_LOOK_SECONDS):
            self._lost = self._lost or self._loss()
            if self._lost:
                self._fail_everything(self._lost)

    def _loss(self) -> str:
        if self._future.done():
            error = None if self._future.cancelled() else self._future.exception()
            cause = f"{error}" if error else "it ended early"
        elif self._client.status not in ("running", "connecting"):
            cause = "the Dask scheduler is gone"
        elif self._address not in self._client.nthreads():
            cause = "its Dask worker is gone"
        else:
            return ""
        return (
            f"Beam's {self.worker_id} on the Dask worker {self._address} was lost: {cause}; "
            "run the component again once the cluster is whole"
        )

    def _fail_everything(self, message: str) -> None:
        pending = self.control_conn._futures_by_id
        for identifier in list(pending):
            future = pending.pop(identifier, None)
            if future is not None:
                future.set(
                    beam_fn_api_pb2.InstructionResponse(instruction_id=identifier, error=message)
                )


def _descriptor(url: str) -> str:
    return str(text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=url)))


def run_worker(environment: Mapping[str, str]) -> None:
    """Runs Beam's worker program to its end, on a machine of the Dask cluster.

    A process of its own: TensorFlow does not hold up Dask, and nothing of a pipeline stays behind.

    Args:
        environment: What the program reads from its environment.

    Raises:
        RuntimeError: It failed; the message has the end of what it said.
    """
    from distributed import secede

    # It takes as long as the pipeline: Dask shall not count it as one of its own threads.
    secede()  # type: ignore[no-untyped-call]
    with tempfile.TemporaryFile() as log:
        process = subprocess.run(
            [sys.executable, "-m", "apache_beam.runners.worker.sdk_worker_main"],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        )
        if process.returncode:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_BYTES))
            said = log.read().decode(errors="replace").strip()
            raise RuntimeError(f"it ended with {process.returncode} and said: {said}")
