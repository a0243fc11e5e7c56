"""Commands that touch a serving directory: promote."""

from __future__ import annotations

import click

from tfx_registry.cli import render
from tfx_registry.cli.common import Settings, copying, pass_settings
from tfx_registry.names import VersionRef

__all__ = ["promote"]


@click.command()
@click.argument("ref")
@click.option(
    "--serving-dir",
    required=True,
    type=click.Path(),
    help="Base directory of the model; the version becomes DIR/NUMBER.",
)
@click.option("--alias", "alias_name", default="production", show_default=True, help="What moves.")
@click.option(
    "--required-approvals",
    type=click.IntRange(min=0),
    default=0,
    help="Refuse with fewer approvals; the access policy may ask for more.",
)
@click.option("--reason", default="", help="Why.")
@pass_settings
def promote(
    settings: Settings,
    ref: str,
    serving_dir: str,
    alias_name: str,
    required_approvals: int,
    reason: str,
) -> None:
    """Publish a version that the gate has passed, and move the alias to it.

    Example: tfx-registry promote penguin:3 --serving-dir serving/penguin
    """
    from tfx_registry.promotion import promote as promote_version

    parsed = VersionRef.parse(ref)
    with settings.open() as registry:
        version = registry.resolve(parsed)
        with copying(version.facts.size_bytes) as progress:
            done = promote_version(
                registry,
                version.model,
                version.number,
                serving_dir,
                alias=alias_name,
                required_approvals=required_approvals,
                reason=reason,
                progress=progress,
            )
    did = "promoted" if done.changed else "nothing to do:"
    serves = "to" if done.changed else "serves already at"
    instead = f", in place of version {done.replaces}" if done.replaces else ""
    render.done(
        f"{did} {done.version.ref} {serves} {done.path} under {alias_name!r}{instead}",
        {
            **render.version_json(done.version),
            "path": done.path,
            "replaces": done.replaces,
            "changed": done.changed,
        },
        as_json=settings.as_json,
    )
