"""Shows a decision as one HTML page that needs nothing else: no script, no request."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from tfx_registry.gate.chart import Marks, Scale, Subject, kind_of, subject_of
from tfx_registry.gate.evaluation import NOT_NAMED
from tfx_registry.gate.report import Check, CheckKind, GateReport, format_number
from tfx_registry.records import Override, SliceKey, Verdict, format_slice
from tfx_registry.text import format_seconds, printable

__all__ = ["Recorded", "render_html"]

#: So many failures are told in words above the tables.
_REASONS = 6
#: Rows of a rule that are shown at once; the rest is folded.
_OPEN_FAILED, _OPEN_PASSED = 60, 15
#: Longer names are cut.
_NAME_LENGTH = 160


@dataclass(frozen=True)
class Recorded:
    """Where a decision stands in the registry. A page without it shows the decision alone.

    Attributes:
        event: Sequence number of the event that holds the decision.
        time: When, as stored.
        actor: Who decided, or which pipeline run.
        reason: Why it was asked, in the actor's words.
        override: The last override of the version, held or expired, or None.
        run: The pipeline run in which it was decided, or "".
    """

    event: int
    time: str
    actor: str
    reason: str = ""
    override: Override | None = None
    run: str = ""


@dataclass(frozen=True)
class _Row:
    """One check as the page shows it."""

    passed: bool
    slice: str
    message: str
    value: str
    baseline: str
    change: str
    interval: str
    examples: str
    marks: Marks | None


@dataclass(frozen=True)
class _Group:
    """All checks of one rule on one metric.

    Attributes:
        metric: The metric.
        rule: The rule in words.
        failed: How many of its checks failed.
        rows: All checks, failures first.
        shown: How many of them are not folded.
        extreme: The slice that is furthest from the bound, or nearest if all passed.
        scale: The scale that the rows share, or None.
        columns: Which columns hold anything.
    """

    metric: str
    rule: str
    failed: int
    rows: Sequence[_Row]
    shown: int
    extreme: str
    scale: Scale | None
    columns: frozenset[str]

    @property
    def parts(self) -> list[tuple[str, Sequence[_Row]]]:
        """The rows that are shown at once, and the folded ones with what to call them."""
        folded = self.rows[self.shown :]
        left = sum(not row.passed for row in folded)
        if left:
            title = f"{left:,} failed and {len(folded) - left:,} passed more"
        else:
            title = f"{len(folded):,} more that passed"
        return [("", self.rows[: self.shown]), *([(title, folded)] if folded else [])]


def render_html(report: GateReport, recorded: Recorded | None = None) -> str:
    """Writes a report as a page.

    Args:
        report: The report. Its texts, slices and names may hold anything; they are escaped.
        recorded: Where the decision stands in the registry, if it does.

    Returns:
        The HTML text.
    """
    groups = _groups(report.checks)
    plain = [check for check in report.checks if not _has_numbers(check)]
    failures = report.failures
    return _template().render(
        report=report,
        recorded=recorded,
        passed=report.verdict is Verdict.PASSED,
        sentence=_sentence(report),
        reasons=[check.message for check in failures[:_REASONS]],
        more_reasons=max(len(failures) - _REASONS, 0),
        groups=groups,
        has_intervals=any("interval" in group.columns for group in groups),
        plain=plain,
        not_named=NOT_NAMED,
        known_by=report.data.known_by(report.data_location),
        made_at="" if report.made_at is None else format_seconds(report.made_at),
        policy="\n".join(map(printable, _policy_lines(report.policy))),
    )


def _sentence(report: GateReport) -> str:
    against = (
        f" against version {report.baseline.number}, which serves under {report.alias!r}"
        if report.baseline
        else ", without a baseline"
    )
    failed, count = len(report.failures), len(report.checks)
    if failed:
        return f"{failed:,} of {count:,} check{'s' * (count != 1)} failed{against}."
    everything = "The only check" if count == 1 else f"All {count:,} checks"
    return f"{everything} passed{against}."


def _groups(checks: Iterable[Check]) -> list[_Group]:
    """Collects the checks with numbers by what they asked; failing rules come first."""
    found: dict[tuple[str, str, CheckKind], list[Check]] = {}
    for check in checks:
        if _has_numbers(check):
            found.setdefault((check.metric, check.rule, kind_of(check)), []).append(check)
    groups = [_group(metric, rule, kind, same) for (metric, rule, kind), same in found.items()]
    return sorted(groups, key=lambda g: (not g.failed, g.metric, g.rule))


def _has_numbers(check: Check) -> bool:
    return check.value is not None and kind_of(check) is not CheckKind.FACT


def _group(metric: str, rule: str, kind: CheckKind, checks: Sequence[Check]) -> _Group:
    ordered = sorted(checks, key=lambda check: check.passed)
    subjects = [subject_of(check) for check in ordered]
    drawn = [subject for subject in subjects if subject is not None]
    is_change = kind in (CheckKind.CHANGE, CheckKind.NO_WORSE)
    scale = Scale.of(drawn, zero=is_change) if drawn else None
    rows = [
        _row(check, scale.marks(subject) if scale and subject else None, is_change=is_change)
        for check, subject in zip(ordered, subjects, strict=True)
    ]
    failed = sum(not row.passed for row in rows)
    names = ("baseline", "change", "interval", "examples")
    return _Group(
        printable(metric),
        printable(rule),
        failed,
        rows,
        min(failed, _OPEN_FAILED) + (_OPEN_PASSED if failed <= _OPEN_FAILED else 0),
        _extreme(ordered, subjects, failed),
        scale,
        frozenset(name for name in names if any(getattr(row, name) for row in rows)),
    )


def _row(check: Check, marks: Marks | None, *, is_change: bool) -> _Row:
    interval = check.interval
    return _Row(
        check.passed,
        _format_place(check.slice, check.versus),
        check.message,
        _format(check.value),
        _format(check.baseline_value),
        _rounded(check.change) if is_change and check.change is not None else "",
        f"{_rounded(interval.lower)} to {_rounded(interval.upper)}" if interval else "",
        "" if check.examples is None else f"{check.examples:,}",
        marks,
    )


def _extreme(checks: Sequence[Check], subjects: Sequence[Subject | None], failed: int) -> str:
    """Names the failure that is furthest from its bound, else the pass that is nearest."""
    looked_at = zip(checks[: failed or None], subjects, strict=False)
    distances = [(abs(s.value - s.bound), s, check) for check, s in looked_at if s is not None]
    if not distances:
        # Numbers that have no place on a scale: NaN, or an infinite one.
        return _format_place(checks[0].slice, checks[0].versus) if failed else ""
    choose = max if failed else min
    _, subject, check = choose(distances, key=lambda item: item[0])
    return f"{_format_place(check.slice, check.versus)}: {format_number(subject.value)}"


def _format_place(key: SliceKey, versus: SliceKey | None) -> str:
    text = format_slice(key)
    return text if versus is None else f"{text} against {format_slice(versus)}"


def _rounded(number: float) -> str:
    return "NaN" if math.isnan(number) else f"{number:.4g}"


def _format(number: float | None) -> str:
    return "" if number is None else format_number(number)


def _short(text: str) -> str:
    """Cuts what is too long for a table, and makes characters visible that steer the display."""
    shown = printable(text)
    return shown if len(shown) <= _NAME_LENGTH else f"{shown[: _NAME_LENGTH - 1]}…"


def _policy_lines(policy: Mapping[str, Any]) -> list[str]:
    return json.dumps(policy, indent=2, ensure_ascii=False).split("\n")


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(values.items()))


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfx_registry.gate"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(short=_short, visible=printable, pairs=_pairs)
    return environment.get_template("report.html.j2")
