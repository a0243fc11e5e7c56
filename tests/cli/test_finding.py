"""search, compare and lineage as commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.records import LineageSource

UGLY = 'line\nbreak \x1b[31m [bold]x[/] " \\'


@pytest.fixture
def found(filled: str, plain_model: Path) -> str:
    """The filled registry, and a version with names that could break a table."""
    with ModelRegistry.open(filled) as registry:
        registry.register(
            "auk",
            plain_model,
            metrics={"auc": float("nan")},
            hyperparameters={"ugly": UGLY},
            sources=[LineageSource("examples", "Examples", f"/data/{UGLY}", {"span": "7"})],
        )
    return filled


def test_search(run, found: str) -> None:
    document = run("--json", "search", "state = 'blocked' or model = 'auk'").json
    assert [v["ref"] for v in document["versions"]] == ["auk:1", "penguin:2"]
    assert document["next_page_token"] is None
    table = run("search", "state = 'blocked'", "--order-by", "metrics.auc[sex='[male]']").out
    assert "penguin:2" in table
    assert "metrics.auc" in table
    assert "0.4" in table
    assert "penguin:1" not in table
    assert run("search", "state = 'serving'").out == "nothing found\n"
    assert run("--json", "search", "state = 'serving'").json["versions"] == []


def test_a_search_that_finds_nothing_names_what_no_version_has(run, found: str) -> None:
    wrong = run(
        "search", "metrics.acu[sex='[male]'] > 0.1 or not (labels.steam = 'x')", "--limit", 5
    )
    assert wrong.out  # what has no label steam is found
    assert wrong.err == ""
    wrong = run(
        "search", "metrics.acu > 0.1 and (labels.zone = 'x' or sources.exmples is not null)"
    )
    assert (wrong.code, wrong.out) == (0, "nothing found\n")
    assert "has a metric 'acu'; did you mean 'auc'?\n" in wrong.err
    assert "has a label 'zone'\n" in wrong.err
    assert run("search", "metrics.auc > 5").err == ""
    assert run("--json", "search", "metrics.acu > 0.1").err == ""


def test_search_in_pages(run, found: str) -> None:
    first = run("search", "--model", "penguin", "--limit", 2).out
    token = first.rpartition("--page-token ")[2].strip()
    assert token
    rest = run("--json", "search", "--model", "penguin", "--limit", 2, "--page-token", token).json
    assert [v["ref"] for v in rest["versions"]] == ["penguin:1"]


def test_compare(run, found: str) -> None:
    shown = run("compare", "penguin:1", "penguin:2").out
    for text in ("penguin:1 -> penguin:2", "same bytes", "penguin:2 has the bytes of", "passed"):
        assert text in shown
    assert "size_bytes" not in shown
    assert "the same, not shown" in shown
    assert "size_bytes" in run("compare", "penguin:1", "penguin:2", "--all").out
    document = run("--json", "compare", "penguin:1", "auk").json
    assert set(document) == {
        "a", "b", "same_bytes", "same_signatures", "relation", "facts", "metrics", "signatures",
        "sources", "hyperparameters", "libraries", "labels",
    }  # fmt: skip
    assert document["same_bytes"] is False
    assert {"name": "ugly", "a": None, "b": UGLY, "status": "added"} in document["hyperparameters"]
    [auc] = [m for m in document["metrics"] if m["name"] == "auc" and not m["slice"]]
    assert auc == {
        "name": "auc", "slice": {}, "a": None, "b": "NaN", "delta": None, "status": "added",
    }  # fmt: skip
    assert document["sources"][0]["b"]["properties"] == {"span": "7"}


def test_nothing_ugly_reaches_the_terminal(run, found: str) -> None:
    for command in (
        ["compare", "penguin:1", "auk"],
        ["lineage", "auk"],
        ["lineage", "auk", "--format", "dot"],
    ):
        out = run(*command).out
        assert all(line.isprintable() for line in out.splitlines())
        assert "[bold]x[/]" in out


def test_lineage(run, found: str) -> None:
    tree = run("lineage", "penguin:2").out
    assert tree.startswith("penguin:2 (blocked)\n├── came from\n")
    assert "└── blocked, by ada" in tree
    document = run("--json", "lineage", "auk").json
    assert run("lineage", "auk", "--format", "json").json == document
    assert document["root"] == "version:auk:1"
    [artifact] = [n for n in document["nodes"] if n["kind"] == "artifact"]
    assert (artifact["uri"], artifact["properties"]["span"]) == (f"/data/{UGLY}", "7")
    assert document["edges"] == [
        {"source": artifact["id"], "target": "version:auk:1", "role": "examples"}
    ]
    drawn = run("lineage", "penguin:2", "--format", "dot").out
    assert drawn.startswith("digraph lineage {")
    assert json.dumps(document)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["search", "number > 'x'"], 2, "at character 10: number is a number"),
        (["search", "(" * 5000], 2, "nests deeper"),
        (["search", "x" * 20_000], 2, "more than 10000"),
        (["search", "--order-by", "aliases"], 2, "has several values"),
        (["search", "--model", "gull"], 3, "no model 'gull'"),
        (["search", "--page-token", "x"], 2, "invalid page token"),
        (["search", "--limit", "0"], 2, "--limit"),
        (["compare", "penguin:1", "penguin:9"], 3, "no version 9"),
        (["compare", "penguin:1"], 2, "Missing argument"),
        (["lineage", "penguin:9"], 3, "no version 9"),
        (["lineage", "penguin", "--format", "svg"], 2, "--format"),
        (["lineage", "penguin", "--format", "dot", "--json"], 2, "exclude each other"),
    ],
)
def test_errors(run, found: str, arguments: list[str], code: int, message: str) -> None:
    result = run(*arguments)
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    assert message in result.err
