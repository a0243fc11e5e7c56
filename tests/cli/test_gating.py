"""The commands explain and gate."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.gate import (
    ChangeThreshold,
    DataIdentity,
    EvaluatedModel,
    Evaluation,
    GatePolicy,
    GateReport,
    Interval,
    MetricId,
    SliceSpec,
    ValueThreshold,
    decide,
)
from tfx_registry.gating import Standing, decision_of, situation_of
from tfx_registry.records import Version

AUC, COUNT = MetricId("auc"), MetricId("example_count")
MALE = (("sex", "male"),)
POLICY = GatePolicy(
    value_thresholds=(ValueThreshold("auc", 0.8, slices=(SliceSpec(), SliceSpec(("sex",)))),),
    change_thresholds=(ChangeThreshold("auc", absolute=-0.01),),
)


def evaluate(candidate: Version, baseline: Version | None, male: float) -> Evaluation:
    """What TFMA would say: 0.91 on everything, `male` on one slice, against 0.9 on both."""

    def model(version: Version, overall: float, part: float) -> EvaluatedModel:
        return EvaluatedModel(
            version.uri,
            version.facts.manifest,
            {(): {AUC: overall, COUNT: 100.0}, MALE: {AUC: part, COUNT: 40.0}},
            {MALE: {AUC: Interval(part - 0.1, part + 0.1)}},
        )

    return Evaluation(
        "/results/7",
        model(candidate, 0.91, male),
        model(baseline, 0.9, 0.9) if baseline else None,
        digest="e" * 64,
        difference_intervals={(): {AUC: Interval(-0.005, 0.025)}} if baseline else {},
        made_at=1.7e9,
        versions={"tensorflow": "2.16"},
        data=DataIdentity("/data/examples", ("eval",), {"span": "7"}, "f" * 64),
    )


def record(registry: ModelRegistry, number: int, male: float, reason: str = "") -> GateReport:
    """Decides on a version against what serves, and records it."""
    version = registry.get("penguin", number)
    standing = Standing.now(registry, "penguin", "production")
    report = decide(
        POLICY,
        evaluate(version, standing.version, male),
        situation_of(registry, version, standing),
    )
    registry.record_decision("penguin", decision_of(report), reason=reason)
    return report


@pytest.fixture
def gated(uri: str, saved_model: Path, tmp_path: Path, monkeypatch) -> str:
    """Version 1 serves; version 2 was blocked against it, once."""
    monkeypatch.setenv("TFX_REGISTRY_ACTOR", "ada")
    with ModelRegistry.open(uri) as registry:
        for _ in range(3):
            registry.register("penguin", saved_model)
        record(registry, 1, 0.9)
        registry.record_promotion("penguin", 1, str(tmp_path / "serving"), "production")
        record(registry, 2, 0.4, "nightly run")
    return uri


def words(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_explain_says_everything(run, gated: str) -> None:
    shown = run("explain", "penguin:2")
    assert (shown.code, shown.err) == (0, "")
    said = words(shown.out)
    with ModelRegistry.open(gated) as registry:
        version, before = registry.get("penguin", 2), registry.get("penguin", 1)
        event = registry.last_decision("penguin", 2)
    assert event is not None
    for text in (
        "penguin:2 was blocked against version 1, which served under 'production': "
        "1 of 3 checks failed",
        f"candidate version 2, digest {version.digest}, evaluated at {version.uri}",
        f"baseline version 1, digest {before.digest}",
        f"data /data/examples, splits eval, span 7, digest {'f' * 64}",
        "evaluation /results/7, made 2023-11-14 22:13:20 UTC, tensorflow 2.16",
        f"evaluation digest {'e' * 64}",
        f"policy digest {POLICY.digest}",
        f"UTC by ada: event {event.seq}, decision 1 of 1",
        "why nightly run",
        "✗ fail sex=male auc value >= 0.8 0.4 0.9",
        "✓ pass overall auc absolute change at least -0.01 0.91 0.9 0.01",
    ):
        assert text in said, text
    assert shown.out.index("✗ fail") < shown.out.index("✓ pass")
    assert "✓ pass" not in run("explain", "penguin:2", "--failed").out
    passed = words(run("explain", "penguin@production").out)
    assert "penguin:1 was passed without a baseline, for 'production': all 3 checks held" in passed
    assert "note first version" in passed


def test_explain_gives_the_stored_record(run, gated: str) -> None:
    found = run("--json", "explain", "penguin:2").json
    assert found["event"] == run("--json", "history", "penguin").json[-1]
    assert found["event"]["payload"]["report"]["verdict"] == "blocked"
    assert (found["ref"], found["decision"], found["decisions"]) == ("penguin:2", 1, 1)
    assert found["override"] is None


def test_explain_shows_any_of_several_decisions(run, gated: str) -> None:
    with ModelRegistry.open(gated) as registry:
        record(registry, 2, 0.95)
    assert "penguin:2 was passed" in run("explain", "penguin:2").out
    assert "penguin:2 was passed" in run("explain", "penguin:2", "--decision", 2).out
    first = run("explain", "penguin:2", "--decision", 1)
    assert "penguin:2 was blocked" in first.out
    assert "decision 1 of 2" in first.out
    assert run("--json", "explain", "penguin:2", "--decision", 1).json["decision"] == 1
    missing = run("explain", "penguin:2", "--decision", 3)
    assert (missing.code, missing.out) == (3, "")
    assert "there are 2" in missing.err
    assert run("explain", "penguin:3").code == 3
    assert run("explain", "penguin:4").code == 3


def test_explain_knows_decisions_without_a_report(run, filled: str, tmp_path: Path) -> None:
    shown = run("explain", "penguin:2")
    assert "penguin:2 was blocked without a baseline, for 'production'" in shown.out
    assert "✗ fail  slice sex=[male]: auc 0.4 is below the lower bound 0.9" in shown.out
    assert "the rules were not kept" in run("explain", "penguin:1").out
    refused = run("explain", "penguin:1", "--html", tmp_path / "page.html")
    assert (refused.code, refused.out) == (2, "")
    assert not (tmp_path / "page.html").exists()


def test_an_override_shows_in_every_view(run, gated: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TFX_REGISTRY_ACTOR", "bob")
    page = tmp_path / "page.html"
    assert "verridden" not in run("explain", "penguin:2", "--html", page).out
    assert "verridden" not in page.read_text(encoding="utf-8")
    given = run("override", "penguin:2", "--reason", "outage, ticket 4711", "--expires", "6h")
    assert given.code == 0
    assert "blocked, overridden" in run("versions", "penguin").out
    assert re.search(r"overridden +\S+ \S+ to .* by bob: outage", run("show", "penguin:2").out)
    history = words(run("history", "penguin").out)
    assert "bob overridden version 2 may be promoted until" in history
    assert "outage, ticket 4711" in history
    explained = run("explain", "penguin:2", "--html", page)
    assert re.search(r"overridden +may be promoted from .* by bob: outage, ticket", explained.out)
    assert "outage, ticket 4711" in page.read_text(encoding="utf-8")
    for command in (("show", "penguin:2"), ("explain", "penguin:2")):
        override = run("--json", *command).json["override"]
        assert (override["actor"], override["reason"]) == ("bob", "outage, ticket 4711")
    assert [v["override"] is not None for v in run("--json", "versions", "penguin").json] == [
        False, True, False,
    ]  # fmt: skip


def test_hostile_names_do_not_steer_the_terminal(run, uri: str, saved_model: Path) -> None:
    hostile = "\x1b[31m[bold]\u202e"
    with ModelRegistry.open(uri) as registry:
        version = registry.register("penguin", saved_model)
        found = evaluate(version, None, 0.4)
        assert found.candidate is not None
        rows = {((hostile, hostile),): found.candidate.metrics[MALE], (): {AUC: 0.9, COUNT: 9.0}}
        candidate = EvaluatedModel(hostile, version.facts.manifest, rows)
        rule = ValueThreshold("auc", 0.8, slices=(SliceSpec((hostile,)),))
        report = decide(
            GatePolicy(value_thresholds=(rule,)),
            Evaluation(hostile, candidate),
            situation_of(registry, version, Standing("production")),
        )
        registry.record_decision("penguin", decision_of(report), reason=hostile)
    shown = run("explain", "penguin:1").out
    assert not {"\x1b", "\u202e"} & set(shown)
    assert "\\x1b[31m[bold]\\u202e=\\x1b[31m[bold]\\u202e" in shown
