"""Finding a Python for a lane, or installing one."""

import collections
import glob
import json
import os
import shutil
import subprocess
import sys

from bootstrapping.lanes import versions_for
from bootstrapping.running import (
    SetupError,
    capture,
    clean_environment,
    dotted,
    run_logged,
    step,
    tail,
)

# One PROBE tells everything that matters about an interpreter.
PROBE = """
import json, os, platform, sys, sysconfig
print(json.dumps({
    "executable": sys.executable,
    "version": list(sys.version_info[:3]),
    "implementation": platform.python_implementation(),
    "headers": os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")),
}))
"""

Interpreter = collections.namedtuple("Interpreter", "path version headers")


def pyenv_pythons(version, environ):
    """Returns pyenv's interpreters of one minor version, the newest patch first."""
    root = environ.get("PYENV_ROOT") or os.path.join(os.path.expanduser("~"), ".pyenv")
    name = dotted(version)
    found = []
    for folder in glob.glob(os.path.join(root, "versions", name + ".*")):
        patch = os.path.basename(folder)[len(name) + 1 :]
        if patch.isdigit():  # leaves out 3.13.0t, 3.13-dev and virtual environments
            found.append((int(patch), os.path.join(folder, "bin", "python" + name)))
    return [path for _, path in sorted(found, reverse=True) if os.access(path, os.X_OK)]


def candidate_pythons(lane, environ, variant=""):
    """Returns the paths where a Python for a lane may be, in order of preference."""
    paths = []
    for version in versions_for(lane, variant):
        on_path = shutil.which("python" + dotted(version), path=environ.get("PATH"))
        paths += [on_path] if on_path else []
        paths += pyenv_pythons(version, environ)
    return [*paths, sys.executable]


def probe(path):
    """Returns the Interpreter at a path, or None if it does not run or is not CPython."""
    try:
        done = subprocess.run(
            [path, "-c", PROBE],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
            timeout=60,
        )
        facts = json.loads(done.stdout.decode("utf-8", "replace"))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None  # pyenv's shims, for one, exist for versions that are not selected
    if facts["implementation"] != "CPython":
        return None
    return Interpreter(facts["executable"], tuple(facts["version"]), facts["headers"])


def find_python(lane, environ, variant=""):
    """Returns an Interpreter for a lane, one with C headers if there is any, or None."""
    found = []
    for path in candidate_pythons(lane, environ, variant):
        interpreter = probe(path)
        if interpreter and interpreter.version[:2] in versions_for(lane, variant):
            if interpreter.headers:
                return interpreter
            found.append(interpreter)
    return found[0] if found else None


def install_python(uv, lane, variant=""):
    """Lets uv install a Python for a lane and returns its Interpreter."""
    version = dotted(versions_for(lane, variant)[0])
    with step("installing Python {} with uv (none found on this machine)".format(version)):
        code, output = run_logged([uv, "python", "install", version])
        if code == 0:
            done = capture([uv, "python", "find", "--python-preference", "only-managed", version])
            interpreter = probe(done.strip()) if done else None
            if interpreter:
                return interpreter
    raise SetupError(
        "no Python {wanted} on this machine, and uv could not install one:\n{tail}\n"
        "Install it in one of these ways and run this again:\n"
        "  - from your system's packages (Debian, Ubuntu: python{first} python{first}-dev)\n"
        "  - `pyenv install {first}`\n"
        "  - `uv python install {first}` on a network that reaches uv's downloads".format(
            wanted=" or ".join(dotted(version) for version in versions_for(lane, variant)),
            first=version,
            tail=tail(output),
        )
    )
