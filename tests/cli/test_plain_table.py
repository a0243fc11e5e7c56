"""Tables in pipes are the same with and without rich."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tfx_registry.cli import render
from tfx_registry.cli.plain_table import is_plain, plain_table

WIDTH = 60

cells = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
    st.sampled_from(["", "a b", "[bold]a[/]", ":smile:", "10:00:00", "a\\", " a", "overall", "é"]),
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    columns = draw(st.integers(1, 4))
    rows = st.lists(cells, min_size=columns, max_size=columns)
    return draw(rows), draw(st.lists(rows, max_size=4))


def by_rich(header: list[str], rows: list[list[str]], width: int = WIDTH) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, highlight=False)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    return file.getvalue()


@given(tables())
def test_what_is_plain_looks_the_same(table: tuple[list[str], list[list[str]]]) -> None:
    header, rows = table
    if is_plain(header, rows, WIDTH):
        assert plain_table(header, rows) + "\n" == by_rich(header, rows)


HEADER, ROWS = ["slice", "auc"], [["overall", "0.9"], ["a=b", "NaN"]]


def test_a_table_of_metrics_is_plain() -> None:
    assert is_plain(HEADER, ROWS, WIDTH)
    assert plain_table(HEADER, ROWS) + "\n" == by_rich(HEADER, ROWS)


def test_a_line_may_just_fill_the_width() -> None:
    length = len(plain_table(HEADER, ROWS).splitlines()[0])
    assert is_plain(HEADER, ROWS, length)
    assert plain_table(HEADER, ROWS) + "\n" == by_rich(HEADER, ROWS, length)
    assert not is_plain(HEADER, ROWS, length - 1)


@pytest.mark.parametrize(
    "rows", [[], [["[red]a[/]", "b"]], [["a", "Ünder"]], [["a", ":cat:"]], [["a", "b\\[x]"]]]
)
def test_the_rest_is_left_to_rich(rows: list[list[str]]) -> None:
    assert not is_plain(HEADER, rows, WIDTH)


@pytest.mark.parametrize("name", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_colours_that_somebody_asked_for_are_left_to_rich(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    assert not is_plain(HEADER, ROWS, WIDTH)


def test_both_ways_print(capsys: pytest.CaptureFixture[str]) -> None:
    render.print_table(HEADER, ROWS)
    plain = capsys.readouterr().out
    assert plain == by_rich(HEADER, ROWS)
    render.print_table(HEADER, [["\\[overall]", "0.9"], *ROWS[1:]])
    assert capsys.readouterr().out.splitlines()[3].split() == ["[overall]", "0.9"]
