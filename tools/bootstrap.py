"""Makes the development environment: a virtual environment with TFX and this package in it.

`make` calls this file before everything else. It needs nothing but a Python 3.6 or newer (the
standard library), and it

1. picks the TFX lane that this machine can run (`LANE=1.16` or `LANE=1.21` overrides),
2. finds a Python of the version that the lane needs, or lets uv install one,
3. finds uv, or installs it into `.bootstrap/`, which belongs to this tool alone,
4. installs the package and its extras with the pinned versions of `constraints/`.

Laws:
    - A second run with nothing changed does nothing and takes a fraction of a second.
    - The stamp file is written last and removed first, so an environment whose set-up was
      interrupted never passes for a finished one: the next run makes it anew.
    - So does an environment of another lane or variant, or of a Python that these do not run on.
    - Only an environment made by this tool, or at least a virtual environment, is ever deleted.
    - What goes wrong is said in words, with what to do, and ends with exit code 1; no traceback.
"""

import argparse
import collections
import contextlib
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: choose_lane refuses it with a better message.
    fcntl = None

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".bootstrap"
STAMP_NAME = ".tfx-registry-setup.json"
STAMP_FORMAT = 1
DEFAULT_EXTRAS = "benchmarks,dev,docs,examples,notebooks,tfx"
UV_REQUIREMENT = "uv>=0.5,<1"
UV_MINIMUM = (0, 5)
OLDEST_PIP = 21  # older ones, as of Python 3.8 and before, do not know today's wheel names

# Lane -> versions of Python it runs on, the preferred one first.
LANES = {
    "1.16": ((3, 10),),
    "1.21": ((3, 13), (3, 12), (3, 11)),
}
# Lane and variant -> the same, where a variant does not run on all of them.
VARIANTS = {
    ("1.21", "airflow"): ((3, 12), (3, 11)),
}
# The oldest glibc that all pinned wheels of a lane accept.
GLIBC_NEEDED = {"1.16": (2, 28), "1.21": (2, 39)}

# What an unfinished `uv venv` may have left before it wrote pyvenv.cfg.
ENVIRONMENT_NAMES = {".gitignore", ".lock", "CACHEDIR.TAG", "bin", "include", "lib", "lib64"}

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

# Open files of the locks held. Every command inherits them: if this tool is killed and the command
# lives on, the next set-up waits for it instead of working in the same folder.
HELD_LOCKS = []

Machine = collections.namedtuple("Machine", "system processor glibc")
Interpreter = collections.namedtuple("Interpreter", "path version headers")


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


# --- lane ---------------------------------------------------------------------------------------


def parse_glibc(text):
    """Returns the version in a text such as 'glibc 2.36' as (2, 36), or None without one."""
    match = re.match(r"glibc (\d+)\.(\d+)", text or "")
    return (int(match.group(1)), int(match.group(2))) if match else None


def this_machine():
    """Returns the Machine that this runs on."""
    try:
        glibc = parse_glibc(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, OSError, ValueError):  # not Linux, or Linux with another C library
        glibc = None
    return Machine(platform.system(), platform.machine(), glibc)


def choose_lane(machine, wanted=""):
    """Returns the TFX lane for a machine.

    Args:
        machine: The Machine to choose for.
        wanted: A lane that the caller insists on; '' or 'auto' chooses by machine.

    Raises:
        SetupError: The lane is unknown, or has no wheels for this machine.
    """
    wanted = "" if wanted == "auto" else wanted
    if wanted and wanted not in LANES:
        raise SetupError(
            "LANE={} is unknown: the lanes are {}. Leave LANE unset to choose by machine.".format(
                wanted, " and ".join(sorted(LANES))
            )
        )
    if machine.system == "Linux":
        return _choose_linux_lane(machine, wanted)
    if machine.system == "Darwin" and machine.processor == "arm64":
        if wanted == "1.16":
            raise SetupError(
                "LANE=1.16 has no wheels for macOS on Apple silicon. Leave LANE unset (1.21)."
            )
        return "1.21"
    if machine.system == "Darwin":
        raise SetupError(
            "TFX has no wheels for Python on macOS/{}. On Apple silicon start this with a native "
            "(arm64) Python; on an Intel Mac use a Linux machine or container.".format(
                machine.processor
            )
        )
    raise SetupError(
        "TFX has no wheels for {}. Use Linux on x86_64 or macOS on Apple silicon; "
        "on Windows, WSL 2 with Ubuntu works like Linux.".format(machine.system)
    )


def _choose_linux_lane(machine, wanted):
    if machine.processor not in ("x86_64", "AMD64"):
        raise SetupError(
            "TFX has Linux wheels for x86_64 only, this machine is {}. "
            "Use an x86_64 machine or container, or macOS on Apple silicon.".format(
                machine.processor
            )
        )
    if machine.glibc is None:
        raise SetupError(
            "this Linux has no glibc (Alpine and other musl systems have none) and TFX has no "
            "wheels for it. Use Debian, Ubuntu, Fedora or another system with glibc."
        )
    lane = wanted or ("1.21" if machine.glibc >= GLIBC_NEEDED["1.21"] else "1.16")
    if machine.glibc < GLIBC_NEEDED[lane]:
        way_out = (
            "Leave LANE unset to use lane 1.16 here, or run `make test-second-lane` as root, "
            "which makes a Debian 13 root folder for it."
            if lane == "1.21" and machine.glibc >= GLIBC_NEEDED["1.16"]
            else "Use a newer system, for example Debian 12 or Ubuntu 22.04."
        )
        raise SetupError(
            "TFX {} needs glibc {} or newer, this machine has {}. {}".format(
                lane, dotted(GLIBC_NEEDED[lane]), dotted(machine.glibc), way_out
            )
        )
    return lane


# --- Python -------------------------------------------------------------------------------------


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


def versions_for(lane, variant=""):
    """Returns the versions of Python that a lane, or a variant of it, runs on."""
    return VARIANTS.get((lane, variant), LANES[lane])


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


# --- system packages ----------------------------------------------------------------------------


def can_apt():
    """Tells whether Debian packages can be installed from here without asking anybody.

    Whoever is root and does not want that sets TFX_REGISTRY_NO_APT=1.
    """
    if os.environ.get("TFX_REGISTRY_NO_APT"):
        return False
    return hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get") is not None


def apt_install(packages):
    """Installs Debian packages as root; returns whether that worked."""
    environ = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    with step("installing Debian packages: " + " ".join(packages)):
        run_logged(["apt-get", "update"], environ)
        code, _ = run_logged(
            ["apt-get", "install", "-y", "--no-install-recommends", *packages], environ
        )
    return code == 0


def has_compiler(environ):
    """Tells whether a C and a C++ compiler are on the path."""
    path = environ.get("PATH")
    return all(
        environ.get(variable) or any(shutil.which(name, path=path) for name in names)
        for variable, names in (
            ("CC", ("cc", "gcc", "clang")),
            ("CXX", ("c++", "g++", "clang++")),
        )
    )


def missing_build_packages(interpreter, environ):
    """Returns the Debian packages without which C++ extensions cannot be compiled.

    One dependency of TFX Data Validation (pyfarmhash) has no wheels and is compiled on the spot.
    """
    packages = [] if has_compiler(environ) else ["g++"]
    if not interpreter.headers:
        packages.append("python{}-dev".format(dotted(interpreter.version[:2])))
    return packages


def ensure_build_tools(interpreter, environ):
    """Makes sure that C++ extensions can be compiled for an interpreter."""
    packages = missing_build_packages(interpreter, environ)
    if not packages:
        return
    from_system = interpreter.headers or interpreter.path.startswith("/usr/bin/")
    if can_apt() and from_system and apt_install(packages):
        return
    raise SetupError(
        "a dependency of TFX has to be compiled, and this machine has no {what}.\n"
        "Install it and run this again:\n"
        "  - Debian, Ubuntu: sudo apt-get install {packages}\n"
        "  - Fedora: sudo dnf install gcc-c++ python{version}-devel\n"
        "  - macOS: xcode-select --install".format(
            what=" and no ".join(
                "C++ compiler" if package == "g++" else "C headers for " + interpreter.path
                for package in packages
            ),
            packages=" ".join(packages),
            version=dotted(interpreter.version[:2]),
        )
    )


# --- uv -----------------------------------------------------------------------------------------


def uv_version(path):
    """Returns the version of the uv at a path as a tuple, or None if it does not run."""
    match = re.match(r"uv (\d+)\.(\d+)", capture([path, "--version"]) or "")
    return (int(match.group(1)), int(match.group(2))) if match else None


def find_uv(environ):
    """Returns a usable uv: the one on the path, else the private one, else None."""
    for path in (shutil.which("uv", path=environ.get("PATH")), str(STATE / "uv" / "bin" / "uv")):
        version = uv_version(path) if path else None
        if version and version >= UV_MINIMUM:
            return path
    return None


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
    say("installing uv into {} ...".format(os.path.relpath(str(STATE / "uv"))))
    had_pip = any(_install_uv_with(python) for python in pythons)
    if not had_pip and can_apt() and apt_install(["python3-venv"]):
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
    helper, fresh = STATE / "pip", STATE / "uv.new"
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
        shutil.rmtree(str(STATE / "uv"), ignore_errors=True)
        fresh.rename(STATE / "uv")
    shutil.rmtree(str(helper), ignore_errors=True)
    return True


def pip_major_version(python):
    """Returns the first number of the version of an interpreter's pip, 0 if it has none."""
    match = re.match(r"pip (\d+)\.", capture([python, "-m", "pip", "--version"]) or "")
    return int(match.group(1)) if match else 0


def find_private_uv():
    """Tells whether the uv below `.bootstrap/` runs."""
    return uv_version(str(STATE / "uv" / "bin" / "uv")) is not None


# --- running things -----------------------------------------------------------------------------

NETWORK_HINT = (
    "If it is the network: a proxy is set with HTTPS_PROXY, another package index with "
    "UV_DEFAULT_INDEX and PIP_INDEX_URL, own certificates with SSL_CERT_FILE."
)


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


# --- environment --------------------------------------------------------------------------------


def file_digest(paths):
    """Returns one SHA-256 over several files; a missing file counts as such."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(str(path.name).encode("utf-8") + b"\0")
        digest.update(path.read_bytes() if path.is_file() else b"missing")
        digest.update(b"\0")
    return digest.hexdigest()


def constraints_file(lane, variant="", root=ROOT):
    """Returns the file with the pinned versions of a lane, or of a variant such as 'airflow'."""
    name = "tfx-{}-{}.txt" if variant else "tfx-{}.txt"
    return root / "constraints" / name.format(lane, variant)


def expected_stamp(lane, wheel, extras, root=ROOT, variant=""):
    """Returns the stamp that a finished environment for these wishes carries."""
    inputs = [constraints_file(lane, variant, root)]
    if wheel:
        inputs.append(wheel)
    else:
        inputs += [root / "setup.py", root / "pyproject.toml"]
        inputs.append(root / "src" / "tfx_registry" / "_version.py")
    return {
        "format": STAMP_FORMAT,
        "lane": lane,
        "variant": variant,
        "root": str(root),
        "source": "wheel" if wheel else "editable",
        "extras": extras,
        "inputs": file_digest(inputs),
    }


def stamped_python(stamp):
    """Returns the Python that a stamp names as (3, 10), or None if it names none."""
    match = re.match(r"(\d+)\.(\d+)", str(stamp.get("python")))
    return (int(match.group(1)), int(match.group(2))) if match else None


def read_stamp(venv):
    """Returns the stamp of a finished environment.

    {} if it is not finished or damaged, or if its Python is gone or another one than it was.
    """
    try:
        stamp = json.loads((venv / STAMP_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(stamp, dict):
        return {}
    # A link to the system's Python leads to another one when the system has a new release.
    interpreter = probe(str(venv / "bin" / "python"))
    same = interpreter is not None and interpreter.version[:2] == stamped_python(stamp)
    return stamp if same else {}


def write_stamp(venv, stamp):
    """Marks an environment as finished, in one step."""
    fresh = venv / (STAMP_NAME + ".new")
    fresh.write_text(json.dumps(stamp, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(str(fresh), str(venv / STAMP_NAME))


def plan(found, expected):
    """Says what an environment with the stamp `found` needs: 'nothing', 'update' or 'create'."""
    same = ("format", "lane", "variant", "root", "source")
    kept = all(found.get(key) == expected[key] for key in same)
    # Which versions of Python a lane or a variant takes may have changed since.
    if not kept or stamped_python(found) not in versions_for(found["lane"], found["variant"]):
        return "create"
    unchanged = all(found.get(key) == value for key, value in expected.items())
    return "nothing" if unchanged else "update"


def remove_environment(venv):
    """Deletes a virtual environment, finished or not, and refuses to delete anything else."""
    if not os.path.lexists(str(venv)):
        return
    if venv.is_symlink() or not venv.is_dir():
        raise SetupError("{} is no folder: move it away and run this again.".format(venv))
    names = {entry.name for entry in venv.iterdir()}
    if "pyvenv.cfg" not in names and not names <= ENVIRONMENT_NAMES:
        raise SetupError(
            "{} exists and is no virtual environment: move it away, or give another folder with "
            "--venv.".format(venv)
        )
    say("removing the earlier environment {}".format(os.path.relpath(str(venv))))
    # The marker goes last, so that an interrupted removal is still seen for what it is.
    for entry in venv.iterdir():
        if entry.name != "pyvenv.cfg":
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(str(entry))
            else:
                entry.unlink()
    shutil.rmtree(str(venv))


def requirement(wheel, extras):
    """Returns what to install, as arguments of `uv pip install`."""
    if wheel:
        name = "tfx-registry[{}] @ {}".format(extras, wheel.resolve().as_uri())
        return ["--reinstall-package", "tfx-registry", name]
    return ["--editable", "{}[{}]".format(ROOT, extras)]


def install(uv, venv, lane, wheel, extras, variant=""):
    """Installs the package with the pinned versions of a lane into an environment."""
    constraints = str(constraints_file(lane, variant))
    command = [uv, "pip", "install", "--python", str(venv / "bin" / "python")]
    command += ["--constraints", constraints, "--build-constraints", constraints]
    command += requirement(wheel, extras)
    label = "installing TFX {} and tfx-registry[{}]".format(lane, extras)
    with step(label + " (about 1 GB to download the first time)"):
        code, output = run_logged(command)
        if code != 0:
            raise SetupError(
                "uv could not install the packages:\n{}\nThe whole log is in {}.\n{}".format(
                    tail(output), os.path.relpath(str(log_path())), NETWORK_HINT
                )
            )
    code, output = run_logged([str(venv / "bin" / "python"), "-c", "import ml_metadata"])
    if code != 0:
        raise SetupError("the environment is broken, ML Metadata fails:\n" + tail(output))


def obtain_uv(interpreter, environ):
    """Returns the path of a usable uv, installed if need be."""
    uv = find_uv(environ)
    if uv:
        return uv
    pythons = [interpreter.path] if interpreter else []
    pythons += [path for path in (sys.executable, shutil.which("python3")) if path]
    also_missing = missing_build_packages(interpreter, environ) if interpreter else ()
    return install_uv(list(collections.OrderedDict.fromkeys(pythons)), environ, also_missing)


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


def set_up(lane, venv, wheel, extras, environ, variant=""):
    """Brings an environment to the wanted state.

    Args:
        lane: The TFX lane, from choose_lane.
        venv: Folder of the virtual environment.
        wheel: A built wheel to install instead of the sources, or None.
        extras: Extras of setup.py to install, with commas between.
        environ: The caller's environment variables.
        variant: Which pinned versions beside the lane's usual ones, such as 'airflow'.
    """
    if not constraints_file(lane, variant).is_file():
        raise SetupError(
            "TFX {} has no pinned versions for {}: there is no {}.".format(
                lane, variant, constraints_file(lane, variant)
            )
        )
    if wheel and not wheel.is_file():
        raise SetupError("there is no wheel {}: make one with `make wheel`.".format(wheel))
    expected = expected_stamp(lane, wheel, extras, variant=variant)
    found = read_stamp(venv)
    what = plan(found, expected)
    shown = os.path.relpath(str(venv))
    if what == "nothing":
        say("{} is up to date (TFX {}, Python {})".format(shown, lane, found.get("python")))
        return
    start = time.time()
    with contextlib.suppress(OSError):
        log_path().unlink()
    if what == "update":
        uv = obtain_uv(probe(str(venv / "bin" / "python")), environ)
        python = found.get("python")
        (venv / STAMP_NAME).unlink()
    else:
        with contextlib.suppress(OSError):
            (venv / STAMP_NAME).unlink()
        uv, python = create(venv, lane, environ, variant)
    install(uv, venv, lane, wheel, extras, variant)
    write_stamp(venv, dict(expected, python=python))
    say(
        "{} is ready (TFX {}, Python {}), set-up took {:.0f} s".format(
            shown, lane, python, time.time() - start
        )
    )


def create(venv, lane, environ, variant=""):
    """Makes an empty environment for a lane; returns the uv used and the Python's version."""
    interpreter = find_python(lane, environ, variant)
    uv = obtain_uv(interpreter, environ)
    interpreter = interpreter or install_python(uv, lane, variant)
    version = dotted(interpreter.version)
    say("TFX {} on Python {} ({})".format(lane, version, interpreter.path))
    ensure_build_tools(interpreter, environ)
    remove_environment(venv)
    code, output = run_logged([uv, "venv", "--python", interpreter.path, str(venv)])
    if code != 0:
        raise SetupError("uv could not make {}:\n{}".format(venv, tail(output)))
    return uv, version


def main(arguments=None):
    """Runs the tool; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--lane",
        default=os.environ.get("LANE", ""),
        help="TFX lane, 1.16 or 1.21 (default: $LANE, else by machine)",
    )
    parser.add_argument(
        "--venv", type=Path, default=ROOT / ".venv", help="folder of the environment (.venv)"
    )
    parser.add_argument("--wheel", type=Path, help="install this wheel instead of the sources")
    parser.add_argument("--extras", default=DEFAULT_EXTRAS, help="default: %(default)s")
    parser.add_argument(
        "--variant", default="", help="pinned versions of a set of their own, such as airflow"
    )
    parser.add_argument("--print-lane", action="store_true", help="print the lane and stop")
    parser.add_argument(
        "--print-uv", action="store_true", help="print the path of uv, installed if need be"
    )
    options = parser.parse_args(arguments)
    try:
        lane = choose_lane(this_machine(), options.lane)
        if options.print_lane:
            print(lane)
            return 0
        with only_one():
            if options.print_uv:
                with contextlib.redirect_stdout(sys.stderr):
                    uv = obtain_uv(find_python(lane, os.environ), os.environ)
                print(uv)
                return 0
            venv = Path(os.path.abspath(str(options.venv)))
            set_up(lane, venv, options.wheel, options.extras, os.environ, options.variant)
    except SetupError as error:
        print("bootstrap: error: {}".format(error), file=sys.stderr)
        return 1
    except OSError as error:
        print(
            "bootstrap: error: {}. Check the permissions and the free space of {} and run this "
            "again.".format(error, ROOT),
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("bootstrap: interrupted; run it again to finish the set-up", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
