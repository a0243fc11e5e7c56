"""Commands about gate decisions: explain, gate."""

from __future__ import annotations

from pathlib import Path

import click

from tfx_registry import codec
from tfx_registry.cli import files, render, render_decision, what_if
from tfx_registry.cli.common import Settings, pass_settings
from tfx_registry.cli.completion import model_names
from tfx_registry.cli.what_if import Answer, Numbers
from tfx_registry.errors import InvalidInputError, NotFoundError, RefusedError
from tfx_registry.gate import GatePolicy
from tfx_registry.gate.differences import differences
from tfx_registry.gate.html import Recorded, render_html
from tfx_registry.gating import decision_of, report_of
from tfx_registry.records import Verdict, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.registry.events import Decided, Event

__all__ = ["explain", "gate"]


@click.command()
@click.argument("ref", shell_complete=model_names)
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


@click.command()
@click.argument("ref", shell_complete=model_names)
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), metavar="FILE",
              help="What the version must show: YAML, JSON, or an EvalConfig of TFMA.  "
              "[default: the policy of the recorded decision]")  # fmt: skip
@click.option("--evaluation", metavar="PATH",
              help="The folder of a TFMA result, or a report.json of VersionGate.")  # fmt: skip
@click.option("--from-decision", is_flag=True,
              help="Use the numbers that were kept with the recorded decision.")  # fmt: skip
@click.option("--decision", "which", type=click.IntRange(min=1), metavar="N",
              help="The Nth recorded decision is meant.  [default: the last]")  # fmt: skip
@click.option("--alias", "alias_name", default="production", show_default=True,
              help="What serves under it is the baseline.")  # fmt: skip
@click.option("--as-of", type=click.Choice(["now", "decision"]),
              help="Against what serves now, or what served at the recorded decision.  "
              "[default: decision if it was made on the same numbers, else now]")  # fmt: skip
@click.option("--failed", "only_failed", is_flag=True, help="Leave out checks that pass.")
@click.option("--record", is_flag=True, help="Record the decision; without it nothing is written.")
@click.option("--reason", default="", help="Why, for the record.")
@pass_settings
def gate(
    settings: Settings,
    ref: str,
    policy_file: Path | None,
    evaluation: str | None,
    from_decision: bool,
    which: int | None,
    alias_name: str,
    as_of: str | None,
    only_failed: bool,
    record: bool,
    reason: str,
) -> None:
    """Decide on a version by a policy, offline: what if?

    Exit code 0: it passes, 4: it is blocked. Shows what is different from the recorded decision.
    Only with --record the decision counts.

    Example: tfx-registry gate penguin:2 --policy stricter.yaml --from-decision
    """
    _check_sources(evaluation, from_decision, record, as_of)
    policy = GatePolicy.load(policy_file) if policy_file is not None else None
    with settings.open() as registry:
        version = registry.resolve(ref)
        before = what_if.recorded(registry, version, which)
        if evaluation is not None:
            numbers = what_if.numbers_at(registry, version, evaluation)
        else:
            numbers = what_if.numbers_of(registry, version, before.report if before else None)
        if record and numbers.report is not None:
            raise _unrecordable("the numbers come from a report, not from an evaluation")
        policy = policy or _recorded_policy(version, before)
        then = before if _is_about_then(before, numbers, alias_name, as_of, record) else None
        answer = what_if.answer(registry, version, policy, numbers, alias_name, then)
        event = _record(registry, version, answer, reason) if record else None
    changes = differences(before.report, answer.report) if before and before.report else None
    if settings.as_json:
        render.print_json(
            {
                "ref": version.ref,
                "verdict": answer.report.verdict.value,
                "recorded": event,
                "as_of": then.event.seq if then else None,
                "serving": answer.standing.version.number if answer.standing.version else None,
                "report": codec.encode(answer.report),
                "compared_with": before.event.seq if before and changes is not None else None,
                "differences": codec.encode(changes or ()),
            }
        )
    else:
        render_decision.answer(version, answer, event, only_failed=only_failed)
        if before is not None and changes is not None:
            render_decision.print_differences(before, answer.report, changes)
    if answer.report.verdict is not Verdict.PASSED:
        raise RefusedError(
            f"{version.ref} {'is' if record else 'would be'} blocked",
            f"{len(answer.report.failures)} of {len(answer.report.checks)} checks failed",
            "the first: " + answer.report.reasons[0],
        )


def _check_sources(
    evaluation: str | None, from_decision: bool, record: bool, as_of: str | None
) -> None:
    if (evaluation is None) is not from_decision:
        raise InvalidInputError(
            "cannot tell which numbers to decide on",
            "it is either --evaluation or --from-decision",
            "give one of them",
        )
    if record and from_decision:
        raise _unrecordable("the numbers come from a report, not from an evaluation")
    if record and as_of == "decision":
        raise _unrecordable("it would be made against what served then")


def _unrecordable(why: str) -> InvalidInputError:
    return InvalidInputError(
        "cannot record this decision",
        why,
        "give the TFMA result with --evaluation, and leave --as-of out",
    )


def _recorded_policy(version: Version, before: what_if.Recorded | None) -> GatePolicy:
    if before is None or before.report is None:
        raise InvalidInputError(
            f"cannot decide on {version.ref}", "no policy was recorded for it", "give --policy"
        )
    return GatePolicy.from_dict(codec.encode(before.report.policy))


def _is_about_then(
    before: what_if.Recorded | None,
    numbers: Numbers,
    alias: str,
    as_of: str | None,
    record: bool,
) -> bool:
    """Tells whether to decide as at the recorded decision: if only the policy may be different."""
    if before is None:
        if as_of == "decision":
            raise NotFoundError(
                "cannot decide as at the recorded decision",
                "none is recorded",
                "leave --as-of out to decide against what serves now",
            )
        return False
    if as_of is not None or record:
        return as_of == "decision"
    same = bool(before.report and before.report.evaluation_digest) and (
        before.report is not None and before.report.evaluation_digest == numbers.evaluation.digest
    )
    return before.decided.alias == alias and (numbers.report is before.report or same)


def _record(registry: ModelRegistry, version: Version, answer: Answer, reason: str) -> int:
    after = registry.record_decision(version.model, decision_of(answer.report), reason=reason)
    assert after.decision is not None
    return after.decision.seq


def _find(
    registry: ModelRegistry, version: Version, which: int | None
) -> tuple[Event, tuple[int, int]]:
    """Returns the event of a decision, and which of how many on the version it is."""
    found = registry.decisions(version.model, version.number)
    if not found:
        override = version.override
        said = f"; {override.actor} overrode the gate: {override.reason}" if override else ""
        raise NotFoundError(
            f"no gate decision on {version.ref}",
            f"none is recorded{said}",
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
    report = report_of(event.payload)
    if report is None:
        raise InvalidInputError(
            f"cannot write a page about event {event.seq} of {version.model!r}",
            "no report was kept with the decision",
            "leave --html out",
        )
    recorded = Recorded(
        event.seq, event.time, event.actor, event.reason, version.override, str(event.payload.run)
    )
    with files.target(path) as write:
        write(render_html(report, recorded))
