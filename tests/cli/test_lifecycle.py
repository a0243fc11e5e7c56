"""The commands that say yes or no."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_approve_and_promote(run, filled: str, tmp_path: Path, monkeypatch) -> None:
    promote = ("promote", "penguin:1", "--serving-dir", tmp_path / "s", "--required-approvals", 1)
    refused = run(*promote)
    assert refused.code == 4
    assert "0 of 1 approvals were given by others than ada" in refused.err
    assert not (tmp_path / "s" / "1").exists()
    monkeypatch.setenv("TFX_REGISTRY_ACTOR", "bob")
    assert run("approve", "penguin:1", "--reason", "fine").out == (
        "penguin:1 is approved, 1 approval\n"
    )
    assert run(*promote).code == 0
    shown = run("--json", "show", "penguin:1").json
    assert [(a["actor"], a["approved"], a["reason"]) for a in shown["approvals"]] == [
        ("bob", True, "fine")
    ]
    assert "by bob: fine" in run("show", "penguin:1").out


def test_reject(run, filled: str, tmp_path: Path) -> None:
    assert run("reject", "penguin:1").code == 2
    assert run("reject", "penguin:1", "--reason", "leak").out == "penguin:1 is rejected\n"
    refused = run("promote", "penguin:1", "--serving-dir", tmp_path / "s")
    assert refused.code == 4
    assert "ada rejected it: leak" in refused.err


def test_override(run, filled: str, tmp_path: Path) -> None:
    assert run("override", "penguin:2", "--reason", "x", "--expires", "soon").code == 2
    done = run("override", "penguin:2", "--reason", "outage", "--expires", "6h")
    assert "penguin:2 may be promoted under 'production' until" in done.out
    assert run("promote", "penguin:2", "--serving-dir", tmp_path / "s").code == 0
    assert run("--json", "show", "penguin:2").json["override"]["reason"] == "outage"
    assert "overridden" in run("versions", "penguin").out
    assert "by ada: outage" in run("show", "penguin:2").out
    assert "overridden" in run("history", "penguin").out


def test_an_override_for_another_alias(run, filled: str, tmp_path: Path) -> None:
    given = run("override", "penguin:2", "--reason", "rehearsal", "--alias", "staging")
    assert "under 'staging' until" in given.out
    refused = run("promote", "penguin:2", "--serving-dir", tmp_path / "s")
    assert refused.code == 4
    assert "it is overridden for 'staging', not for 'production'" in refused.err
    staging = ("promote", "penguin:2", "--serving-dir", tmp_path / "t", "--alias", "staging")
    assert run(*staging).code == 0
    assert run("--json", "show", "penguin:2").json["override"]["alias"] == "staging"
    assert "UTC under 'staging' by ada: rehearsal" in run("show", "penguin:2").out
    assert run("override", "penguin:2", "--reason", "x", "--alias", "a b").code == 2


def test_archive_and_labels(run, filled: str) -> None:
    assert run("label", "set", "penguin:3", "team", "birds").out == "penguin:3 has team=birds\n"
    assert run("--json", "show", "penguin:3").json["labels"] == {"team": "birds"}
    assert run("label", "rm", "penguin:3", "team").code == 0
    assert run("label", "rm", "penguin:3", "team").code == 3
    assert run("label", "set", "penguin:3", "a b", "c").code == 2
    assert run("archive", "penguin:3", "--yes").out == "penguin:3 is archived\n"
    assert run("--json", "show", "penguin:3").json["archived"] is True
    assert run("approve", "penguin:3").code == 4


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    path = tmp_path / "access.json"
    path.write_text(
        '{"admins": ["ada"], "grants": [{"actors": ["bob"], "actions": ["label"]}]}',
        encoding="utf-8",
    )
    return path


def test_policy(run, filled: str, policy_file: Path, monkeypatch, plain_model: Path) -> None:
    assert "everybody may do everything" in run("policy", "show").out
    assert run("policy", "set", policy_file, "--reason", "start").code == 0
    assert run("policy", "show").json["admins"] == ["ada"]
    assert run("policy", "check", "bob", "label", "penguin").code == 0
    assert run("policy", "check", "bob", "promote", "penguin").code == 4
    monkeypatch.setenv("TFX_REGISTRY_ACTOR", "bob")
    assert run("label", "set", "penguin:1", "a", "b").code == 0
    for command in (
        ("register", "penguin", plain_model),
        ("alias", "set", "penguin", "x", 1),
        ("approve", "penguin:1"),
        ("archive", "penguin:3", "--yes"),
        ("policy", "set", policy_file),
    ):
        refused = run(*command)
        assert (refused.code, refused.out) == (4, ""), command
        assert "'bob' may not" in refused.err
    assert "start" in run("policy", "history").out
    assert [m["model"] for m in run("--json", "models").json] == ["penguin"]


def test_a_bad_policy_file(run, filled: str, tmp_path: Path) -> None:
    assert run("policy", "set", tmp_path / "none.json").code == 2
    (tmp_path / "bad.json").write_text('{"admins": []}', encoding="utf-8")
    refused = run("policy", "set", tmp_path / "bad.json")
    assert refused.code == 2
    assert "has no admin" in refused.err
    assert run("--json", "policy", "show").json is None
