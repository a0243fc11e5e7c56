"""How versions, lists, decisions and lineage look in a notebook: small pieces of HTML.

Every text that somebody wrote is escaped, nothing is loaded and no script runs. Colours come from
the notebook's own theme, but for marks that also say in words what they mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tfx_registry.records import Head, Version, format_slice
from tfx_registry.text import format_number, printable

if TYPE_CHECKING:
    from tfx_registry.gate.report import GateReport
    from tfx_registry.registry.events import Event
    from tfx_registry.registry.lineage_graph import LineageGraph

__all__ = [
    "EventList",
    "HeadList",
    "VersionList",
    "lineage_html",
    "report_html",
    "version_html",
    "versions_html",
]

#: A notebook that shows thousands of rows helps nobody.
_MAX_ROWS = 50
_CELL = "text-align:left;padding:2px 12px 2px 0;vertical-align:top"
_TABLE = "border-collapse:collapse;font-variant-numeric:tabular-nums"
_MARKS = {
    "serving": ("#1a7f37", "●"),
    "passed": ("#1a7f37", "✓"),
    "approved": ("#1a7f37", "✓"),
    "blocked": ("#cf222e", "✗"),
    "rejected": ("#cf222e", "✗"),
}


class VersionList(list[Version]):
    """A list of versions that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        return versions_html(self)


class HeadList(list[Head]):
    """A list of models that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        rows = [
            [
                _text(head.model),
                str(head.count),
                str(head.latest),
                _text(", ".join(f"{alias} → {n}" for alias, n in head.aliases.items())),
                _time(head.updated),
            ]
            for head in self[:_MAX_ROWS]
        ]
        header = ["model", "versions", "latest", "aliases", "changed (UTC)"]
        return _table(header, rows, len(self))


class EventList(list["Event"]):
    """A list of events that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        rows = [
            [str(e.seq), _time(e.time), _text(e.actor), _text(e.kind), _number(e), _text(e.reason)]
            for e in self[:_MAX_ROWS]
        ]
        header = ["event", "when (UTC)", "who", "what", "version", "why"]
        return _table(header, rows, len(self))


def versions_html(versions: Sequence[Version]) -> str:
    """Returns versions as a table.

    Args:
        versions: The versions.
    """
    rows = [
        [
            _text(v.ref),
            _mark(v.state.value),
            _text(", ".join(v.aliases)),
            _time(v.time),
            _text(v.actor),
            f"<code>{_text(v.digest[:12])}</code>",
            _text(v.decision.reasons[0] if v.decision and v.decision.reasons else ""),
        ]
        for v in versions[:_MAX_ROWS]
    ]
    header = ["version", "state", "aliases", "registered (UTC)", "by", "digest", "why blocked"]
    return _table(header, rows, len(versions))


def version_html(version: Version) -> str:
    """Returns what is known of one version as a table.

    Args:
        version: The version.
    """
    decision = version.decision
    said = ""
    if decision is not None:
        against = f" against version {decision.baseline}" if decision.baseline else ""
        said = f"{_mark(decision.verdict.value)}{against}, {_time(decision.time)} by "
        said += _text(decision.actor) + "".join(f"<br>{_text(r)}" for r in decision.reasons)
    rows = [
        ["version", f"<b>{_text(version.ref)}</b>"],
        ["state", _mark(version.state.value)],
        ["aliases", _text(", ".join(version.aliases))],
        ["serving in", _text(", ".join(version.serving))],
        ["registered", f"{_time(version.time)} UTC by {_text(version.actor)}"],
        ["description", _text(version.description)],
        ["labels", _text(", ".join(f"{k}={w}" for k, w in sorted(version.labels.items())))],
        ["decision", said],
        ["digest", f"<code>{_text(version.digest)}</code>"],
        ["bytes", f"{version.facts.size_bytes:,} in {version.facts.file_count} files"],
        ["came from", "<br>".join(_text(f"{s.key}: {s.uri}") for s in version.sources)],
    ]
    return _table([], [row for row in rows if row[1]], len(rows))


def report_html(report: GateReport) -> str:
    """Returns a decision as a sentence and a table of its checks, failures first.

    Args:
        report: The decision.
    """
    failed = len(report.failures)
    against = f" against version {report.baseline.number}" if report.baseline else ""
    title = (
        f"<p><b>{_text(report.model)}:{report.candidate.number}</b> "
        f"{_mark(report.verdict.value)}{against}: {failed} of {len(report.checks)} checks failed"
        "</p>"
    )
    rows = [
        [
            _mark("passed" if check.passed else "blocked", "pass" if check.passed else "fail"),
            _text(format_slice(check.slice)),
            _text(check.metric),
            _text(check.rule or check.message),
            _value(check.value),
            f"{check.interval.lower:.4g} to {check.interval.upper:.4g}" if check.interval else "",
            _value(check.baseline_value),
            _value(check.change),
            "" if check.examples is None else f"{check.examples:,}",
        ]
        for check in report.checks[:_MAX_ROWS]
    ]
    header = ["answer", "slice", "metric", "rule", "value", "interval", "baseline", "change",
              "examples"]  # fmt: skip
    used = [i for i, name in enumerate(header) if i < 4 or any(row[i] for row in rows)]
    table = [[row[i] for i in used] for row in rows]
    return title + _table([header[i] for i in used], table, len(report.checks))


def lineage_html(graph: LineageGraph) -> str:
    """Returns a lineage as a tree.

    Args:
        graph: The lineage.
    """
    from tfx_registry.registry.lineage_render import tree

    return f'<pre style="line-height:1.3">{_text(tree(graph), lines=True)}</pre>'


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], count: int) -> str:
    """Writes a table; the cells are HTML already."""
    head = "".join(f'<th scope="col" style="{_CELL}">{_text(name)}</th>' for name in header)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    more = f"<p>{count - _MAX_ROWS:,} more</p>" if count > _MAX_ROWS else ""
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    return f'<table style="{_TABLE}">{head}<tbody>{body}</tbody></table>{more}'


def _text(text: str, *, lines: bool = False) -> str:
    import html  # only notebooks need it

    shown = "\n".join(map(printable, text.split("\n"))) if lines else printable(text)
    return html.escape(shown)


def _mark(word: str, shown: str = "") -> str:
    color, sign = _MARKS.get(word, ("inherit", ""))
    return f'<span style="color:{color}">{sign} {_text(shown or word)}</span>'


def _time(text: str) -> str:
    return _text(text[:19].replace("T", " "))


def _value(value: float | None) -> str:
    return "" if value is None else format_number(value)


def _number(event: Event) -> str:
    return "" if event.number is None else str(event.number)
