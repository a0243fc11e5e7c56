"""Commands that make pages for people: report, ui."""

from __future__ import annotations

import sys

import click

from tfx_registry.cli import files, render
from tfx_registry.cli.common import Settings, pass_settings
from tfx_registry.cli.completion import model_names
from tfx_registry.registry.uri import RegistryUri, default_uri

__all__ = ["report", "ui"]


@click.command(short_help="Write a page about MODEL: one HTML file.")
@click.argument("model", shell_complete=model_names)
@click.option(
    "--out", required=True, type=click.Path(), metavar="FILE", help="The page; - for stdout."
)
@click.option(
    "--newest", type=click.IntRange(min=1), metavar="N", help="Only the newest N versions."
)
@pass_settings
def report(settings: Settings, model: str, out: str, newest: int | None) -> None:
    """Write the page about MODEL: one HTML file that needs nothing else.

    What serves and since when, a timeline, metrics with intervals and thresholds, the decision on
    each version, a comparison, lineage and history.

    Example: tfx-registry report penguin --out penguin.html
    """
    from tfx_registry.pages import model_page

    with settings.open() as registry:
        page = model_page(registry, model, newest=newest)
    with files.target(out) as write:
        write(page)
    if out != "-":
        size = len(page.encode("utf-8"))
        render.done(
            f"wrote the page about {model} to {out} ({size:,} bytes)",
            {"model": model, "out": out, "size_bytes": size},
            as_json=settings.as_json,
        )


@click.command(short_help="Serve pages about all models, live and read-only.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8321, show_default=True, help="0: a free one."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--allow-remote", is_flag=True, help="Let other machines in; needs a token and --host."
)
@click.option(
    "--allowed-host", "names", multiple=True, metavar="NAME",
    help="A name that visitors use for this machine; repeatable.",
)  # fmt: skip
@click.option(
    "--token-file", type=click.Path(), metavar="FILE",
    help="Holds the token that visitors must show.  [default: $TFX_REGISTRY_UI_TOKEN]",
)  # fmt: skip
@pass_settings
def ui(
    settings: Settings,
    port: int,
    host: str,
    allow_remote: bool,
    names: tuple[str, ...],
    token_file: str | None,
) -> None:
    """Serve the pages of all models, live and read-only, until Ctrl-C.

    Only this machine can reach them, unless --allow-remote is given with a token. Needs the extra
    `ui`: pip install 'tfx-registry[ui]'.

    Example: tfx-registry ui --port 8321
    """
    from tfx_registry.pages.guard import Guard, check_binding, read_token
    from tfx_registry.pages.serve import check_installed, serve
    from tfx_registry.pages.view import RegistryView

    check_installed()
    token = read_token(token_file)
    check_binding(host, allow_remote=allow_remote, token=token, names=names)

    def started(url: str) -> None:
        hint = "; add ?token=... with the token to it once" if token else ""
        render.done(
            f"serving pages at {url} (read-only{hint}); Ctrl-C ends it",
            {"url": url, "token": token is not None},
            as_json=settings.as_json,
        )
        sys.stdout.flush()

    uri = settings.registry if settings.registry is not None else default_uri()
    with settings.open_reader() as reader:
        view, guard = RegistryView.of(reader), Guard(host, names, token)
        serve(view, guard, port, title=str(RegistryUri.parse(uri)), started=started)
