"""How large is the page about a model, and how long until a browser shows it?

    python benchmarks/page_load.py --versions 12 100 1000

Registries are made by `tfx_registry.testing.sample_registry` on SQLite: each version has decisions,
three metrics on six slices with intervals, approvals and deployments. The page is opened from disk
in headless Chromium (Debian's `chromium` and `chromium-driver`). "Ready" is the time from the
navigation until the script has drawn everything; the rest are single actions on the page, from the
event until the next frame is on the screen.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tfx_registry import ModelRegistry
from tfx_registry.pages import model_document, render_page
from tfx_registry.registry.mlmd_store import MlmdStore
from tfx_registry.registry.uri import RegistryUri
from tfx_registry.testing.sample_registry import Sample, fill_sample

_MEMORY = Path("/dev/shm")

#: What is done on the page, and the script that does it.
ACTIONS = {
    "all versions in the charts": "const list = document.querySelector('#range select');"
    "if (list) {"  # so few versions are all there
    " list.selectedIndex = list.options.length - 1; list.dispatchEvent(new Event('change')); }",
    "another slice": "const list = document.querySelector('#slice-select');"
    "list.selectedIndex = 3; list.dispatchEvent(new Event('change'));",
    "find a version by text": "const find = document.querySelector('#version-find');"
    "find.value = 'torgersen'; find.dispatchEvent(new Event('input'));",
    "open a version": "location.hash = '#version=3';",
    "find in the history": "const find = document.querySelector('#history-text');"
    "find.value = 'ticket'; find.dispatchEvent(new Event('input'));",
}
_TIMED = """
const done = arguments[arguments.length - 1], begun = performance.now();
%s
requestAnimationFrame(() => setTimeout(() => done(performance.now() - begun)));
"""


def main() -> None:
    """Measures, and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--versions", type=int, nargs="+", default=[12, 100, 1000])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    rows: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        for versions in options.versions:
            print(f"making {versions} versions ...", file=sys.stderr)
            page = Path(folder) / f"{versions}.html"
            for name, text in (
                make(Path(folder), versions, page) | look(page, options.rounds)
            ).items():
                rows.setdefault(name, []).append(text)
    header = ["", *(f"{versions:,} versions" for versions in options.versions)]
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |")


def make(folder: Path, versions: int, page: Path) -> dict[str, str]:
    """Fills a registry and writes its page.

    Args:
        folder: Where to.
        versions: How many.
        page: The page.

    Returns:
        What was measured, as text by name.
    """
    uri = f"sqlite:///{folder}/{versions}.sqlite"
    models = folder / f"models{versions}"
    models.mkdir()
    store = MlmdStore(RegistryUri.parse(uri), create=True)
    fill_sample(models, Sample(versions=versions), store).close()
    with ModelRegistry.open(uri, create=False) as registry:
        begun = time.perf_counter()
        document = model_document(registry, "penguin")
        read = time.perf_counter()
        text = render_page(document)
        written = time.perf_counter()
    data = text.encode("utf-8")
    page.write_bytes(data)
    return {
        "events": f"{document['events']:,}",
        "reading the registry, s": f"{read - begun:.2f}",
        "writing the page, s": f"{written - read:.2f}",
        "size, MB": f"{len(data) / 1e6:.2f}",
        "size with gzip, MB": f"{len(gzip.compress(data)) / 1e6:.2f}",
    }


def look(page: Path, rounds: int) -> dict[str, str]:
    """Opens a page some times.

    Args:
        page: The page.
        rounds: How often; once more goes before and does not count.

    Returns:
        Medians in milliseconds with the least and the greatest, as text by name.
    """
    found: dict[str, list[float]] = {}
    driver = start_browser()
    try:
        for round_number in range(rounds + 1):
            measured = one_visit(driver, page)
            for name, milliseconds in measured.items() if round_number else ():
                found.setdefault(name, []).append(milliseconds)
    finally:
        driver.quit()
    return {
        f"{name}, ms": f"{statistics.median(times):,.0f} ({min(times):,.0f} to {max(times):,.0f})"
        for name, times in found.items()
    }


def one_visit(driver: Any, page: Path) -> dict[str, float]:
    """Opens a page and does every action once; returns milliseconds by name."""
    driver.get("about:blank")
    driver.get(page.as_uri())
    ready = "return performance.getEntriesByName('ready')[0]?.startTime"
    deadline = time.monotonic() + 120
    while (at := driver.execute_script(ready)) is None:
        if time.monotonic() > deadline:
            raise SystemExit(f"{page} was not ready after two minutes")
        time.sleep(0.01)
    measured = {"ready": at}
    for name, script in ACTIONS.items():
        measured[name] = driver.execute_async_script(_TIMED % script)
    return measured


def start_browser() -> Any:
    """Starts Debian's Chromium, headless."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (browser and driver):
        raise SystemExit("a browser is missing: sudo apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for switch in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(switch)
    made = webdriver.Chrome(options=options, service=Service(driver))
    made.set_script_timeout(120)
    return made


if __name__ == "__main__":
    main()
