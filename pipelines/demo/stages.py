"""The demo itself: what is trained, what must come out of it, and how long it takes.

It prints nothing; a `Reporter` is told what goes on, and the result holds what there is to show.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from tfx_registry import ModelRegistry
from tfx_registry.pipelines.csv_files import EVAL_SPLIT
from tfx_registry.pipelines.demo.directory import DemoDirectory
from tfx_registry.pipelines.demo.progress import Reporter, Stages, StageTime
from tfx_registry.pipelines.options import RunOptions, build_pipeline, hidden_arguments
from tfx_registry.pipelines.penguin.data import FILE_NAME
from tfx_registry.pipelines.penguin.hyperparameters import Hyperparameters
from tfx_registry.records import Verdict, Version

MODEL_NAME = "penguin"
ALIAS = "production"

_SHOWN_SPECIES = "Chinstrap"


@dataclass(frozen=True)
class Training:
    """One run of the pipeline in the demo's story.

    Attributes:
        title: What is tried, in a few words.
        hyperparameters: How the model is trained.
        expected: What the gate must say to it.
    """

    title: str
    hyperparameters: Hyperparameters
    expected: Verdict


STORY: tuple[Training, ...] = (
    Training("a first model, trained briefly", Hyperparameters(epochs=5), Verdict.PASSED),
    Training(
        "a broken filter left only the island Biscoe to train on",
        Hyperparameters(only_island="Biscoe"),
        Verdict.BLOCKED,
    ),
    Training("all islands again, trained longer", Hyperparameters(), Verdict.PASSED),
)


@dataclass(frozen=True)
class Prediction:
    """What the published model says about one penguin that it was not trained on.

    Attributes:
        model_dir: The directory that the model was loaded from.
        penguin: The penguin, column to text.
        species: The species that the model finds most likely.
        scores: The probability of each species.
    """

    model_dir: Path
    penguin: dict[str, str]
    species: str
    scores: dict[str, float]


@dataclass(frozen=True)
class DemoResult:
    """What is there when the demo is over.

    Attributes:
        versions: The registered versions, oldest first.
        serving_dir: The base directory that TensorFlow Serving would watch.
        published: The version directories in it, in order.
        prediction: An answer of the model that serves.
        times: How long each stage took.
    """

    versions: tuple[Version, ...]
    serving_dir: Path
    published: tuple[int, ...]
    prediction: Prediction
    times: tuple[StageTime, ...]


def run_demo(directory: DemoDirectory, reporter: Reporter) -> DemoResult:
    """Runs the three trainings of the story and checks what came out of each.

    Args:
        directory: An empty directory, see `directory.fresh_directory`.
        reporter: Is told how far it is.

    Returns:
        What there is now.

    Raises:
        StageFailedError: A component failed, or the outcome is not what the story says. Its cause
            is the original error, if there was one.
    """
    stages = Stages(reporter)
    with stages.stage("load TensorFlow, TFX and Beam") as stage:
        import tfx.v1
        import tfx.version

        stage.outcome = f"TFX {tfx.version.__version__}"
    for number, training in enumerate(STORY, start=1):
        with stages.stage(f"model {number}: {training.title}") as stage:
            _train(directory, training)
            version = _check_outcome(directory, number, training)
            stage.outcome = _describe(version)
    serving_dir = directory.serving(MODEL_NAME)
    with stages.stage("ask the published model") as stage:
        published = published_versions(serving_dir)
        expected = tuple(
            number
            for number, training in enumerate(STORY, start=1)
            if training.expected is Verdict.PASSED
        )
        _check(published == expected, f"{serving_dir} holds {published}, expected {expected}")
        prediction = ask_model(serving_dir / str(published[-1]), _penguin_to_ask(directory.root))
        stage.outcome = f"{prediction.species}, {prediction.scores[prediction.species]:.1%}"
    with ModelRegistry.open(directory.registry_uri) as registry:
        versions = tuple(registry.list_versions(MODEL_NAME, newest_first=False))
    return DemoResult(versions, serving_dir, published, prediction, tuple(stages.times))


def published_versions(serving_dir: Path) -> tuple[int, ...]:
    """Returns the version numbers that TensorFlow Serving would see in a base directory."""
    return tuple(sorted(int(entry.name) for entry in serving_dir.iterdir() if entry.name.isdigit()))


def ask_model(model_dir: Path, penguin: dict[str, str]) -> Prediction:
    """Loads a published model and asks it for the species of one penguin.

    Args:
        model_dir: A SavedModel directory, such as `serving/penguin/3`.
        penguin: The measurements, column to text.

    Returns:
        The model's answer.
    """
    import tensorflow as tf

    from tfx_registry.pipelines.penguin.trainer import MEASUREMENTS

    signature = tf.saved_model.load(str(model_dir)).signatures["measurements"]
    answer = signature(**{name: tf.constant([float(penguin[name])]) for name in MEASUREMENTS})
    classes = [name.decode() for name in answer["classes"].numpy()[0]]
    scores = [float(score) for score in answer["scores"].numpy()[0]]
    return Prediction(
        model_dir=model_dir,
        penguin=penguin,
        species=answer["species"].numpy()[0].decode(),
        scores=dict(zip(classes, scores, strict=True)),
    )


def _train(directory: DemoDirectory, training: Training) -> None:
    """Runs the whole pipeline once."""
    from tfx import v1 as tfx

    options = RunOptions.below(
        directory.root,
        metadata=directory.database,
        serving_dir=directory.serving(MODEL_NAME),
        model_name=MODEL_NAME,
        alias=ALIAS,
        hyperparameters=training.hyperparameters,
        description=training.title,
    )
    with hidden_arguments():
        tfx.orchestration.LocalDagRunner().run(build_pipeline(options))


def _check_outcome(directory: DemoDirectory, number: int, training: Training) -> Version:
    """Returns the version that a training made, which must be the one that the story wants."""
    with ModelRegistry.open(directory.registry_uri) as registry:
        version = registry.latest(MODEL_NAME)
    _check(version.number == number, f"it was registered as version {version.number}")
    decision = version.decision
    _check(decision is not None, "the gate recorded no decision on it")
    assert decision is not None
    _check(
        decision.verdict is training.expected,
        f"the gate says {decision.verdict.value}, expected {training.expected.value}: "
        + "; ".join(decision.reasons),
    )
    return version


def _describe(version: Version) -> str:
    """Says in one line what became of a version."""
    decision = version.decision
    assert decision is not None
    if decision.verdict is Verdict.BLOCKED:
        count = len(decision.reasons)
        return f"registered as version {version.number}, blocked for {count} reasons (see below)"
    compared = f", compared with version {decision.baseline}" if decision.baseline else ""
    return f"registered as version {version.number}, passed{compared}, published"


def _penguin_to_ask(root: Path) -> dict[str, str]:
    """Returns a penguin of the evaluation split, of the species that the bad model never saw."""
    with (root / "data" / EVAL_SPLIT / FILE_NAME).open(encoding="utf-8", newline="") as stream:
        return next(row for row in csv.DictReader(stream) if row["species"] == _SHOWN_SPECIES)


def _check(holds: bool, reason: str) -> None:
    """Raises RuntimeError unless a claim of the story holds."""
    if not holds:
        raise RuntimeError(reason)
