"""The commands explain and gate."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry, codec
from tfx_registry.cli import what_if
from tfx_registry.gate import (
    ChangeThreshold,
    DataIdentity,
    DataSource,
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
from tfx_registry.records import PipelineRun, Version

AUC, COUNT = MetricId("auc"), MetricId("example_count")
MALE = (("sex", "male"),)
RUN = PipelineRun("penguin", "run-7", "VersionGate")
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
        data=DataIdentity("/data/examples", ("eval",), {"span": "7"}, "f" * 64, DataSource.LINEAGE),
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
    registry.record_decision("penguin", decision_of(report, RUN), reason=reason)
    return report


@pytest.fixture
def gated(uri: str, saved_model: Path, plain_model: Path, tmp_path: Path, monkeypatch) -> str:
    """Version 1 serves; version 2, of the same bytes, was blocked against it; 3 is another."""
    monkeypatch.setenv("TFX_REGISTRY_ACTOR", "ada")
    with ModelRegistry.open(uri) as registry:
        for path in (saved_model, saved_model, plain_model):
            registry.register("penguin", path)
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
        f"data /data/examples, splits eval, span 7, digest {'f' * 64}, "
        "source: lineage of the evaluation",
        "in pipeline run penguin run-7 (VersionGate)",
        "evaluation /results/7, made 2023-11-14 22:13:20 UTC, tensorflow 2.16",
        f"evaluation digest {'e' * 64}",
        f"policy digest {POLICY.digest}",
        f"UTC by ada: event {event.seq}, decision 1 of 1",
        "why nightly run",
        "✗ fail sex=male auc value >= 0.8 0.4 0.9 0.3 to 0.5 40",
        "✓ pass overall auc absolute change at least -0.01 0.91 0.9 0.01 -0.005 to 0.025 100",
    ):
        assert text in said, text
    assert shown.out.index("✗ fail") < shown.out.index("✓ pass")
    assert "✓ pass" not in run("explain", "penguin:2", "--failed").out
    passed = words(run("explain", "penguin@production").out)
    assert "penguin:1 passed without a baseline, for 'production': all 3 checks held" in passed
    assert "note first version" in passed


def test_the_pipeline_run_shows_in_every_view(run, gated: str, tmp_path: Path) -> None:
    history = words(run("history", "penguin").out)
    assert "version 2 blocked against version 1" in history
    assert "in the pipeline run penguin run-7 (VersionGate)" in history
    page = tmp_path / "page.html"
    run("explain", "penguin:2", "--html", page)
    text = page.read_text(encoding="utf-8")
    assert "<dt>Pipeline run</dt><dd><bdi>penguin run-7 (VersionGate)</bdi></dd>" in text
    assert "source: lineage of the evaluation" in text
    event = run("--json", "explain", "penguin:2").json["event"]
    assert event["payload"]["run"] == {
        "pipeline_name": "penguin", "run_id": "run-7", "node_id": "VersionGate",
    }  # fmt: skip


def test_a_decision_by_hand_names_no_pipeline_run(run, gated: str) -> None:
    with ModelRegistry.open(gated) as registry:
        version = registry.get("penguin", 2)
        standing = Standing.now(registry, "penguin", "production")
        found = dataclasses.replace(evaluate(version, standing.version, 0.95), data=DataIdentity())
        report = decide(POLICY, found, situation_of(registry, version, standing))
        registry.record_decision("penguin", decision_of(report))
        event = registry.last_decision("penguin", 2)
        assert registry.fsck("penguin").findings == ()
    # As release 0.1 wrote it, so its digest, and the chain, are what they were.
    assert "run" not in event.to_json()["payload"]
    assert "source" not in event.to_json()["payload"]["report"].get("data", {})
    said = words(run("explain", "penguin:2").out)
    assert "pipeline run" not in said
    assert "data not known: neither the evaluation nor its lineage names the examples" in said
    last = words(run("history", "penguin").out).split("version 2 passed")[1]
    assert "pipeline run" not in last


def test_explain_gives_the_stored_record(run, gated: str) -> None:
    found = run("--json", "explain", "penguin:2").json
    assert found["event"] == run("--json", "history", "penguin").json[-1]
    assert found["event"]["payload"]["report"]["verdict"] == "blocked"
    assert (found["ref"], found["decision"], found["decisions"]) == ("penguin:2", 1, 1)
    assert found["override"] is None


def test_explain_shows_any_of_several_decisions(run, gated: str) -> None:
    with ModelRegistry.open(gated) as registry:
        record(registry, 2, 0.95)
    assert "penguin:2 passed" in run("explain", "penguin:2").out
    assert "penguin:2 passed" in run("explain", "penguin:2", "--decision", 2).out
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
    assert "bob overridden version 2 may be promoted under production until" in history
    assert "outage, ticket 4711" in history
    explained = run("explain", "penguin:2", "--html", page)
    assert re.search(
        r"overridden +may be promoted under 'production' from .* by bob: outage, ticket",
        explained.out,
    )
    shown = page.read_text(encoding="utf-8")
    assert "outage, ticket 4711" in shown
    assert "may be promoted under &#39;production&#39; from" in shown
    for command in (("show", "penguin:2"), ("explain", "penguin:2")):
        override = run("--json", *command).json["override"]
        assert (override["actor"], override["reason"]) == ("bob", "outage, ticket 4711")
    assert [v["override"] is not None for v in run("--json", "versions", "penguin").json] == [
        False, True, False,
    ]  # fmt: skip


def test_an_override_without_a_decision_is_not_kept_quiet(run, gated: str) -> None:
    run("override", "penguin:3", "--reason", "outage, ticket 4711")
    missing = run("explain", "penguin:3")
    assert (missing.code, missing.out) == (3, "")
    assert "none is recorded; ada overrode the gate: outage, ticket 4711" in missing.err


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


STRICTER = """
value_thresholds:
  - metric: auc
    lower_bound: 0.95
    slices:
      - {}
      - feature_keys: [sex]
"""


@pytest.fixture
def stricter(tmp_path: Path) -> Path:
    path = tmp_path / "stricter.yaml"
    path.write_text(STRICTER, encoding="utf-8")
    return path


@pytest.fixture
def tfma(monkeypatch) -> dict[str, Evaluation]:
    """Stands for TFMA: the evaluation that each folder holds."""
    held: dict[str, Evaluation] = {}
    monkeypatch.setattr(
        what_if, "_read_tfma", lambda location: what_if.Numbers(held[Path(location).name])
    )
    return held


def events(run) -> int:
    return len(run("--json", "history", "penguin").json)


def test_what_if_answers_and_writes_nothing(run, gated: str, stricter: Path) -> None:
    before = events(run)
    answered = run("gate", "penguin@production", "--policy", stricter, "--from-decision")
    assert answered.code == 4
    assert answered.err.startswith("error: penguin:1 would be blocked: 2 of 2 checks failed; ")
    assert answered.err.count("\n") == 1
    said = words(answered.out)
    assert "penguin:1 would be blocked: 2 of 2 checks failed" in said
    assert "recorded no, this only answers what if" in said
    assert "decided as at event 4, when nothing served under 'production'" in said
    assert "against the decision of event 4, which passed it, 3 checks are different" in said
    assert "✓ pass value >= 0.8: 0.91 ✗ fail value >= 0.95: 0.91" in said
    assert "present: 0.91 not asked" in said
    assert events(run) == before


def test_the_recorded_policy_and_numbers_give_the_recorded_decision(run, gated: str) -> None:
    answered = run("gate", "penguin:2", "--from-decision")
    assert answered.code == 4
    assert "every check came out as in the decision of event" in answered.out
    found = run("--json", "gate", "penguin:2", "--from-decision").json
    stored = run("--json", "explain", "penguin:2").json["event"]
    assert found["report"] == stored["payload"]["report"]
    assert (found["differences"], found["compared_with"]) == ([], stored["seq"])
    assert (found["as_of"], found["serving"], found["recorded"]) == (stored["seq"], 1, None)
    assert run("gate", "penguin:1", "--from-decision").code == 0


def test_the_same_inputs_give_the_same_record(run, gated: str, stricter: Path, tfma, tmp_path):
    with ModelRegistry.open(gated) as registry:
        versions = [registry.get("penguin", n) for n in (2, 1)]
    tfma["results"] = evaluate(versions[0], versions[1], 0.97)
    (tmp_path / "results").mkdir()
    command = ("--json", "gate", "penguin:2", "--policy", stricter)
    first = run(*command, "--evaluation", tmp_path / "results")
    again = run(*command, "--evaluation", tmp_path / "results")
    assert (first.code, first.out) == (again.code, again.out)
    assert first.code == 4
    recorded = run(*command, "--evaluation", tmp_path / "results", "--record")
    assert recorded.json["report"] == first.json["report"]
    stored = run("--json", "explain", "penguin:2").json["event"]["payload"]["report"]
    assert stored == first.json["report"]


def test_a_report_of_version_gate_is_an_evaluation_too(
    run, gated: str, stricter: Path, tmp_path: Path
) -> None:
    with ModelRegistry.open(gated) as registry:
        decided = registry.decision("penguin", 2)
    assert decided is not None
    report = codec.decode(GateReport, decided.report)
    path = tmp_path / "report.json"
    path.write_text(report.to_json(), encoding="utf-8")
    answered = run("--json", "gate", "penguin:2", "--policy", stricter, "--evaluation", path)
    kept = run("--json", "gate", "penguin:2", "--policy", stricter, "--from-decision")
    assert (answered.code, answered.out) == (4, kept.out)
    other = report.to_json().replace(report.candidate.digest, "0" * 64)
    path.write_text(other, encoding="utf-8")
    wrong = run("gate", "penguin:2", "--policy", stricter, "--evaluation", path)
    assert (wrong.code, wrong.out) == (2, "")
    assert "the report is about penguin:2 with the digest 0000" in wrong.err
    for text in ("{}", "[", "\udc80"):
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        bad = run("gate", "penguin:2", "--policy", stricter, "--evaluation", path)
        assert (bad.code, bad.err.count("\n")) == (2, 1), bad.err


def test_numbers_that_do_not_suffice_are_named(run, gated: str, tmp_path: Path) -> None:
    path = tmp_path / "other.yaml"
    path.write_text("value_thresholds: [{metric: loss, upper_bound: 1}]", encoding="utf-8")
    refused = run("gate", "penguin:2", "--policy", path, "--from-decision")
    assert (refused.code, refused.out) == (2, "")
    assert "the report does not keep: " in refused.err
    assert "overall: loss is missing" in refused.err
    assert run("gate", "penguin:3", "--policy", path, "--from-decision").code == 2


def test_what_served_at_the_decision_or_what_serves_now(run, gated: str, tmp_path: Path) -> None:
    with ModelRegistry.open(gated) as registry:
        record(registry, 3, 0.95)
        registry.record_promotion("penguin", 3, str(tmp_path / "serving"), "production")
    then = run("--json", "gate", "penguin:3", "--from-decision")
    assert (then.code, then.json["serving"]) == (0, 1)
    now = run("--json", "gate", "penguin:3", "--from-decision", "--as-of", "now")
    assert (now.code, now.json["serving"], now.json["as_of"]) == (4, 3, None)
    reasons = {c.get("reason") for c in now.json["report"]["checks"]}
    assert "baseline_is_not_serving" in reasons
    with ModelRegistry.open(gated) as registry:
        record(registry, 2, 0.95)
    assert run("--json", "gate", "penguin:2", "--from-decision").json["serving"] == 3
    assert (
        run("--json", "gate", "penguin:2", "--from-decision", "--decision", 1).json["serving"] == 1
    )


def test_an_earlier_decision_may_be_meant(run, gated: str) -> None:
    with ModelRegistry.open(gated) as registry:
        record(registry, 2, 0.95)
    assert run("gate", "penguin:2", "--from-decision").code == 0
    assert run("gate", "penguin:2", "--from-decision", "--decision", 1).code == 4
    assert run("gate", "penguin:2", "--from-decision", "--decision", 3).code == 3


def test_recording_is_a_decision_like_any_other(
    run, gated: str, tfma, tmp_path: Path, monkeypatch
) -> None:
    with ModelRegistry.open(gated) as registry:
        two, one = registry.get("penguin", 2), registry.get("penguin", 1)
    for name, male in (("good", 0.95), ("bad", 0.3)):
        (tmp_path / name).mkdir()
        tfma[name] = evaluate(two, one, male)
    record_good = ("gate", "penguin:2", "--evaluation", tmp_path / "good", "--record")
    access = tmp_path / "access.json"
    access.write_text(
        '{"admins": ["ada"], "grants": [{"actors": ["bob"], "actions": ["decide"]}]}',
        encoding="utf-8",
    )
    assert run("policy", "set", access).code == 0
    before = events(run)
    monkeypatch.setenv("TFX_REGISTRY_ACTOR", "eve")
    refused = run(*record_good)
    assert (refused.code, refused.out) == (4, "")
    assert "'eve' may not decide" in refused.err
    assert events(run) == before
    monkeypatch.setenv("TFX_REGISTRY_ACTOR", "bob")
    done = run(*record_good, "--reason", "ticket 12")
    assert (done.code, done.err) == (0, "")
    assert f"recorded event {before + 1}" in words(done.out)
    shown = words(run("explain", "penguin:2").out)
    assert "penguin:2 passed against version 1" in shown
    assert "UTC by bob: event" in shown
    assert "why ticket 12" in shown
    blocked = run("gate", "penguin:2", "--evaluation", tmp_path / "bad", "--record")
    assert blocked.code == 4
    assert blocked.err.startswith("error: penguin:2 is blocked: 1 of 3 checks failed")
    assert "penguin:2 was blocked" in run("explain", "penguin:2").out


def test_only_an_evaluation_against_what_serves_is_recorded(
    run, gated: str, stricter: Path, tmp_path: Path, tfma
) -> None:
    report = tmp_path / "report.json"
    with ModelRegistry.open(gated) as registry:
        decided = registry.decision("penguin", 2)
    assert decided is not None
    report.write_text(codec.dumps(decided.report), encoding="utf-8")
    (tmp_path / "results").mkdir()
    tfma["results"] = Evaluation("nowhere")
    before = events(run)
    for source in (
        ("--from-decision",),
        ("--evaluation", report),
        ("--evaluation", tmp_path / "results", "--as-of", "decision"),
    ):
        refused = run("gate", "penguin:2", "--policy", stricter, *source, "--record")
        assert (refused.code, refused.out) == (2, ""), source
        assert "cannot record this decision" in refused.err
    assert events(run) == before


def test_the_command_needs_numbers_and_a_policy(
    run, gated: str, stricter: Path, tmp_path: Path
) -> None:
    for arguments in (
        ("penguin:2", "--policy", stricter),
        ("penguin:2", "--policy", stricter, "--from-decision", "--evaluation", tmp_path),
        ("penguin:2", "--policy", stricter, "--evaluation", tmp_path / "nowhere"),
        ("penguin:2", "--policy", tmp_path / "nowhere", "--from-decision"),
        ("penguin:3", "--from-decision"),
    ):
        refused = run("gate", *arguments)
        assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1), arguments
    tfma = tmp_path / "results"
    tfma.mkdir()
    nothing = run("gate", "penguin:3", "--policy", stricter, "--from-decision", "--as-of", "now")
    assert nothing.code == 2


def test_without_tfma_the_way_out_is_named(
    run, gated: str, stricter: Path, tmp_path: Path, monkeypatch
) -> None:
    module = "tfx_registry.components.version_gate.tfma_results"
    monkeypatch.delitem(sys.modules, module, raising=False)
    # A submodule that is loaded would be found without its package.
    loaded = [name for name in sys.modules if name.startswith("tensorflow_model_analysis.")]
    for name in ["tensorflow_model_analysis", *loaded]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delattr("tfx_registry.components.version_gate.tfma_results", raising=False)
    refused = run("gate", "penguin:2", "--policy", stricter, "--evaluation", tmp_path)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "install tfx-registry[tfx], or use --from-decision" in refused.err
