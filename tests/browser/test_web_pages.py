"""`tfx-registry ui` in a real browser."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys
from waitress.server import create_server

from tfx_registry import ModelRegistry
from tfx_registry.pages.guard import Guard
from tfx_registry.pages.view import RegistryView
from tfx_registry.pages.web import make_app

TOKEN = "correct-horse-battery-staple"


class Server:
    """The pages on a free port, in a thread."""

    def __init__(self, registry: ModelRegistry, **guard: Any) -> None:
        app = make_app(RegistryView.of(registry), Guard(**guard), title="memory://")
        self._server = create_server(app, host="127.0.0.1", port=0, threads=2)
        self.address = f"http://127.0.0.1:{self._server.effective_port}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # a test ends it by closing its socket
            self._server.run()

    def close(self) -> None:
        self._server.close()


@pytest.fixture(scope="module")
def served(penguins: ModelRegistry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("auks") / "model"
    path.write_text("bytes", encoding="utf-8")
    for number in range(1, 56):
        penguins.register(f"auk-{number:02}", path, actor="ada")
    server = Server(penguins)
    yield server.address
    server.close()


def here(browser: Any) -> str:
    return str(browser.run("return location.pathname + location.search + location.hash"))


def test_from_the_list_to_the_gates_report_and_back(browser: Any, served: str) -> None:
    browser.visit(served)
    assert "auk-50" in browser.text("#models")
    assert "penguin" not in browser.text("#models")
    browser.find("a[rel=next]").click()
    browser.until("return document.querySelector('#models').innerText.includes('penguin')")
    assert "11 as @production" in browser.text("#models")
    browser.find('#models a[href="/models/penguin"]').click()
    browser.until("return document.documentElement.dataset.ready === 'yes'")
    assert "Version 11 serves as @production" in browser.text("#now")
    browser.find("#v3 a").click()
    browser.until("return location.pathname === '/models/penguin/versions/3'")
    assert "version 3: blocked" in browser.text("h1")
    assert len(browser.all(".reasons li")) == 3
    assert "in the pipeline run penguin-nightly run-0003 (VersionGate)" in browser.text(".verdict")
    browser.driver.find_element("link text", "Report of the gate").click()
    browser.until("return location.pathname.endsWith('/decision')")
    assert "✗ Blocked" in browser.text("body")
    browser.driver.back()
    browser.until("return location.pathname === '/models/penguin/versions/3'")
    browser.driver.back()
    browser.until("return location.pathname === '/models/penguin'")
    browser.driver.back()
    browser.until("return location.search.startsWith('?page=2')")
    assert browser.complaints() == []


def test_search_finds_and_says_what_is_wrong(browser: Any, served: str) -> None:
    browser.visit(served)
    browser.find("input[name=q]").send_keys("state = 'blocked'", Keys.ENTER)
    browser.until("return location.pathname === '/search' && document.querySelector('#found')")
    rows = browser.run(
        "return [...document.querySelectorAll('#found tbody th')].map((cell) => cell.innerText)"
    )
    assert rows == ["8", "5", "3"]
    browser.find("input[name=q]").clear()
    browser.find("input[name=q]").send_keys("state ~ 'x'", Keys.ENTER)
    browser.until("return document.querySelector('[role=alert]')")
    browser.driver.back()
    browser.until("return document.querySelector('#found')")
    assert [m for m in browser.complaints() if "400" not in m] == []


def test_two_versions_are_compared_by_reference(browser: Any, served: str) -> None:
    browser.visit(f"{served}/compare")
    browser.find("input[name=a]").send_keys("penguin:4")
    browser.find("input[name=b]").send_keys("penguin@production", Keys.ENTER)
    browser.until("return document.querySelector('#compared')")
    assert "penguin:11" in browser.text("#compared")
    assert "auc, island=Torgersen" in browser.text("#compared")
    assert browser.complaints() == []


def test_the_lineage_has_a_page_that_leads_to_others(browser: Any, served: str) -> None:
    browser.visit(f"{served}/models/penguin/versions/11/lineage")
    browser.until("return document.documentElement.dataset.ready === 'yes'")
    assert len(browser.all("#lineage-graph g.node.root")) == 1
    browser.find('#lineage-graph a[href="/models/penguin/versions/9/lineage"]').click()
    browser.until("return location.pathname === '/models/penguin/versions/9/lineage'")
    assert browser.complaints() == []


def test_the_live_page_asks_for_lineages_that_it_does_not_hold(
    browser: Any, penguins: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfx_registry.pages import document

    monkeypatch.setattr(document, "_most_wanted", lambda head, versions, count: [])
    server = Server(penguins)
    try:
        browser.visit(f"{server.address}/models/penguin#lineage=3")
        browser.until(
            "return document.querySelector('#lineage-graph')?.innerText"
            " && !document.querySelector('#lineage-graph').innerText.includes('was recorded')"
        )
        assert len(browser.all("#lineage-graph g.node")) > 5
    finally:
        server.close()


def test_history_has_pages(browser: Any, served: str) -> None:
    browser.visit(f"{served}/models/penguin/history?before=40")
    assert "39" in browser.text("#events tbody tr")
    browser.driver.find_element("link text", "newest").click()
    browser.until("return document.querySelector('#events tbody tr').innerText.startsWith('49')")


def test_a_token_is_shown_once(browser: Any, penguins: ModelRegistry) -> None:
    server = Server(penguins, token=TOKEN)
    try:
        browser.visit(f"{server.address}/models/penguin")
        assert "Unauthorized" in browser.text("h1")
        browser.visit(f"{server.address}/models/penguin?token={TOKEN}")
        browser.until("return document.documentElement.dataset.ready === 'yes'")
        assert "token" not in here(browser)
        browser.visit(f"{server.address}/")
        assert "Models" in browser.text("h1")
        assert browser.run("return document.cookie") == ""  # no script can read it
    finally:
        server.close()


def test_hostile_texts_stay_texts_on_every_page(browser: Any, hostile: ModelRegistry) -> None:
    server = Server(hostile)
    try:
        for address in (
            "/", "/models/penguin", "/models/penguin#version=8", "/models/penguin/history",
            "/models/penguin/versions/8", "/models/penguin/versions/3/decision",
            "/models/penguin/versions/3/lineage", "/compare?a=penguin:3&b=penguin:4",
            "/search?q=state = 'blocked'",
            "/search?q=%3Cimg src=x onerror=\"document.title='hit'\"%3E",
        ):  # fmt: skip
            browser.visit(server.address + address)
            browser.until("return document.readyState === 'complete'")
            assert browser.run("return document.title") != "hit"
            assert browser.all("img") == []
            assert [m for m in browser.complaints() if " 400 " not in m] == [], address
    finally:
        server.close()


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(browser: Any, served: str, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        for address in (
            "/", "/search?q=state = 'blocked'", "/compare?a=penguin:3&b=penguin:4",
            "/models/penguin/versions/3", "/models/penguin/versions/3/lineage",
            "/models/penguin/history",
        ):  # fmt: skip
            browser.visit(served + address)
            assert browser.run("return document.documentElement.scrollWidth") <= width, address
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_an_empty_registry_says_what_to_do(browser: Any, tmp_path: Path) -> None:
    server = Server(ModelRegistry.open("memory://"))
    try:
        browser.visit(server.address)
        assert "There are no models yet" in browser.text("main")
        assert browser.complaints() == []
    finally:
        server.close()
