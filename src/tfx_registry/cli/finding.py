"""Commands that find: search, compare, lineage."""

from __future__ import annotations

import click

from tfx_registry.cli import render, render_finding
from tfx_registry.cli.common import Settings, pass_settings
from tfx_registry.cli.completion import model_names
from tfx_registry.cli.lines import counted, screen_width
from tfx_registry.errors import InvalidInputError
from tfx_registry.registry.search_names import unseen_names
from tfx_registry.text import printable

__all__ = ["compare", "lineage", "search"]

#: Where nothing is found, names of metrics and labels are looked for in so many versions.
_LOOKED_AT = 200


@click.command()
@click.argument("expression", default="")
@click.option("--model", help="Search this model only.")
@click.option(
    "--order-by", metavar="FIELD [desc]", help="Such as 'metrics.auc desc'.  [default: newest]"
)
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="At most so many.",
)
@click.option("--page-token", metavar="TOKEN", help="Go on after the page that gave this token.")
@pass_settings
def search(
    settings: Settings,
    expression: str,
    model: str | None,
    order_by: str | None,
    limit: int,
    page_token: str | None,
) -> None:
    """Find versions by what is known of them.

    Fields are model, number, state, time, labels.KEY, metrics.NAME, metrics.NAME[feature='value'],
    hyperparameters.NAME, decision.verdict, sources.KEY, origin.run_id, digest and more: see
    docs/search.md. They are joined by and, or, not, compared by = != < <= > >=, like, contains, in
    and is null.

    Example: tfx-registry search "metrics.auc > 0.9 and labels.team = 'x'" --order-by "time desc"
    """
    with settings.open() as registry:
        page = registry.search(
            expression, model=model, limit=limit, page_token=page_token, order_by=order_by
        )
        quiet = settings.as_json or page
        others = [] if quiet else registry.search(model=model, limit=_LOOKED_AT)
    render_finding.found(page, order_by, as_json=settings.as_json)
    for name in unseen_names(expression, others) if others else ():
        versions = counted(len(others), "version")
        click.echo(printable(f"none of {versions} that were looked at has {name}"), err=True)


@click.command(short_help="Show what is different between two versions.")
@click.argument("ref_a", metavar="REF", shell_complete=model_names)
@click.argument("ref_b", metavar="REF", shell_complete=model_names)
@click.option("--all", "everything", is_flag=True, help="Show what is the same as well.")
@pass_settings
def compare(settings: Settings, ref_a: str, ref_b: str, everything: bool) -> None:
    """Show what is different between two versions, counted from the first.

    Example: tfx-registry compare penguin@production penguin
    """
    with settings.open() as registry:
        comparison = registry.compare(ref_a, ref_b)
    render_finding.comparison(comparison, everything=everything, as_json=settings.as_json)


@click.command()
@click.argument("ref", shell_complete=model_names)
@click.option(
    "--format",
    "form",
    type=click.Choice(["tree", "json", "dot"]),
    default="tree",
    show_default=True,
    help="A tree for people, JSON for programs, or Graphviz.",
)
@pass_settings
def lineage(settings: Settings, ref: str, form: str) -> None:
    """Show what a version came from and what came of it.

    Example: tfx-registry lineage penguin@production --format dot
    """
    from tfx_registry.registry import lineage_render

    if settings.as_json and form == "dot":
        raise InvalidInputError(
            "cannot print a lineage", "--json and --format dot exclude each other", "leave one out"
        )
    with settings.open() as registry:
        version = registry.resolve(ref)
        graph = registry.lineage(version.model, version.number)
    if settings.as_json or form == "json":
        render.done("", graph.to_json(), as_json=True)
    elif form == "dot":
        click.echo(lineage_render.dot(graph))
    else:
        # In a pipe whole paths are better than cut ones.
        click.echo(lineage_render.tree(graph, screen_width()))
