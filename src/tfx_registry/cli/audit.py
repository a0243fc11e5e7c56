"""Commands that prove what happened: export, import, verify-log, fsck, served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from tfx_registry import codec
from tfx_registry.cli import render
from tfx_registry.cli.common import Settings, pass_settings
from tfx_registry.cli.completion import model_names
from tfx_registry.cli.files import counting, source, target
from tfx_registry.cli.lines import counted, facts, say
from tfx_registry.errors import IntegrityError, InvalidInputError
from tfx_registry.gate.report import format_number
from tfx_registry.records import format_slice
from tfx_registry.registry.served import Served
from tfx_registry.registry.uri import RegistryUri, default_uri
from tfx_registry.registry.verify import Damage, LogReport

__all__ = ["export", "fsck", "import_", "served", "verify_log"]


@click.command()
@click.argument("models", nargs=-1, shell_complete=model_names)
@click.option("--out", required=True, metavar="FILE|-", help="Where to; - is the standard output.")
@pass_settings
def export(settings: Settings, models: Sequence[str], out: str) -> None:
    """Write the history of MODELS, or of everything, as JSON Lines.

    Each event is written exactly as stored, with its digest; the last line counts them, so that a
    cut file is noticed. FILE appears complete or not at all.

    Example: tfx-registry export penguin --out penguin.jsonl
    """
    if out == "-" and settings.as_json:
        raise InvalidInputError(
            "cannot export to the standard output", "--json prints a document there", "name a file"
        )
    uri = RegistryUri.parse(settings.registry or default_uri()).absolute()
    with settings.open() as registry, target(out) as write, counting() as progress:
        done = registry.export_history(write, models, registry=str(uri), progress=progress)
    if out != "-":
        events = sum(done.events.values())
        render.done(
            f"exported {counted(events, 'event')} of {counted(len(done.events), 'model')} to {out}",
            {"events": dict(done.events), "out": out},
            as_json=settings.as_json,
        )


@click.command("import")
@click.argument("file", metavar="FILE|-")
@pass_settings
def import_(settings: Settings, file: str) -> None:
    """Append an exported history; - is the standard input.

    All digests are verified before anything is written. Importing again changes nothing, and an
    interrupted import goes on where it stopped. A model with another history is refused.

    Example: tfx-registry --registry sqlite:///new.sqlite import penguin.jsonl
    """
    with source(file) as stream, settings.open(create=True) as registry, counting() as progress:
        done = registry.import_history(stream, progress=progress)
    appended, total = sum(done.appended.values()), sum(done.events.values())
    render.done(
        f"imported {counted(appended, 'event')} of {counted(len(done.events), 'model')}; "
        f"{total - appended} were there already",
        {"events": dict(done.events), "appended": dict(done.appended)},
        as_json=settings.as_json,
    )


@click.command("verify-log", short_help="Check that logs are whole and unedited.")
@click.argument("model", required=False, shell_complete=model_names)
@pass_settings
def verify_log(settings: Settings, model: str | None) -> None:
    """Check the log of MODEL, or all logs: are they whole and unedited?

    Numbers have no gap, tokens are unique, and each event follows the digest of the one before.

    Exit code 4 means that a log is damaged.

    Example: tfx-registry verify-log penguin
    """
    with settings.open() as registry, counting() as progress:
        if model:
            reports = [registry.verify_log(model, progress=progress)]
        else:
            reports = registry.verify_logs(progress=progress)
    findings = [finding for report in reports for finding in report.findings]
    if settings.as_json:
        render.print_json([_report_json(report) for report in reports])
    else:
        for report in reports:
            state = "damaged" if report.findings else f"holds, ends with digest {report.digest}"
            say(f"{report.model}: {counted(report.events, 'event')}, {state}", hang=2)
            for kind, count in report.unknown_kinds.items():
                say(
                    f"{count} events of the unknown kind {kind!r}, of a newer release",
                    indent=2,
                )
        _print_damage(findings)
    if findings:
        raise IntegrityError(
            f"the log of {findings[0].model!r} does not hold",
            str(findings[0]),
            "compare with an export or a backup",
        )


@click.command(short_help="Compare all that is stored with the log.")
@click.argument("model", required=False, shell_complete=model_names)
@click.option("--repair", is_flag=True, help="Rebuild from the log what is wrong beside it.")
@pass_settings
def fsck(settings: Settings, model: str | None, repair: bool) -> None:
    """Compare all that is stored with the log, of MODEL or of all models.

    --repair never changes an event, and rebuilds nothing from a log that is damaged itself.
    Exit code 0 means clean, 4 that damage is left.

    Example: tfx-registry fsck --repair
    """
    with settings.open() as registry, counting() as progress:
        report = registry.fsck(model, repair=repair, progress=progress)
    if settings.as_json:
        document = {
            "models": report.models,
            "events": report.events,
            "findings": [codec.encode(finding) | {"repairable": finding.repairable}
                         for finding in report.findings],
            "repaired": [codec.encode(finding) for finding in report.repaired],
        }  # fmt: skip
        render.print_json(document)
    else:
        for finding in report.repaired:
            say(f"repaired: {finding}", hang=2)
        _print_damage(report.findings)
        left = f"{counted(len(report.findings), 'finding')} left" if report.findings else "clean"
        say(f"{counted(report.models, 'model')}, {counted(report.events, 'event')}: {left}")
    if report.findings:
        raise IntegrityError(
            "1 thing is damaged"
            if len(report.findings) == 1
            else f"{len(report.findings)} things are damaged",
            f"the first is {report.findings[0]}",
            _way_out(report.findings),
        )


def _way_out(findings: Sequence[Damage]) -> str:
    if all(finding.repairable for finding in findings):
        return "rebuild them with 'tfx-registry fsck --repair'"
    if any(finding.code.startswith("file.") for finding in findings):
        return "first do what is said of the file"
    return "a damaged log is not repaired: compare with an export or a backup"


@click.command(short_help="Show what served at a time, and why.")
@click.argument("model", shell_complete=model_names)
@click.option("--on", "on", required=True, metavar="DATE[THH:MM]",
              help="UTC; a date alone means that whole day.")  # fmt: skip
@click.option("--alias", "alias_name", default="production", show_default=True, help="Under what.")
@click.option("--serving-dir", type=click.Path(), help="Where, instead of under which alias.")
@pass_settings
def served(
    settings: Settings, model: str, on: str, alias_name: str, serving_dir: str | None
) -> None:
    """Show what served at a time, why, from what data, approved by whom.

    Of a whole day, what served at its end comes first, then what had ended on it.

    Example: tfx-registry served penguin --on 2026-11-21
    """
    destination = None
    if serving_dir is not None:
        from tfx_registry.serving.objects import destination_of

        destination = destination_of(serving_dir)
    with settings.open() as registry:
        found = registry.served(model, on, alias=alias_name, destination=destination)
    if settings.as_json:
        render.print_json([_served_json(answer) for answer in found])
        return
    for index, answer in enumerate(found):
        if index:
            click.echo()
        _print_served(answer)


#: How a version came to serve, by the kind of the event.
_BEGAN = {
    "promoted": "promoted",
    "rolled_back": "rolled back to",
    "adopted": "adopted",
    "canary_started": "put on trial",
}


def _print_served(answer: Served) -> None:
    v, d = answer.version, answer.deployment
    began = _BEGAN.get(answer.kind, answer.kind)
    rows = [
        ("served", f"{v.ref} under {d.alias!r} in {d.destination}"),
        ("since", f"{render.time(d.time)} UTC, {began} by {d.actor} (event {d.seq})"),
        ("why", answer.reason),
        ("digest", v.digest),
        ("registered", f"{render.time(v.time)} UTC by {v.actor}"),
    ]
    if answer.until:
        rows.insert(2, ("until", f"{render.time(answer.until)} UTC (event {answer.ended_by})"))
    rows += [("trained on", f"{s.key}: {s.type_name} {s.uri}") for s in v.sources]
    if v.decision:
        s = v.decision
        against = f" against version {s.baseline}" if s.baseline else ""
        decided = f"{s.verdict.value}{against}, {render.time(s.time)} UTC by {s.actor}"
        rows.append(("decision", f"{decided} (event {s.seq})"))
        rows += [("  blocked", reason) for reason in s.reasons]
        rows += [("  note", note) for note in s.notes]
    if answer.decision:
        rows += [
            ("  number", f"{m.name} {format_number(m.value)} ({format_slice(m.slice)})")
            for m in answer.decision.metrics
        ]
    for word in v.approvals:
        said = "approved" if word.approved else "rejected"
        rows.append((said, f"{render.time(word.time)} UTC by {word.actor}: {word.reason}"))
    rows += [
        ("override", f"{o.scope} by {o.actor} until {render.time(o.expires)} UTC: {o.reason}")
        for o in (v.override, *v.other_overrides)
        if o is not None
    ]
    facts(rows)


def _served_json(answer: Served) -> dict[str, Any]:
    return {
        "deployment": codec.encode(answer.deployment),
        "kind": answer.kind,
        "until": answer.until or None,
        "ended_by": answer.ended_by or None,
        "reason": answer.reason,
        "version": render.version_json(answer.version),
        "decision": codec.encode(answer.decision),
        "approvals": codec.encode(answer.version.approvals),
        "override": codec.encode(answer.version.override),
    }


def _report_json(report: LogReport) -> dict[str, Any]:
    return {
        "model": report.model,
        "events": report.events,
        "digest": report.digest,
        "holds": not report.findings,
        "findings": [codec.encode(finding) for finding in report.findings],
        "unknown_kinds": dict(report.unknown_kinds),
    }


def _print_damage(findings: Sequence[Damage]) -> None:
    for finding in findings:
        say(f"damaged: {finding}" + (" (repairable)" if finding.repairable else ""), hang=2)
