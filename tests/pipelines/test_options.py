import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tfx_registry.pipelines.options import IN_MEMORY_BEAM_ARGS, RunOptions, run_options
from tfx_registry.pipelines.penguin.hyperparameters import Hyperparameters


def parse(*arguments: str) -> tuple[Result, list[RunOptions]]:
    seen: list[RunOptions] = []
    command = click.command()(run_options(seen.append))
    result = CliRunner(env={"TFX_REGISTRY_URI": None}).invoke(command, arguments)
    return result, seen


def test_everything_goes_below_the_output_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    _, [options] = parse("--output-dir", "out")

    root = tmp_path / "out"
    assert options.data_dir == root / "data"
    assert options.pipeline_root == root / "pipeline"
    assert options.serving_dir == root / "serving" / "penguin"
    assert options.metadata == root / "metadata.sqlite"
    assert options.registry == f"sqlite:///{root}/metadata.sqlite"
    assert options.beam_args == IN_MEMORY_BEAM_ARGS
    assert options.hyperparameters == Hyperparameters()
    assert options.enable_cache


def test_each_place_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    _, [options] = parse(
        *("--serving-dir", "/srv/models/p", "--metadata", "mlmd.db", "--model-name", "p"),
        *("--registry", "sqlite:///other.sqlite", "--no-cache"),
        *("--beam-arg=--runner=X", "--beam-arg=--y=1"),
    )

    assert options.serving_dir == Path("/srv/models/p")
    assert options.metadata == tmp_path / "mlmd.db"
    assert options.registry == "sqlite:///other.sqlite"
    assert options.beam_args == ("--runner=X", "--y=1")
    assert not options.enable_cache


def test_the_registry_follows_the_metadata_file(tmp_path: Path) -> None:
    _, [options] = parse("--metadata", str(tmp_path / "m.db"))

    assert options.registry == f"sqlite:///{tmp_path}/m.db"


def test_the_serving_directory_follows_the_model_name(tmp_path: Path) -> None:
    _, [options] = parse("--output-dir", str(tmp_path), "--model-name", "gentoo")

    assert options.serving_dir == tmp_path / "serving" / "gentoo"


def test_hyperparameters_are_read() -> None:
    _, [options] = parse(
        *("--epochs", "3", "--learning-rate", "0.5", "--hidden-units", "16, 8", "--seed", "7"),
        *("--only-island", "Dream"),
    )

    assert options.hyperparameters == Hyperparameters(
        epochs=3, learning_rate=0.5, hidden_units=(16, 8), seed=7, only_island="Dream"
    )


def test_tfx_does_not_see_the_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["runner", "-v", "--epochs", "3"])
    seen: list[list[str]] = []
    command = click.command()(run_options(lambda options: seen.append(sys.argv)))

    CliRunner().invoke(command, sys.argv[1:], catch_exceptions=False)

    assert seen == [["runner"]]
    assert sys.argv == ["runner", "-v", "--epochs", "3"]


def test_no_hidden_layer_is_an_empty_text() -> None:
    _, [options] = parse("--hidden-units", "")

    assert options.hyperparameters.hidden_units == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--epochs", "0"), "epochs is 0, it must be a whole number, 1 or more"),
        (("--hidden-units", "16;8"), "--hidden-units is '16;8'"),
        (("--only-island", "Atlantis"), "'Atlantis' is not one of"),
        (("--learning-rate", "nan"), "learning_rate is nan"),
    ],
)
def test_bad_options_end_with_2_before_anything_runs(
    arguments: tuple[str, ...], message: str
) -> None:
    result, seen = parse(*arguments)

    assert result.exit_code == 2
    assert message in result.output
    assert seen == []


@pytest.mark.parametrize("module", ["local_runner", "beam_runner", "demo"])
def test_help_answers_without_tensorflow(module: str) -> None:
    # -X importtime writes one line for each imported module to stderr.
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", f"tfx_registry.pipelines.{module}", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=250,
    )

    assert "--output-dir" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "click" in imported
    assert not imported & {"tensorflow", "tfx", "apache_beam", "tensorflow_model_analysis"}
