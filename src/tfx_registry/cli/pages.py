"""Commands that make pages for people: report."""

from __future__ import annotations

import click

from tfx_registry.cli import files, render
from tfx_registry.cli.common import Settings, pass_settings

__all__ = ["report"]


@click.command()
@click.argument("model")
@click.option(
    "--out", required=True, type=click.Path(), metavar="FILE", help="The page; - for stdout."
)
@pass_settings
def report(settings: Settings, model: str, out: str) -> None:
    """Write the page about MODEL: one HTML file that needs nothing else.

    What serves and since when, a timeline, metrics with intervals and thresholds, the decision on
    each version, a comparison, lineage and history.

    Example: tfx-registry report penguin --out penguin.html
    """
    from tfx_registry.pages import model_page

    with settings.open() as registry:
        page = model_page(registry, model)
    with files.target(out) as write:
        write(page)
    if out != "-":
        size = len(page.encode("utf-8"))
        render.done(
            f"wrote the page about {model} to {out} ({size:,} bytes)",
            {"model": model, "out": out, "size_bytes": size},
            as_json=settings.as_json,
        )
