"""Commands that change the registry alone: register, alias."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from tfx_registry import names
from tfx_registry.cli import render
from tfx_registry.cli.common import Settings, expected_version, pairs, parse_number, pass_settings
from tfx_registry.cli.completion import model_names
from tfx_registry.errors import InvalidExpressionError, InvalidInputError
from tfx_registry.inspection import digest_source
from tfx_registry.records import LineageSource, Metric
from tfx_registry.registry.search import parse_order
from tfx_registry.serving.objects.urls import is_object_url

__all__ = ["alias", "register"]

#: TFX's types of artifacts, by the role that they mostly have.
_SOURCE_TYPES = {
    "examples": "Examples",
    "hyperparameters": "HyperParameters",
    "model": "Model",
    "schema": "Schema",
    "statistics": "ExampleStatistics",
    "transform_graph": "TransformGraph",
}


@click.command()
@click.argument("model", shell_complete=model_names)
@click.argument("path", type=click.Path())
@click.option("--description", default="", help="Free text.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="May be repeated.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME=NUMBER",
              help="May be repeated; of a slice: \"auc[sex='female']=0.9\".")  # fmt: skip
@click.option("--parameter", "parameters", multiple=True, metavar="NAME=VALUE",
              help="Of the training. May be repeated.")  # fmt: skip
@click.option("--source", "sources", multiple=True, metavar="ROLE=PATH",
              help="What it was made from, such as examples=data/7: a path, which is hashed, or an "
              "address. May be repeated.")  # fmt: skip
@click.option("--semantic-version", default="", help="Such as 1.4.0.")
@click.option("--idempotency-key", help="A repeat with the same key makes no second version.")
@click.option("--reason", default="", help="Why.")
@pass_settings
def register(
    settings: Settings,
    model: str,
    path: str,
    description: str,
    labels: Sequence[str],
    metrics: Sequence[str],
    parameters: Sequence[str],
    sources: Sequence[str],
    semantic_version: str,
    idempotency_key: str | None,
    reason: str,
) -> None:
    """Register the model at PATH as the next version of MODEL.

    PATH is a SavedModel directory, a .keras file, or any other file or directory; or the address of
    one in an object store, such as gs://bucket/run/7/model.

    Example: tfx-registry register penguin export/1 --label team=birds

    Example: tfx-registry register penguin export/1 --source examples=data/7
    """
    names.check_model_name(model)
    values = [_metric(text) for text in metrics]
    made_from = [_source(role, place) for role, place in pairs(sources, "--source")]
    with settings.open(create=True) as registry:
        version = registry.register(
            model,
            path,
            description=description,
            labels=dict(pairs(labels, "--label")),
            metrics=values,
            hyperparameters=dict(pairs(parameters, "--parameter")),
            sources=made_from,
            semantic_version=semantic_version,
            idempotency_key=idempotency_key,
            reason=reason,
        )
    render.done(
        f"registered {version.ref} ({version.facts.format.value}, digest {version.digest[:12]})",
        render.version_json(version),
        as_json=settings.as_json,
    )


def _metric(text: str) -> Metric:
    """Reads `--metric`, whose slice is written as in a search."""
    name, bracket, rest = text.partition("[")
    if not bracket or "=" in name:
        ((name, number),) = pairs([text], "--metric")
        return Metric(name, parse_number(name, number))
    inside, _, number = rest.rpartition("=")
    try:
        # Nothing may follow the bracket, such as "desc".
        key = parse_order(f"metrics.x[{inside.rstrip().removesuffix(']')}]").field.slice
    except InvalidExpressionError as error:
        raise InvalidInputError(
            f"invalid --metric {text!r}",
            error.why,
            "write NAME=NUMBER, or NAME[feature='value']=NUMBER of a slice",
        ) from error
    return Metric(name, parse_number(name, number), key)


def _source(role: str, place: str) -> LineageSource:
    """Reads `--source`: a path is looked at now, an address is only noted."""
    kind = _SOURCE_TYPES.get(role, "ExternalArtifact")
    if is_object_url(place):
        return LineageSource(role, kind, place)
    path = Path(place).absolute()
    if not path.exists():
        raise InvalidInputError(
            f"invalid --source {role}={place!r}", "no such file", "check the path"
        )
    return LineageSource(role, kind, str(path), digest=digest_source(str(path)))


@click.group()
def alias() -> None:
    """Move or remove an alias.

    Example: tfx-registry alias set penguin champion 3
    """


@alias.command("set")
@click.argument("model", shell_complete=model_names)
@click.argument("name")
@click.argument("number", type=int)
@click.option("--expect", metavar="NUMBER|none", help="Refuse unless the alias points there now.")
@click.option("--reason", default="", help="Why.")
@pass_settings
def alias_set(
    settings: Settings, model: str, name: str, number: int, expect: str | None, reason: str
) -> None:
    """Point the alias NAME of MODEL at version NUMBER.

    Example: tfx-registry alias set penguin champion 3 --expect 2
    """
    with settings.open() as registry:
        version = registry.set_alias(
            model, name, number, reason=reason, expect=expected_version(expect)
        )
    render.done(
        f"{model}@{name} is {version.ref}", render.version_json(version), as_json=settings.as_json
    )


@alias.command("rm")
@click.argument("model", shell_complete=model_names)
@click.argument("name")
@click.option("--expect", metavar="NUMBER", help="Refuse unless the alias points there now.")
@click.option("--reason", default="", help="Why.")
@pass_settings
def alias_rm(settings: Settings, model: str, name: str, expect: str | None, reason: str) -> None:
    """Remove the alias NAME of MODEL.

    Example: tfx-registry alias rm penguin champion
    """
    with settings.open() as registry:
        number = registry.remove_alias(model, name, reason=reason, expect=expected_version(expect))
    render.done(
        f"removed {model}@{name}, which was {model}:{number}",
        {"model": model, "alias": name, "previous": number},
        as_json=settings.as_json,
    )
