"""Commands that say yes or no: approve, reject, override, archive, label, policy."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import click

from tfx_registry import codec, names
from tfx_registry.cli import render
from tfx_registry.cli.common import Settings, pass_settings
from tfx_registry.cli.completion import model_names
from tfx_registry.cli.lines import counted
from tfx_registry.errors import AccessDeniedError, InvalidInputError, InvalidPolicyError
from tfx_registry.registry.access import AccessPolicy, Action

__all__ = ["approve", "archive", "label", "override", "policy", "reject"]

_DURATION = re.compile(r"([1-9][0-9]{0,4})([hd])")


@click.command()
@click.argument("ref", shell_complete=model_names)
@click.option("--reason", default="", help="Why.")
@pass_settings
def approve(settings: Settings, ref: str, reason: str) -> None:
    """Approve a version.

    Example: tfx-registry approve penguin:3 --reason "checked by hand"
    """
    with settings.open() as registry:
        version = registry.resolve(ref)
        version = registry.approve(version.model, version.number, reason=reason)
    render.done(
        f"{version.ref} is {version.state.value}, {counted(len(version.approvals), 'approval')}",
        render.version_json(version),
        as_json=settings.as_json,
    )


@click.command(short_help="Reject a version: it cannot be promoted.")
@click.argument("ref", shell_complete=model_names)
@click.option("--reason", required=True, help="Why.")
@pass_settings
def reject(settings: Settings, ref: str, reason: str) -> None:
    """Reject a version: it cannot be promoted while the rejection stands.

    Example: tfx-registry reject penguin:3 --reason "trained on leaked labels"
    """
    with settings.open() as registry:
        version = registry.resolve(ref)
        version = registry.reject(version.model, version.number, reason=reason)
    render.done(
        f"{version.ref} is {version.state.value}",
        render.version_json(version),
        as_json=settings.as_json,
    )


@click.command(short_help="Let a version be promoted that the gate has not passed.")
@click.argument("ref", shell_complete=model_names)
@click.option("--reason", required=True, help="Why.")
@click.option("--expires", default="24h", show_default=True, help="For how long: 12h, 3d.")
@click.option(
    "--alias",
    "alias_name",
    default="production",
    show_default=True,
    help="The only alias under which it may be promoted.",
)
@pass_settings
def override(settings: Settings, ref: str, reason: str, expires: str, alias_name: str) -> None:
    """Let a version be promoted under one alias although the gate has not passed it.

    Example: tfx-registry override penguin:2 --reason "outage, ticket 4711" --expires 6h
    """
    span = _duration(expires)
    with settings.open() as registry:
        version = registry.resolve(ref)
        version = registry.override(
            version.model, version.number, reason=reason, expires=span, alias=alias_name
        )
    until = render.time(version.override.expires) if version.override else ""
    render.done(
        f"{version.ref} may be promoted under {alias_name!r} until {until} UTC, whatever the gate "
        "says",
        render.version_json(version),
        as_json=settings.as_json,
    )


@click.command()
@click.argument("ref", shell_complete=model_names)
@click.option("--reason", default="", help="Why.")
@click.option("--yes", is_flag=True, help="Do not ask. Where there is no terminal it is needed.")
@pass_settings
def archive(settings: Settings, ref: str, reason: str, yes: bool) -> None:
    """Take a version out of use, for good; its record stays.

    Example: tfx-registry archive penguin:1 --reason "superseded" --yes
    """
    with settings.open() as registry:
        version = registry.resolve(ref)
        settings.confirm(f"archive {version.ref}", "it can never serve again", yes=yes)
        version = registry.archive(version.model, version.number, reason=reason)
    render.done(
        f"{version.ref} is archived", render.version_json(version), as_json=settings.as_json
    )


@click.group()
def label() -> None:
    """Set or remove a label of a version.

    Example: tfx-registry label set penguin:3 team birds
    """


@label.command("set")
@click.argument("ref", shell_complete=model_names)
@click.argument("key")
@click.argument("value")
@click.option("--reason", default="", help="Why.")
@pass_settings
def label_set(settings: Settings, ref: str, key: str, value: str, reason: str) -> None:
    """Set the label KEY of a version to VALUE.

    Example: tfx-registry label set penguin:3 team birds
    """
    names.check_label(key, value)
    with settings.open() as registry:
        version = registry.resolve(ref)
        version = registry.set_label(version.model, version.number, key, value, reason=reason)
    render.done(
        f"{version.ref} has {key}={value}", render.version_json(version), as_json=settings.as_json
    )


@label.command("rm")
@click.argument("ref", shell_complete=model_names)
@click.argument("key")
@click.option("--reason", default="", help="Why.")
@pass_settings
def label_rm(settings: Settings, ref: str, key: str, reason: str) -> None:
    """Remove the label KEY of a version.

    Example: tfx-registry label rm penguin:3 team
    """
    with settings.open() as registry:
        version = registry.resolve(ref)
        version = registry.remove_label(version.model, version.number, key, reason=reason)
    render.done(
        f"{version.ref} has no {key} any more",
        render.version_json(version),
        as_json=settings.as_json,
    )


@click.group()
def policy() -> None:
    """Show, set or ask the access policy: who may do what.

    Example: tfx-registry policy check bob promote penguin
    """


@policy.command("show")
@pass_settings
def policy_show(settings: Settings) -> None:
    """Show the access policy as JSON.

    Example: tfx-registry policy show > access.json
    """
    with settings.open() as registry:
        found = registry.access_policy()
    if found is None and not settings.as_json:
        click.echo("no access policy: everybody may do everything")
    else:
        render.print_json(codec.encode(found))


@policy.command("set")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--reason", default="", help="Why.")
@pass_settings
def policy_set(settings: Settings, file: Path, reason: str) -> None:
    """Replace the access policy by the one in FILE (JSON). Only admins may.

    Example: tfx-registry policy set access.json --reason "new team member"
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidPolicyError(
            f"cannot read the access policy {str(file)!r}", str(error), "check the file"
        ) from error
    new = AccessPolicy.from_json(text)
    with settings.open(create=True) as registry:
        registry.set_access_policy(new, reason=reason)
    render.done(
        f"access policy set, admins: {', '.join(new.admins)}",
        codec.encode(new),
        as_json=settings.as_json,
    )


@policy.command("history")
@pass_settings
def policy_history(settings: Settings) -> None:
    """Show who changed the access policy, oldest first.

    Example: tfx-registry policy history
    """
    with settings.open() as registry:
        render.history(registry.access_policy_history(), as_json=settings.as_json)


@policy.command("check")
@click.argument("actor")
@click.argument("action", type=click.Choice([action.value for action in Action]))
@click.argument("model", shell_complete=model_names)
@pass_settings
def policy_check(settings: Settings, actor: str, action: str, model: str) -> None:
    """Tell whether ACTOR may do ACTION on MODEL; exit code 4 if not.

    Example: tfx-registry policy check ada promote penguin
    """
    with settings.open() as registry:
        found = registry.access_policy()
    if found is not None and not found.allows(actor, Action(action), model):
        raise AccessDeniedError(
            f"{actor!r} may not {action} {model!r}", "no grant of the access policy says so", ""
        )
    render.done(
        f"{actor} may {action} {model}",
        {"actor": actor, "action": action, "model": model, "allowed": True},
        as_json=settings.as_json,
    )


def _duration(text: str) -> datetime.timedelta:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidInputError(
            f"invalid --expires {text!r}", "it is a number of hours or days", "write 12h or 3d"
        )
    number = int(match[1])
    return datetime.timedelta(hours=number) if match[2] == "h" else datetime.timedelta(days=number)
