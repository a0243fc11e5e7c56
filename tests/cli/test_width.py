"""On a terminal with 80 columns no command prints a longer line; in a pipe none is broken."""

from __future__ import annotations

import datetime
import io
import os
import re
import shutil
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfx_registry import ModelRegistry, promote
from tfx_registry.cli import lines
from tfx_registry.cli.main import SECTIONS, command_name
from tfx_registry.records import Metric
from tfx_registry.registry.mlmd_store import MlmdStore
from tfx_registry.registry.uri import RegistryUri
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.sample_registry import fill_sample, hostile_sample

WIDTH = 80
MODEL = "quarterly-forecast-of-the-demand-for-penguin-food-in-all-zoos"
PERSON = "continuous-integration-of-the-northern-hemisphere@pipelines.example.com"
WHY = "the labels of the second week are wrong, says 企鵝 & Пингвин; " * 3
ALIAS = "candidate-of-the-northern-hemisphere"
#: A version whose bytes lie here, and serve.
LAST = f"{MODEL}:13"
DIRECTORY = "serving/a-directory-with-a-name-that-nobody-would-choose/" + MODEL

#: By command: arguments, and the exit code where it is not 0.
COMMANDS: dict[str, list[tuple[tuple[str, ...], int]]] = {
    "init": [
        (("new-" + runner, "--runner", runner), 0)
        for runner in ("local", "beam", "airflow", "kubeflow")
    ],
    "ui": [],  # serves until it is stopped
    "export-keras": [],  # needs TensorFlow; says one sentence
    "history": [((MODEL,), 0)],
    "models": [((), 0)],
    "show": [((f"{MODEL}:{n}",), 0) for n in (1, 3, 6, 7, 8, 10, 13)],
    "versions": [((MODEL,), 0)],
    "compare": [((f"{MODEL}:1", f"{MODEL}:3"), 0), ((f"{MODEL}:1", LAST, "--all"), 0)],
    "lineage": [((f"{MODEL}:4",), 0), ((LAST,), 0)],
    "search": [(("--order-by", "labels.team"), 0), (("--limit", "2"), 0), (("number = 99",), 0)],
    "report": [((MODEL, "--out", "a-page-about-a-model-with-a-long-name-" + "x" * 60), 0)],
    "alias": [
        (("set", MODEL, ALIAS, "4", "--reason", WHY), 0),
        (("rm", MODEL, ALIAS), 0),
    ],
    "register": [((MODEL, "models/" + "m" * 70, "--label", "purpose=" + "forecast " * 20), 0)],
    "explain": [((f"{MODEL}:{n}",), 0) for n in (1, 3, 5, 8)],
    "gate": [
        ((f"{MODEL}:3", "--policy", "policy.yaml", "--from-decision"), 4),
        ((f"{MODEL}:4", "--from-decision"), 0),
    ],
    "approve": [((f"{MODEL}:4", "--reason", WHY), 0)],
    "archive": [((f"{MODEL}:3", "--yes", "--reason", WHY), 0)],
    "label": [
        (("set", f"{MODEL}:4", "k" * 60, "v" * 100), 0),
        (("rm", f"{MODEL}:4", "purpose" * 8), 0),
    ],
    "override": [((f"{MODEL}:3", "--reason", WHY), 0)],
    "policy": [
        (("show",), 0),
        (("set", "access.json"), 0),
        (("history",), 0),
        (("check", PERSON, "promote", MODEL), 0),
    ],
    "reject": [((f"{MODEL}:4", "--reason", WHY), 0)],
    "abort": [((MODEL, "--serving-dir", DIRECTORY), 3)],
    "promote": [((LAST, "--serving-dir", DIRECTORY), 0)],
    "adopt": [(("adopted-" + MODEL[:50], "--serving-dir", "pusher/" + "p" * 70), 0)],
    "prune": [((MODEL, "--serving-dir", DIRECTORY, "--keep-last", "1"), 0)],
    "reconcile": [((MODEL, "--serving-dir", DIRECTORY, "--verify"), 0)],
    "rollback": [((MODEL, "--serving-dir", DIRECTORY, "--to", "13", "--reason", WHY), 0)],
    "status": [(("--serving-dir", DIRECTORY, "--verify"), 0)],
    "verify": [((LAST,), 0)],
    "export": [((MODEL, "--out", "o" * 70 + ".jsonl"), 0)],
    "fsck": [((), 0)],
    "import": [(("history.jsonl",), 0)],
    "served": [
        ((MODEL, "--on", "2026-09-10"), 0),
        ((MODEL, "--on", "2126-09-10", "--serving-dir", DIRECTORY), 0),
    ],
    "verify-log": [((), 0)],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a registry in which all texts are long or hostile."""
    folder = tmp_path_factory.mktemp("width") / "here"
    folder.mkdir()
    sample = replace(
        hostile_sample(), model=MODEL, actor=PERSON, reason=WHY, labels={"purpose" * 8: WHY}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        store = MlmdStore(RegistryUri.parse(f"sqlite:///{folder}/registry.sqlite"), create=True)
        (folder / "bytes").mkdir()
        fill_sample(folder / "bytes", sample, store).close()
        with ModelRegistry.open(f"sqlite:///{folder}/registry.sqlite") as registry:
            path = write_minimal_model(folder / "models" / ("m" * 70), "m")
            version = registry.register(
                MODEL, path, actor=PERSON, labels={"team": WHY},
                metrics=[Metric("a-metric-with-a-long-name" * 2, 0.123456789, (("k" * 40, WHY),))],
            )  # fmt: skip
            assert version.ref == LAST
            registry.override(
                MODEL, 13, reason=WHY, actor=PERSON, expires=datetime.timedelta(days=1)
            )
            promote(registry, MODEL, 13, DIRECTORY, actor=PERSON, reason=WHY)
            registry.set_alias(MODEL, ALIAS, 13, actor=PERSON)
            with (folder / "history.jsonl").open("w", encoding="utf-8") as file:
                registry.export_history(file.write, [MODEL], registry="here")
        write_minimal_model(folder / "pusher" / ("p" * 70) / "1767225600", "1")
        (folder / "policy.yaml").write_text(
            "value_thresholds: [{metric: auc, lower_bound: 1.5}]", encoding="utf-8"
        )
        (folder / "access.json").write_text(f'{{"admins": ["{PERSON}"]}}', encoding="utf-8")
    shutil.copytree(folder, folder.with_name("kept"))
    return folder


@pytest.fixture
def place(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder as it was made, which is the working directory."""
    shutil.rmtree(made)
    shutil.copytree(made.with_name("kept"), made)
    monkeypatch.chdir(made)
    monkeypatch.setenv("TFX_REGISTRY_ACTOR", PERSON)
    return made


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, run) -> None:
    """Standard streams look like a terminal with 80 columns, without colours."""
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True)


def cells(text: str) -> int:
    """Returns how many columns a terminal takes for a text without control characters."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(bool(unicodedata.combining(c)) for c in text)


def letters(text: str) -> str:
    """Leaves out what breaking lines changes."""
    return re.sub(r"\s", "", text)


def test_every_command_is_tried() -> None:
    assert {*COMMANDS} == {command_name(n) for section in SECTIONS for n in section.names}


@pytest.mark.parametrize("name", [name for name, calls in COMMANDS.items() if calls])
def test_no_line_is_wider_than_the_terminal(place: Path, terminal: None, run, name: str) -> None:
    for arguments, code in COMMANDS[name]:
        done = run(name, *arguments, registry="sqlite:///registry.sqlite")
        assert done.code == code, done.err
        if name == "policy" and arguments == ("show",):
            continue  # JSON
        for line in done.out.splitlines():
            if line.startswith("there is more: --page-token "):
                continue  # to be copied
            assert cells(line) <= WIDTH, line


@pytest.mark.parametrize(
    "command", [("show", LAST), ("served", MODEL, "--on", "2026-09-10"), ("explain", f"{MODEL}:3")]
)
def test_facts_say_the_same_in_a_pipe_and_on_a_terminal(
    place: Path, run, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, request
) -> None:
    piped = run(*command, registry="sqlite:///registry.sqlite").out.partition("\n\n")[0]
    request.getfixturevalue("terminal")
    shown = run(*command, registry="sqlite:///registry.sqlite").out
    assert max(map(cells, piped.splitlines())) > WIDTH
    for line in piped.splitlines():
        assert letters(line) in letters(shown)


def test_no_cell_is_broken_in_a_pipe(place: Path, run) -> None:
    for command in (("history", MODEL), ("versions", MODEL), ("show", LAST)):
        out = run(*command, registry="sqlite:///registry.sqlite").out
        assert (WHY.strip() if command[0] != "versions" else PERSON) in out


def test_a_digest_is_never_broken(place: Path, terminal: None, run) -> None:
    for command in (("show", LAST), ("served", MODEL, "--on", "2026-09-10")):
        out = run(*command, registry="sqlite:///registry.sqlite").out
        assert re.search(r"^(    |digest +)[0-9a-f]{64}$", out, re.MULTILINE)


@pytest.mark.usefixtures("capsys")  # the real stream is of a class that cannot be changed
def test_a_terminal_that_does_not_know_its_size_is_taken_for_a_usual_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((0, 0)))
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True)
    assert lines.screen_width() == WIDTH


words = st.text(st.sampled_from("ab 企é/\x1b\n"), max_size=60)


@given(
    width=st.integers(lines._LEAST + lines._INDENT, 60),
    rows=st.lists(st.tuples(st.sampled_from(["a", "name", "a longer name"]), words), max_size=4),
)
def test_facts_fit_and_are_complete(width: int, rows: list[tuple[str, str]]) -> None:
    def printed(columns: int | None) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lines, "screen_width", lambda: columns)
            patch.setattr("sys.stdout", out := io.StringIO())
            lines.facts(rows)
        return out.getvalue()

    assert "\x1b" not in printed(width)
    assert all(cells(line) <= width for line in printed(width).splitlines())
    assert letters(printed(width)) == letters(printed(None))
