"""What a shell offers after Tab."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def offered(run, monkeypatch: pytest.MonkeyPatch, uri: str):
    """Asks what bash would offer for the last of some words."""

    def ask(*words: str, registry: str = uri) -> list[str]:
        monkeypatch.setenv("TFX_REGISTRY_URI", registry)
        monkeypatch.setenv("_TFX_REGISTRY_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(["tfx-registry", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        done = run(registry=None)
        assert (done.code, done.err) == (0, "")
        return [line.partition(",")[2] for line in done.out.split()]

    return ask


def test_commands_and_options_are_offered(filled: str, offered) -> None:
    assert offered("ver") == ["versions", "verify", "verify-log"]
    assert offered("policy", "s") == ["set", "show"]
    assert offered("versions", "penguin", "--li") == ["--limit"]


@pytest.mark.parametrize("command", ["show", "versions", "rollback", "served", "export"])
def test_names_of_models_are_offered(filled: str, offered, command: str) -> None:
    assert offered(command, "PEN") == ["penguin"]
    assert offered(command, "x") == []


def test_without_a_registry_nothing_is_offered(offered, tmp_path: Path) -> None:
    assert offered("show", "p", registry=f"sqlite:///{tmp_path}/none.sqlite") == []
    assert offered("show", "p", registry="nonsense") == []
    assert not (tmp_path / "none.sqlite").exists()


@pytest.mark.source_tree
def test_what_the_page_says_turns_completion_on() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^```bash\n(.*)\n```$", page, re.MULTILINE)
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{line}\ncomplete -p tfx-registry"],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "tfx-registry" in done.stdout) == (0, True), done.stderr
