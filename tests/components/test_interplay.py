"""Our components among stock ones, run by LocalDagRunner: blessings, cache, retries, lineage."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tensorflow_model_analysis as tfma
from google.protobuf import text_format
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx import v1 as tfx
from tfx.dsl.compiler import compiler
from tfx.orchestration.portable import runtime_parameter_utils
from tfx.types import standard_artifacts

from tfx_registry import ModelRegistry
from tfx_registry.components import ModelRegistrar, Promoter, VersionGate
from tfx_registry.components.model_registrar import executor as registrar_executor
from tfx_registry.gate import BaselineRule, GatePolicy, ValueThreshold
from tfx_registry.operations import Retention
from tfx_registry.records import Version, VersionState
from tfx_registry.registry.lineage_graph import LineageGraph, NodeKind
from tfx_registry.testing.beam_workers import IN_PROCESS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CONFIG = text_format.Parse(
    """
    model_specs { label_key: "label" }
    metrics_specs {
      metrics {
        class_name: "BinaryAccuracy"
        threshold { value_threshold { lower_bound { value: 0.6 } } }
      }
      metrics { class_name: "ExampleCount" }
    }
    slicing_specs {}
    slicing_specs { feature_keys: "age" }
    """,
    tfma.EvalConfig(),
)
AS_EVALUATOR = dataclasses.replace(GatePolicy.from_eval_config(CONFIG), baseline=BaselineRule.ALLOW)
LENIENT = GatePolicy(
    [ValueThreshold("binary_accuracy", lower_bound=0.1)], baseline=BaselineRule.ALLOW
)
USER_MODULE = """
import shutil

import keras_tuner
from tfx import v1 as tfx


class Search(keras_tuner.RandomSearch):
    def run_trial(self, trial, **_):
        return (trial.hyperparameters.Float("rate", 0.1, 0.5, default=0.25) - 0.25) ** 2


def tuner_fn(fn_args):
    search = Search(objective=keras_tuner.Objective("loss", "min"), max_trials=1, seed=1,
                    directory=fn_args.working_dir, project_name="search")
    return tfx.components.TunerFnResult(tuner=search, fit_kwargs={})


def run_fn(fn_args):
    assert fn_args.base_model and fn_args.hyperparameters["values"]["rate"]
    shutil.copytree(fn_args.custom_config["take"], fn_args.serving_model_dir)
"""


@dataclass
class Runs:
    """A pipeline with stock components around ours, and what its runs said.

    Attributes:
        root: Where everything is.
        good: Model that is right on everybody.
        bad: Model that is wrong on the old.
        examples: URI of the examples.
        said: What our components logged, by run.
    """

    root: Path
    good: Path
    bad: Path
    examples: str
    said: dict[str, list[str]] = field(default_factory=dict)

    @property
    def metadata(self) -> Path:
        return self.root / "metadata.sqlite"

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.metadata}"

    def store(self) -> Any:
        sqlite = pb.SqliteMetadataSourceConfig(filename_uri=str(self.metadata))
        return metadata_store.MetadataStore(pb.ConnectionConfig(sqlite=sqlite))

    def states(self, component: str) -> list[str]:
        """The states of a component's executions, oldest first."""
        store = self.store()
        [kind] = [k for k in store.get_execution_types() if k.name.endswith(f".{component}")]
        found = sorted(store.get_executions_by_type(kind.name), key=lambda e: e.id)
        return [pb.Execution.State.Name(execution.last_known_state) for execution in found]

    def pushed(self, component: str) -> list[int]:
        """What a component's PushedModels say, oldest first."""
        found = sorted(self.store().get_artifacts_by_type("PushedModel"), key=lambda a: a.id)
        return [
            made.custom_properties["pushed"].int_value
            for made in found
            if f"/{component}/" in made.uri
        ]

    def versions(self) -> list[Version]:
        with ModelRegistry.open(self.uri, create=False) as registry:
            return registry.list_versions("ages", newest_first=False)

    def run(self, run_id: str, model: Path, *, cache: bool = True, **options: Any) -> None:
        """Runs the pipeline as LocalDagRunner does, under a run id of our choice."""
        ir = compiler.Compiler().compile(self.pipeline(model, cache, **options))
        runtime_parameter_utils.substitute_runtime_parameter(ir, {"pipeline-run-id": run_id})
        handler = _Collect(self.said.setdefault(run_id, []))
        logger = logging.getLogger("tfx_registry")
        before = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            tfx.orchestration.LocalDagRunner().run_with_ir(ir)
        finally:
            logger.removeHandler(handler)
            logger.setLevel(before)

    def pipeline(
        self,
        model: Path,
        cache: bool,
        policy: GatePolicy = AS_EVALUATOR,
        description: str | None = None,
        retention: Retention | None = None,
    ) -> Any:
        base = _imported(standard_artifacts.Model, self.good, "base_model")
        data = _imported(standard_artifacts.Examples, self.examples, "data", split_names='["eval"]')
        splits = {
            "train_args": tfx.proto.TrainArgs(splits=["eval"]),
            "eval_args": tfx.proto.EvalArgs(splits=["eval"]),
        }
        tuner = tfx.components.Tuner(
            tuner_fn="interplay_user_module.tuner_fn", examples=data.outputs["result"], **splits
        )
        trainer = tfx.components.Trainer(
            run_fn="interplay_user_module.run_fn",
            examples=data.outputs["result"],
            base_model=base.outputs["result"],
            hyperparameters=tuner.outputs["best_hyperparameters"],
            custom_config={"take": str(model / "Format-Serving")},
            **splits,
        )
        evaluator = tfx.components.Evaluator(
            examples=data.outputs["result"],
            example_splits=["eval"],
            model=trainer.outputs["model"],
            eval_config=CONFIG,
        )
        registrar = ModelRegistrar(
            model=trainer.outputs["model"],
            model_name="ages",
            registry=self.uri,
            lineage={
                "examples": data.outputs["result"],
                "base_model": base.outputs["result"],
                "best_hyperparameters": tuner.outputs["best_hyperparameters"],
            },
            hyperparameters={"epochs": 3},
            description=description,
        )
        gate = VersionGate(
            model_version=registrar.outputs["model_version"],
            model=trainer.outputs["model"],
            evaluation=evaluator.outputs["evaluation"],
            policy=policy,
            registry=self.uri,
        )
        promoter = Promoter(
            model=trainer.outputs["model"],
            model_version=registrar.outputs["model_version"],
            blessing=evaluator.outputs["blessing"],
            push_destination=_destination(self.root / "serving" / "ages"),
            registry=self.uri,
            retention=retention,
        )
        # Promoter reads the decision from the registry; no artifact says that it has to wait.
        promoter.add_upstream_node(gate)
        pusher = tfx.components.Pusher(
            model=trainer.outputs["model"],
            model_blessing=gate.outputs["blessing"],
            push_destination=_destination(self.root / "pushed"),
        )
        sqlite = tfx.orchestration.metadata.sqlite_metadata_connection_config(str(self.metadata))
        return tfx.dsl.Pipeline(
            pipeline_name="ages",
            pipeline_root=str(self.root / "pipeline"),
            components=[base, data, tuner, trainer, evaluator, registrar, gate, promoter, pusher],
            enable_cache=cache,
            metadata_connection_config=sqlite,
            beam_pipeline_args=list(IN_PROCESS),
        )


class _Collect(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.INFO)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


def _imported(artifact_type: Any, uri: Any, name: str, **properties: Any) -> Any:
    node = tfx.dsl.Importer(
        source_uri=str(uri), artifact_type=artifact_type, properties=properties, reimport=False
    )
    return node.with_id(name)


def _destination(directory: Path) -> Any:
    filesystem = tfx.proto.PushDestination.Filesystem(base_directory=str(directory))
    return tfx.proto.PushDestination(filesystem=filesystem)


@pytest.fixture(scope="module")
def runs(evaluated: Any, examples: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Five runs, one after the other, each about one thing; see the tests."""
    root = tmp_path_factory.mktemp("interplay")
    (root / "interplay_user_module.py").write_text(USER_MODULE, encoding="utf-8")
    made = Runs(root, evaluated.good, evaluated.bad, examples.uri)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root))
        patch.setattr(sys, "argv", ["run"])  # Beam's components read it
        made.run("first", made.good)
        made.run("cached", made.good)
        made.run("promoter again", made.good, retention=Retention(keep_last=5))
        with pytest.MonkeyPatch.context() as crash:
            usual = registrar_executor.Executor.Do

            def register_and_die(*arguments: Any) -> None:
                usual(*arguments)
                raise OSError("the machine is gone")

            crash.setattr(registrar_executor.Executor, "Do", register_and_die)
            with pytest.raises(Exception, match="the machine is gone"):
                made.run("retried", made.good, description="again")
        made.run("retried", made.good, description="again")
        made.run("no cache", made.bad, cache=False, policy=LENIENT)
        yield made


def test_evaluators_blessing_and_a_policy_that_agrees_let_promoter_publish(runs: Runs) -> None:
    assert runs.pushed("Promoter")[0] == 1
    assert (runs.root / "serving" / "ages" / "1" / "saved_model.pb").is_file()
    assert "ages:1 promoted in" in "\n".join(runs.said["first"])


def test_a_model_that_evaluator_did_not_bless_is_not_promoted(runs: Runs) -> None:
    third = runs.versions()[-1]
    assert third.state is VersionState.PASSED  # by the gate's own, lenient policy
    assert runs.pushed("Promoter")[-1] == 0
    assert "ages:3 is not promoted: it is not blessed" in runs.said["no cache"]
    assert not (runs.root / "serving" / "ages" / "3").exists()


def test_our_blessing_lets_stock_pusher_push(runs: Runs) -> None:
    # In the last run Evaluator said no and the gate said yes: Pusher is wired to the gate.
    assert runs.pushed("Pusher")[-1] == 1
    assert runs.pushed("Pusher")[0] == 1


def test_a_cached_registrar_makes_no_second_version(runs: Runs) -> None:
    for component in ("ModelRegistrar", "VersionGate", "Promoter", "Trainer"):
        assert runs.states(component)[:2] == ["COMPLETE", "CACHED"]
    assert runs.said["cached"] == []
    origins = [version.origin.run_id for version in runs.versions()]
    assert origins == ["first", "retried", "no cache"]


def test_a_promoter_that_runs_again_changes_nothing_and_says_so(runs: Runs) -> None:
    assert runs.states("Promoter")[2] == "COMPLETE"
    assert runs.states("ModelRegistrar")[2] == "CACHED"
    assert any("ages:1 serves already" in line for line in runs.said["promoter again"])
    assert runs.pushed("Promoter")[1] == 1
    with ModelRegistry.open(runs.uri, create=False) as registry:
        kinds = [event.payload.kind for event in registry.history("ages") if event.number == 1]
    assert kinds.count("promoted") == 1


def test_a_registrar_that_is_tried_again_in_the_same_run_makes_no_second_version(
    runs: Runs,
) -> None:
    tries = [line for line in runs.said["retried"] if line.endswith("as ages:2")]
    assert len(tries) == 2  # the first one died after that
    assert [v.number for v in runs.versions() if v.origin.run_id == "retried"] == [2]


def test_without_cache_a_run_is_another_version(runs: Runs) -> None:
    first, *between, last = runs.states("Tuner")
    assert (first, set(between), last) == ("COMPLETE", {"CACHED"}, "COMPLETE")
    assert [version.number for version in runs.versions()] == [1, 2, 3]


def test_tuner_importer_and_warm_start_are_in_the_lineage(runs: Runs) -> None:
    first = runs.versions()[0]
    sources = {source.key: source for source in first.sources}
    assert sources["base_model"].uri == str(runs.good)
    assert sources["best_hyperparameters"].type_name == "HyperParameters"
    assert all(source.digest for source in sources.values())
    with ModelRegistry.open(runs.uri, create=False) as registry:
        graph = registry.lineage("ages", 1)
    trainer = executed(graph, "Trainer")
    made_from = dict(graph.upstream(trainer.id))
    assert set(made_from) == {"examples", "base_model", "hyperparameters"}
    assert made_from["base_model"].uri == str(runs.good)
    assert producer(graph, made_from["hyperparameters"]) == "Tuner"
    assert producer(graph, made_from["base_model"]) == "Importer"


def test_what_the_tuner_found_is_recorded_with_the_version(runs: Runs) -> None:
    assert runs.versions()[0].hyperparameters == {"epochs": "3", "rate": "0.25"}


def executed(graph: LineageGraph, name: str) -> Any:
    [node] = [
        node
        for node in graph.nodes
        if node.kind is NodeKind.EXECUTION and node.type_name.endswith(f".{name}")
    ]
    return node


def producer(graph: LineageGraph, artifact: Any) -> str:
    [(_, node)] = graph.upstream(artifact.id)
    return str(node.type_name).rpartition(".")[2]
