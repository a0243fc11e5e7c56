"""What the runners have in common: command line options, and the pipeline that they describe.

Nothing heavy is imported before the options are checked, so `--help` and a mistyped option answer
at once, without TensorFlow.
"""

import contextlib
import functools
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tfx_registry.pipelines.penguin.hyperparameters import ISLANDS, Hyperparameters

IN_MEMORY_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
"""Beam's in-process runner by its full name: "DirectRunner" would first download another one."""

IN_MEMORY_BEAM_ARGS: tuple[str, ...] = (f"--runner={IN_MEMORY_RUNNER}",)

_DEFAULTS = Hyperparameters()


@dataclass(frozen=True)
class RunOptions:
    """Everything that a runner needs to build the penguin pipeline.

    Attributes:
        pipeline_name: The pipeline's name in ML Metadata.
        data_dir: Where the raw data is written.
        pipeline_root: Where the artifacts go.
        serving_dir: The base directory that TensorFlow Serving watches for this model.
        metadata: The SQLite file of ML Metadata.
        registry: URI of the model registry.
        model_name: The model's name in the registry.
        alias: The alias of the version that serves.
        hyperparameters: How to train.
        description: What is special about this model, or `None`.
        enable_cache: Whether unchanged components reuse their outputs.
        beam_args: Options for the components that run on Beam.
        gate_evaluates: Whether VersionGate runs TFMA by itself, in the place of Evaluator.
    """

    pipeline_name: str
    data_dir: Path
    pipeline_root: Path
    serving_dir: Path
    metadata: Path
    registry: str
    model_name: str = "penguin"
    alias: str = "production"
    hyperparameters: Hyperparameters = _DEFAULTS
    description: str | None = None
    enable_cache: bool = True
    beam_args: Sequence[str] = IN_MEMORY_BEAM_ARGS
    gate_evaluates: bool = False

    @classmethod
    def below(cls, output_dir: Path, **overrides: Any) -> "RunOptions":
        """Puts everything in one directory; registry and ML Metadata share a database.

        Args:
            output_dir: The directory; made absolute, so that a component may change directory.
            **overrides: Attributes that are not to have their usual place; `None` is no override.

        Returns:
            The options.
        """
        root = output_dir.absolute()
        chosen = {
            name: value.absolute() if isinstance(value, Path) else value
            for name, value in overrides.items()
            if value is not None
        }
        metadata = chosen.get("metadata", root / "metadata.sqlite")
        usual: dict[str, Any] = {
            "pipeline_name": "penguin",
            "data_dir": root / "data",
            "pipeline_root": root / "pipeline",
            "serving_dir": root / "serving" / chosen.get("model_name", "penguin"),
            "metadata": metadata,
            "registry": f"sqlite:///{metadata}",
        }
        return cls(**{**usual, **chosen})


def build_pipeline(options: RunOptions) -> Any:
    """Writes the raw data, if it is not there, and builds the pipeline.

    Args:
        options: Where things are and how to train.

    Returns:
        A `tfx.dsl.Pipeline` for a runner that keeps ML Metadata in SQLite.
    """
    # Loads TensorFlow, TFX and Beam: 10 to 40 seconds.
    from tfx import v1 as tfx

    from tfx_registry.pipelines.penguin.data import write_penguin_csv
    from tfx_registry.pipelines.penguin.pipeline import create_pipeline

    options.metadata.parent.mkdir(parents=True, exist_ok=True)
    data = write_penguin_csv(options.data_dir)
    return create_pipeline(
        pipeline_name=options.pipeline_name,
        pipeline_root=str(options.pipeline_root),
        data_root=str(data.root),
        serving_dir=str(options.serving_dir),
        registry_uri=options.registry,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(options.metadata)
        ),
        model_name=options.model_name,
        hyperparameters=options.hyperparameters,
        alias=options.alias,
        description=options.description,
        enable_cache=options.enable_cache,
        beam_pipeline_args=options.beam_args,
        gate_evaluates=options.gate_evaluates,
    )


def run_options(command: Callable[[RunOptions], None]) -> Callable[..., None]:
    """Gives a click command the options of a pipeline run.

    Args:
        command: Called with the options, put together and checked.

    Returns:
        A function for `click.command` to decorate.
    """

    @functools.wraps(command)
    def read_options(
        output_dir: Path,
        epochs: int,
        learning_rate: float,
        hidden_units: str,
        seed: int,
        only_island: str | None,
        verbose: bool,
        beam_args: tuple[str, ...],
        **overrides: Any,
    ) -> None:
        try:
            hyperparameters = Hyperparameters(
                epochs=epochs,
                learning_rate=learning_rate,
                hidden_units=_parse_units(hidden_units),
                seed=seed,
                only_island=only_island,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        logging.basicConfig(level=logging.INFO if verbose else logging.WARNING)
        options = RunOptions.below(
            output_dir,
            hyperparameters=hyperparameters,
            beam_args=beam_args or IN_MEMORY_BEAM_ARGS,
            **overrides,
        )
        with hidden_arguments():
            command(options)

    decorated: Callable[..., None] = read_options
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


@contextlib.contextmanager
def hidden_arguments() -> Iterator[None]:
    """Hides this program's arguments from TFX for as long as the context lasts.

    Components that run on Beam read `sys.argv` as flags of absl (`BaseBeamExecutor.__init__`), so
    a `-v` of ours would be absl's verbosity, and take the next argument for its value.
    """
    kept = sys.argv
    sys.argv = kept[:1]
    try:
        yield
    finally:
        sys.argv = kept


def _parse_units(text: str) -> tuple[int, ...]:
    """Reads "16,8" as (16, 8), and an empty text as no hidden layer."""
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ValueError(
            f"--hidden-units is {text!r}, it must be whole numbers with commas between, like 16,8"
        ) from error


_PATH = click.Path(path_type=Path)
_OPTIONS: tuple[Callable[[Callable[..., None]], Callable[..., None]], ...] = (
    click.option(
        "--output-dir",
        type=_PATH,
        default=Path("penguin_output"),
        show_default=True,
        help="Where everything goes that has no place of its own.",
    ),
    click.option("--data-dir", type=_PATH, help="Raw data.  [default: OUTPUT_DIR/data]"),
    click.option("--pipeline-root", type=_PATH, help="Artifacts.  [default: OUTPUT_DIR/pipeline]"),
    click.option(
        "--serving-dir",
        type=_PATH,
        help="Base directory that TensorFlow Serving watches.  [default: OUTPUT_DIR/serving/MODEL]",
    ),
    click.option(
        "--metadata",
        type=_PATH,
        help="SQLite file of ML Metadata.  [default: OUTPUT_DIR/metadata.sqlite]",
    ),
    click.option(
        "--registry",
        envvar="TFX_REGISTRY_URI",
        help="URI of the model registry; also $TFX_REGISTRY_URI.  [default: the METADATA file]",
    ),
    click.option("--pipeline-name", default="penguin", show_default=True),
    click.option("--model-name", default="penguin", show_default=True),
    click.option("--alias", default="production", show_default=True),
    click.option("--description", help="What is special about this model."),
    click.option("--epochs", type=int, default=_DEFAULTS.epochs, show_default=True),
    click.option("--learning-rate", type=float, default=_DEFAULTS.learning_rate, show_default=True),
    click.option(
        "--hidden-units",
        default=",".join(map(str, _DEFAULTS.hidden_units)),
        show_default=True,
        help="Units of each hidden layer, with commas between.",
    ),
    click.option("--seed", type=int, default=_DEFAULTS.seed, show_default=True),
    click.option(
        "--only-island",
        type=click.Choice(ISLANDS),
        help="Train on one island alone, as if a filter upstream were broken.",
    ),
    click.option(
        "--cache/--no-cache",
        "enable_cache",
        default=True,
        show_default=True,
        help="Whether unchanged components reuse their outputs.",
    ),
    click.option(
        "--beam-arg",
        "beam_args",
        multiple=True,
        help=f"An option for Beam, may be repeated.  [default: {IN_MEMORY_BEAM_ARGS[0]}]",
    ),
    click.option(
        "--gate-evaluates",
        is_flag=True,
        help="Let VersionGate run TFMA by itself, without Evaluator and resolver.",
    ),
    click.option("-v", "--verbose", is_flag=True, help="Log what each component does."),
)
