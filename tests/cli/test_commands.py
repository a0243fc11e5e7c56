"""The commands: what they print, their JSON, their exit codes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tfx_registry import ModelRegistry
from tfx_registry.cli import main as main_module
from tfx_registry.digest import digest_path
from tfx_registry.errors import ConflictError
from tfx_registry.registry.reader import RegistryReader
from tfx_registry.testing.store_world import MemoryStore


def test_models(run, filled: str) -> None:
    (model,) = run("--json", "models").json
    assert (model["model"], model["versions"], model["latest"]) == ("penguin", 3, 3)
    assert "penguin" in run("models").out


def test_no_models_yet(run, uri: str) -> None:
    ModelRegistry.open(uri).close()
    assert run("--json", "models").json == []
    assert "register one with" in run("models").out


def test_versions(run, filled: str) -> None:
    found = run("--json", "versions", "penguin").json
    assert [(v["number"], v["state"]) for v in found] == [
        (3, "registered"),
        (2, "blocked"),
        (1, "passed"),
    ]
    assert found[1]["decision"]["reasons"] == [
        "slice sex=[male]: auc 0.4 is below the lower bound 0.9"
    ]
    assert {v["actor"] for v in found} == {"ada"}
    table = run("versions", "penguin").out
    # Text in brackets is no markup.
    assert "sex=[male]" in table
    assert [v["number"] for v in run("versions", "penguin", "--json", "--limit", 1).json] == [3]
    oldest = run("--json", "versions", "penguin", "--oldest-first").json
    assert [v["number"] for v in oldest] == [1, 2, 3]


def test_show(run, filled: str) -> None:
    shown = run("show", "penguin:2").out
    for text in (
        "penguin:2",
        "blocked",
        "by ada",
        "serving_default(x float32[?, 2]) -> count int32[], y float32[?, 2]",
        "slice sex=[male]: auc 0.4 is below",
        "same bytes as     version 1",
        "NaN",
    ):
        assert text in shown
    document = run("--json", "show", "penguin").json
    assert document["number"] == 3
    signature = document["signatures"]["serving_default"]
    assert signature["inputs"]["x"] == {"dtype": "float32", "shape": [None, 2]}
    metrics = run("--json", "show", "penguin:2").json["metrics"]
    assert {"name": "loss", "slice": {}, "value": "NaN"} in metrics


def test_history(run, filled: str) -> None:
    events = run("--json", "history", "penguin").json
    assert [e["kind"] for e in events] == ["registered"] * 3 + ["decided"] * 2
    assert [e["seq"] for e in events] == [1, 2, 3, 4, 5]
    assert events[1]["previous"]
    table = run("history", "penguin").out
    assert "version 2 blocked: slice sex=[male]" in table
    assert "ada" in table


def test_register(run, plain_model: Path) -> None:
    made = run(
        "--json", "register", "penguin", plain_model, "--description", "first", "--label",
        "team=birds=south", "--metric", "auc=0.9", "--metric", "loss=nan", "--semantic-version",
        "1.0.0", "--reason", "because",
    )  # fmt: skip
    assert made.code == 0
    assert made.json["labels"] == {"team": "birds=south"}
    assert made.json["metrics"] == [
        {"name": "auc", "slice": {}, "value": 0.9},
        {"name": "loss", "slice": {}, "value": "NaN"},
    ]
    assert run("register", "penguin", plain_model, "--idempotency-key", "k").out.startswith(
        "registered penguin:2 (other, digest "
    )
    assert "penguin:2" in run("register", "penguin", plain_model, "--idempotency-key", "k").out
    assert run("--json", "history", "penguin").json[0]["reason"] == "because"


def test_register_keeps_what_a_version_was_made_from(
    run, plain_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows").write_text("1,2,3", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    made = run(
        "--json", "register", "penguin", plain_model, "--parameter", "rate=0.1", "--parameter",
        "name=a=b", "--source", "examples=data", "--source", "prices=s3://data/7", "--metric",
        "auc[sex='f', age=\"o'ld]\"]=0.75", "--metric", "precision@5[a='b=c']=1",
    )  # fmt: skip
    assert made.code == 0, made.err
    assert made.json["hyperparameters"] == {"rate": "0.1", "name": "a=b"}
    assert made.json["metrics"] == [
        {"name": "auc", "slice": {"sex": "f", "age": "o'ld]"}, "value": 0.75},
        {"name": "precision@5", "slice": {"a": "b=c"}, "value": 1.0},
    ]
    data = tmp_path / "data"
    found = {s["key"]: (s["type_name"], s["uri"], s.get("digest")) for s in made.json["sources"]}
    assert found["examples"] == ("Examples", str(data), digest_path(data).root)
    assert found["prices"] == ("ExternalArtifact", "s3://data/7", None)
    assert str(data) in run("lineage", "penguin").out


def test_register_takes_an_address_in_an_object_store(
    run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = MemoryStore()
    monkeypatch.setattr("tfx_registry.serving.objects.models.open_bucket", store.open)
    store.put("7/model/weights.bin", b"weights")
    place = "s3://models/penguin/7/model"
    made = run("--json", "register", "penguin", place)
    assert made.code == 0, made.err
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").write_bytes(b"weights")
    assert made.json["uri"] == place
    assert made.json["digest"] == digest_path(tmp_path / "model").root
    missing = run("register", "penguin", "s3://models/penguin/8")
    assert (missing.code, missing.err.count("\n")) == (2, 1)
    assert "'s3://models/penguin/8'" in missing.err


def test_alias(run, filled: str) -> None:
    assert run("alias", "set", "penguin", "champion", 2).out == "penguin@champion is penguin:2\n"
    assert run("alias", "set", "penguin", "champion", 3, "--expect", 2).code == 0
    refused = run("alias", "set", "penguin", "champion", 1, "--expect", "none")
    assert refused.code == 5
    assert "points at version 3, expected it unset" in refused.err
    assert run("--json", "show", "penguin@champion").json["aliases"] == ["champion"]
    assert run("--json", "alias", "rm", "penguin", "champion").json["previous"] == 3
    assert run("show", "penguin@champion").code == 3


def test_promote(run, filled: str, tmp_path: Path) -> None:
    base = tmp_path / "serving"
    done = run("promote", "penguin:1", "--serving-dir", base)
    assert done.code == 0, done.err
    assert done.out == f"promoted penguin:1 to {base}/1 under 'production'\n"
    assert (base / "1" / "saved_model.pb").exists()
    again = run("--json", "promote", "penguin:1", "--serving-dir", base).json
    assert (again["changed"], again["state"], again["path"]) == (False, "serving", f"{base}/1")
    assert (
        "nothing to do: penguin:1 serves already"
        in run("promote", "penguin@production", "--serving-dir", base).out
    )
    table = run("models").out
    assert "production -> 1" in table
    for number in (2, 3):
        refused = run("promote", f"penguin:{number}", "--serving-dir", base)
        assert (refused.code, refused.out) == (4, "")
    assert sorted(p.name for p in base.iterdir()) == [".tfx_registry", "1"]


def test_promote_into_a_file(run, filled: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    refused = run("promote", "penguin:1", "--serving-dir", tmp_path / "file")
    assert refused.code == 2
    assert "is not a directory" in refused.err
    assert len(run("--json", "history", "penguin").json) == 5


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["versions", "auk"], 3, "no model 'auk'"),
        (["show", "penguin:9"], 3, "its latest version is 3"),
        (["show", "penguin@nowhere"], 3, "no alias 'nowhere'"),
        (["show", "penguin:x"], 2, "invalid version reference"),
        (["show", "pen/guin"], 2, "invalid model name"),
        (["versions", "penguin", "--limit", "0"], 2, "--limit"),
        (["versions"], 2, "Missing argument"),
        (["bogus"], 2, "No such command 'bogus'"),
        (["register", "penguin", "/nowhere"], 2, "no such file"),
        (["register", "pen guin", "/nowhere"], 2, "invalid model name"),
        (["register", "penguin", "/", "--label", "x"], 2, "invalid --label 'x'"),
        (["register", "penguin", "/", "--metric", "x=y"], 2, "'y' is not a number"),
        (["register", "penguin", "/", "--metric", "x[a='b']=y"], 2, "'y' is not a number"),
        (["register", "penguin", "/", "--metric", "x[a=b]=1"], 2, "NAME[feature='value']=NUMBER"),
        (["register", "penguin", "/", "--metric", "x[a='b'"], 2, "invalid --metric"),
        (["register", "penguin", "/", "--metric", "x[a='b'] desc=1"], 2, "invalid --metric"),
        (["register", "penguin", "/", "--parameter", "x"], 2, "invalid --parameter 'x'"),
        (["register", "penguin", "/", "--source", "data=/nowhere"], 2, "no such file"),
        (["alias", "set", "penguin", "latest", "1"], 2, "reserved"),
        (["alias", "set", "penguin", "champion", "9"], 3, "no version 9"),
        (["alias", "set", "penguin", "champion", "1", "--expect", "x"], 2, "invalid --expect"),
        (["alias", "rm", "penguin", "champion"], 3, "no alias 'champion'"),
        (["promote", "penguin:3", "--serving-dir", "s"], 4, "no gate decision"),
        (["promote", "penguin:1"], 2, "--serving-dir"),
        (["promote", "penguin:1", "--serving-dir", "gs://bucket"], 2, "a whole bucket"),
    ],
)
def test_errors_are_one_line_with_the_right_code(
    run, filled: str, arguments: list[str], code: int, message: str
) -> None:
    result = run(*arguments)
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    assert message in result.err
    assert len(run("--json", "history", "penguin").json) == 5


def test_errors_about_the_registry(run, tmp_path: Path) -> None:
    missing = run("models", registry=f"sqlite:///{tmp_path}/none.sqlite")
    assert (missing.code, missing.out) == (6, "")
    assert not (tmp_path / "none.sqlite").exists()
    secret = run("models", registry="mysql://ada:geheim@db/r")
    assert secret.code == 2
    assert "geheim" not in secret.err
    assert run("models", registry=None).code == 2
    for gone in ("memory://", "sqlite:///:memory:"):
        refused = run("register", "penguin", tmp_path, registry=gone)
        assert (refused.code, refused.out) == (2, "")
        assert "memory" in refused.err


def test_a_conflict_has_its_code(run, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def conflict(*_: object, **__: object) -> None:
        raise ConflictError("busy")

    monkeypatch.setattr(ModelRegistry, "set_alias", conflict)
    assert run("alias", "set", "penguin", "champion", 1).code == 5


def test_an_unexpected_error_has_its_code(
    run, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("broken\nbadly")

    monkeypatch.setattr(RegistryReader, "history", fail)
    result = run("history", "penguin")
    assert result.code == 1
    assert result.err == "error: unexpected RuntimeError: broken badly; use -v for the traceback\n"


def commands_of(group: click.Group, path: str = "") -> dict[str, click.Command]:
    """All commands below a group that do something, by their words."""
    found: dict[str, click.Command] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= commands_of(command, f"{path}{name} ")
        else:
            found[f"{path}{name}"] = command
    return found


def test_help_of_every_command_has_an_example() -> None:
    commands = commands_of(main_module.cli)
    assert {"models", "versions", "alias set", "promote", "approve"} <= set(commands)
    for name, command in commands.items():
        assert command.help is not None, name
        example = re.compile(rf"Example: tfx-registry (--\S+ (\S+:\S+ )?)?{name}")
        assert example.search(command.help), name


def test_the_installed_command_answers(filled: str) -> None:
    command = Path(sys.executable).with_name("tfx-registry")
    done = subprocess.run(
        [command, "--registry", filled, "--json", "versions", "penguin"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert '"state": "blocked"' in done.stdout
    # Tables go through pipes without colours and without being cut.
    done = subprocess.run(
        [command, "--registry", filled, "versions", "penguin"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\x1b" not in done.stdout
    assert "slice sex=[male]: auc 0.4 is below the lower bound 0.9" in done.stdout
