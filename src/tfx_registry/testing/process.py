"""Server processes for tests: a folder, a free port, and an end that comes for sure."""

from __future__ import annotations

import abc
import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

__all__ = ["LOOPBACK", "DatabaseServer", "Startable", "dies_with_this", "find_program", "free_port"]

LOOPBACK = "127.0.0.1"

_START_SECONDS = 120.0
_STOP_SECONDS = 60.0
_PORT_TRIES = 5
#: Below the ports that systems give to outgoing connections (Linux: from 32768, others: 49152), so
#: that a server which is killed finds its port free again.
_PORTS = range(15_000, 32_000)
_USERS = ("postgres", "mysql", "nobody")

Self = TypeVar("Self", bound="Startable")


def free_port() -> int:
    """Returns a port of the loopback interface that nobody uses now."""
    for port in secrets.SystemRandom().sample(_PORTS, 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def find_program(names: Sequence[str], folders: Sequence[str], package: str) -> str:
    """Finds a server program.

    Args:
        names: Its possible names, the best first.
        folders: Where to look besides PATH, the best first.
        package: The Debian package that brings it.

    Returns:
        The path of the program.

    Raises:
        FileNotFoundError: It is not installed. The message names the package.
    """
    path = os.pathsep.join([*folders, os.environ.get("PATH", os.defpath), "/usr/sbin"])
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    raise FileNotFoundError(
        f"the program {names[0]!r} is missing: install the Debian package {package!r} "
        f"(as root: apt-get install --no-install-recommends {package})"
    )


def dies_with_this(*options: str) -> list[str]:
    """Returns what to put before a command so that it ends with the thread that started it.

    Args:
        *options: More options for `setpriv`.

    Returns:
        The beginning of the command; nothing where the system cannot do that.
    """
    return ["setpriv", "--pdeathsig", "KILL", *options, "--"] if sys.platform == "linux" else []


class Startable(abc.ABC):
    """What is started and ended; as a context it is both."""

    @abc.abstractmethod
    def start(self) -> None:
        """Starts it, and waits until it can be used."""

    @abc.abstractmethod
    def close(self) -> None:
        """Ends it, and removes what it left."""

    def __enter__(self: Self) -> Self:
        """Starts it; a start that fails leaves nothing behind."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends it, and removes what it left."""
        self.close()


class DatabaseServer(Startable):
    """A private database server on a free port of the loopback interface.

    Its data lives in a temporary folder that is removed with it. Where the tests run as root, the
    server runs as a system user without rights, because database servers refuse to run as root.
    It ends with the process that started it, even when that one is killed.

    Attributes:
        port: The port.
        user: The database user that a registry connects as.
        password: Its password, new with each server.
        folder: The data folder.
    """

    user = "tfx"
    scheme = ""
    refuses_root = True
    stop_signal = signal.SIGTERM
    close_signal = signal.SIGKILL
    # What a new server says while processes of a killed one are still ending; "" for nothing.
    ending = ""

    def __init__(self, options: Sequence[str] = (), *, max_file_bytes: int | None = None) -> None:
        """Makes the folder; `start` does the rest.

        Args:
            options: More options for the server program.
            max_file_bytes: No file of the server may grow larger: like a disk that is full.
        """
        self._options = list(options)
        self._max_file_bytes = max_file_bytes
        self.port = free_port()
        self.password = secrets.token_hex(12)
        self.folder = Path(tempfile.mkdtemp(prefix=f"tfx-registry-{self.scheme}-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._initialized = False
        self._system_user = _system_user() if self.refuses_root else None
        if self._system_user:
            shutil.chown(self.folder, self._system_user)

    # What each kind of server says

    @abc.abstractmethod
    def _initialize(self) -> None:
        """Makes the data folder, while no server runs."""

    @abc.abstractmethod
    def _command(self) -> Sequence[str]:
        """Returns the command that serves in the foreground."""

    @abc.abstractmethod
    def _is_ready(self) -> bool:
        """Tells whether the server answers."""

    def _prepare(self) -> None:
        """Makes users, once, while the server runs."""

    # Life

    def start(self) -> None:
        """Starts the server and waits until it answers; also after `kill` and `stop`.

        Call it from a thread that lives on: the server ends with the thread that started it.

        Raises:
            RuntimeError: It does not come up. The message ends with what the server said.
        """
        if self._process is not None:
            return
        first = not self._initialized
        if first:
            self._initialize()
            self._initialized = True
        deadline = time.monotonic() + _START_SECONDS
        ports = _PORT_TRIES if first else 1
        while True:
            try:
                self._serve()
                break
            except RuntimeError as error:
                if self.ending and self.ending in str(error) and time.monotonic() < deadline:
                    time.sleep(0.1)
                    continue
                ports -= 1
                if not ports or not re.search(r"in use|bind", str(error), re.IGNORECASE):
                    raise
                self.port = free_port()  # somebody else was faster to take the other
        if first:
            self._prepare()

    def _serve(self) -> None:
        """Starts the program and waits until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._as_user([*self._limit(), *self._command(), *self._options]),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
            )  # fmt: skip
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
                self.kill()
                raise RuntimeError(f"the {self.scheme} server did not start:\n{said}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Ends the server the hard way (SIGKILL): what it acknowledged must still be there."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends the server in order."""
        self._end(self.stop_signal)

    def close(self) -> None:
        """Ends the server at once and removes its folder."""
        self._end(self.close_signal)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        # The server's own processes too: PostgreSQL's go on for a while without the first one.
        children = _children(process.pid) if number is signal.SIGKILL else []
        process.send_signal(number)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_SECONDS)

    # Use

    def uri(self, database: str) -> str:
        """Returns the registry URI of a database."""
        return f"{self.scheme}://{self.user}@{LOOPBACK}:{self.port}/{database}"

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _limit(self) -> list[str]:
        limit = self._max_file_bytes
        return [] if limit is None else ["prlimit", f"--fsize={limit}", "--"]

    def _as_user(self, command: Sequence[str]) -> list[str]:
        """Lets a command run without rights, and end with this process, where the system can."""
        user = []
        if self._system_user:
            group = str(pwd.getpwnam(self._system_user).pw_gid)
            user = ["--reuid", self._system_user, "--regid", group, "--clear-groups"]
        return [*dies_with_this(*user), *command]

    def _run(
        self, command: Sequence[str], text: str = "", variables: Mapping[str, str] | None = None
    ) -> str:
        """Runs a helper program to its end and returns what it printed.

        Raises:
            RuntimeError: It failed. The message ends with what it said.
        """
        done = subprocess.run(
            self._as_user(command), input=text, capture_output=True, text=True, cwd="/",
            timeout=_START_SECONDS, check=False, env={**os.environ, **(variables or {})},
        )  # fmt: skip
        if done.returncode:
            said = (done.stdout + done.stderr)[-2000:]
            raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{said}")
        return done.stdout


def _system_user() -> str | None:
    """Returns whom to be instead of root, or None where this is not root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _USERS if name in known)


def _children(pid: int) -> list[int]:
    """Returns the processes that a process has started, where the system tells."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []
