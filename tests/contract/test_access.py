"""Who has no grant changes nothing, by whatever method."""

from __future__ import annotations

import datetime
import io
import typing
from collections.abc import Callable
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.errors import AccessDeniedError
from tfx_registry.records import Verdict
from tfx_registry.registry.access import AccessPolicy, Action, Grant, action_of
from tfx_registry.registry.events import Decided, Payload

HOUR = datetime.timedelta(hours=1)

#: What an actor may be kept from, by the method that does it; version 2 serves in place of 1.
CHANGES: dict[str, Callable[[ModelRegistry, Path, str], object]] = {
    "register": lambda r, m, who: r.register("penguin", m, actor=who),
    "register the first": lambda r, m, who: r.register("auk", m, actor=who),
    "register_adopted": lambda r, m, who: r.register_adopted("penguin", m, 9, "/found", actor=who),
    "record_adoption": lambda r, _, who: r.record_adoption("penguin", 1, "/a", "found", actor=who),
    "record_decision": lambda r, _, who: r.record_decision("penguin", decision(r, 1), actor=who),
    "record_intent": lambda r, _, who: r.record_intent("penguin", 2, "/t", "production", actor=who),
    "record_promotion": lambda r, _, who: r.record_promotion(
        "penguin", 2, "/t", "production", actor=who
    ),
    "record_rollback_intent": lambda r, _, who: r.record_rollback_intent(
        "penguin", 1, "/serving", reason="why", actor=who
    ),
    "record_rollback": lambda r, _, who: r.record_rollback(
        "penguin", 1, "/serving", (2,), reason="why", actor=who
    ),
    "set_alias": lambda r, _, who: r.set_alias("penguin", "champion", 1, actor=who),
    "remove_alias": lambda r, _, who: r.remove_alias("penguin", "old", actor=who),
    "set_label": lambda r, _, who: r.set_label("penguin", 1, "team", "x", actor=who),
    "remove_label": lambda r, _, who: r.remove_label("penguin", 1, "old", actor=who),
    "approve": lambda r, _, who: r.approve("penguin", 1, actor=who),
    "reject": lambda r, _, who: r.reject("penguin", 1, reason="why", actor=who),
    "override": lambda r, _, who: r.override("penguin", 1, reason="y", expires=HOUR, actor=who),
    "archive": lambda r, _, who: r.archive("penguin", 3, actor=who),
    "set_access_policy": lambda r, _, who: r.set_access_policy(AccessPolicy((who,)), actor=who),
    "import_history": lambda r, _, who: r.import_history(io.BytesIO(), actor=who),
    "check_may_promote": lambda r, _, who: r.check_may_promote("penguin", who),
}


def decision(registry: ModelRegistry, number: int) -> Decided:
    now = registry.serving("penguin")
    return Decided(
        number, Verdict.PASSED, registry.get("penguin", number).digest, "production",
        baseline=now.number if now else None, serving_seq=now.seq if now else 0,
    )  # fmt: skip


@pytest.fixture
def guarded(plain_model: Path) -> ModelRegistry:
    """Version 2 serves in place of 1; only root may do anything, and eve may on another model."""
    registry = ModelRegistry.open("memory://")
    for number in (1, 2, 3):
        registry.register("penguin", plain_model, labels={"old": "x"}, actor="root")
        if number < 3:
            registry.record_decision("penguin", decision(registry, number), actor="root")
            registry.record_promotion("penguin", number, "/serving", "production", actor="root")
    registry.set_alias("penguin", "old", 1, actor="root")
    elsewhere = tuple(action for action in Action if action is not Action.ADMINISTER)
    grants = (Grant(("eve",), elsewhere, "gannet"),)
    registry.set_access_policy(AccessPolicy(("root",), grants), actor="root")
    return registry


@pytest.mark.parametrize("name", CHANGES)
def test_who_has_no_grant_changes_nothing(
    guarded: ModelRegistry, plain_model: Path, name: str
) -> None:
    before = guarded.history("penguin")
    with pytest.raises(AccessDeniedError, match="'eve' may not"):
        CHANGES[name](guarded, plain_model, "eve")
    assert guarded.history("penguin") == before
    assert [head.model for head in guarded.list_models()] == ["penguin"]
    assert len(guarded.access_policy_history()) == 1


def test_every_kind_of_event_needs_an_action() -> None:
    for kind in typing.get_args(Payload):
        assert isinstance(action_of(object.__new__(kind)), Action), kind
