"""What every store must make of the registry."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.errors import (
    AliasConflictError,
    ConflictError,
    IntegrityError,
    InvalidInputError,
    InvalidModelError,
    InvalidNameError,
    NotFoundError,
    RefusedError,
)
from tfx_registry.records import LineageSource, Metric, Origin, Verdict, VersionState
from tfx_registry.registry import fold
from tfx_registry.registry.events import Decided, Promoted
from tfx_registry.registry.store import AppendConflict, Store

HOSTILE = "\\ ~ ~1 ' \" % ; -- \u00e9 \U0001f427 \t {} 日本"


def decided(registry: ModelRegistry, number: int, verdict: Verdict, **fields: object) -> Decided:
    version = registry.get("penguin", number)
    serving = registry.serving("penguin")
    reasons = () if verdict is Verdict.PASSED else ("overall: auc 0.4 is below 0.9",)
    values = {
        "number": number,
        "verdict": verdict,
        "digest": version.digest,
        "alias": "production",
        "serving_seq": serving.seq if serving else 0,
        "reasons": reasons,
        **fields,
    }
    return Decided(**values)  # type: ignore[arg-type]


def passed(registry: ModelRegistry, number: int) -> None:
    registry.record_decision("penguin", decided(registry, number, Verdict.PASSED))


def test_versions_count_from_one(registry: ModelRegistry, plain_model: Path) -> None:
    numbers = [registry.register("penguin", plain_model).number for _ in range(3)]
    assert numbers == [1, 2, 3]
    assert registry.register("auk", plain_model).number == 1
    assert [head.model for head in registry.list_models()] == ["auk", "penguin"]
    assert [head.latest for head in registry.list_models()] == [1, 3]


def test_everything_given_comes_back(registry: ModelRegistry, plain_model: Path) -> None:
    made = registry.register(
        "penguin",
        plain_model,
        description=HOSTILE * 500,
        labels={"team": HOSTILE.replace("\t", ""), "a/b.c": ""},
        metrics=[
            Metric("auc", 0.1 + 0.2),
            Metric("auc", math.inf, (("sex", "female"),)),
            Metric("loss", math.nan),
            Metric("tiny", 5e-324),
        ],
        hyperparameters={"learning_rate": "0.001", HOSTILE: HOSTILE},
        semantic_version="1.2.3",
        origin=Origin("pipeline", "run", "node", HOSTILE, "abc123", {"tfx": "1.16.0"}),
        sources=[LineageSource("examples", "Examples", "/data/1", {"span": "7"})],
        actor="ada",
        reason=HOSTILE,
    )
    read = registry.get("penguin", 1)
    assert read == made or math.isnan(read.metrics[2].value)
    assert read.description == HOSTILE * 500
    assert read.labels == {"team": HOSTILE.replace("\t", ""), "a/b.c": ""}
    assert read.metric("auc") == 0.1 + 0.2
    assert read.metric("auc", (("sex", "female"),)) == math.inf
    assert math.isnan(read.metrics[2].value)
    assert read.metric("tiny") == 5e-324
    assert read.hyperparameters == {"learning_rate": "0.001", HOSTILE: HOSTILE}
    assert read.origin.artifact_uri == HOSTILE
    assert read.sources[0].properties == {"span": "7"}
    assert read.actor == "ada"
    assert registry.history("penguin")[0].reason == HOSTILE


def test_signatures_are_recorded(registry: ModelRegistry, saved_model: Path) -> None:
    version = registry.register("triple", saved_model)
    signature = registry.get("triple", 1).facts.signatures["serving_default"]
    assert str(signature.inputs["x"]) == "float32[?, 2]"
    assert version.facts.fingerprint["saved_model_checksum"]


def test_a_retry_of_the_same_operation_makes_no_second_version(
    registry: ModelRegistry, plain_model: Path
) -> None:
    first = registry.register("penguin", plain_model, idempotency_key="run-1")
    registry.register("penguin", plain_model)
    again = registry.register("penguin", plain_model, idempotency_key="run-1")
    assert again.number == first.number == 1
    assert registry.head("penguin").latest == 2


def test_the_same_operation_with_other_bytes_is_refused(
    registry: ModelRegistry, plain_model: Path
) -> None:
    registry.register("penguin", plain_model, idempotency_key="run-1")
    (plain_model / "model.txt").write_text("changed", encoding="utf-8")
    with pytest.raises(IntegrityError, match="registered other bytes before"):
        registry.register("penguin", plain_model, idempotency_key="run-1")
    assert registry.head("penguin").latest == 1


def test_the_same_bytes_again_point_at_the_earlier_version(
    registry: ModelRegistry, plain_model: Path
) -> None:
    assert registry.register("penguin", plain_model).same_bytes_as is None
    assert registry.register("penguin", plain_model).same_bytes_as == 1
    (plain_model / "model.txt").write_text("changed", encoding="utf-8")
    assert registry.register("penguin", plain_model).same_bytes_as is None
    assert registry.register("penguin", plain_model).same_bytes_as == 3
    assert registry.register("auk", plain_model).same_bytes_as is None


def test_names_that_differ_in_case_are_one_model(
    registry: ModelRegistry, plain_model: Path
) -> None:
    registry.register("Penguin", plain_model)
    second = registry.register("pENGUIN", plain_model)
    assert (second.model, second.number) == ("Penguin", 2)
    assert registry.get("PENGUIN", 2) == second
    assert len(registry.list_models()) == 1


def test_resolve(registry: ModelRegistry, plain_model: Path) -> None:
    for _ in range(3):
        registry.register("penguin", plain_model)
    registry.set_alias("penguin", "champion", 2)
    assert registry.resolve("penguin:1").number == 1
    assert registry.resolve("penguin@champion").number == 2
    assert registry.resolve("penguin").number == 3
    assert registry.latest("penguin").number == 3
    assert registry.resolve("penguin@champion").aliases == ("champion",)


def test_listing(registry: ModelRegistry, plain_model: Path) -> None:
    for _ in range(5):
        registry.register("penguin", plain_model)
    assert [v.number for v in registry.list_versions("penguin")] == [5, 4, 3, 2, 1]
    assert [v.number for v in registry.list_versions("penguin", limit=2)] == [5, 4]
    oldest = registry.list_versions("penguin", limit=2, newest_first=False)
    assert [v.number for v in oldest] == [1, 2]
    assert registry.list_versions("penguin", limit=0) == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda r: r.get("auk", 1),
        lambda r: r.get("penguin", 9),
        lambda r: r.latest("auk"),
        lambda r: r.resolve("penguin@nowhere"),
        lambda r: r.resolve("auk@production"),
        lambda r: r.list_versions("auk"),
        lambda r: r.history("auk"),
        lambda r: r.set_alias("penguin", "champion", 9),
        lambda r: r.set_alias("auk", "champion", 1),
        lambda r: r.remove_alias("penguin", "champion"),
        lambda r: r.remove_alias("auk", "champion"),
        lambda r: r.decision("penguin", 9),
        lambda r: r.record_promotion("penguin", 9, "/serving", "production"),
    ],
)
def test_what_does_not_exist_is_not_found(
    registry: ModelRegistry, plain_model: Path, ask: object
) -> None:
    registry.register("penguin", plain_model)
    with pytest.raises(NotFoundError):
        ask(registry)  # type: ignore[operator]
    assert len(registry.history("penguin")) == 1
    assert len(registry.list_models()) == 1


def test_nothing_serves_in_a_model_that_does_not_exist(registry: ModelRegistry) -> None:
    assert registry.serving("penguin") is None


def test_an_alias_moves_only_from_where_it_is_expected(
    registry: ModelRegistry, plain_model: Path
) -> None:
    for _ in range(3):
        registry.register("penguin", plain_model)
    registry.set_alias("penguin", "champion", 1, expect=None)
    with pytest.raises(AliasConflictError) as caught:
        registry.set_alias("penguin", "champion", 3, expect=2)
    assert (caught.value.expected, caught.value.actual) == (2, 1)
    with pytest.raises(AliasConflictError):
        registry.set_alias("penguin", "champion", 3, expect=None)
    registry.set_alias("penguin", "champion", 3, expect=1)
    assert registry.get("penguin", 1).aliases == ()
    assert registry.get("penguin", 3).aliases == ("champion",)
    assert registry.remove_alias("penguin", "champion", expect=3) == 3
    assert registry.head("penguin").aliases == {}


def test_setting_an_alias_where_it_is_changes_nothing(
    registry: ModelRegistry, plain_model: Path
) -> None:
    registry.register("penguin", plain_model)
    registry.set_alias("penguin", "champion", 1)
    registry.set_alias("penguin", "champion", 1)
    assert [event.kind for event in registry.history("penguin")] == ["registered", "alias_set"]


@pytest.mark.parametrize("name", ["/a", "", "x" * 300, "a\\b", "..", "a\x00"])
def test_bad_names_change_nothing(registry: ModelRegistry, plain_model: Path, name: str) -> None:
    with pytest.raises(InvalidNameError):
        registry.register(name, plain_model)
    with pytest.raises(InvalidNameError):
        registry.register("penguin", plain_model, labels={name: "x"})
    registry.register("penguin", plain_model)
    with pytest.raises(InvalidNameError):
        registry.set_alias("penguin", name, 1)
    assert len(registry.history("penguin")) == 1


def test_a_missing_model_changes_nothing(registry: ModelRegistry, tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError):
        registry.register("penguin", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidModelError):
        registry.register("penguin", tmp_path / "empty")
    assert registry.list_models() == []


def test_states(registry: ModelRegistry, plain_model: Path) -> None:
    for _ in range(3):
        registry.register("penguin", plain_model)
    assert registry.get("penguin", 1).state is VersionState.REGISTERED
    passed(registry, 1)
    assert registry.get("penguin", 1).state is VersionState.PASSED
    registry.record_promotion("penguin", 1, "/serving", "production")
    assert registry.get("penguin", 1).state is VersionState.SERVING
    registry.record_decision("penguin", decided(registry, 2, Verdict.BLOCKED))
    assert registry.get("penguin", 2).state is VersionState.BLOCKED
    passed(registry, 3)
    registry.record_promotion("penguin", 3, "/serving", "production")
    assert registry.get("penguin", 1).state is VersionState.PASSED
    assert registry.get("penguin", 3).state is VersionState.SERVING
    assert registry.resolve("penguin@production").number == 3
    deployment = registry.serving("penguin")
    assert deployment is not None
    assert (deployment.number, deployment.destination) == (3, "/serving")


def test_a_decision_brings_metrics_and_keeps_the_report(
    registry: ModelRegistry, plain_model: Path
) -> None:
    registry.register("penguin", plain_model, metrics={"auc": 0.5, "size": 1.0})
    decision = decided(
        registry, 1, Verdict.PASSED, metrics=(Metric("auc", 0.75),), report={"a": [1, HOSTILE]}
    )
    registry.record_decision("penguin", decision)
    version = registry.get("penguin", 1)
    assert (version.metric("auc"), version.metric("size")) == (0.75, 1.0)
    assert registry.decision("penguin", 1) == decision


@pytest.mark.parametrize("verdict", [None, Verdict.BLOCKED])
def test_only_what_passed_is_promoted(
    registry: ModelRegistry, plain_model: Path, verdict: Verdict | None
) -> None:
    registry.register("penguin", plain_model)
    if verdict is not None:
        registry.record_decision("penguin", decided(registry, 1, verdict))
    events = len(registry.history("penguin"))
    for act in (registry.record_intent, registry.record_promotion):
        with pytest.raises(RefusedError, match="cannot promote penguin:1"):
            act("penguin", 1, "/serving", "production")
    assert len(registry.history("penguin")) == events
    assert registry.serving("penguin") is None


def test_a_later_block_forbids_promotion(registry: ModelRegistry, plain_model: Path) -> None:
    registry.register("penguin", plain_model)
    passed(registry, 1)
    registry.record_decision("penguin", decided(registry, 1, Verdict.BLOCKED))
    with pytest.raises(RefusedError, match=r"auc 0\.4 is below"):
        registry.record_promotion("penguin", 1, "/serving", "production")


def test_a_decision_on_other_bytes_is_refused(registry: ModelRegistry, plain_model: Path) -> None:
    registry.register("penguin", plain_model)
    with pytest.raises(IntegrityError):
        registry.record_decision("penguin", decided(registry, 1, Verdict.PASSED, digest="0" * 64))
    assert registry.get("penguin", 1).decision is None


def test_a_decision_against_a_baseline_that_moved_is_refused(
    registry: ModelRegistry, plain_model: Path
) -> None:
    registry.register("penguin", plain_model)
    registry.register("penguin", plain_model)
    passed(registry, 1)
    late = decided(registry, 2, Verdict.PASSED)
    registry.record_promotion("penguin", 1, "/serving", "production")
    with pytest.raises(ConflictError, match="version 1 serves under 'production' now"):
        registry.record_decision("penguin", late)
    # What serves under another alias is no baseline of this decision.
    other = decided(registry, 2, Verdict.PASSED, serving_seq=0, alias="eu")
    registry.record_decision("penguin", other)


def test_a_promotion_needs_a_decision_for_its_alias(
    registry: ModelRegistry, plain_model: Path
) -> None:
    registry.register("penguin", plain_model)
    registry.record_decision("penguin", decided(registry, 1, Verdict.PASSED, alias="staging"))
    with pytest.raises(RefusedError, match="the gate passed it for 'staging'"):
        registry.record_promotion("penguin", 1, "/serving", "production")
    registry.record_promotion("penguin", 1, "/staging", "staging")


def test_a_promotion_needs_a_decision_against_what_serves(
    registry: ModelRegistry, plain_model: Path
) -> None:
    for _ in range(3):
        registry.register("penguin", plain_model)
    passed(registry, 1)
    registry.record_promotion("penguin", 1, "/serving", "production")
    for number in (2, 3):
        registry.record_decision("penguin", decided(registry, number, Verdict.PASSED, baseline=1))
    registry.record_promotion("penguin", 2, "/serving", "production")
    with pytest.raises(RefusedError, match="compared it with version 1, and version 2 serves"):
        registry.record_promotion("penguin", 3, "/serving", "production")
    with pytest.raises(RefusedError, match="compared it with nothing, and version 2 serves"):
        registry.record_promotion("penguin", 1, "/serving", "production")
    registry.record_decision("penguin", decided(registry, 3, Verdict.PASSED, baseline=2))
    registry.record_promotion("penguin", 3, "/serving", "production")


def test_a_destination_serves_one_alias(registry: ModelRegistry, plain_model: Path) -> None:
    registry.register("penguin", plain_model)
    registry.register("penguin", plain_model)
    passed(registry, 1)
    registry.record_promotion("penguin", 1, "/serving", "production")
    registry.record_decision(
        "penguin", decided(registry, 2, Verdict.PASSED, alias="canary", serving_seq=0)
    )
    with pytest.raises(RefusedError, match="serves there under 'production'"):
        registry.record_promotion("penguin", 2, "/serving", "canary")


def test_the_alias_of_what_serves_moves_only_by_promotion(
    registry: ModelRegistry, plain_model: Path
) -> None:
    registry.register("penguin", plain_model)
    registry.register("penguin", plain_model)
    passed(registry, 1)
    registry.record_promotion("penguin", 1, "/serving", "production")
    with pytest.raises(RefusedError, match="version 1 serves under it"):
        registry.set_alias("penguin", "production", 2)
    assert registry.resolve("penguin@production").number == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"metrics": [Metric("auc", 0.5, (("sex", 1),))]},  # type: ignore[arg-type]
        {"metrics": [Metric(7, 0.5)]},  # type: ignore[arg-type]
        {"sources": [LineageSource("a", "b", 5)]},  # type: ignore[arg-type]
        {"origin": Origin(run_id=5)},  # type: ignore[arg-type]
        {"sources": [LineageSource("a", "b", "lone \ud800 surrogate")]},
        {"hyperparameters": {"a": "\udcff"}},
    ],
)
def test_what_could_not_be_read_again_is_not_written(
    registry: ModelRegistry, plain_model: Path, wrong: dict[str, object]
) -> None:
    with pytest.raises(InvalidInputError, match="cannot record 'registered'"):
        registry.register("penguin", plain_model, **wrong)  # type: ignore[arg-type]
    assert registry.list_models() == []


def test_hyperparameters_are_kept_as_text(registry: ModelRegistry, plain_model: Path) -> None:
    version = registry.register("penguin", plain_model, hyperparameters={"epochs": 30, "lr": 0.1})
    assert version.hyperparameters == {"epochs": "30", "lr": "0.1"}


def test_one_artifact_may_have_two_roles(registry: ModelRegistry, plain_model: Path) -> None:
    sources = [LineageSource(key, "Examples", "/data/1") for key in ("train", "eval")]
    version = registry.register("penguin", plain_model, sources=sources)
    assert [source.key for source in version.sources] == ["train", "eval"]


def test_actor_and_reason_are_those_given(registry: ModelRegistry, plain_model: Path) -> None:
    registry.register("penguin", plain_model)
    passed(registry, 1)
    registry.record_intent("penguin", 1, "/serving", "production", actor="ops")
    registry.record_promotion("penguin", 1, "/serving", "production", actor="ops", reason="release")
    intent, promoted = registry.history("penguin")[-2:]
    assert (intent.actor, promoted.actor, promoted.reason) == ("ops", "ops", "release")
    assert isinstance(promoted.payload, Promoted)
    assert promoted.payload.replaces is None
    assert registry.head("penguin").unfinished == {}


def test_an_interrupted_promotion_is_remembered(registry: ModelRegistry, plain_model: Path) -> None:
    registry.register("penguin", plain_model)
    passed(registry, 1)
    registry.record_intent("penguin", 1, "/serving", "production")
    begun = registry.head("penguin").unfinished["/serving"]
    assert (begun.number, begun.alias) == (1, "production")
    assert registry.serving("penguin") is None


@pytest.mark.parametrize(
    "actor", ["ev\x1b[31mil", "a\nb", "x" * 257, "\x9b", " ", "ada ", "\u2003ada"]
)
def test_bad_actors(registry: ModelRegistry, plain_model: Path, actor: str) -> None:
    with pytest.raises(InvalidNameError, match="invalid actor"):
        registry.register("penguin", plain_model, actor=actor)


class LostAnswer:
    """A store that writes, and then says that somebody else was faster."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.lost = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def append(self, *arguments: object) -> None:
        self._store.append(*arguments)  # type: ignore[arg-type]
        self.lost += 1
        raise AppendConflict


def test_an_operation_whose_answer_was_lost_is_not_repeated(
    registry: ModelRegistry, plain_model: Path
) -> None:
    store = LostAnswer(registry._store)
    flaky = ModelRegistry(store)  # type: ignore[arg-type]
    assert flaky.register("penguin", plain_model).number == 1
    assert flaky.register("penguin", plain_model).number == 2
    assert store.lost == 2
    assert [e.kind for e in registry.history("penguin")] == ["registered", "registered"]


def test_promoting_again_changes_nothing(registry: ModelRegistry, plain_model: Path) -> None:
    registry.register("penguin", plain_model)
    passed(registry, 1)
    first = registry.record_promotion("penguin", 1, "/serving", "production")
    assert registry.record_promotion("penguin", 1, "/serving", "production") == first


def test_an_alias_that_serves_is_not_removed(registry: ModelRegistry, plain_model: Path) -> None:
    registry.register("penguin", plain_model)
    passed(registry, 1)
    registry.record_promotion("penguin", 1, "/serving", "production")
    with pytest.raises(RefusedError, match="serves under it"):
        registry.remove_alias("penguin", "production")


def test_two_destinations_serve_side_by_side(registry: ModelRegistry, plain_model: Path) -> None:
    for number, alias in ((1, "eu"), (2, "us")):
        registry.register("penguin", plain_model)
        registry.record_decision("penguin", decided(registry, number, Verdict.PASSED, alias=alias))
    registry.record_promotion("penguin", 1, "/eu", "eu")
    registry.record_promotion("penguin", 2, "/us", "us")
    assert registry.serving("penguin", "eu").number == 1  # type: ignore[union-attr]
    assert registry.serving("penguin", "us").number == 2  # type: ignore[union-attr]
    assert registry.get("penguin", 1).serving == ("/eu",)


def test_replay_of_the_log_equals_what_is_stored(
    registry: ModelRegistry, plain_model: Path
) -> None:
    test_states(registry, plain_model)
    registry.set_alias("penguin", "old", 1)
    registry.set_alias("penguin", "old", 2)
    registry.remove_alias("penguin", "old")
    events = registry.history("penguin")
    state = fold.replay(events)
    assert state.head == registry.head("penguin")
    assert list(state.versions.values()) == registry.list_versions("penguin", newest_first=False)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


def test_an_edited_log_does_not_replay(registry: ModelRegistry, plain_model: Path) -> None:
    import dataclasses

    for _ in range(3):
        registry.register("penguin", plain_model)
    events = registry.history("penguin")
    events[1] = dataclasses.replace(events[1], actor="mallory")
    with pytest.raises(ValueError, match="does not follow"):
        fold.replay(events)
    with pytest.raises(ValueError, match="does not follow"):
        fold.replay([events[0], events[2]])


def test_threads_register_without_loss_or_gap(registry: ModelRegistry, plain_model: Path) -> None:
    made: list[int] = []

    def work() -> None:
        made.extend(registry.register("penguin", plain_model).number for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == list(range(1, 41))
    assert fold.replay(registry.history("penguin")).head == registry.head("penguin")
