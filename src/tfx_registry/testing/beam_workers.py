"""Beam workers on this machine for tests and measurements: a Dask cluster, and a portable runner.

Each is made of processes that speak over the loopback interface, as they would between machines,
and is gone with the process that started it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tfx_registry.testing.process import LOOPBACK, Startable, dies_with_this, free_port

__all__ = ["IN_PROCESS", "DaskCluster", "PortableRunner"]

#: Options of Beam for a pipeline that needs no workers. TFX would pack itself up for them, once in
#: each component, unless they have an image.
IN_PROCESS = (
    "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",
    "--sdk_container_image=unused",
)

_START_SECONDS = 180.0
_STOP_SECONDS = 20.0
_LOG_CHARACTERS = 2000


class _Processes(Startable):
    """Processes with a folder in common, started together and ended together."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tfx-registry-beam-"))
        self._started: list[subprocess.Popen[bytes]] = []

    def _run(self, name: str, arguments: Sequence[str]) -> None:
        """Starts one of them; what it says goes to a file of its name."""
        environment = {**os.environ}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        # Beam's pool of workers starts "python".
        programs = str(Path(sys.executable).parent)
        environment["PATH"] = os.pathsep.join([programs, environment.get("PATH", os.defpath)])
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*dies_with_this(), sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
            )  # fmt: skip
        self._started.append(process)

    def _wait_for_port(self, port: int) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not _listens(port):
            self.check(time.monotonic() > deadline)
            time.sleep(0.05)

    def check(self, too_late: bool = False) -> None:
        """Raises a RuntimeError with what they said if one has ended, or if it is too late."""
        if too_late or any(process.poll() is not None for process in self._started):
            said = "\n".join(
                f"{file.name}: {file.read_text(errors='replace')[-_LOG_CHARACTERS:]}"
                for file in sorted(self.folder.glob("*.log"))
            )
            raise RuntimeError(f"the processes did not come up:\n{said}")

    def close(self) -> None:
        """Ends them, the last first, and removes the folder."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in reversed(self._started):
                if process.poll() is None:
                    process.send_signal(number)
                    try:
                        process.wait(_STOP_SECONDS)
                    except subprocess.TimeoutExpired:
                        continue
        self._started.clear()
        shutil.rmtree(self.folder, ignore_errors=True)


class DaskCluster(_Processes):
    """A Dask scheduler and workers, each a process of its own with one thread.

    Attributes:
        address: The scheduler's address.
        beam_args: What makes a component compute there.
    """

    def __init__(self, workers: int = 2) -> None:
        """Makes the folder; entering the context starts the processes.

        Args:
            workers: How many workers.
        """
        super().__init__()
        self._workers = workers
        self._port = free_port()
        self.address = f"tcp://{LOOPBACK}:{self._port}"
        self.beam_args = [
            "--runner=tfx_registry.components.dask_workers.DaskWorkersRunner",
            f"--dask_client_address={self.address}",
        ]

    def start(self) -> None:
        """Starts scheduler and workers, and waits until all have joined."""
        listen = ["--host", LOOPBACK, "--port", str(self._port), "--no-dashboard"]
        self._run("scheduler", ["dask", "scheduler", *listen])
        self._wait_for_port(self._port)
        for number in range(self._workers):
            join = ["--host", LOOPBACK, "--nthreads", "1", "--no-dashboard", "--no-nanny"]
            place = ["--local-directory", str(self.folder)]
            self._run(f"worker-{number}", ["dask", "worker", self.address, *join, *place])
        if not self._workers:
            return
        from distributed import Client

        deadline = time.monotonic() + _START_SECONDS
        with Client(self.address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            while len(client.nthreads()) < self._workers:
                self.check(time.monotonic() > deadline)
                time.sleep(0.05)


class PortableRunner(_Processes):
    """Beam's own job service and its pool of workers, for `--runner=PortableRunner`.

    Attributes:
        beam_args: What makes a component compute there.
    """

    def __init__(self) -> None:
        """Makes the folder; entering the context starts the processes."""
        super().__init__()
        self._jobs, self._pool = free_port(), free_port()
        while self._pool == self._jobs:
            self._pool = free_port()
        self.beam_args = [
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{self._jobs}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{self._pool}",
        ]

    def start(self) -> None:
        """Starts both, and waits until they listen."""
        jobs = "apache_beam.runners.portability.local_job_service_main"
        pool = "apache_beam.runners.worker.worker_pool_main"
        staging = ["--staging_dir", str(self.folder / "staging")]
        self._run("jobs", [jobs, "--port", str(self._jobs), *staging])
        self._run("pool", [pool, "--service_port", str(self._pool)])
        self._wait_for_port(self._jobs)
        self._wait_for_port(self._pool)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=5).close()
    except OSError:
        return False
    return True
