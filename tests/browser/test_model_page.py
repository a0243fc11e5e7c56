"""The model page, from a file, in a real browser."""

from __future__ import annotations

import copy
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tfx_registry import ModelRegistry
from tfx_registry.pages import model_document, render_page
from tfx_registry.testing.sample_registry import Sample, fill_sample


@pytest.fixture(scope="session")
def document(penguins: ModelRegistry) -> dict[str, Any]:
    return model_document(penguins, "penguin", made="2026-09-14T00:00:00.000000Z")


@pytest.fixture(scope="session")
def page(document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("pages") / "penguin.html"
    path.write_text(render_page(document), encoding="utf-8")
    return path.as_uri()


def test_the_page_opens_without_a_complaint(browser: Any, page: str) -> None:
    browser.open(page)
    assert browser.complaints() == []
    assert "Version 11 serves as @production" in browser.text("#now")
    assert len(browser.all("#timeline-chart a")) == 12
    assert len(browser.all("#metric-chart a")) == 12
    assert browser.text("#version-pages") == "1 to 12 of 12 versions"


def test_the_timeline_shows_what_served_and_what_was_rolled_back(browser: Any, page: str) -> None:
    browser.open(page)
    bars = browser.run(
        "return [...document.querySelectorAll('#timeline-chart .bar')]"
        ".map((bar) => [bar.getAttribute('class'), +bar.getAttribute('x')])"
    )
    assert [kind for kind, _ in bars].count("bar now") == 1
    assert [kind for kind, _ in bars].count("bar trial now") == 1
    served = [x for kind, x in bars if "trial" not in kind]
    assert served == sorted(served)
    assert len(served) == 8
    assert len(browser.all("#timeline-chart .back")) == 1
    label = browser.find('#timeline-chart a[href="#version=6"]').get_attribute("aria-label")
    assert "served from 2026-09-07" in label
    assert "rolled back" in label


def test_the_chosen_slice_is_drawn_with_its_bound_and_interval(browser: Any, page: str) -> None:
    browser.open(page)
    browser.choose("#metric-select", "auc")
    assert browser.all("#metric-chart .fail") == []
    browser.choose("#slice-select", "island=Torgersen")
    assert len(browser.all("#metric-chart .fail")) == 3
    assert len(browser.all("#metric-chart .i")) == 11  # version 10 was never measured
    assert len(browser.all("#metric-chart .b")) == 2  # one line to version 9, one from 11 on
    label = browser.find('#metric-chart a[href="#version=3"]').get_attribute("aria-label")
    assert re.fullmatch(
        r"Version 3: auc on island=Torgersen is 0\.7\d+, interval 0\.7\d+ to 0\.7\d+; "
        r"asked: at least 0\.9; ✗ failed \(180 examples\)",
        label,
    )
    browser.choose("#slice-select", "overall")
    assert len(browser.all("#metric-chart .bb")) == 6  # as many baselines; the first had none


def test_numbers_of_the_chart_stand_in_a_table(browser: Any, page: str) -> None:
    browser.open(page)
    browser.find("#metric-numbers summary").click()
    browser.until("return document.querySelectorAll('#metric-numbers tbody tr').length === 11")
    assert "at least 0.85, at most 1" in browser.text("#metric-numbers tbody tr")


def test_a_version_opens_with_every_reason_and_the_back_button_closes_it(
    browser: Any, page: str
) -> None:
    browser.open(page)
    browser.find("#v3 a").click()
    browser.until("return !document.querySelector('#detail').hidden")
    assert "Version 3: blocked" in browser.text("#detail h2")
    assert len(browser.all("#detail .reasons li")) == 3
    assert "penguin-nightly run-0003 (VersionGate)" in browser.text("#detail .verdict")
    assert "/data/penguins/span-3" in browser.text("#detail")
    browser.run("location.hash = '#version=8'")
    browser.until("return document.querySelector('#detail h2').innerText.startsWith('Version 8')")
    assert "Gate overridden" in browser.text("#detail")
    browser.driver.back()
    browser.until("return document.querySelector('#detail h2').innerText.startsWith('Version 3')")
    browser.driver.back()
    browser.until("return document.querySelector('#detail').hidden")


def test_an_address_with_a_version_opens_it(browser: Any, page: str) -> None:
    browser.open(f"{page}#version=7")
    assert "Version 7: rejected" in browser.text("#detail h2")
    assert "the colours of the bill are off" in browser.text("#detail")
    browser.open(f"{page}#version=4711")
    assert browser.run("return document.querySelector('#detail').hidden")


def test_two_versions_are_compared(browser: Any, page: str) -> None:
    browser.open(f"{page}#compare=4,5")
    text = browser.text("#compare-result")
    assert "version 4" in text
    assert "version 5" in text
    assert "Their bytes are different." in text
    rows = browser.run(
        "return [...document.querySelectorAll('#compare-result tr')].map((row) => row.innerText)"
    )
    (torgersen,) = [row for row in rows if row.startswith("auc, island=Torgersen")]
    assert "▼ -0.2" in torgersen
    assert any("/data/penguins/span-4 (span 4)" in row for row in rows)
    assert not any(row.startswith("units") for row in rows)
    browser.find("#compare-choice input").click()
    assert "units" in browser.text("#compare-result")
    browser.choose("#compare-b", "4")
    browser.until(
        "return document.querySelector('#compare-result').innerText.includes('bytes are the same')"
    )
    browser.driver.back()
    browser.until("return document.querySelector('#compare-b').value.startsWith('5')")


def test_lineage_leads_from_data_over_run_and_version_to_the_deployment(
    browser: Any, page: str
) -> None:
    browser.open(f"{page}#lineage=11")
    places = browser.run(
        "return [...document.querySelectorAll('#lineage-graph g.node')].map((node) =>"
        " [node.getAttribute('class'), +node.querySelector('rect').getAttribute('x'),"
        "  node.querySelector('title').textContent])"
    )
    x = {title: place for _, place, title in places}
    assert (
        x["Examples /data/penguins/span-11"]
        < x["penguin-nightly run-0011"]
        < x["penguin:11 (serving, @production)"]
        < x["serves as production in /srv/models/penguin"]
    )
    boxes = browser.run(
        "return [...document.querySelectorAll('#lineage-graph g.node')].map((node) => {"
        " const box = node.querySelector('rect').getBBox();"
        " return [...node.querySelectorAll('text')].map((t) => t.getBBox())"
        "  .every((t) => t.x >= box.x && t.x + t.width <= box.x + box.width); })"
    )
    assert all(boxes), "some text is wider than its box"
    # A box has two lines for what it is about; so much is not cut.
    lines = browser.run(
        "return [...document.querySelectorAll('#lineage-graph g.node.now text')]"
        ".map((text) => text.textContent)"
    )
    assert lines[0] == "deployment, now"
    assert "".join(lines[1:]) == "serves as production in /srv/models/penguin"
    browser.find("#lineage-graph summary").click()
    assert "examples" in browser.text("#lineage-graph table")
    browser.find('#lineage-graph a[href="#lineage=9"]').click()
    browser.until("return document.querySelector('#lineage-select').value.startsWith('9')")
    kinds = browser.run(
        "return [...document.querySelectorAll('#lineage-graph .kind')].map((t) => t.textContent)"
    )
    assert "deployment, until 2026-09-12" in kinds
    assert not [kind for kind in kinds if kind.endswith("…")]


#: Whether so many versions can be chosen; where the dates of the timeline begin and end.
OFFERS = (
    "return [...document.querySelectorAll('#range option')]"
    ".some((option) => option.text.startsWith(arguments[0]))"
)
DATES = (
    "return [...document.querySelectorAll('#timeline-chart .date')].map((text) => {"
    " const box = text.getBoundingClientRect(); return [box.left, box.right]; })"
)

PIPELINE = ("gen", "examples", "stats", "statistics", "infer", "schema", "train", "model")


@pytest.mark.parametrize("circle", [False, True])
def test_arrows_of_a_lineage_lead_to_the_right(
    browser: Any, document: dict[str, Any], tmp_path: Path, circle: bool
) -> None:
    """Also where data is used again later, which a walk by the shortest way would draw wrong."""
    changed = copy.deepcopy(document)
    graph = changed["lineage"]["11"]
    kinds = {name: "artifact" if place % 2 else "execution" for place, name in enumerate(PIPELINE)}
    graph["nodes"] = [node for node in graph["nodes"] if node["kind"] != "artifact"] + [
        {"id": name, "kind": kind, "label": name, "type": "", "uri": "", "properties": {}}
        for name, kind in kinds.items()
    ]
    steps = [*itertools.pairwise(PIPELINE), ("model", graph["root"])]
    steps += [("examples", "train"), ("schema", "train"), ("examples", graph["root"])]
    steps += [("model", "gen")] if circle else []
    graph["edges"] = [{"source": a, "target": b, "role": ""} for a, b in steps]
    target = tmp_path / "page.html"
    target.write_text(render_page(changed), encoding="utf-8")
    browser.open(target.as_uri() + "#lineage=11")
    assert browser.complaints() == []
    x = dict(
        browser.run(
            "return [...document.querySelectorAll('#lineage-graph g.node')].map((node) =>"
            " [node.querySelector('title').textContent,"
            "  +node.querySelector('rect').getAttribute('x')])"
        )
    )
    if not circle:
        order = [x[name] for name in PIPELINE] + [x["penguin:11 (serving, @production)"]]
        assert order == sorted(order)
        assert len(set(order)) == 9
    root = browser.find("#lineage-graph g.node.root").rect["x"]
    region = browser.find("#lineage-graph .graph").rect
    assert region["x"] <= root <= region["x"] + region["width"]


def test_history_is_filtered(browser: Any, page: str) -> None:
    browser.open(page)
    assert "49 events" in browser.text("#history-result")
    browser.choose("#history-kind", "rolled back")
    assert "1 event," in browser.text("#history-result")
    assert "ticket 4711" in browser.text("#history-result")
    browser.choose("#history-kind", "everything")
    browser.find("#history-text").send_keys("ticket 4711")
    assert "1 event," in browser.text("#history-result")
    browser.find("#history-text").clear()
    browser.find("#history-number").send_keys("10")
    assert "2 events" in browser.text("#history-result")
    browser.find("#history-number").clear()
    browser.choose("#history-actor", "grace")
    browser.run(
        "const from = document.querySelector('#history-from'); from.value = '2026-09-09';"
        "from.dispatchEvent(new Event('input'))"
    )
    rows = browser.run(
        "return [...document.querySelectorAll('#history-result tbody tr')].map((r) => r.innerText)"
    )
    assert rows
    assert all("grace" in row for row in rows)
    assert not any("2026-09-08" in row for row in rows)


def test_versions_are_found_by_text_and_state(browser: Any, page: str) -> None:
    browser.open(page)
    browser.find("#version-find").send_keys("week=1")
    browser.until("return document.querySelector('#version-pages').innerText.includes('of 6')")
    browser.find("#version-find").clear()
    browser.find("#version-find").send_keys("no such thing")
    assert browser.text("#version-pages") == "no version is like that"


def test_the_keyboard_reaches_everything(browser: Any, page: str) -> None:
    browser.open(page)
    browser.run("document.querySelector('#timeline-chart a[tabindex=\"0\"]').focus()")
    keys = browser.driver.switch_to.active_element
    keys.send_keys(Keys.ARROW_LEFT)
    browser.driver.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert browser.text("#timeline-readout").startswith("Version 10: archived")
    browser.driver.switch_to.active_element.send_keys(Keys.HOME)
    assert browser.text("#timeline-readout").startswith("Version 1:")
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    browser.until("return !document.querySelector('#detail').hidden")
    assert browser.run("return document.activeElement.id") == "detail"


def test_tab_goes_from_part_to_part(browser: Any, page: str) -> None:
    browser.open(page)
    browser.choose("#history-kind", "rolled back")
    browser.run(
        "window.stops = []; document.addEventListener('focusin',"
        " (event) => window.stops.push(event.target.id || event.target.localName))"
    )
    ActionChains(browser.driver).send_keys(Keys.TAB * 90).perform()
    stops = browser.run("return window.stops")
    wanted = ["metric-select", "slice-select", "compare-a", "lineage-select", "history-kind"]
    assert [stop for stop in stops if stop in wanted][: len(wanted)] == wanted
    assert "download-history" in stops
    # One stop for each chart, however many versions it shows.
    assert len(stops[: stops.index("download-history")]) < 60


def test_everything_can_be_downloaded(
    browser: Any, page: str, document: dict[str, Any], tmp_path: Path
) -> None:
    browser.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    browser.open(page)
    browser.run("document.querySelector('#download-all').click()")
    target = tmp_path / "penguin.json"
    browser_waits_for(browser, target)
    assert json.loads(target.read_text(encoding="utf-8")) == document
    browser.choose("#history-kind", "rolled back")
    browser.run("document.querySelector('#download-history').click()")
    history = tmp_path / "penguin-history.json"
    browser_waits_for(browser, history)
    (event,) = json.loads(history.read_text(encoding="utf-8"))
    assert event["kind"] == "rolled_back"


def browser_waits_for(browser: Any, path: Path) -> None:
    def complete(_: Any) -> bool:
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return True

    WebDriverWait(browser.driver, 60, poll_frequency=0.05).until(complete)


def test_hostile_texts_stay_texts(browser: Any, hostile: ModelRegistry, tmp_path: Path) -> None:
    document = copy.deepcopy(model_document(hostile, "penguin"))
    mark = document["versions"][0]["actor"]
    document["model"] = mark  # no registry takes such a name, and the page does not count on it
    document["aliases"][mark] = 11
    for found in (*document["serving"], *document["trials"]):
        found["alias"] = mark
    target = tmp_path / "hostile.html"
    target.write_text(render_page(document), encoding="utf-8")
    for part in ("", "#version=3", "#version=8", "#compare=3,4", "#lineage=11", "#lineage=3"):
        browser.open(target.as_uri() + part)
        browser.choose("#slice-select", "island=</script>")
        browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        browser.run("for (const a of document.querySelectorAll('.chart a')) a.focus()")
        assert browser.run("return document.title").endswith(": what serves, and why")
        assert browser.all("img") == []
        assert len(browser.all("script")) == 3
        assert browser.complaints() == []
    assert "<img src=x" in browser.text("#now")
    assert "<script>document.title='hit'</script>" in browser.text("#history-result")
    assert "\\u202e" in browser.text("#slice-select")


def test_without_a_script_the_essentials_are_readable(browser: Any, page: str) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.visit("about:blank")
        browser.visit(page)
        text = browser.find("body").text
        assert browser.find("#timeline").is_displayed() is False
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "Version 11 serves as @production" in text
    assert re.search(r"slice island=Torgersen: auc 0\.7\d+ is below the lower bound 0\.9", text)
    assert "need JavaScript" in text


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(browser: Any, page: str, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.open(f"{page}#version=3")
        assert browser.run("return document.documentElement.scrollWidth") <= width
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_one_version_is_enough(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    registry = fill_sample(tmp_path / "models", Sample(versions=1))
    target = tmp_path / "page.html"
    target.write_text(render_page(model_document(registry, "penguin")), encoding="utf-8")
    browser.open(target.as_uri())
    assert browser.complaints() == []
    assert "1 version" in browser.text("#version-pages")
    assert browser.text("#range") == "version 1"
    assert "nothing to compare it with" in browser.text("#compare-result")
    assert browser.all("#compare-choice select") == []


def test_a_model_that_was_only_registered_has_no_empty_parts(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("bytes", encoding="utf-8")
    with ModelRegistry.open("memory://") as registry:
        registry.register("auk", tmp_path / "model", actor="ada")
        (tmp_path / "page.html").write_text(registry.report("auk"), encoding="utf-8")
    browser.open((tmp_path / "page.html").as_uri())
    assert browser.complaints() == []
    assert "Nothing serves" in browser.text("#now")
    assert "No metric is known" in browser.text("#metrics")
    assert not browser.find("#metric-numbers").is_displayed()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_a_field_is_for_can_be_read(browser: Any, page: str, theme: str) -> None:
    wanted = [{"name": "prefers-color-scheme", "value": theme}]
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})
    try:
        browser.open(page)
        ink, paper = (
            browser.run(
                "const style = getComputedStyle(document.querySelector('#version-find'),"
                " arguments[0]); return style[arguments[1]]",
                *part,
            )
            for part in (("::placeholder", "color"), (None, "backgroundColor"))
        )
        assert contrast(ink, paper) >= 4.5, (ink, paper)
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def contrast(one: str, other: str) -> float:
    """Returns the contrast of two colours `rgb(r, g, b)`, as WCAG 2.2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        line = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), line, strict=True))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("width", [360, 1280])
def test_dates_below_the_charts_do_not_touch_each_other(
    browser: Any, document: dict[str, Any], tmp_path: Path, width: int
) -> None:
    target = tmp_path / "page.html"
    target.write_text(render_page(grown(document, 4)), encoding="utf-8")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.open(target.as_uri())
        for count in ("10", "20", "40", "all"):
            if browser.run(OFFERS, count):
                browser.choose("#range select", count)
                places = browser.run(DATES)
                assert places, count
                for (_, right), (left, _) in itertools.pairwise(places):
                    assert left - right >= 4, (count, places)
                assert places[-1][1] <= width, count
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_hundreds_of_versions_are_shown_a_part_at_a_time(
    browser: Any, document: dict[str, Any], tmp_path: Path
) -> None:
    target = tmp_path / "page.html"
    target.write_text(render_page(grown(document, 10)), encoding="utf-8")
    browser.open(target.as_uri())
    assert browser.complaints() == []
    assert browser.text("#version-pages").endswith("1 to 50 of 120 versions")
    assert len(browser.all("#version-table tbody tr:not([hidden])")) == 50
    browser.find("#version-pages button:last-of-type").click()
    assert "51 to 100 of 120" in browser.text("#version-pages")
    browser.choose("#range select", "all 120")
    assert len(browser.all("#timeline-chart a")) == 120
    size = {"width": 600, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:  # there is no room for so many intervals
        browser.until("return document.querySelectorAll('#metric-chart .band').length === 1")
        assert browser.all("#metric-chart .i") == []
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.choose("#range select", "20")
    browser.run("document.querySelector('#range button').click()")
    assert "versions 81 to 100" in browser.text("#range")


def grown(document: dict[str, Any], times: int) -> dict[str, Any]:
    """Returns a document with the versions of another one several times, one after the other."""
    shifts = [12 * place for place in range(times)]
    again = copy.deepcopy(document)
    again["versions"] = [
        {**version, "number": version["number"] + shift}
        for shift in shifts
        for version in document["versions"]
    ]
    for series in again["metrics"]["series"]:
        rows = series["points"]
        series["points"] = [[row[0] + shift, *row[1:]] for shift in shifts for row in rows]
    return again
