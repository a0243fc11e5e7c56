"""Lineage on every store, and inside the ML Metadata of a pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_registry import ModelRegistry
from tfx_registry.errors import NotFoundError
from tfx_registry.records import LineageSource, Origin, Verdict, Version
from tfx_registry.registry import lineage, mlmd_lineage
from tfx_registry.registry.events import Decided
from tfx_registry.registry.lineage_graph import LineageGraph, NodeKind
from tfx_registry.registry.lineage_render import dot, tree
from tfx_registry.registry.memory_store import MemoryStore

HOSTILE = "it's \\ ~ ~1 \" ; -> [label] { \u00e9 日本"

#: Stores that may hold a pipeline.
in_ml_metadata = pytest.mark.parametrize(
    "uri", ["sqlite", "mysql", "postgresql", "grpc"], indirect=True
)


def decide(registry: ModelRegistry, number: int, verdict: Verdict, **fields: Any) -> None:
    version = registry.get("penguin", number)
    now = registry.serving("penguin")
    fields.setdefault("serving_seq", now.seq if now else 0)
    reasons = () if verdict is Verdict.PASSED else ("overall: auc 0.4 is below 0.9",)
    registry.record_decision(
        "penguin",
        Decided(number, verdict, version.digest, "production", reasons=reasons, **fields),
        actor="gate",
    )


def effects(graph: LineageGraph) -> list[tuple[str, str]]:
    return [(role, node.label) for role, node in graph.downstream(graph.root)]


def causes(graph: LineageGraph, node_id: str | None = None) -> list[tuple[str, str]]:
    return [(role, node.label) for role, node in graph.upstream(node_id or graph.root)]


def test_the_recorded_sources_are_upstream(registry: ModelRegistry, plain_model: Path) -> None:
    registry.register(
        "penguin",
        plain_model,
        sources=[
            LineageSource("examples", "Examples", f"/data/{HOSTILE}", {"span": "7"}),
            LineageSource("examples", "Examples", "/data/2"),
            LineageSource(HOSTILE, HOSTILE, "/other", digest="5c"),
        ],
        origin=Origin("nightly", "run-7"),
    )
    graph = registry.lineage("penguin", 1)
    assert sorted(causes(graph)) == sorted(
        [
            ("examples", f"Examples /data/{HOSTILE}"),
            ("examples", "Examples /data/2"),
            (HOSTILE, f"{HOSTILE} /other"),
        ]
    )
    nodes = {node.uri: node for node in graph.nodes}
    assert nodes[f"/data/{HOSTILE}"].properties["span"] == "7"
    assert nodes["/other"].properties["digest"] == "5c"
    assert graph.node(graph.root).properties["run"] == "run-7"
    assert not graph.truncated
    assert len({node.id for node in graph.nodes}) == len(graph.nodes) == 4
    for text in (tree(graph, 80), dot(graph), str(graph.to_json())):
        assert "/data/2" in text


def test_long_and_odd_places_come_back_as_they_are(
    registry: ModelRegistry, plain_model: Path
) -> None:
    places = ["/data/\n\x1b", f"/{'x' * 3000}/a", f"/{'x' * 3000}/b"]
    sources = [LineageSource("examples", "Examples\t", place) for place in places]
    registry.register("penguin", plain_model, sources=sources)
    graph = registry.lineage("penguin", 1)
    assert sorted(node.uri for _, node in graph.upstream(graph.root)) == sorted(places)
    assert len(graph.nodes) == 4


def test_the_same_source_twice_is_one_node(registry: ModelRegistry, plain_model: Path) -> None:
    source = LineageSource("examples", "Examples", "/data/1")
    for _ in range(2):
        registry.register("penguin", plain_model, sources=[source, source])
    graph = registry.lineage("penguin", 2)
    assert causes(graph) == [
        ("examples", "Examples /data/1"),
        ("same bytes", "penguin:1 (registered)"),
    ]


def test_what_came_of_a_version(registry: ModelRegistry, plain_model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"other")
    registry.register("penguin", plain_model)
    registry.set_alias("penguin", "champion", 1, actor="ada")
    decide(registry, 1, Verdict.PASSED)
    registry.record_intent("penguin", 1, "/serving", "production")
    registry.record_promotion("penguin", 1, "/serving", "production", actor="ada")
    registry.register("penguin", plain_model)  # the same bytes
    registry.register("penguin", other, sources=[LineageSource("base", "Model", str(plain_model))])
    decide(registry, 3, Verdict.BLOCKED, baseline=1)
    decide(registry, 2, Verdict.PASSED, baseline=1)
    registry.record_promotion("penguin", 2, "/serving", "production", actor="ada")
    registry.set_alias("penguin", "champion", 2)
    registry.set_alias("penguin", "fallback", 1, actor="bob")

    first = registry.lineage("penguin", 1)
    assert causes(first) == []
    assert effects(first) == [
        ("alias", "alias champion, set by ada"),
        ("decision", "passed, by gate"),
        ("deployment", "serves as production in /serving"),
        ("same bytes", "penguin:2 (serving, @champion, @production)"),
        ("base", "penguin:3 (blocked)"),
        ("baseline", "penguin:3 blocked against version 1, by gate"),
        ("baseline", "penguin:2 passed against version 1, by gate"),
        ("alias", "alias fallback, set by bob"),
    ]
    held = {
        node.label: node.properties["current"]
        for node in first.nodes
        if node.kind in (NodeKind.ALIAS, NodeKind.DEPLOYMENT)
    }
    assert held == {
        "alias champion, set by ada": "no",
        "serves as production in /serving": "no",
        "alias fallback, set by bob": "yes",
    }
    blocked = next(n for n in first.nodes if n.properties.get("verdict") == "blocked")
    assert blocked.properties["reasons"] == "overall: auc 0.4 is below 0.9"
    assert ("candidate", "penguin:3 (blocked)") in causes(first, blocked.id)

    second = registry.lineage("penguin", 2)
    assert causes(second) == [("same bytes", "penguin:1 (passed, @fallback)")]
    [decision] = [n for n in second.nodes if n.kind is NodeKind.DECISION]
    assert ("baseline", "penguin:1 (passed, @fallback)") in causes(second, decision.id)
    assert [n.properties["current"] for n in second.nodes if n.kind is NodeKind.DEPLOYMENT] == [
        "yes"
    ]


def test_a_version_made_from_a_version_of_another_model(
    registry: ModelRegistry, plain_model: Path, tmp_path: Path
) -> None:
    tuned = tmp_path / "tuned"
    tuned.write_bytes(b"tuned")
    registry.register("base", plain_model)
    source = LineageSource("base_model", "Model", str(plain_model))
    registry.register("tuned", tuned, sources=[source])
    graph = registry.lineage("tuned", 1)
    [(role, artifact)] = graph.upstream(graph.root)
    assert (role, artifact.uri) == ("base_model", str(plain_model))
    assert causes(graph, artifact.id) == [("is", "base:1 (registered)")]


def test_approvals_are_downstream_and_label_edits_are_not(
    registry: ModelRegistry, plain_model: Path
) -> None:
    registry.register("penguin", plain_model, actor="ada")
    decide(registry, 1, Verdict.PASSED)
    registry.set_label("penguin", 1, "team", "birds", actor="ada")
    registry.approve("penguin", 1, actor="bob", reason="looks good")
    labels = [label for _, label in effects(registry.lineage("penguin", 1))]
    assert labels == ["passed, by gate", "approved by bob: looks good"]


def test_a_clock_that_went_backwards_loses_nothing(
    registry: ModelRegistry, plain_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineage, "_BATCH", 3)
    times = iter(range(99, 0, -1))
    monkeypatch.setattr(registry, "_now", lambda: f"2024-01-01T00:00:{next(times):02}.000000Z")
    for _ in range(8):
        registry.register("penguin", plain_model)
    registry.set_alias("penguin", "champion", 3)
    for number in range(1, 8):
        labels = effects(registry.lineage("penguin", number))
        assert (
            "same bytes",
            f"penguin:{number + 1} (registered{', @champion' * (number == 2)})",
        ) in (labels)


def test_no_such_version(registry: ModelRegistry) -> None:
    with pytest.raises(NotFoundError):
        registry.lineage("penguin", 1)


class Pipeline:
    """Writes what a pipeline writes, through the connection of the registry."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._session = registry._store._session  # type: ignore[attr-defined]

    def ask(self, function: Callable[[Any], Any]) -> Any:
        return self._session.read(function)

    def artifact(self, type_name: str, uri: str, **properties: str) -> int:
        type_id = self.ask(lambda s: s.put_artifact_type(pb.ArtifactType(name=type_name)))
        node = pb.Artifact(type_id=type_id, uri=uri)
        for key, value in {"tfx_version": "1.16.0", **properties}.items():
            node.custom_properties[key].string_value = value
        [artifact_id] = self.ask(lambda s: s.put_artifacts([node]))
        return int(artifact_id)

    def run(
        self,
        component: str,
        inputs: dict[str, int],
        outputs: dict[str, int],
        run: str,
        **known: str,
    ) -> None:
        type_name = f"tfx.components.{component.lower()}.component.{component}"
        type_id = self.ask(lambda s: s.put_execution_type(pb.ExecutionType(name=type_name)))
        run_type = self.ask(lambda s: s.put_context_type(pb.ContextType(name="pipeline_run")))
        execution = pb.Execution(type_id=type_id, last_known_state=pb.Execution.COMPLETE)
        for key, value in known.items():
            execution.custom_properties[key].string_value = value
        pairs = [self._pair(pb.Event.INPUT, *item) for item in inputs.items()]
        pairs += [self._pair(pb.Event.OUTPUT, *item) for item in outputs.items()]
        found = self.ask(lambda s: s.get_context_by_type_and_name("pipeline_run", run))
        context = found or pb.Context(type_id=run_type, name=run)
        self.ask(lambda s: s.put_execution(execution, pairs, [context]))

    def _pair(self, kind: int, role: str, artifact_id: int) -> tuple[None, pb.Event]:
        step = pb.Event.Path.Step(key=role)
        path = pb.Event.Path(steps=[step, pb.Event.Path.Step(index=0)])
        return None, pb.Event(type=kind, artifact_id=artifact_id, path=path)


def trained(registry: ModelRegistry, model: Path, run: str, base: int | None = None) -> int:
    """One run: examples -> statistics -> schema -> trainer -> model, then registered."""
    pipeline = Pipeline(registry)
    examples = pipeline.artifact("Examples", f"/{run}/examples", span="7")
    statistics = pipeline.artifact("ExampleStatistics", f"/{run}/statistics")
    schema = pipeline.artifact("Schema", f"/{run}/schema")
    made = pipeline.artifact("Model", str(model))
    pipeline.run("CsvExampleGen", {}, {"examples": examples}, run, input_base="/csv")
    pipeline.run("StatisticsGen", {"examples": examples}, {"statistics": statistics}, run)
    pipeline.run("SchemaGen", {"statistics": statistics}, {"schema": schema}, run)
    inputs = {"examples": examples, "schema": schema} | ({"base_model": base} if base else {})
    pipeline.run("Trainer", inputs, {"model": made}, run, secret="x" * 500)
    # A second run takes the examples from the cache and claims them as well.
    pipeline.run("CsvExampleGen", {}, {"examples": examples}, f"{run}-again")
    registry.register(
        "penguin",
        model,
        sources=[
            LineageSource("examples", "Examples", f"/{run}/examples", {"span": "7"}),
            LineageSource("model", "Model", str(model)),
        ],
        origin=Origin("p", run, artifact_uri=str(model)),
    )
    return made


def path_of(graph: LineageGraph, *roles: str) -> str:
    """Follows roles upstream; "by" goes to the execution that made an artifact."""
    node = graph.node(graph.root)
    for role in roles:
        found: Sequence[tuple[str, Any]] = graph.upstream(node.id)
        [node] = [
            n for r, n in found if r == role or (role == "by" and n.kind is NodeKind.EXECUTION)
        ]
    return node.label


@in_ml_metadata
def test_the_walk_goes_back_to_where_data_came_in(
    registry: ModelRegistry, plain_model: Path
) -> None:
    trained(registry, plain_model, "run-1")
    graph = registry.lineage("penguin", 1)
    assert path_of(graph, "examples", "by") == "CsvExampleGen, run run-1"
    assert path_of(graph, "model", "by") == "Trainer, run run-1"
    assert path_of(graph, "model", "by", "schema", "by", "statistics", "by", "examples") == (
        "Examples /run-1/examples"
    )
    assert len(graph.nodes) == 1 + 4 + 4
    [generator] = [n for n in graph.nodes if n.type_name.endswith("CsvExampleGen")]
    assert generator.properties["input_base"] == "/csv"
    assert "secret" not in str(graph.to_json())
    shown = tree(graph, 80)
    assert "made by CsvExampleGen, run run-1, from /csv" in shown
    assert "(as above)" in shown
    assert max(map(len, shown.splitlines())) <= 80


@in_ml_metadata
def test_the_walk_finds_the_version_that_a_model_was_trained_from(
    registry: ModelRegistry, plain_model: Path, tmp_path: Path
) -> None:
    base = trained(registry, plain_model, "run-1")
    tuned = tmp_path / "tuned"
    tuned.write_bytes(b"tuned")
    trained(registry, tuned, "run-2", base=base)
    graph = registry.lineage("penguin", 2)
    assert path_of(graph, "model", "by", "base_model", "is") == "penguin:1 (registered)"
    # What the base itself came from is there, too.
    assert path_of(graph, "model", "by", "base_model", "by") == "Trainer, run run-1"


def made_from(graph: LineageGraph) -> list[tuple[str, str]]:
    """The versions that were made from the root, each with the role of the root."""
    return sorted(
        (role, node.label)
        for role, node in graph.downstream(graph.root)
        if node.kind is NodeKind.VERSION
    )


def test_versions_of_other_models_that_were_made_from_a_version(
    registry: ModelRegistry, plain_model: Path, tmp_path: Path
) -> None:
    registry.register("base", plain_model)
    for index, name in enumerate(("tuned", "Distilled", "base", "other")):
        path = tmp_path / name
        path.write_text(name, encoding="utf-8")
        sources = [LineageSource(f"role{index}", "Model", str(plain_model))]
        sources += [LineageSource("examples", "Examples", "/data/1")]
        registry.register(name, path, sources=sources if name != "other" else sources[1:])
    registry.register("copy", plain_model, sources=[LineageSource("m", "Model", str(plain_model))])
    graph = registry.lineage("base", 1)
    assert made_from(graph) == [
        ("role0", "tuned:1 (registered)"),
        ("role1", "Distilled:1 (registered)"),
        ("role2", "base:2 (registered)"),
    ]
    assert "role1: Distilled:1" in tree(graph)
    assert made_from(registry.lineage("tuned", 1)) == []
    up = registry.lineage("tuned", 1)
    [(_, artifact)] = [cause for cause in up.upstream(up.root) if cause[0] == "role0"]
    # Two versions were registered from there.
    assert ("is", "base:1 (registered)") in causes(up, artifact.id)


@in_ml_metadata
def test_versions_that_a_pipeline_made_from_a_version(
    registry: ModelRegistry, plain_model: Path, tmp_path: Path
) -> None:
    """Over executions, and over models between that nobody registered; not beyond a version."""
    pipeline = Pipeline(registry)
    base = trained(registry, plain_model, "run-1")
    tuned = tmp_path / "tuned"
    tuned.write_bytes(b"tuned")
    second = trained(registry, tuned, "run-2", base=base)
    between = pipeline.artifact("Model", "/between")
    pipeline.run("Rewriter", {"model": base}, {"model": between}, "run-3")
    small = tmp_path / "small"
    small.write_bytes(b"small")
    converted = pipeline.artifact("Model", str(small))
    pipeline.run("Converter", {"model": between}, {"model": converted}, "run-3")
    registry.register("mobile", small, origin=Origin("p", "run-3", artifact_uri=str(small)))
    third = tmp_path / "third"
    third.write_bytes(b"third")
    trained(registry, third, "run-4", base=second)
    # What only looked at the model made nothing from it.
    evaluation = pipeline.artifact("ModelEvaluation", "/evaluation")
    pipeline.run("Evaluator", {"model": base}, {"evaluation": evaluation}, "run-1")
    assert made_from(registry.lineage("penguin", 1)) == [
        ("base_model", "penguin:2 (registered)"),
        ("model", "mobile:1 (registered)"),
    ]
    assert made_from(registry.lineage("penguin", 2)) == [("base_model", "penguin:3 (registered)")]
    assert made_from(registry.lineage("mobile", 1)) == []


@in_ml_metadata
def test_sources_of_several_pipelines_are_copied_once(
    registry: ModelRegistry, plain_model: Path
) -> None:
    """The pipelines have databases of their own; here their artifacts get stable keys."""
    shared = LineageSource("examples", "Examples", "/data/1", {"span": "1"})
    for run, model in enumerate(("penguin", "auk", "penguin", "penguin")):
        registry.register(
            model,
            plain_model,
            sources=[
                shared,
                LineageSource("schema", "Schema", f"/{model}/schema"),
                LineageSource("examples", "Statistics", "/data/1"),
            ],
            origin=Origin(f"pipeline-{model}", f"run-{run}"),
            idempotency_key=f"run-{min(run, 2)}",  # the last is a retry
        )
    nodes = Pipeline(registry).ask(
        lambda s: s.get_artifacts_by_type("tfx_registry.registry.Source")
    )
    assert sorted((n.custom_properties["type_name"].string_value, n.uri) for n in nodes) == [
        ("Examples", "/data/1"),
        ("Schema", "/auk/schema"),
        ("Schema", "/penguin/schema"),
        ("Statistics", "/data/1"),
    ]
    assert [head.latest for head in registry.list_models()] == [1, 2]
    for model in ("penguin", "auk"):
        assert ("examples", "Examples /data/1") in causes(registry.lineage(model, 1))
        assert len(causes(registry.lineage(model, 1))) == 3


def test_base_decisions_and_deployments_are_in_every_form(
    registry: ModelRegistry, plain_model: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    base.write_bytes(b"base")
    registry.register("base", base)
    source = LineageSource("base_model", "Model", str(base))
    registry.register("penguin", plain_model, sources=[source])
    decide(registry, 1, Verdict.BLOCKED)
    decide(registry, 1, Verdict.PASSED)
    registry.record_promotion("penguin", 1, "/serving/penguin", "production", actor="ada")
    graph = registry.lineage("penguin", 1)
    for text in (tree(graph, 100), dot(graph), json.dumps(graph.to_json())):
        for expected in (
            "base:1 (registered)",
            "base_model",
            "blocked, by gate",
            "passed, by gate",
            "serves as production in /serving/penguin",
        ):
            assert expected in text, text


@in_ml_metadata
def test_a_long_past_is_cut_and_says_so(
    registry: ModelRegistry, plain_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(registry, plain_model, "run-1")
    monkeypatch.setattr(mlmd_lineage, "MAX_NODES", 4)
    graph = registry.lineage("penguin", 1)
    assert graph.truncated
    assert "the walk ended at its bound" in tree(graph)
    ids = {node.id for node in graph.nodes}
    assert all(edge.source in ids and edge.target in ids for edge in graph.edges)


@pytest.mark.parametrize("uri", ["sqlite"], indirect=True)
def test_a_circle_ends(registry: ModelRegistry, plain_model: Path) -> None:
    pipeline = Pipeline(registry)
    a, b = pipeline.artifact("Examples", "/a"), pipeline.artifact("Examples", "/b")
    pipeline.run("Forth", {"in": a}, {"out": b}, "run")
    pipeline.run("Back", {"in": b}, {"out": a}, "run")
    registry.register("penguin", plain_model, sources=[LineageSource("examples", "Examples", "/a")])
    graph = registry.lineage("penguin", 1)
    assert len(graph.nodes) == 5
    assert tree(graph).count("(as above)") == 1


@pytest.mark.parametrize("uri", ["sqlite"], indirect=True)
def test_a_long_chain_of_runs_is_shown(registry: ModelRegistry, plain_model: Path) -> None:
    pipeline = Pipeline(registry)
    before = pipeline.artifact("Examples", "/0")
    for step in range(1, 240):
        after = pipeline.artifact("Examples", f"/{step}")
        pipeline.run("Transform", {"in": before}, {"out": after}, "run")
        before = after
    last = LineageSource("examples", "Examples", "/239")
    registry.register("penguin", plain_model, sources=[last])
    graph = registry.lineage("penguin", 1)
    assert "Examples /0" in tree(graph)
    assert max(map(len, dot(graph).splitlines())) < 300


def test_the_lineage_of_one_version_in_memory_reads_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ModelRegistry.open("memory://") as registry:
        before: tuple[LineageSource, ...] = ()
        for number in range(1, 31):
            path = tmp_path / f"model{number}"
            path.write_text(str(number), encoding="utf-8")
            registry.register("penguin", path, sources=before)
            before = (LineageSource("base_model", "Model", str(path)),)
        store = registry._store
        assert isinstance(store, MemoryStore)
        places, looked = store._places, []
        read = places._read

        def count(key: tuple[str, int]) -> Version | None:
            looked.append(key)
            return read(key)

        monkeypatch.setattr(places, "_read", count)
        graph = registry.lineage("penguin", 15)
        assert looked == [("penguin", 14), ("penguin", 16)]
        found = {node.id for node in graph.nodes if node.kind is NodeKind.VERSION}
        assert found == {f"version:penguin:{number}" for number in (14, 15, 16)}
