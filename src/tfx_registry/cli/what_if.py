"""Decides again, offline: where the numbers come from, and what served at the time."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfx_registry.codec import CodecError
from tfx_registry.errors import InvalidInputError, NotFoundError
from tfx_registry.gate import Evaluation, GatePolicy, GateReport, Reason, blocked, decide
from tfx_registry.gate.recorded import (
    evaluation_of,
    infra_blessing_of,
    left_behind,
    looked_at_numbers,
)
from tfx_registry.gating import Standing, report_of, situation_of
from tfx_registry.records import Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.registry.events import Decided, Event

__all__ = ["Answer", "Numbers", "Recorded", "answer", "numbers_at", "numbers_of", "recorded"]


@dataclass(frozen=True)
class Recorded:
    """A recorded decision.

    Attributes:
        event: Its event.
        report: Its report, or None where none was kept.
    """

    event: Event
    report: GateReport | None

    @property
    def decided(self) -> Decided:
        """The payload of the event."""
        assert isinstance(self.event.payload, Decided)
        return self.event.payload

    @property
    def seconds(self) -> float:
        """When it was made, in seconds since the epoch."""
        return datetime.datetime.fromisoformat(
            self.event.time.removesuffix("Z") + "+00:00"
        ).timestamp()


@dataclass(frozen=True)
class Numbers:
    """What is decided on.

    Attributes:
        evaluation: The evaluation.
        report: The report that the numbers were taken from; None for an evaluation itself.
        reason: Why the evaluation cannot be looked at; None when it can.
        problem: The same in words.
    """

    evaluation: Evaluation
    report: GateReport | None = None
    reason: Reason | None = None
    problem: str = ""


@dataclass(frozen=True)
class Answer:
    """A decision that is not recorded yet.

    Attributes:
        report: The decision.
        standing: What served.
        then: The recorded decision at whose time it was made; None for now.
    """

    report: GateReport
    standing: Standing
    then: Recorded | None


def recorded(registry: ModelRegistry, version: Version, which: int | None) -> Recorded | None:
    """Finds a recorded decision.

    Args:
        registry: The registry.
        version: The version.
        which: The Nth, counted from 1; None for the last.

    Returns:
        The decision; None where there is none and none was named.

    Raises:
        NotFoundError: There is no Nth decision.
    """
    if which is None:
        event = registry.last_decision(version.model, version.number)
    else:
        found = registry.decisions(version.model, version.number)
        if which > len(found):
            raise NotFoundError(
                f"no decision {which} on {version.ref}",
                f"there are {len(found)}, counted from the oldest",
                "leave --decision out for the last",
            )
        event = found[which - 1]
    if event is None or not isinstance(event.payload, Decided):
        return None
    return Recorded(event, report_of(event.payload))


def numbers_of(registry: ModelRegistry, version: Version, report: GateReport | None) -> Numbers:
    """Takes the numbers out of a report.

    Args:
        registry: The registry.
        version: The version.
        report: The report of a decision on the version, or None where none was kept.

    Returns:
        The numbers.

    Raises:
        InvalidInputError: The report is about something else, or keeps no numbers.
    """
    if report is None or not looked_at_numbers(report):
        raise InvalidInputError(
            f"cannot take the numbers of {version.ref} from a decision",
            "no numbers of the version were kept with it",
            "give the evaluation itself with --evaluation",
        )
    about = (report.model.casefold(), report.candidate.digest)
    if about != (version.model.casefold(), version.digest):
        raise InvalidInputError(
            f"cannot decide on {version.ref}",
            f"the report is about {report.model}:{report.candidate.number} with the digest "
            f"{report.candidate.digest[:16]}, not {version.digest[:16]}",
            "give a report about this version",
        )
    manifest = ""
    if report.baseline is not None:
        before = registry.get(version.model, report.baseline.number)
        manifest = before.facts.manifest if before.digest == report.baseline.digest else ""
    return Numbers(evaluation_of(report, version.facts.manifest, manifest), report)


def numbers_at(registry: ModelRegistry, version: Version, location: str) -> Numbers:
    """Reads numbers from a TFMA result, or from the report that VersionGate wrote.

    Args:
        registry: The registry.
        version: The version.
        location: The folder of a TFMA result, which may lie in an object store, or a file with a
            report as JSON.

    Returns:
        The numbers, or why the result cannot be looked at.

    Raises:
        InvalidInputError: There is nothing, the file is no report or about something else, or TFMA
            is not installed.
    """
    path = Path(location)
    if "://" in location or path.is_dir():
        return _read_tfma(location)
    if not path.exists():
        raise InvalidInputError(
            f"cannot read the evaluation {location!r}", "there is nothing", "check the path"
        )
    try:
        report = GateReport.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, CodecError) as error:
        raise InvalidInputError(
            f"cannot read the report {location!r}",
            str(error),
            "give the folder of a TFMA result, or a report.json that VersionGate wrote",
        ) from error
    return numbers_of(registry, version, report)


def answer(
    registry: ModelRegistry,
    version: Version,
    policy: GatePolicy,
    numbers: Numbers,
    alias: str,
    then: Recorded | None,
) -> Answer:
    """Decides, and records nothing.

    Args:
        registry: The registry.
        version: The version.
        policy: The policy.
        numbers: What to decide on.
        alias: The alias.
        then: Decide as at this recorded decision; None for now.

    Returns:
        The decision.

    Raises:
        InvalidInputError: The numbers do not suffice for the policy; the message lists what is
            missing.
    """
    if then is None:
        standing = Standing.now(registry, version.model, alias)
    else:
        standing = Standing.at(registry, then.event)
    dated = policy.max_evaluation_age_hours is not None
    known = recorded(registry, version, None) if then is None else then
    situation = situation_of(
        registry,
        version,
        standing,
        infra_blessing=infra_blessing_of(known.report) if known and known.report else None,
        now=(time.time() if then is None else then.seconds) if dated else None,
    )
    if then is not None:
        # What has been begun since does not count.
        situation = dataclasses.replace(situation, unfinished="")
    if numbers.reason is not None:
        report = blocked(policy, numbers.evaluation, situation, numbers.reason, numbers.problem)
    else:
        report = decide(policy, numbers.evaluation, situation)
    if numbers.report is not None and (missing := left_behind(numbers.report, policy, report)):
        more = f" (and {len(missing) - 3} more)" if len(missing) > 3 else ""
        raise InvalidInputError(
            f"cannot decide on {version.ref} by what was recorded",
            f"the policy asks for what the report does not keep: {'; '.join(missing[:3])}{more}",
            "give the evaluation itself with --evaluation",
        )
    return Answer(report, standing, then)


def _read_tfma(location: str) -> Numbers:
    """Reads a TFMA result; TFMA is loaded only here, and takes many seconds."""
    nothing = Evaluation(location)
    with _quiet():
        try:
            from tfx_registry.components.version_gate import tfma_results
        except ImportError as error:
            raise InvalidInputError(
                f"cannot read the evaluation {location!r}",
                f"a TFMA result needs TensorFlow Model Analysis, and {error}",
                "install tfx-registry[tfx], or use --from-decision, or give the report.json that "
                "VersionGate wrote",
            ) from error
        reasons: dict[type[Exception], Reason] = {
            tfma_results.UnreadableEvaluationError: Reason.EVALUATION_UNREADABLE,
            tfma_results.AmbiguousEvaluationError: Reason.EVALUATION_AMBIGUOUS,
            tfma_results.CandidateMissingError: Reason.EVALUATION_WITHOUT_CANDIDATE,
        }
        try:
            return Numbers(tfma_results.load_evaluation(location))
        except tuple(reasons) as error:
            return Numbers(nothing, None, reasons[type(error)], str(error))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps TensorFlow's chatter off the standard error, where a command says one line at most."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept: Any = os.dup(2)
    try:
        with tempfile.TemporaryFile() as noise, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            os.dup2(noise.fileno(), 2)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(kept, 2)
    finally:
        os.close(kept)
