"""What is different between two decisions on one version."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from tfx_registry import codec
from tfx_registry.gate.chart import kind_of
from tfx_registry.gate.report import Check, GateReport

__all__ = ["Difference", "differences"]


@dataclass(frozen=True)
class Difference:
    """A check that came out otherwise, was asked otherwise, or only once.

    Attributes:
        before: The check in the first decision; None where it was not asked.
        after: The check in the second decision; None where it was not asked.
    """

    before: Check | None
    after: Check | None

    @property
    def check(self) -> Check:
        """The newer of the two."""
        check = self.after or self.before
        assert check is not None
        return check


def differences(before: GateReport, after: GateReport) -> list[Difference]:
    """Compares the checks of two decisions.

    Checks belong together when they are of one kind and about one metric in one slice.

    Args:
        before: The first decision.
        after: The second one.

    Returns:
        What differs, failures of the second decision first.
    """
    pairs = []
    old, new = _by_question(before), _by_question(after)
    for question in {**new, **old}:
        ours, theirs = old.get(question, {}), new.get(question, {})
        gone = [check for text, check in ours.items() if text not in theirs]
        come = [check for text, check in theirs.items() if text not in ours]
        pairs += [Difference(a, b) for a, b in itertools.zip_longest(gone, come)]
    return sorted(pairs, key=_rank)


def _by_question(report: GateReport) -> dict[tuple[object, ...], dict[str, Check]]:
    """Groups checks by what they were asked about; by their text within, because NaN != NaN."""
    found: dict[tuple[object, ...], dict[str, Check]] = {}
    for check in report.checks:
        question = (kind_of(check), check.metric, check.slice, check.versus)
        found.setdefault(question, {})[codec.dumps(check)] = check
    return found


def _rank(difference: Difference) -> tuple[object, ...]:
    check = difference.check
    return (
        difference.after is None or difference.after.passed,
        len(check.slice),
        check.slice,
        check.versus or (),
        check.metric,
        check.rule,
        check.message,
    )
