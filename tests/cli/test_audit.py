"""The commands export, import, verify-log, fsck and served."""

from __future__ import annotations

import io
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.records import Deployment
from tfx_registry.registry.mlmd_store import MlmdStore


def lose_head(uri: str) -> None:
    with ModelRegistry.open(uri) as registry:
        store = registry._store
        assert isinstance(store, MlmdStore)
        (node,) = store._find("contexts", ["tfx_registry:m:penguin"])
        node.external_id = "gone"
        store._session.write(lambda s: s.put_contexts([node]))


def edit_event(uri: str) -> None:
    with ModelRegistry.open(uri) as registry:
        store = registry._store
        assert isinstance(store, MlmdStore)
        (node,) = store._find("executions", ["tfx_registry:e:penguin#2"])
        text = node.custom_properties["record"].string_value
        node.custom_properties["record"].string_value = text.replace('"ada"', '"eve"')
        store._session.write(lambda s: s.put_executions([node]))


def test_export_and_import(run, filled: str, tmp_path: Path) -> None:
    file = tmp_path / "penguin.jsonl"
    done = run("export", "penguin", "--out", file)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"exported 5 events of 1 model to {file}\n"
    header, *events, end = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    assert (header["format"], header["registry"]) == ("tfx-registry-log", filled)
    assert [line["event"]["seq"] for line in events] == [1, 2, 3, 4, 5]
    assert end["end"]["penguin"] == {"digest": events[-1]["digest"], "events": 5}
    other = f"sqlite:///{tmp_path}/other.sqlite"
    assert run("import", file, registry=other).out == (
        "imported 5 events of 1 model; 0 were there already\n"
    )
    again = run("--json", "import", file, registry=other).json
    assert again == {"events": {"penguin": 5}, "appended": {"penguin": 0}}
    assert run("--json", "history", "penguin", registry=other).json == [
        line["event"] for line in events
    ]
    assert run("fsck", registry=other).code == 0
    assert sorted(path.name for path in tmp_path.iterdir() if "jsonl" in path.name) == [file.name]


def test_export_to_a_pipe_and_import_from_one(
    run, filled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = run("export", "--out", "-")
    assert exported.out.count("\n") == 7
    pipe = io.BytesIO(exported.out.encode())
    pipe.seekable = lambda: False  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=pipe))
    assert run("import", "-", registry=f"sqlite:///{tmp_path}/o.sqlite").out.startswith(
        "imported 5"
    )
    refused = run("--json", "export", "--out", "-")
    assert (refused.code, refused.out) == (2, "")


def test_a_failed_export_leaves_no_file(run, filled: str, tmp_path: Path) -> None:
    file = tmp_path / "penguin.jsonl"
    file.write_text("older", encoding="utf-8")
    edit_event(filled)
    refused = run("export", "--out", file)
    assert (refused.code, refused.out) == (4, "")
    assert "event 2" in refused.err
    assert file.read_text(encoding="utf-8") == "older"
    assert not list(tmp_path.glob(".*.part"))
    missing = run("export", "--out", tmp_path / "nowhere" / "x")
    assert (missing.code, "No such file" in missing.err) == (2, True)


def test_an_import_that_is_refused(run, filled: str, plain_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "penguin.jsonl"
    run("export", "--out", file)
    other = f"sqlite:///{tmp_path}/other.sqlite"
    run("register", "penguin", plain_model, registry=other)
    conflict = run("import", file, registry=other)
    assert (conflict.code, conflict.out, conflict.err.count("\n")) == (5, "", 1)
    assert "event 1 is the first that differs" in conflict.err
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(file.read_bytes()[:-10])
    assert run("import", cut).code == 4
    assert run("import", plain_model / "model.txt").code == 2
    assert run("import", tmp_path / "nothing").code == 2


def test_verify_log(run, filled: str) -> None:
    held = run("verify-log")
    assert (held.code, held.out.startswith("penguin: 5 events, holds, ends with")) == (0, True)
    assert run("--json", "verify-log", "penguin").json[0]["holds"] is True
    assert run("verify-log", "auk").code == 3
    edit_event(filled)
    damaged = run("verify-log", "penguin")
    assert damaged.code == 4
    assert "penguin: 5 events, damaged" in damaged.out
    assert "damaged: penguin event 2: its digest is" in damaged.out
    assert damaged.err.count("\n") == 1
    (report,) = run("--json", "verify-log", "penguin").json
    assert "event.edited" in {finding["code"] for finding in report["findings"]}


def test_fsck(run, filled: str) -> None:
    assert run("fsck").out == "1 model, 5 events: clean\n"
    lose_head(filled)
    found = run("fsck", "penguin")
    assert found.code == 4
    assert "penguin head: there is none [head.missing] (repairable)" in found.out
    assert "tfx-registry fsck --repair" in found.err
    assert run("show", "penguin").code == 3
    (finding,) = run("--json", "fsck").json["findings"]
    assert (finding["code"], finding["repairable"]) == ("head.missing", True)
    repaired = run("fsck", "--repair")
    assert (repaired.code, repaired.err) == (0, "")
    assert repaired.out.startswith("repaired: penguin head")
    assert run("fsck").out == "1 model, 5 events: clean\n"
    assert run("show", "penguin").code == 0
    edit_event(filled)
    lose_head(filled)
    left = run("fsck", "--repair")
    assert left.code == 4
    assert "a damaged log is not repaired" in left.err
    assert run("show", "penguin").code == 3


def test_fsck_of_a_file(run, filled: str) -> None:
    with closing(sqlite3.connect(filled.removeprefix("sqlite:///"))) as connection:
        connection.execute("DROP INDEX idx_event_execution_id")
        connection.commit()
    for arguments in (("fsck",), ("fsck", "penguin"), ("fsck", "--repair")):
        found = run(*arguments)
        assert found.code == 4
        assert "the table Event has no index by execution_id" in found.out
        assert "first do what is said of the file" in found.err


def test_served(run, filled: str, tmp_path: Path) -> None:
    base = tmp_path / "serving"
    assert run("served", "penguin", "--on", "2999-01-01").code == 3
    run("approve", "penguin:1", "--reason", "looked at it")
    assert run("promote", "penguin:1", "--serving-dir", base, "--reason", "best").code == 0
    for where in ([], ["--serving-dir", base]):
        shown = run("served", "penguin", "--on", "2999-01-01", *where)
        assert shown.code == 0, shown.err
        for text in (
            f"penguin:1 under 'production' in {base}", "promoted by ada", "best", "passed",
            "auc 0.4 (sex=[male])", "approved", "by ada: looked at it",
        ):  # fmt: skip
            assert text in shown.out
    (answer,) = run("--json", "served", "penguin", "--on", "2999-01-01").json
    assert answer["version"]["number"] == answer["deployment"]["number"] == 1
    assert answer["decision"]["verdict"] == "passed"
    assert answer["approvals"][0]["actor"] == "ada"
    assert Deployment(**answer["deployment"]).destination == str(base)
    assert run("served", "penguin", "--on", "2020-01-01").code == 3
    assert run("served", "auk", "--on", "2020-01-01").code == 3
    assert run("served", "penguin", "--on", "tomorrow").code == 2
    assert run("served", "penguin", "--on", "2999-01-01", "--alias", "nowhere").code == 3
    assert "that whole day" in run("served", "--help").out


def test_an_export_closes_quietly_with_its_pipe(filled: str) -> None:
    command = Path(sys.executable).with_name("tfx-registry")
    done = subprocess.run(
        f"'{command}' --registry '{filled}' export --out - | head -n 1",
        shell=True, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith('{"format":"tfx-registry-log"')
    assert done.stderr == ""
