"""What served where from when to when, and what was on trial: a pure fold of the history."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tfx_registry.registry.events import (
    Adopted,
    CanaryEnded,
    CanaryStarted,
    Event,
    Promoted,
    RolledBack,
)

__all__ = ["Period", "periods"]


@dataclass
class Period:
    """A version in a serving directory, from one event to the next.

    Attributes:
        number: The version.
        destination: The serving base directory.
        alias: The alias that pointed at it.
        trial: Whether it was on trial only.
        start: When it began, as stored.
        event: Sequence number of the event that began it.
        how: Kind of that event: promoted, rolled_back, adopted or canary_started.
        actor: Who did that.
        reason: Why.
        end: When it ended, or None while it lasts.
        ended_by: Kind of the event that ended it, or "".
    """

    number: int
    destination: str
    alias: str
    trial: bool
    start: str
    event: int
    how: str
    actor: str
    reason: str
    end: str | None = None
    ended_by: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns the period as a JSON object."""
        return dict(vars(self))


def periods(history: Iterable[Event]) -> list[Period]:
    """Finds what served, and what was on trial.

    Args:
        history: All events of a model, oldest first.

    Returns:
        The periods in the order in which they began.
    """
    found: list[Period] = []
    open_now: dict[tuple[str, bool], Period] = {}
    for event in history:
        payload = event.payload
        if isinstance(payload, Promoted | RolledBack | Adopted):
            trial = open_now.get((payload.destination, True))
            if trial is not None and trial.number == payload.number:
                # What has come to serve is on trial no more.
                _end(open_now, (payload.destination, True), event)
            _begin(found, open_now, event, payload, trial=False)
        elif isinstance(payload, CanaryStarted):
            _begin(found, open_now, event, payload, trial=True)
        elif isinstance(payload, CanaryEnded):
            _end(open_now, (payload.destination, True), event)
    return found


def _begin(
    found: list[Period],
    open_now: dict[tuple[str, bool], Period],
    event: Event,
    payload: Promoted | RolledBack | Adopted | CanaryStarted,
    *,
    trial: bool,
) -> None:
    key = (payload.destination, trial)
    _end(open_now, key, event)
    period = Period(
        payload.number,
        payload.destination,
        payload.alias,
        trial,
        event.time,
        event.seq,
        event.kind,
        event.actor,
        event.reason,
    )
    found.append(period)
    open_now[key] = period


def _end(open_now: dict[tuple[str, bool], Period], key: tuple[str, bool], event: Event) -> None:
    period = open_now.pop(key, None)
    if period is not None:
        period.end, period.ended_by = event.time, event.kind
