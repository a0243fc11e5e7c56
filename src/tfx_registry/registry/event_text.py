"""What an event did, in one line for people: the same words in the terminal and on pages."""

from __future__ import annotations

from tfx_registry.registry.events import (
    Adopted,
    AliasRemoved,
    AliasSet,
    Approved,
    Archived,
    BytesFound,
    BytesRemoved,
    CanaryEnded,
    CanaryStarted,
    Decided,
    Event,
    IntentDropped,
    LabelRemoved,
    LabelSet,
    Overridden,
    PolicySet,
    PublishStarted,
    Registered,
    Rejected,
    RollbackStarted,
    RolledBack,
    RolloutDropped,
    RolloutStarted,
    ServersChecked,
)

__all__ = ["describe_event"]

_ROLLOUTS: dict[type, str] = {
    RolloutStarted: " about to be loaded beside what serves",
    RolloutDropped: ": the rollout was undone",
    CanaryStarted: " is on trial",
    CanaryEnded: " is not on trial any more",
}


def describe_event(event: Event) -> str:
    """Says in one line what an event did; who, when and why stand in its envelope."""
    payload = event.payload
    if isinstance(payload, Registered):
        return f"version {payload.number}, digest {payload.facts.digest[:12]}"
    if isinstance(payload, Decided):
        against = f" against version {payload.baseline}" if payload.baseline else ""
        failed = f": {payload.reasons[0]}" if payload.reasons else ""
        more = f" (and {len(payload.reasons) - 1} more)" if len(payload.reasons) > 1 else ""
        run = f", in the pipeline run {payload.run}" if str(payload.run) else ""
        return f"version {payload.number} {payload.verdict.value}{against}{failed}{more}{run}"
    if isinstance(payload, AliasSet):
        before = f", was {payload.previous}" if payload.previous else ""
        return f"{payload.alias} is version {payload.number}{before}"
    if isinstance(payload, AliasRemoved):
        return f"{payload.alias} removed, was version {payload.previous}"
    if isinstance(payload, PublishStarted):
        return f"version {payload.number} about to appear in {payload.destination}"
    if isinstance(payload, Overridden):
        until = payload.expires[:19].replace("T", " ")
        under = f" under {payload.alias}" if payload.alias else ""
        return f"version {payload.number} may be promoted{under} until {until} UTC"
    if isinstance(payload, LabelSet):
        return f"version {payload.number}: {payload.key}={payload.value}"
    if isinstance(payload, LabelRemoved):
        return f"version {payload.number}: {payload.key} removed, was {payload.previous}"
    if isinstance(payload, PolicySet):
        return f"admins: {', '.join(payload.policy['admins'])}"
    if isinstance(payload, (Approved, Rejected, Archived)):
        return f"version {payload.number}"
    if isinstance(payload, RollbackStarted):
        return f"about to go back to version {payload.number} in {payload.destination}"
    if isinstance(payload, RolledBack):
        return (
            f"back to version {payload.number} from {payload.replaces} as {payload.alias} "
            f"in {payload.destination}"
        )
    if isinstance(payload, IntentDropped):
        return f"version {payload.number}: what was begun in {payload.destination} was undone"
    if isinstance(payload, BytesRemoved):
        last = ", the last known" if payload.last else ""
        return f"version {payload.number}: bytes gone from {payload.destination}{last}"
    if isinstance(payload, BytesFound):
        return f"version {payload.number}: bytes back in {payload.destination}"
    if isinstance(payload, Adopted):
        return f"version {payload.number} found serving in {payload.destination}"
    if isinstance(payload, RolloutStarted | RolloutDropped | CanaryStarted | CanaryEnded):
        return f"version {payload.number}{_ROLLOUTS[type(payload)]} in {payload.destination}"
    if isinstance(payload, ServersChecked):
        found = "is available" if payload.available else "is not available"
        return f"version {payload.number} {found}: {'; '.join(payload.servers)}"
    instead = f" in place of {payload.replaces}" if payload.replaces else ""
    return f"version {payload.number} serves as {payload.alias}{instead} in {payload.destination}"
