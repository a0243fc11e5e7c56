"""The command `gate` on real TFMA results decides as VersionGate does."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfx_registry import ModelRegistry, codec
from tfx_registry.cli.main import main
from tfx_registry.components.version_gate.tfma_results import load_evaluation
from tfx_registry.gate import GatePolicy, SliceSpec, ValueThreshold

Run = Callable[..., tuple[int, Any, str]]
POLICY = GatePolicy(
    [ValueThreshold("binary_accuracy", 0.6, slices=[SliceSpec(), SliceSpec(["age"])])],
    min_examples=10,
)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], uri: str, tmp_path: Path) -> Run:
    """Runs `gate` with the policy; returns exit code, JSON document and errors."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.to_yaml(), encoding="utf-8")

    def run_command(*arguments: object) -> tuple[int, Any, str]:
        capfd.readouterr()
        code = main(
            ["--registry", uri, "--json", "gate", *map(str, arguments), "--policy", str(policy)]
        )
        captured = capfd.readouterr()
        return code, json.loads(captured.out) if captured.out else None, captured.err

    return run_command


def test_the_command_gives_the_report_of_version_gate(
    pipeline: Any, evaluated: Any, run: Run
) -> None:
    version = pipeline.register(evaluated.bad)
    _, report = pipeline.gate(version, evaluated.bad, evaluated.bad_alone, POLICY)
    events = pipeline.events()
    code, answer, errors = run("ages:1", "--evaluation", evaluated.bad_alone)
    assert code == 4
    assert codec.dumps(answer["report"]) == report.to_json()
    assert (answer["differences"], answer["recorded"]) == ([], None)
    assert errors.count("\n") == 1, "TensorFlow is not to be heard"
    assert pipeline.events() == events


def test_the_command_records_what_it_decided(pipeline: Any, evaluated: Any, run: Run) -> None:
    pipeline.register(evaluated.good)
    code, answer, _ = run("ages:1", "--evaluation", evaluated.good_alone, "--record")
    assert (code, answer["recorded"]) == (0, pipeline.events())
    pushed = pipeline.promote(pipeline.register(evaluated.good), evaluated.good)
    assert pushed.get_int_custom_property("pushed") == 1


def test_evaluations_that_prove_nothing_block(
    pipeline: Any, evaluated: Any, run: Run, tmp_path: Path
) -> None:
    pipeline.register(evaluated.good)
    (tmp_path / "empty").mkdir()
    for folder, reason in (
        (tmp_path / "empty", "evaluation_empty"),
        (evaluated.bad_alone, "evaluation_of_another_model"),
    ):
        code, answer, _ = run("ages:1", "--evaluation", folder)
        assert code == 4
        assert {c["reason"] for c in answer["report"]["checks"]} == {reason}


def test_a_place_that_tfma_was_not_told_is_none(evaluated: Any, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(evaluated.good_alone, copy)
    assert load_evaluation(str(copy)).data_location.endswith("examples.tfrecord")
    path = copy / "eval_config.json"
    run = json.loads(path.read_text(encoding="utf-8"))
    for text in ("<unknown>", "<user provided PCollection>"):
        path.write_text(json.dumps({**run, "dataLocation": text}), encoding="utf-8")
        assert load_evaluation(str(copy)).data_location == ""


def test_the_page_of_version_gate_shows_an_override(
    pipeline: Any, evaluated: Any, uri: str
) -> None:
    version = pipeline.register(evaluated.bad)
    with ModelRegistry.open(uri) as registry:
        until = datetime.timedelta(hours=6)
        registry.override("ages", 1, reason="outage, ticket 4711", expires=until, actor="bob")
    pipeline.gate(version, evaluated.bad, evaluated.bad_alone, POLICY)
    (page,) = (pipeline.root / "out").glob("*/report.html")
    text = page.read_text(encoding="utf-8")
    assert "✗ Blocked" in text
    assert "outage, ticket 4711" in text
    assert f"event {pipeline.events()}, " in text
