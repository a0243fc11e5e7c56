"""Decides on registered versions: what the registry knows, put before the gate.

Used by VersionGate and by the command `gate`. Nothing here reads an evaluation or needs TFX.
"""

from __future__ import annotations

from dataclasses import dataclass

from tfx_registry import codec
from tfx_registry.errors import InvalidInputError
from tfx_registry.gate import Contender, GateReport, Situation
from tfx_registry.gate.policy import SignatureRule
from tfx_registry.operations.unsettled import unsettled
from tfx_registry.records import Metric, PipelineRun, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.registry.events import Adopted, Decided, Event, Promoted, RolledBack

__all__ = ["Standing", "decision_of", "report_of", "situation_of"]


@dataclass(frozen=True)
class Standing:
    """What serves under an alias, now or at an earlier decision.

    Attributes:
        alias: The alias.
        seq: Sequence number of the event that put the version there; 0 when nothing serves.
        version: The version, or None.
    """

    alias: str
    seq: int = 0
    version: Version | None = None

    @classmethod
    def now(cls, registry: ModelRegistry, model: str, alias: str) -> Standing:
        """Looks up what serves now."""
        deployment = registry.serving(model, alias)
        if deployment is None:
            return cls(alias)
        return cls(alias, deployment.seq, registry.get(model, deployment.number))

    @classmethod
    def at(cls, registry: ModelRegistry, decision: Event) -> Standing:
        """Looks up what served when a decision was made.

        Args:
            registry: The registry.
            decision: The event of the decision.

        Returns:
            What the decision found.

        Raises:
            InvalidInputError: The decision does not say what served.
        """
        decided = decision.payload
        assert isinstance(decided, Decided)
        if not decided.serving_seq:
            return cls(decided.alias)
        model, seq = decision.model, decided.serving_seq
        for event in registry.history(model):
            if event.seq == seq and isinstance(event.payload, (Promoted, RolledBack, Adopted)):
                return cls(decided.alias, seq, registry.get(model, event.payload.number))
        raise InvalidInputError(
            f"cannot tell what served at event {decision.seq} of {model!r}",
            f"event {seq}, which it names, put no version into service",
            "decide against what serves now",
        )


def situation_of(
    registry: ModelRegistry,
    version: Version,
    standing: Standing,
    *,
    infra_blessing: bool | None = None,
    now: float | None = None,
) -> Situation:
    """Describes a version and what serves, for the gate.

    Args:
        registry: The registry.
        version: The version that wants to serve.
        standing: What serves.
        infra_blessing: What InfraValidator said; None when it was not asked.
        now: The time of the decision in seconds since the epoch, where the policy needs it.

    Returns:
        The situation.
    """
    return Situation(
        model=version.model,
        alias=standing.alias,
        candidate=_contender(version),
        serving=_contender(standing.version) if standing.version else None,
        unfinished=unsettled(
            registry.head(version.model), standing.alias, standing.version, version.number
        ),
        serving_seq=standing.seq,
        labels=version.labels,
        infra_blessing=infra_blessing,
        now=now,
    )


def decision_of(report: GateReport, run: PipelineRun | None = None) -> Decided:
    """Makes the event of a decision.

    Args:
        report: The decision.
        run: The pipeline run in which it was made; None where it was made by hand.

    Returns:
        The event, without its envelope.
    """
    return Decided(
        number=report.candidate.number,
        verdict=report.verdict,
        digest=report.candidate.digest,
        alias=report.alias,
        baseline=report.baseline.number if report.baseline else None,
        baseline_digest=report.baseline.digest if report.baseline else "",
        serving_seq=report.serving_seq,
        reasons=report.reasons,
        notes=report.notes,
        metrics=tuple(Metric(name, value, key) for name, key, value in report.metrics),
        report=codec.encode(report),
        facts_compared=report.baseline is None
        and report.serving_seq > 0
        and (
            report.policy.get("signatures", SignatureRule.ANY.value) != SignatureRule.ANY.value
            or report.policy.get("max_model_growth") is not None
        ),
        run=run or PipelineRun(),
    )


def report_of(decided: Decided) -> GateReport | None:
    """Reads the report of a decision; None where it has none, or one that cannot be read here."""
    if not decided.report:
        return None
    try:
        return codec.decode(GateReport, decided.report)
    except codec.CodecError:
        return None


def _contender(version: Version) -> Contender:
    places = {version.uri, version.origin.artifact_uri} - {""}
    return Contender(
        version.number,
        version.digest,
        version.facts.manifest,
        tuple(sorted(places)),
        size_bytes=version.facts.size_bytes,
        signatures=version.facts.signatures or None,
    )
