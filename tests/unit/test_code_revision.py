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
    # git sets some of its own in hooks, from which tests may be started.
    for name in list(os.environ):
        if name in inspection._REVISION_VARIABLES or name.startswith("GIT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    # On a busy machine git needs longer than a registration would wait.
    monkeypatch.setattr(inspection, "_GIT_SECONDS", 250)
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

    monkeypatch.setattr(subprocess, "Popen", start)
    assert code_revision() == ""


def test_it_is_what_git_describe_says(tmp_path: Path) -> None:
    def described() -> str:
        words = ("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")
        return git(*words)

    git("init", "-q")
    commit("one")
    for name in ("a", "b", "c d", "\u00e9\n"):
        Path(name).write_text("here", encoding="utf-8")
    assert code_revision() == described()
    git("add", "a", "b", "c d")
    assert code_revision() == described()
    assert code_revision().endswith("-dirty")
    git("commit", "-q", "-m", "two")
    assert code_revision() == described()
    changes = (
        lambda: Path("a").chmod(0o755),
        lambda: Path("b").unlink(),
        lambda: git("mv", "c d", "e f"),
        lambda: git("rm", "-q", "--cached", "a"),
    )
    for change in changes:
        change()
        assert code_revision() == described()
        assert code_revision().endswith("-dirty")
        git("reset", "-q", "--hard")
        assert code_revision() == described()
        assert not code_revision().endswith("-dirty")
    # The file has another time, and the same content.
    os.utime("a", (1, 1))
    assert code_revision() == described()
    git("config", "status.showStash", "true")
    git("config", "status.branch", "false")
    git("config", "status.showUntrackedFiles", "all")
    Path("a").write_text("changed", encoding="utf-8")
    git("stash", "-q")
    git("pack-refs", "--all")
    git("checkout", "-q", "--detach")
    assert code_revision() == described()
    assert not code_revision().endswith("-dirty")


def test_nothing_is_written_into_the_repository(tmp_path: Path) -> None:
    git("init", "-q")
    first = commit("one")
    os.utime("file", (1, 1))

    def files() -> dict[Path, tuple[int, bytes]]:
        found = (path for path in (tmp_path / ".git").rglob("*") if path.is_file())
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in found}

    before = files()
    assert code_revision() == first
    assert files() == before


def test_where_nothing_is_committed_there_is_no_revision() -> None:
    git("init", "-q")
    Path("file").write_text("one", encoding="utf-8")
    git("add", "file")
    assert code_revision() == ""


def test_a_repository_that_git_cannot_read_has_none(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /nowhere", encoding="utf-8")
    assert code_revision() == ""


def test_without_git_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git("init", "-q")
    commit("one")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert code_revision() == ""


def test_git_that_hangs_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git("init", "-q")
    commands = tmp_path / "commands"
    commands.mkdir()
    (commands / "git").write_text("#!/bin/sh\ntrap '' TERM\nexec sleep 1000\n", encoding="utf-8")
    (commands / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setattr(inspection, "_GIT_SECONDS", 0.05)
    assert code_revision() == ""
    with inspection.asked_code_revision():
        pass  # who does not ask does not wait either
    with pytest.raises(ValueError, match="no model"), inspection.asked_code_revision():
        raise ValueError("no model")


def test_a_variable_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFX_REGISTRY_CODE_REVISION", "r7")
    assert code_revision() == "r7"
