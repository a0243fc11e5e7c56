"""What a model page knows, as one JSON document: docs/pages.md describes it field by field."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfx_registry import codec
from tfx_registry._version import __version__
from tfx_registry.gate.report import GateReport
from tfx_registry.gating import report_of
from tfx_registry.pages.periods import periods
from tfx_registry.pages.series import POINT_COLUMNS, MetricSeries
from tfx_registry.records import Deployment, Head, Version
from tfx_registry.registry.event_text import describe_event
from tfx_registry.registry.events import Decided, Event, Overridden
from tfx_registry.registry.lineage import Lineage
from tfx_registry.registry.writer import format_time

__all__ = [
    "FORMAT",
    "HISTORY_COLUMNS",
    "event_row",
    "model_document",
    "version_document",
    "version_json",
]

#: Says what the document is; a change that readers would trip over gets another number.
FORMAT = "tfx-registry model page 1"

#: What stands in a row of the history, in this order.
HISTORY_COLUMNS = ("event", "time", "actor", "kind", "number", "what", "reason")

#: The whole lineage is embedded for so many versions; of the others, what was recorded with them.
_GRAPHS = 20
_EVENTS_PER_VERSION = 10


def model_document(
    registry: Lineage,
    model: str,
    *,
    made: str | None = None,
    graphs: int = _GRAPHS,
    newest: int | None = None,
) -> dict[str, Any]:
    """Collects what a page about a model shows.

    Args:
        registry: The registry; nothing is written to it.
        model: Name of the model.
        made: The time of the page in UTC, as stored times are written; None means now.
        graphs: For how many versions the whole lineage is looked up: first those that serve, are
            on trial or have an alias, then the newest.
        newest: Only so many versions, the newest, and ten times as many events; None means all.

    Returns:
        The document; it can be written as strict JSON.

    Raises:
        NotFoundError: There is no such model.
    """
    head = registry.head(model)
    versions = registry.list_versions(model, limit=newest)[::-1]
    history = _history(registry, head, newest)
    tables: dict[str, _Pool] = {"libraries": _Pool(), "signatures": _Pool()}
    series = MetricSeries()
    decisions, last = _decisions(history)
    decisions = [*_earlier_decisions(versions, last), *decisions]
    for version in versions:
        series.add(version, last.get(version.number))
    return {
        "format": FORMAT,
        "tool": f"tfx-registry {__version__}",
        "made": made or format_time(datetime.datetime.now(datetime.timezone.utc)),
        "model": head.model,
        "created": head.created,
        "updated": head.updated,
        "events": head.seq,
        "left_out": {"versions": head.count - len(versions), "events": head.seq - len(history)},
        "aliases": dict(head.aliases),
        "serving": [_deployment(d) for d in head.deployments.values()],
        "trials": [_deployment(d) for d in head.canaries.values()],
        "unfinished": [
            _deployment(d) for d in (*head.unfinished.values(), *head.rollouts.values())
        ],
        "periods": [period.to_json() for period in periods(history)],
        "versions": [_pooled(version, tables) for version in versions],
        "tables": {name: pool.values for name, pool in tables.items()},
        "decisions": decisions,
        "overrides": [_override(event) for event in history if event.kind == Overridden.kind],
        "metrics": {"columns": list(POINT_COLUMNS), "series": series.to_json()},
        "history": {
            "columns": list(HISTORY_COLUMNS),
            "rows": [event_row(event) for event in history],
        },
        "lineage": {
            str(number): registry.lineage(model, number).to_json()
            for number in _most_wanted(head, versions, graphs)
        },
    }


def version_document(registry: Lineage, model: str, number: int) -> dict[str, Any]:
    """Collects what the picture of one version's lineage needs: a small document of the same kind.

    Args:
        registry: The registry; nothing is written to it.
        model: Name of the model.
        number: The version.

    Returns:
        The document.

    Raises:
        NotFoundError: There is no such version.
    """
    version = registry.get(model, number)
    tables: dict[str, _Pool] = {"libraries": _Pool(), "signatures": _Pool()}
    return {
        "format": FORMAT,
        "model": version.model,
        "versions": [_pooled(version, tables)],
        "tables": {name: pool.values for name, pool in tables.items()},
        **{name: [] for name in ("decisions", "overrides", "periods", "serving", "trials")},
        "lineage": {str(number): registry.lineage(model, number).to_json()},
    }


def version_json(version: Version) -> dict[str, Any]:
    """Writes a version as a JSON object: its record, and what follows from it."""
    return {
        "number": version.number,
        "state": version.state.value,
        "awaits_decision": version.awaits_decision,
        **codec.encode(version),
    }


def event_row(event: Event) -> list[Any]:
    """Writes an event as `HISTORY_COLUMNS` say."""
    return [
        event.seq,
        event.time,
        event.actor,
        event.kind,
        event.number,
        describe_event(event),
        event.reason,
    ]


def _history(registry: Lineage, head: Head, newest: int | None) -> list[Event]:
    if newest is None:
        return registry.history(head.model)
    first = max(1, head.seq - _EVENTS_PER_VERSION * newest + 1)
    return registry._store.read_events(head.model, first, head.seq)


def _earlier_decisions(
    versions: Iterable[Version], known: Mapping[int, object]
) -> list[dict[str, Any]]:
    """Writes decisions whose events were not read, as far as the versions say."""
    return [
        {
            "number": version.number,
            "event": version.decision.seq,
            "time": version.decision.time,
            "actor": version.decision.actor,
            "why": "",
            "verdict": version.decision.verdict.value,
            "alias": version.decision.alias,
            "baseline": version.decision.baseline,
            "reasons": list(version.decision.reasons),
            "notes": list(version.decision.notes),
            "checks": None,
            "data": "",
            "evaluation": "",
            "policy_digest": "",
            "run": {},
        }
        for version in versions
        if version.decision is not None and version.number not in known
    ]


class _Pool:
    """Values that many versions share, each kept once."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        """Returns where a value stands, after adding it if it is new."""
        text = json.dumps(value, sort_keys=True)
        if text not in self._places:
            self._places[text] = len(self.values)
            self.values.append(value)
        return self._places[text]


def _pooled(version: Version, tables: dict[str, _Pool]) -> dict[str, Any]:
    """Writes a version without what stands elsewhere in the document."""
    record = version_json(version)
    for name in ("model", "metrics", "decision", "override", "other_overrides"):
        record.pop(name, None)
    facts, origin = record["facts"], record.get("origin", {})
    facts.pop("fingerprint", None)
    if "signatures" in facts:
        facts["signatures"] = tables["signatures"].place(facts["signatures"])
    if "libraries" in origin:
        origin["libraries"] = tables["libraries"].place(origin["libraries"])
    return record


def _deployment(deployment: Deployment) -> dict[str, Any]:
    return {
        "number": deployment.number,
        "destination": deployment.destination,
        "alias": deployment.alias,
        "time": deployment.time,
        "actor": deployment.actor,
        "event": deployment.seq,
        "operation": deployment.operation,
        "back_to": list(deployment.trail),
    }


def _decisions(
    history: Iterable[Event],
) -> tuple[list[dict[str, Any]], dict[int, GateReport | None]]:
    """Returns all decisions, and the report of the last one on each version."""
    found = []
    last: dict[int, GateReport | None] = {}
    for event in history:
        decided = event.payload
        if isinstance(decided, Decided):
            report = last[decided.number] = report_of(decided)
            found.append(_decision(event, decided, report))
    return found, last


def _decision(event: Event, decided: Decided, report: GateReport | None) -> dict[str, Any]:
    return {
        "number": decided.number,
        "event": event.seq,
        "time": event.time,
        "actor": event.actor,
        "why": event.reason,
        "verdict": decided.verdict.value,
        "alias": decided.alias,
        "baseline": decided.baseline,
        "reasons": list(decided.reasons),
        "notes": list(decided.notes),
        "checks": len(report.checks) if report else None,
        "data": (report.data.location or report.data_location) if report else "",
        "evaluation": report.evaluation if report else "",
        "policy_digest": report.policy_digest if report else "",
        "run": codec.encode(decided.run),
    }


def _override(event: Event) -> dict[str, Any]:
    assert isinstance(event.payload, Overridden)
    return {
        "number": event.payload.number,
        "event": event.seq,
        "time": event.time,
        "expires": event.payload.expires,
        "alias": event.payload.alias,
        "actor": event.actor,
        "reason": event.reason,
    }


def _most_wanted(head: Head, versions: Sequence[Version], count: int) -> list[int]:
    deployed = (*head.deployments.values(), *head.canaries.values())
    first = [*(d.number for d in deployed), *head.aliases.values()]
    newest = [version.number for version in reversed(versions)]
    return sorted([*dict.fromkeys([*first, *newest])][:count])
