"""Makes the files of a new project, and writes them where nothing is yet."""

from __future__ import annotations

import contextlib
import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2

from tfx_registry._version import __version__
from tfx_registry.errors import InvalidInputError, InvalidNameError
from tfx_registry.templates.sample import sample_csv

__all__ = ["Project", "Runner", "make_project", "write_project"]

#: What TFX, Airflow and Kubeflow all take as the name of a pipeline.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,49}")

_TRAIN_ROWS, _EVAL_ROWS = 900, 450


class Runner(str, enum.Enum):
    """What runs the pipeline of a new project."""

    LOCAL = "local"
    BEAM = "beam"
    AIRFLOW = "airflow"
    KUBEFLOW = "kubeflow"


_SHARED = ("README.md", "requirements.txt", "pipeline.py", "model.py", "policy.yaml")
#: The file that hands the pipeline to its runner, and what else that one needs.
_OWN = {
    Runner.LOCAL: ("run.py",),
    Runner.BEAM: ("run.py",),
    Runner.AIRFLOW: ("dag.py",),
    Runner.KUBEFLOW: ("compile.py", "Dockerfile"),
}
_EXTRAS = {Runner.AIRFLOW: "airflow", Runner.KUBEFLOW: "kfp"}


@dataclass(frozen=True)
class Project:
    """The files of a project that is not written yet.

    Attributes:
        name: Name of the pipeline and of its model.
        runner: What runs the pipeline.
        files: Path below the project's directory, with `/`, to content.
        next_steps: What to type next in the project's directory, line by line.
    """

    name: str
    runner: Runner
    files: Mapping[str, str]
    next_steps: tuple[str, ...]


def make_project(name: str, runner: Runner = Runner.LOCAL) -> Project:
    """Makes the files of a project.

    Args:
        name: Name of the pipeline and of its model: a small letter, then up to 49 small letters,
            digits and hyphens, which is what every runner takes.
        runner: What is to run the pipeline.

    Returns:
        The project; nothing is written.

    Raises:
        InvalidNameError: The name is not one.
    """
    if not _NAME.fullmatch(name):
        meant = _close_name(name)
        raise InvalidNameError(
            f"invalid project name {name!r}"[:200],
            "it is a small letter, then up to 49 small letters, digits and hyphens",
            f"choose one with --name{f', such as --name {meant}' if meant else ''}",
        )
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfx_registry.templates", "files"),
        autoescape=False,  # programs, no pages
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    known = {
        "name": name,
        "runner": runner.value,
        "extra": _EXTRAS.get(runner, "tfx"),
        "version": __version__,
    }
    files = {
        file: environment.get_template(f"{file}.j2").render(known)
        for file in (*_SHARED, *_OWN[runner])
    }
    files["data/train/machines.csv"] = sample_csv(_TRAIN_ROWS, seed=1)
    files["data/eval/machines.csv"] = sample_csv(_EVAL_ROWS, seed=2)
    return Project(name, runner, files, _next_steps(name, runner))


def _close_name(text: str) -> str:
    """Returns a name of a project that is close to a text, or "" where none is."""
    name = re.sub("[^a-z0-9]+", "-", text.lower()).lstrip("-0123456789")[:50].rstrip("-")
    return name if _NAME.fullmatch(name) else ""


def write_project(directory: Path, project: Project) -> list[Path]:
    """Writes a project into a directory that is empty, or not there yet.

    Either all files are there afterwards, or none.

    Args:
        directory: Where.
        project: What.

    Returns:
        The files.

    Raises:
        InvalidInputError: The directory holds something, or cannot be written.
    """
    written: list[Path] = []
    made: list[Path] = []
    what = f"cannot write a project into {str(directory)!r}"
    try:
        if directory.exists():
            found = sorted(path.name for path in directory.iterdir())
            if found:
                more = f" and {len(found) - 1} more" if len(found) > 1 else ""
                raise InvalidInputError(
                    what,
                    f"it holds {found[0]!r}{more}, and nothing is overwritten",
                    "name a new or an empty directory",
                )
        for name, content in project.files.items():
            path = directory / name
            made += _make_parents(path)
            with path.open("x", encoding="utf-8", newline="\n") as stream:
                written.append(path)
                stream.write(content)
    except BaseException as error:
        for path in written:
            path.unlink(missing_ok=True)
        for folder in reversed(made):
            with contextlib.suppress(OSError):
                folder.rmdir()
        if not isinstance(error, OSError):
            raise
        why = f"{error.filename or directory}: {error.strerror or error}"
        raise InvalidInputError(what, why, "name a new directory where you can write") from error
    return written


def _make_parents(path: Path) -> list[Path]:
    """Makes the directories of a file; returns those that were not there, outermost first."""
    missing = [folder for folder in path.parents if not folder.exists()][::-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    return missing


def _next_steps(name: str, runner: Runner) -> tuple[str, ...]:
    install = "python -m pip install --requirement requirements.txt"
    look = ("export TFX_REGISTRY_URI=sqlite:///output/metadata.sqlite",)
    if runner is Runner.KUBEFLOW:
        compiled = f"--output-file {name}.yaml --image registry.example.com/{name}"
        return (install, f"python compile.py {compiled} --volume /mnt/{name}")
    start: tuple[str, ...] = ("python run.py",)
    if runner is Runner.AIRFLOW:
        start = (
            'export AIRFLOW_HOME="$PWD/airflow" AIRFLOW__CORE__DAGS_FOLDER="$PWD/dag.py"',
            "export AIRFLOW__CORE__LOAD_EXAMPLES=False",
            "export AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT=180",
            "airflow db migrate",
            f"airflow dags test {name} 2026-01-01",
        )
    return (install, *start, *look, f"tfx-registry versions {name}")
