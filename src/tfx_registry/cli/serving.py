"""Commands that let servers load versions: promote, abort."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from tfx_registry.cli import render
from tfx_registry.cli.common import Settings, copying, pass_settings
from tfx_registry.cli.completion import model_names
from tfx_registry.cli.server_options import server_options
from tfx_registry.errors import InvalidInputError
from tfx_registry.names import VersionRef
from tfx_registry.serving.smoke import SmokeTest

if TYPE_CHECKING:
    from tfx_registry.operations import Rollout, Servers
    from tfx_registry.promotion import Promotion

__all__ = ["abort", "promote"]


@click.command(short_help="Publish a version that passed, and move the alias to it.")
@click.argument("ref", shell_complete=model_names)
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
@click.option(
    "--model-config",
    type=click.Path(),
    metavar="FILE",
    help="Model config file of the servers: lists the version there and moves its label.",
)
@click.option("--canary", is_flag=True, help="Only on trial, with the label canary.")
@click.option("--stable", is_flag=True, help="Let the version that is on trial serve.")
@click.option("--served-name", metavar="NAME", help="Name of the model in the servers.")
@click.option(
    "--server-base-path",
    metavar="PATH",
    help="DIR as the servers see it, for the model config.  [default: DIR]",
)
@click.option(
    "--keep-loaded",
    type=click.IntRange(min=0),
    metavar="N",
    help="How many versions that served before stay loaded.  [default: 1]",
)
@click.option(
    "--smoke-examples",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="JSON instances or a TFRecord of tf.Examples; refuse what does not predict on them.",
)
@server_options(on_failure=True)
@pass_settings
def promote(
    settings: Settings,
    ref: str,
    serving_dir: str,
    alias_name: str,
    required_approvals: int,
    reason: str,
    model_config: str | None,
    canary: bool,
    stable: bool,
    served_name: str | None,
    server_base_path: str | None,
    keep_loaded: int | None,
    smoke_examples: str | None,
    servers: Servers | None,
) -> None:
    """Publish a version that the gate has passed, and move the alias to it.

    Servers load the newest directory. With --model-config they load what that file lists, and
    requests name the label stable or canary; a version then goes on trial with --canary, and serves
    with --stable.

    Example: tfx-registry promote penguin:3 --serving-dir serving/penguin

    Example: tfx-registry promote penguin:4 --serving-dir serving/penguin --canary
    --model-config models.config --wait-for http://localhost:8501
    """
    by_config = {"--server-base-path": server_base_path, "--keep-loaded": keep_loaded}
    if stable:
        given = {
            "--canary": canary, "--model-config": model_config, "--served-name": served_name,
            "--smoke-examples": smoke_examples,
        }  # fmt: skip
        _refuse({**given, **by_config}, "the trial says it already", "leave it out")
    elif model_config is None and not canary:
        blind = servers is not None and servers.no_wait
        asks = servers is not None and bool(servers.urls)
        _refuse({**by_config, "--no-wait": blind}, "servers load the newest version",
                "add --model-config FILE")  # fmt: skip
        _refuse({"--served-name": None if asks else served_name}, "no server is asked",
                "add --wait-for URL")  # fmt: skip
    done: Promotion | None = None
    rollout: Rollout | None = None
    parsed = VersionRef.parse(ref)
    check = SmokeTest(smoke_examples) if smoke_examples else None
    with settings.open() as registry:
        version = registry.resolve(parsed)
        with copying(version.facts.size_bytes) as progress:
            common: dict[str, Any] = {
                "servers": servers, "required_approvals": required_approvals, "reason": reason,
            }  # fmt: skip
            if stable:
                from tfx_registry.operations import promote_canary

                rollout = promote_canary(
                    registry, version.model, serving_dir, number=version.number, **common
                )
            elif model_config is not None or canary:
                from tfx_registry.operations import promote_by_config

                rollout = promote_by_config(
                    registry, version.model, version.number, serving_dir, model_config,
                    canary=canary, alias=alias_name, served_name=served_name,
                    server_base_path=server_base_path, keep_loaded=keep_loaded,
                    progress=progress, check=check, **common,
                )  # fmt: skip
            else:
                from tfx_registry.promotion import promote as promote_version

                done = promote_version(
                    registry, version.model, version.number, serving_dir, alias=alias_name,
                    served_name=served_name, progress=progress, check=check, **common,
                )  # fmt: skip
    # The bar is gone by now; it would take away what is said beside it.
    if done is not None:
        _say(settings, done, alias_name)
    elif rollout is not None:
        _say_rollout(settings, rollout)


@click.command(short_help="End the trial of a version.")
@click.argument("model", shell_complete=model_names)
@click.option(
    "--serving-dir", required=True, type=click.Path(), help="Base directory of the model."
)
@click.option("--reason", default="", help="Why.")
@server_options(on_failure=False, no_wait=False)
@pass_settings
def abort(
    settings: Settings, model: str, serving_dir: str, reason: str, servers: Servers | None
) -> None:
    """End the trial of a version: servers unload it, and its label and alias go.

    Its directory stays, and it may be promoted again. A rollout that is not finished is undone.

    Example: tfx-registry abort penguin --serving-dir serving/penguin --reason "p99 is up"
    """
    from tfx_registry.operations import abort as end_trial

    with settings.open() as registry:
        done = end_trial(registry, model, serving_dir, servers=servers, reason=reason)
    render.done(
        f"{done.version.ref} is not on trial any more, by {done.config.path}",
        _rollout_json(done),
        as_json=settings.as_json,
    )


def _refuse(options: Mapping[str, object], why: str, todo: str) -> None:
    """Refuses options that would have no effect."""
    for option, value in options.items():
        if value not in (None, False):
            raise InvalidInputError(f"{option} has no meaning here", why, todo)


def _say(settings: Settings, done: Promotion, alias: str) -> None:
    did = "promoted" if done.changed else "nothing to do:"
    serves = "to" if done.changed else "serves already at"
    instead = f", in place of version {done.replaces}" if done.replaces else ""
    render.done(
        f"{did} {done.version.ref} {serves} {done.path} under {alias!r}{instead}",
        {
            **render.version_json(done.version),
            "path": done.path,
            "replaces": done.replaces,
            "changed": done.changed,
        },
        as_json=settings.as_json,
    )


def _say_rollout(settings: Settings, done: Rollout) -> None:
    did = "promoted" if done.changed else "nothing to do:"
    now = "to" if done.changed else "is already"
    instead = f", in place of version {done.replaces}" if done.replaces else ""
    render.done(
        f"{did} {done.version.ref} {now} {done.label!r} of {done.config.name} by "
        f"{done.config.path}{instead}",
        _rollout_json(done),
        as_json=settings.as_json,
    )


def _rollout_json(done: Rollout) -> dict[str, Any]:
    return {
        **render.version_json(done.version),
        "path": done.path,
        "label": done.label,
        "model_config": done.config.path,
        "served_name": done.config.name,
        "replaces": done.replaces,
        "changed": done.changed,
    }
