"""On a terminal: names that were meant, tables that fit, colours, questions, hints, bars."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tfx_registry import ModelRegistry
from tfx_registry.cli import progress
from tfx_registry.cli.main import SECTIONS, command_name
from tfx_registry.cli.narrow_table import narrow_table
from tfx_registry.digest import digest_path
from tfx_registry.text import closest

LONG = "quarterly-forecast-of-the-demand-for-penguin-food-in-all-zoos"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, run: Callable[..., object]) -> None:
    """Standard streams look like a terminal with 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True)


@pytest.fixture
def long_names(uri: str, plain_model: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model and people with long names, labels and reasons."""
    actor = "continuous-integration@pipelines.example.com"
    monkeypatch.setenv("TFX_REGISTRY_ACTOR", actor)
    with ModelRegistry.open(uri) as registry:
        for _ in range(2):
            registry.register(LONG, plain_model, labels={"purpose" * 8: "forecast " * 20})
        registry.set_alias(LONG, "candidate-of-the-northern-hemisphere", 2)
        registry.reject(LONG, 1, reason="the labels of the second week are wrong, " * 5)
    return LONG


def plain(text: str) -> str:
    """Leaves out what colours and emphasizes."""
    return re.sub(r"\x1b\[[\d;]*m", "", text)


# Names that were meant


def test_a_model_that_was_meant_is_named(filled: str, run) -> None:
    for command in (("versions", "penguim"), ("show", "Pengiun:1"), ("history", "pengin")):
        done = run(*command)
        assert done.code == 3
        assert "did you mean 'penguin'?" in done.err
        assert "list the models" in done.err


def test_nothing_similar_is_not_guessed(filled: str, run) -> None:
    done = run("versions", "weather")
    assert (done.code, "did you mean" in done.err) == (3, False)


def test_an_alias_that_was_meant_is_named(filled: str, run) -> None:
    assert run("alias", "set", "penguin", "production", 1).code == 0
    done = run("show", "penguin@producton")
    assert done.code == 3
    assert "did you mean 'production'? Otherwise set it with" in done.err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("verions", "penguin"), "Did you mean 'versions'?"),
        (("alias", "sett", "penguin", "a", "1"), "Did you mean 'set'?"),
        (("versions", "penguin", "--limt", "3"), "Did you mean '--limit'?"),
    ],
)
def test_a_command_or_option_that_was_meant_is_named(filled: str, run, words, meant) -> None:
    done = run(*words)
    assert done.code == 2
    assert meant in done.err


def test_closest_ignores_case_and_keeps_the_spelling() -> None:
    assert closest("PENGUIM", ["Penguin", "auk"]) == "did you mean 'Penguin'?"
    assert closest("x", []) == ""


# Tables


def test_nothing_is_lost_in_a_narrow_table(long_names: str, terminal: None, run) -> None:
    out = plain(run("history", LONG).out)
    assert "".join(("the labels of the second week are wrong, " * 5).split()) in "".join(
        out.split()
    )
    assert sorted(re.findall(r"continuous|integration|pipelines|example", out))


@given(
    st.integers(20, 80),
    st.lists(st.lists(st.text("ab c", max_size=60), min_size=3, max_size=3), max_size=4),
)
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(
    width: int, cells: list[list[str]]
) -> None:
    console = Console(width=width)
    lines = narrow_table(["a", "b", "c"], cells, console)
    assert all(line.cell_len <= width for line in lines)
    shown = sorted("".join(line.plain for line in lines[3:]).replace(" ", "").replace(":", ""))
    given_letters = sorted("".join("".join(row) for row in cells).replace(" ", ""))
    extra = list(shown)
    for letter in given_letters:
        extra.remove(letter)


def test_words_of_a_usual_length_are_not_broken() -> None:
    header = ["answer", "slice", "metric", "rule", "value", "baseline", "change", "examples"]
    row = ["fail", "island=Dream", "sparse_categorical_accuracy", "absolute change at least -0.02"]
    console = Console(width=80)
    lines = narrow_table(header, [[*row, "0.45", "0.95", "-0.182", "100"]], console)
    assert "sparse_categorical_accuracy" in "\n".join(line.plain for line in lines)
    assert all(line.cell_len <= 80 for line in lines)


def test_short_columns_are_not_broken(filled: str, terminal: None, run) -> None:
    out = plain(run("versions", "penguin").out)
    assert len(re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", out)) == 3


# Colours


def test_no_color_is_respected(filled: str, terminal: None, run, monkeypatch) -> None:
    assert "\x1b[" in run("versions", "penguin").out
    monkeypatch.setenv("NO_COLOR", "1")
    for color in ("31m", "32m", "1;31m", "1;32m"):
        assert f"\x1b[{color}" not in run("versions", "penguin").out


# Hints and questions


def test_a_hint_says_what_to_do_next(filled: str, terminal: None, run) -> None:
    done = run("approve", "penguin:1")
    assert "next: tfx-registry promote penguin:1 --serving-dir DIR" in done.err


def test_hints_are_not_for_programs(filled: str, run) -> None:
    assert "next:" not in run("approve", "penguin:1").err


def test_json_has_no_hint(filled: str, terminal: None, run) -> None:
    done = run("approve", "penguin:1", "--json")
    assert done.json["ref"] == "penguin:1"
    assert "next:" not in done.err


#: Commands that are hard to undo; none needs anything to be there before it asks.
DESTRUCTIVE = [
    ("archive", "penguin:1"),
    ("reconcile", "--serving-dir", "nowhere", "--quarantine"),
]


def test_archiving_asks_on_a_terminal(filled: str, terminal: None, run, monkeypatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    answers = iter(["n", "y"])
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: next(answers))
    declined = run("archive", "penguin:1")
    assert declined.code == 2
    assert "did not archive penguin:1: the answer was no; nothing was changed" in declined.err
    assert run("show", "penguin:1", "--json").json["archived"] is False
    assert run("archive", "penguin:1").code == 0
    assert run("archive", "penguin:2", "--yes").code == 0
    assert run("show", "penguin:2", "--json").json["archived"] is True


@pytest.mark.parametrize("command", DESTRUCTIVE, ids=lambda command: command[0])
def test_a_program_has_to_say_yes(filled: str, run, command, monkeypatch) -> None:
    before = run("history", "penguin").out
    refused = run(*command)
    assert (refused.code, refused.out) == (2, "")
    assert "there is nobody to ask; add --yes if it is meant" in refused.err
    with monkeypatch.context() as closed:
        closed.setattr(sys, "stdin", None)  # as Python has it after <&-
        assert run(*command).err == refused.err
    assert run("history", "penguin").out == before
    assert "--yes" not in run(*command, "--yes").err


@pytest.mark.parametrize("command", DESTRUCTIVE, ids=lambda command: command[0])
def test_json_is_for_programs_on_a_terminal_too(
    filled: str, terminal: None, run, command, monkeypatch
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    refused = run(*command, "--json")
    assert (refused.code, refused.out) == (2, "")


def test_a_question_that_nobody_would_see_is_not_asked(filled: str, run, monkeypatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert run("archive", "penguin:1").code == 2


def test_whoever_offers_yes_refuses_programs_without_it_or_only_says_what_would_go() -> None:
    from tfx_registry.cli.main import cli

    offering = {
        name
        for section in SECTIONS
        for name in map(command_name, section.names)
        for parameter in cli.get_command(click.Context(cli), name).params
        if {"--yes"} & {*parameter.opts, *parameter.secondary_opts}
    }
    assert offering == {*(command[0] for command in DESTRUCTIVE), "prune"}


# Help


def test_every_command_has_an_example() -> None:
    from tfx_registry.cli.main import cli

    def below(command: click.Command) -> list[click.Command]:
        if isinstance(command, click.Group):
            inner = [last for inner in command.commands.values() for last in below(inner)]
            return [command, *inner]
        return [command]

    context = click.Context(cli)
    assert "Example: tfx-registry " in (cli.help or "")
    for name in (command_name(n) for section in SECTIONS for n in section.names):
        command = cli.get_command(context, name)
        assert command is not None
        for last in below(command):
            assert "Example: tfx-registry " in (last.help or ""), last.name


def test_each_command_has_one_line_in_the_help(run, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = run("--help").out.partition("Begin:")[2].splitlines()
    names = [command_name(name) for section in SECTIONS for name in section.names]
    assert [line.split()[0] for line in lines if line.startswith("  ")] == names
    assert not [line for line in lines if line.endswith("...") or len(line) > 80]


def test_a_wrong_argument_leads_to_the_help_of_its_command(run) -> None:
    assert run("versions").err.endswith("See 'tfx-registry versions --help'.\n")
    assert run("alias", "set").err.endswith("See 'tfx-registry alias set --help'.\n")
    assert run("--nonsense").err.endswith("See 'tfx-registry --help'.\n")


# Bars


def test_hashing_shows_a_bar_when_it_takes_long(
    tmp_path: Path, terminal: None, monkeypatch, capfd
) -> None:
    (tmp_path / "model").write_bytes(b"x" * (1 << 20))
    monkeypatch.setattr(progress, "_PATIENCE_SECONDS", -1.0)
    with progress.hashing():
        digest_path(tmp_path / "model")
    assert "hashing" in capfd.readouterr().err


def test_copying_shows_a_bar_when_it_takes_long(terminal: None, monkeypatch, capfd) -> None:
    with progress.copying(3) as copied:
        copied(3)
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(progress, "_PATIENCE_SECONDS", -1.0)
    with progress.copying(3) as copied:
        copied(3)
    assert "copying" in capfd.readouterr().err


def test_nothing_is_said_while_a_bar_is_there(
    filled: str, saved_model: Path, tmp_path: Path, run, capfd, monkeypatch
) -> None:
    @contextlib.contextmanager
    def copying(_: int) -> Iterator[Callable[[int], None]]:
        yield lambda _: None
        assert capfd.readouterr().out == ""

    monkeypatch.setattr("tfx_registry.cli.serving.copying", copying)
    done = run("promote", "penguin:1", "--serving-dir", tmp_path / "serving")
    assert (done.code, done.out[:18]) == (0, "promoted penguin:1"), done.err


def test_hashing_that_is_quick_shows_nothing(tmp_path: Path, terminal: None, capfd) -> None:
    (tmp_path / "model").write_bytes(b"x")
    with progress.hashing():
        digest_path(tmp_path / "model")
    assert capfd.readouterr().err == ""


def test_a_pipe_sees_no_bar(tmp_path: Path, monkeypatch, capfd) -> None:
    (tmp_path / "model").write_bytes(b"x" * (1 << 20))
    monkeypatch.setattr(progress, "_PATIENCE_SECONDS", -1.0)
    with progress.hashing(), progress.copying(3) as copied:
        digest_path(tmp_path / "model")
        copied(3)
    assert capfd.readouterr().err == ""
