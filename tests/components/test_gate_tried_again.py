"""A VersionGate that is tried again before the promotion, as where its worker was lost."""

from __future__ import annotations

from typing import Any

from tfx.components.util import model_utils

from tfx_registry import ModelRegistry
from tfx_registry.gate import GatePolicy, ValueThreshold

STRICTER = GatePolicy([ValueThreshold("binary_accuracy", lower_bound=0.1)])


def test_the_same_decision_is_recorded_once(pipeline: Any, evaluated: Any) -> None:
    for model, evaluation in (
        (evaluated.good, evaluated.good_alone),
        (evaluated.bad, evaluated.bad_alone),
    ):
        version = pipeline.register(model)
        blessing, first = pipeline.gate(version, model, evaluation)
        before = pipeline.events()
        again, second = pipeline.gate(version, model, evaluation)
        assert second.to_json() == first.to_json()
        assert model_utils.is_model_blessed(again) == model_utils.is_model_blessed(blessing)
        assert pipeline.events() == before


def test_another_decision_is_recorded(pipeline: Any, evaluated: Any) -> None:
    version = pipeline.register(evaluated.good)
    pipeline.gate(version, evaluated.good, evaluated.good_alone)
    before = pipeline.events()
    pipeline.gate(version, evaluated.good, evaluated.good_alone, STRICTER)
    assert pipeline.events() == before + 1
    pipeline.gate(version, evaluated.good, evaluated.good_alone)
    assert pipeline.events() == before + 2


def test_what_happened_to_the_version_meanwhile_is_decided_on(
    pipeline: Any, evaluated: Any, uri: str
) -> None:
    version = pipeline.register(evaluated.good)
    pipeline.gate(version, evaluated.good, evaluated.good_alone)
    with ModelRegistry.open(uri) as registry:
        [registered] = pipeline.versions()
        registry.set_label(registered.model, registered.number, "team", "birds")
    before = pipeline.events()
    pipeline.gate(version, evaluated.good, evaluated.good_alone)
    assert pipeline.events() == before + 1
