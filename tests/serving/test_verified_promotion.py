"""Promotions that wait until model servers serve the version, and what becomes of the others."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.errors import InvalidInputError, InvalidUriError, NotServedError
from tfx_registry.operations import Servers, rollback
from tfx_registry.promotion import Promotion, promote
from tfx_registry.registry import fold
from tfx_registry.testing.minimal_model import write_minimal_model
from tfx_registry.testing.model_server import LoadError, ModelServerEmulator
from tfx_registry.testing.model_server.loaders import Loaded, ValidatingLoader

MODEL = "penguin"


class Refusing(ValidatingLoader):
    """Cannot load version 2."""

    def load(self, path: str) -> Loaded:
        if Path(path).name == "2":
            raise LoadError("RESOURCE_EXHAUSTED", "no memory")
        return super().load(path)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[ModelRegistry]:
    with ModelRegistry.open("memory://") as registry:
        for number in (1, 2, 3):
            path = write_minimal_model(tmp_path / "models" / str(number), f"note {number}")
            registry.register(MODEL, path)
            registry.override(MODEL, number, reason="test", expires=datetime.timedelta(1))
        yield registry
        assert fold.replay(registry.history(MODEL)).head == registry.head(MODEL)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "serving"


@pytest.fixture
def server(base: Path) -> Iterator[ModelServerEmulator]:
    base.mkdir()
    with ModelServerEmulator(
        model_name=MODEL, model_base_path=base, file_system_poll_wait_seconds=0.01,
        max_num_load_retries=0, load_retry_interval_seconds=0.0, loader=Refusing(),
    ) as server:  # fmt: skip
        yield server.start()


def put(
    registry: ModelRegistry,
    base: Path,
    number: int,
    server: ModelServerEmulator,
    keep: bool = False,
) -> Promotion:
    servers = Servers((server.url,), deadline_seconds=60, poll_seconds=0.01, keep_failed=keep)
    return promote(registry, MODEL, number, base, servers=servers)


def test_a_promotion_returns_once_the_version_serves(
    registry: ModelRegistry, base: Path, server: ModelServerEmulator
) -> None:
    for number in (1, 3):
        assert put(registry, base, number, server).changed
        assert server.resolve(MODEL)[0] == number
    last = registry.history(MODEL)[-1]
    assert last.kind == "servers_checked"
    assert last.payload.available
    assert not put(registry, base, 3, server).changed


def test_what_does_not_serve_is_rolled_back(
    registry: ModelRegistry, base: Path, server: ModelServerEmulator
) -> None:
    put(registry, base, 1, server)
    with pytest.raises(NotServedError, match=r"no memory.*rolled back to version 1") as raised:
        put(registry, base, 2, server)
    assert len(raised.value.reports) == 1
    assert registry.resolve(f"{MODEL}@production").number == 1
    assert [path.name for path in base.iterdir() if path.name.isdigit()] == ["1"]
    assert server.resolve(MODEL)[0] == 1
    kinds = [event.kind for event in registry.history(MODEL)]
    assert kinds[-3:] == ["servers_checked", "rollback_started", "rolled_back"]
    # The server goes on, and a better version follows.
    assert put(registry, base, 3, server).changed


def test_it_stays_where_that_is_asked_for(
    registry: ModelRegistry, base: Path, server: ModelServerEmulator
) -> None:
    put(registry, base, 1, server)
    with pytest.raises(NotServedError, match="it stays where it is"):
        put(registry, base, 2, server, keep=True)
    assert registry.resolve(f"{MODEL}@production").number == 2
    assert server.resolve(MODEL)[0] == 1


def test_a_first_version_has_nothing_to_go_back_to(registry: ModelRegistry, base: Path) -> None:
    servers = Servers(("http://127.0.0.1:9",), deadline_seconds=0.01, poll_seconds=0.01)
    with pytest.raises(NotServedError, match="it stays where it is"):
        promote(registry, MODEL, 1, base, servers=servers)
    assert registry.resolve(f"{MODEL}@production").number == 1


def test_a_repeat_never_rolls_back_what_served_already(
    registry: ModelRegistry, base: Path, server: ModelServerEmulator
) -> None:
    put(registry, base, 1, server)
    put(registry, base, 3, server)
    away = Servers(("http://127.0.0.1:9",), deadline_seconds=0.01, poll_seconds=0.01)
    with pytest.raises(NotServedError, match="it stays where it is"):
        promote(registry, MODEL, 3, base, servers=away)
    assert registry.resolve(f"{MODEL}@production").number == 3


def test_options_are_checked_and_come_back_from_json() -> None:
    servers = Servers(("http://host:8501",), deadline_seconds=5, keep_failed=True)
    assert Servers.from_json(servers.to_json()) == servers
    with pytest.raises(InvalidUriError):
        Servers(("host",))
    with pytest.raises(InvalidInputError):
        dataclasses.replace(servers, deadline_seconds=0)
    with pytest.raises(InvalidInputError):
        Servers.from_json('{"urls": 5}')


def test_a_rollback_returns_once_the_version_serves(
    registry: ModelRegistry, base: Path, server: ModelServerEmulator
) -> None:
    put(registry, base, 1, server)
    put(registry, base, 3, server)
    servers = Servers((server.url,), deadline_seconds=60, poll_seconds=0.01)
    rollback(registry, MODEL, base, reason="wrong", servers=servers)
    assert server.statuses(MODEL)[1].state == "AVAILABLE"
    assert registry.history(MODEL)[-1].kind == "servers_checked"
