"""What is wrong has the same reason code in VersionGate, in the command and in Python.

The results are TFMA's, about models that it evaluated; some numbers in them are changed afterwards.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.cli.main import main
from tfx_registry.components.version_gate.tfma_results import load_evaluation
from tfx_registry.gate import (
    ChangeThreshold,
    GatePolicy,
    NoWorse,
    Reason,
    SliceSpec,
    ValueThreshold,
    decide,
)
from tfx_registry.gating import Standing, situation_of

OLD = SliceSpec(feature_values={"age": "old"})
NOTHING_WRONG = GatePolicy([ValueThreshold("binary_accuracy", lower_bound=0.0)])
SURELY = replace(NOTHING_WRONG, confidence="bound")

POLICIES = {
    Reason.BELOW_LOWER_BOUND: [ValueThreshold("binary_accuracy", lower_bound=0.9)],
    Reason.ABOVE_UPPER_BOUND: [ValueThreshold("binary_accuracy", upper_bound=0.1)],
    Reason.CHANGE_NOT_ENOUGH: [ChangeThreshold("binary_accuracy", absolute=0.0)],
    Reason.NOT_BETTER_ANYWHERE: [NoWorse("binary_accuracy", tolerance=1.0)],
    Reason.METRIC_MISSING: [ValueThreshold("auc", lower_bound=0.5)],
    Reason.SLICE_MISSING: replace(
        NOTHING_WRONG, required_slices=[SliceSpec(feature_values={"age": "unborn"})]
    ),
    Reason.TOO_FEW_EXAMPLES: replace(NOTHING_WRONG, min_examples=41),
    Reason.INTERVAL_MISSING: SURELY,
    Reason.EVALUATION_TOO_OLD: replace(NOTHING_WRONG, max_evaluation_age_hours=0.0),
    Reason.MODEL_TOO_LARGE: replace(NOTHING_WRONG, max_model_bytes=1),
    Reason.INFRA_BLESSING_MISSING: replace(NOTHING_WRONG, require_infra_blessing=True),
    Reason.LABEL_MISSING: replace(NOTHING_WRONG, required_labels={"owner": []}),
    Reason.LABEL_NOT_ALLOWED: replace(NOTHING_WRONG, required_labels={"risk": ["low"]}),
}


def policy_of(rules: Any) -> GatePolicy:
    if isinstance(rules, GatePolicy):
        return rules
    (rule,) = rules
    fields = {ValueThreshold: "value_thresholds", ChangeThreshold: "change_thresholds"}
    return GatePolicy(**{fields.get(type(rule), "no_worse"): [rule]})


@pytest.fixture
def codes(
    served: Any, evaluated: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Callable[[GatePolicy, Path], set[Any]]:
    """Decides on the bad model, in three ways that say the same; returns the reasons."""
    version = served.register(evaluated.bad)
    with ModelRegistry.open(served.uri) as registry:
        registry.set_label("ages", 2, "risk", "high")

    def ask(policy: GatePolicy, result: Path) -> set[Any]:
        blessing, report = served.gate(version, evaluated.bad, result, policy)
        assert (Path(blessing.uri) / "NOT_BLESSED").exists()
        found = served.codes(report)
        file = tmp_path / "policy.json"
        file.write_text(policy.to_json(), encoding="utf-8")
        capfd.readouterr()
        arguments = ["gate", "ages:2", "--policy", str(file), "--evaluation", str(result)]
        assert main(["--registry", served.uri, "--json", *arguments]) == 4
        checks = json.loads(capfd.readouterr().out)["report"]["checks"]
        assert {Reason(check["reason"]) for check in checks if not check["passed"]} == found
        with ModelRegistry.open(served.uri) as registry:
            situation = situation_of(
                registry,
                registry.get("ages", 2),
                Standing.now(registry, "ages", "production"),
                now=time.time() + 1,
            )
        in_python = decide(policy, load_evaluation(str(result)), situation)
        assert served.codes(in_python) == found
        return found

    return ask


@pytest.mark.parametrize("reason", POLICIES, ids=lambda reason: reason.value)
def test_what_a_policy_asks_and_a_model_has_not(reason: Reason, codes: Any, evaluated: Any) -> None:
    assert codes(policy_of(POLICIES[reason]), evaluated.bad_against_good) == {reason}


def changed(source: Path, folder: Path, change: Callable[[Any], None]) -> Path:
    """Copies a result, and changes each key with its value."""
    import tensorflow as tf
    import tensorflow_model_analysis as tfma

    shutil.copytree(source, folder)
    (file,) = folder.glob("metrics-*")
    records = list(tfma.load_metrics(str(source)))
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            pairs = list(record.metric_keys_and_values)
            del record.metric_keys_and_values[:]
            for pair in pairs:
                change(pair)
                if pair.key.name:
                    record.metric_keys_and_values.append(pair)
            writer.write(record.SerializeToString())
    return folder


def no_number(pair: Any) -> None:
    if pair.key.name == "binary_accuracy":
        pair.value.double_value.value = math.nan


def no_examples(pair: Any) -> None:
    if pair.key.name == "example_count":
        pair.value.double_value.value = 0.0


def not_counted(pair: Any) -> None:
    if pair.key.name == "example_count":
        pair.key.name = ""


def around(pair: Any, low: float, high: float) -> None:
    pair.confidence_interval.lower_bound.double_value.value = low
    pair.confidence_interval.upper_bound.double_value.value = high


@pytest.mark.parametrize(
    ("reason", "policy", "change"),
    [
        (Reason.NOT_A_NUMBER, NOTHING_WRONG, no_number),
        (Reason.NO_EXAMPLES, NOTHING_WRONG, no_examples),
        (Reason.EXAMPLES_NOT_COUNTED, replace(NOTHING_WRONG, min_examples=2), not_counted),
        (Reason.INTERVAL_UNUSABLE, SURELY, lambda pair: around(pair, 0.9, 0.1)),
        (Reason.NOT_CONFIDENT, SURELY, lambda pair: around(pair, -0.1, 0.9)),
    ],
    ids=lambda value: value.value if isinstance(value, Reason) else "",
)
def test_numbers_that_prove_nothing(
    reason: Reason,
    policy: GatePolicy,
    change: Callable[[Any], None],
    codes: Any,
    evaluated: Any,
    tmp_path: Path,
) -> None:
    result = changed(evaluated.bad_against_good, tmp_path / "changed", change)
    assert codes(policy, result) == {reason}
    # The same without the change is let pass, or only has no intervals.
    if policy is SURELY:
        assert codes(policy, evaluated.bad_against_good) == {Reason.INTERVAL_MISSING}
