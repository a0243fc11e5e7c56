"""Tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from tfx_registry import codec
from tfx_registry.cli.encoding import writes_everything
from tfx_registry.cli.lines import facts, say
from tfx_registry.cli.plain_table import is_plain, plain_table
from tfx_registry.records import Head, Metric, Version, format_slice
from tfx_registry.registry.event_text import describe_event
from tfx_registry.registry.events import Event
from tfx_registry.text import format_number, printable

__all__ = [
    "done",
    "history",
    "models",
    "print_json",
    "print_table",
    "printable",
    "time",
    "version",
    "version_json",
    "versions",
]

_STYLES = {
    "serving": "bold green",
    "approved": "green",
    "passed": "green",
    "blocked": "red",
    "rejected": "red",
    "archived": "dim",
    "registered": "",
}
#: A pipe has no width: wide lines are better there than broken ones.
_PIPE_WIDTH = 1_000_000


def done(message: str, document: Any, *, as_json: bool) -> None:
    """Says what was done."""
    if as_json:
        print_json(document)
    else:
        say(message)


def models(heads: Sequence[Head], *, as_json: bool) -> None:
    """Lists models."""
    if as_json:
        print_json([_head_json(head) for head in heads])
        return
    if not heads:
        say("no models yet; register one with 'tfx-registry register MODEL PATH'")
        return
    rows = []
    for head in heads:
        aliases = ", ".join(f"{alias} -> {number}" for alias, number in head.aliases.items())
        serving = ", ".join(sorted({str(d.number) for d in head.deployments.values()}))
        rows.append(
            [head.model, str(head.count), str(head.latest), serving, aliases, time(head.updated)]
        )
    print_table(["model", "versions", "latest", "serving", "aliases", "changed (UTC)"], rows)


def versions(found: Sequence[Version], *, as_json: bool) -> None:
    """Lists versions."""
    if as_json:
        print_json([version_json(v) for v in found])
        return
    rows = []
    for v in found:
        style = _STYLES[v.state.value]
        text = v.state.value + (", overridden" if v.override else "")
        text += ", rolled back" if v.awaits_decision and not v.serving else ""
        text += ", bytes gone" if v.bytes_gone else ""
        state = f"[{style}]{text}[/]" if style else text
        why = v.decision.reasons[0] if v.decision and v.decision.reasons else ""
        rows.append(
            [
                str(v.number),
                state,
                ", ".join(v.aliases),
                time(v.time),
                _escape(v.actor),
                v.digest[:12],
                _escape(why),
            ]
        )
    header = ["version", "state", "aliases", "registered (UTC)", "by", "digest", "why blocked"]
    if not any(row[-1] for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    print_table(header, rows)


def version(v: Version, *, as_json: bool) -> None:
    """Shows one version."""
    if as_json:
        print_json(version_json(v))
        return
    found = v.facts
    rows = [
        ("version", v.ref),
        ("state", v.state.value),
        ("aliases", ", ".join(v.aliases)),
        ("serving in", ", ".join(v.serving)),
        ("rolled back", f"event {v.rolled_back}" if v.rolled_back else ""),
        ("bytes removed", ", ".join(v.removed_from)),
        ("bytes", "gone: no place is known any more that holds them" if v.bytes_gone else ""),
        ("registered", f"{time(v.time)} UTC by {v.actor}"),
        ("description", v.description),
        ("labels", ", ".join(f"{k}={w}" for k, w in sorted(v.labels.items()))),
        ("semantic version", v.semantic_version),
        ("format", found.format.value),
        ("bytes", f"{found.size_bytes} in {found.file_count} files, from {found.uri}"),
        ("digest", found.digest),
        ("same bytes as", f"version {v.same_bytes_as}" if v.same_bytes_as else ""),
        ("pipeline", " ".join(filter(None, (v.origin.pipeline_name, v.origin.run_id)))),
        ("parameters", ", ".join(f"{k}={w}" for k, w in sorted(v.hyperparameters.items()))),
        ("libraries", ", ".join(f"{k} {w}" for k, w in sorted(v.origin.libraries.items()))),
    ]
    rows += [("came from", f"{s.key}: {s.type_name} {s.uri}") for s in v.sources]
    for name, signature in found.signatures.items():
        inputs = ", ".join(f"{k} {spec}" for k, spec in sorted(signature.inputs.items()))
        outputs = ", ".join(f"{k} {spec}" for k, spec in sorted(signature.outputs.items()))
        rows.append(("signature", f"{name}({inputs}) -> {outputs}"))
    if v.decision:
        d = v.decision
        against = f" against version {d.baseline}" if d.baseline else ""
        rows.append(("decision", f"{d.verdict.value}{against}, {time(d.time)} UTC by {d.actor}"))
        rows += [("  blocked", reason) for reason in d.reasons]
        rows += [("  note", note) for note in d.notes]
    rows += [
        (
            "approved" if a.approved else "rejected",
            f"{time(a.time)} UTC by {a.actor}" + (f": {a.reason}" if a.reason else ""),
        )
        for a in v.approvals
    ]
    rows += [
        (
            "overridden",
            f"{time(o.time)} to {time(o.expires)} UTC {o.scope} by {o.actor}: {o.reason}",
        )
        for o in (v.override, *v.other_overrides)
        if o is not None
    ]
    facts(rows)
    if v.metrics:
        click.echo()
        _print_metrics(v.metrics)


def history(events: Sequence[Event], *, as_json: bool) -> None:
    """Shows events."""
    if as_json:
        print_json([event.to_json() for event in events])
        return
    rows = [
        [
            str(event.seq),
            time(event.time),
            _escape(event.actor),
            event.kind,
            _escape(describe_event(event)),
            _escape(event.reason),
        ]
        for event in events
    ]
    header = ["event", "when (UTC)", "who", "what", "", "why"]
    if not any(row[-1] for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    print_table(header, rows)


def version_json(v: Version) -> dict[str, Any]:
    """Writes a version for programs; every key is always there."""
    return {
        "model": v.model,
        "number": v.number,
        "ref": v.ref,
        "state": v.state.value,
        "aliases": list(v.aliases),
        "serving": list(v.serving),
        "time": v.time,
        "actor": v.actor,
        "digest": v.digest,
        "uri": v.uri,
        "format": v.facts.format.value,
        "size_bytes": v.facts.size_bytes,
        "file_count": v.facts.file_count,
        "signatures": codec.encode(v.facts.signatures),
        "fingerprint": codec.encode(v.facts.fingerprint),
        "tensorflow_version": v.facts.tensorflow_version,
        "description": v.description,
        "labels": dict(v.labels),
        "semantic_version": v.semantic_version,
        "same_bytes_as": v.same_bytes_as,
        "origin": codec.encode(v.origin),
        "sources": codec.encode(v.sources),
        "hyperparameters": dict(v.hyperparameters),
        "metrics": [
            {"name": m.name, "slice": dict(m.slice), "value": codec.encode(m.value)}
            for m in v.metrics
        ],
        "decision": {
            "verdict": v.decision.verdict.value,
            "event": v.decision.seq,
            "time": v.decision.time,
            "actor": v.decision.actor,
            "baseline": v.decision.baseline,
            "reasons": list(v.decision.reasons),
            "notes": list(v.decision.notes),
        }
        if v.decision
        else None,
        "approvals": [
            {
                "approved": a.approved,
                "actor": a.actor,
                "time": a.time,
                "reason": a.reason,
                "event": a.seq,
            }
            for a in v.approvals
        ],
        "override": {
            "actor": v.override.actor,
            "time": v.override.time,
            "expires": v.override.expires,
            "reason": v.override.reason,
            "event": v.override.seq,
            "alias": v.override.alias or None,
        }
        if v.override
        else None,
        "archived": v.archived,
        "rolled_back": v.rolled_back or None,
        "removed_from": list(v.removed_from),
        "bytes_gone": v.bytes_gone,
    }


def time(text: str) -> str:
    """Shortens a stored time to the second."""
    return text[:19].replace("T", " ")


def _head_json(head: Head) -> dict[str, Any]:
    return {
        "model": head.model,
        "versions": head.count,
        "latest": head.latest,
        "aliases": dict(head.aliases),
        "serving": {
            d.destination: {"number": d.number, "alias": d.alias, "time": d.time, "actor": d.actor}
            for d in head.deployments.values()
        },
        "created": head.created,
        "updated": head.updated,
        "events": head.seq,
    }


def _print_metrics(metrics: Sequence[Metric]) -> None:
    names = sorted({m.name for m in metrics})
    slices = sorted({m.slice for m in metrics}, key=lambda key: (len(key), key))
    table = {(m.name, m.slice): format_number(m.value) for m in metrics}
    rows = [
        [_escape(format_slice(key)), *(table.get((name, key), "") for name in names)]
        for key in slices
    ]
    print_table(["slice", *names], rows)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table; in a pipe without colours and without cutting lines.

    In a terminal it fits: what is too wide is wrapped, or goes below its row.
    """
    if is_plain(header, rows, _PIPE_WIDTH):
        click.echo(plain_table(header, rows))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in header:
        table.add_column(escape(printable(name)), overflow="fold")
    cells = [[printable(cell) for cell in row] for row in rows]
    for row in cells:
        table.add_row(*row)
    if sys.stdout.isatty():
        from tfx_registry.cli.narrow_table import fits, narrow_table

        if not fits(header, cells, console.width):
            for line in narrow_table([printable(name) for name in header], cells, console):
                console.print(line, soft_wrap=True)
            return
    console.print(table)


def _escape(text: str) -> str:
    if "[" not in text and not text.endswith("\\"):
        return text  # rich would leave it as it is, and takes long to load
    from rich.markup import escape

    return escape(text)


def print_json(document: Any) -> None:
    """Prints one JSON document, with escapes where the output does not have every character."""
    escaped = not writes_everything()
    click.echo(json.dumps(document, indent=2, ensure_ascii=escaped, allow_nan=False))
