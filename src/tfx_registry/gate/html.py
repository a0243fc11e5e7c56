"""Shows a decision as one HTML page that needs nothing else: no script, no request."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass

import jinja2

from tfx_registry.gate.report import Check, GateReport, format_number
from tfx_registry.records import Verdict, format_slice

__all__ = ["render_html"]

_WIDTH = 200.0
_MARGIN = 8.0


@dataclass(frozen=True)
class _Bar:
    """Where the marks stand on a scale of 0 to 200.

    Attributes:
        value: The candidate.
        bound: The bound.
        baseline: The baseline, or None.
    """

    value: float
    bound: float
    baseline: float | None


@dataclass(frozen=True)
class _Row:
    """One check as the page shows it."""

    check: Check
    slice: str
    value: str
    baseline: str
    examples: str
    bar: _Bar | None


def render_html(report: GateReport) -> str:
    """Writes a report as a page.

    Args:
        report: The report. Its texts, slices and names may hold anything; they are escaped.

    Returns:
        The HTML text.
    """
    return _template().render(
        report=report,
        passed=report.verdict is Verdict.PASSED,
        sentence=_sentence(report),
        rows=[_row(check) for check in report.checks],
        policy=json.dumps(report.policy, indent=2, ensure_ascii=False),
    )


def _sentence(report: GateReport) -> str:
    against = (
        f" against version {report.baseline.number}, which serves under {report.alias!r}"
        if report.baseline
        else ""
    )
    failed = len(report.failures)
    if failed:
        return f"{failed} of {len(report.checks)} checks failed{against}."
    return f"All {len(report.checks)} checks passed{against}."


def _row(check: Check) -> _Row:
    return _Row(
        check,
        format_slice(check.slice),
        "" if check.value is None else format_number(check.value),
        "" if check.baseline_value is None else format_number(check.baseline_value),
        "" if check.examples is None else str(check.examples),
        _bar(check),
    )


def _bar(check: Check) -> _Bar | None:
    """Places value, bound and baseline on one scale; a change is placed beside its bound."""
    is_change = "change" in check.rule
    relative = is_change and "relative" in check.rule
    value = check.change if is_change else check.value
    baseline = None if is_change else check.baseline_value
    numbers = [
        n for n in (value, check.bound, baseline, 0.0 if is_change else None) if n is not None
    ]
    if relative or value is None or check.bound is None or not all(map(math.isfinite, numbers)):
        return None
    low, high = min(numbers), max(numbers)
    span = (high - low) or 1.0

    def place(number: float) -> float:
        return round(_MARGIN + (number - low) / span * (_WIDTH - 2 * _MARGIN), 1)

    return _Bar(place(value), place(check.bound), None if baseline is None else place(baseline))


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfx_registry.gate"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")
