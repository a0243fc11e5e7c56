"""Commands about gate decisions: explain."""

from __future__ import annotations

import click

from tfx_registry.cli import files, render, render_decision
from tfx_registry.cli.common import Settings, pass_settings
from tfx_registry.errors import InvalidInputError, NotFoundError
from tfx_registry.gate.html import Recorded, render_html
from tfx_registry.records import Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.registry.events import Decided, Event

__all__ = ["explain"]


@click.command()
@click.argument("ref")
@click.option("--decision", "which", type=click.IntRange(min=1), metavar="N",
              help="The Nth decision on the version.  [default: the last]")  # fmt: skip
@click.option("--failed", "only_failed", is_flag=True, help="Leave out checks that passed.")
@click.option("--html", "page", type=click.Path(), metavar="FILE",
              help="Write the report page, with what was overridden since.")  # fmt: skip
@pass_settings
def explain(
    settings: Settings, ref: str, which: int | None, only_failed: bool, page: str | None
) -> None:
    """Show why the gate passed or blocked a version, rule by rule.

    Example: tfx-registry explain penguin:2
    """
    with settings.open() as registry:
        version = registry.resolve(ref)
        event, place = _find(registry, version, which)
    if page is not None:
        _write_page(page, version, event)
    if settings.as_json:
        render.print_json(render_decision.decision_json(version, event, place))
    else:
        render_decision.decision(version, event, place, only_failed=only_failed)


def _find(
    registry: ModelRegistry, version: Version, which: int | None
) -> tuple[Event, tuple[int, int]]:
    """Returns the event of a decision, and which of how many on the version it is."""
    found = registry.decisions(version.model, version.number)
    if not found:
        raise NotFoundError(
            f"no gate decision on {version.ref}",
            "none is recorded",
            "run VersionGate on it, or 'tfx-registry gate' with --record",
        )
    number = which or len(found)
    if number > len(found):
        raise NotFoundError(
            f"no decision {number} on {version.ref}",
            f"there are {len(found)}, counted from the oldest",
            "leave --decision out for the last",
        )
    return found[number - 1], (number, len(found))


def _write_page(path: str, version: Version, event: Event) -> None:
    assert isinstance(event.payload, Decided)
    report = render_decision.report_of(event.payload)
    if report is None:
        raise InvalidInputError(
            f"cannot write a page about event {event.seq} of {version.model!r}",
            "no report was kept with the decision",
            "leave --html out",
        )
    recorded = Recorded(event.seq, event.time, event.actor, event.reason, version.override)
    with files.target(path) as write:
        write(render_html(report, recorded))
