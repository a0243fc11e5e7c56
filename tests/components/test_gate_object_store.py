"""The three executors where models, evaluations and all outputs lie in an object store.

So they do on Kubeflow, where the URI of each artifact is an address below the pipeline's root.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tensorflow_model_analysis as tfma
from google.protobuf import text_format
from tfx.components.util import model_utils
from tfx.types import standard_artifacts

from tfx_registry import ModelRegistry
from tfx_registry.components import ModelVersion, places
from tfx_registry.components.model_registrar.executor import Executor as Registrar
from tfx_registry.components.version_gate import own_evaluation, staged_evaluation
from tfx_registry.components.version_gate.baselines import find_bytes
from tfx_registry.components.version_gate.tfma_results import load_evaluation
from tfx_registry.digest import digest_path
from tfx_registry.errors import (
    IntegrityError,
    InvalidInputError,
    InvalidUriError,
    ServingDirectoryError,
)
from tfx_registry.gate import ChangeThreshold, GatePolicy, Reason, ValueThreshold
from tfx_registry.inspection import describe_model
from tfx_registry.records import VersionState
from tfx_registry.serving.objects.bucket import Bucket, Stored
from tfx_registry.serving.objects.models import (
    fetched_model,
    stored_files,
    upload_tree,
    write_files,
)
from tfx_registry.testing.object_stores import Fault, ObjectStoreServer

ONLY_CHANGE = GatePolicy((), [ChangeThreshold("binary_accuracy", absolute=0.0)], min_examples=10)
CONFIG = """
    model_specs { label_key: "label" }
    metrics_specs {
      metrics { class_name: "BinaryAccuracy" }
      metrics { class_name: "ExampleCount" }
    }
    slicing_specs {}
"""


def config() -> Any:
    return text_format.Parse(CONFIG, tfma.EvalConfig())


@pytest.fixture
def root(server: ObjectStoreServer, request: pytest.FixtureRequest) -> str:
    """The root of a pipeline; each test has its own."""
    return f"{server.scheme}://pipelines/{request.node.originalname}"


@pytest.fixture(autouse=True)
def no_folder_of_a_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An address is never taken for a relative path."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    yield
    assert list(here.iterdir()) == []


def store_evaluation(result: Path, scratch: Path, place: str, models: dict[str, str]) -> str:
    """Uploads a TFMA result as it would be had the models lain elsewhere."""
    copy = scratch / place.replace("/", "-")
    shutil.copytree(result, copy)
    config = copy / "eval_config.json"
    said = json.loads(config.read_text(encoding="utf-8"))
    for name, location in said["modelLocations"].items():
        said["modelLocations"][name] = models[location]
    config.write_text(json.dumps(said), encoding="utf-8")
    upload_tree(copy, place)
    return place


@pytest.fixture
def stored(root: str, evaluated: Any, tmp_path: Path, pipeline: Any) -> Any:
    """The models and two of the evaluations below the root, where the outputs go, too."""
    models = {}
    for local, place in ((evaluated.good, f"{root}/1/model"), (evaluated.bad, f"{root}/2/model")):
        upload_tree(local, place)
        models[str(local / "Format-Serving")] = f"{place}/Format-Serving"
    pipeline.outputs = f"{root}/out"
    pipeline.serving = f"{root}/serving"

    class Stored:
        good, bad = f"{root}/1/model", f"{root}/2/model"
        good_alone = store_evaluation(
            evaluated.good_alone, tmp_path, f"{root}/1/evaluation", models
        )
        bad_against_good = store_evaluation(
            evaluated.bad_against_good, tmp_path, f"{root}/2/evaluation", models
        )

    return Stored


def downloads(server: ObjectStoreServer, place: str) -> int:
    """Counts how often the graph of a model was read."""
    key = place.split("/", 3)[3] + "/Format-Serving/saved_model.pb"
    return sum(
        method == "GET" and key in target and ("alt=media" in target or server.scheme == "s3")
        for method, target in server.faults.requests
    )


def names(place: str) -> set[str]:
    return {found.key.rpartition("/")[2] for found in stored_files(place)}


def test_the_whole_way_in_a_store(
    server: ObjectStoreServer, stored: Any, pipeline: Any, evaluated: Any
) -> None:
    first = pipeline.register(stored.good)
    assert names(first.uri) == {"version.json"}
    blessing, report = pipeline.gate(first, stored.good, stored.good_alone)
    assert report.reasons == ()
    assert model_utils.is_model_blessed(blessing)
    assert names(blessing.uri) == {"BLESSED"}
    assert report.evaluation == stored.good_alone
    # ModelRegistrar, the gate and the evaluation ask for the same bytes.
    assert downloads(server, stored.good) == 1
    pushed = pipeline.promote(first, stored.good, blessing=blessing)
    assert pushed.get_string_custom_property("pushed_destination") == f"{pipeline.serving}/1"
    with fetched_model(pushed.uri) as path:
        assert digest_path(path) == digest_path(evaluated.good / "Format-Serving")

    second = pipeline.register(stored.bad)
    server.faults.requests.clear()
    blessing, report = pipeline.gate(second, stored.bad, stored.bad_against_good)
    assert report.baseline is not None
    assert report.baseline.number == 1
    assert pipeline.codes(report) == {Reason.BELOW_LOWER_BOUND, Reason.CHANGE_NOT_ENOUGH}
    assert names(blessing.uri) == {"NOT_BLESSED"}
    # Both were hashed before, and the store lists the same.
    assert (downloads(server, stored.good), downloads(server, stored.bad)) == (0, 0)
    pushed = pipeline.promote(second, stored.bad, blessing=blessing)
    assert pushed.get_int_custom_property("pushed") == 0
    assert names(pushed.uri) == set()


def test_bytes_that_changed_in_the_store(stored: Any, pipeline: Any) -> None:
    version = pipeline.register(stored.good)
    _, report = pipeline.gate(version, stored.good, stored.good_alone)
    assert report.reasons == ()
    # The same name and the same length, after the bytes were hashed once.
    files = f"{stored.good}/Format-Serving/variables"
    (index,) = (found for found in stored_files(files) if found.key.endswith(".index"))
    write_files(files, {"variables.index": b"x" * index.size_bytes})
    _, report = pipeline.gate(version, stored.good, stored.good_alone)
    assert pipeline.codes(report) == {Reason.MODEL_BYTES_CHANGED}
    _, report = pipeline.gate(version, f"{stored.good}-gone", stored.good_alone)
    assert pipeline.codes(report) == {Reason.MODEL_BYTES_CHANGED}
    assert "nothing lies there" in " ".join(report.reasons)


def test_evaluations_in_a_store_that_prove_nothing(
    stored: Any, pipeline: Any, root: str, evaluated: Any, tmp_path: Path
) -> None:
    version = pipeline.register(stored.good)
    damaged = tmp_path / "damaged"
    shutil.copytree(evaluated.good_alone, damaged)
    (metrics,) = damaged.glob("metrics-*")
    metrics.write_bytes(metrics.read_bytes()[:-7])
    upload_tree(damaged, f"{root}/damaged")
    # What the result says of local paths proves nothing of a model elsewhere that is another one.
    upload_tree(evaluated.bad_alone, f"{root}/another")
    for place, reason in (
        (f"{root}/nowhere", Reason.EVALUATION_EMPTY),
        (f"{root}/damaged", Reason.EVALUATION_UNREADABLE),
        (f"{root}/another", Reason.EVALUATION_OF_ANOTHER_MODEL),
    ):
        blessing, report = pipeline.gate(version, stored.good, place)
        assert pipeline.codes(report) == {reason}, place
        assert not model_utils.is_model_blessed(blessing)
    assert pipeline.versions()[0].state is VersionState.BLOCKED


def test_an_evaluation_is_as_old_as_its_objects(
    stored: Any, pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = pipeline.register(stored.good)
    policy = GatePolicy(
        [ValueThreshold("binary_accuracy", lower_bound=0.6)], max_evaluation_age_hours=1
    )
    written = min(int(found.modified) for found in stored_files(stored.good_alone))
    assert written > 0
    assert load_evaluation(stored.good_alone).made_at == written
    _, report = pipeline.gate(version, stored.good, stored.good_alone, policy)
    assert report.reasons == ()
    listed = Bucket.objects

    def two_hours_ago(bucket: Bucket, prefix: str) -> list[Stored]:
        return [replace(o, modified=o.modified - 7200) for o in listed(bucket, prefix)]

    monkeypatch.setattr(Bucket, "objects", two_hours_ago)
    assert load_evaluation(stored.good_alone).made_at == written - 7200
    _, report = pipeline.gate(version, stored.good, stored.good_alone, policy)
    assert pipeline.codes(report) == {Reason.EVALUATION_TOO_OLD}


def test_a_store_that_refuses_decides_nothing(
    server: ObjectStoreServer, stored: Any, pipeline: Any
) -> None:
    version = pipeline.register(stored.good)
    events = pipeline.events()
    server.faults.planned.append(Fault("403", contains="evaluation", times=-1))
    with pytest.raises(ServingDirectoryError, match="access is denied"):
        pipeline.gate(version, stored.good, stored.good_alone)
    assert pipeline.events() == events


def test_an_unknown_kind_of_store_is_one_clear_error(
    pipeline: Any, evaluated: Any, server: ObjectStoreServer
) -> None:
    version = pipeline.register(evaluated.good)
    events = pipeline.events()
    pipeline.outputs = "minio://pipelines/out"
    message = "object stores are s3:// and gs://, not minio://"
    with pytest.raises(InvalidUriError, match=message):
        pipeline.gate(version, evaluated.good, evaluated.good_alone)
    with pytest.raises(InvalidUriError, match=message):
        pipeline.promote(version, evaluated.good)
    with pytest.raises(InvalidUriError, match=message):
        pipeline.register(evaluated.bad)
    pipeline.outputs = str(pipeline.root / "out")
    with pytest.raises(InvalidUriError, match=message):
        pipeline.register("minio://pipelines/model")
    with pytest.raises(InvalidUriError, match=message):
        pipeline.gate(version, evaluated.good, "minio://pipelines/evaluation")
    assert pipeline.events() == events
    assert not pipeline.serving.exists()


def test_what_a_repeated_task_writes_replaces_the_first(root: str) -> None:
    for text in (b"first", b"", b"second", b"second"):
        write_files(f"{root}/report", {"report.json": text})
        with fetched_model(f"{root}/report") as folder:
            assert (folder / "report.json").read_bytes() == text


def test_a_model_of_one_file_is_described_as_it_is_now(root: str) -> None:
    found = []
    for text in (b"one", b"two"):
        write_files(f"{root}/models", {"m.keras": text})
        facts = describe_model(f"{root}/models/m.keras")
        assert facts.uri == f"{root}/models/m.keras"
        found.append(facts.digest)
    assert found == [
        hashlib.sha256(hashlib.sha256(t).digest()).hexdigest() for t in (b"one", b"two")
    ]


def test_hyperparameters_and_metrics_are_read_from_a_store(
    stored: Any, pipeline: Any, root: str
) -> None:
    write_files(f"{root}/tuned", {"best_hyperparameters.txt": b'{"values": {"units": 7}}'})
    tuned, result = standard_artifacts.HyperParameters(), standard_artifacts.ModelEvaluation()
    tuned.uri, result.uri = f"{root}/tuned", stored.good_alone
    inputs = {
        "model": [pipeline.model(stored.good)], "evaluation": [result], "best": [tuned],
    }  # fmt: skip
    output = pipeline.output(ModelVersion)
    Registrar().Do(
        inputs, {"model_version": [output]}, {"model_name": "ages", "registry": pipeline.uri}
    )
    (version,) = pipeline.versions()
    assert version.hyperparameters["units"] == "7"
    assert version.metric("binary_accuracy") == 1.0


def test_the_gate_evaluates_models_in_a_store(
    stored: Any, pipeline: Any, examples: Any, root: str, tmp_path: Path
) -> None:
    first = pipeline.register(stored.good)
    pipeline.gate(first, stored.good, stored.good_alone)
    pipeline.promote(first, stored.good)
    second = pipeline.register(stored.bad)
    # What an attempt before has left does not become part of the result.
    write_files(
        f"{root}/out/ModelEvaluation-{pipeline.counter + 1}", {"metrics-00001-of-00002": b"x"}
    )
    _, report = pipeline.evaluate_and_gate(
        second, stored.bad, ONLY_CHANGE, eval_config=config(), examples=examples
    )
    assert pipeline.codes(report) == {Reason.CHANGE_NOT_ENOUGH}
    assert report.evaluation.startswith(f"{root}/out/ModelEvaluation")
    assert report.baseline is not None
    assert report.baseline.number == 1
    # The result says where the models lie, and is good for another decision.
    loaded = load_evaluation(report.evaluation)
    assert loaded.candidate is not None
    assert loaded.baseline is not None
    assert loaded.candidate.location == f"{stored.bad}/Format-Serving"
    assert loaded.baseline.location == f"{pipeline.serving}/1"
    _, again = pipeline.gate(second, stored.bad, report.evaluation, ONLY_CHANGE)
    assert pipeline.codes(again) == {Reason.CHANGE_NOT_ENOUGH}


def test_a_serving_copy_out_of_reach_is_named_as_it_is(
    server: ObjectStoreServer, stored: Any, pipeline: Any
) -> None:
    version = pipeline.register(stored.good)
    pipeline.gate(version, stored.good, stored.good_alone)
    pipeline.promote(version, stored.good)
    with ModelRegistry.open(pipeline.uri) as registry:
        [known] = registry.list_versions("ages")
        found = find_bytes(registry, known, "production")
        assert (found.path, found.notes) == (f"{pipeline.serving}/1", ())
        server.faults.planned.append(Fault("403", contains="/serving/1", times=-1))
        found = find_bytes(registry, known, "production")
        assert found.path == f"{stored.good}/Format-Serving"
        assert f"{pipeline.serving}/1" in found.notes[0]
        server.faults.planned.append(Fault("403", contains="/1/model", times=-1))
        found = find_bytes(registry, known, "production")
        assert found.reason is Reason.BASELINE_BYTES_GONE
        assert f"{pipeline.serving}/1 (access is denied" in found.message
        server.faults.clear()
        write_files(f"{pipeline.serving}/1", {"more": b"x"})
        found = find_bytes(registry, known, "production")
        assert found.reason is Reason.BASELINE_BYTES_CHANGED


def test_workers_elsewhere_get_addresses(
    stored: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(own_evaluation, "evaluate", lambda *args: given.extend(args[2:]))
    pipeline = SimpleNamespace(runner=SimpleNamespace())  # of a module that is none of Beam's

    def evaluate(output: str) -> None:
        staged_evaluation.evaluate(
            object(), lambda: pipeline, stored.bad, stored.good, output  # type: ignore[arg-type]
        )  # fmt: skip

    if stored.bad.startswith("gs://"):
        evaluate(f"{stored.bad}-evaluation")
        assert given == [stored.bad, stored.good, f"{stored.bad}-evaluation"]
    else:
        with pytest.raises(InvalidInputError, match="TensorFlow on its workers reads gs://"):
            evaluate(str(tmp_path / "evaluation"))
        assert given == []


def test_a_copy_that_is_not_what_was_compared_is_not_evaluated(
    stored: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runner = type("Runner", (), {"__module__": "apache_beam.runners.direct.direct_runner"})()
    other = places.digests_of(stored.good)
    monkeypatch.setattr(places, "digests_of", lambda _: other)
    with pytest.raises(IntegrityError, match="changed while the gate looked at it"):
        staged_evaluation.evaluate(
            object(),  # type: ignore[arg-type]
            lambda: SimpleNamespace(runner=runner),
            stored.bad,
            None,
            str(tmp_path / "evaluation"),
        )
