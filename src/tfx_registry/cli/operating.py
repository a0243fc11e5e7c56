"""Commands of operators: rollback, status, reconcile, adopt, prune, verify."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from tfx_registry.cli import render
from tfx_registry.cli.common import Settings, pass_settings
from tfx_registry.cli.completion import model_names
from tfx_registry.cli.lines import counted, say
from tfx_registry.cli.server_options import server_options
from tfx_registry.errors import IntegrityError
from tfx_registry.serving.receipts import Bytes

if TYPE_CHECKING:
    from tfx_registry.operations import Pruning, Servers, Verification

__all__ = ["adopt", "prune", "reconcile", "rollback", "status", "verify"]

Command = Callable[..., Any]


def _serving_dir(help_text: str) -> Callable[[Command], Command]:
    return click.option("--serving-dir", required=True, type=click.Path(), help=help_text)


@click.command(short_help="Let a version serve again that served before.")
@click.argument("model", shell_complete=model_names)
@_serving_dir("Base directory of the model.")
@click.option("--to", type=click.IntRange(min=1), help="The version.  [default: the one before]")
@click.option("--reason", required=True, help="Why.")
@click.option("--verify", "hash_all", is_flag=True, help="Hash the version first.")
@server_options(on_failure=False)
@pass_settings
def rollback(
    settings: Settings,
    model: str,
    serving_dir: str,
    to: int | None,
    reason: str,
    hash_all: bool,
    servers: Servers | None,
) -> None:
    """Let a version serve again that served before; newer ones are put away, not deleted.

    Where servers are told by a model config what to load, the label stable moves back instead.

    Example: tfx-registry rollback penguin --serving-dir serving/penguin --reason "ticket 4711"
    """
    from tfx_registry.operations import rollback as roll_back

    with settings.open() as registry:
        done = roll_back(
            registry, model, serving_dir, to, reason=reason, hash_all=hash_all, servers=servers
        )
    away = f"; put away: {', '.join(done.withdrawn)}" if done.withdrawn else ""
    instead = (
        f", in place of version {done.replaces}" if done.replaces != done.version.number else ""
    )
    verb = "serves again" if done.changed else "serves already"
    _say(settings, done.recovered)
    render.done(
        f"{done.version.ref} {verb} at {done.path}{instead}{away}",
        {
            **render.version_json(done.version),
            "path": done.path,
            "replaces": done.replaces,
            "withdrawn": list(done.withdrawn),
            "recovered": list(done.recovered),
            "changed": done.changed,
        },
        as_json=settings.as_json,
    )


@click.command(short_help="Show what lies in a serving directory, and what should.")
@_serving_dir("Base directory of a model.")
@click.option("--verify", "hash_all", is_flag=True, help="Hash every version.")
@pass_settings
def status(settings: Settings, serving_dir: str, hash_all: bool) -> None:
    """Show what lies in a serving directory, beside what the registry says of it.

    Bytes are "right" or "changed" where they were hashed. Without --verify, "untouched" means that
    nobody has written to the files since they were. Exit code 4 means that something is wrong.

    Example: tfx-registry status --serving-dir serving/penguin --verify
    """
    from tfx_registry.operations import status as look

    with settings.open() as registry:
        found = look(registry, serving_dir, hash_all=hash_all)
    if settings.as_json:
        render.print_json(_full(found))
    else:
        now = found.deployment
        serves = (
            f"version {now.number} as {now.alias!r}, {render.time(now.time)}" if now else "nothing"
        )
        say(f"{found.model} in {found.directory} serves {serves}")
        if found.canary is not None:
            trial = f"version {found.canary.number} is on trial, {render.time(found.canary.time)}"
            say(trial)
        if now is not None and now.config is not None:
            by = f"servers load what {now.config.path} lists for {now.config.name!r}"
            say(by)
        rows = [
            [
                row.name,
                row.place,
                "yes" if row.registered else "no",
                row.bytes,
                ", ".join(row.aliases),
                "yes" if row.serves else "",
            ]
            for row in found.rows
        ]
        header = ["directory", "place", "registered", "bytes", "aliases", "serves"]
        render.print_table(header, rows)
    _complain(settings, found.directory, found.problems)


@click.command(short_help="Bring registry and directory to one state after a crash.")
@click.argument("model", required=False, shell_complete=model_names)
@_serving_dir("Base directory of the model.")
@click.option(
    "--quarantine",
    is_flag=True,
    help="Move changed bytes, and what lies above the version that should serve, out of sight.",
)
@click.option("--verify", "hash_all", is_flag=True, help="Hash every version.")
@click.option(
    "--restore",
    is_flag=True,
    help="Bring back what should serve into an empty place, which may be one that is not mounted.",
)
@click.option(
    "--yes",
    is_flag=True,
    help="Do not ask about --quarantine. Where there is no terminal it is needed.",
)
@pass_settings
def reconcile(
    settings: Settings,
    model: str | None,
    serving_dir: str,
    quarantine: bool,
    hash_all: bool,
    restore: bool,
    yes: bool,
) -> None:
    """Bring registry and serving directory to one state after a crash or an accident.

    Finishes or undoes what was interrupted, publishes again what should serve and is missing, and
    writes down what is gone. What others put there is reported, never deleted. Running it again
    does nothing more. Exit code 4 means that something is left for a person. A place that is empty
    although a version should serve there is refused without --restore: it may not be mounted.

    Example: tfx-registry reconcile --serving-dir serving/penguin
    """
    from tfx_registry.operations import reconcile as bring_together

    if quarantine:
        settings.confirm(
            f"move what does not belong in {serving_dir} out of the servers' sight",
            "servers unload it",
            yes=yes,
        )
    with settings.open() as registry:
        done = bring_together(
            registry, serving_dir, model,
            quarantine=quarantine, hash_all=hash_all, restore=restore,
        )  # fmt: skip
    if settings.as_json:
        render.print_json(_full(done))
    else:
        _say(settings, done.actions)
        serves = f"version {done.serving} serves" if done.serving else "nothing serves"
        verb = "is in order" if not done.problems else "is not in order"
        say(f"{done.directory} {verb}: {serves} of {done.model}")
    _complain(settings, done.directory, done.problems)


@click.command(short_help="Take over a serving directory that Pusher has filled.")
@click.argument("model", shell_complete=model_names)
@_serving_dir("The directory that something else, such as TFX Pusher, has filled.")
@click.option(
    "--alias", "alias_name", default="production", show_default=True, help="For what serves."
)
@click.option("--reason", default="", help="Why.")
@pass_settings
def adopt(settings: Settings, model: str, serving_dir: str, alias_name: str, reason: str) -> None:
    """Take over a serving directory: register what lies there, under the numbers that it has.

    The highest number is what serves from now on, without a gate decision: it does so already. The
    next version gets the next higher number. Nothing is renamed; in an object store each version is
    copied out of sight, for rollbacks. A directory that holds anything else under a number is
    refused as a whole.

    Example: tfx-registry adopt penguin --serving-dir serving/penguin
    """
    from tfx_registry.operations import adopt as take_over

    with settings.open(create=True) as registry:
        done = take_over(registry, model, serving_dir, alias=alias_name, reason=reason)
    last = done.versions[-1]
    render.done(
        f"adopted {counted(len(done.registered), 'version')}, {last.ref} serves"
        if done.changed
        else f"nothing to do: all {len(done.versions)} are known already",
        {
            "versions": [render.version_json(v) for v in done.versions],
            "registered": list(done.registered),
            "changed": done.changed,
        },
        as_json=settings.as_json,
    )


@click.command(short_help="Remove old versions from a serving directory.")
@click.argument("model", required=False, shell_complete=model_names)
@_serving_dir("Base directory of the model.")
@click.option("--keep-last", required=True, type=click.IntRange(min=1), help="How many stay.")
@click.option(
    "--server",
    "servers",
    multiple=True,
    metavar="URL",
    help="REST address of a model server, such as http://localhost:8501; what it serves stays.",
)
@click.option("--dry-run/--yes", default=True, help="Only say what would go, or delete it.")
@click.option("--reason", default="", help="Why.")
@pass_settings
def prune(
    settings: Settings,
    model: str | None,
    serving_dir: str,
    keep_last: int,
    servers: Sequence[str],
    dry_run: bool,
    reason: str,
) -> None:
    """Remove old versions from a serving directory; says what would go, unless --yes.

    What serves, what an alias points at, what has the label "keep", and what a rollback would go
    back to stays, whatever --keep-last says. The records of removed versions stay, too.

    Example: tfx-registry prune --serving-dir serving/penguin --keep-last 3 --yes
    """
    from tfx_registry.operations import Retention
    from tfx_registry.operations import prune as remove_old
    from tfx_registry.operations.objects.site import model_at

    retention = Retention(keep_last, tuple(servers))
    with settings.open() as registry:
        name = model or model_at(registry, serving_dir)
        done = remove_old(registry, name, serving_dir, retention, dry_run=dry_run, reason=reason)
    if settings.as_json:
        render.print_json({**_full(done), "size_bytes": done.size_bytes})
        return
    _say(settings, done.recovered)
    rows = [[str(kept.number), "stays", ", ".join(kept.reasons)] for kept in done.kept]
    goes = "would go" if dry_run else "removed"
    rows += [
        [str(gone.number), goes, "the last known copy" if gone.last else ""]
        for gone in done.removed
    ]
    render.print_table(["version", "", "why"], sorted(rows, key=lambda row: int(row[0])))
    say(_sum_of(done))


@click.command(short_help="Hash the bytes of a version, wherever it lies.")
@click.argument("ref", shell_complete=model_names)
@pass_settings
def verify(settings: Settings, ref: str) -> None:
    """Hash the bytes of a version, everywhere that it is known to lie.

    Exit code 4 means that some were changed, that what serves is not right, or that no place holds
    the bytes. That they are gone from where they were registered is no error.

    Example: tfx-registry verify penguin@production
    """
    from tfx_registry.operations import verify as hash_everywhere

    with settings.open() as registry:
        version = registry.resolve(ref)
        found = hash_everywhere(registry, version.model, version.number)
    if settings.as_json:
        document = {
            "ref": version.ref,
            "digest": version.digest,
            "good": found.good,
            "places": [_full(place) for place in found.places],
        }
        render.print_json(document)
    else:
        rows = [[p.path, p.role, p.state.value, p.detail] for p in found.places]
        render.print_table(["place", "what", "bytes", ""], rows)
    if not found.good:
        raise _bad_bytes(found)


def _bad_bytes(found: Verification) -> IntegrityError:
    from tfx_registry.operations.verification import LOADED

    wrong = [p for p in found.places if p.state is not Bytes.RIGHT]
    first = next((p for p in wrong if p.state is Bytes.CHANGED or p.role in LOADED), None)
    return IntegrityError(
        f"{found.version.ref} is not in order",
        f"{first.path!r}: {first.detail}" if first else "no place is known that holds its bytes",
        "repair a serving directory with 'tfx-registry reconcile'",
    )


def _complain(settings: Settings, directory: str, problems: Sequence[str]) -> None:
    """Ends with exit code 4 if something is left for a person."""
    if not problems:
        return
    if not settings.as_json:
        for problem in problems:
            say(f"- {problem}", hang=2)
    count = "1 thing" if len(problems) == 1 else f"{len(problems)} things"
    raise IntegrityError(f"{count} wrong with {directory!r}", problems[0], "")


def _say(settings: Settings, lines: Sequence[str]) -> None:
    if not settings.as_json:
        for line in lines:
            say(f"- {line}", hang=2)


def _sum_of(done: Pruning) -> str:
    size = f"{done.size_bytes:,} bytes"
    if not done.removed:
        return "nothing to remove"
    count = "1 version" if len(done.removed) == 1 else f"{len(done.removed)} versions"
    if done.dry_run:
        return f"{count} would go, {size}; remove with --yes"
    return f"{count} removed, {size}"


def _full(value: Any) -> Any:
    """Writes a dataclass for programs, with every key."""
    if dataclasses.is_dataclass(value):
        return {f.name: _full(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_full(item) for item in value]
    return value.value if isinstance(value, enum.Enum) else value
