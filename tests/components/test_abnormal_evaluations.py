"""Whatever is wrong with an evaluation blocks, each with a reason of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tfx.components.util import model_utils
from tfx.types import standard_artifacts

from tfx_registry.components.version_gate.tfma_results import load_evaluation
from tfx_registry.gate import GatePolicy, Reason, ValueThreshold

POLICY = GatePolicy([ValueThreshold("binary_accuracy", lower_bound=0.1)])
DAY = 24 * 3600.0


@pytest.fixture
def result(evaluated: Any, tmp_path: Path) -> Path:
    """A copy of the evaluation of the bad model against the good one."""
    copied = tmp_path / "result"
    shutil.copytree(evaluated.bad_against_good, copied)
    return copied


def rewrite_run(result: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    file = result / "eval_config.json"
    run = json.loads(file.read_text(encoding="utf-8"))
    change(run)
    file.write_text(json.dumps(run), encoding="utf-8")


def remove(result: Path) -> None:
    shutil.rmtree(result)


def empty(result: Path) -> None:
    shutil.rmtree(result)
    result.mkdir()


def forget_the_run(result: Path) -> None:
    (result / "eval_config.json").unlink()


def scramble_the_run(result: Path) -> None:
    (result / "eval_config.json").write_text("{", encoding="utf-8")


def metrics_file(result: Path) -> Path:
    (found,) = result.glob("metrics-*")
    return found


def cut_metrics(result: Path) -> None:
    file = metrics_file(result)
    file.write_bytes(file.read_bytes()[:-7])


def flip_a_bit(result: Path) -> None:
    file = metrics_file(result)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def lose_metrics(result: Path) -> None:
    metrics_file(result).unlink()


def lose_a_shard(result: Path) -> None:
    file = metrics_file(result)
    file.rename(file.with_name("metrics-00001-of-00002.tfrecord"))


def repeat_metrics(result: Path) -> None:
    file = metrics_file(result)
    file.write_bytes(file.read_bytes() * 2)


def see_nobody(result: Path) -> None:
    metrics_file(result).write_bytes(b"")


def call_the_candidate_otherwise(result: Path) -> None:
    rewrite_run(result, lambda run: run["evalConfig"]["modelSpecs"][0].update(name="mine"))


def say_otherwise_where_the_candidate_lay(result: Path) -> None:
    see_nobody(result)
    rewrite_run(
        result,
        lambda run: run["modelLocations"].update(mine=run["modelLocations"].pop("candidate")),
    )


def leave_the_candidate_out(result: Path) -> None:
    rewrite_run(result, lambda run: run["evalConfig"]["modelSpecs"].pop(0))


def have_two_candidates(result: Path) -> None:
    rewrite_run(result, lambda run: run["evalConfig"]["modelSpecs"][1].pop("isBaseline"))


def be_of_the_other_model(result: Path) -> None:
    def swap(run: dict[str, Any]) -> None:
        run["modelLocations"]["candidate"] = run["modelLocations"]["baseline"]

    rewrite_run(result, swap)


@pytest.mark.parametrize(
    ("spoil", "reason", "words"),
    [
        (remove, Reason.EVALUATION_EMPTY, "holds no metric"),
        (empty, Reason.EVALUATION_EMPTY, "holds no metric"),
        (forget_the_run, Reason.EVALUATION_EMPTY, "holds no metric"),
        (scramble_the_run, Reason.EVALUATION_UNREADABLE, "ParseError"),
        (cut_metrics, Reason.EVALUATION_UNREADABLE, "is cut off"),
        (flip_a_bit, Reason.EVALUATION_UNREADABLE, "the checksum of"),
        (lose_metrics, Reason.EVALUATION_UNREADABLE, "no file of metrics"),
        (lose_a_shard, Reason.EVALUATION_UNREADABLE, r"of 2 shards of 'metrics', \[0\]"),
        (repeat_metrics, Reason.EVALUATION_UNREADABLE, "stands twice"),
        (see_nobody, Reason.NO_EXAMPLES, "there were no examples"),
        (call_the_candidate_otherwise, Reason.EVALUATION_WITHOUT_CANDIDATE, "'mine'"),
        (
            say_otherwise_where_the_candidate_lay,
            Reason.EVALUATION_WITHOUT_CANDIDATE,
            "only where 'mine' lay",
        ),
        (leave_the_candidate_out, Reason.EVALUATION_WITHOUT_CANDIDATE, "a baseline alone"),
        (have_two_candidates, Reason.EVALUATION_AMBIGUOUS, "2 candidates"),
        (be_of_the_other_model, Reason.EVALUATION_OF_ANOTHER_MODEL, "does not hold the bytes"),
    ],
)
def test_it_blocks(
    pipeline: Any, evaluated: Any, result: Path, spoil: Any, reason: Reason, words: str
) -> None:
    version = pipeline.register(evaluated.bad)
    spoil(result)
    blessing, report = pipeline.gate(version, evaluated.bad, result, POLICY)
    assert pipeline.codes(report) == {reason}
    (line,) = report.reasons
    assert re.search(words, line), line
    assert not model_utils.is_model_blessed(blessing)
    (found,) = pipeline.versions()
    assert found.decision.verdict.value == "blocked", "and the registry knows"


def test_an_evaluation_that_is_too_old(pipeline: Any, evaluated: Any, tmp_path: Path) -> None:
    version = pipeline.register(evaluated.good)
    old = tmp_path / "old"
    shutil.copytree(evaluated.good_alone, old)
    policy = replace(POLICY, max_evaluation_age_hours=24.0)
    _, report = pipeline.gate(version, evaluated.good, old, policy)
    assert report.reasons == ()
    # One file is enough: copying the others again makes nothing younger.
    before = time.time() - 2 * DAY
    os.utime(metrics_file(old), (before, before))
    _, report = pipeline.gate(version, evaluated.good, old, policy)
    assert pipeline.codes(report) == {Reason.EVALUATION_TOO_OLD}
    assert report.made_at == float(int(before))


def test_the_age_of_an_artifact_counts_as_well(evaluated: Any) -> None:
    made_at = load_evaluation(str(evaluated.good_alone)).made_at
    assert made_at is not None
    for created_at, expected in ((made_at - 60.5, made_at - 60.5), (made_at + 60, made_at)):
        loaded = load_evaluation(str(evaluated.good_alone), created_at=created_at)
        assert loaded.made_at == expected


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("INFRA_BLESSED", None),
        ("INFRA_NOT_BLESSED", Reason.INFRA_NOT_BLESSED),
        (None, Reason.INFRA_BLESSING_MISSING),
    ],
)
def test_the_word_of_infra_validator(
    pipeline: Any, evaluated: Any, status: str | None, reason: Reason | None
) -> None:
    version = pipeline.register(evaluated.good)
    inputs = {}
    if status is not None:
        infra = pipeline.output(standard_artifacts.InfraBlessing)
        infra.set_int_custom_property("blessed", int(status == "INFRA_BLESSED"))
        (Path(infra.uri) / status).touch()
        inputs = {"infra_blessing": infra}
    policy = replace(POLICY, require_infra_blessing=True)
    _, report = pipeline.gate(version, evaluated.good, evaluated.good_alone, policy, **inputs)
    assert pipeline.codes(report) == ({reason} if reason else set())
