"""Terminals and jobs whose encoding is not UTF-8."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.cli.main import main

WHO = "Ada \u4f01\u9d5d \u2713"

Tool = Callable[..., bytes]


@pytest.fixture
def unusual(filled: str) -> str:
    """The registry, in which somebody has a name that few encodings have."""
    with ModelRegistry.open(filled) as registry:
        registry.approve("penguin", 1, actor=WHO, reason="so sch\u00f6n")
    return filled


class _Kept(io.BytesIO):
    """Bytes that outlive the stream over them."""

    def close(self) -> None:
        """Stays open."""


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Tool:
    """Runs the command with standard streams of an encoding; returns what it printed."""

    def run(encoding: str, uri: str, *arguments: str) -> bytes:
        printed = _Kept()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding))
            assert main(["--registry", uri, *arguments]) == 0
            sys.stdout.flush()
        return printed.getvalue()

    return run


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_marks_have_something_in_their_place(unusual: str, tool: Tool, encoding: str) -> None:
    if encoding != "ascii":  # click writes UTF-8 where it is told of ASCII
        assert b"+-- led to" in tool(encoding, unusual, "lineage", "penguin:2")
    shown = tool(encoding, unusual, "history", "penguin").decode(encoding)
    assert "Ada \\u4f01\\u9d5d +" in shown
    assert ("sch\u00f6n" in shown) == (encoding != "ascii")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_json_stays_json_and_loses_nothing(unusual: str, tool: Tool, encoding: str) -> None:
    events = json.loads(tool(encoding, unusual, "--json", "history", "penguin").decode("ascii"))
    assert WHO in {event["actor"] for event in events}


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_documents_are_utf8_everywhere(
    unusual: str, tool: Tool, encoding: str, tmp_path: Path
) -> None:
    exported = tool(encoding, unusual, "export", "--out", "-", "penguin")
    assert WHO in exported.decode("utf-8")
    (tmp_path / "history.jsonl").write_bytes(exported)
    there = f"sqlite:///{tmp_path}/there.sqlite"
    tool(encoding, there, "import", str(tmp_path / "history.jsonl"))
    with ModelRegistry.open(there) as registry:
        assert WHO in {event.actor for event in registry.history("penguin")}
    assert WHO in tool(encoding, unusual, "report", "penguin", "--out", "-").decode("utf-8")
