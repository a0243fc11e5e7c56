"""What served when."""

from __future__ import annotations

from typing import Any

from tfx_registry import ModelRegistry
from tfx_registry.pages.periods import periods
from tfx_registry.records import ConfigTarget
from tfx_registry.registry.events import (
    Adopted,
    CanaryEnded,
    CanaryStarted,
    Event,
    Payload,
    Promoted,
    RolledBack,
)

CONFIG = ConfigTarget("/a/models.config", "m", "/a")


def history(*payloads: Payload) -> list[Event]:
    return [
        Event("m", seq, f"2026-01-0{seq}", "ada", "", "", payload)
        for seq, payload in enumerate(payloads, 1)
    ]


def told(*payloads: Payload) -> list[tuple[Any, ...]]:
    return [
        (p.number, p.trial, p.start[-1], (p.end or "-")[-1], p.ended_by)
        for p in periods(history(*payloads))
    ]


def test_a_version_serves_until_the_next_one_does() -> None:
    assert told(Promoted(1, "/a", "p", "d"), Promoted(2, "/a", "p", "d")) == [
        (1, False, "1", "2", "promoted"),
        (2, False, "2", "-", ""),
    ]


def test_directories_are_kept_apart() -> None:
    assert told(Adopted(1, "/a", "p", "d"), Promoted(2, "/b", "p", "d")) == [
        (1, False, "1", "-", ""),
        (2, False, "2", "-", ""),
    ]


def test_a_rollback_ends_what_served_and_begins_what_served_before() -> None:
    found = told(
        Promoted(1, "/a", "p", "d"), Promoted(2, "/a", "p", "d"), RolledBack(1, "/a", "p", "d", 2)
    )
    assert found[1:] == [(2, False, "2", "3", "rolled_back"), (1, False, "3", "-", "")]


def test_a_trial_ends_by_abort_by_promotion_and_by_the_next_trial() -> None:
    served = Promoted(1, "/a", "p", "d")

    def trial(number: int) -> CanaryStarted:
        return CanaryStarted(number, "/a", "canary", "d", CONFIG, 1)

    assert told(served, trial(2), CanaryEnded(2, "/a", "canary"))[1] == (
        2, True, "2", "3", "canary_ended",
    )  # fmt: skip
    assert told(served, trial(2), Promoted(2, "/a", "p", "d"))[1] == (2, True, "2", "3", "promoted")
    assert told(served, trial(2), trial(3))[1] == (2, True, "2", "3", "canary_started")
    # What is put beside a trial does not end it.
    assert told(served, trial(2), Promoted(3, "/a", "p", "d"))[1] == (2, True, "2", "-", "")


def test_what_lasts_is_what_the_head_says(registry: ModelRegistry) -> None:
    head = registry.head("penguin")
    open_now = [p for p in periods(registry.history("penguin")) if p.end is None]
    assert {(p.destination, p.number, p.start) for p in open_now if not p.trial} == {
        (d.destination, d.number, d.time) for d in head.deployments.values()
    }
    assert {(p.destination, p.number, p.start) for p in open_now if p.trial} == {
        (d.destination, d.number, d.time) for d in head.canaries.values()
    }
