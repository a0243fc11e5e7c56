"""Tables and JSON of what was found and compared."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping, Sequence
from typing import Any

import click

from tfx_registry import codec
from tfx_registry.cli import render
from tfx_registry.cli.lines import say
from tfx_registry.gate.report import format_number
from tfx_registry.records import format_slice
from tfx_registry.registry.comparison import Change, Comparison, MetricChange, Status
from tfx_registry.registry.finding import SearchPage
from tfx_registry.registry.lineage_render import printable
from tfx_registry.registry.search import parse_order
from tfx_registry.registry.search_fields import bind

__all__ = ["comparison", "comparison_json", "found"]

_MAX_SHOWN = 200


def found(page: SearchPage, order_by: str | None, *, as_json: bool) -> None:
    """Lists what a search found."""
    if as_json:
        document = {
            "versions": [render.version_json(version) for version in page],
            "next_page_token": page.next_page_token,
        }
        render.done("", document, as_json=True)
        return
    if not page:
        click.echo("nothing found")
        return
    header = ["version", "state", "aliases", "registered (UTC)", "by"]
    rows = [
        [v.ref, v.state.value, ", ".join(v.aliases), render.time(v.time), v.actor] for v in page
    ]
    if order_by is not None:
        field, read = bind(parse_order(order_by).field)
        if field.name not in ("model", "number", "state", "time", "actor"):
            header.append(order_by.split()[0])
            for row, version in zip(rows, page, strict=True):
                row.append(_value(read(version)))
    _table(header, rows)
    if page.next_page_token is not None:
        click.echo(f"there is more: --page-token {page.next_page_token}")


def comparison(c: Comparison, *, everything: bool, as_json: bool) -> None:
    """Shows a comparison, by default only what is different."""
    if as_json:
        render.done("", comparison_json(c), as_json=True)
        return
    say(f"{c.a} -> {c.b}")
    click.echo("same bytes" if c.same_bytes else "different bytes")
    for line in c.relation:
        say(line)
    if c.metrics:
        _metrics(c, everything)
    _section("facts", c, c.facts, everything)
    _section("signatures", c, c.signatures, everything)
    _sources(c, everything)
    _section("parameters", c, c.hyperparameters, everything)
    _section("libraries", c, c.libraries, everything)
    _section("labels", c, c.labels, everything)


def comparison_json(c: Comparison) -> dict[str, Any]:
    """Writes a comparison for programs; every key is always there."""
    document = _full(c)
    for row, change in zip(document["metrics"], c.metrics, strict=True):
        row["slice"] = dict(change.slice)
    return dict(document)


def _full(value: Any) -> Any:
    """Like `codec.encode`, with the fields that hold their default."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _full(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _full(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_full(item) for item in value]
    return value.value if isinstance(value, enum.Enum) else codec.encode(value)


def _metrics(c: Comparison, everything: bool) -> None:
    shown = [m for m in c.metrics if everything or m.status is not Status.SAME]
    _title("metrics", len(c.metrics) - len(shown))
    _table(["slice", "metric", c.a, c.b, "change"], [_metric_row(m) for m in shown])


def _metric_row(m: MetricChange) -> list[str]:
    if m.delta is None:
        change = m.status.value
    elif m.status is Status.SAME:
        change = "same"
    else:
        change = ("+" if m.delta > 0 else "") + format_number(m.delta)
    return [format_slice(m.slice), m.name, _value(m.a), _value(m.b), change]


def _section(title: str, c: Comparison, changes: Sequence[Change], everything: bool) -> None:
    shown = [change for change in changes if everything or change.status is not Status.SAME]
    if not changes:
        return
    _title(title, len(changes) - len(shown))
    rows = [[row.name, _short(row.name, row.a), _short(row.name, row.b)] for row in shown]
    _table(["", c.a, c.b], rows)


def _sources(c: Comparison, everything: bool) -> None:
    shown = [source for source in c.sources if everything or source.status is not Status.SAME]
    if not c.sources:
        return
    _title("came from", len(c.sources) - len(shown))
    for source in shown:
        say(f"{source.key}: {source.status.value}")
        for mark, side in (("-", source.a), ("+", source.b)):
            if side is not None:
                say(f"{mark} {side.type_name} {side.uri}", indent=2, hang=2)
        for change in source.properties:
            say(f"{change.name}: {_value(change.a)} -> {_value(change.b)}", indent=4, hang=2)


def _title(title: str, same: int) -> None:
    click.echo(f"\n{title}" + (f" ({same} the same, not shown)" if same else ""))


def _short(name: str, value: str | None) -> str:
    if value is not None and name == "digest":
        return value[:12]
    return render.time(value) if value is not None and name == "registered" else _value(value)


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return format_number(value) if math.isfinite(value) else str(codec.encode(value))
    text = str(value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.markup import escape  # only tables for people need it

    if rows:
        escaped = [[escape(printable(cell)) for cell in row] for row in rows]
        render.print_table(header, escaped)
