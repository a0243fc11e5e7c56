"""Search, comparison and lineage of what the demo wrote: a real pipeline's ML Metadata."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.pipelines.penguin.policy import ACCURACY
from tfx_registry.registry.lineage_graph import LineageGraph, NodeKind
from tfx_registry.registry.lineage_render import tree

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def registry(demo) -> Iterator[ModelRegistry]:
    with ModelRegistry.open(demo.uri, create=False) as opened:
        yield opened


def executions(graph: LineageGraph) -> set[str]:
    kinds = (n.type_name for n in graph.nodes if n.kind is NodeKind.EXECUTION)
    return {name.rpartition(".")[2] for name in kinds}


def test_lineage_goes_back_to_the_data(registry: ModelRegistry) -> None:
    for number in (1, 2, 3):
        graph = registry.lineage("penguin", number)
        assert executions(graph) >= {"CsvExampleGen", "StatisticsGen", "SchemaGen", "Trainer"}
        assert not graph.truncated
        [trainer] = [n for n in graph.nodes if n.type_name.endswith(".Trainer")]
        origin = registry.get("penguin", number).origin
        assert trainer.properties["run"] == origin.run_id
        assert trainer.properties["pipeline"] == origin.pipeline_name
        [model] = [node for role, node in graph.upstream(graph.root) if role == "model"]
        assert model.uri == origin.artifact_uri
        assert graph.upstream(model.id) == [("model", trainer)]
        assert all(len(line) <= 80 for line in tree(graph, 80).splitlines())


def test_lineage_goes_on_to_what_serves(registry: ModelRegistry) -> None:
    first = [label for label in labels(registry, 1) if "against version 1" in label]
    assert sorted(first) == [
        "penguin:2 blocked against version 1, by ada",
        "penguin:3 passed against version 1, by ada",
    ]
    assert any(label.startswith("serves as production in") for label in labels(registry, 3))
    assert len(labels(registry, 2)) == 1


def labels(registry: ModelRegistry, number: int) -> list[str]:
    graph = registry.lineage("penguin", number)
    return [node.label for _, node in graph.downstream(graph.root)]


def test_search_by_slice(registry: ModelRegistry) -> None:
    found = registry.search(f"metrics.{ACCURACY}[island='Dream'] < 0.6")
    assert [version.number for version in found] == [2]
    best = registry.search(order_by=f"metrics.{ACCURACY} desc", limit=1)
    assert [version.number for version in best] == [3]


def test_compare(registry: ModelRegistry) -> None:
    comparison = registry.compare("penguin:1", "penguin@production")
    assert comparison.relation == ("penguin:3 passed against penguin:1",)
    assert comparison.same_signatures
    accuracy = next(m for m in comparison.metrics if m.name == ACCURACY and m.slice == ())
    assert accuracy.delta is not None
    assert accuracy.delta > 0
