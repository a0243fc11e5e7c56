"""The revision of the code: what git says now, and git is asked only where it could know."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tfx_registry import inspection
from tfx_registry.inspection import code_revision


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*inspection._REVISION_VARIABLES, "GIT_DIR", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.chdir(tmp_path)


def git(*words: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(text: str) -> str:
    Path("file").write_text(text, encoding="utf-8")
    git("add", "file")
    git("commit", "-q", "-m", text)
    return git("rev-parse", "HEAD")


def test_each_edit_and_each_commit_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git("init", "-q")
    first = commit("one")
    assert code_revision() == first
    Path("file").write_text("changed", encoding="utf-8")
    assert code_revision() == f"{first}-dirty"
    second = commit("two")
    assert code_revision() == second
    below = tmp_path / "below" / "it"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert code_revision() == second


def test_a_further_work_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git("init", "-q")
    first = commit("one")
    git("worktree", "add", "-q", str(tmp_path / "tree"), "HEAD")
    monkeypatch.chdir(tmp_path / "tree")
    assert (tmp_path / "tree" / ".git").is_file()
    assert code_revision() == first


def test_a_repository_named_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git("init", "-q")
    first = commit("one")
    other = tmp_path.parent / f"{tmp_path.name}-outside"
    other.mkdir()
    monkeypatch.chdir(other)
    assert code_revision() == ""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    assert code_revision() == first


def test_outside_of_a_repository_no_process_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "run", start)
    assert code_revision() == ""


def test_a_variable_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFX_REGISTRY_CODE_REVISION", "r7")
    assert code_revision() == "r7"
