"""What a shell offers for an argument that names a model."""

from __future__ import annotations

import click

from tfx_registry.cli.common import Settings
from tfx_registry.errors import RegistryError

__all__ = ["model_names"]


def model_names(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Returns the models whose names begin with what was typed.

    Nothing is offered where the registry cannot be read: a shell has no place for errors.

    Args:
        context: Of the command; its group knows the registry.
        incomplete: What was typed so far.
    """
    settings = Settings(context.find_root().params.get("registry"))
    try:
        with settings.open_reader() as registry:
            names = [head.model for head in registry.list_models()]
    except RegistryError:
        return []
    return [name for name in names if name.casefold().startswith(incomplete.casefold())]
