"""The command that begins a project: init."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from tfx_registry.cli import render
from tfx_registry.cli.common import Settings, pass_settings
from tfx_registry.cli.lines import say, screen_width
from tfx_registry.text import printable

__all__ = ["init"]

#: Commands stand so far in, and what goes on in a further line as much again.
_INDENT = "  "


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
    say(
        f"wrote the project {project.name} for the {project.runner.value} runner into "
        f"{str(directory)!r}; its README.md says where your own data and model go"
    )
    say("next:")
    for step in steps:
        click.echo("\n".join(_shell_lines(printable(step))))


def _shell_lines(command: str) -> list[str]:
    """Writes a command so that it fits on the terminal, and can still be copied.

    It goes on before an option, behind a backslash; in a pipe it is one line.
    """
    width = screen_width()
    lines = [_INDENT]
    for place, part in enumerate(command.split(" --")):
        word = f" --{part}" if place else part
        if width is not None and place and len(lines[-1] + word) > width - len(" \\"):
            lines[-1] += " \\"
            lines.append(2 * _INDENT + word.lstrip())
        else:
            lines[-1] += word
    return lines
