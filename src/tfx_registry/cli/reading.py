"""Commands that look: models, versions, show, history."""

from __future__ import annotations

import click

from tfx_registry.cli import render
from tfx_registry.cli.common import Settings, pass_settings
from tfx_registry.cli.completion import model_names

__all__ = ["history", "models", "show", "versions"]


@click.command()
@pass_settings
def models(settings: Settings) -> None:
    """List the models.

    Example: tfx-registry models
    """
    with settings.open_reader() as registry:
        render.models(registry.list_models(), as_json=settings.as_json)


@click.command()
@click.argument("model", shell_complete=model_names)
@click.option("--limit", type=click.IntRange(min=1), help="Show at most so many.")
@click.option("--oldest-first", is_flag=True, help="Begin with version 1.")
@pass_settings
def versions(settings: Settings, model: str, limit: int | None, oldest_first: bool) -> None:
    """List the versions of MODEL, newest first.

    Example: tfx-registry versions penguin --limit 10
    """
    with settings.open_reader() as registry:
        found = registry.list_versions(model, limit=limit, newest_first=not oldest_first)
    render.versions(found, as_json=settings.as_json)


@click.command()
@click.argument("ref", shell_complete=model_names)
@pass_settings
def show(settings: Settings, ref: str) -> None:
    """Show one version with everything that is known of it.

    Example: tfx-registry show penguin@production
    """
    with settings.open_reader() as registry:
        render.version(registry.resolve(ref), as_json=settings.as_json)


@click.command()
@click.argument("model", shell_complete=model_names)
@pass_settings
def history(settings: Settings, model: str) -> None:
    """Show who did what to MODEL, oldest first.

    Example: tfx-registry --json history penguin
    """
    with settings.open_reader() as registry:
        render.history(registry.history(model), as_json=settings.as_json)
