"""Running commands for the bootstrap tool: progress, the log, one set-up at a time."""

import contextlib
import os
import subprocess
import time
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: choose_lane refuses it with a better message.
    fcntl = None

ROOT = Path(__file__).resolve().parent.parent.parent
STATE = ROOT / ".bootstrap"

# Settings of a caller's shell that would send an installation somewhere else.
FOREIGN_VARIABLES = (
    "CONDA_PREFIX",
    "PYTHONHOME",
    "PYTHONPATH",
    "UV_PROJECT_ENVIRONMENT",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "VIRTUAL_ENV",
)

NETWORK_HINT = (
    "If it is the network: a proxy is set with HTTPS_PROXY, another package index with "
    "UV_DEFAULT_INDEX and PIP_INDEX_URL, own certificates with SSL_CERT_FILE."
)

# Open files of the locks held. Every command inherits them: if this tool is killed and the command
# lives on, the next set-up waits for it instead of working in the same folder.
HELD_LOCKS = []


class SetupError(Exception):
    """Set-up cannot go on. The message says what is missing and how to get it."""


def say(message):
    """Prints one line of progress at once, even into a pipe."""
    print("bootstrap: " + message, flush=True)


@contextlib.contextmanager
def step(label):
    """Says what is being done, and how long it took once it is done."""
    say(label + " ...")
    start = time.time()
    yield
    say("{} took {:.1f} s".format(label, time.time() - start))


def dotted(version):
    """Returns (3, 10) as '3.10'."""
    return ".".join(str(part) for part in version)


def clean_environment():
    """Returns the process environment without what would redirect an installation."""
    return {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES}


def log_path():
    """Returns the file that the output of all commands goes to."""
    return STATE / "setup.log"


def log_text():
    """Returns what the commands have printed so far."""
    try:
        return log_path().read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def tail(text, lines=15):
    """Returns the last lines of a text, indented."""
    return "\n".join("    " + line for line in text.rstrip().splitlines()[-lines:])


def capture(command):
    """Returns the standard output of a quick command, or None if it failed."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=clean_environment()
        )
    except OSError:
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def run_logged(command, environ=None):
    """Runs a command with its output in the log, and a sign of life every 15 seconds.

    Returns:
        The exit code (127 if there is no such program) and what the command printed.
    """
    start = time.time()
    before = len(log_text())
    with log_path().open("ab") as log:
        log.write(("\n$ " + " ".join(command) + "\n").encode("utf-8"))
        log.flush()
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environ or clean_environment(),
                pass_fds=HELD_LOCKS,
            )
        except OSError as error:
            log.write("{}\n".format(error).encode("utf-8"))
            return 127, str(error)
        try:
            while True:
                try:
                    code = process.wait(timeout=15)
                    break
                except subprocess.TimeoutExpired:
                    say("  still running, {:.0f} s".format(time.time() - start))
        except BaseException:
            process.kill()
            process.wait()
            raise
    return code, log_text()[before:]


@contextlib.contextmanager
def only_one(name="lock"):
    """Lets one set-up run at a time; a second one waits for the first."""
    STATE.mkdir(exist_ok=True)
    with (STATE / name).open("w") as lock:
        if fcntl:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                say("another set-up is running, waiting for it ...")
                fcntl.flock(lock, fcntl.LOCK_EX)
        HELD_LOCKS.append(lock.fileno())
        try:
            yield
        finally:
            HELD_LOCKS.remove(lock.fileno())
