"""The page about a decision."""

from __future__ import annotations

import dataclasses
import html.parser
import math
import re

from tfx_registry.gate.html import render_html
from tfx_registry.gate.report import Check, Compared, GateReport, Reason
from tfx_registry.records import Verdict

HOSTILE = "<script>alert('x')</script>\"&{{ 7*7 }}"
FAILED = Check(
    False,
    f"slice island={HOSTILE}: auc 0.4 is below the lower bound 0.9 (12 examples)",
    Reason.BELOW_LOWER_BOUND,
    "value >= 0.9",
    "auc",
    (("island", HOSTILE),),
    0.4,
    0.95,
    None,
    0.9,
    12,
)
REPORT = GateReport(
    model="penguin",
    verdict=Verdict.BLOCKED,
    candidate=Compared(2, "c" * 64, HOSTILE),
    baseline=Compared(1, "b" * 64, "/models/1"),
    alias="production",
    checks=(
        FAILED,
        dataclasses.replace(FAILED, value=math.nan, reason=Reason.NOT_A_NUMBER),
        Check(False, HOSTILE, Reason.SLICE_MISSING),
        dataclasses.replace(FAILED, passed=True, reason=None, rule="absolute change at least 0"),
    ),
    notes=(HOSTILE,),
    policy={"note": HOSTILE},
)


class Tags(html.parser.HTMLParser):
    """Collects tags and attributes, and checks that each is closed."""

    VOID = frozenset({"meta", "line", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parse(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    return tags


def test_the_page_says_what_failed() -> None:
    page = render_html(REPORT)
    assert "✗ Blocked" in page
    assert "3 of 4 checks failed against version 1, which serves under" in page
    assert page.index("✗ fail") < page.index("✓ pass")
    assert "value &gt;= 0.9" in page
    assert "NaN" in page


def test_a_pass_says_so() -> None:
    passed = dataclasses.replace(REPORT, verdict=Verdict.PASSED, checks=REPORT.checks[3:])
    page = render_html(dataclasses.replace(passed, baseline=None, baseline_rule="require"))
    assert "✓ Passed" in page
    assert "All 1 checks passed." in page
    assert "none (rule: require)" in page


def test_hostile_texts_are_escaped() -> None:
    page = render_html(REPORT)
    assert "<script" not in page
    assert "49" not in re.sub(r"[\s\S]*</style>", "", page)
    assert page.count("&lt;script&gt;alert(&#39;x&#39;)") >= 5
    assert "script" not in {tag for tag, _ in parse(page).seen}


def test_the_page_needs_nothing_else() -> None:
    tags = parse(render_html(REPORT)).seen
    loading = {"src", "href", "srcset", "data", "action"}
    assert [(tag, a) for tag, a in tags if loading & set(a)] == []
    assert "@import" not in render_html(REPORT)
    assert "url(" not in render_html(REPORT)


def test_marks_stay_on_their_scale() -> None:
    marks = [a for tag, a in parse(render_html(REPORT)).seen if tag == "rect"]
    assert marks
    for mark in marks:
        assert 0 <= float(mark["x"] or -1) <= 200
