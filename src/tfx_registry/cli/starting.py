"""The command that begins a project: init."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from tfx_registry.cli import render
from tfx_registry.cli.common import Settings, pass_settings
from tfx_registry.text import printable

__all__ = ["init"]


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--runner",
    type=click.Choice(["local", "beam", "airflow", "kubeflow"]),
    default="local",
    show_default=True,
    help="What runs the pipeline.",
)
@click.option("--name", help="Name of the pipeline and of its model.  [default: that of DIR]")
@pass_settings
def init(settings: Settings, directory: Path, runner: str, name: str | None) -> None:
    """Write a small working project into a new or empty directory.

    A pipeline, a model, a policy for the gate, sample data and a README that says what to type.
    No registry is needed. What is there already is never overwritten.

    Example: tfx-registry init churn --runner airflow
    """
    from tfx_registry.templates import Runner, make_project, write_project

    project = make_project(directory.absolute().name if name is None else name, Runner(runner))
    write_project(directory, project)
    steps = [f"cd {shlex.quote(str(directory))}", *project.next_steps]
    lines = [
        f"wrote the project {project.name} for the {project.runner.value} runner into "
        f"{str(directory)!r}; its README.md says where your own data and model go",
        "next:",
        *(f"  {step}" for step in steps),
    ]
    document = {
        "name": project.name,
        "runner": project.runner.value,
        "directory": str(directory),
        "files": sorted(project.files),
        "next": steps,
    }
    if settings.as_json:
        render.print_json(document)
        return
    for line in lines:
        click.echo(printable(line))
