"""What is different between two versions: a pure function of two records."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass

from tfx_registry.records import (
    LineageSource,
    Metric,
    Signature,
    SliceKey,
    TensorSpec,
    Verdict,
    Version,
)

__all__ = ["Change", "Comparison", "MetricChange", "SourceChange", "Status", "compare_versions"]


class Status(str, enum.Enum):
    """What became of one thing on the way from the first version to the second."""

    SAME = "same"
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True)
class Change:
    """One thing that both versions may have.

    Attributes:
        name: What it is.
        a: What the first version has, as text; None for nothing.
        b: What the second has.
        status: What became of it.
    """

    name: str
    a: str | None
    b: str | None
    status: Status


@dataclass(frozen=True)
class MetricChange:
    """One metric on one slice.

    Attributes:
        name: Name of the metric.
        slice: The slice; () is the whole data.
        a: Value of the first version; None where it was not measured.
        b: Value of the second.
        delta: b - a; None where one is missing, NaN where one is NaN.
        status: What became of it. NaN is the same as NaN.
    """

    name: str
    slice: SliceKey
    a: float | None
    b: float | None
    delta: float | None
    status: Status


@dataclass(frozen=True)
class SourceChange:
    """One artifact that a version came from.

    Attributes:
        key: The role, such as "examples".
        a: The artifact of the first version; None for none in this role.
        b: The artifact of the second.
        same_data: Whether it is the same: by digest where both have one, else by URI.
        properties: Those of its properties that differ, such as span.
        status: What became of it.
    """

    key: str
    a: LineageSource | None
    b: LineageSource | None
    same_data: bool
    properties: tuple[Change, ...]
    status: Status


@dataclass(frozen=True)
class Comparison:
    """Two versions side by side. Each list holds what is the same as well.

    Attributes:
        a: Reference of the first version, as `model:number`.
        b: Reference of the second.
        same_bytes: Whether their digests are equal.
        same_signatures: Whether a client of one can call the other in the same way.
        relation: How the registry connects them, in words; often nothing.
        facts: Format, size, state, decision and so on.
        metrics: Metrics by name and slice, the whole data first.
        signatures: Inputs and outputs, such as "serving_default input x".
        sources: The artifacts that they came from, by role.
        hyperparameters: Parameters of the training.
        libraries: Versions of libraries.
        labels: Labels.
    """

    a: str
    b: str
    same_bytes: bool
    same_signatures: bool
    relation: tuple[str, ...]
    facts: tuple[Change, ...]
    metrics: tuple[MetricChange, ...]
    signatures: tuple[Change, ...]
    sources: tuple[SourceChange, ...]
    hyperparameters: tuple[Change, ...]
    libraries: tuple[Change, ...]
    labels: tuple[Change, ...]


def compare_versions(a: Version, b: Version) -> Comparison:
    """Compares two versions.

    Args:
        a: The one that changes are counted from.
        b: The other.

    Returns:
        The comparison.
    """
    signatures = _changes(_tensors(a.facts.signatures), _tensors(b.facts.signatures))
    return Comparison(
        a=a.ref,
        b=b.ref,
        same_bytes=a.digest == b.digest,
        same_signatures=all(change.status is Status.SAME for change in signatures),
        relation=_relation(a, b),
        facts=_changes(_facts(a), _facts(b)),
        metrics=_metrics(a.metrics, b.metrics),
        signatures=signatures,
        sources=_sources(a.sources, b.sources),
        hyperparameters=_changes(a.hyperparameters, b.hyperparameters),
        libraries=_changes(a.origin.libraries, b.origin.libraries),
        labels=_changes(a.labels, b.labels),
    )


def _status(a: object, b: object) -> Status:
    if a is None or b is None:
        if a is b:
            return Status.SAME
        return Status.ADDED if a is None else Status.REMOVED
    both_nan = isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b)
    return Status.SAME if a == b or both_nan else Status.CHANGED


def _changes(a: Mapping[str, str], b: Mapping[str, str]) -> tuple[Change, ...]:
    names = [*a, *(name for name in b if name not in a)]
    return tuple(
        Change(name, a.get(name), b.get(name), _status(a.get(name), b.get(name)))
        for name in sorted(names)
    )


def _facts(v: Version) -> dict[str, str]:
    decision = v.decision
    values = {
        "state": v.state.value,
        "registered": v.time,
        "by": v.actor,
        "format": v.facts.format.value,
        "size_bytes": str(v.facts.size_bytes),
        "file_count": str(v.facts.file_count),
        "digest": v.digest,
        "tensorflow": v.facts.tensorflow_version,
        "semantic_version": v.semantic_version,
        "aliases": ", ".join(v.aliases),
        "serving": ", ".join(v.serving),
        "decision": decision.verdict.value if decision else "",
        "baseline": str(decision.baseline) if decision and decision.baseline else "",
        "pipeline": v.origin.pipeline_name,
        "run": v.origin.run_id,
        "code_revision": v.origin.code_revision,
        "description": v.description,
    }
    return {name: value for name, value in values.items() if value}


def _metrics(a: tuple[Metric, ...], b: tuple[Metric, ...]) -> tuple[MetricChange, ...]:
    before = {(m.name, m.slice): m.value for m in reversed(a)}
    after = {(m.name, m.slice): m.value for m in reversed(b)}
    keys = sorted(before.keys() | after.keys(), key=lambda key: (len(key[1]), key[1], key[0]))
    changes = []
    for name, slice_key in keys:
        one, two = before.get((name, slice_key)), after.get((name, slice_key))
        delta = two - one if one is not None and two is not None else None
        changes.append(MetricChange(name, slice_key, one, two, delta, _status(one, two)))
    return tuple(changes)


def _tensors(signatures: Mapping[str, Signature]) -> dict[str, str]:
    sides: list[tuple[str, str, Mapping[str, TensorSpec]]] = []
    for name, signature in signatures.items():
        sides += [(name, "input", signature.inputs), (name, "output", signature.outputs)]
    return {
        f"{name} {side} {key}": str(spec)
        for name, side, specs in sides
        for key, spec in specs.items()
    }


def _sources(
    a: tuple[LineageSource, ...], b: tuple[LineageSource, ...]
) -> tuple[SourceChange, ...]:
    """Pairs the artifacts of each role: those that are the same first, the rest in order."""
    changes = []
    for key in sorted({source.key for source in (*a, *b)}):
        before = [source for source in a if source.key == key]
        after = [source for source in b if source.key == key]
        pairs: list[tuple[LineageSource | None, LineageSource | None]] = []
        for source in list(before):
            twin = next((other for other in after if _same_data(source, other)), None)
            if twin is not None:
                pairs.append((source, twin))
                before.remove(source)
                after.remove(twin)
        rest = max(len(before), len(after))
        left = [*before, *[None] * (rest - len(before))]
        right = [*after, *[None] * (rest - len(after))]
        changes += [_source_change(key, *pair) for pair in (*pairs, *zip(left, right, strict=True))]
    return tuple(changes)


def _source_change(key: str, a: LineageSource | None, b: LineageSource | None) -> SourceChange:
    if a is None or b is None:
        return SourceChange(key, a, b, False, (), Status.ADDED if a is None else Status.REMOVED)
    properties = _changes(a.properties, b.properties)
    differing = tuple(change for change in properties if change.status is not Status.SAME)
    same = _same_data(a, b)
    return SourceChange(key, a, b, same, differing, Status.SAME if same else Status.CHANGED)


def _same_data(a: LineageSource, b: LineageSource) -> bool:
    return a.digest == b.digest if a.digest and b.digest else a.uri == b.uri


def _relation(a: Version, b: Version) -> tuple[str, ...]:
    said = []
    if a.model != b.model:
        return ()
    for one, other in ((a, b), (b, a)):
        decision = one.decision
        if decision is not None and decision.baseline == other.number:
            verdict = "passed" if decision.verdict is Verdict.PASSED else "was blocked"
            said.append(f"{one.ref} {verdict} against {other.ref}")
        if one.same_bytes_as == other.number:
            said.append(f"{one.ref} has the bytes of {other.ref}")
    return tuple(said)
