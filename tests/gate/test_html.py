"""The page about a decision."""

from __future__ import annotations

import dataclasses
import html.parser
import math
import re

import pytest

from tfx_registry.gate import CheckKind, DataIdentity, DataSource, Interval
from tfx_registry.gate.html import Recorded, render_html
from tfx_registry.gate.report import Check, Compared, GateReport, Reason
from tfx_registry.records import Override, Verdict

HOSTILE = "<script>alert('x')</script>\"&{{ 7*7 }}\u202e\x1b[31m\udc80"
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
    CheckKind.VALUE,
    interval=Interval(0.2, 0.6),
    level=0.95,
)
PASSED = dataclasses.replace(
    FAILED, passed=True, reason=None, value=0.96, slice=(("island", "Dream"),), interval=None
)
CHANGE = dataclasses.replace(
    PASSED,
    rule="absolute change at least -0.02",
    kind=CheckKind.CHANGE,
    change=0.01,
    bound=-0.02,
    interval=Interval(-0.005, 0.025),
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
        PASSED,
        CHANGE,
    ),
    notes=(HOSTILE,),
    policy={"note": HOSTILE},
    evaluation=HOSTILE,
    data=DataIdentity(HOSTILE, (HOSTILE,), {HOSTILE: HOSTILE}),
    versions={HOSTILE: HOSTILE},
    made_at=1.7e9,
)
OVERRIDE = Override("bob", "2026-01-02T03:04:05.6Z", "2026-01-03T03:04:05.6Z", 9, HOSTILE)
RECORDED = Recorded(7, "2026-01-01T03:04:05.6Z", HOSTILE, HOSTILE, OVERRIDE, HOSTILE)


class Tags(html.parser.HTMLParser):
    """Collects tags and attributes, and checks that each is closed."""

    VOID = frozenset({"meta"})

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

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.seen if name == tag]


def parse(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    return tags


def table(checks: int, failed: int) -> GateReport:
    """A report about so many slices, of which so many failed."""
    slices = [(("city", f"City {i}"),) for i in range(checks)]
    return dataclasses.replace(
        REPORT,
        checks=tuple(
            dataclasses.replace(FAILED if i < failed else PASSED, slice=key)
            for i, key in enumerate(slices)
        ),
    )


def test_the_page_says_what_failed() -> None:
    page = render_html(REPORT)
    assert "✗ Blocked" in page
    assert "3 of 5 checks failed against version 1, which serves under" in page
    assert page.index("✗ fail") < page.index("✓ pass")
    assert "value &gt;= 0.9" in page
    assert "0.2 to 0.6" in page
    assert "NaN" in page
    assert "made 2023-11-14 22:13:20 UTC" in page


def test_a_pass_says_so() -> None:
    passed = dataclasses.replace(REPORT, verdict=Verdict.PASSED, checks=(PASSED,))
    page = render_html(dataclasses.replace(passed, baseline=None, baseline_rule="require"))
    assert "✓ Passed" in page
    assert "The only check passed, without a baseline." in page
    assert "none (rule: require)" in page
    assert "✗ fail" not in page
    both = dataclasses.replace(passed, checks=(PASSED, CHANGE))
    assert "All 2 checks passed against version 1" in render_html(both)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            DataIdentity("/d", source=DataSource.OWN_EVALUATION),
            "source: evaluation run by the gate",
        ),
        (DataIdentity("/d", source=DataSource.LINEAGE), "source: lineage of the evaluation"),
        (DataIdentity("/d", source=DataSource.GIVEN), "source: given, not proven"),
        (DataIdentity("/d"), "source: named by the evaluation, not proven"),
        (DataIdentity(), "not known: neither the evaluation nor its lineage names the examples"),
    ],
)
def test_the_page_says_how_the_data_is_known(data: DataIdentity, said: str) -> None:
    page = render_html(dataclasses.replace(REPORT, data=data, data_location=""))
    assert said in page
    assert page.count("source: ") == (data.location != "")


def test_each_rule_shows_its_failures_first() -> None:
    page = render_html(REPORT)
    rules = re.findall(r'<h3 id="rule-\d">(.*?)</h3>', page)
    assert rules == ["auc: value &gt;= 0.9", "auc: absolute change at least -0.02"]
    assert "2 of 3" in page
    _, first, second = page.split("<h3 ")
    assert re.findall("✗ fail|✓ pass", first) == ["✗ fail", "✗ fail", "✓ pass"]
    assert re.findall("✗ fail|✓ pass", second) == ["✓ pass"]


def test_hostile_texts_are_escaped() -> None:
    page = render_html(REPORT, RECORDED)
    page.encode("utf-8")
    assert "<script" not in page
    assert "49" not in re.sub(r"[\s\S]*</style>", "", page)
    assert page.count("&lt;script&gt;alert(&#39;x&#39;)") >= 10
    assert not {"\u202e", "\x1b", "\udc80"} & set(page)
    assert "\\u202e\\x1b[31m" in page
    assert "script" not in {tag for tag, _ in parse(page).seen}


def test_a_name_as_long_as_a_book_is_cut() -> None:
    long = dataclasses.replace(FAILED, slice=(("island", "x" * 100_000),), message="y" * 100_000)
    page = render_html(dataclasses.replace(REPORT, checks=(long,)))
    assert len(page) < 30_000
    assert "xxx…" in page


def test_the_page_needs_nothing_else() -> None:
    page = render_html(REPORT, RECORDED)
    loading = {"src", "href", "srcset", "data", "action"}
    outside = [
        (tag, attributes)
        for tag, attributes in parse(page).seen
        for name in loading & set(attributes)
        if name != "href" or not (attributes[name] or "").startswith("#")
    ]
    assert outside == []
    assert "@import" not in page
    assert "url(" not in page


def test_what_the_page_points_at_is_there() -> None:
    tags = parse(render_html(REPORT, RECORDED))
    there = {attributes["id"] for _, attributes in tags.seen if "id" in attributes}
    wanted = {
        (attributes["href"] or "").removeprefix("#")
        for _, attributes in tags.seen
        if "href" in attributes
    }
    assert wanted == there


def test_marks_stay_on_their_scale() -> None:
    tags = parse(render_html(REPORT))
    marks = tags.all("use")
    assert len(marks) > 6
    places = [mark["x"] for mark in marks]
    places += [line[end] for line in tags.all("line") for end in ("x1", "x2")]
    for place in places:
        assert 0 <= float((place or "-1%").removesuffix("%")) <= 100


def test_candidate_baseline_and_interval_are_drawn_against_the_bound() -> None:
    page = render_html(dataclasses.replace(REPORT, checks=(FAILED,)))
    (drawing,) = re.findall(r"<td class=\"p\">(<svg[\s\S]*?</svg>)</td>", page)
    place = {
        kind: float(at) for kind, at in re.findall(r'<use href="#(\w)" x="([\d.]+)%"', drawing)
    }
    bound = float(re.findall(r'class="b" x1="([\d.]+)%"', drawing)[0])
    lower, upper = map(float, re.findall(r'class="i" x1="([\d.]+)%" x2="([\d.]+)%"', drawing)[0])
    assert lower < place["f"] < upper < bound < place["o"]
    assert place["f"] - lower == pytest.approx(upper - place["f"], abs=0.2)
    assert re.findall(rf'class="m" x1="{bound}%" x2="{place["f"]}%"', drawing)


@pytest.mark.parametrize(
    ("value", "bound", "low", "high"),
    [
        (math.nan, 0.9, 0.1, 0.2),
        (math.inf, 0.9, 0.1, 0.2),
        (0.5, 0.5, 0.5, 0.5),
        (1e308, -1e308, -math.inf, math.inf),
        (5e-324, 0.0, -1e308, 1e308),
        (0.5, math.nan, math.nan, math.nan),
    ],
)
def test_any_number_can_be_shown(value: float, bound: float, low: float, high: float) -> None:
    check = dataclasses.replace(
        FAILED, value=value, bound=bound, interval=Interval(low, high), baseline_value=value
    )
    page = render_html(dataclasses.replace(REPORT, checks=(check,), made_at=value))
    drawn = re.sub(r"[\s\S]*</style>", "", page)
    assert not re.findall(r'"(?:nan|inf)', drawn)


def test_relative_changes_are_drawn_on_their_own_scale() -> None:
    relative = dataclasses.replace(
        CHANGE, rule="relative change at least -0.5", bound=-0.5, change=-0.2, baseline_value=0.8
    )
    page = render_html(dataclasses.replace(REPORT, checks=(relative,)))
    (drawing,) = re.findall(r"<td class=\"p\">(<svg[\s\S]*?</svg>)</td>", page)
    places = re.findall(r'class="m" x1="([\d.]+)%" x2="([\d.]+)%"', drawing)
    assert places == [("4.0", "50.0")]  # -0.5 ... -0.25 ... 0
    assert "#e" not in drawing  # the interval is one of the absolute change


def test_reports_that_say_less_are_shown_as_well() -> None:
    older = tuple(
        dataclasses.replace(check, kind=None, interval=None, level=None) for check in REPORT.checks
    )
    page = render_html(dataclasses.replace(REPORT, checks=older, data=DataIdentity(), made_at=None))
    assert re.findall(r'<h3 id="rule-\d">(.*?)</h3>', page) == [
        "auc: value &gt;= 0.9",
        "auc: absolute change at least -0.02",
    ]
    assert "confidence interval" not in page


def test_the_slices_of_a_comparison_between_slices_are_both_named() -> None:
    check = dataclasses.replace(FAILED, slice=(("sex", "male"),), versus=(("sex", "female"),))
    page = render_html(dataclasses.replace(REPORT, checks=(check,)))
    assert "sex=male against sex=female" in page


def test_an_override_stands_beside_the_verdict() -> None:
    page = render_html(REPORT, dataclasses.replace(RECORDED, reason="nightly"))
    assert page.index("✗ Blocked") < page.index("! Overridden") < page.index("<h2")
    assert "from 2026-01-02 03:04:05 UTC to 2026-01-03 03:04:05 UTC" in page
    assert "event 7, 2026-01-01 03:04:05 UTC" in page
    for without in (None, dataclasses.replace(RECORDED, override=None)):
        assert "Overridden" not in render_html(REPORT, without)


def test_what_passed_is_folded_when_there_is_much_of_it() -> None:
    page = render_html(table(1000, 3))
    open_part, folded = page.split("<summary>982 more that passed</summary>")
    assert open_part.count('<tr class="no"><td>✗ fail</td><td><bdi>city=') == 3
    assert open_part.count('<tr class="ok"><td>✓ pass</td><td><bdi>city=') == 15
    assert folded.count("✓ pass") == 982
    assert "<details" not in page.split("<h2>Slices")[1].split("city=City 17<")[0]


def test_all_failures_are_there_when_there_are_many() -> None:
    page = render_html(table(1000, 999))
    assert "<summary>939 failed and 1 passed more</summary>" in page
    assert page.count("✗ fail</td><td><bdi>city=") == 999
    assert "and 993 more, below" in page


def test_a_page_about_1000_slices_stays_small() -> None:
    report = table(1000, 100)
    report = dataclasses.replace(report, checks=(*report.checks, *[
        dataclasses.replace(CHANGE, slice=check.slice) for check in report.checks
    ]))  # fmt: skip
    assert len(render_html(report)) < 1_300_000


def test_an_interval_that_is_much_wider_than_the_rest_is_cut_off() -> None:
    wide = dataclasses.replace(FAILED, interval=Interval(-1e6, 0.7))
    page = render_html(dataclasses.replace(REPORT, checks=(wide,)))
    (drawing,) = re.findall(r"<td class=\"p\">(<svg[\s\S]*?</svg>)</td>", page)
    assert re.findall(r'class="i" x1="4.0%"', drawing)
    assert drawing.count("#e") == 1  # an end that lies elsewhere has no mark


def test_numbers_far_apart_have_their_places() -> None:
    far = dataclasses.replace(FAILED, value=-1.6e308, bound=1.6e308, baseline_value=0.0)
    page = render_html(dataclasses.replace(REPORT, checks=(far,)))
    assert 'class="m" x1="96.0%" x2="4.0%"' in page
    assert '<use href="#o" x="50.0%"' in page


def test_facts_are_told_in_words_beside_the_rules() -> None:
    fact = Check(False, "the model has 9 bytes, 5 are allowed", Reason.MODEL_TOO_LARGE,
                 "at most 5 bytes", value=9.0, bound=5.0, kind=CheckKind.FACT)  # fmt: skip
    page = render_html(dataclasses.replace(REPORT, checks=(fact, PASSED)))
    assert re.findall(r'<h3 id="rule-\d">(.*?)</h3>', page) == ["auc: value &gt;= 0.9"]
    assert "<td>✗ fail</td><td><bdi>the model has 9 bytes, 5 are allowed</bdi></td>" in page


def test_no_loss_is_zero_not_minus_zero() -> None:
    check = dataclasses.replace(CHANGE, bound=-0.0, rule="no worse than the baseline",
                                kind=CheckKind.NO_WORSE)  # fmt: skip
    page = render_html(dataclasses.replace(REPORT, checks=(check,)))
    assert re.findall(r"<text [^>]*>([^<]*)</text>", page) == ["0", "0.025"]


def test_a_failure_that_has_no_place_on_a_scale_is_named_beside_its_rule() -> None:
    nothing = dataclasses.replace(
        CHANGE,
        passed=False,
        message="no number",
        reason=Reason.NOT_A_NUMBER,
        slice=(("island", "Biscoe"),),
        value=math.nan,
        change=math.nan,
        interval=Interval(math.nan, math.nan),
    )
    page = render_html(dataclasses.replace(REPORT, checks=(nothing, CHANGE)))
    assert '<td class="r"><bdi>island=Biscoe</bdi></td>' in page
    assert "NaN to NaN" in page
    assert not re.search(r"\bnan\b", page)
    # One that has a place says how far it is.
    poor = dataclasses.replace(nothing, value=0.2, change=-0.7, slice=(("island", "Dream"),))
    page = render_html(dataclasses.replace(REPORT, checks=(nothing, poor, CHANGE)))
    assert '<td class="r"><bdi>island=Dream: -0.7</bdi></td>' in page
