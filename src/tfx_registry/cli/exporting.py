"""The command that makes a SavedModel of a .keras version: export-keras."""

from __future__ import annotations

import click

from tfx_registry.cli import render
from tfx_registry.cli.common import Settings, pass_settings
from tfx_registry.cli.completion import model_names
from tfx_registry.names import VersionRef

__all__ = ["export_keras"]


@click.command(short_help="Make a SavedModel of a .keras version, as the next version.")
@click.argument("ref", shell_complete=model_names)
@click.option(
    "--out",
    required=True,
    type=click.Path(),
    metavar="DIR",
    help="The directory that is made for the SavedModel.",
)
@click.option("--reason", default="", help="Why.")
@pass_settings
def export_keras(settings: Settings, ref: str, out: str, reason: str) -> None:
    """Export a .keras version to a SavedModel, registered as the next version.

    TensorFlow Serving loads only SavedModels. The new version names the .keras version as what it
    came from; it has to pass the gate before it is promoted. Needs TensorFlow.

    Example: tfx-registry export-keras penguin:3 --out exports/penguin
    """
    from tfx_registry.keras_export import export_keras as export

    parsed = VersionRef.parse(ref)
    with settings.open() as registry:
        version = registry.resolve(parsed)
        made = export(registry, version.model, version.number, out, reason=reason)
    render.done(
        f"exported {version.ref} to {made.uri}, registered as {made.ref} "
        f"(digest {made.digest[:12]})",
        render.version_json(made),
        as_json=settings.as_json,
    )
