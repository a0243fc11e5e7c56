"""Finding uv, or installing it for the bootstrap tool alone."""

import collections
import os
import re
import shutil
import sys
import time

from bootstrapping import packages, running
from bootstrapping.running import NETWORK_HINT, SetupError, capture, log_text, run_logged, say, tail

UV_REQUIREMENT = "uv>=0.5,<1"
UV_MINIMUM = (0, 5)
OLDEST_PIP = 21  # older ones, as of Python 3.8 and before, do not know today's wheel names


def uv_version(path):
    """Returns the version of the uv at a path as a tuple, or None if it does not run."""
    match = re.match(r"uv (\d+)\.(\d+)", capture([path, "--version"]) or "")
    return (int(match.group(1)), int(match.group(2))) if match else None


def find_uv(environ):
    """Returns a usable uv: the one on the path, else the private one, else None."""
    private = str(running.STATE / "uv" / "bin" / "uv")
    for path in (shutil.which("uv", path=environ.get("PATH")), private):
        version = uv_version(path) if path else None
        if version and version >= UV_MINIMUM:
            return path
    return None


def obtain_uv(interpreter, environ):
    """Returns the path of a usable uv, installed if need be."""
    uv = find_uv(environ)
    if uv:
        return uv
    pythons = [interpreter.path] if interpreter else []
    pythons += [path for path in (sys.executable, shutil.which("python3")) if path]
    also_missing = packages.missing_build_packages(interpreter, environ) if interpreter else ()
    return install_uv(list(collections.OrderedDict.fromkeys(pythons)), environ, also_missing)


def install_uv(pythons, environ, also_missing=()):
    """Installs uv below `.bootstrap/` with any of the given interpreters and returns its path.

    Args:
        pythons: Paths of interpreters to try in turn.
        environ: The caller's environment variables.
        also_missing: Debian packages that will be needed later, to be named in the same breath.

    Raises:
        SetupError: None of them can make a virtual environment or has pip, or the download failed.
    """
    start = time.time()
    say("installing uv into {} ...".format(os.path.relpath(str(running.STATE / "uv"))))
    had_pip = any(_install_uv_with(python) for python in pythons)
    if not had_pip and packages.can_apt() and packages.apt_install(["python3-venv"]):
        had_pip = _install_uv_with("/usr/bin/python3")
    path = find_uv(environ)
    if path:
        say("installing uv took {:.1f} s".format(time.time() - start))
        return path
    if had_pip:
        raise SetupError(
            "uv could not be installed with pip:\n{}\n{}".format(tail(log_text()), NETWORK_HINT)
        )
    raise SetupError(
        "uv is not installed, and {} can neither make a virtual environment nor run pip to get "
        "it.\nInstall what is missing and run this again:\n"
        "  - Debian, Ubuntu: sudo apt-get install {}\n"
        "  - any system: uv itself, from your package manager".format(
            pythons[0], " ".join(["python3-venv", *also_missing])
        )
    )


def _install_uv_with(python):
    """Tries to put uv at its private place; returns whether there was a pip to do it with."""
    if find_private_uv():
        return True
    helper, fresh = running.STATE / "pip", running.STATE / "uv.new"
    for folder in (helper, fresh):
        shutil.rmtree(str(folder), ignore_errors=True)
    # Debian splits ensurepip off: there `-m venv` fails unless python3-venv is installed.
    if run_logged([python, "-m", "venv", str(helper)])[0] == 0:
        python = str(helper / "bin" / "python")
        if pip_major_version(python) < OLDEST_PIP:
            run_logged([python, "-m", "pip", "install", "--upgrade", "pip"])
    elif run_logged([python, "-m", "pip", "--version"])[0] != 0:
        shutil.rmtree(str(helper), ignore_errors=True)
        return False
    # uv is a program: saying a Python version lets any pip fetch it, even an older one's.
    command = [python, "-m", "pip", "install", "--target", str(fresh), "--no-deps"]
    command += ["--only-binary", ":all:", "--python-version", "3.12", UV_REQUIREMENT]
    if run_logged(command)[0] == 0 and uv_version(str(fresh / "bin" / "uv")):
        shutil.rmtree(str(running.STATE / "uv"), ignore_errors=True)
        fresh.rename(running.STATE / "uv")
    shutil.rmtree(str(helper), ignore_errors=True)
    return True


def pip_major_version(python):
    """Returns the first number of the version of an interpreter's pip, 0 if it has none."""
    match = re.match(r"pip (\d+)\.", capture([python, "-m", "pip", "--version"]) or "")
    return int(match.group(1)) if match else 0


def find_private_uv():
    """Tells whether the uv below `.bootstrap/` runs."""
    return uv_version(str(running.STATE / "uv" / "bin" / "uv")) is not None
