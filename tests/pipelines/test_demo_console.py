from __future__ import annotations

import io
import logging
import os
import pty
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from tfx_registry.pipelines.demo import console, progress, stages
from tfx_registry.pipelines.demo.__main__ import main
from tfx_registry.pipelines.demo.directory import DemoDirectory
from tfx_registry.pipelines.penguin.policy import ACCURACY, CROSS_ENTROPY
from tfx_registry.records import (
    DecisionSummary,
    Metric,
    ModelFacts,
    ModelFormat,
    Verdict,
    Version,
)

DREAM = (("island", "Dream"),)


def version(number: int, verdict: Verdict | None, **fields: Any) -> Version:
    decision = None
    if verdict is not None:
        reasons = ("slice [Dream]: too low",) if verdict is Verdict.BLOCKED else ()
        decision = DecisionSummary(verdict, 2, "t", "ada", baseline=number - 1, reasons=reasons)
    return Version(
        model="penguin",
        number=number,
        facts=ModelFacts("/m", ModelFormat.SAVED_MODEL, "d", "m", 1, 1),
        time="2026-01-02T03:04:05.000006Z",
        actor="ada",
        decision=decision,
        **fields,
    )


def result(*versions: Version) -> stages.DemoResult:
    penguin = {
        "bill_length_mm": "50",
        "bill_depth_mm": "15",
        "flipper_length_mm": "220",
        "body_mass_g": "5000",
        "species": "Gentoo",
    }
    return stages.DemoResult(
        versions=versions,
        serving_dir=Path("demo_output/serving/penguin"),
        published=(1, 3),
        prediction=stages.Prediction(
            Path("demo_output/serving/penguin/3"), penguin, "Gentoo", {"Gentoo": 0.987}
        ),
        times=(
            progress.StageTime("load", 9.96),
            progress.StageTime("train", 5.0, (("A", 1.0), ("B", 3.0), ("C", 0.1), ("D", 0.2))),
        ),
    )


def shown(demo_result: stages.DemoResult) -> str:
    stream = io.StringIO()
    console.show_result(
        console.open_console(stream), DemoDirectory(Path("demo_output")), demo_result
    )
    return stream.getvalue()


def row(text: str, start: str) -> str:
    [line] = [line for line in text.splitlines() if line.strip().startswith(start)]
    return " ".join(line.split())


def test_the_table_tells_state_metrics_worst_slice_who_and_when() -> None:
    metrics = (
        Metric(ACCURACY, 0.8),
        Metric(CROSS_ENTROPY, 0.76),
        Metric(ACCURACY, 1.0, (("island", "Biscoe"),)),
        Metric(ACCURACY, 0.45, DREAM),
    )

    text = shown(result(version(2, Verdict.BLOCKED, metrics=metrics)))

    assert row(text, "2 ") == ("2 blocked 0.800 0.450 island=Dream 0.760 1 ada 2026-01-02 03:04")


def test_a_version_without_decision_or_metrics_is_shown_all_the_same() -> None:
    assert row(shown(result(version(1, None))), "1 ").startswith("1 registered - - - - ada")


def test_what_serves_is_shown_with_its_alias() -> None:
    text = shown(result(version(3, Verdict.PASSED, serving=("/s",), aliases=("production",))))

    assert row(text, "3 ").startswith("3 serving, @production")


def test_equal_slices_have_no_worst() -> None:
    metrics = (Metric(ACCURACY, 1.0, DREAM), Metric(ACCURACY, 1.0, (("sex", "male"),)))

    assert "1.000 every slice" in shown(result(version(1, Verdict.PASSED, metrics=metrics)))


def test_reasons_are_shown_as_they_are_and_only_for_blocked_versions() -> None:
    text = shown(result(version(1, Verdict.PASSED), version(2, Verdict.BLOCKED)))

    assert "Why version 2 was blocked" in text
    # Brackets would be markup to rich.
    assert "  - slice [Dream]: too low" in text
    assert "Why version 1" not in text


def test_the_slowest_components_come_first() -> None:
    text = shown(result())

    assert row(text, "train") == "train 5.0 B 3.0, A 1.0, D 0.2"
    assert row(text, "all") == "all 15.0"


def test_prediction_serving_directory_and_log_are_named() -> None:
    text = shown(result())

    assert "Serving directory demo_output/serving/penguin: versions 1 and 3" in text
    assert "Gentoo (Gentoo 98.7%); it is a Gentoo" in text
    assert "Full log: demo_output/demo.log" in text


def test_a_directory_with_a_space_is_quoted_in_the_commands() -> None:
    stream = io.StringIO()
    console.show_result(console.open_console(stream), DemoDirectory(Path("my demo")), result())

    assert "--registry 'sqlite:///my demo/metadata.sqlite' versions" in stream.getvalue()


def test_a_terminal_that_does_not_know_its_size_is_taken_for_a_usual_one() -> None:
    inner, outer = pty.openpty()
    with os.fdopen(inner, "rb"), os.fdopen(outer, "w") as stream:
        assert os.get_terminal_size(stream.fileno()).columns == 0
        assert console.open_console(stream).width == 80


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_table_fits_the_terminal_and_loses_nothing(width: int) -> None:
    stream = io.StringIO()
    long = version(3, Verdict.PASSED, serving=("/s",), aliases=("production",))
    console.show_versions(Console(file=stream, width=width), [long])
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= width
    for expected in ("serving, @production", "ada", "2026-01-02 03:04", "when (UTC)"):
        assert expected in text


def test_progress_in_a_pipe_is_plain_lines() -> None:
    stream = io.StringIO()
    reporter = console.ConsoleReporter(console.open_console(stream))

    reporter.started("model [1]")
    reporter.component("Trainer")
    reporter.finished(progress.StageTime("model [1]", 1.23), "passed")

    assert stream.getvalue().splitlines() == [
        "model [1] ...",
        "done model [1] (1.2 s)",
        "     passed",
    ]


def test_progress_on_a_terminal_names_the_running_component() -> None:
    stream = io.StringIO()
    reporter = console.ConsoleReporter(Console(file=stream, force_terminal=True, width=100))

    reporter.started("model 1")
    reporter.component("Trainer")
    reporter.finished(progress.StageTime("model 1", 1.0), "")

    assert "model 1: Trainer" in stream.getvalue()


def test_what_libraries_print_beside_the_spinner_does_not_reach_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stream = io.StringIO()
    reporter = console.ConsoleReporter(Console(file=stream, force_terminal=True, width=100))

    reporter.started("load")
    sys.stdout.write("noise\n")
    sys.stderr.write("noise\n")
    reporter.finished(progress.StageTime("load", 1.0), "")

    assert "noise" not in stream.getvalue()
    assert capsys.readouterr() == ("noise\n", "noise\n")


def test_a_failed_stage_ends_with_1_its_reason_and_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        logging.getLogger("library").warning("noise")
        raise progress.StageFailedError("model 2: a filter", "RuntimeError: disk full")

    monkeypatch.setattr(stages, "run_demo", fail)

    done = CliRunner().invoke(main, ["--output-dir", str(tmp_path / "d")])

    assert done.exit_code == 1
    assert "Error: model 2: a filter: RuntimeError: disk full" in done.output
    assert f"The full log is in {tmp_path}/d/demo.log" in done.output
    assert "Traceback" not in done.output
    assert "noise" not in done.output
    assert "noise" in (tmp_path / "d" / "demo.log").read_text()


def train_nothing(directory: DemoDirectory, training: stages.Training) -> None:
    from tfx_registry import ModelRegistry

    model = directory.root / "model"
    model.mkdir()
    (model / "weights").write_text("w")
    with ModelRegistry.open(directory.registry_uri) as registry:
        registry.register(stages.MODEL_NAME, model)


def train_and_fail(directory: DemoDirectory, training: stages.Training) -> None:
    raise OSError("first line\n\nsecond line\nthird line\ndisk full [while running X]")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("train", "reason"),
    [
        (train_nothing, "RuntimeError: the gate recorded no decision on it"),
        (train_and_fail, "OSError: second line / third line / disk full [while running X]"),
    ],
)
def test_a_stage_that_comes_out_otherwise_than_the_story_says_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train: Any, reason: str
) -> None:
    monkeypatch.setattr(stages, "_train", train)
    reporter = console.ConsoleReporter(console.open_console(io.StringIO()))

    with pytest.raises(progress.StageFailedError) as raised:
        stages.run_demo(DemoDirectory(tmp_path), reporter)

    assert raised.value.title == "model 1: a first model, trained briefly"
    assert raised.value.reason == reason


def test_only_whole_numbers_are_published_versions(tmp_path: Path) -> None:
    for name in ("1", "10", "3", ".tfx_registry", "2.tmp"):
        (tmp_path / name).mkdir()

    assert stages.published_versions(tmp_path) == (1, 3, 10)


def test_stage_errors_survive_pickling() -> None:
    import pickle

    error = progress.StageFailedError("a", "b")

    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "a: b"


@pytest.mark.parametrize("on_path", [True, False])
def test_how_to_put_the_command_on_the_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, on_path: bool
) -> None:
    activate = tmp_path / "my env" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "my env"))
    monkeypatch.setattr(console.shutil, "which", lambda _: "/bin/x" if on_path else None)
    stream = io.StringIO()
    screen = Console(file=stream, width=200)
    console.show_result(screen, DemoDirectory(tmp_path), result(version(1, Verdict.PASSED)))
    assert ("  source 'my env/bin/activate'\n" in stream.getvalue()) is not on_path
