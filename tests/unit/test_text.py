"""Text for people: nothing steers a terminal, and a line is as wide as it says."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tfx_registry.text import closest, display_width, format_number, format_seconds, printable

#: What people write: Latin, Greek, Cyrillic, Hebrew, Arabic, Thai, ideographs, Hangul, emoji.
WRITTEN = st.text(
    st.one_of(
        st.characters(min_codepoint=0x20, max_codepoint=0x7E),
        st.sampled_from("\u00e9\u0301\u0308\u03b1\u0434\u05d0\u05b0\u0628\u064b"),
        st.sampled_from("\u0e17\u0e35\u0e48\u0e31\u6f22\uff21\uac00\u3042"),
        st.sampled_from("\U0001f427\ufe0f\u200d\u200b\u2764"),
    ),
    max_size=20,
)


@given(st.text(st.characters()))
def test_what_is_printable_stays_so_and_steers_nothing(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    shown.encode("utf-8")
    assert not set(shown) & {*map(chr, range(32)), *map(chr, range(0x7F, 0xA0)), "\u202e", "\u2028"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"), ("a\r\nb", "a\\r\\nb"), ("\u202egnp", "\\u202egnp"),
        ("\ud800", "\\ud800"), ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
    ],
)  # fmt: skip
def test_what_cannot_be_seen_is_written_as_python_does(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(WRITTEN)
def test_each_character_is_as_wide_as_rich_draws_it(text: str) -> None:
    assert display_width(text) == sum(map(cell_len, text))


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("penguin", 7), ("", 0), ("\u00e9", 1), ("e\u0301", 1), ("\u0e17\u0e35\u0e48", 1),
        ("\u6f22\u5b57", 4), ("\uff21", 2), ("\u2764\ufe0f", 1),
    ],
)  # fmt: skip
def test_the_width_of_some(text: str, columns: int) -> None:
    assert display_width(text) == columns


def test_only_what_is_similar_is_asked_about() -> None:
    assert closest("Pengiun", ["taxi", "penguin"]) == "did you mean 'penguin'?"
    assert closest("PENGUIN", ["penguin"]) == "did you mean 'penguin'?"
    assert closest("owl", ["taxi", "penguin"]) == ""
    assert closest("", []) == ""


def test_numbers_and_times_for_people() -> None:
    assert format_number(0.123456789) == "0.123457"
    assert (format_number(math.nan), format_number(-math.inf)) == ("NaN", "-inf")
    assert format_seconds(1_772_323_199) == "2026-02-28 23:59:59 UTC"
    assert format_seconds(1e30) == "1e+30"
