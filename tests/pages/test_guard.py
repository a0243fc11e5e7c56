"""Who may ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfx_registry.errors import InvalidInputError, RefusedError
from tfx_registry.pages.guard import (
    TOKEN_VARIABLE,
    Guard,
    check_binding,
    is_loopback,
    read_token,
)

TOKEN = "correct-horse-battery-staple"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"])
def test_loopback_needs_nothing(host: str) -> None:
    assert is_loopback(host)
    check_binding(host, allow_remote=False, token=None, names=())


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.7", "example.org", "localhost.evil.org", ""]
)
@pytest.mark.parametrize(
    ("allow", "token", "missing"),
    [
        (False, None, "--allow-remote and a token are missing"),
        (True, None, "a token is missing"),
        (False, TOKEN, "--allow-remote is missing"),
    ],
)
def test_any_other_address_needs_flag_and_token(
    host: str, allow: bool, token: str | None, missing: str
) -> None:
    assert not is_loopback(host)
    with pytest.raises(RefusedError, match=missing) as raised:
        check_binding(host, allow_remote=allow, token=token, names=("registry",))
    assert TOKEN not in str(raised.value)


def test_all_addresses_need_names() -> None:
    for host in ("0.0.0.0", "::", ""):
        with pytest.raises(InvalidInputError, match="--allowed-host"):
            check_binding(host, allow_remote=True, token=TOKEN, names=())
        check_binding(host, allow_remote=True, token=TOKEN, names=("registry",))
    check_binding("10.0.0.7", allow_remote=True, token=TOKEN, names=())


@pytest.mark.parametrize(
    ("header", "known"),
    [
        ("127.0.0.1:8321", True),
        ("localhost", True),
        ("LocalHost:9000", True),
        ("[::1]:8321", True),
        ("::1", True),
        ("evil.example", False),
        ("evil.example:8321", False),
        ("127.0.0.1.evil.example", False),
        ("localhost@evil.example", False),
        ("[::1].evil.example", False),
        ("", False),
    ],
)
def test_the_host_header_must_name_this_server(header: str, known: bool) -> None:
    assert Guard().knows_host(header) is known


def test_elsewhere_only_the_names_that_were_given_count() -> None:
    guard = Guard("0.0.0.0", ("registry.example",), TOKEN)
    assert guard.knows_host("registry.example:443")
    assert not guard.knows_host("localhost:8321")
    with_ports = Guard("127.0.0.1", ("Registry.example:8080", "[fd00::7]:80", "fd00::8"))
    for name in ("registry.example:8080", "registry.example", "[fd00::7]:80", "[fd00::8]:80"):
        assert with_ports.knows_host(name)
    assert Guard("10.0.0.7", (), TOKEN).knows_host("10.0.0.7:8321")


def test_a_token_opens_by_cookie_or_header_and_nothing_else_does() -> None:
    guard = Guard("10.0.0.7", (), TOKEN)
    assert guard.is_token(TOKEN)
    assert not guard.is_token(TOKEN[:-1])
    assert guard.may_pass(guard.session, "")
    assert guard.may_pass("", f"Bearer {TOKEN}")
    assert guard.may_pass("", f"bearer  {TOKEN}")
    for cookie, header in (
        ("", ""),
        (TOKEN, ""),
        ("", TOKEN),
        ("", f"Basic {TOKEN}"),
        ("ü", "ü ü"),
    ):
        assert not guard.may_pass(cookie, header)


def test_without_a_token_everybody_who_reaches_it_may_ask() -> None:
    assert Guard().may_pass("", "")
    assert not Guard().is_token("")


def test_neither_token_nor_session_is_ever_shown() -> None:
    guard = Guard(token=TOKEN)
    assert TOKEN not in repr(guard)
    assert guard.session not in repr(guard)
    assert guard.session != Guard(token=TOKEN).session


def test_the_token_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert read_token(None) is None
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert read_token(None) == TOKEN
    file = tmp_path / "token"
    file.write_text("another-token-of-ours\n", encoding="utf-8")
    assert read_token(str(file)) == "another-token-of-ours"


@pytest.mark.parametrize(
    "text", ["", "short", "has blanks in it, sixteen", "ünicode-ünicode-ünicode"]
)
def test_a_weak_token_is_refused_without_being_shown(text: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError, match="at least 16 ASCII characters") as raised:
        read_token(str(file))
    assert not text or text not in str(raised.value)


def test_a_token_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="No such file"):
        read_token(str(tmp_path / "none"))
    (tmp_path / "binary").write_bytes(b"\xff" * 20)
    with pytest.raises(InvalidInputError, match="not UTF-8"):
        read_token(str(tmp_path / "binary"))
