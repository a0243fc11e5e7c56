"""The three executors, called as an orchestrator calls them, on real TFMA results."""

from __future__ import annotations

import datetime
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from tfx.components.util import model_utils
from tfx.types import standard_artifacts

from tfx_registry import ModelRegistry
from tfx_registry.components import ModelVersion
from tfx_registry.components.model_registrar.executor import Executor as Registrar
from tfx_registry.digest import digest_path
from tfx_registry.errors import (
    IntegrityError,
    InvalidInputError,
    InvalidModelError,
    NotFoundError,
    RefusedError,
    ServingDirectoryError,
)
from tfx_registry.gate import (
    ChangeThreshold,
    GatePolicy,
    Reason,
    SliceSpec,
    ValueThreshold,
)
from tfx_registry.records import Metric, VersionState
from tfx_registry.registry import registry as registry_module

EVERY_AGE = [SliceSpec(), SliceSpec(["age"])]
ONLY_CHANGE = [ChangeThreshold("binary_accuracy", absolute=0.0, slices=EVERY_AGE)]


def test_the_whole_way_of_a_good_model(pipeline: Any, evaluated: Any) -> None:
    version = pipeline.register(evaluated.good, description="fine", labels='{"team":"birds"}')
    assert version.get_string_custom_property("version") == "1"
    blessing, report = pipeline.gate(version, evaluated.good, evaluated.good_alone)
    assert report.reasons == ()
    assert any("first version" in note for note in report.notes)
    assert model_utils.is_model_blessed(blessing)
    assert blessing.get_int_custom_property("current_model_id") == 7
    assert blessing.get_string_custom_property("current_model") == str(evaluated.good)
    assert (Path(blessing.uri) / "BLESSED").exists()
    pushed = pipeline.promote(version, evaluated.good, blessing=blessing)
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("pushed_version") == "1"
    assert pushed.get_string_custom_property("pushed_destination") == str(pipeline.serving / "1")
    assert digest_path(pushed.uri) == digest_path(evaluated.good / "Format-Serving")
    # It takes no room of its own, and shares nothing with what serves.
    for served in (pipeline.serving / "1").rglob("*.*"):
        assert served.stat().st_nlink == 1, served
    assert pipeline.visible() == ["1"]
    (found,) = pipeline.versions()
    assert found.state is VersionState.SERVING
    assert found.aliases == ("production",)
    assert found.labels == {"team": "birds"}
    assert found.metric("binary_accuracy") == 1.0
    assert found.metric("binary_accuracy", (("age", "old"),)) == 1.0
    assert found.metric("example_count", (("age", "old"),)) == 20.0
    assert [s.key for s in found.sources] == ["model"]
    assert found.sources[0].digest == digest_path(evaluated.good).root
    written = json.loads((Path(version.uri) / "version.json").read_text(encoding="utf-8"))
    assert written["facts"]["digest"] == found.digest


def test_a_bad_model_is_blocked_and_left_alone(pipeline: Any, evaluated: Any) -> None:
    version = pipeline.register(evaluated.bad)
    blessing, report = pipeline.gate(version, evaluated.bad, evaluated.bad_alone)
    assert pipeline.codes(report) == {Reason.BELOW_LOWER_BOUND}
    assert (
        "slice age=old: binary_accuracy 0 is below the lower bound 0.6 (20 examples)"
        in report.reasons
    )
    assert not model_utils.is_model_blessed(blessing)
    assert (Path(blessing.uri) / "NOT_BLESSED").exists()
    events = pipeline.events()
    for inputs in ({"blessing": blessing}, {}):
        pushed = pipeline.promote(version, evaluated.bad, **inputs)
        assert pushed.get_int_custom_property("pushed") == 0
        assert "age=old" in pushed.get_string_custom_property("not_pushed_reason")
        assert list(Path(pushed.uri).iterdir()) == []
    assert not pipeline.serving.exists()
    assert pipeline.events() == events
    assert pipeline.versions()[0].state is VersionState.BLOCKED


def test_the_second_model_is_compared_with_what_serves(pipeline: Any, evaluated: Any) -> None:
    first = pipeline.register(evaluated.good)
    pipeline.gate(first, evaluated.good, evaluated.good_alone)
    pipeline.promote(first, evaluated.good)
    second = pipeline.register(evaluated.bad)
    only_change = GatePolicy((), ONLY_CHANGE)
    _, report = pipeline.gate(second, evaluated.bad, evaluated.bad_against_good, only_change)
    assert pipeline.codes(report) == {Reason.CHANGE_NOT_ENOUGH}
    assert (
        "slice age=old: binary_accuracy 0 against the baseline's 1: absolute change -1, "
        "needs at least 0 (20 examples)" in report.reasons
    )
    assert report.baseline is not None
    assert report.baseline.number == 1
    # Without the baseline the same model is not waved through.
    _, report = pipeline.gate(second, evaluated.bad, evaluated.bad_alone, only_change)
    assert pipeline.codes(report) == {Reason.BASELINE_MISSING}


def test_a_gate_that_runs_again_after_the_promotion_says_the_same(
    pipeline: Any, evaluated: Any
) -> None:
    version = pipeline.register(evaluated.good)
    blessing, first = pipeline.gate(version, evaluated.good, evaluated.good_alone)
    pipeline.promote(version, evaluated.good, blessing=blessing)
    before = pipeline.events()
    blessing, again = pipeline.gate(version, evaluated.good, evaluated.good_alone)
    assert again.to_json() == first.to_json()
    assert model_utils.is_model_blessed(blessing)
    pushed = pipeline.promote(version, evaluated.good, blessing=blessing)
    assert pushed.get_int_custom_property("pushed") == 1
    assert pipeline.events() == before
    # By another policy, or on another evaluation, it is another question.
    stricter = GatePolicy([ValueThreshold("binary_accuracy", lower_bound=0.1)])
    _, other = pipeline.gate(version, evaluated.good, evaluated.good_alone, stricter)
    assert other.policy_digest != first.policy_digest
    assert pipeline.events() == before + 1


def test_equal_bytes_pass_against_themselves(pipeline: Any, evaluated: Any) -> None:
    first = pipeline.register(evaluated.good)
    pipeline.gate(first, evaluated.good, evaluated.good_alone)
    pipeline.promote(first, evaluated.good)
    again = pipeline.register(evaluated.good)
    assert again.get_string_custom_property("version") == "1", "a retry makes no second version"
    blessing, report = pipeline.gate(again, evaluated.good, evaluated.good_against_good)
    assert report.reasons == ()
    pushed = pipeline.promote(again, evaluated.good, blessing=blessing)
    assert pushed.get_int_custom_property("pushed") == 1
    # Nothing was copied, so it is not known whether the model artifact still has these bytes.
    assert digest_path(pushed.uri) == digest_path(pipeline.serving / "1")
    assert pipeline.visible() == ["1"]


def test_metrics_of_an_evaluation_are_registered(pipeline: Any, evaluated: Any) -> None:
    result = standard_artifacts.ModelEvaluation()
    result.uri = str(evaluated.bad_alone)
    inputs = {"model": [pipeline.model(evaluated.bad)], "evaluation": [result]}
    properties = {"model_name": "ages", "registry": pipeline.uri}
    Registrar().Do(inputs, {"model_version": [pipeline.output(ModelVersion)]}, properties)
    metrics = pipeline.versions()[0].metrics
    assert Metric("binary_accuracy", 0.5, ()) in metrics
    assert Metric("binary_accuracy", 0.0, (("age", "old"),)) in metrics
    inputs["model"] = [pipeline.model(evaluated.good)]
    with pytest.raises(InvalidInputError, match="connect the evaluation of this model"):
        Registrar().Do(inputs, {"model_version": [pipeline.output(ModelVersion)]}, properties)
    assert len(pipeline.versions()) == 1


def test_evaluations_that_prove_nothing(pipeline: Any, evaluated: Any, tmp_path: Path) -> None:
    version = pipeline.register(evaluated.good)
    empty = tmp_path / "empty"
    empty.mkdir()
    damaged = tmp_path / "damaged"
    shutil.copytree(evaluated.good_alone, damaged)
    (metrics,) = damaged.glob("metrics-*")
    metrics.write_bytes(metrics.read_bytes()[:-7])
    scrambled = tmp_path / "scrambled"
    shutil.copytree(evaluated.good_alone, scrambled)
    (scrambled / "eval_config.json").write_text("{", encoding="utf-8")
    for evaluation, reason in (
        (tmp_path / "nowhere", Reason.EVALUATION_EMPTY),
        (empty, Reason.EVALUATION_EMPTY),
        (damaged, Reason.EVALUATION_UNREADABLE),
        (scrambled, Reason.EVALUATION_UNREADABLE),
        (evaluated.bad_alone, Reason.EVALUATION_OF_ANOTHER_MODEL),
        (evaluated.good_against_good, Reason.BASELINE_IS_NOT_SERVING),
    ):
        blessing, report = pipeline.gate(version, evaluated.good, evaluation)
        assert pipeline.codes(report) == {reason}, evaluation
        assert not model_utils.is_model_blessed(blessing)
        assert pipeline.versions()[0].state is VersionState.BLOCKED


def test_bytes_that_changed_after_registration(
    pipeline: Any, evaluated: Any, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(evaluated.good, model)
    version = pipeline.register(model)
    (model / "Format-Serving" / "assets").mkdir(exist_ok=True)
    (model / "Format-Serving" / "assets" / "new.txt").write_text("x", encoding="utf-8")
    _, report = pipeline.gate(version, model, evaluated.good_alone)
    assert pipeline.codes(report) == {Reason.MODEL_BYTES_CHANGED}
    shutil.rmtree(model)
    _, report = pipeline.gate(version, model, evaluated.good_alone)
    assert pipeline.codes(report) == {Reason.MODEL_BYTES_CHANGED}


def test_weighted_and_unweighted_numbers_must_both_be_good(pipeline: Any, evaluated: Any) -> None:
    import tensorflow_model_analysis as tfma

    version = pipeline.register(evaluated.bad)
    policy = GatePolicy([ValueThreshold("binary_accuracy", lower_bound=0.4)])
    _, report = pipeline.gate(version, evaluated.bad, evaluated.weighted_and_not, policy)
    assert report.reasons == (
        "overall: binary_accuracy (weighted) 0 is below the lower bound 0.4 (40 examples)",
    )
    assert [check.metric for check in report.checks] == [
        "binary_accuracy (weighted)",
        "binary_accuracy",
    ]
    # As TFMA's own validator says of the same result.
    assert not tfma.load_validation_result(str(evaluated.weighted_and_not)).validation_ok


def test_the_evaluated_bytes_are_what_counts_not_their_place(
    pipeline: Any, evaluated: Any, tmp_path: Path
) -> None:
    # Places come back when somebody starts over with an empty pipeline root.
    place = Path(evaluated.swapped)
    shutil.copytree(evaluated.good, place)
    first = pipeline.register(place)
    _, report = pipeline.gate(first, place, evaluated.swapped_alone)
    assert report.reasons == ()
    pipeline.promote(first, place)
    shutil.rmtree(place)
    shutil.copytree(evaluated.bad, place)
    second = pipeline.register(evaluated.bad)
    only_change = GatePolicy((), ONLY_CHANGE)
    _, report = pipeline.gate(second, evaluated.bad, evaluated.bad_against_swapped, only_change)
    assert pipeline.codes(report) == {Reason.BASELINE_BYTES_CHANGED}
    # The evaluation of what lay there before is of another model now.
    third = pipeline.register(place)
    _, report = pipeline.gate(first, evaluated.good, evaluated.swapped_alone)
    assert pipeline.codes(report) == {Reason.EVALUATION_OF_ANOTHER_MODEL}
    assert third.get_string_custom_property("version") == "3"
    shutil.rmtree(place)


def test_a_version_that_is_visible_and_not_recorded_blocks_the_next(
    pipeline: Any, evaluated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pipeline.register(evaluated.good)
    pipeline.gate(first, evaluated.good, evaluated.good_alone)
    with monkeypatch.context() as patch:
        patch.setattr(registry_module.ModelRegistry, "record_promotion", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pipeline.promote(first, evaluated.good)
    second = pipeline.register(evaluated.bad)
    weak = GatePolicy([ValueThreshold("binary_accuracy", lower_bound=0.1)])
    _, report = pipeline.gate(second, evaluated.bad, evaluated.bad_alone, weak)
    assert pipeline.codes(report) == {Reason.PROMOTION_UNFINISHED}
    assert "tfx-registry reconcile --serving-dir" in report.reasons[0]
    pipeline.promote(first, evaluated.good)
    _, report = pipeline.gate(second, evaluated.bad, evaluated.bad_alone, weak)
    assert pipeline.codes(report) == {Reason.BASELINE_MISSING}


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_another_model_wired_into_the_promoter(pipeline: Any, evaluated: Any) -> None:
    version = pipeline.register(evaluated.good)
    blessing, _ = pipeline.gate(version, evaluated.good, evaluated.good_alone)
    with pytest.raises(InvalidInputError, match="the blessing is of the model at"):
        pipeline.promote(version, evaluated.bad, blessing=blessing)
    with pytest.raises(IntegrityError, match="has other bytes than the registered version"):
        pipeline.promote(version, evaluated.bad)
    assert pipeline.visible() == []
    assert pipeline.versions()[0].state is VersionState.PASSED
    assert pipeline.events() == 2


def test_a_blessing_that_the_registry_does_not_know(pipeline: Any, evaluated: Any) -> None:
    version = pipeline.register(evaluated.good)
    blessing = pipeline.output(standard_artifacts.ModelBlessing)
    blessing.set_int_custom_property("blessed", 1)
    (Path(blessing.uri) / "BLESSED").touch()
    with pytest.raises(RefusedError, match="no gate decision is recorded"):
        pipeline.promote(version, evaluated.good, blessing=blessing)
    blocked = pipeline.register(evaluated.bad)
    pipeline.gate(blocked, evaluated.bad, evaluated.bad_alone)
    with pytest.raises(RefusedError, match="the gate blocked it"):
        pipeline.promote(blocked, evaluated.bad, blessing=blessing)
    assert not pipeline.serving.exists()


def test_infra_blessing_is_honoured(pipeline: Any, evaluated: Any) -> None:
    version = pipeline.register(evaluated.good)
    blessing, _ = pipeline.gate(version, evaluated.good, evaluated.good_alone)
    infra = pipeline.output(standard_artifacts.InfraBlessing)
    infra.set_string_custom_property("blessing_status", "INFRA_NOT_BLESSED")
    (Path(infra.uri) / "INFRA_NOT_BLESSED").touch()
    pushed = pipeline.promote(version, evaluated.good, blessing=blessing, infra_blessing=infra)
    assert pushed.get_int_custom_property("pushed") == 0
    assert "InfraValidator" in pushed.get_string_custom_property("not_pushed_reason")
    assert pipeline.visible() == []


def test_a_version_waits_for_approvals(pipeline: Any, evaluated: Any) -> None:
    version = pipeline.register(evaluated.good)
    blessing, _ = pipeline.gate(version, evaluated.good, evaluated.good_alone)
    pushed = pipeline.promote(version, evaluated.good, blessing=blessing, required_approvals=1.0)
    assert pushed.get_int_custom_property("pushed") == 0
    assert "0 of 1 approvals" in pushed.get_string_custom_property("not_pushed_reason")
    with ModelRegistry.open(pipeline.uri) as registry:
        registry.approve("ages", 1, actor="somebody else")
    pushed = pipeline.promote(version, evaluated.good, blessing=blessing, required_approvals=1.0)
    assert pushed.get_int_custom_property("pushed") == 1
    with ModelRegistry.open(pipeline.uri) as registry:
        registry.reject("ages", 1, actor="somebody else", reason="no")
    pushed = pipeline.promote(version, evaluated.good, blessing=blessing)
    assert "somebody else rejected it" in pushed.get_string_custom_property("not_pushed_reason")


def test_an_override_lets_a_blocked_version_through(pipeline: Any, evaluated: Any) -> None:
    version = pipeline.register(evaluated.bad)
    blessing, _ = pipeline.gate(version, evaluated.bad, evaluated.bad_alone)
    with ModelRegistry.open(pipeline.uri) as registry:
        registry.override("ages", 1, reason="outage", expires=datetime.timedelta(hours=1))
    pushed = pipeline.promote(version, evaluated.bad, blessing=blessing)
    assert pushed.get_int_custom_property("pushed") == 1
    assert pipeline.visible() == ["1"]
    found = pipeline.versions()[0]
    assert found.state is VersionState.SERVING
    assert found.override is not None


def test_a_version_that_is_there_with_other_bytes(pipeline: Any, evaluated: Any) -> None:
    version = pipeline.register(evaluated.good)
    pipeline.gate(version, evaluated.good, evaluated.good_alone)
    (pipeline.serving / "1").mkdir(parents=True)
    (pipeline.serving / "1" / "saved_model.pb").write_text("mine", encoding="utf-8")
    with pytest.raises(IntegrityError, match="already lies at"):
        pipeline.promote(version, evaluated.good)
    text = (pipeline.serving / "1" / "saved_model.pb").read_text(encoding="utf-8")
    assert text == "mine"
    assert pipeline.events() == 2


def test_a_serving_directory_that_is_a_file(pipeline: Any, evaluated: Any) -> None:
    version = pipeline.register(evaluated.good)
    pipeline.gate(version, evaluated.good, evaluated.good_alone)
    pipeline.serving.parent.mkdir()
    pipeline.serving.write_text("a file", encoding="utf-8")
    with pytest.raises(ServingDirectoryError, match="is not a directory"):
        pipeline.promote(version, evaluated.good)
    assert pipeline.events() == 2


def test_a_crash_after_publishing_is_finished_by_a_repeat(
    pipeline: Any, evaluated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = pipeline.register(evaluated.good)
    pipeline.gate(version, evaluated.good, evaluated.good_alone)

    with monkeypatch.context() as patch:
        patch.setattr(registry_module.ModelRegistry, "record_promotion", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pipeline.promote(version, evaluated.good)
    assert pipeline.visible() == ["1"]
    assert pipeline.versions()[0].state is VersionState.PASSED
    pipeline.promote(version, evaluated.good)
    assert pipeline.versions()[0].state is VersionState.SERVING
    assert pipeline.visible() == ["1"]


def test_what_is_no_saved_model_is_registered_but_not_promoted(
    pipeline: Any, evaluated: Any, plain_model: Path
) -> None:
    version = pipeline.register(plain_model)
    _, report = pipeline.gate(version, plain_model, evaluated.good_alone)
    assert pipeline.codes(report) == {Reason.EVALUATION_OF_ANOTHER_MODEL}
    with ModelRegistry.open(pipeline.uri) as registry:
        from tfx_registry.records import Verdict
        from tfx_registry.registry.events import Decided

        digest = registry.get("ages", 1).digest
        registry.record_decision("ages", Decided(1, Verdict.PASSED, digest, "production"))
    with pytest.raises(InvalidModelError, match="loads only SavedModels"):
        pipeline.promote(version, plain_model)
    assert not pipeline.serving.exists()


def test_a_version_of_another_registry(pipeline: Any, evaluated: Any, tmp_path: Path) -> None:
    version = pipeline.register(evaluated.good)
    other = type(pipeline)(tmp_path / "other", f"sqlite:///{tmp_path}/other.sqlite")
    with pytest.raises(NotFoundError, match="no model 'ages'"):
        other.promote(version, evaluated.good)


def test_an_artifact_that_points_nowhere(pipeline: Any, evaluated: Any) -> None:
    with pytest.raises(InvalidInputError, match="connect model_version to ModelRegistrar"):
        pipeline.promote(pipeline.output(ModelVersion), evaluated.good)


def test_missing_and_empty_models(pipeline: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match="no such file"):
        pipeline.register(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidModelError, match="holds no file"):
        pipeline.register(tmp_path / "empty")
    with ModelRegistry.open(pipeline.uri) as registry:
        assert registry.list_models() == []


def test_the_registry_comes_from_the_environment(
    pipeline: Any, evaluated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFX_REGISTRY_URI", pipeline.uri)
    monkeypatch.setenv("TFX_REGISTRY_ACTOR", "ada")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "nightly")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "2026-11-21")
    pipeline.register(evaluated.good, registry=None)
    (version,) = pipeline.versions()
    assert version.actor == "ada"
    assert (version.origin.pipeline_name, version.origin.run_id) == ("nightly", "2026-11-21")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "2026-11-22")
    pipeline.register(evaluated.good, registry=None)
    assert pipeline.versions()[1].same_bytes_as == 1


def test_the_executors_loaded_no_second_copy_of_the_package() -> None:
    assert "components" not in sys.modules
