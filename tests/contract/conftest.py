"""The stores that the contract suite runs on: one server for all tests, a database for each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.testing import GrpcServer, MariaDbServer, PostgreSqlServer

BACKENDS = ("memory", "sqlite", "mysql", "postgresql", "grpc")

_DROP_BATCH = 25

_numbers = itertools.count(1)
_done: dict[str, list[str]] = {}


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDbServer]:
    """A MariaDB server; fails where Debian's package is not installed."""
    with MariaDbServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSqlServer]:
    """A PostgreSQL server; fails where Debian's package is not installed."""
    with PostgreSqlServer() as server:
        yield server


@pytest.fixture
def new_uri(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], str]]:
    """Gives URIs of databases that do not exist yet, and the password in the environment.

    ML Metadata makes a database and its tables in about 0.15 s, which is as fast as a copy of a
    prepared one.
    """
    closing: list[Callable[[], None]] = []

    def make(backend: str) -> str:
        if backend == "memory":
            return "memory://"
        if backend == "sqlite":
            return f"sqlite:///{tmp_path}/registry{next(_numbers)}.sqlite"
        if backend == "grpc":
            grpc_server = GrpcServer(tmp_path / f"served{next(_numbers)}.sqlite")
            closing.append(grpc_server.close)
            return grpc_server.uri
        server = request.getfixturevalue({"mysql": "mariadb"}.get(backend, backend))
        monkeypatch.setenv("TFX_REGISTRY_PASSWORD", server.password)
        done = _done.setdefault(backend, [])
        if len(done) >= _DROP_BATCH:
            # Many at once: each call of the database's client costs as much as a short test.
            server.drop_database(*done)
            done.clear()
        name = f"registry_{next(_numbers)}"
        closing.append(lambda: done.append(name))
        return str(server.uri(name))

    yield make
    for close in closing:
        close()


@pytest.fixture(params=BACKENDS)
def uri(request: pytest.FixtureRequest, new_uri: Callable[[str], str]) -> str:
    """The URI of an empty registry, on each kind of store."""
    return new_uri(request.param)


@pytest.fixture
def registry(uri: str) -> Iterator[ModelRegistry]:
    """An empty registry, on each kind of store."""
    with ModelRegistry.open(uri) as opened:
        yield opened
