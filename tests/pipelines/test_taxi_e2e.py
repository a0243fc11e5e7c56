"""The taxi pipeline, run by LocalDagRunner: a pipeline that has nothing in common with penguins."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.cli.main import main
from tfx_registry.gate import GatePolicy, Reason, SliceSpec
from tfx_registry.gating import report_of
from tfx_registry.pipelines.taxi import hyperparameters
from tfx_registry.pipelines.taxi.data import generate_trips, split_trips
from tfx_registry.pipelines.taxi.policy import HOURS, default_policy
from tfx_registry.records import Version, VersionState
from tfx_registry.registry.lineage_graph import LineageGraph, Node, NodeKind

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]

NIGHT = {str(hour) for hour in hyperparameters.NIGHT}


@pytest.fixture(scope="module")
def registry(taxi: Any) -> Iterator[ModelRegistry]:
    with ModelRegistry.open(taxi.uri, create=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def versions(registry: ModelRegistry) -> tuple[Version, Version]:
    first, second = registry.list_versions("taxi", newest_first=False)
    return first, second


def test_the_good_model_serves_and_the_broken_one_is_blocked(
    taxi: Any, versions: tuple[Version, Version]
) -> None:
    first, second = versions
    assert (first.state, second.state) == (VersionState.SERVING, VersionState.BLOCKED)
    assert second.decision is not None
    assert second.decision.baseline == 1
    assert [p.name for p in taxi.serving.iterdir() if p.name.isdigit()] == ["1"]
    assert first.hyperparameters["deep_units"] == "[32, 16]"
    assert second.hyperparameters["night_tips_lost"] == "True"


def test_metrics_of_every_hour_are_in_the_registry(
    registry: ModelRegistry, versions: tuple[Version, Version]
) -> None:
    first, second = versions
    for version in versions:
        hours = {m.slice for m in version.metrics if m.name == "auc"}
        assert hours == {(), *((("trip_start_hour", hour),) for hour in HOURS)}
    assert first.metric("auc") > 0.8
    counts = [first.metric("example_count", at(hour)) for hour in HOURS]
    assert sum(count or 0 for count in counts) == first.metric("example_count")
    assert second.metric("binary_accuracy", at("0")) < first.metric("binary_accuracy", at("0"))
    found = registry.search("metrics.binary_accuracy[trip_start_hour='0'] > 0.75")
    assert [version.number for version in found] == [1]


def test_the_report_names_the_hours_that_are_wrong(registry: ModelRegistry) -> None:
    decision = registry.decision("taxi", 2)
    assert decision is not None
    report = report_of(decision)
    assert report is not None
    hours = [check for check in report.failures if check.slice]
    assert len(hours) >= 3
    assert {value for check in hours for _, value in check.slice} <= NIGHT
    assert {(check.metric, check.reason) for check in hours} == {
        ("binary_accuracy", Reason.BELOW_LOWER_BOUND)
    }


def test_the_transform_graph_is_in_the_lineage(
    registry: ModelRegistry, versions: tuple[Version, Version]
) -> None:
    sources = {source.key: source for source in versions[0].sources}
    assert sources["transform_graph"].type_name == "TransformGraph"
    assert sources["transform_graph"].digest
    graph = registry.lineage("taxi", 1)
    [trainer] = executions(graph, "Trainer")
    made_from = dict(graph.upstream(trainer.id))
    assert set(made_from) == {"examples", "transform_graph", "schema"}
    assert "transformed_examples" in made_from["examples"].uri
    assert made_from["transform_graph"].uri == sources["transform_graph"].uri
    [transform] = executions(graph, "Transform")
    assert graph.upstream(made_from["transform_graph"].id)[0][1] == transform
    # The second run found Transform in the cache: the same graph, of the first run.
    again = {source.key: source.uri for source in versions[1].sources}
    assert again["transform_graph"] == sources["transform_graph"].uri


def executions(graph: LineageGraph, name: str) -> list[Node]:
    found = [node for node in graph.nodes if node.kind is NodeKind.EXECUTION]
    return [node for node in found if node.type_name.rpartition(".")[2] == name]


def test_rules_on_slices_hold_for_hours(
    taxi: Any,
    registry: ModelRegistry,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    decision = registry.decision("taxi", 1)
    assert decision is not None
    numbers = decision.report["evaluation"]

    def ask(policy: GatePolicy) -> tuple[int, list[str]]:
        """What would the gate say of the first version by another policy?"""
        file = tmp_path / "policy.yaml"
        file.write_text(policy.to_yaml(), encoding="utf-8")
        asked = ["--json", "gate", "taxi:1", "--policy", str(file), "--evaluation", numbers]
        capsys.readouterr()
        code = main(["--registry", taxi.uri, *asked])
        checks = json.loads(capsys.readouterr().out)["report"]["checks"]
        return code, [check["message"] for check in checks if not check["passed"]]

    policy = default_policy()
    assert ask(policy) == (0, [])

    code, reasons = ask(dataclasses.replace(policy, min_examples=50))
    assert code == 4
    sizes = {hour: registry.get("taxi", 1).metric("example_count", at(hour)) for hour in HOURS}
    assert reasons == [
        f"slice trip_start_hour={hour}: {size:.0f} examples are fewer than 50"
        for hour, size in sorted(sizes.items())
        if size is not None and size < 50
    ]
    assert reasons

    missing = SliceSpec(feature_values={"trip_start_hour": "24"})
    code, reasons = ask(dataclasses.replace(policy, required_slices=(missing,)))
    assert code == 4
    assert reasons == ["slice trip_start_hour=24 is missing in the evaluation"]


def at(hour: str) -> tuple[tuple[str, str], ...]:
    """The slice of an hour."""
    return (("trip_start_hour", hour),)


def test_the_published_model_answers_for_raw_trips(taxi: Any) -> None:
    import tensorflow as tf

    _, trips = split_trips(list(generate_trips()))
    model = tf.saved_model.load(str(taxi.serving / "1"))
    answer = model.signatures["serving_default"](
        examples=tf.constant([serialized(trip) for trip in trips[:400]])
    )
    probability = answer["probability"].numpy()[:, 0]
    by_card = [trip["payment_type"] == "Credit Card" for trip in trips[:400]]
    assert probability.shape == (400,)
    assert ((probability >= 0) & (probability <= 1)).all()
    assert probability[by_card].mean() > 5 * probability[[not card for card in by_card]].mean()


def serialized(trip: dict[str, str]) -> bytes:
    """Writes a trip as a caller would: without a tip, and without what it does not know."""
    import tensorflow as tf

    example = tf.train.Example()
    for name, text in trip.items():
        if name == "tips" or not text:
            continue
        feature = example.features.feature[name]
        if name in ("payment_type", "company"):
            feature.bytes_list.value.append(text.encode())
        elif "." in text:
            feature.float_list.value.append(float(text))
        else:
            feature.int64_list.value.append(int(text))
    return bytes(example.SerializeToString())
