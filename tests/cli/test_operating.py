"""The commands of operators, from a shell's point of view."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry, promote
from tfx_registry.records import Verdict
from tfx_registry.registry.events import Decided
from tfx_registry.testing.minimal_model import write_minimal_model


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "serving"


@pytest.fixture
def served(uri: str, tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Versions 1, 2 and 3 were promoted one after the other; 3 serves."""
    monkeypatch.setenv("TFX_REGISTRY_ACTOR", "ada")
    with ModelRegistry.open(uri) as registry:
        for number in (1, 2, 3):
            path = write_minimal_model(tmp_path / "models" / str(number), f"model {number}")
            digest = registry.register("penguin", path).digest
            now = registry.serving("penguin")
            decision = Decided(
                number, Verdict.PASSED, digest, "production",
                baseline=now.number if now else None, serving_seq=now.seq if now else 0,
            )  # fmt: skip
            registry.record_decision("penguin", decision)
            promote(registry, "penguin", number, base)
    return uri


def test_rollback(run, served: str, base: Path) -> None:
    assert run("rollback", "penguin", "--serving-dir", base).code == 2
    done = run("rollback", "penguin", "--serving-dir", base, "--reason", "ticket 4711")
    assert (done.code, done.out) == (
        0,
        f"penguin:2 serves again at {base}/2, in place of version 3; put away: 3\n",
    )
    assert "back to version 2 from 3" in run("history", "penguin").out
    assert "ticket 4711" in run("history", "penguin").out
    (answer,) = run("--json", "served", "penguin", "--on", "2999-01-01").json
    assert "ticket 4711" in str(answer)
    assert (answer["kind"], answer["until"], answer["ended_by"]) == ("rolled_back", None, None)
    now = run("served", "penguin", "--on", "2999-01-01").out
    assert "penguin:2" in now
    assert "rolled back to by" in now
    today = run("--json", "history", "penguin").json[-1]["time"][:10]
    day = run("served", "penguin", "--on", today).out
    assert f"until       {today}" in day
    assert day.index("penguin:2 under") < day.index("penguin:3 under")
    shown = run("--json", "show", "penguin:3").json
    assert shown["rolled_back"] == run("--json", "history", "penguin").json[-1]["seq"]
    assert "rolled back" in run("show", "penguin:3").out
    assert "passed, rolled back" in run("versions", "penguin").out
    refused = run("promote", "penguin:3", "--serving-dir", base)
    assert (refused.code, "was rolled back" in refused.err) == (4, True)
    document = run(
        "--json", "rollback", "penguin", "--serving-dir", base, "--to", 1, "--reason", "x"
    ).json
    assert (document["number"], document["replaces"]) == (1, 2)
    assert (document["withdrawn"], document["changed"]) == (["2"], True)
    again = run("rollback", "penguin", "--serving-dir", base, "--to", 1, "--reason", "x")
    assert again.out == f"penguin:1 serves already at {base}/1\n"
    assert run("rollback", "penguin", "--serving-dir", base, "--to", 9, "--reason", "x").code == 3
    assert run("rollback", "penguin", "--serving-dir", base, "--reason", "x").code == 4


def test_status(run, served: str, base: Path) -> None:
    good = run("status", "--serving-dir", base)
    assert good.code == 0, good.err
    assert good.out.startswith(f"penguin in {base} serves version 3 as 'production'")
    assert good.out.count("untouched") == 3
    document = run("--json", "status", "--serving-dir", base, "--verify").json
    assert (document["model"], document["loads"], document["problems"]) == ("penguin", 3, [])
    assert [row["bytes"] for row in document["rows"]] == ["right"] * 3
    shutil.copytree(base / "1", base / "99")
    bad = run("status", "--serving-dir", base)
    assert bad.code == 4
    assert "- 99 is not from this registry" in bad.out
    assert bad.err.startswith(f"error: 2 things wrong with {str(base)!r}")
    assert run("--json", "status", "--serving-dir", base).json["loads"] == 99


def test_reconcile(run, served: str, base: Path) -> None:
    shutil.rmtree(base / "3")
    done = run("reconcile", "--serving-dir", base)
    assert (done.code, done.out) == (
        0,
        "- published version 3 again, which should serve\n"
        f"{base} is in order: version 3 serves of penguin\n",
    )
    document = run("--json", "reconcile", "penguin", "--serving-dir", base).json
    assert (document["actions"], document["problems"], document["serving"]) == ([], [], 3)
    shutil.copytree(base / "1", base / "99")
    bad = run("reconcile", "--serving-dir", base)
    assert (bad.code, "put it away with --quarantine" in bad.out) == (4, True)
    refused = run("reconcile", "--serving-dir", base, "--quarantine")
    assert (refused.code, "add --yes" in refused.err, (base / "99").exists()) == (2, True, True)
    assert run("reconcile", "--serving-dir", base, "--quarantine", "--yes").code == 0
    assert not (base / "99").exists()


def test_adopt(run, uri: str, base: Path) -> None:
    assert run("adopt", "penguin", "--serving-dir", base).code == 3
    for number in (1700000000, 1700086400):
        write_minimal_model(base / str(number), str(number))
    done = run("adopt", "penguin", "--serving-dir", base, "--reason", "from Pusher")
    assert (done.code, done.out) == (0, "adopted 2 versions, penguin:1700086400 serves\n")
    document = run("--json", "adopt", "penguin", "--serving-dir", base).json
    assert (document["registered"], document["changed"]) == ([], False)
    assert [v["number"] for v in document["versions"]] == [1700000000, 1700086400]
    assert "1700086400" in run("versions", "penguin").out
    (base / "5").mkdir()
    refused = run("adopt", "penguin", "--serving-dir", base)
    assert (refused.code, "'5'" in refused.err) == (4, True)


def test_prune(run, served: str, base: Path) -> None:
    assert run("prune", "--serving-dir", base).code == 2
    assert run("prune", "--serving-dir", base, "--keep-last", 0).code == 2
    dry = run("prune", "--serving-dir", base, "--keep-last", 1)
    assert (dry.code, "1 version would go" in dry.out) == (0, True)
    assert "a rollback would go back to it" in dry.out
    assert (base / "1").is_dir()
    document = run("--json", "prune", "--serving-dir", base, "--keep-last", 1, "--yes").json
    assert [gone["number"] for gone in document["removed"]] == [1]
    assert document["dry_run"] is False
    assert document["size_bytes"] > 0
    assert not (base / "1").exists()
    assert "nothing to remove" in run("prune", "--serving-dir", base, "--keep-last", 1).out
    assert "bytes gone from" in run("history", "penguin").out
    assert run("--json", "show", "penguin:1").json["removed_from"] == [str(base)]


def test_verify(run, served: str, base: Path) -> None:
    good = run("verify", "penguin@production")
    assert (good.code, good.out.count("right")) == (0, 2)
    (base / "3" / "saved_model.pb").write_bytes(b"?")
    bad = run("verify", "penguin:3")
    assert bad.code == 4
    assert bad.err.startswith("error: penguin:3 is not in order")
    document = run("--json", "verify", "penguin:3").json
    assert document["good"] is False
    assert [place["state"] for place in document["places"]] == ["right", "changed"]


def test_an_unknown_directory(run, served: str, tmp_path: Path) -> None:
    for command in (("status",), ("reconcile",), ("prune", "--keep-last", 1)):
        refused = run(*command, "--serving-dir", tmp_path / "other")
        assert (refused.code, refused.out) == (3, "")
        assert "adopt" in refused.err
    assert not (tmp_path / "other").exists()


def test_the_whole_life_of_a_directory_is_exported_and_imported(
    run, served: str, base: Path, tmp_path: Path
) -> None:
    pushed = tmp_path / "pushed"
    write_minimal_model(pushed / "1700000000", "pushed")
    assert run("adopt", "penguin", "--serving-dir", pushed, "--alias", "batch").code == 0
    assert run("rollback", "penguin", "--serving-dir", base, "--reason", "x").code == 0
    shutil.rmtree(tmp_path / "models" / "1")
    shutil.rmtree(base / "1")
    assert run("reconcile", "penguin", "--serving-dir", base).code == 0
    assert run("export", "penguin", "--out", tmp_path / "penguin.jsonl").code == 0
    copy = f"sqlite:///{tmp_path}/copy.sqlite"
    assert run("import", tmp_path / "penguin.jsonl", registry=copy).code == 0
    assert run("fsck", registry=copy).code == 0
    assert run("verify-log", registry=copy).code == 0
    for command in ("history", "versions", "models"):
        arguments = ("--json", command, *(["penguin"] if command != "models" else []))
        assert run(*arguments, registry=copy).json == run(*arguments).json
    shown = run("lineage", "penguin:1", registry=copy).out
    assert "bytes gone" in shown
    assert "gone: no place is known" in run("show", "penguin:1").out
    assert "rolled back to version 2 by ada: x" in run("lineage", "penguin:3").out
