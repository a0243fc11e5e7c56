"""Registry URIs: what parses, what is refused, and that no password is ever repeated."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfx_registry import ModelRegistry
from tfx_registry.errors import InvalidInputError, InvalidUriError
from tfx_registry.registry.uri import RegistryUri

USERS = st.text(min_size=1, max_size=20).filter(
    lambda text: ":" not in text and "%" not in text and text.isprintable() and "\ufffd" not in text
)
HOSTS = st.sampled_from(["db", "db.example.org", "10.0.0.7", "[::1]", "my_db-1", "DB.Example"])
OPTIONS = {
    "mysql": [("ssl_ca", "/etc/a b&c=d.pem"), ("ssl_verify_server_cert", "true")],
    "postgresql": [("sslmode", "verify-full"), ("sslrootcert", "/x/\u00fc#?.pem")],
    "grpc": [("tls", "true"), ("timeout_seconds", "2.5"), ("ssl_ca", "ca.pem")],
}


@st.composite
def server_uris(draw: st.DrawFn) -> str:
    scheme = draw(st.sampled_from(sorted(OPTIONS)))
    options = draw(st.lists(st.sampled_from(OPTIONS[scheme]), unique=True))
    query = "&".join(f"{name}={quote(value)}" for name, value in options)
    port = draw(st.sampled_from(["", ":1", ":65535", ":5433"]))
    host = draw(HOSTS) + port
    login, database = "", ""
    if scheme != "grpc":
        login = quote(draw(USERS), safe="") + "@"
        database = "/" + draw(st.sampled_from(["r", "registry_2", "_x"]))
    return f"{scheme}://{login}{host}{database}{'?' + query if query else ''}"


@given(server_uris())
def test_parsing_what_is_printed_gives_the_same(text: str) -> None:
    uri = RegistryUri.parse(text)
    assert RegistryUri.parse(str(uri)) == uri
    assert uri.port > 0
    assert hash(uri) == hash(RegistryUri.parse(str(uri)))
    assert uri.absolute() == uri


@given(st.text(min_size=1).map("sqlite:///{}".format))
def test_the_same_for_files(text: str) -> None:
    try:
        uri = RegistryUri.parse(text)
    except InvalidUriError:
        return
    assert str(uri) == text
    assert RegistryUri.parse(str(uri)) == uri


@given(st.text())
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        uri = RegistryUri.parse(text)
    except InvalidUriError:
        return
    assert RegistryUri.parse(str(uri)) == uri


def test_a_path_that_is_no_text_is_refused() -> None:
    """Python writes bytes of a file name that are no UTF-8 as halves of surrogate pairs."""
    with pytest.raises(InvalidUriError, match="no UTF-8"):
        RegistryUri.parse("sqlite:///\udcff.sqlite")


def test_the_parts() -> None:
    uri = RegistryUri.parse("postgresql://ada%40corp@DB.example:6543/registry?sslmode=require")
    assert (uri.scheme, uri.host, uri.port) == ("postgresql", "db.example", 6543)
    assert (uri.user, uri.database, uri.option("sslmode")) == ("ada@corp", "registry", "require")
    assert RegistryUri.parse("mysql://a@h/d").port == 3306
    assert RegistryUri.parse("postgresql://a@h/d").port == 5432
    assert RegistryUri.parse("grpc://h/").port == 8080


@pytest.mark.parametrize(
    "text",
    [
        "mysql://ada:geheim@db/registry",
        "mysql://ada%3Ageheim@db/registry",
        "mysql://ada%253Ageheim@db/registry",
        "mysql://ada:geheim@x@db/registry",
        "mysql://ada:ge/heim@db/registry",
        "mysql//ada:geheim@db/registry",
        "ada:geheim@db/registry",
        "mysql:ada:geheim@db/registry",
        "postgres://ada:geheim@db/registry",
        "postgresql://:geheim@db/registry",
        "postgresql://ada@db/registry?sslpassword=geheim",
        "postgresql://ada@db/registry?pass%77ord=geheim",
        "postgresql://ada@db/registry?pass%2577ord=geheim",
        "postgresql://ada@db/registry#password=geheim",
        "mysql://ada@db/registry?Passwd=geheim",
        "mysql://ada@db/registry?auth_token=geheim",
        "grpc://ada:geheim@db:8080",
        "sqlite:///r.sqlite?password=geheim",
        "sqlite:///r.sqlite?PWD=geheim",
        "mysql://ada:geheim@[db/registry",
        "mysql://ada:geheim@db:port/registry",
        "mysql://ada:geheim@d\u2100b/registry",
    ],
)
def test_a_password_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidUriError) as caught:
        RegistryUri.parse(text)
    error = caught.value
    assert "heim" not in f"{error!r} {error} {error.__cause__!r}"
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


def test_an_unknown_option_is_not_repeated() -> None:
    with pytest.raises(InvalidUriError, match="unknown option; known are ssl_ca") as caught:
        RegistryUri.parse("mysql://ada@db/registry?paswrod=geheim")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mysql://db/registry", "it names no user"),
        ("mysql://ada@/registry", "it names no host"),
        ("mysql://ada@db", "the name of a database"),
        ("mysql://ada@db/", "the name of a database"),
        ("mysql://ada@db/a-b", "the name of a database"),
        ("mysql://ada@db/a%60b", "the name of a database"),
        ("mysql://ada@db/a/b", "the name of a database"),
        ("mysql://ada@db/" + "x" * 64, "the name of a database"),
        ("postgresql://ada@db/Registry", "lower case"),
        ("postgresql://ada@d'b/r", "host is odd"),
        ("postgresql://ada@db:0/r", "port"),
        ("postgresql://ada@db:99999/r", "malformed"),
        ("postgresql://ada@db/r?sslmode=maybe", "sslmode"),
        ("mysql://ada@db/r?ssl_ca=", "ssl_ca"),
        ("mysql://ada@db/r?ssl_ca=a&ssl_ca=b", "twice"),
        ("grpc://ada@db", "no users"),
        ("grpc://db/x", "no databases"),
        ("grpc://db?timeout_seconds=0", "seconds"),
        ("grpc://db?timeout_seconds=nan", "seconds"),
        ("sqlite:///a\x00b", "control"),
    ],
)
def test_what_is_malformed(text: str, why: str) -> None:
    with pytest.raises(InvalidUriError) as caught:
        RegistryUri.parse(text)
    assert why in caught.value.why
    assert "sqlite:///" in caught.value.todo


def test_an_address_is_opened_and_not_taken_for_a_registry() -> None:
    address: Any = "mysql://ada:secret@db/r"
    with pytest.raises(InvalidInputError, match=r"ModelRegistry\.open\(uri\)") as caught:
        ModelRegistry(address)
    assert "secret" not in str(caught.value)
