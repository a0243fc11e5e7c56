"""Two small classifiers, evaluated by TFMA for real: one good, one that fails on a slice."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from google.protobuf import text_format
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from tfx_registry import ModelRegistry
from tfx_registry.components import GateReport, ModelVersion, places
from tfx_registry.components.model_registrar.executor import Executor as Registrar
from tfx_registry.components.promoter.executor import Executor as Promoter
from tfx_registry.components.version_gate.executor import Executor as Gate
from tfx_registry.gate import ChangeThreshold, GatePolicy, Reason, SliceSpec, ValueThreshold
from tfx_registry.gate import GateReport as Report
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.object_stores import GcsServer, ObjectStoreServer, S3Server

PEOPLE = 40
BEAM_ARGS = ["--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"]
EVERY_AGE = [SliceSpec(), SliceSpec(["age"])]
POLICY = GatePolicy(
    [ValueThreshold("binary_accuracy", lower_bound=0.6, slices=EVERY_AGE)],
    [ChangeThreshold("binary_accuracy", absolute=0.0, slices=EVERY_AGE)],
    min_examples=10,
)
_THRESHOLD = "threshold { value_threshold { lower_bound { value: 0.4 } } }"


@dataclass(frozen=True)
class Evaluated:
    """Models as Trainer leaves them, and TFMA results about them.

    Attributes:
        good: Model artifact directory; right on everybody.
        bad: Model artifact directory; wrong on the old.
        good_alone: Evaluation of the good one.
        bad_alone: Evaluation of the bad one.
        bad_against_good: Evaluation of the bad one with the good one as baseline.
        good_against_good: Evaluation of the good one with itself as baseline.
        weighted_and_not: Evaluation of the bad one, with TFMA's threshold of 0.4, that holds each
            metric twice; with the weights only the old count.
        swapped: A place where a copy of the good one lay when it was evaluated; nothing is there.
        swapped_alone: Evaluation of what lay there.
        bad_against_swapped: Evaluation of the bad one with what lay there as baseline.
    """

    good: Path
    bad: Path
    good_alone: Path
    bad_alone: Path
    bad_against_good: Path
    good_against_good: Path
    weighted_and_not: Path
    swapped: Path
    swapped_alone: Path
    bad_against_swapped: Path


def _write_model(root: Path, sign_for_old: float) -> Path:
    import tensorflow as tf

    class Classifier(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def serve(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
            spec = {
                "x": tf.io.FixedLenFeature([], tf.float32),
                "age": tf.io.FixedLenFeature([], tf.string),
            }
            parsed = tf.io.parse_example(examples, spec)
            sign = tf.where(parsed["age"] == "old", sign_for_old, 1.0)
            return {"probability": tf.reshape(tf.sigmoid(4.0 * sign * parsed["x"]), [-1, 1])}

    model = Classifier()
    inside = root / "Format-Serving"
    tf.saved_model.save(model, str(inside), signatures={"serving_default": model.serve})
    return root


def _write_examples(path: Path, compression: str = "") -> None:
    import tensorflow as tf

    options = tf.io.TFRecordOptions(compression_type=compression)
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for index in range(PEOPLE):
            x = 1.0 if index % 4 < 2 else -1.0
            features = {
                "x": tf.train.Feature(float_list=tf.train.FloatList(value=[x])),
                "label": tf.train.Feature(float_list=tf.train.FloatList(value=[float(x > 0)])),
                "age": tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[b"old" if index % 2 else b"young"])
                ),
                "weight": tf.train.Feature(float_list=tf.train.FloatList(value=[float(index % 2)])),
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())


def _evaluate(
    output: Path, examples: Path, candidate: Path, baseline: Path | None, weights: str = ""
) -> Path:
    import tensorflow_model_analysis as tfma
    from google.protobuf import text_format

    weighted = 'example_weight_key: "weight"' if weights else ""
    specs = f'model_specs {{ name: "candidate" label_key: "label" {weighted} }}'
    if baseline:
        specs += ' model_specs { name: "baseline" label_key: "label" is_baseline: true }'
    config = text_format.Parse(
        specs
        + """
        metrics_specs {
          WEIGHTS
          metrics { class_name: "BinaryAccuracy" THRESHOLD }
          metrics { class_name: "ExampleCount" }
        }
        slicing_specs {}
        slicing_specs { feature_keys: "age" }
        """.replace("WEIGHTS", weights).replace("THRESHOLD", _THRESHOLD if weights else ""),
        tfma.EvalConfig(),
    )
    models = [("candidate", candidate)] + ([("baseline", baseline)] if baseline else [])
    tfma.run_model_analysis(
        eval_shared_model=[
            tfma.default_eval_shared_model(
                str(path / "Format-Serving"), eval_config=config, model_name=name
            )
            for name, path in models
        ],
        eval_config=config,
        data_location=str(examples),
        output_path=str(output),
        pipeline_options=PipelineOptions(BEAM_ARGS),
    )
    return output


@pytest.fixture(scope="module", params=[GcsServer, S3Server], ids=["gcs", "s3"])
def running(request: pytest.FixtureRequest) -> Iterator[ObjectStoreServer]:
    """An emulated store with a bucket, `pipelines`."""
    with request.param() as server:
        server.make_bucket("pipelines")
        yield server


@pytest.fixture
def server(running: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch) -> ObjectStoreServer:
    """That store without faults, and an environment that leads to it."""
    running.faults.clear()
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    return running


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The people as an Examples artifact, with an empty split beside them."""
    import tensorflow as tf

    root = tmp_path_factory.mktemp("examples")
    for split in ("eval", "nobody"):
        (root / f"Split-{split}").mkdir()
    _write_examples(root / "Split-eval" / "data-00000-of-00001.gz", "GZIP")
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    with tf.io.TFRecordWriter(str(root / "Split-nobody" / "data-00000-of-00001.gz"), options):
        pass
    made = standard_artifacts.Examples()
    made.uri = str(root)
    made.splits = ["eval", "nobody"]
    made.span = 7
    made.set_string_custom_property("input_fingerprint", "split:eval,num_files:1,xor:5")
    return made


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """Trains nothing and evaluates for real: seven TFMA runs on Beam."""
    root = tmp_path_factory.mktemp("evaluated")
    examples = root / "examples.tfrecord"
    _write_examples(examples)
    good = _write_model(root / "good", 1.0)
    bad = _write_model(root / "bad", -1.0)
    swapped = root / "swapped"
    shutil.copytree(good, swapped)
    swapped_alone = _evaluate(root / "swapped_alone", examples, swapped, None)
    bad_against_swapped = _evaluate(root / "bad_against_swapped", examples, bad, swapped)
    shutil.rmtree(swapped)
    both = "example_weights { weighted: true unweighted: true }"
    return Evaluated(
        good,
        bad,
        _evaluate(root / "good_alone", examples, good, None),
        _evaluate(root / "bad_alone", examples, bad, None),
        _evaluate(root / "bad_against_good", examples, bad, good),
        _evaluate(root / "good_against_good", examples, good, good),
        _evaluate(root / "weighted_and_not", examples, bad, None, both),
        swapped,
        swapped_alone,
        bad_against_swapped,
    )


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """URI of an empty registry."""
    return f"sqlite:///{tmp_path}/registry.sqlite"


@pytest.fixture
def promoted(tmp_path: Path, uri: str) -> Callable[..., Any]:
    """Registers, overrides and promotes a small version by the executor; returns PushedModel."""

    def promote(number: int, *, overridden: str = "production", **properties: Any) -> Any:
        path = write_minimal_model(tmp_path / "models" / str(number), f"model {number}")
        with ModelRegistry.open(uri) as registry:
            registry.register("penguin", path)
            day = datetime.timedelta(days=1)
            registry.override("penguin", number, reason="test", expires=day, alias=overridden)
        model, version = standard_artifacts.Model(), ModelVersion()
        pushed = standard_artifacts.PushedModel()
        model.uri, pushed.uri = str(path), str(tmp_path / "pushed" / str(number))
        version.set_string_custom_property("model_name", "penguin")
        version.set_string_custom_property("version", str(number))
        destination = pusher_pb2.PushDestination()
        destination.filesystem.base_directory = str(tmp_path / "serving")
        written = {
            name: value if isinstance(value, str) else value.to_json()
            for name, value in properties.items()
            if value is not None
        }
        Promoter().Do(
            {"model": [model], "model_version": [version]},
            {"pushed_model": [pushed]},
            {
                "push_destination": proto_utils.proto_to_json(destination),
                "registry": uri,
                **written,
            },
        )
        return pushed

    return promote


class Pipeline:
    """Calls the executors one after the other, as one run of a pipeline would."""

    def __init__(self, root: Path, uri: str) -> None:
        self.root = root
        self.uri = uri
        self.outputs = str(root / "out")
        self.serving = root / "serving" / "ages"
        self.counter = 0

    def output(self, cls: Any) -> Any:
        self.counter += 1
        made = cls()
        made.uri = f"{self.outputs}/{cls.TYPE_NAME}-{self.counter}"
        if not places.is_in_store(made.uri):
            Path(made.uri).mkdir(parents=True)
        made.id = self.counter
        return made

    def model(self, path: Path) -> Any:
        made = standard_artifacts.Model()
        made.uri, made.id = str(path), 7
        return made

    def register(self, path: Path, **properties: Any) -> Any:
        output = self.output(ModelVersion)
        Registrar().Do(
            {"model": [self.model(path)]},
            {"model_version": [output]},
            {"model_name": "ages", "registry": self.uri, **properties},
        )
        return output

    def gate(
        self,
        version: Any,
        path: Path,
        evaluation: Path,
        policy: GatePolicy | None = None,
        **inputs: Any,
    ) -> tuple[Any, Report]:
        """Decides on an evaluation that is handed over."""
        result = standard_artifacts.ModelEvaluation()
        result.uri = str(evaluation)
        found = {"model_version": version, "model": self.model(path), "evaluation": result}
        return self._decide(Gate(), {**found, **inputs}, {}, {}, policy)

    def evaluate_and_gate(
        self,
        version: Any,
        path: Path,
        policy: GatePolicy | None = None,
        *,
        eval_config: Any,
        splits: Sequence[str] = ("eval",),
        given: Path | None = None,
        beam_args: Sequence[str] = tuple(BEAM_ARGS),
        **inputs: Any,
    ) -> tuple[Any, Report]:
        """Lets the gate evaluate by itself; the result is at `self.evaluation`."""
        found = {"model_version": version, "model": self.model(path), **inputs}
        if given is not None:
            found["given_evaluation"] = standard_artifacts.ModelEvaluation()
            found["given_evaluation"].uri = str(given)
        output = self.output(standard_artifacts.ModelEvaluation)
        self.evaluation = Path(output.uri)
        context = Gate.Context(make_beam_pipeline_fn=lambda: beam.Pipeline(argv=list(beam_args)))
        properties = {
            "eval_config": proto_utils.proto_to_json(eval_config),
            "example_splits": json.dumps(list(splits)),
        }
        return self._decide(Gate(context), found, {"evaluation": [output]}, properties, policy)

    def _decide(
        self, executor: Any, inputs: Any, outputs: Any, properties: Any, policy: Any
    ) -> tuple[Any, Report]:
        blessing, report = self.output(standard_artifacts.ModelBlessing), self.output(GateReport)
        executor.Do(
            {key: [value] for key, value in inputs.items()},
            {"blessing": [blessing], "report": [report], **outputs},
            {"policy": (policy or POLICY).to_json(), "registry": self.uri, **properties},
        )
        with places.local_copy(report.uri) as folder:
            text = (folder / "report.json").read_text(encoding="utf-8")
        return blessing, Report.from_json(text)

    @staticmethod
    def codes(report: Report) -> set[Reason | None]:
        """The reasons of a decision."""
        return {check.reason for check in report.failures}

    def promote(
        self, version: Any, path: Path, required_approvals: float = 0.0, **inputs: Any
    ) -> Any:
        output = self.output(standard_artifacts.PushedModel)
        destination = pusher_pb2.PushDestination()
        destination.filesystem.base_directory = str(self.serving)
        Promoter().Do(
            {
                "model": [self.model(path)],
                "model_version": [version],
                **{key: [value] for key, value in inputs.items()},
            },
            {"pushed_model": [output]},
            {
                "push_destination": proto_utils.proto_to_json(destination),
                "registry": self.uri,
                # As Kubeflow hands it over.
                "required_approvals": required_approvals,
            },
        )
        return output

    def visible(self) -> list[str]:
        children = self.serving.iterdir() if self.serving.exists() else []
        return sorted(c.name for c in children if c.name != ".tfx_registry")

    def versions(self) -> list[Any]:
        with ModelRegistry.open(self.uri) as registry:
            return registry.list_versions("ages", newest_first=False)

    def events(self) -> int:
        with ModelRegistry.open(self.uri) as registry:
            return len(registry.history("ages"))


@pytest.fixture
def pipeline(tmp_path: Path, uri: str) -> Pipeline:
    """The executors, one after the other, on an empty registry."""
    return Pipeline(tmp_path, uri)


@pytest.fixture
def served(pipeline: Pipeline, evaluated: Evaluated) -> Pipeline:
    """A pipeline in which the good model serves as version 1."""
    version = pipeline.register(evaluated.good)
    pipeline.gate(version, evaluated.good, evaluated.good_alone)
    pipeline.promote(version, evaluated.good)
    return pipeline


@pytest.fixture
def eval_config() -> Any:
    """How a gate evaluates the classifiers by itself."""
    import tensorflow_model_analysis as tfma

    return text_format.Parse(
        """
        model_specs { label_key: "label" }
        metrics_specs {
          metrics { class_name: "BinaryAccuracy" }
          metrics { class_name: "ExampleCount" }
        }
        slicing_specs {}
        slicing_specs { feature_keys: "age" }
        """,
        tfma.EvalConfig(),
    )


def artifact(cls: Any, uri: Path | str, identifier: int = 1) -> Any:
    """Makes an artifact as an orchestrator would."""
    made = cls()
    made.uri = str(uri)
    made.id = identifier
    return made
