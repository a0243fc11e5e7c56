"""What a page knows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.errors import NotFoundError
from tfx_registry.pages import FORMAT, model_document


def test_it_is_strict_json_and_says_what_it_is(document: dict[str, Any]) -> None:
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["format"] == FORMAT
    assert document["made"] == "2026-09-14T00:00:00.000000Z"


def test_every_version_decision_and_event_is_in_it(
    registry: ModelRegistry, document: dict[str, Any]
) -> None:
    assert [v["number"] for v in document["versions"]] == list(range(1, 13))
    history = registry.history("penguin")
    assert [row[0] for row in document["history"]["rows"]] == [event.seq for event in history]
    decided = {v.number: v.decision for v in registry.list_versions("penguin") if v.decision}
    assert {d["number"]: tuple(d["reasons"]) for d in document["decisions"]} == {
        number: decision.reasons for number, decision in decided.items()
    }


def test_a_decision_says_in_which_pipeline_run_it_was_made(document: dict[str, Any]) -> None:
    assert document["decisions"][0]["run"] == {
        "pipeline_name": "penguin-nightly",
        "run_id": "run-0001",
        "node_id": "VersionGate",
    }


def test_the_story_is_told(document: dict[str, Any]) -> None:
    assert [d["number"] for d in document["serving"]] == [11]
    assert [d["number"] for d in document["trials"]] == [12]
    assert [o["number"] for o in document["overrides"]] == [8]
    states = {v["number"]: v["state"] for v in document["versions"]}
    assert (states[3], states[7], states[10]) == ("blocked", "rejected", "archived")
    (back,) = [p for p in document["periods"] if p["ended_by"] == "rolled_back"]
    assert back["number"] == 6


def test_metrics_come_by_slice_with_interval_and_bound(document: dict[str, Any]) -> None:
    metrics = document["metrics"]
    (torgersen,) = [
        one for one in metrics["series"]
        if one["metric"] == "auc" and one["features"] == {"island": "Torgersen"}
    ]  # fmt: skip
    points = {
        row[0]: dict(zip(metrics["columns"], row, strict=False)) for row in torgersen["points"]
    }
    assert 10 not in points  # archived before anybody decided
    assert points[3]["passed"] is False
    assert points[3]["lower"] < points[3]["value"] < points[3]["upper"]
    assert points[3]["lower_bound"] == 0.9
    assert points[4]["passed"] is True


def test_what_versions_share_is_in_it_once(document: dict[str, Any]) -> None:
    assert document["tables"]["libraries"] == [{"tensorflow": "2.16.2", "tfx": "1.16.0"}]
    assert {v["origin"]["libraries"] for v in document["versions"]} == {0}


def test_whole_lineages_are_those_of_what_serves_and_of_the_newest(
    registry: ModelRegistry,
) -> None:
    few = model_document(registry, "penguin", graphs=3)
    assert sorted(few["lineage"]) == ["10", "11", "12"]
    older = model_document(registry, "penguin", graphs=2)
    assert sorted(older["lineage"]) == ["11", "12"]
    labels = [node["label"] for node in few["lineage"]["11"]["nodes"]]
    assert "serves as production in /srv/models/penguin" in labels


def test_a_model_that_is_not_there_is_named(registry: ModelRegistry) -> None:
    with pytest.raises(NotFoundError, match="penguim"):
        model_document(registry, "penguim")
