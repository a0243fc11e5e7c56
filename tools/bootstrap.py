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
import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

# Python's option for a safe path leaves the folder of a program out.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from bootstrapping import lanes, packages, pythons, running, uv_program
from bootstrapping.running import (
    NETWORK_HINT,
    ROOT,
    SetupError,
    dotted,
    run_logged,
    say,
    step,
    tail,
)

STAMP_NAME = ".tfx-registry-setup.json"
STAMP_FORMAT = 1
DEFAULT_EXTRAS = "benchmarks,dev,docs,examples,notebooks,tfx"

# What an unfinished `uv venv` may have left before it wrote pyvenv.cfg.
ENVIRONMENT_NAMES = {".gitignore", ".lock", "CACHEDIR.TAG", "bin", "include", "lib", "lib64"}


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
    interpreter = pythons.probe(str(venv / "bin" / "python"))
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
    if not kept or stamped_python(found) not in lanes.versions_for(found["lane"], found["variant"]):
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
                    tail(output), os.path.relpath(str(running.log_path())), NETWORK_HINT
                )
            )
    code, output = run_logged([str(venv / "bin" / "python"), "-c", "import ml_metadata"])
    if code != 0:
        raise SetupError("the environment is broken, ML Metadata fails:\n" + tail(output))


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
        running.log_path().unlink()
    if what == "update":
        uv = uv_program.obtain_uv(pythons.probe(str(venv / "bin" / "python")), environ)
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
    interpreter = pythons.find_python(lane, environ, variant)
    uv = uv_program.obtain_uv(interpreter, environ)
    interpreter = interpreter or pythons.install_python(uv, lane, variant)
    version = dotted(interpreter.version)
    say("TFX {} on Python {} ({})".format(lane, version, interpreter.path))
    packages.ensure_build_tools(interpreter, environ)
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
        lane = lanes.choose_lane(lanes.this_machine(), options.lane)
        if options.print_lane:
            print(lane)
            return 0
        with running.only_one():
            if options.print_uv:
                with contextlib.redirect_stdout(sys.stderr):
                    uv = uv_program.obtain_uv(pythons.find_python(lane, os.environ), os.environ)
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
