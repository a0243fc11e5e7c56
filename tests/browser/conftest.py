"""A headless Chromium, and pages for it to look at."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tfx_registry import ModelRegistry
from tfx_registry.testing.sample_registry import fill_sample, hostile_sample

_SWITCHES = (
    "--headless=new",
    "--no-sandbox",  # it refuses to run as root with one
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--no-first-run",
    "--no-proxy-server",
    "--window-size=1280,900",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is in this folder, wherever the run began."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


class Browser:
    """Chromium, with what the tests ask of it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        self.driver.get("about:blank")  # else a change of what follows "#" would load nothing
        self.driver.get(address)
        self.until("return document.documentElement.dataset.ready === 'yes'")

    def visit(self, address: str) -> None:
        """Opens a page without a script of ours."""
        self.driver.get(address)

    def until(self, script: str, *arguments: object) -> object:
        """Waits until a script returns something true, and returns it."""
        wait = WebDriverWait(self.driver, 60, poll_frequency=0.05)
        return wait.until(lambda driver: driver.execute_script(script, *arguments), script)

    def run(self, script: str, *arguments: object) -> object:
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return str(self.run("return document.querySelector(arguments[0]).innerText", selector))

    def choose(self, selector: str, text: str) -> None:
        """Chooses the option of a list whose text begins so."""
        found = self.run(
            "const list = document.querySelector(arguments[0]);"
            "const place = [...list.options].findIndex((o) => o.text.startsWith(arguments[1]));"
            "if (place < 0) return false;"
            "list.selectedIndex = place; list.dispatchEvent(new Event('change')); return true;",
            selector,
            text,
        )
        assert found, f"no option of {selector} begins with {text!r}"

    def complaints(self) -> list[str]:
        """What the browser said on its console since the last call: errors, refused loads."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if "favicon" not in entry["message"]
        ]


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Debian's Chromium by Debian's driver; nothing is downloaded."""
    found = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if not all(found.values()):
        pytest.fail(
            "the tests of the pages need a browser: sudo apt-get install chromium chromium-driver"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = str(found["chromium"])
    for switch in (*_SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(found["chromedriver"])))
    driver.set_page_load_timeout(120)
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver: webdriver.Chrome) -> Browser:
    driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    found = Browser(driver)
    found.complaints()
    return found


@pytest.fixture(scope="session")
def penguins(tmp_path_factory: pytest.TempPathFactory) -> ModelRegistry:
    """A dozen versions: blocked, approved, rejected, overridden, rolled back, on trial."""
    return fill_sample(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> ModelRegistry:
    """A registry in which everything that may hold any text holds markup."""
    return fill_sample(tmp_path_factory.mktemp("hostile"), hostile_sample())
