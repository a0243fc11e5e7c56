"""The web pages, asked without a server and without a browser."""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tfx_registry import ModelRegistry
from tfx_registry.pages.guard import Guard, cookie_name
from tfx_registry.pages.view import RegistryView
from tfx_registry.pages.web import make_app
from tfx_registry.registry.memory_store import MemoryStore
from tfx_registry.registry.mlmd_store import MlmdStore
from tfx_registry.registry.uri import RegistryUri
from tfx_registry.registry.writer import RegistryWriter
from tfx_registry.testing.sample_registry import Sample, fill_sample

TOKEN = "correct-horse-battery-staple"
PAGES = (
    "/",
    "/search?q=state = 'blocked'",
    "/compare",
    "/compare?a=penguin:3&b=penguin@production",
    "/models/penguin",
    "/models/penguin/history",
    "/models/penguin/history?before=20",
    "/models/penguin/versions/3",
    "/models/penguin/versions/8",
    "/models/penguin/versions/10",
    "/models/penguin/versions/3/lineage",
    "/models/penguin/versions/3/decision",
)
ANSWERS = (
    "/api/models",
    "/api/models/penguin",
    "/api/models/penguin/history",
    "/api/models/penguin/versions/3",
    "/api/models/penguin/versions/3/lineage",
    "/api/models/penguin/versions/3/decision",
    "/api/search?q=state = 'blocked'",
    "/api/compare?a=penguin:3&b=penguin:4",
)


@pytest.fixture(scope="module")
def client(registry: ModelRegistry) -> FlaskClient:
    return make_app(RegistryView.of(registry), Guard(), title="memory://").test_client()


def made(fill: Callable[[ModelRegistry], None] = lambda _: None, **guard: Any) -> FlaskClient:
    registry = ModelRegistry(MemoryStore())
    fill(registry)
    return make_app(RegistryView.of(registry), Guard(**guard)).test_client()


def text_of(client: FlaskClient, address: str, status: int = 200) -> str:
    answer = client.get(address)
    assert answer.status_code == status, answer.text
    return " ".join(answer.text.split())


@pytest.mark.parametrize("address", PAGES + ANSWERS)
def test_every_address_answers_with_all_protections(client: FlaskClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert client.head(address).status_code == 200


@pytest.mark.parametrize("address", PAGES)
def test_links_lead_to_pages_that_are_there(client: FlaskClient, address: str) -> None:
    found = set(re.findall(r'href="(/[^"]*)"', client.get(address).text))
    for link in found:
        target = link.replace("&amp;", "&").partition("#")[0]
        assert client.get(target).status_code == 200, f"{address} leads to {link}"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "MKCOL"])
@pytest.mark.parametrize("address", ["/", "/api/models/penguin", "/nothing"])
def test_only_reading_methods_are_answered(client: FlaskClient, method: str, address: str) -> None:
    answer = client.open(address, method=method)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD"


def test_no_route_takes_another_method(registry: ModelRegistry) -> None:
    app = make_app(RegistryView.of(registry), Guard())
    for rule in app.url_map.iter_rules():
        assert (rule.methods or set()) <= {"GET", "HEAD", "OPTIONS"}


def test_the_view_has_no_method_that_writes() -> None:
    """All that changes a registry is defined in classes that write; the view has none of it."""
    writers = [cls for cls in ModelRegistry.__mro__ if issubclass(cls, RegistryWriter)]
    defined = {name for cls in writers for name in vars(cls) if not name.startswith("__")}
    assert {"register", "approve", "set_alias", "record_promotion", "fsck", "_commit"} <= defined
    assert [name for name in sorted(defined) if hasattr(RegistryView, name)] == []
    assert not issubclass(RegistryView, RegistryWriter)


def test_looking_at_everything_changes_no_byte(tmp_path: Path) -> None:
    file = tmp_path / "registry.sqlite"
    (tmp_path / "models").mkdir()
    uri = RegistryUri.parse(f"sqlite:///{file}")
    fill_sample(tmp_path / "models", Sample(versions=12), MlmdStore(uri, create=True)).close()
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    with RegistryView.open(str(uri), create=False) as view:
        client = make_app(view, Guard()).test_client()
        for address in PAGES + ANSWERS:
            assert client.get(address).status_code == 200
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before


def test_threads_share_one_registry(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    uri = RegistryUri.parse(f"sqlite:///{tmp_path}/registry.sqlite")
    fill_sample(tmp_path / "models", Sample(versions=12), MlmdStore(uri, create=True)).close()
    wrong: list[str] = []
    with RegistryView.open(str(uri), create=False) as view:
        app = make_app(view, Guard())
        # The document of a model holds the time at which it was made.
        asked = [address for address in ANSWERS if address != "/api/models/penguin"]
        expected = {address: app.test_client().get(address).text for address in asked}

        def ask() -> None:
            client = app.test_client()
            for address, text in expected.items():
                if (found := client.get(address).text) != text:
                    wrong.append(f"{address}: {found[:200]}")

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", ""])
def test_another_name_of_this_server_is_refused(client: FlaskClient, host: str) -> None:
    for address in ("/", "/api/models", "/models/penguin?token=x"):
        answer = client.get(address, headers={"Host": host})
        assert answer.status_code == 400
        assert "penguin" not in answer.text


def test_a_token_is_asked_for_and_leaves_the_address_at_once(registry: ModelRegistry) -> None:
    guard = Guard(token=TOKEN)
    app = make_app(RegistryView.of(registry), guard)
    client = app.test_client()
    for address in PAGES + ANSWERS + ("/nothing", "/?token=wrong"):
        assert client.get(address).status_code == 401
    assert (
        client.get("/api/models", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    )
    answer = client.get(f"/search?q=a%20b&token={TOKEN}&order_by=time")
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/search?q=a+b&order_by=time"
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{cookie_name('80')}={guard.session};")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert TOKEN not in cookie
    assert client.get("/models/penguin").status_code == 200  # the client keeps the cookie
    assert app.test_client().get("/models/penguin").status_code == 401


def test_two_servers_on_one_machine_leave_each_other_their_cookies(
    registry: ModelRegistry,
) -> None:
    jar: dict[str, str] = {}
    clients = {}
    for port in (8321, 8322):
        guard = Guard(token=TOKEN)
        client = make_app(RegistryView.of(registry), guard).test_client(use_cookies=False)
        clients[f"http://127.0.0.1:{port}"] = client
        answer = client.get(f"/?token={TOKEN}", base_url=f"http://127.0.0.1:{port}")
        name, _, value = answer.headers["Set-Cookie"].partition(";")[0].partition("=")
        jar[name] = value  # as browsers do: by the name of the host, without the port
    shown = "; ".join(f"{name}={value}" for name, value in jar.items())
    for address, client in clients.items():
        assert client.get("/", base_url=address, headers={"Cookie": shown}).status_code == 200
        assert client.get("/", base_url=address).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/x",
        "/\\evil.example",
        "///evil.example",
        "/\t/evil.example",
        "/\r\n/evil.example",
    ],
)
def test_a_token_in_an_address_leads_to_no_other_host(path: str) -> None:
    answer = made(token=TOKEN).get(
        "/", query_string={"token": TOKEN}, environ_overrides={"PATH_INFO": path}
    )
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith(("/evil.example", "/%0"))


def test_models_are_listed_filtered_and_paged(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("bytes", encoding="utf-8")

    def fill(registry: ModelRegistry) -> None:
        for number in range(1, 61):
            registry.register(f"model-{number:03}", tmp_path / "model")

    client = made(fill)
    first = text_of(client, "/")
    assert "model-050" in first
    assert "model-051" not in first
    assert "page 1 of 2" in first
    assert 'href="/?page=2&amp;name="' in first
    assert "model-060" in text_of(client, "/?page=2")
    assert "page 2 of 2" in text_of(client, "/?page=99")
    assert "model-057" in text_of(client, "/?name=MODEL-05")
    assert "10 models" in text_of(client, "/?name=MODEL-05")
    assert "No model has" in text_of(client, "/?name=<b>")
    assert text_of(client, "/?page=0", 400)
    assert text_of(client, f"/?page={'9' * 40}", 400)
    assert [m["model"] for m in client.get("/api/models?page=2").json["models"]][-1] == "model-060"


def test_an_empty_registry_says_what_to_do() -> None:
    assert "tfx-registry register MODEL PATH" in text_of(made(), "/")


def test_search_speaks_the_search_language(client: FlaskClient) -> None:
    page = text_of(client, "/search?q=state = 'blocked'")
    assert re.findall(r'/versions/(\d+)"', page) == ["8", "5", "3"] or "versions/5" in page
    assert "is below the lower bound" in page
    assert "No version is like that." in text_of(client, "/search?q=labels.team = 'nobody'")
    wrong = text_of(client, "/search?q=metrics.auc %3E %3C b %3E", 400)
    assert 'role="alert"' in wrong
    assert "<b>" not in wrong


def test_search_goes_on_page_by_page(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("bytes", encoding="utf-8")

    def fill(registry: ModelRegistry) -> None:
        for _ in range(60):
            registry.register("auk", tmp_path / "model")

    client = made(fill)
    first = client.get("/search?q=model = 'auk'").text
    (following,) = re.findall(r'rel="next" href="([^"]*)"', first)
    second = client.get(following.replace("&amp;", "&")).text
    numbers = [set(re.findall(r'/models/auk/versions/(\d+)"', page)) for page in (first, second)]
    assert len(numbers[0]) == 50
    assert numbers[0] | numbers[1] == {str(n) for n in range(1, 61)}
    assert 'rel="next"' not in second


def test_the_view_finds_the_decisions_that_the_registry_finds(registry: ModelRegistry) -> None:
    view = RegistryView.of(registry)
    for number in range(1, 13):
        assert [event.text for event in view.decisions("penguin", number)] == [
            event.text for event in registry.decisions("penguin", number)
        ]


def test_a_version_page_tells_everything(client: FlaskClient) -> None:
    page = text_of(client, "/models/penguin/versions/8")
    assert "version 8: blocked, overridden" in page
    assert "slice island=Torgersen: auc 0.7" in page
    assert "the slice is known to be mislabelled" in page
    assert "/data/penguins/span-8" in page
    assert "The gate has not decided on it." in text_of(client, "/models/penguin/versions/10")
    assert "rolled back" in text_of(client, "/models/penguin/versions/6")


def test_a_comparison_takes_references(client: FlaskClient) -> None:
    page = text_of(client, "/compare?a=penguin:4&b=penguin@production")
    assert "penguin:4" in page
    assert "penguin:11" in page
    assert "▲ +" in page
    assert "auc, island=Torgersen" in page
    assert text_of(client, "/compare?a=penguin:4&b=auk:1", 404)
    assert text_of(client, "/compare?a=penguin:4&b=::", 400)


def test_history_is_read_a_page_at_a_time(client: FlaskClient) -> None:
    page = client.get("/models/penguin/history").text
    assert page.count('<th scope="row">') == 49
    assert 'rel="next"' not in page
    rows = client.get("/api/models/penguin/history?limit=10&before=30").json
    assert [row[0] for row in rows["rows"]] == list(range(29, 19, -1))
    assert rows["before"] == 20
    assert client.get("/api/models/penguin/history?before=1").json["rows"] == []


def test_the_report_of_the_gate_is_the_one_that_versiongate_writes(client: FlaskClient) -> None:
    answer = client.get("/models/penguin/versions/3/decision")
    assert "✗ Blocked" in answer.text
    assert "script-src" not in answer.headers["Content-Security-Policy"]
    assert "no report of the gate" in text_of(client, "/models/penguin/versions/10/decision", 404)


def test_a_misspelt_model_is_answered_with_the_closest_one(client: FlaskClient) -> None:
    assert "did you mean &#39;penguin&#39;?" in text_of(client, "/models/penguim", 404)
    error = client.get("/api/models/Pengiun/versions/3").json["error"]
    assert error["todo"] == "did you mean 'penguin'?"
    assert "did you mean" not in text_of(client, "/models/auk", 404)


def test_errors_are_pages_and_json(client: FlaskClient) -> None:
    assert "no model &#39;auk&#39;" in text_of(client, "/models/auk", 404)
    assert client.get("/api/models/auk").json["error"]["what"] == "no model 'auk'"
    assert client.get("/api/models/penguin/versions/99").status_code == 404
    assert client.get("/api/nothing").json["error"]["what"] == "Not Found"
    assert client.get("/models/<b>x").status_code == 400
    assert client.get("/models/%2e%2e%2fetc").status_code in (400, 404)
    assert client.get("/favicon.ico").status_code == 204


def test_what_goes_wrong_inside_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = made(token=TOKEN)
    monkeypatch.setattr(RegistryView, "list_models", lambda _: 1 / 0)
    client.get(f"/?token={TOKEN}")
    answer = client.get("/?name=secret")
    assert answer.status_code == 500
    assert "division" not in answer.text
    assert "ZeroDivisionError" in answer.text
    assert "cannot answer '/" in caplog.text
    assert TOKEN not in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("address", PAGES)
def test_hostile_texts_are_escaped(hostile: ModelRegistry, address: str) -> None:
    client = make_app(RegistryView.of(hostile), Guard(), title="<b>").test_client()
    page = client.get(address).text
    assert "<img" not in page
    assert "<script>document" not in page
    assert "<b>" not in page
    shown = re.sub(r'<script type="application/json"[\s\S]*?</script>', "", page)
    assert "\u202e" not in shown


def test_what_is_asked_is_escaped_too(client: FlaskClient) -> None:
    hostile = "%22%3E%3Cimg src=x%3E"
    for address in (
        f"/?name={hostile}", f"/search?q={hostile}", f"/search?q=state='x'&order_by={hostile}",
        f"/compare?a={hostile}&b={hostile}", f"/models/{hostile}",
        f"/models/penguin/history?before={hostile}",
    ):  # fmt: skip
        assert "<img" not in client.get(address).text


def test_a_large_model_shows_its_newest_versions(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfx_registry.pages import web

    monkeypatch.setattr(web, "NEWEST", 2)
    client = make_app(RegistryView.of(registry), Guard()).test_client()
    page = text_of(client, "/models/penguin")
    assert "10 older versions are left out" in page
    assert '<tr id="v12"' in page
    assert '<tr id="v10"' not in page
    assert "Version 11 serves" in page
    document = client.get("/api/models/penguin").json
    assert [v["number"] for v in document["versions"]] == [11, 12]
    assert document["left_out"] == {"versions": 10, "events": 29}


def test_a_database_that_went_away_is_said(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    uri = f"sqlite:///{tmp_path}/db/registry.sqlite"
    (tmp_path / "db").mkdir()
    store = MlmdStore(RegistryUri.parse(uri), create=True)
    fill_sample(tmp_path / "models", Sample(versions=1), store).close()
    with RegistryView.open(uri, create=False) as view:
        client = make_app(view, Guard()).test_client()
        assert client.get("/").status_code == 200
        view.close()
        shutil.rmtree(tmp_path / "db")
        assert client.get("/").status_code in (500, 503)
