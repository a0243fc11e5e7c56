"""Approvals, overrides, labels, archiving, and who may do what."""

from __future__ import annotations

import datetime
import io
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry, codec
from tfx_registry.errors import (
    AccessDeniedError,
    ApprovalsMissingError,
    InvalidInputError,
    InvalidNameError,
    InvalidPolicyError,
    NotFoundError,
    RefusedError,
)
from tfx_registry.records import Verdict, VersionState
from tfx_registry.registry import fold
from tfx_registry.registry.access import AccessPolicy, Action, Grant, ModelRule
from tfx_registry.registry.events import Decided, Overridden

HOUR = datetime.timedelta(hours=1)


@pytest.fixture
def filled(registry: ModelRegistry, plain_model: Path) -> ModelRegistry:
    """Version 1, registered by ada, passed; version 2 blocked."""
    for number, verdict in ((1, Verdict.PASSED), (2, Verdict.BLOCKED)):
        digest = registry.register("penguin", plain_model, actor="ada").digest
        reasons = ("overall: auc 0.4 is below 0.9",) if verdict is Verdict.BLOCKED else ()
        registry.record_decision(
            "penguin",
            Decided(number, verdict, digest, "production", reasons=reasons),
            actor="ci",
        )
    return registry


def promote(registry: ModelRegistry, number: int, required: int = 0) -> None:
    registry.record_promotion(
        "penguin", number, "/serving", "production", required_approvals=required, actor="ci"
    )


def test_approvals_are_counted_by_person(filled: ModelRegistry) -> None:
    with pytest.raises(ApprovalsMissingError, match="0 of 2 approvals"):
        promote(filled, 1, required=2)
    filled.approve("penguin", 1, actor="bob", reason="looked at it")
    filled.approve("penguin", 1, actor="bob", reason="again")
    with pytest.raises(ApprovalsMissingError, match="1 of 2 approvals"):
        promote(filled, 1, required=2)
    version = filled.approve("penguin", 1, actor="cleo")
    assert version.state is VersionState.APPROVED
    assert [(a.actor, a.reason) for a in version.approvals] == [("bob", "again"), ("cleo", "")]
    promote(filled, 1, required=2)
    assert filled.get("penguin", 1).state is VersionState.SERVING


@pytest.mark.parametrize("compared", [True, False])
def test_size_and_signatures_that_were_compared_bind_a_decision_without_numbers(
    filled: ModelRegistry, plain_model: Path, compared: bool
) -> None:
    promote(filled, 1)
    for number in (3, 4):
        serving = filled.serving("penguin")
        assert serving is not None
        digest = filled.register("penguin", plain_model).digest
        decision = Decided(
            number, Verdict.PASSED, digest, "production",
            serving_seq=serving.seq, facts_compared=compared,
        )  # fmt: skip
        filled.record_decision("penguin", decision)
    promote(filled, 4)
    if compared:
        with pytest.raises(RefusedError, match="with what served then, and version 4 serves"):
            promote(filled, 3)
    else:
        promote(filled, 3)


def test_the_registrants_own_approval_does_not_count(filled: ModelRegistry) -> None:
    filled.approve("penguin", 1, actor="ada")
    with pytest.raises(ApprovalsMissingError, match="by others than ada, who registered it"):
        promote(filled, 1, required=1)
    promote(filled, 1)


def test_a_rejection_stands_until_it_is_taken_back(filled: ModelRegistry) -> None:
    filled.approve("penguin", 1, actor="cleo")
    version = filled.reject("penguin", 1, actor="bob", reason="leaked labels")
    assert version.state is VersionState.REJECTED
    with pytest.raises(RefusedError, match="bob rejected it: leaked labels"):
        promote(filled, 1)
    assert filled.approve("penguin", 1, actor="bob").state is VersionState.APPROVED
    promote(filled, 1)


def test_rejections_and_overrides_need_a_reason(filled: ModelRegistry) -> None:
    with pytest.raises(InvalidInputError, match="without a reason"):
        filled.reject("penguin", 1, reason=" ")
    with pytest.raises(InvalidInputError, match="without a reason"):
        filled.override("penguin", 2, reason="", expires=HOUR)
    assert len(filled.history("penguin")) == 4


def test_an_override_lets_a_blocked_version_serve_and_shows(filled: ModelRegistry) -> None:
    with pytest.raises(RefusedError, match="the gate blocked it"):
        promote(filled, 2)
    version = filled.override("penguin", 2, actor="bob", reason="outage", expires=HOUR)
    assert version.override is not None
    assert (version.override.actor, version.override.reason) == ("bob", "outage")
    assert version.state is VersionState.BLOCKED
    promote(filled, 2)
    version = filled.get("penguin", 2)
    assert version.state is VersionState.SERVING
    assert version.override is not None


def test_an_override_holds_for_one_alias(filled: ModelRegistry) -> None:
    filled.override("penguin", 2, reason="a rehearsal", expires=HOUR, alias="staging")
    filled.check_promotable("penguin", 2, alias="staging")
    with pytest.raises(RefusedError, match=r"blocked it.*overridden for 'staging', not for 'prod"):
        promote(filled, 2)
    with pytest.raises(RefusedError, match="overridden for 'staging', not for 'production'"):
        filled.check_promotable("penguin", 2)
    # One for another alias stands beside it; a later one for the same takes its place.
    version = filled.override("penguin", 2, reason="outage", expires=HOUR)
    assert version.override is not None
    assert version.override.alias == "production"
    assert [o.alias for o in version.other_overrides] == ["staging"]
    for alias in ("staging", "production"):
        filled.check_promotable("penguin", 2, alias=alias)
    version = filled.override("penguin", 2, reason="again", expires=HOUR, alias="staging")
    assert [o.alias for o in version.other_overrides] == ["production"]
    override = version.override_for("staging")
    assert override is not None
    assert override.reason == "again"
    assert version.override_for("shadow") is None
    with pytest.raises(InvalidNameError):
        filled.override("penguin", 2, reason="x", expires=HOUR, alias="no alias")


def test_an_override_without_an_alias_in_an_old_log_holds_for_any(filled: ModelRegistry) -> None:
    until = "9999-01-01T00:00:00.000000Z"
    assert "alias" not in codec.encode(Overridden(2, until))  # as it was written then
    filled._commit("penguin", lambda _: Overridden(2, until), "bob", "outage")
    for alias in ("production", "staging"):
        filled.check_promotable("penguin", 2, alias=alias)
    # For its own alias a later one takes its place, here with an earlier end.
    filled.override("penguin", 2, reason="x", expires=HOUR, alias="staging")
    filled._clock = lambda: datetime.datetime.now(datetime.timezone.utc) + 2 * HOUR
    filled.check_promotable("penguin", 2)
    with pytest.raises(RefusedError, match="the gate blocked it"):
        filled.check_promotable("penguin", 2, alias="staging")


def test_an_override_expires(plain_model: Path) -> None:
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    times = [now]
    registry = ModelRegistry.open("memory://")
    registry._clock = lambda: times[0]
    registry.register("penguin", plain_model)
    registry.override("penguin", 1, reason="outage", expires=HOUR)
    times[0] = now + HOUR - datetime.timedelta(microseconds=1)
    registry.check_promotable("penguin", 1)
    times[0] = now + HOUR
    with pytest.raises(RefusedError, match="no gate decision"):
        registry.check_promotable("penguin", 1)
    for past in (now, now - HOUR, datetime.datetime(2027, 1, 1)):
        with pytest.raises(InvalidInputError, match="has no zone, or lies in the past"):
            registry.override("penguin", 1, reason="outage", expires=past)


def test_labels(filled: ModelRegistry) -> None:
    assert filled.set_label("penguin", 1, "team", "birds").labels == {"team": "birds"}
    events = len(filled.history("penguin"))
    filled.set_label("penguin", 1, "team", "birds")
    assert len(filled.history("penguin")) == events
    assert filled.set_label("penguin", 1, "team", "auks").labels == {"team": "auks"}
    assert filled.remove_label("penguin", 1, "team").labels == {}
    with pytest.raises(NotFoundError, match="no label 'team'"):
        filled.remove_label("penguin", 1, "team")
    with pytest.raises(InvalidNameError):
        filled.set_label("penguin", 1, "a b", "x")
    assert [e.kind for e in filled.history("penguin")][-3:] == [
        "label_set",
        "label_set",
        "label_removed",
    ]


def test_archived_versions_are_out_of_use(filled: ModelRegistry) -> None:
    filled.set_alias("penguin", "old", 1)
    with pytest.raises(RefusedError, match="the alias 'old' points at it"):
        filled.archive("penguin", 1)
    filled.remove_alias("penguin", "old")
    promote(filled, 1)
    with pytest.raises(RefusedError, match="serves in '/serving'"):
        filled.archive("penguin", 1)
    assert filled.archive("penguin", 2).state is VersionState.ARCHIVED
    events = len(filled.history("penguin"))
    filled.archive("penguin", 2)
    for act in (
        lambda: promote(filled, 2),
        lambda: filled.approve("penguin", 2),
        lambda: filled.override("penguin", 2, reason="x", expires=HOUR),
        lambda: filled.set_alias("penguin", "champion", 2),
    ):
        with pytest.raises(RefusedError):
            act()
    assert len(filled.history("penguin")) == events
    assert filled.get("penguin", 2).labels == {}


@pytest.mark.parametrize(
    "act",
    [
        lambda r: r.approve("penguin", 9),
        lambda r: r.reject("penguin", 9, reason="x"),
        lambda r: r.override("penguin", 9, reason="x", expires=HOUR),
        lambda r: r.archive("penguin", 9),
        lambda r: r.set_label("auk", 1, "a", "b"),
        lambda r: r.remove_label("penguin", 9, "a"),
    ],
)
def test_what_does_not_exist(filled: ModelRegistry, act: object) -> None:
    with pytest.raises(NotFoundError):
        act(filled)  # type: ignore[operator]
    assert len(filled.history("penguin")) == 4


POLICY = AccessPolicy(
    admins=("root",),
    grants=(
        Grant(("ada", "ci-*"), (Action.REGISTER, Action.DECIDE, Action.LABEL), "penguin*"),
        Grant(("bob", "cleo"), (Action.APPROVE, Action.ARCHIVE, Action.OVERRIDE)),
        Grant(("ops",), (Action.PROMOTE, Action.ALIAS)),
    ),
    rules=(
        ModelRule("penguin*", required_approvals=1),
        ModelRule("*-eu", required_approvals=2, semantic_versions_ascend=True),
    ),
)


def test_the_policy_decides_who_may_do_what(registry: ModelRegistry, plain_model: Path) -> None:
    registry.set_access_policy(POLICY, actor="root", reason="first")
    assert registry.access_policy() == POLICY
    with pytest.raises(AccessDeniedError, match="'eve' may not register versions of 'penguin'"):
        registry.register("penguin", plain_model, actor="eve")
    with pytest.raises(AccessDeniedError, match="ask one of its admins: root"):
        registry.register("auk", plain_model, actor="ada")
    assert registry.list_models() == []
    digest = registry.register("Penguin", plain_model, actor="ada").digest
    registry.record_decision(
        "penguin", Decided(1, Verdict.PASSED, digest, "production"), actor="ci-7"
    )
    with pytest.raises(RefusedError, match="asks for four eyes"):
        registry.approve("penguin", 1, actor="ada")
    with pytest.raises(AccessDeniedError, match="may not approve"):
        registry.approve("penguin", 1, actor="ops")
    with pytest.raises(ApprovalsMissingError):
        registry.record_promotion("penguin", 1, "/s", "production", actor="ops")
    registry.approve("penguin", 1, actor="bob")
    with pytest.raises(AccessDeniedError, match="may not promote"):
        registry.record_promotion("penguin", 1, "/s", "production", actor="bob")
    registry.record_promotion("penguin", 1, "/s", "production", actor="ops")
    with pytest.raises(AccessDeniedError, match="may not label"):
        registry.set_label("penguin", 1, "a", "b", actor="ops")
    with pytest.raises(AccessDeniedError, match="may not alias"):
        registry.set_alias("penguin", "x", 1, actor="ada")
    registry.set_label("penguin", 1, "a", "b", actor="root")
    assert fold.replay(registry.history("penguin")).head == registry.head("penguin")


def test_only_admins_change_the_policy(registry: ModelRegistry) -> None:
    with pytest.raises(RefusedError, match="not among its admins"):
        registry.set_access_policy(POLICY, actor="eve")
    assert registry.access_policy() is None
    registry.set_access_policy(POLICY, actor="root")
    takeover = AccessPolicy(admins=("eve",))
    for actor in ("eve", "ada", "ops"):
        with pytest.raises(AccessDeniedError, match="may not change the access policy"):
            registry.set_access_policy(takeover, actor=actor)
    registry.set_access_policy(takeover, actor="root", reason="handing over")
    with pytest.raises(AccessDeniedError):
        registry.set_access_policy(POLICY, actor="root")
    history = registry.access_policy_history()
    assert [(e.seq, e.actor, e.reason) for e in history] == [
        (1, "root", ""),
        (2, "root", "handing over"),
    ]
    assert registry.list_models() == []


def test_no_grant_makes_an_admin(registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    grant = Grant(("bob",), (Action.ALIAS, Action.ADMINISTER))
    policy = AccessPolicy(admins=("root",), grants=(grant,))
    with pytest.raises(InvalidPolicyError, match=r"grants\[0\].*'administer' to bob"):
        registry.set_access_policy(policy, actor="root")
    assert registry.access_policy() is None
    with monkeypatch.context() as before:  # an older release let it pass
        before.setattr(AccessPolicy, "check_grants", lambda _: None)
        registry.set_access_policy(policy, actor="root")
    with pytest.raises(AccessDeniedError, match="'bob' may not change the access policy"):
        registry.set_access_policy(AccessPolicy(admins=("bob",)), actor="bob")
    with pytest.raises(AccessDeniedError):
        registry.import_history(io.BytesIO(), actor="bob")
    registry.set_access_policy(AccessPolicy(admins=("root", "bob")), actor="root")


def test_without_four_eyes_the_own_approval_counts(
    registry: ModelRegistry, plain_model: Path
) -> None:
    policy = AccessPolicy(("ada",), rules=(ModelRule(required_approvals=1, four_eyes=False),))
    registry.set_access_policy(policy, actor="ada")
    registry.register("penguin", plain_model, actor="ada")
    registry.override("penguin", 1, reason="x", expires=HOUR, actor="ada")
    registry.approve("penguin", 1, actor="ada")
    registry.record_promotion("penguin", 1, "/s", "production", actor="ada")


def test_the_strictest_rule_counts() -> None:
    rule = POLICY.rule_for("Penguin-EU")
    assert (rule.required_approvals, rule.four_eyes, rule.semantic_versions_ascend) == (
        2,
        True,
        True,
    )
    assert POLICY.rule_for("auk").required_approvals == 0
    assert not POLICY.rule_for("auk").four_eyes


def test_semantic_versions(registry: ModelRegistry, plain_model: Path) -> None:
    with pytest.raises(InvalidNameError, match="invalid semantic version"):
        registry.register("auk-eu", plain_model, semantic_version="1.0")
    registry.register("auk-eu", plain_model, semantic_version="1.2.0")
    registry.register("auk-eu", plain_model, semantic_version="1.0.0")
    registry.set_access_policy(POLICY, actor="root")
    for bad, message in (("1.2.0", "1.2.0 exists"), ("1.1.9", "1.2.0 exists"), ("", "asks for a")):
        with pytest.raises(RefusedError, match=message):
            registry.register("auk-eu", plain_model, semantic_version=bad, actor="root")
    for good in ("1.2.1-rc.1", "1.2.1", "2.0.0", "0.9.0", "1.10.0"):
        version = registry.register("auk-eu", plain_model, semantic_version=good, actor="root")
        assert version.semantic_version == good


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "admins must be given"),
        ('{"admins":[]}', "has no admin"),
        ('{"admins":[""]}', "has no admin"),
        ('{"admins":["a"],"grants":[{"actors":["b"],"actions":["fly"]}]}',
         r"grants\[0\].actions\[0\] must be one of"),
        ('{"admins":["a"],"rules":[{"required_approvals":-1}]}', "required_approvals is -1"),
        ('{"admins":["a"],"granst":[]}', "unknown field 'granst'"),
        ("no json", "invalid access policy"),
        ("[" * 100_000, "invalid access policy"),
    ],
)  # fmt: skip
def test_a_bad_policy_is_named(text: str, message: str) -> None:
    with pytest.raises(InvalidPolicyError, match=message):
        AccessPolicy.from_json(text)


def test_a_policy_comes_back_from_its_json() -> None:
    assert AccessPolicy.from_json(POLICY.to_json()) == POLICY


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"TFX_REGISTRY_ACTOR": "ada", "GITHUB_ACTOR": "bob"}, "ada"),
        ({"GITHUB_ACTOR": "bob"}, "bob"),
        ({"GITLAB_USER_LOGIN": "cleo"}, "cleo"),
    ],
)
def test_where_the_actor_comes_from(
    registry: ModelRegistry,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    expected: str,
) -> None:
    for name in ("TFX_REGISTRY_ACTOR", "GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILD_USER_ID"):
        monkeypatch.delenv(name, raising=False)
    assert registry.actor()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert registry.actor() == expected
    assert registry.actor("given") == "given"
