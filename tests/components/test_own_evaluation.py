"""VersionGate evaluates by itself: TFMA on Beam, the candidate and what serves in one pass."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import tensorflow_model_analysis as tfma
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions
from google.protobuf import text_format
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from tfx_registry.components import GateReport
from tfx_registry.components.version_gate import own_evaluation
from tfx_registry.components.version_gate.executor import Executor as Gate
from tfx_registry.digest import digest_path
from tfx_registry.errors import InvalidInputError
from tfx_registry.gate import (
    ChangeThreshold,
    GatePolicy,
    Reason,
    SliceSpec,
    ValueThreshold,
)

EVERY_AGE = [SliceSpec(), SliceSpec(["age"])]
ONLY_CHANGE = GatePolicy(
    (), [ChangeThreshold("binary_accuracy", absolute=0.0, slices=EVERY_AGE)], min_examples=10
)


def config(text: str) -> Any:
    return text_format.Parse(text, tfma.EvalConfig())


def test_the_first_version_is_evaluated_alone(
    pipeline: Any, evaluated: Any, examples: Any, eval_config: Any
) -> None:
    version = pipeline.register(evaluated.good)
    blessing, report = pipeline.evaluate_and_gate(
        version, evaluated.good, eval_config=eval_config, examples=examples
    )
    assert report.reasons == ()
    assert (Path(blessing.uri) / "BLESSED").exists()
    assert report.baseline is None
    assert report.evaluation == str(pipeline.evaluation)
    # Anybody's tools read the result.
    result = tfma.load_eval_result(str(pipeline.evaluation))
    assert len(result.slicing_metrics) == 3
    # The report says which data the numbers came from.
    split = Path(examples.uri) / "Split-eval"
    assert report.data.location == examples.uri
    assert report.data.splits == ("eval",)
    assert report.data.digest == digest_path(split).root
    assert report.data.properties["span"] == "7"
    assert report.data.properties["input_fingerprint"] == "split:eval,num_files:1,xor:5"
    assert report.made_at is not None
    assert set(report.versions) == {"tensorflow-model-analysis"}


def test_the_second_version_is_compared_with_the_copy_that_serves(
    served: Any, evaluated: Any, examples: Any, eval_config: Any
) -> None:
    version = served.register(evaluated.bad)
    named = copy.deepcopy(eval_config)
    named.model_specs[0].name = "mine"
    blessing, report = served.evaluate_and_gate(
        version, evaluated.bad, ONLY_CHANGE, eval_config=named, examples=examples
    )
    assert served.codes(report) == {Reason.CHANGE_NOT_ENOUGH}
    assert (
        "slice age=old: binary_accuracy 0 against the baseline's 1: absolute change -1, "
        "needs at least 0 (20 examples)" in report.reasons
    )
    assert not (Path(blessing.uri) / "BLESSED").exists()
    assert report.baseline is not None
    assert report.baseline.number == 1
    assert report.baseline.evaluated_at == str(served.serving / "1")
    # Both models, in one pass.
    result = tfma.load_eval_result(str(served.evaluation), model_name="baseline")
    assert result.model_location == str(served.serving / "1")


def test_nobody_among_the_examples(
    pipeline: Any, evaluated: Any, examples: Any, eval_config: Any
) -> None:
    version = pipeline.register(evaluated.good)
    _, report = pipeline.evaluate_and_gate(
        version, evaluated.good, eval_config=eval_config, examples=examples, splits=["nobody"]
    )
    assert pipeline.codes(report) == {Reason.NO_EXAMPLES}
    with pytest.raises(InvalidInputError, match="cannot evaluate on the splits 'else'"):
        pipeline.evaluate_and_gate(
            version, evaluated.good, eval_config=eval_config, examples=examples, splits=["else"]
        )


def test_beam_options_are_those_of_the_user(
    pipeline: Any,
    evaluated: Any,
    examples: Any,
    eval_config: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Beam's options and the command line of the process are read only by a gate that evaluates.
    monkeypatch.setattr(sys, "argv", ["trainer", "--v=not a number"])
    # With a container image of one's own TFX packs nothing up.
    options = ["--runner=DirectRunner", "--direct_num_workers=3", "--sdk_container_image=mine"]
    gate = Gate(Gate.Context(beam_pipeline_args=options))
    version = pipeline.register(evaluated.good)
    inputs = {"model_version": [version], "model": [pipeline.model(evaluated.good)]}
    given = standard_artifacts.ModelEvaluation()
    given.uri = str(evaluated.good_alone)
    outputs = {
        "blessing": [pipeline.output(standard_artifacts.ModelBlessing)],
        "report": [pipeline.output(GateReport)],
    }
    policy = GatePolicy([ValueThreshold("binary_accuracy", lower_bound=0.6)])
    properties = {"policy": policy.to_json(), "registry": pipeline.uri}
    gate.Do({**inputs, "evaluation": [given]}, outputs, properties)
    seen: list[Any] = []

    def look(job: Any, make_pipeline: Any, *_: Any) -> None:
        seen.append(make_pipeline().options)

    monkeypatch.setattr(own_evaluation, "evaluate", look)
    monkeypatch.setattr(sys, "argv", ["trainer"])
    outputs["evaluation"] = [pipeline.output(standard_artifacts.ModelEvaluation)]
    properties["eval_config"] = proto_utils.proto_to_json(eval_config)
    gate.Do({**inputs, "examples": [examples]}, outputs, properties)
    (made,) = seen
    assert made.view_as(StandardOptions).runner == "DirectRunner"
    assert made.view_as(DirectOptions).direct_num_workers == 3


def test_a_gate_without_numbers(pipeline: Any, evaluated: Any) -> None:
    inputs = {
        "model_version": [pipeline.register(evaluated.good)],
        "model": [pipeline.model(evaluated.good)],
    }
    outputs = {"blessing": [pipeline.output(standard_artifacts.ModelBlessing)]}
    with pytest.raises(InvalidInputError, match="neither an evaluation nor examples"):
        Gate().Do(inputs, outputs, {"policy": ONLY_CHANGE.to_json(), "registry": pipeline.uri})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('model_specs { name: "a" } model_specs { name: "b" }', "2 models and 0 baselines"),
        ("model_specs { is_baseline: true }", "0 models and 1 baselines"),
        ('model_specs { signature_name: "eval" }', "EvalSavedModel"),
        ('model_specs { label_key: "a" label_keys { key: "b" value: "c" } }', "only one of"),
    ],
)
def test_eval_configs_that_the_gate_cannot_evaluate(text: str, why: str) -> None:
    with pytest.raises(InvalidInputError, match=why):
        own_evaluation.config_for(proto_utils.proto_to_json(config(text)), has_baseline=False)


def test_text_that_is_no_eval_config() -> None:
    with pytest.raises(InvalidInputError, match="invalid eval_config"):
        own_evaluation.config_for("model_specs", has_baseline=False)


def test_the_baseline_of_a_config_is_left_out_where_nothing_serves() -> None:
    text = 'model_specs { name: "a" } model_specs { name: "b" is_baseline: true }'
    text = proto_utils.proto_to_json(config(text))
    both = own_evaluation.config_for(text, has_baseline=True)
    assert [spec.name for spec in both.model_specs] == ["a", "b"]
    alone = own_evaluation.config_for(text, has_baseline=False)
    assert [spec.name for spec in alone.model_specs] == [""]


@pytest.mark.parametrize(
    "text", ["", 'model_specs { label_key: "label" }', 'model_specs { name: "a" }']
)
def test_a_baseline_is_added_to_any_config_of_one_model(text: str) -> None:
    rule = 'metrics_specs { metrics { class_name: "AUC" } model_names: "a" }'
    made = own_evaluation.config_for(
        proto_utils.proto_to_json(config(text + rule)), has_baseline=True
    )
    assert [(spec.name, spec.is_baseline) for spec in made.model_specs] == [
        ("candidate", False),
        ("baseline", True),
    ]
    assert len({spec.label_key for spec in made.model_specs}) == 1
    assert list(made.metrics_specs[0].model_names) == ["candidate", "baseline"]
