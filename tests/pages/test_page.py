"""The page about a model, read without a browser; tests/browser reads it with one."""

from __future__ import annotations

import ast
import copy
import html.parser
import json
import re
from pathlib import Path
from typing import Any

import pytest

import tfx_registry
from tfx_registry import ModelRegistry
from tfx_registry.pages import model_document, model_page, render_page
from tfx_registry.pages.page import script_json, security_policy

HOSTILE = "</script><script>alert(1)</script><!--\u2028"


class Reader(html.parser.HTMLParser):
    """Collects the tags of a page, and the text that is no script and no style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="module")
def page(document: dict[str, Any]) -> str:
    return render_page(document)


def test_without_a_script_it_says_what_serves_and_why_the_rest_does_not(page: str) -> None:
    text = " ".join(Reader(page).text.split())
    assert "Version 11 serves as @production since 2026-09-12" in text
    assert "A rollback would go to version 9." in text
    assert "Version 12 is on trial as @canary" in text
    assert re.search(r"slice island=Torgersen: auc 0\.7\d+ is below the lower bound 0\.9", text)
    assert "approved, rolled back" in text
    assert "blocked, overridden" in text
    for number in range(1, 13):
        assert f'<tr id="v{number}"' in page


def test_the_newest_version_comes_first(page: str) -> None:
    assert re.findall(r'<tr id="v(\d+)"', page) == [str(n) for n in range(12, 0, -1)]


def test_the_page_needs_nothing_else(page: str) -> None:
    loading = {"src", "href", "srcset", "data", "action", "poster"}
    outside = [
        (tag, attributes)
        for tag, attributes in Reader(page).tags
        for name in loading & set(attributes)
        if not (attributes[name] or "").startswith("#")
    ]
    assert outside == []
    assert "@import" not in page
    assert "url(" not in page


def test_no_attribute_is_a_script_or_a_style(page: str) -> None:
    """The policy would refuse them; so nothing of the page may rely on them."""
    for tag, attributes in Reader(page).tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag


def test_the_policy_names_the_one_script_and_the_one_style(page: str) -> None:
    (policy,) = [a["content"] for t, a in Reader(page).tags if a.get("http-equiv")]
    assert policy == security_policy(live=False)
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    assert "unsafe" not in policy
    assert policy.count("sha256-") == 2
    assert "connect-src 'self'" in security_policy(live=True)


def test_the_data_cannot_end_its_element(document: dict[str, Any]) -> None:
    hostile = copy.deepcopy(document)
    hostile["model"] = hostile["versions"][0]["actor"] = HOSTILE
    hostile["serving"][0]["destination"] = hostile["serving"][0]["alias"] = HOSTILE
    hostile["decisions"][0]["notes"] = [HOSTILE]
    hostile["decisions"][1]["reasons"] = [HOSTILE]
    page = render_page(hostile)
    reader = Reader(page)
    assert [a.get("type") for t, a in reader.tags if t == "script"] == ["application/json"] * 2 + [
        None
    ]
    assert reader.text.count("<script>alert(1)</script>") >= 5
    assert "<script>alert" not in page
    assert "\u2028" not in page


def test_json_comes_out_of_its_element_as_it_went_in() -> None:
    value = {"a": HOSTILE, "b": [1, None, "&amp;"]}
    text = script_json(value)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value
    script_json("half a pair \ud800").encode("utf-8")


def test_all_texts_may_be_hostile(hostile: ModelRegistry) -> None:
    page = model_page(hostile, "penguin")
    page.encode("utf-8")
    assert "<img" not in page
    assert "<script>document" not in page
    assert "\u202e" not in re.sub(r'<script type="application/json"[\s\S]*?</script>', "", page)


def test_a_model_without_decisions_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("bytes", encoding="utf-8")
    with ModelRegistry.open("memory://") as registry:
        registry.register("auk", tmp_path / "model")
        text = Reader(registry.report("auk")).text
    assert "Nothing serves" in text
    assert "not decided" in text


def test_an_unfinished_promotion_is_shown(document: dict[str, Any]) -> None:
    begun = {**document["serving"][0], "number": 13, "operation": "rollback"}
    assert "Rollback of version 13 was begun and not finished" in render_page(
        {**document, "unfinished": [begun]}
    )


def test_aliases_that_no_deployment_speaks_of_stand_at_the_top(
    document: dict[str, Any],
) -> None:
    serving = {found["alias"] for found in document["serving"]}
    assert serving
    assert "Other aliases" not in render_page(document)
    changed = copy.deepcopy(document)
    changed["aliases"].update({"champion": 9, "previous": 4})
    text = render_page(changed)
    assert "Other aliases: @champion is version 9, @previous is version 4." in text
    # Moved by hand, so it says something else than what serves.
    alias = sorted(serving)[0]
    changed["aliases"] = {alias: 1}
    assert f"Other aliases: @{alias} is version 1." in render_page(changed)


def test_pages_with_many_versions_stay_small(document: dict[str, Any]) -> None:
    """A thousand versions are measured by benchmarks/page_load.py; here a bound for each."""
    empty = render_page({**document, "versions": [], "decisions": [], "serving": [],
                         "periods": [], "trials": [],
                         "metrics": {"columns": [], "series": []}, "lineage": {},
                         "history": {"columns": [], "rows": []}})  # fmt: skip
    whole = render_page({**document, "lineage": {}})
    assert (len(whole) - len(empty)) / 12 < 6000


def test_the_page_of_the_registry_is_this_page(registry: ModelRegistry) -> None:
    page = registry.report("penguin")
    assert "Version 11 serves" in page
    assert model_document(registry, "penguin")["model"] == "penguin"


@pytest.mark.source_tree
def test_the_registry_loads_pages_only_when_asked() -> None:
    root = Path(tfx_registry.__file__).parent
    for folder in ("registry", "gate", "serving", "operations"):
        for path in (root / folder).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            named = [n.module or "" for n in tree.body if isinstance(n, ast.ImportFrom)]
            assert not [name for name in named if name.startswith("tfx_registry.pages")], path


@pytest.mark.source_tree
def test_no_text_becomes_markup_in_the_script() -> None:
    """Texts reach the page as text nodes and attributes; nothing parses them as HTML."""
    folder = Path(tfx_registry.__file__).parent / "pages" / "assets"
    for path in folder.glob("*.js"):
        script = path.read_text(encoding="utf-8")
        assert not re.findall(
            r"(inner|outer|Adjacent)HTML|document\.write|\beval\b|new Function|javascript:", script
        ), path
