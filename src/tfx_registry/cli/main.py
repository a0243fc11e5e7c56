"""The command `tfx-registry`.

Exit codes: 0 done; 1 unexpected error; 2 bad usage or input; 3 not found; 4 refused by a rule;
5 conflict; 6 store unavailable. With `--json`, one JSON document on stdout and nothing else;
errors are one line on stderr.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType
from typing import Any

import click

from tfx_registry import names
from tfx_registry._version import __version__
from tfx_registry.cli import render
from tfx_registry.errors import InvalidInputError, RegistryError
from tfx_registry.names import VersionRef
from tfx_registry.registry import ModelRegistry

__all__ = ["cli", "main"]


@dataclass
class Settings:
    """What the options before the command say."""

    registry: str | None = None
    as_json: bool = False

    def open(self, *, create: bool = False) -> ModelRegistry:
        """Opens the registry; only commands that write make a missing database."""
        return ModelRegistry.open(self.registry, create=create)


def _settings(function: Callable[..., Any]) -> Callable[..., Any]:
    """Passes the settings; accepts `--json` after the command, too."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
    @click.pass_obj
    @functools.wraps(function)
    def wrapper(settings: Settings, as_json: bool, *args: Any, **kwargs: Any) -> Any:
        settings.as_json = settings.as_json or as_json
        return function(settings, *args, **kwargs)

    return wrapper


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--registry",
    metavar="URI",
    help="The registry, such as sqlite:///metadata.sqlite.  [default: $TFX_REGISTRY_URI]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens to stderr.")
@click.version_option(__version__, prog_name="tfx-registry")
@click.pass_context
def cli(context: click.Context, registry: str | None, as_json: bool, verbose: bool) -> None:
    """Model versions of TFX pipelines: which one serves, why, and what it came from.

    A version is named by a reference: penguin:3, penguin@production, or penguin for the latest.
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(message)s"
    )
    context.obj = Settings(registry, as_json)


@cli.command()
@_settings
def models(settings: Settings) -> None:
    """List the models.

    Example: tfx-registry --registry sqlite:///metadata.sqlite models
    """
    with settings.open() as registry:
        render.models(registry.list_models(), as_json=settings.as_json)


@cli.command()
@click.argument("model")
@click.option("--limit", type=click.IntRange(min=1), help="Show at most so many.")
@click.option("--oldest-first", is_flag=True, help="Begin with version 1.")
@_settings
def versions(settings: Settings, model: str, limit: int | None, oldest_first: bool) -> None:
    """List the versions of MODEL, newest first.

    Example: tfx-registry versions penguin --limit 10
    """
    with settings.open() as registry:
        found = registry.list_versions(model, limit=limit, newest_first=not oldest_first)
    render.versions(found, as_json=settings.as_json)


@cli.command()
@click.argument("ref")
@_settings
def show(settings: Settings, ref: str) -> None:
    """Show one version with everything that is known of it.

    Example: tfx-registry show penguin@production
    """
    with settings.open() as registry:
        render.version(registry.resolve(ref), as_json=settings.as_json)


@cli.command()
@click.argument("model")
@_settings
def history(settings: Settings, model: str) -> None:
    """Show who did what to MODEL, oldest first.

    Example: tfx-registry --json history penguin
    """
    with settings.open() as registry:
        render.history(registry.history(model), as_json=settings.as_json)


@cli.command()
@click.argument("model")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--description", default="", help="Free text.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="May be repeated.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME=NUMBER", help="May be repeated.")
@click.option("--semantic-version", default="", help="Such as 1.4.0.")
@click.option("--idempotency-key", help="A repeat with the same key makes no second version.")
@click.option("--reason", default="", help="Why.")
@_settings
def register(
    settings: Settings,
    model: str,
    path: Path,
    description: str,
    labels: Sequence[str],
    metrics: Sequence[str],
    semantic_version: str,
    idempotency_key: str | None,
    reason: str,
) -> None:
    """Register the model at PATH as the next version of MODEL.

    PATH is a SavedModel directory, a .keras file, or any other file or directory.

    Example: tfx-registry register penguin export/1 --label team=birds
    """
    names.check_model_name(model)
    numbers = {name: _number(name, text) for name, text in _pairs(metrics, "--metric")}
    with settings.open(create=True) as registry:
        version = registry.register(
            model,
            path,
            description=description,
            labels=dict(_pairs(labels, "--label")),
            metrics=numbers,
            semantic_version=semantic_version,
            idempotency_key=idempotency_key,
            reason=reason,
        )
    render.done(
        f"registered {version.ref} ({version.facts.format.value}, digest {version.digest[:12]})",
        render.version_json(version),
        as_json=settings.as_json,
    )


@cli.group()
def alias() -> None:
    """Move or remove an alias."""


@alias.command("set")
@click.argument("model")
@click.argument("name")
@click.argument("number", type=int)
@click.option("--expect", metavar="NUMBER|none", help="Refuse unless the alias points there now.")
@click.option("--reason", default="", help="Why.")
@_settings
def alias_set(
    settings: Settings, model: str, name: str, number: int, expect: str | None, reason: str
) -> None:
    """Point the alias NAME of MODEL at version NUMBER.

    Example: tfx-registry alias set penguin champion 3 --expect 2
    """
    with settings.open() as registry:
        version = registry.set_alias(model, name, number, reason=reason, expect=_expected(expect))
    render.done(
        f"{model}@{name} is {version.ref}", render.version_json(version), as_json=settings.as_json
    )


@alias.command("rm")
@click.argument("model")
@click.argument("name")
@click.option("--expect", metavar="NUMBER", help="Refuse unless the alias points there now.")
@click.option("--reason", default="", help="Why.")
@_settings
def alias_rm(settings: Settings, model: str, name: str, expect: str | None, reason: str) -> None:
    """Remove the alias NAME of MODEL.

    Example: tfx-registry alias rm penguin champion
    """
    with settings.open() as registry:
        number = registry.remove_alias(model, name, reason=reason, expect=_expected(expect))
    render.done(
        f"removed {model}@{name}, which was {model}:{number}",
        {"model": model, "alias": name, "previous": number},
        as_json=settings.as_json,
    )


@cli.command()
@click.argument("ref")
@click.option(
    "--serving-dir",
    required=True,
    type=click.Path(),
    help="Base directory of the model; the version becomes DIR/NUMBER.",
)
@click.option("--alias", "alias_name", default="production", show_default=True, help="What moves.")
@click.option("--reason", default="", help="Why.")
@_settings
def promote(settings: Settings, ref: str, serving_dir: str, alias_name: str, reason: str) -> None:
    """Publish a version that the gate has passed, and move the alias to it.

    Example: tfx-registry promote penguin:3 --serving-dir serving/penguin
    """
    from tfx_registry.promotion import promote as promote_version

    parsed = VersionRef.parse(ref)
    with settings.open() as registry:
        version = registry.resolve(parsed)
        with _copying(version.facts.size_bytes) as progress:
            done = promote_version(
                registry,
                version.model,
                version.number,
                serving_dir,
                alias=alias_name,
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: The arguments; None means those of the process.

    Returns:
        The exit code.
    """
    try:
        cli.main(args=arguments, prog_name="tfx-registry", standalone_mode=False)
    except RegistryError as error:
        return _fail(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help(), err=True)
        return 2
    except click.ClickException as error:
        return _fail(f"{error.format_message()} See 'tfx-registry --help'.", 2)
    except click.exceptions.Abort:
        return _fail("interrupted; what was recorded stays, repeat to finish", 1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of the pipe is gone; that is its business
        return 0
    except Exception as error:
        logging.getLogger(__name__).info("traceback", exc_info=True)
        return _fail(f"unexpected {type(error).__name__}: {error}; use -v for the traceback", 1)
    return 0


def _fail(message: str, code: int) -> int:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return code


def _pairs(texts: Sequence[str], option: str) -> Iterator[tuple[str, str]]:
    for text in texts:
        key, found, value = text.partition("=")
        if not found or not key:
            raise InvalidInputError(
                f"invalid {option} {text!r}", "it is not KEY=VALUE", "write it so"
            )
        yield key, value


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InvalidInputError(
            f"invalid metric {name!r}", f"{text!r} is not a number", "write NAME=NUMBER"
        ) from error


def _expected(text: str | None) -> int | EllipsisType | None:
    if text is None:
        return ...
    if text == "none":
        return None
    if not text.isdecimal():
        raise InvalidInputError(
            f"invalid --expect {text!r}", "it is neither a version number nor 'none'", ""
        )
    return int(text)


@contextmanager
def _copying(size_bytes: int) -> Iterator[Callable[[int], None]]:
    """Shows a progress bar on a terminal, nothing in pipes."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    with Progress(
        TextColumn("copying"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("copying", total=size_bytes)
        yield lambda count: bar.advance(task, count)


if __name__ == "__main__":
    sys.exit(main())
