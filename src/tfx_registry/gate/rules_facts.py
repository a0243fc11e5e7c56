"""Rules that look at no metric: age of the evaluation, size, signatures, labels, InfraValidator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tfx_registry.gate.evaluation import Evaluation
from tfx_registry.gate.policy import GatePolicy, SignatureRule
from tfx_registry.gate.report import Check, CheckKind, Reason, format_number
from tfx_registry.gate.situation import Situation
from tfx_registry.records import Signature, TensorSpec

__all__ = ["check_facts", "differences_of"]

#: How far into the future the clock of another machine may be, in hours.
_CLOCK_HOURS = 0.25

_SECONDS_PER_HOUR = 3600.0


def check_facts(
    policy: GatePolicy, evaluation: Evaluation, situation: Situation
) -> tuple[list[Check], list[str]]:
    """Asks everything that the policy demands besides metrics.

    Args:
        policy: The policy.
        evaluation: The evaluation.
        situation: What the registry knows.

    Returns:
        The checks, and remarks on what could not be compared because nothing serves.
    """
    checks = [
        *_age(policy, evaluation, situation),
        *_size(policy, situation),
        *_growth(policy, situation),
        *_signatures(policy, situation),
        *_infra_blessing(policy, situation),
        *_labels(policy, situation),
    ]
    notes = []
    compared = [
        ("size", policy.max_model_growth is not None),
        ("signatures", policy.signatures is not SignatureRule.ANY),
    ]
    asked = [name for name, is_asked in compared if is_asked]
    if situation.serving is None and asked:
        notes.append(f"not compared, because nothing serves: {', '.join(asked)}")
    if situation.infra_blessing is False and not policy.require_infra_blessing:
        notes.append("InfraValidator did not bless the model; the policy does not ask for it")
    return checks, notes


def _fact(
    reason: Reason | None,
    message: str,
    rule: str,
    value: float | None = None,
    bound: float | None = None,
    baseline_value: float | None = None,
) -> Check:
    return Check(
        reason is None,
        message,
        reason,
        rule,
        value=_float(value),
        bound=_float(bound),
        baseline_value=_float(baseline_value),
        kind=CheckKind.FACT,
    )


def _float(value: float | None) -> float | None:
    """Keeps numbers as floats, as which they are read back."""
    return None if value is None else float(value)


def _age(policy: GatePolicy, evaluation: Evaluation, situation: Situation) -> Iterator[Check]:
    limit = policy.max_evaluation_age_hours
    if limit is None or evaluation.candidate is None:
        return
    rule = f"evaluation at most {format_number(limit)} hours old"
    if evaluation.made_at is None or situation.now is None:
        what = "when the evaluation was made" if evaluation.made_at is None else "the time"
        yield _fact(Reason.EVALUATION_UNDATED, f"{what} is not known", rule, bound=limit)
        return
    hours = (situation.now - evaluation.made_at) / _SECONDS_PER_HOUR
    shown = f"the evaluation is {format_number(hours)} hours old"
    if hours < -_CLOCK_HOURS:
        message = f"the evaluation is dated {format_number(-hours)} hours in the future"
        yield _fact(Reason.EVALUATION_UNDATED, message, rule, hours, limit)
    elif not hours <= limit:
        message = f"{shown}, at most {format_number(limit)} are allowed"
        yield _fact(Reason.EVALUATION_TOO_OLD, message, rule, hours, limit)
    else:
        yield _fact(None, shown, rule, hours, limit)


def _size(policy: GatePolicy, situation: Situation) -> Iterator[Check]:
    limit, size = policy.max_model_bytes, situation.candidate.size_bytes
    if limit is None:
        return
    rule = f"at most {limit} bytes"
    if size is None:
        message = "the size of the model is not known"
        yield _fact(Reason.MODEL_SIZE_UNKNOWN, message, rule, bound=limit)
    elif size > limit:
        message = f"the model has {size} bytes, {limit} are allowed"
        yield _fact(Reason.MODEL_TOO_LARGE, message, rule, size, limit)
    else:
        yield _fact(None, f"the model has {size} bytes", rule, size, limit)


def _growth(policy: GatePolicy, situation: Situation) -> Iterator[Check]:
    growth, serving = policy.max_model_growth, situation.serving
    if growth is None or serving is None:
        return
    size, before = situation.candidate.size_bytes, serving.size_bytes
    rule = f"at most {growth * 100:.6g} % larger than what serves"
    if size is None or before is None:
        whose = "the model" if size is None else f"version {serving.number}"
        yield _fact(Reason.MODEL_SIZE_UNKNOWN, f"the size of {whose} is not known", rule)
        return
    limit = before * (1 + growth)
    shown = f"the model has {size} bytes, version {serving.number} has {before}"
    if size > limit:
        message = f"{shown}; {format_number(limit)} are allowed"
        yield _fact(Reason.MODEL_TOO_LARGE, message, rule, size, limit, before)
    else:
        yield _fact(None, shown, rule, size, limit, before)


def _signatures(policy: GatePolicy, situation: Situation) -> Iterator[Check]:
    serving = situation.serving
    if policy.signatures is SignatureRule.ANY or serving is None:
        return
    same = policy.signatures is SignatureRule.SAME
    rule = "same signatures as what serves" if same else "signatures only added to"
    ours, theirs = situation.candidate.signatures, serving.signatures
    if not ours or not theirs:
        whose = "the model" if not ours else f"version {serving.number}"
        yield _fact(Reason.SIGNATURES_UNKNOWN, f"no signature of {whose} is known", rule)
        return
    found = differences_of(theirs, ours, additive=not same)
    for difference in found:
        message = f"against version {serving.number}: {difference}"
        yield _fact(Reason.SIGNATURES_DIFFER, message, rule)
    if not found:
        yield _fact(None, f"the signatures fit those of version {serving.number}", rule)


def differences_of(
    before: Mapping[str, Signature], after: Mapping[str, Signature], *, additive: bool
) -> list[str]:
    """Lists how signatures differ.

    Args:
        before: What clients call now.
        after: What they would call.
        additive: Whether to leave out differences that no client of `before` would notice: further
            signatures and outputs, inputs of a more general shape, outputs of a more special one.

    Returns:
        One readable line for each difference.
    """
    lines = [f"signature {name} is gone" for name in sorted(set(before) - set(after))]
    if not additive:
        lines += [f"signature {name} is new" for name in sorted(set(after) - set(before))]
    for name in sorted(set(before) & set(after)):
        old, new = before[name], after[name]
        lines += _tensors(f"{name} input", old.inputs, new.inputs, _accepts if additive else None)
        # A new input has to be given, so it is a difference for every client.
        lines += [f"{name} input {x} is new" for x in sorted(set(new.inputs) - set(old.inputs))]
        lines += _tensors(f"{name} output", old.outputs, new.outputs, _gives if additive else None)
        if not additive:
            added = sorted(set(new.outputs) - set(old.outputs))
            lines += [f"{name} output {x} is new" for x in added]
            if old.method != new.method:
                lines.append(f"{name} method {old.method!r} became {new.method!r}")
    return lines


def _tensors(
    what: str,
    before: Mapping[str, TensorSpec],
    after: Mapping[str, TensorSpec],
    fits: object,
) -> Iterator[str]:
    for name, old in sorted(before.items()):
        new = after.get(name)
        if new is None:
            yield f"{what} {name} is gone"
        elif not (fits(old, new) if callable(fits) else old == new):
            yield f"{what} {name}: {old} became {new}"


def _accepts(old: TensorSpec, new: TensorSpec) -> bool:
    """Tells whether an input takes all that it took before."""
    if old.dtype != new.dtype or new.shape is None:
        return old.dtype == new.dtype
    return (
        old.shape is not None
        and len(old.shape) == len(new.shape)
        and all(
            ours is None or ours == theirs
            for theirs, ours in zip(old.shape, new.shape, strict=True)
        )
    )


def _gives(old: TensorSpec, new: TensorSpec) -> bool:
    """Tells whether an output gives nothing that it did not give before."""
    return _accepts(new, old)


def _infra_blessing(policy: GatePolicy, situation: Situation) -> Iterator[Check]:
    if not policy.require_infra_blessing:
        return
    rule = "blessed by InfraValidator"
    if situation.infra_blessing is None:
        message = "there is no InfraBlessing of the model"
        yield _fact(Reason.INFRA_BLESSING_MISSING, message, rule)
    elif not situation.infra_blessing:
        yield _fact(Reason.INFRA_NOT_BLESSED, "InfraValidator did not bless the model", rule)
    else:
        yield _fact(None, "InfraValidator blessed the model", rule)


def _labels(policy: GatePolicy, situation: Situation) -> Iterator[Check]:
    for key, allowed in sorted(policy.required_labels.items()):
        rule = f"label {key}" + (f" in {', '.join(sorted(set(allowed)))}" if allowed else "")
        value = situation.labels.get(key)
        if value is None:
            yield _fact(Reason.LABEL_MISSING, f"the version has no label {key!r}", rule)
        elif allowed and value not in allowed:
            message = f"the label {key!r} is {value!r}, which is not allowed"
            yield _fact(Reason.LABEL_NOT_ALLOWED, message, rule)
        else:
            yield _fact(None, f"the label {key!r} is {value!r}", rule)
