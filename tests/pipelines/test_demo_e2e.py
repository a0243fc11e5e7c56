"""The demo as a user runs it: one process, once, and everything that it claims."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.pipelines.penguin.policy import ACCURACY, CROSS_ENTROPY
from tfx_registry.records import Verdict, VersionState

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


def test_three_versions_the_second_blocked_the_third_serving(demo) -> None:
    assert [version.number for version in demo.versions] == [1, 2, 3]
    assert [version.state for version in demo.versions] == [
        VersionState.PASSED,
        VersionState.BLOCKED,
        VersionState.SERVING,
    ]
    assert demo.versions[2].aliases == ("production",)


def test_exactly_1_and_3_are_numeric_in_the_serving_directory(demo) -> None:
    serving = demo.root / "serving" / "penguin"

    assert sorted(p.name for p in serving.iterdir() if p.name.isdigit()) == ["1", "3"]
    for number in ("1", "3"):
        assert (serving / number / "saved_model.pb").is_file()
        assert (serving / number / "variables" / "variables.index").is_file()


def test_the_second_is_blocked_for_a_slice_that_its_training_never_saw(demo) -> None:
    second = demo.versions[1]
    decision = second.decision
    assert decision is not None

    assert decision.verdict is Verdict.BLOCKED
    # It is good where it was trained, and as good on Torgersen; only Dream has Chinstraps.
    assert second.metric(ACCURACY, (("island", "Biscoe"),)) == pytest.approx(1.0, abs=0.05)
    dream = second.metric(ACCURACY, (("island", "Dream"),))
    assert dream is not None
    assert dream < 0.6
    [reason] = [
        reason
        for reason in decision.reasons
        if "island=Dream" in reason and ACCURACY in reason and "below the lower bound 0.8" in reason
    ]
    assert f"{dream:.3f}"[:4] in reason
    assert not any("island=Biscoe" in reason for reason in decision.reasons)


def test_the_third_was_compared_with_the_first_on_the_same_examples(demo) -> None:
    first, _, third = demo.versions

    assert first.decision is not None
    assert first.decision.baseline is None
    assert third.decision is not None
    assert third.decision.baseline == 1
    with ModelRegistry.open(demo.uri, create=False) as registry:
        decided = registry.decision("penguin", 3)
    assert decided is not None
    report = json.dumps(decided.report)
    assert "island" in report
    better, worse = third.metric(CROSS_ENTROPY), first.metric(CROSS_ENTROPY)
    assert better is not None
    assert worse is not None
    assert better < worse


def test_versions_say_what_made_them(demo) -> None:
    for version, expected in zip(
        demo.versions,
        ({"epochs": "5"}, {"only_island": "Biscoe"}, {"epochs": "30"}),
        strict=True,
    ):
        assert expected.items() <= version.hyperparameters.items()
        assert {source.key for source in version.sources} >= {"examples", "schema"}
        assert set(version.facts.signatures) >= {"serving_default", "measurements"}
        assert version.origin.pipeline_name == "penguin"
        assert version.description


def test_the_published_bytes_are_the_registered_bytes(demo) -> None:
    from tfx_registry.digest import digest_path

    for number in (1, 3):
        published = digest_path(demo.root / "serving" / "penguin" / str(number))
        assert published.root == demo.versions[number - 1].digest


def test_the_published_model_answers(demo) -> None:
    from tfx_registry.pipelines.demo.stages import ask_model

    answer = ask_model(
        demo.root / "serving" / "penguin" / "3",
        {
            "bill_length_mm": "46.1",
            "bill_depth_mm": "13.2",
            "flipper_length_mm": "211",
            "body_mass_g": "4500",
        },
    )

    assert answer.species == "Gentoo"
    assert answer.scores["Gentoo"] > 0.9


def test_the_reader_sees_the_story_and_no_noise(demo) -> None:
    assert demo.errors == ""
    for expected in (
        "model 1: a first model",
        "registered as version 2, blocked",
        "island=Dream",
        "versions 1 and 3",
        "demo_output/serving/penguin/3",
        "Chinstrap (",
        "tfx-registry --registry sqlite:///demo_output/metadata.sqlite versions penguin",
        "Full log: demo_output/demo.log",
    ):
        assert expected in demo.output
    assert not re.search(r"warning|tensorflow/|absl|\x1b", demo.output, re.IGNORECASE)
    assert len(demo.output.splitlines()) < 80
    assert "Component Evaluator is running." in (demo.root / "demo.log").read_text()


def test_the_next_commands_work(demo) -> None:
    commands = re.findall(r"^  (tfx-registry .*)$", demo.output, re.MULTILINE)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    printed = {}
    for command in commands:
        done = subprocess.run(
            command,
            shell=True,
            cwd=demo.working_dir,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=250,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        printed[command.partition("metadata.sqlite ")[2]] = done.stdout

    assert set(printed) == {
        "versions penguin",
        "history penguin",
        "show penguin@production",
        "show penguin:2",
        "--json versions penguin",
    }
    assert "blocked" in printed["versions penguin"]
    assert "promoted" in printed["history penguin"]
    assert "penguin:3" in printed["show penguin@production"]
    assert "island=Dream" in printed["show penguin:2"]
    versions = json.loads(printed["--json versions penguin"])
    assert {version["number"]: version["state"] for version in versions} == {
        1: "passed",
        2: "blocked",
        3: "serving",
    }


def test_a_second_demo_in_the_same_place_starts_again(demo, tmp_path: Path) -> None:
    # A copy, because other tests read the demo. Only the beginning is of interest here; whether a
    # run on an emptied directory succeeds is what all other tests are about.
    from tfx_registry.pipelines.demo.directory import fresh_directory

    copy = tmp_path / "demo_output"
    subprocess.run(["cp", "-a", str(demo.root), str(copy)], check=True)

    with fresh_directory(copy) as directory:
        assert [p.name for p in directory.root.iterdir()] == [".tfx-registry-demo"]


def test_a_foreign_directory_is_refused_in_one_line(demo, tmp_path: Path) -> None:
    (tmp_path / "demo_output").mkdir()
    (tmp_path / "demo_output" / "thesis.txt").touch()

    done = demo.run(tmp_path)

    assert done.returncode == 2
    assert "Error: demo_output is not empty and was not made by the demo" in done.stderr
    assert [p.name for p in (tmp_path / "demo_output").iterdir()] == ["thesis.txt"]
