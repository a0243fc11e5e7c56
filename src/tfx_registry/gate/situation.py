"""What the registry knows at the time of a decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tfx_registry.gate.evaluation import normalize_location
from tfx_registry.records import Signature

__all__ = ["Contender", "Situation"]


@dataclass(frozen=True)
class Contender:
    """A registered version.

    Attributes:
        number: Number of the version.
        digest: Root digest of its bytes.
        manifest: Manifest digest of its bytes; what was evaluated must have the same.
        locations: Where its bytes were when it was registered, for messages.
        size_bytes: Sum of its file sizes; None when not known.
        signatures: Its signatures by name; None or empty when they could not be read.
    """

    number: int
    digest: str
    manifest: str
    locations: tuple[str, ...] = ()
    size_bytes: int | None = None
    signatures: Mapping[str, Signature] | None = None

    def is_named_by(self, location: str) -> bool:
        """Tells whether a location is one where the bytes were when they were registered."""
        return normalize_location(location) in {normalize_location(x) for x in self.locations}


@dataclass(frozen=True)
class Situation:
    """What the registry knows at the time of the decision.

    Attributes:
        model: Name of the model.
        alias: The alias whose serving version is the baseline.
        candidate: The version that wants to serve.
        serving: The version that serves under the alias, or None.
        unfinished: What to say of a promotion that made a version visible and was not recorded;
            "" when there is none.
        serving_seq: Sequence number of the deployment that serves under the alias, 0 for none.
        labels: Labels of the candidate.
        infra_blessing: What InfraValidator said of the candidate; None when it was not asked.
        now: The time of the decision, in seconds since the epoch; None when the policy does not
            need it.
    """

    model: str
    alias: str
    candidate: Contender
    serving: Contender | None = None
    unfinished: str = ""
    serving_seq: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    infra_blessing: bool | None = None
    now: float | None = None
