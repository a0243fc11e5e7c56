"""MLflow in an environment of its own: `.venv-mlflow`, pinned by `constraints/mlflow.txt`.

Run as a program it makes the environment and prints its interpreter; with `--pin` it resolves
`constraints/mlflow.txt` anew.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

__all__ = ["ROOT", "python"]

ROOT = Path(__file__).resolve().parent.parent
_FOLDER = ROOT / ".venv-mlflow"
_INPUT = ROOT / "constraints" / "mlflow.in"
_PINS = ROOT / "constraints" / "mlflow.txt"
_PYTHON = "3.10"


def python() -> str:
    """Returns the interpreter of the environment; makes the environment if it is not there."""
    interpreter = _FOLDER / "bin" / "python"
    pins = _PINS.read_text(encoding="utf-8")
    done = _FOLDER / "pins.txt"
    if not done.exists() or done.read_text(encoding="utf-8") != pins:
        uv = _uv()
        _run(uv, "venv", "--quiet", "--clear", "--python", _PYTHON, str(_FOLDER))
        _run(uv, "pip", "sync", "--quiet", "--python", str(interpreter), str(_PINS))
        done.write_text(pins, encoding="utf-8")
    return str(interpreter)


def _pin() -> None:
    _run(
        _uv(), "pip", "compile", str(_INPUT.relative_to(ROOT)), "--python-version", _PYTHON,
        "--python-platform", "x86_64-manylinux_2_28", "--no-emit-index-url", "--quiet",
        "--upgrade", "--custom-compile-command", "benchmarks/mlflow_environment.py --pin",
        "--output-file", str(_PINS.relative_to(ROOT)),
    )  # fmt: skip


def _uv() -> str:
    command = [sys.executable, str(ROOT / "tools" / "bootstrap.py"), "--print-uv"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, cwd=ROOT)


def main() -> None:
    """Makes the environment, or resolves the pins."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pin", action="store_true", help="resolve the pins to the newest")
    if parser.parse_args().pin:
        _pin()
    else:
        print(python())


if __name__ == "__main__":
    main()
