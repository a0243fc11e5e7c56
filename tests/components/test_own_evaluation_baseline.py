"""The gate's own evaluation and its baseline: gone, changed, or moved while TFMA runs."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.components.version_gate import own_evaluation
from tfx_registry.gate import (
    ChangeThreshold,
    GatePolicy,
    Reason,
    SliceSpec,
    ValueThreshold,
)
from tfx_registry.gate.policy import BaselineRule, MovedBaseline
from tfx_registry.records import Verdict

EVERY_AGE = [SliceSpec(), SliceSpec(["age"])]
ONLY_CHANGE = GatePolicy(
    (), [ChangeThreshold("binary_accuracy", absolute=0.0, slices=EVERY_AGE)], min_examples=10
)
RE_EVALUATE = dataclasses.replace(ONLY_CHANGE, moved_baseline=MovedBaseline.RE_EVALUATE)


@pytest.fixture
def arguments(eval_config: Any, examples: Any) -> dict[str, Any]:
    """What a gate needs to evaluate by itself."""
    return {"eval_config": eval_config, "examples": examples}


class Replayed:
    """Stands in for TFMA: writes numbers that TFMA made, as if of the models that it is given."""

    def __init__(self, alone: Path, against: Path) -> None:
        self.results = (alone, against)
        self.models: list[tuple[str, str | None]] = []
        self.meanwhile: list[Any] = []

    def __call__(
        self, job: Any, make_pipeline: Any, candidate: str, baseline: str | None, output: str
    ) -> None:
        self.models.append((candidate, baseline))
        shutil.rmtree(output)
        shutil.copytree(self.results[baseline is not None], output)
        file = Path(output) / "eval_config.json"
        run = json.loads(file.read_text(encoding="utf-8"))
        locations = {"candidate": candidate, "baseline": baseline} if baseline else {"": candidate}
        file.write_text(json.dumps({**run, "modelLocations": locations}), encoding="utf-8")
        if self.meanwhile:
            self.meanwhile.pop(0)()


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(alone: Path, against: Path) -> Replayed:
        made = Replayed(alone, against)
        monkeypatch.setattr(own_evaluation, "evaluate", made)
        return made

    return install


def test_a_baseline_whose_serving_copy_is_out_of_reach(
    served: Any, evaluated: Any, arguments: Any, replay: Any
) -> None:
    version = served.register(evaluated.bad)
    tfma_runs = replay(evaluated.bad_alone, evaluated.bad_against_good)
    shutil.rmtree(served.serving / "1")
    _, report = served.evaluate_and_gate(version, evaluated.bad, ONLY_CHANGE, **arguments)
    inside = str(evaluated.good / "Format-Serving")
    assert tfma_runs.models == [(str(evaluated.bad / "Format-Serving"), inside)]
    assert served.codes(report) == {Reason.CHANGE_NOT_ENOUGH}
    (note,) = report.notes
    assert "out of reach" in note
    assert inside in note


@pytest.fixture
def in_two_places(pipeline: Any, evaluated: Any, tmp_path: Path) -> Path:
    """Version 1 serves, and its Model artifact, of which nobody else knows, is this one."""
    place = tmp_path / "first"
    shutil.copytree(evaluated.good, place)
    version = pipeline.register(place)
    with ModelRegistry.open(pipeline.uri) as registry:
        registry.override("ages", 1, reason="a test", expires=datetime.timedelta(hours=1))
    pipeline.promote(version, place)
    return place


def test_a_baseline_whose_bytes_are_gone(
    pipeline: Any, in_two_places: Path, evaluated: Any, arguments: Any, replay: Any
) -> None:
    version = pipeline.register(evaluated.good)
    tfma_runs = replay(evaluated.good_alone, evaluated.good_against_good)
    shutil.rmtree(in_two_places)
    shutil.rmtree(pipeline.serving / "1")
    _, report = pipeline.evaluate_and_gate(version, evaluated.good, **arguments)
    assert pipeline.codes(report) == {Reason.BASELINE_BYTES_GONE}
    assert str(pipeline.serving / "1") in report.reasons[0]
    assert tfma_runs.models == [], "nothing to compare with: nothing was evaluated"
    # A policy may let it pass, and then the decision says so.
    allow = dataclasses.replace(
        GatePolicy([ValueThreshold("binary_accuracy", lower_bound=0.6)]),
        baseline=BaselineRule.ALLOW,
    )
    _, report = pipeline.evaluate_and_gate(version, evaluated.good, allow, **arguments)
    assert report.verdict is Verdict.PASSED
    assert tfma_runs.models[0][1] is None
    assert any("are gone or out of reach" in note for note in report.notes)


def test_a_baseline_whose_bytes_were_changed(
    pipeline: Any, in_two_places: Path, evaluated: Any, arguments: Any, replay: Any
) -> None:
    version = pipeline.register(evaluated.good)
    tfma_runs = replay(evaluated.good_alone, evaluated.good_against_good)
    foreign = pipeline.serving / "1" / "foreign.txt"
    foreign.write_text("x", encoding="utf-8")
    _, report = pipeline.evaluate_and_gate(version, evaluated.good, **arguments)
    assert pipeline.codes(report) == {Reason.BASELINE_BYTES_CHANGED}
    assert "what serves at" in report.reasons[0], "the good copy is not taken in its place"
    shutil.rmtree(pipeline.serving / "1")
    (in_two_places / "Format-Serving" / "foreign.txt").write_text("x", encoding="utf-8")
    _, report = pipeline.evaluate_and_gate(version, evaluated.good, **arguments)
    assert pipeline.codes(report) == {Reason.BASELINE_BYTES_CHANGED}
    assert tfma_runs.models == []


class Elsewhere:
    """Other pipelines, with models of their own that are as good."""

    def __init__(self, pipeline: Any, good: Path) -> None:
        self.pipeline = pipeline
        self.good = good

    def register(self) -> int:
        number = len(self.pipeline.versions()) + 1 if self.pipeline.events() else 1
        model = self.pipeline.root / f"other-{number}"
        shutil.copytree(self.good, model)
        (model / "Format-Serving" / "assets.extra").mkdir()
        (model / "Format-Serving" / "assets.extra" / "number").write_text(f"{number}")
        version = self.pipeline.register(model)
        return int(version.get_string_custom_property("version"))

    def promote(self, number: int) -> None:
        """Promotes a version in another process."""
        base = self.pipeline.serving
        model = self.pipeline.root / f"other-{number}" / "Format-Serving"
        shutil.copytree(model, base / str(number))
        arguments = [sys.executable, "-c", PROMOTE, self.pipeline.uri, str(number), str(base)]
        subprocess.run(arguments, check=True, capture_output=True, timeout=120)


PROMOTE = """
import datetime
import sys
from tfx_registry import ModelRegistry

uri, number, base = sys.argv[1:]
with ModelRegistry.open(uri) as registry:
    an_hour = datetime.timedelta(hours=1)
    registry.override("ages", int(number), reason="another pipeline", expires=an_hour)
    registry.record_promotion("ages", int(number), base, "production")
"""


@pytest.mark.parametrize("policy", [ONLY_CHANGE, RE_EVALUATE], ids=["block", "re_evaluate"])
def test_what_serves_moves_during_the_evaluation(
    served: Any, evaluated: Any, arguments: Any, replay: Any, policy: GatePolicy
) -> None:
    elsewhere = Elsewhere(served, evaluated.good)
    other = elsewhere.register()
    bad = served.register(evaluated.bad)
    tfma_runs = replay(evaluated.bad_alone, evaluated.bad_against_good)
    tfma_runs.meanwhile = [lambda: elsewhere.promote(other)]
    _, report = served.evaluate_and_gate(bad, evaluated.bad, policy, **arguments)
    baselines = [baseline for _, baseline in tfma_runs.models]
    if policy is ONLY_CHANGE:
        assert served.codes(report) == {Reason.BASELINE_MOVED}
        assert baselines == [str(served.serving / "1")]
    else:
        assert served.codes(report) == {Reason.CHANGE_NOT_ENOUGH}
        assert baselines == [str(served.serving / "1"), str(served.serving / "2")]
        assert report.baseline is not None
        assert report.baseline.number == other
    with ModelRegistry.open(served.uri) as registry:
        decision = registry.decision("ages", report.candidate.number)
        now = registry.serving("ages")
    assert decision is not None
    assert now is not None
    assert decision.serving_seq == now.seq, "the decision says what served when it was made"


def test_a_gate_that_runs_again_after_the_promotion_says_the_same(
    served: Any, evaluated: Any, arguments: Any, replay: Any
) -> None:
    """Compared with itself, what serves would be better than itself nowhere."""
    tfma_runs = replay(evaluated.good_alone, evaluated.good_against_good)
    better = GatePolicy((), [ChangeThreshold("binary_accuracy", absolute=-0.5)], min_examples=10)
    version = served.register(evaluated.bad)
    tfma_runs.results = (evaluated.bad_alone, evaluated.bad_against_good)
    blessing, first = served.evaluate_and_gate(version, evaluated.bad, better, **arguments)
    assert first.verdict is Verdict.PASSED
    served.promote(version, evaluated.bad, blessing=blessing)
    before = served.events()
    _, again = served.evaluate_and_gate(version, evaluated.bad, better, **arguments)
    assert again.to_json() == first.to_json()
    assert len(tfma_runs.models) == 1
    assert served.events() == before


def test_labels_are_those_of_the_decision_not_of_its_beginning(
    pipeline: Any, evaluated: Any, arguments: Any, replay: Any
) -> None:
    version = pipeline.register(evaluated.good)
    with ModelRegistry.open(pipeline.uri) as registry:
        registry.set_label("ages", 1, "reviewed_by", "ada")

    def take_back() -> None:
        with ModelRegistry.open(pipeline.uri) as registry:
            registry.remove_label("ages", 1, "reviewed_by")

    tfma_runs = replay(evaluated.good_alone, evaluated.good_against_good)
    tfma_runs.meanwhile = [take_back]
    policy = GatePolicy(
        [ValueThreshold("binary_accuracy", lower_bound=0.1)], required_labels={"reviewed_by": []}
    )
    _, report = pipeline.evaluate_and_gate(version, evaluated.good, policy, **arguments)
    assert pipeline.codes(report) == {Reason.LABEL_MISSING}


def test_something_begins_to_serve_during_the_evaluation_of_a_first_version(
    pipeline: Any, evaluated: Any, arguments: Any, replay: Any
) -> None:
    elsewhere = Elsewhere(pipeline, evaluated.good)
    version = pipeline.register(evaluated.good)
    other = elsewhere.register()
    tfma_runs = replay(evaluated.good_alone, evaluated.good_against_good)
    tfma_runs.meanwhile = [lambda: elsewhere.promote(other)]
    _, report = pipeline.evaluate_and_gate(version, evaluated.good, **arguments)
    assert pipeline.codes(report) == {Reason.BASELINE_MOVED}
    _, report = pipeline.evaluate_and_gate(version, evaluated.good, **arguments)
    assert report.reasons == ()
    assert [baseline for _, baseline in tfma_runs.models] == [None, str(pipeline.serving / "2")]


def test_what_serves_moves_faster_than_the_gate_evaluates(
    served: Any, evaluated: Any, arguments: Any, replay: Any
) -> None:
    elsewhere = Elsewhere(served, evaluated.good)
    others = [elsewhere.register() for _ in range(4)]
    bad = served.register(evaluated.bad)
    tfma_runs = replay(evaluated.bad_alone, evaluated.bad_against_good)
    tfma_runs.meanwhile = [functools.partial(elsewhere.promote, number) for number in others]
    _, report = served.evaluate_and_gate(bad, evaluated.bad, RE_EVALUATE, **arguments)
    assert len(tfma_runs.models) == 3, "three evaluations, and no more"
    assert served.codes(report) == {Reason.BASELINE_MOVED}


def test_what_serves_moves_between_decision_and_record(
    served: Any, evaluated: Any, arguments: Any, replay: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Elsewhere(served, evaluated.good)
    other = elsewhere.register()
    bad = served.register(evaluated.bad)
    tfma_runs = replay(evaluated.bad_alone, evaluated.bad_against_good)
    record = ModelRegistry.record_decision
    meanwhile = [lambda: elsewhere.promote(other)]

    def record_late(*arguments: Any, **options: Any) -> Any:
        if meanwhile:
            meanwhile.pop()()
        return record(*arguments, **options)

    monkeypatch.setattr(ModelRegistry, "record_decision", record_late)
    _, report = served.evaluate_and_gate(bad, evaluated.bad, RE_EVALUATE, **arguments)
    assert served.codes(report) == {Reason.CHANGE_NOT_ENOUGH}
    assert report.baseline is not None
    assert report.baseline.number == other
    assert len(tfma_runs.models) == 2


def test_an_evaluation_against_what_served_earlier(
    served: Any, evaluated: Any, arguments: Any, replay: Any
) -> None:
    # Made against version 1, by Evaluator; then version 2 was promoted.
    elsewhere = Elsewhere(served, evaluated.good)
    other = elsewhere.register()
    elsewhere.promote(other)
    bad = served.register(evaluated.bad)
    _, report = served.gate(bad, evaluated.bad, evaluated.bad_against_good, ONLY_CHANGE)
    assert served.codes(report) == {Reason.BASELINE_MOVED}
    # What never served is a mistake of another kind.
    _, report = served.gate(bad, evaluated.bad, evaluated.bad_against_swapped, ONLY_CHANGE)
    assert served.codes(report) == {Reason.BASELINE_IS_NOT_SERVING}
    # A gate that can evaluate makes a new one, also where what serves need not be re-evaluated.
    tfma_runs = replay(evaluated.bad_alone, evaluated.bad_against_good)
    _, report = served.evaluate_and_gate(
        bad,
        evaluated.bad,
        ONLY_CHANGE,
        **arguments,
        given=evaluated.bad_against_good,
    )
    assert served.codes(report) == {Reason.CHANGE_NOT_ENOUGH}
    assert [baseline for _, baseline in tfma_runs.models] == [str(served.serving / "2")]
    assert report.evaluation == str(served.evaluation)


def test_an_evaluation_against_what_serves_is_taken_as_it_is(
    served: Any, evaluated: Any, arguments: Any, replay: Any
) -> None:
    bad = served.register(evaluated.bad)
    tfma_runs = replay(evaluated.bad_alone, evaluated.bad_against_good)
    _, report = served.evaluate_and_gate(
        bad,
        evaluated.bad,
        ONLY_CHANGE,
        **arguments,
        given=evaluated.bad_against_good,
    )
    assert served.codes(report) == {Reason.CHANGE_NOT_ENOUGH}
    assert report.evaluation == str(evaluated.bad_against_good)
    assert tfma_runs.models == []
    assert list(served.evaluation.iterdir()) == []
