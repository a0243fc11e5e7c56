"""What a notebook shows: all there is to know, and no text of somebody else as markup."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.gate.report import Check, Compared, GateReport
from tfx_registry.records import LineageSource, Verdict, Version
from tfx_registry.registry.events import Decided

HOSTILE = "<script>alert('x')</script>\x1b[31m\u202e"
ALLOWED = {"table", "thead", "tbody", "tr", "th", "td", "p", "b", "br", "code", "pre", "span"}


@pytest.fixture
def registry(plain_model: Path) -> ModelRegistry:
    """One blocked version; every free text is hostile."""
    registry = ModelRegistry.open("memory://")
    version = registry.register(
        "penguin", plain_model, description=HOSTILE, labels={"team": "<b>birds"}, actor="<i>ada",
        reason=HOSTILE, sources=[LineageSource("examples", "Examples", f"/data/{HOSTILE}")],
    )  # fmt: skip
    decided = Decided(1, Verdict.BLOCKED, version.digest, "production", reasons=(f"auc {HOSTILE}",))
    registry.record_decision("penguin", decided, actor="<i>gate")
    return registry


def report() -> GateReport:
    check = Check(
        False, f"too low {HOSTILE}", rule="value >= 0.9", metric=f"auc{HOSTILE}",
        slice=(("sex", HOSTILE),), value=0.5, examples=1200,
    )  # fmt: skip
    return GateReport(
        "penguin", Verdict.BLOCKED, Compared(2, "d"), Compared(1, "e"), checks=(check,)
    )


def shown(registry: ModelRegistry) -> dict[str, str]:
    things = {
        "version": registry.get("penguin", 1),
        "versions": registry.list_versions("penguin"),
        "found": registry.search(),
        "models": registry.list_models(),
        "history": registry.history("penguin"),
        "lineage": registry.lineage("penguin", 1),
        "report": report(),
    }
    return {name: thing._repr_html_() for name, thing in things.items()}  # type: ignore[attr-defined]


def test_hostile_texts_are_escaped(registry: ModelRegistry) -> None:
    for name, text in shown(registry).items():
        assert set(re.findall(r"<\s*/?\s*(\w+)", text)) <= ALLOWED, name
        assert not re.search(r"\son\w+=|javascript:|https?:", text), name
        assert not re.search("[\x1b\u202e]", text), name
    assert "&lt;script&gt;" in shown(registry)["version"]


def test_the_answers_are_there(registry: ModelRegistry) -> None:
    texts = shown(registry)
    assert "penguin:1" in texts["version"]
    assert "blocked" in texts["versions"]
    assert "blocked" in texts["found"]
    assert "decided" in texts["history"]
    assert "penguin" in texts["models"]
    assert "came from" in texts["lineage"]
    assert "against version 1: 1 of 1 checks failed" in texts["report"]
    assert "1,200" in texts["report"]


def test_a_long_list_is_cut_and_says_so(registry: ModelRegistry) -> None:
    versions = registry.list_versions("penguin")
    many = type(versions)(versions * 120)
    assert many._repr_html_().count("<tr>") == 51
    assert "70 more" in many._repr_html_()


def test_lists_are_still_lists(registry: ModelRegistry) -> None:
    versions = registry.list_versions("penguin")
    assert versions == [registry.get("penguin", 1)]
    assert isinstance(versions, list)


def test_displays_are_no_fields() -> None:
    assert "_repr_html_" not in {field.name for field in dataclasses.fields(Version)}
