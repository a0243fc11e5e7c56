"""`tfx-registry init`: what it writes, and where it refuses."""

from __future__ import annotations

import ast
import json
import os
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from tfx_registry.cli.main import main
from tfx_registry.errors import InvalidInputError, InvalidNameError
from tfx_registry.gate import GatePolicy
from tfx_registry.templates import Runner, make_project, write_project
from tfx_registry.templates.sample import sample_csv

SHARED = {
    "README.md",
    "requirements.txt",
    "pipeline.py",
    "model.py",
    "policy.yaml",
    "data/train/machines.csv",
    "data/eval/machines.csv",
}
OWN = {
    Runner.LOCAL: {"run.py"},
    Runner.BEAM: {"run.py"},
    Runner.AIRFLOW: {"dag.py"},
    Runner.KUBEFLOW: {"compile.py", "Dockerfile"},
}


def files_below(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("runner", list(Runner))
def test_a_project_is_complete_and_readable(
    tmp_path: Path, runner: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "churn"
    assert main(["init", str(target), "--runner", runner.value]) == 0
    said = capsys.readouterr().out
    assert files_below(target) == SHARED | OWN[runner]
    for path in target.rglob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"))
        assert max(map(len, path.read_text(encoding="utf-8").splitlines())) <= 100
    for path in target.rglob("*"):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert text.strip()
            assert text.endswith("\n")
            assert not any(sign in text for sign in ("{{", "{%", "}}"))
    assert GatePolicy.load(target / "policy.yaml").min_examples > 1
    # What the command proposes is what the README says, in its order.
    readme = (target / "README.md").read_text(encoding="utf-8").splitlines()
    proposed = [line.strip() for line in said.split("next:\n")[1].splitlines()][1:]
    assert proposed
    places = [readme.index(line) for line in proposed]
    assert places == sorted(places)


def test_no_registry_is_needed_and_json_lists_the_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFX_REGISTRY_URI", "no such registry")
    assert main(["--json", "init", str(tmp_path / "a"), "--name", "night-train"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert set(made["files"]) == files_below(tmp_path / "a")
    assert (made["name"], made["runner"]) == ("night-train", "local")
    assert made["next"][-1] == "tfx-registry versions night-train"
    assert 'NAME = "night-train"' in (tmp_path / "a" / "pipeline.py").read_text(encoding="utf-8")


def test_an_empty_directory_will_do_and_the_present_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert main(["init", "."]) == 0
    assert files_below(tmp_path / "empty") == SHARED | {"run.py"}


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    assert main(["init", str(tmp_path), "--name", "a"]) == 2
    error = capsys.readouterr().err
    assert "holds 'mine.txt', and nothing is overwritten" in error
    assert len(error.splitlines()) == 1
    assert files_below(tmp_path) == {"mine.txt"}


def test_a_file_in_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        assert main(["init", str(target), "--name", "a"]) == 2
        assert "cannot write a project into" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "Upper", "1st", "a_b", "a b", "ä", "a" * 51, "a\n"])
def test_names_that_some_runner_would_not_take(name: str) -> None:
    with pytest.raises(InvalidNameError, match="choose one with --name"):
        make_project(name)


def test_a_directory_whose_name_is_none_asks_for_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path / "My_Project")]) == 2
    assert "choose one with --name, such as --name my-project" in capsys.readouterr().err
    assert not (tmp_path / "My_Project").exists()


@pytest.mark.parametrize(
    ("name", "close"),
    [("1st Model", "st-model"), ("a" * 60, "a" * 50), ("__x__", "x"), ("ä", ""), ("1", "")],
)
def test_a_name_is_proposed_where_one_is_close(name: str, close: str) -> None:
    with pytest.raises(InvalidNameError) as caught:
        make_project(name)
    assert caught.value.todo.partition(", such as --name ")[2] == close
    if close:
        assert make_project(close).name == close


def test_on_a_terminal_long_commands_go_on_behind_a_backslash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["init", "one", "--runner", "kubeflow", "--name", "churn"]) == 0
    whole = capsys.readouterr().out.split("next:\n")[1]
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True)
    assert main(["init", "two", "--runner", "kubeflow", "--name", "churn"]) == 0
    broken = capsys.readouterr().out
    assert max(map(len, broken.splitlines())) <= 60
    assert " \\\n" in broken
    assert " \\" not in whole
    commands = shlex.split(broken.split("next:\n")[1].replace("\\\n", ""))
    assert commands[2:] == shlex.split(whole)[2:]


def test_a_disk_that_fills_up_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Path.open
    target = tmp_path / "new" / "a"

    def full(path: Path, *arguments: object, **options: object) -> object:
        if path.name == "policy.yaml":
            raise OSError(28, os.strerror(28), str(path))
        return usual(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(InvalidInputError, match=r"policy\.yaml: No space left"):
        write_project(target, make_project("a"))
    assert list(tmp_path.iterdir()) == []


def test_the_sample_data_are_the_same_each_time_and_fit_the_policy() -> None:
    assert sample_csv(30, seed=1) == sample_csv(30, seed=1)
    assert sample_csv(30, seed=1) != sample_csv(30, seed=2)
    files = make_project("a").files
    policy = yaml.safe_load(files["policy.yaml"])
    header, *rows = files["data/eval/machines.csv"].splitlines()
    assert header.split(",")[0] == "site"
    for spec in policy["required_slices"]:
        on_site = [row for row in rows if row.split(",")[0] == spec["feature_values"]["site"]]
        assert len(on_site) >= policy["min_examples"]
        failing = sum(row.endswith(",1") for row in on_site)
        assert 0.2 < failing / len(on_site) < 0.6
    assert not set(rows) & set(files["data/train/machines.csv"].splitlines())
