"""The places in which the commands of the documentation run: registries that pages speak of."""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry, promote
from tfx_registry.gate import (
    ChangeThreshold,
    DataIdentity,
    EvaluatedModel,
    Evaluation,
    GatePolicy,
    MetricId,
    SliceSpec,
    ValueThreshold,
    decide,
)
from tfx_registry.gating import Standing, decision_of, situation_of
from tfx_registry.operations import Servers, promote_by_config
from tfx_registry.records import LineageSource, Version
from tfx_registry.testing import PostgreSqlServer
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.model_server import ModelServerEmulator
from tfx_registry.testing.object_stores import GcsServer

ACCURACY, COUNT = MetricId("sparse_categorical_accuracy"), MetricId("example_count")
LOSS = MetricId("sparse_categorical_crossentropy")
POLICY = GatePolicy(
    value_thresholds=(
        ValueThreshold(ACCURACY.name, 0.8, slices=(SliceSpec(), SliceSpec(("island",)))),
    ),
    change_thresholds=(ChangeThreshold(ACCURACY.name, absolute=-0.02),),
)
#: Accuracy of the versions on everything and on the island Dream, and loss, as the demo has them.
MEASURED = {
    1: (0.982, 0.95, 0.088),
    2: (0.8, 0.45, 0.765),
    3: (1.0, 1.0, 0.011),
    4: (1.0, 1.0, 0.01),
}


@dataclass
class Place:
    """Where commands run.

    Attributes:
        folder: The working directory.
        variables: Environment variables beside the usual ones.
        replaced: What stands in a page and is something else here.
        sql: Runs SQL as the administrator of a database server, where there is one.
    """

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)
    sql: Callable[[str], object] | None = None


def register(registry: ModelRegistry, folder: Path, number: int) -> Version:
    path = write_minimal_model(folder / "models" / f"model{number}", f"model {number}")
    examples = LineageSource("examples", "Examples", "/data/examples/7", {"span": "7"})
    version = registry.register(
        "penguin", path, sources=[examples], labels={"team": "birds"}, hyperparameters={"epochs": 5}
    )
    assert version.number == number
    return version


def measured(version: Version) -> EvaluatedModel:
    overall, dream, loss = MEASURED[version.number]
    numbers = {
        (): {ACCURACY: overall, LOSS: loss, COUNT: 100.0},
        (("island", "Biscoe"),): {ACCURACY: 1.0, COUNT: 50.0},
        (("island", "Dream"),): {ACCURACY: dream, COUNT: 40.0},
    }
    return EvaluatedModel(version.uri, version.facts.manifest, numbers)


def decide_on(registry: ModelRegistry, version: Version, folder: Path) -> None:
    standing = Standing.now(registry, "penguin", "production")
    evaluation = Evaluation(
        "/results/7",
        measured(version),
        measured(standing.version) if standing.version else None,
        digest="e" * 64,
        made_at=1.7e9,
        data=DataIdentity("/data/examples/7", ("eval",), {"span": "7"}, "f" * 64),
    )
    report = decide(POLICY, evaluation, situation_of(registry, version, standing))
    registry.record_decision("penguin", decision_of(report))
    if version.number == 2:
        (folder / "report.json").write_text(report.to_json(), encoding="utf-8")


def three_versions(registry: ModelRegistry, folder: Path, base: Path | str) -> None:
    """Versions 1 and 3 passed and were promoted, 2 was blocked."""
    for number in (1, 2, 3):
        decide_on(registry, register(registry, folder, number), folder)
        if number != 2:
            promote(registry, "penguin", number, base)


def empty(place: Place) -> None:
    """Three models, and a registry that is empty."""
    place.variables["TFX_REGISTRY_URI"] = "sqlite:///registry.sqlite"
    for name in "abc":
        write_minimal_model(place.folder / "models" / name, name)


def demo(place: Place) -> None:
    """What `make demo` leaves behind."""
    output = place.folder / "demo_output"
    output.mkdir()
    uri = "sqlite:///demo_output/metadata.sqlite"
    with ModelRegistry.open(uri) as registry:
        three_versions(registry, place.folder, output / "serving" / "penguin")
    place.variables["TFX_REGISTRY_URI"] = uri


def serving(place: Place) -> None:
    """Version 3 serves after 1; 4 has passed, and waits."""
    uri = "sqlite:///metadata.sqlite"
    with ModelRegistry.open(uri) as registry:
        three_versions(registry, place.folder, place.folder / "serving" / "penguin")
        decide_on(registry, register(registry, place.folder, 4), place.folder)
    place.variables["TFX_REGISTRY_URI"] = uri
    later = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)).date()
    place.replaced["2026-11-21"] = str(later)
    place.replaced["/srv/penguin"] = "serving/penguin"
    place.replaced["postgresql://ada@db/registry"] = "sqlite:///imported.sqlite"


def first(place: Place) -> None:
    """One version has passed, and nothing serves."""
    uri = "sqlite:///metadata.sqlite"
    with ModelRegistry.open(uri) as registry:
        decide_on(registry, register(registry, place.folder, 1), place.folder)
    (place.folder / "srv" / "serving").mkdir(parents=True)
    place.variables["TFX_REGISTRY_URI"] = uri
    place.replaced["/srv/"] = f"{place.folder}/srv/"


@contextlib.contextmanager
def servers(place: Place) -> Iterator[None]:
    """Two model servers follow a model config in which 1 serves; 4 has passed, and waits."""
    config = place.folder / "srv" / "serving" / "models.config"
    config.parent.mkdir(parents=True)
    uri = "sqlite:///metadata.sqlite"
    with ModelRegistry.open(uri) as registry:
        for number in (1, 2, 3, 4):
            decide_on(registry, register(registry, place.folder, number), place.folder)
            if number == 1:
                promote_by_config(
                    registry, "penguin", number, config.parent / "penguin", config,
                    servers=Servers(no_wait=True),
                )  # fmt: skip
    place.variables["TFX_REGISTRY_URI"] = uri
    with contextlib.ExitStack() as running:
        for name in ("tfs-1", "tfs-2"):
            server = running.enter_context(
                ModelServerEmulator(
                    model_config_file=str(config),
                    file_system_poll_wait_seconds=0.05,
                    model_config_file_poll_wait_seconds=0.05,
                    allow_version_labels_for_unavailable_models=True,
                )
            )
            place.replaced[f"http://{name}:8501"] = server.start().url
        place.replaced["/srv/"] = f"{place.folder}/srv/"
        yield


@contextlib.contextmanager
def latest(place: Place) -> Iterator[None]:
    """A model server loads the newest of a directory; 3 serves, 4 has passed and waits."""
    base = place.folder / "srv" / "serving" / "penguin"
    uri = "sqlite:///metadata.sqlite"
    with ModelRegistry.open(uri) as registry:
        three_versions(registry, place.folder, base)
        decide_on(registry, register(registry, place.folder, 4), place.folder)
    place.variables["TFX_REGISTRY_URI"] = uri
    with ModelServerEmulator(
        model_name="penguin", model_base_path=base, file_system_poll_wait_seconds=0.05
    ) as server:
        place.replaced["http://tfs-1:8501"] = server.start().url
        place.replaced["/srv/"] = f"{place.folder}/srv/"
        yield


def pusher(place: Place) -> None:
    """A directory that Pusher has filled."""
    place.variables["TFX_REGISTRY_URI"] = "sqlite:///metadata.sqlite"
    for number in (1767225600, 1767312000):
        write_minimal_model(place.folder / "serving" / "penguin" / str(number), str(number))


@contextlib.contextmanager
def postgresql(place: Place) -> Iterator[None]:
    """What the demo leaves behind, and a server without databases and users."""
    demo(place)
    with PostgreSqlServer() as server:
        (place.folder / ".registry-password").write_text("choose-one", encoding="utf-8")
        place.replaced["@db.example.com:5432/"] = f"@127.0.0.1:{server.port}/"
        place.sql = server.sql
        yield


@contextlib.contextmanager
def bucket(place: Place) -> Iterator[None]:
    """An object store in which version 3 serves after 1."""
    with GcsServer() as server:
        server.make_bucket("bucket")
        place.variables.update(server.environment, TFX_REGISTRY_URI="sqlite:///metadata.sqlite")
        os.environ.update(place.variables)
        with ModelRegistry.open() as registry:
            three_versions(registry, place.folder, "gs://bucket/models/penguin")
        yield


_SETUPS: dict[str, Callable[[Place], object]] = {
    setup.__name__: setup
    for setup in (bucket, demo, empty, first, latest, postgresql, pusher, servers, serving)
}


@pytest.fixture
def new_place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Place]]:
    """Makes the place with a name, in a folder of its own, and goes there."""
    bin_folder = str(Path(sys.executable).parent)
    names = iter(range(100))
    before = dict(os.environ)
    # Folders of pytest have names so long that lines would break elsewhere than on the pages.
    with tempfile.TemporaryDirectory() as short, contextlib.ExitStack() as running:
        # Code on a page may set variables, too.
        running.callback(lambda: (os.environ.clear(), os.environ.update(before)))

        def make(name: str) -> Place:
            folder = Path(short).resolve() / str(next(names))
            folder.mkdir()
            monkeypatch.chdir(folder)
            monkeypatch.setenv("HOME", str(folder))
            monkeypatch.setenv("PATH", os.pathsep.join((bin_folder, os.environ["PATH"])))
            monkeypatch.setenv("TFX_REGISTRY_ACTOR", "ada")
            monkeypatch.delenv("TFX_REGISTRY_URI", raising=False)
            place = Place(folder)
            made = _SETUPS[name](place)
            if made is not None:
                running.enter_context(made)  # type: ignore[call-overload]
            for key, value in place.variables.items():
                monkeypatch.setenv(key, value)
            return place

        yield make


@pytest.fixture(scope="session")
def pipeline_names() -> Callable[[], dict[str, Any]]:
    """Returns the names that the pipeline of a reader has, and what pages leave out by `...`."""

    def make() -> dict[str, Any]:
        import tensorflow_model_analysis as tfma
        from tfx import v1 as tfx

        from tfx_registry import components

        example_gen = tfx.components.CsvExampleGen(input_base="data")
        statistics_gen = tfx.components.StatisticsGen(examples=example_gen.outputs["examples"])
        schema_gen = tfx.components.SchemaGen(statistics=statistics_gen.outputs["statistics"])
        trainer = tfx.components.Trainer(
            run_fn="trainer.run_fn",
            examples=example_gen.outputs["examples"],
            train_args=tfx.proto.TrainArgs(num_steps=1),
            eval_args=tfx.proto.EvalArgs(num_steps=1),
        )
        eval_config = tfma.EvalConfig(
            model_specs=[tfma.ModelSpec(label_key="label")],
            slicing_specs=[tfma.SlicingSpec()],
            metrics_specs=[
                tfma.MetricsSpec(
                    metrics=[
                        tfma.MetricConfig(
                            class_name="AUC",
                            threshold=tfma.MetricThreshold(
                                value_threshold=tfma.GenericValueThreshold(
                                    lower_bound={"value": 0.9}
                                )
                            ),
                        )
                    ]
                )
            ],
        )
        evaluator = tfx.components.Evaluator(
            examples=example_gen.outputs["examples"], model=trainer.outputs["model"]
        )
        registrar = components.ModelRegistrar(
            model=trainer.outputs["model"], model_name="penguin", registry="sqlite:///m.sqlite"
        )
        gate = components.VersionGate(
            model_version=registrar.outputs["model_version"],
            model=trainer.outputs["model"],
            evaluation=evaluator.outputs["evaluation"],
            policy=POLICY,
        )
        model, version = 'trainer.outputs["model"]', 'registrar.outputs["model_version"]'
        elided = {
            "Promoter": {
                "model": model,
                "model_version": version,
                "blessing": 'gate.outputs["blessing"]',
                "push_destination": "push_destination",
            },
            "tfx.components.Evaluator": {
                "examples": 'example_gen.outputs["examples"]',
                "model": model,
            },
            "tfma.EvalConfig": {},
        }
        return {
            **{name: getattr(components, name) for name in components.__all__},
            "tfx": tfx,
            "tfma": tfma,
            "example_gen": example_gen,
            "schema_gen": schema_gen,
            "trainer": trainer,
            "eval_config": eval_config,
            "evaluator": evaluator,
            "registrar": registrar,
            "gate": gate,
            "GatePolicy": GatePolicy,
            "push_destination": tfx.proto.PushDestination(
                filesystem=tfx.proto.PushDestination.Filesystem(base_directory="serving/penguin")
            ),
            "elided": elided,
        }

    return make
