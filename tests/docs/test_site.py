"""The site of the documentation: it builds strictly, and a reader's browser asks nobody else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.source_tree

#: What a browser loads by itself: anything but links that a person follows.
LOADED = re.compile(
    r"<(?:script|img|iframe|source|audio|video|object|embed|link)\b[^>]*?"
    r"(?:src|href|data)\s*=\s*[\"']?((?:https?:)?//[^\s\"'>]+)",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 35
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not LOADED.findall(text), page.name
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", text), style.name


@pytest.mark.slow
def test_python_names_come_from_docstrings(site: Path) -> None:
    text = (site / "reference" / "api.html").read_text(encoding="utf-8")
    for name in ("ModelRegistry", "VersionGate", "GatePolicy", "IntegrityError", "rollback"):
        assert re.search(rf'id="tfx_registry\.[\w.]*\b{name}"', text), name


@pytest.mark.slow
def test_examples_of_docstrings_are_shown_as_code(site: Path) -> None:
    text = (site / "reference" / "api.html").read_text(encoding="utf-8")
    assert len(re.findall(r"Examples:</span></p>\s*<div class=\"highlight\"><pre>", text)) >= 5
    assert not re.search(r"<summary>Example</summary>|Example:", text)


def test_no_page_stands_twice_in_the_navigation() -> None:
    nav = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert sorted(nav) == sorted(set(nav))


@pytest.mark.slow
def test_links_lead_to_files_of_the_site(site: Path) -> None:
    for page in sorted(site.rglob("*.html")):
        for target in re.findall(r'href="([^"#:?]+)(?:#[^"]*)?"', page.read_text(encoding="utf-8")):
            if not target.startswith("/"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_what_a_browser_loads_is_recognised() -> None:
    assert LOADED.findall('<link rel="stylesheet" href="https://fonts.example.com/css">')
    assert LOADED.findall("<script async src='//cdn.example.com/a.js'></script>")
    assert not LOADED.findall('<a href="https://example.com">a link that a person follows</a>')
