"""What the registry knows of a model version: frozen records, no behaviour beyond views.

All of them are stored as JSON (see `tfx_registry.codec`). Fields may be added, never renamed.
Times are UTC in ISO 8601 with microseconds and a trailing "Z", so they sort as text.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "Approval",
    "DecisionSummary",
    "Deployment",
    "Head",
    "LineageSource",
    "Metric",
    "ModelFacts",
    "ModelFormat",
    "Origin",
    "Override",
    "PipelineRun",
    "Signature",
    "SliceKey",
    "TensorSpec",
    "Verdict",
    "Version",
    "VersionState",
    "format_slice",
]

#: A TFMA slice key: sorted pairs of feature and value, as text; () is the whole data set.
SliceKey = tuple[tuple[str, str], ...]


class ModelFormat(str, enum.Enum):
    """How the bytes of a version are to be read."""

    SAVED_MODEL = "saved_model"
    KERAS = "keras"
    OTHER = "other"


class Verdict(str, enum.Enum):
    """The outcome of a gate decision."""

    PASSED = "passed"
    BLOCKED = "blocked"


class VersionState(str, enum.Enum):
    """Where a version stands in its life; derived from the events."""

    REGISTERED = "registered"
    PASSED = "passed"
    BLOCKED = "blocked"
    APPROVED = "approved"
    REJECTED = "rejected"
    SERVING = "serving"
    ARCHIVED = "archived"


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a signature.

    Attributes:
        dtype: TensorFlow's name of the element type, such as "float32" or "string".
        shape: Dimensions, None for an unknown one; None as a whole for an unknown rank.
    """

    dtype: str
    shape: tuple[int | None, ...] | None = None

    def __str__(self) -> str:
        """For people: `float32[?, 3]`."""
        if self.shape is None:
            return f"{self.dtype}[...]"
        return f"{self.dtype}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"


@dataclass(frozen=True)
class Signature:
    """One signature of a SavedModel.

    Attributes:
        inputs: Input tensors by name.
        outputs: Output tensors by name.
        method: The method name, such as "tensorflow/serving/predict".
    """

    inputs: Mapping[str, TensorSpec] = field(default_factory=dict)
    outputs: Mapping[str, TensorSpec] = field(default_factory=dict)
    method: str = ""


@dataclass(frozen=True)
class ModelFacts:
    """What the bytes are. Written once, with the version.

    Attributes:
        uri: Where the bytes lay at registration (the SavedModel directory itself).
        format: How they are to be read.
        digest: OMS v1 root digest, hexadecimal.
        manifest: Digest that covers the file names as well, hexadecimal.
        size_bytes: Sum of the file sizes.
        file_count: Number of files.
        tags: Tags of the graph that a server would load.
        signatures: Its signatures by name.
        fingerprint: TensorFlow's own fingerprint, as text by field.
        tensorflow_version: The version of TensorFlow that wrote the model.
    """

    uri: str
    format: ModelFormat
    digest: str
    manifest: str
    size_bytes: int
    file_count: int
    tags: tuple[str, ...] = ()
    signatures: Mapping[str, Signature] = field(default_factory=dict)
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    tensorflow_version: str = ""


@dataclass(frozen=True)
class Origin:
    """What made the version, as far as known.

    Attributes:
        pipeline_name: Name of the TFX pipeline.
        run_id: Run of the pipeline.
        node_id: Node of the registrar in the pipeline.
        artifact_uri: URI of the Model artifact that was registered.
        code_revision: Revision of the code that trained it: what `TFX_REGISTRY_CODE_REVISION` says,
            or `GITHUB_SHA`, `CI_COMMIT_SHA` or `GIT_COMMIT`, else git about the working directory.
        libraries: Versions of the libraries in the registering process, by distribution name.
    """

    pipeline_name: str = ""
    run_id: str = ""
    node_id: str = ""
    artifact_uri: str = ""
    code_revision: str = ""
    libraries: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PipelineRun:
    """The run of a pipeline in which something was done, as far as known.

    Attributes:
        pipeline_name: Name of the pipeline.
        run_id: Run of the pipeline.
        node_id: Node of the component in the pipeline.
    """

    pipeline_name: str = ""
    run_id: str = ""
    node_id: str = ""

    def __str__(self) -> str:
        """For people: `penguin 2026-11-21T08:00:00 (VersionGate)`; "" if nothing is known."""
        node = f"({self.node_id})" if self.node_id else ""
        return " ".join(filter(None, (self.pipeline_name, self.run_id, node)))


@dataclass(frozen=True)
class LineageSource:
    """One artifact that the version came from.

    Attributes:
        key: The role, such as "examples", "schema", "transform_graph".
        type_name: Type of the artifact, such as "Examples".
        uri: Where it lies.
        properties: Its properties, such as span, version and split names, as text.
        digest: OMS root digest of its files; of more than 1 GiB in an object store one of their
            list, which begins with "listing:"; "" where they were out of reach, or too large on a
            disk.
    """

    key: str
    type_name: str
    uri: str
    properties: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""


@dataclass(frozen=True)
class Metric:
    """One number measured on a version.

    Attributes:
        name: Name of the metric, such as "auc".
        value: Its value; may be NaN or infinite.
        slice: The slice of the data it was measured on; () is the whole.
    """

    name: str
    value: float
    slice: SliceKey = ()


@dataclass(frozen=True)
class DecisionSummary:
    """The last gate decision on a version, in short; the whole is in the event.

    Attributes:
        verdict: Passed or blocked.
        seq: Sequence number of the event that holds the whole decision.
        time: When.
        actor: Who.
        alias: The alias that it was made for.
        baseline: Number of the version that it was compared with, or None.
        serving_seq: Sequence number of the deployment that served under the alias, 0 for none.
        reasons: One readable line for each failure.
        notes: Remarks that did not block, such as "first version: nothing to compare with".
        facts_compared: Whether size or signatures were compared with what served, though no
            metrics were.
    """

    verdict: Verdict
    seq: int
    time: str
    actor: str
    alias: str = ""
    baseline: int | None = None
    serving_seq: int = 0
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    facts_compared: bool = False


@dataclass(frozen=True)
class Approval:
    """What one person says of a version; a later word of the same person replaces it.

    Attributes:
        approved: True for an approval, False for a rejection.
        actor: Who.
        time: When.
        seq: Sequence number of the event.
        reason: Why.
    """

    approved: bool
    actor: str
    time: str
    seq: int
    reason: str = ""


@dataclass(frozen=True)
class Override:
    """Somebody lets a version serve although the gate did not pass it.

    Attributes:
        actor: Who.
        time: When it was given.
        expires: Until when it holds.
        seq: Sequence number of the event.
        reason: Why.
        alias: The alias under which the version may serve; "" for any.
    """

    actor: str
    time: str
    expires: str
    seq: int
    reason: str
    alias: str = ""

    def holds_at(self, time: str) -> bool:
        """Tells whether the override holds at a time."""
        return time < self.expires

    @property
    def scope(self) -> str:
        """Where the version may serve, in words."""
        return f"under {self.alias!r}" if self.alias else "under any alias"


@dataclass(frozen=True)
class ConfigTarget:
    """The entry of a model config file that tells servers which versions of a model to load.

    Attributes:
        path: The file, absolute, as the promoter sees it.
        name: Name of the model there.
        base_path: The serving base directory, as the servers see it.
        keep_loaded: How many versions that served before stay loaded, for a rollback without delay.
    """

    path: str
    name: str
    base_path: str
    keep_loaded: int = 1


@dataclass(frozen=True)
class Deployment:
    """A version in a serving directory.

    Attributes:
        destination: The serving base directory.
        alias: The alias under which it serves there.
        number: Number of the version, which is also the name of its directory.
        seq: Sequence number of the event that put it there.
        time: When.
        actor: Who.
        trail: Versions that served there before and that a rollback may go back to, newest first.
            One that was rolled back is not among them.
        operation: What was begun, for one that is not finished: "rollback", "canary", or "" for a
            promotion.
        config: The model config that tells servers what to load; None where they load the latest.
    """

    destination: str
    alias: str
    number: int
    seq: int
    time: str
    actor: str
    trail: tuple[int, ...] = ()
    operation: str = ""
    config: ConfigTarget | None = None


@dataclass(frozen=True)
class Version:
    """One immutable version of a model, with what has been decided about it since.

    Attributes:
        model: Name of the model.
        number: Number of the version, unique in the model and never used again.
        facts: What the bytes are.
        time: When it was registered.
        actor: Who registered it.
        origin: What made it.
        sources: The artifacts that it came from.
        hyperparameters: Parameters of the training, as text.
        metrics: Numbers given at registration and those of the last decision.
        description: Free text.
        labels: Labels by key.
        semantic_version: Optional semantic version.
        same_bytes_as: Number of the newest earlier version with the same digest, or None.
        decision: The last gate decision, or None.
        approvals: The last word of each person who approved or rejected.
        override: The last override of the gate, held or expired, or None.
        archived: Whether it was taken out of use.
        aliases: Aliases that point here now.
        serving: Destinations where it serves now.
        seq: Sequence number of the last event that concerned this version.
        rolled_back: Sequence number of the last event that rolled it back, or 0. What was decided
            before does not let it serve again.
        removed_from: Destinations that held its bytes and do not any more.
        bytes_gone: Whether no place is known any more that holds its bytes.
        other_overrides: The last override for each other alias than that of `override`, newest
            first.
    """

    model: str
    number: int
    facts: ModelFacts
    time: str
    actor: str
    origin: Origin = field(default_factory=Origin)
    sources: tuple[LineageSource, ...] = ()
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    semantic_version: str = ""
    same_bytes_as: int | None = None
    decision: DecisionSummary | None = None
    approvals: tuple[Approval, ...] = ()
    override: Override | None = None
    archived: bool = False
    aliases: tuple[str, ...] = ()
    serving: tuple[str, ...] = ()
    seq: int = 0
    rolled_back: int = 0
    removed_from: tuple[str, ...] = ()
    bytes_gone: bool = False
    other_overrides: tuple[Override, ...] = ()

    @property
    def state(self) -> VersionState:
        """Where it stands now: archived, serving, rejected, approved, or what the gate said."""
        if self.archived:
            return VersionState.ARCHIVED
        if self.serving:
            return VersionState.SERVING
        if self.approvals:
            approved = all(approval.approved for approval in self.approvals)
            return VersionState.APPROVED if approved else VersionState.REJECTED
        if self.decision is None:
            return VersionState.REGISTERED
        return VersionState(self.decision.verdict.value)

    def _repr_html_(self) -> str:
        from tfx_registry.displays import version_html  # only notebooks need it

        return version_html(self)

    @property
    def awaits_decision(self) -> bool:
        """Whether it was rolled back, and nothing has let it serve again since."""
        decided = self.decision.seq if self.decision else 0
        overridden = self.override.seq if self.override else 0
        return self.rolled_back > max(decided, overridden)

    def override_for(self, alias: str) -> Override | None:
        """Returns the last override for an alias, held or expired, or None.

        One that was given for any alias is replaced by a later one for the alias that is asked for.
        """
        given = (self.override, *self.other_overrides)
        return next((o for o in given if o is not None and o.alias in ("", alias)), None)

    @property
    def ref(self) -> str:
        """The reference `model:number`."""
        return f"{self.model}:{self.number}"

    @property
    def digest(self) -> str:
        """OMS v1 root digest of the bytes, hexadecimal."""
        return self.facts.digest

    @property
    def uri(self) -> str:
        """Where the bytes lay at registration."""
        return self.facts.uri

    @property
    def run_id(self) -> str:
        """The run of the pipeline that made it, or ""."""
        return self.origin.run_id

    def metric(self, name: str, slice_key: SliceKey = ()) -> float | None:
        """Returns one metric.

        Args:
            name: Name of the metric.
            slice_key: The slice; () is the whole data set.

        Returns:
            The value, or None when it is not known.
        """
        for metric in self.metrics:
            if metric.name == name and metric.slice == slice_key:
                return metric.value
        return None


@dataclass(frozen=True)
class Head:
    """The newest state of one model. A cache: it must equal the fold of the model's events.

    Attributes:
        model: Name as first registered.
        seq: Sequence number of the last event.
        digest: Digest of the last event, the end of the hash chain.
        latest: Number of the newest version; 0 before the first.
        count: How many versions there are.
        aliases: Version numbers by alias.
        deployments: What serves, by destination.
        unfinished: Promotions and rollbacks that were begun and not recorded yet, by destination.
        semantic_versions: The highest semantic version by its major number.
        policy: The access policy as JSON; only in the log of the registry itself.
        created: Time of the first event.
        updated: Time of the last event.
        gaps: Ranges of numbers, both ends inclusive and ascending, that no version has: adopted
            versions keep the numbers that they had.
        rollouts: Rollouts by a model config that were begun and not recorded yet, by destination.
        canaries: Versions on trial, by destination.
    """

    model: str
    seq: int
    digest: str
    latest: int
    count: int
    aliases: Mapping[str, int] = field(default_factory=dict)
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    unfinished: Mapping[str, Deployment] = field(default_factory=dict)
    semantic_versions: Mapping[str, str] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""
    updated: str = ""
    gaps: tuple[tuple[int, int], ...] = ()
    rollouts: Mapping[str, Deployment] = field(default_factory=dict)
    canaries: Mapping[str, Deployment] = field(default_factory=dict)

    def numbers(self) -> Sequence[int]:
        """Returns the numbers of all versions, ascending; of 100,000 as fast as of one."""
        if not self.gaps:
            return range(1, self.latest + 1)
        starts = [1, *(last + 1 for _, last in self.gaps)]
        ends = [*(first for first, _ in self.gaps), self.latest + 1]
        ranges = itertools.starmap(range, zip(starts, ends, strict=True))
        return list(itertools.chain.from_iterable(ranges))

    def serving(self, alias: str) -> Deployment | None:
        """Returns what serves under an alias: its newest deployment, or None."""
        under = [d for d in self.deployments.values() if d.alias == alias]
        return max(under, key=lambda d: d.seq, default=None)


def format_slice(key: SliceKey) -> str:
    """Writes a slice for people: `overall`, or `island=Dream, sex=female`."""
    return ", ".join(f"{feature}={value}" for feature, value in key) or "overall"
