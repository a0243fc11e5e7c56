"""Shows a gate decision in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from rich.markup import escape

from tfx_registry import codec
from tfx_registry.cli import render
from tfx_registry.cli.lines import counted, facts, say
from tfx_registry.cli.what_if import Answer, Recorded
from tfx_registry.gate import GateReport
from tfx_registry.gate.chart import kind_of
from tfx_registry.gate.differences import Difference
from tfx_registry.gate.evaluation import NOT_NAMED
from tfx_registry.gate.report import Check, CheckKind, Compared, format_number
from tfx_registry.gating import report_of
from tfx_registry.records import Override, Verdict, Version, format_slice
from tfx_registry.registry.events import Decided, Event
from tfx_registry.text import format_seconds

__all__ = ["answer", "decision", "decision_json", "print_checks", "print_differences"]


def decision(version: Version, event: Event, place: tuple[int, int], *, only_failed: bool) -> None:
    """Shows a recorded decision.

    Args:
        version: The version that was decided on.
        event: The event of the decision.
        place: Which of how many decisions on the version it is.
        only_failed: Whether checks that passed are left out.
    """
    decided = event.payload
    assert isinstance(decided, Decided)
    report = report_of(decided)
    say(_headline(version.ref, decided, report))
    click.echo()
    given = (version.override, *version.other_overrides)
    rows = [("overridden", _override(o)) for o in given if o is not None]
    if report is not None:
        rows += _facts(report)
    else:
        baseline = f"version {decided.baseline}, digest {decided.baseline_digest}"
        rows += [
            ("candidate", f"version {decided.number}, digest {decided.digest}"),
            ("baseline", baseline if decided.baseline else "none"),
        ]
    which, count = place
    run = " ".join(filter(None, (version.origin.pipeline_name, version.origin.run_id)))
    rows += [
        ("registered by", f"pipeline {run}" if run else ""),
        (
            "decided",
            f"{render.time(event.time)} UTC by {event.actor}: event {event.seq}, "
            f"decision {which} of {count}",
        ),
        ("in pipeline run", str(decided.run)),
        ("why", event.reason),
    ]
    rows += [("note", note) for note in decided.notes]
    facts(rows)
    if report is not None and report.checks:
        print_checks([c for c in report.checks if not (only_failed and c.passed)])
    elif decided.reasons:
        click.echo()
        for reason in decided.reasons:
            say(f"✗ fail  {reason}", hang=8)
    else:
        click.echo("\nthe rules were not kept with this decision")


def answer(version: Version, made: Answer, event: int | None, *, only_failed: bool) -> None:
    """Shows a decision that was made just now.

    Args:
        version: The version that was decided on.
        made: The decision.
        event: Sequence number of its event; None where it is not recorded.
        only_failed: Whether checks that passed are left out.
    """
    report = made.report
    serving = made.standing.version
    if report.verdict is Verdict.PASSED:
        verb = "passes" if event is not None else "would pass"
    else:
        verb = "is blocked" if event is not None else "would be blocked"
    against = f" against version {report.baseline.number}" if report.baseline else ""
    failed, count = len(report.failures), len(report.checks)
    say(f"{version.ref} {verb}{against}: {_outcome_of(failed, count)}")
    click.echo()
    when = "now" if made.then is None else f"at event {made.then.event.seq}"
    served = f"version {serving.number}" if serving else "nothing"
    rows = [
        ("recorded", "no, this only answers what if" if event is None else f"event {event}"),
        ("decided as", f"{when}, when {served} served under {made.standing.alias!r}"),
        *_facts(report),
    ]
    rows += [("note", note) for note in report.notes]
    facts(rows)
    print_checks([check for check in report.checks if not (only_failed and check.passed)])


def print_differences(before: Recorded, after: GateReport, changes: Sequence[Difference]) -> None:
    """Shows what came out otherwise than in a recorded decision.

    Args:
        before: The recorded decision.
        after: The new one.
        changes: The checks that differ.
    """
    click.echo()
    which = f"the decision of event {before.event.seq}, which {before.decided.verdict.value} it"
    if not changes:
        say(f"every check came out as in {which}")
        return
    verb = "is" if len(changes) == 1 else "are"
    say(f"against {which}, {counted(len(changes), 'check')} {verb} different:")
    rows = [
        [escape(_place(c.check)), escape(c.check.metric), _outcome(c.before), _outcome(c.after)]
        for c in changes
    ]
    click.echo()
    render.print_table(["slice", "metric", "recorded", "now"], rows)


def decision_json(version: Version, event: Event, place: tuple[int, int]) -> dict[str, Any]:
    """Writes a recorded decision for programs: the event as stored, and what surrounds it."""
    which, count = place
    return {
        "ref": version.ref,
        "decision": which,
        "decisions": count,
        "event": event.to_json(),
        "override": codec.encode(version.override),
    }


def print_checks(checks: Sequence[Check]) -> None:
    """Prints checks with their numbers as a table, and those without as lines."""
    numbers = [check for check in checks if _has_numbers(check)]
    others = [check for check in checks if not _has_numbers(check)]
    if others:
        click.echo()
        for check in others:
            say(f"{_mark(check)}  {check.message}", hang=8)
    if not numbers:
        return
    header = ["answer", "slice", "metric", "rule", "value"]
    columns = [[_styled(check), *map(escape, _words(check))] for check in numbers]
    optional = {
        "baseline": [_number(c.baseline_value) for c in numbers],
        "change": [_number(c.change) for c in numbers],
        "interval": [_interval(c) for c in numbers],
        "examples": ["" if c.examples is None else str(c.examples) for c in numbers],
    }
    for name, cells in optional.items():
        if any(cells):
            header.append(name)
            for row, cell in zip(columns, cells, strict=True):
                row.append(cell)
    click.echo()
    render.print_table(header, columns)


def _headline(ref: str, decided: Decided, report: GateReport | None) -> str:
    against = (
        f" against version {decided.baseline}, which served under {decided.alias!r}"
        if decided.baseline
        else f" without a baseline, for {decided.alias!r}"
    )
    outcome = ""
    if report is not None:
        outcome = f": {_outcome_of(len(report.failures), len(report.checks))}"
    verdict = "passed" if decided.verdict is Verdict.PASSED else "was blocked"
    return f"{ref} {verdict}{against}{outcome}"


def _outcome_of(failed: int, count: int) -> str:
    checks = counted(count, "check")
    if not failed:
        return f"all {checks} held" if count > 1 else f"{checks} held"
    return f"{failed} of {checks} failed"


def _facts(report: GateReport) -> list[tuple[str, str]]:
    data = report.data
    parts = [data.location or report.data_location or NOT_NAMED]
    parts += [f"splits {', '.join(data.splits)}"] if data.splits else []
    parts += [f"{key} {value}" for key, value in sorted(data.properties.items())]
    parts += [f"digest {data.digest}"] if data.digest else []
    parts += [data.known_by(report.data_location)]
    made = [] if report.made_at is None else [f"made {format_seconds(report.made_at)}"]
    made += [f"{name} {number}" for name, number in sorted(report.versions.items())]
    return [
        ("candidate", _compared(report.candidate)),
        (
            "baseline",
            _compared(report.baseline) if report.baseline else f"none ({report.baseline_rule})",
        ),
        ("data", ", ".join(filter(None, parts))),
        ("evaluation", ", ".join(filter(None, (report.evaluation, *made)))),
        ("evaluation digest", report.evaluation_digest or "not known"),
        ("policy digest", report.policy_digest),
    ]


def _compared(compared: Compared) -> str:
    place = f", evaluated at {compared.evaluated_at}" if compared.evaluated_at else ""
    return f"version {compared.number}, digest {compared.digest}{place}"


def _override(override: Override) -> str:
    return (
        f"may be promoted {override.scope} from {render.time(override.time)} to "
        f"{render.time(override.expires)} UTC, by {override.actor}: {override.reason} "
        f"(event {override.seq})"
    )


def _has_numbers(check: Check) -> bool:
    return check.value is not None and kind_of(check) is not CheckKind.FACT


def _place(check: Check) -> str:
    place = format_slice(check.slice)
    return place if check.versus is None else f"{place} against {format_slice(check.versus)}"


def _words(check: Check) -> list[str]:
    return [_place(check), check.metric, check.rule, _number(check.value)]


def _outcome(check: Check | None) -> str:
    if check is None:
        return "not asked"
    number = (
        check.change if kind_of(check) in (CheckKind.CHANGE, CheckKind.NO_WORSE) else check.value
    )
    asked = check.rule or check.message
    return f"{_styled(check)} {escape(asked)}" + ("" if number is None else f": {_number(number)}")


def _mark(check: Check) -> str:
    return "✓ pass" if check.passed else "✗ fail"


def _styled(check: Check) -> str:
    return f"[{'green' if check.passed else 'bold red'}]{_mark(check)}[/]"


def _number(value: float | None) -> str:
    return "" if value is None else format_number(value)


def _interval(check: Check) -> str:
    if check.interval is None:
        return ""
    return f"{check.interval.lower:.4g} to {check.interval.upper:.4g}"
