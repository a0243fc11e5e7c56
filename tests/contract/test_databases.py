"""What goes wrong between a registry and a database: one clear error, and nothing is touched."""

from __future__ import annotations

import os
import re
import secrets
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.errors import InvalidInputError, StoreUnavailableError
from tfx_registry.records import LineageSource, Origin
from tfx_registry.registry import session
from tfx_registry.testing import DatabaseServer, MariaDbServer, PostgreSqlServer

SERVERS = ("mariadb", "postgresql")
HOSTILE_TEXTS = (
    "\\", "\\'", "'", "''", '"', "`", "\\'; DROP TABLE Artifact; --", "'; DROP TABLE Artifact; --",
    "' OR '1'='1", "%s {} $1 :a ?", "\t", "~1~0", "\U0001f427", "x" * 300, "\\" * 2000, "'" * 3000,
    "/data/" + "long/" * 2000, "\x00\x01\x1b", "e\u0301", "line\nline", " ",
)  # fmt: skip


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> DatabaseServer:
    """A database server, and its password in the environment."""
    found: DatabaseServer = request.getfixturevalue(request.param)
    monkeypatch.setenv("TFX_REGISTRY_PASSWORD", found.password)
    return found


@pytest.fixture
def database(server: DatabaseServer) -> Iterator[str]:
    """The name of a database that is dropped at the end."""
    name = "faulty"
    yield name
    server.drop_database(name)


def refusal(uri: str, *, create: bool = True) -> StoreUnavailableError:
    with pytest.raises(StoreUnavailableError) as caught:
        ModelRegistry.open(uri, create=create)
    assert caught.value.what == f"cannot open the registry at {uri}"
    assert caught.value.todo
    return caught.value


# Getting in


def test_a_wrong_password_is_called_that(
    server: DatabaseServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFX_REGISTRY_PASSWORD", "geheim-and-wrong")
    error = refusal(server.uri(database))
    assert "the password is wrong" in error.why
    assert "TFX_REGISTRY_PASSWORD" in error.todo
    assert "geheim" not in repr(error) + str(error.__cause__) + str(error.__context__)
    monkeypatch.delenv("TFX_REGISTRY_PASSWORD")
    assert "no password was given" in refusal(server.uri(database)).why


@pytest.mark.parametrize("password", ["a b", "it's", "back\\slash", "\u00fcmlaut\U0001f427", "a=b",
                                      "'", "#?&%41"])  # fmt: skip
def test_any_password(
    server: DatabaseServer, database: str, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    literal = password.replace("'", "''")
    if server.scheme == "mysql":
        literal = literal.replace("\\", "\\\\")
        server.sql(f"CREATE OR REPLACE USER odd@'%' IDENTIFIED BY '{literal}';"
                   "GRANT ALL ON *.* TO odd@'%'")  # fmt: skip
    else:
        server.sql("DROP ROLE IF EXISTS odd")
        server.sql(f"CREATE ROLE odd LOGIN SUPERUSER PASSWORD '{literal}'")
    monkeypatch.setenv("TFX_REGISTRY_PASSWORD", password)
    uri = server.uri(database).replace("//tfx@", "//odd@")
    with ModelRegistry.open(uri) as registry:
        assert registry.list_models() == []
    server.drop_database(database)
    server.sql("DROP USER odd@'%'" if server.scheme == "mysql" else "DROP ROLE odd")


def test_the_password_may_be_in_a_file(
    server: DatabaseServer, database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(server.password + "\n", encoding="utf-8")
    monkeypatch.setenv("TFX_REGISTRY_PASSWORD_FILE", str(file))
    with pytest.raises(InvalidInputError, match="both") as caught:
        ModelRegistry.open(server.uri(database))
    assert server.password not in str(caught.value)
    monkeypatch.delenv("TFX_REGISTRY_PASSWORD")
    with ModelRegistry.open(server.uri(database)) as registry:
        assert registry.list_models() == []
    file.unlink()
    with pytest.raises(InvalidInputError, match="No such file"):
        ModelRegistry.open(server.uri(database))


@pytest.mark.parametrize("scheme", ["mysql", "postgresql", "grpc"])
@pytest.mark.parametrize(
    ("host", "why"),
    [("127.0.0.1", "nobody listens there"), ("no-such-host.invalid", "is not known")],
)
def test_an_unreachable_host_is_called_that(scheme: str, host: str, why: str) -> None:
    login = ("", "") if scheme == "grpc" else ("ada@", "/registry")
    with socket.socket() as taken:  # and not listened on, so nobody else can
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        error = refusal(f"{scheme}://{login[0]}{host}:{port}{login[1]}")
    assert why in error.why
    assert host in error.why


@pytest.mark.parametrize("scheme", ["mysql", "postgresql"])
@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 4000])
def test_a_server_of_another_kind_is_called_that(
    scheme: str, greeting: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfx_registry.registry.probe._TIMEOUT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(greeting)

        threading.Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        error = refusal(f"{scheme}://ada@127.0.0.1:{port}/registry")
    assert "SQL" in error.why
    assert "check host and port" in error.todo


# What is there


def test_a_missing_database_is_not_made_by_reading(server: DatabaseServer, database: str) -> None:
    error = refusal(server.uri(database), create=False)
    assert error.why == f"the database '{database}' does not exist"
    assert f"CREATE DATABASE {database}" in error.todo
    refusal(server.uri(database), create=False)


def test_an_empty_database_is_not_filled_by_reading(server: DatabaseServer, database: str) -> None:
    uri = server.create_database(database)
    assert refusal(uri, create=False).why == f"the database '{database}' is empty"
    assert tables(server, database) == set()
    with ModelRegistry.open(uri) as registry:
        assert registry.list_models() == []
    with ModelRegistry.open(uri, create=False) as registry:
        assert registry.list_models() == []


def test_who_may_not_make_a_database_is_told_how(server: DatabaseServer, database: str) -> None:
    server.sql(
        f"CREATE OR REPLACE USER guest@'%' IDENTIFIED BY '{server.password}'"
        if server.scheme == "mysql"
        else f"DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN PASSWORD '{server.password}'"
    )
    uri = server.uri(database).replace("//tfx@", "//guest@")
    error = refusal(uri)
    assert "does not exist" in error.why
    assert (
        f"CREATE DATABASE {'IF NOT EXISTS ' * (server.scheme == 'mysql')}{database}" in error.todo
    )
    server.create_database(database)
    assert refusal(uri).todo


def test_the_database_of_another_program_is_left_alone(
    server: DatabaseServer, database: str
) -> None:
    uri = server.create_database(database)
    server.sql("CREATE TABLE orders (id INT); INSERT INTO orders VALUES (7)", database)
    for create in (True, False):
        assert "orders" in refusal(uri, create=create).why
    assert tables(server, database) == {"orders"}


def test_the_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE orders (id INT)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    for create in (True, False):
        assert "orders" in refusal(f"sqlite:///{path}", create=create).why
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["shop.sqlite"]


def test_empty_files_become_registries(tmp_path: Path, plain_model: Path) -> None:
    (tmp_path / "zero.sqlite").touch()
    connection = sqlite3.connect(tmp_path / "empty.sqlite")
    connection.execute("VACUUM")
    connection.close()
    for name in ("zero", "empty"):
        uri = f"sqlite:///{tmp_path}/{name}.sqlite"
        assert "empty" in refusal(uri, create=False).why
        with ModelRegistry.open(uri) as registry:
            assert registry.register("penguin", plain_model).number == 1


def tables(server: DatabaseServer, database: str) -> set[str]:
    text = (
        server.sql("SHOW TABLES", database)
        if server.scheme == "mysql"
        else server.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database)
    )
    return set(text.split())


def test_a_first_start_that_was_cut_off(
    mariadb: MariaDbServer, plain_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MySQL commits each table for itself; so do these statements, as far as they got."""
    monkeypatch.setenv("TFX_REGISTRY_PASSWORD", mariadb.password)
    monkeypatch.setattr(session, "_RACE_SECONDS", 0.2)
    with ModelRegistry.open(mariadb.uri("whole")) as registry:
        names = sorted(tables(mariadb, "whole"))
        registry.register("penguin", plain_model)
    copies = [f"CREATE TABLE half.{name} LIKE whole.{name};" for name in names]
    rows = [f"INSERT INTO half.{name} SELECT * FROM whole.{name};" for name in names]
    for made, create in ((1, True), (len(names) - 1, False), (len(names), True)):
        mariadb.sql("DROP DATABASE IF EXISTS half; CREATE DATABASE half;" + "".join(copies[:made]))
        error = refusal(mariadb.uri("half"), create=create)
        assert f"only half made: a first start was cut off after {made} tables" in error.why
        assert "DROP DATABASE half; CREATE DATABASE half; then repeat" in error.todo
    mariadb.sql("DROP DATABASE half; CREATE DATABASE half")  # as it says
    with ModelRegistry.open(mariadb.uri("half")) as registry:
        assert registry.register("penguin", plain_model).number == 1
    # Whatever else took a table away: nobody is told to drop what holds something.
    mariadb.sql("DROP DATABASE half; CREATE DATABASE half")
    mariadb.sql("".join(copies + rows) + "DROP TABLE half.EventPath")
    error = refusal(mariadb.uri("half"))
    assert "it has no eventpath" in error.why
    assert "backup" in error.todo
    assert "DROP" not in error.todo
    mariadb.drop_database("half", "whole")


# What is written


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_no_text_reaches_the_query_language(
    new_uri: Callable[[str], str], plain_model: Path, text: str
) -> None:
    """Everything that a caller may choose, on each kind of store."""
    actor = re.sub(r"[\x00-\x1f]", "", text)[:256].strip() or "ada"
    for backend in ("sqlite", "mysql", "postgresql", "grpc"):
        with ModelRegistry.open(new_uri(backend)) as registry:
            for _ in range(2):
                registry.register(
                    "penguin", plain_model, description=text, actor=actor, reason=text,
                    hyperparameters={text: text}, origin=Origin(text, text, text, text, text),
                    sources=[LineageSource(text, text, text, {text: text})],
                    idempotency_key=text, labels={"note": "plain"},
                )  # fmt: skip
            version = registry.get("penguin", 1)
            assert version.description == text
            assert version.sources == (LineageSource(text, text, text, {text: text}),)
            assert version.hyperparameters == {text: text}
            (event,) = registry.history("penguin")
            assert (event.actor, event.reason, event.token) == (actor, text, text)


def test_a_megabyte_of_text(registry: ModelRegistry, plain_model: Path) -> None:
    registry.register("penguin", plain_model, description="\u00e9" * 1_000_000)
    assert registry.get("penguin", 1).description == "\u00e9" * 1_000_000


# Where nothing can be written

LIMITED = """
import resource, signal, sys
from tfx_registry import ModelRegistry
from tfx_registry.errors import StoreUnavailableError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
uri, model, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
with ModelRegistry.open(uri) as registry:
    print(len(registry.history("penguin")), flush=True)
    try:
        for _ in range(200):
            registry.register("penguin", model, description="x" * 50_000)
    except StoreUnavailableError as error:
        print(error)
    print(len(registry.history("penguin")))
"""


def test_a_file_that_cannot_grow(tmp_path: Path, plain_model: Path) -> None:
    path = tmp_path / "r.sqlite"
    uri = f"sqlite:///{path}"
    with ModelRegistry.open(uri) as registry:
        registry.register("penguin", plain_model)
    before, error, after = run_limited([], uri, plain_model, 2_000_000)
    check_stopped(uri, error, int(before), int(after), plain_model)


def test_a_full_disk(tmp_path: Path, plain_model: Path) -> None:
    """A file system of 2 MB of its own; it exists for that one process only."""
    disk = tmp_path / "disk"
    disk.mkdir()
    saved = tmp_path / "saved"
    saved.mkdir()
    uri = f"sqlite:///{disk}/r.sqlite"
    shell = in_own_namespace(
        f'mount -t tmpfs -o size=2m tmpfs "{disk}" && "$@" && cp -R "{disk}/." "{saved}"', disk
    )
    with ModelRegistry.open(f"sqlite:///{saved}/r.sqlite") as registry:
        registry.register("penguin", plain_model)
    # The first registration has to be made inside: there the disk is empty.
    code = LIMITED.replace('print(len(registry.history("penguin")), flush=True)',
                           'registry.register("penguin", model); print(1)')  # fmt: skip
    before, error, after = run_limited(shell, uri, plain_model, 0, code)
    assert "its disk is full" in error
    check_stopped(f"sqlite:///{saved}/r.sqlite", error, int(before), int(after), plain_model)


def test_a_read_only_database_is_read(tmp_path: Path, plain_model: Path) -> None:
    folder = tmp_path / "fixed"
    folder.mkdir()
    uri = f"sqlite:///{folder}/r.sqlite"
    with ModelRegistry.open(uri) as registry:
        registry.register("penguin", plain_model)
    shell = in_own_namespace(
        f'mount --bind "{folder}" "{folder}" && mount -o remount,bind,ro "{folder}" && "$@"', folder
    )
    before, error, after = run_limited(shell, uri, plain_model, 0)
    assert "it cannot be written" in error
    assert (before, after) == ("1", "1")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [MariaDbServer, PostgreSqlServer])
def test_a_server_whose_disk_is_full(
    kind: type[DatabaseServer], plain_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (
        ["--innodb-file-per-table=0", "--innodb-data-file-path=ibdata1:12M:autoextend:max:24M"]
        if kind is MariaDbServer
        else []
    )
    limit = None if kind is MariaDbServer else 3_000_000
    with kind(options, max_file_bytes=limit) as server:
        monkeypatch.setenv("TFX_REGISTRY_PASSWORD", server.password)
        uri = server.uri("registry")
        with ModelRegistry.open(uri) as registry:
            with pytest.raises(StoreUnavailableError, match="its disk is full"):
                fill(registry, plain_model)
            assert registry.list_models()[0].latest > 0
        with ModelRegistry.open(uri) as registry:
            head = registry.head("penguin")
            assert len(registry.history("penguin")) == head.seq == head.latest


def in_own_namespace(script: str, mounted: Path) -> list[str]:
    """The words before a command that let a shell script mount something around it."""
    own = ["unshare", "--mount", *(["--user", "--map-root-user"] if os.geteuid() else [])]
    if subprocess.run([*own, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        own += ["--propagation", "unchanged"]  # in a chroot, where "/" is no mount
    return [*own, "sh", "-c", f"trap 'umount \"{mounted}\"' EXIT; {script}", "sh"]


def fill(registry: ModelRegistry, model: Path) -> None:
    for _ in range(60):
        registry.register("penguin", model, description=secrets.token_hex(100_000))


def run_limited(
    prefix: list[str], uri: str, model: Path, limit: int, code: str = LIMITED
) -> list[str]:
    done = subprocess.run(
        [*prefix, sys.executable, "-c", code, uri, str(model), str(limit)],
        capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def check_stopped(uri: str, error: str, before: int, after: int, model: Path) -> None:
    assert error.startswith("the registry at sqlite:///")
    assert "nothing was half-written" in error
    assert before <= after < 200
    with ModelRegistry.open(uri, create=False) as registry:
        assert len(registry.history("penguin")) == after
        assert registry.register("penguin", model).number == after + 1


def test_a_process_that_forks_gets_a_connection_of_its_own(uri: str, plain_model: Path) -> None:
    if uri.startswith(("memory", "grpc")):
        # Nothing to share, or a library (gRPC) that does not live on in a forked process.
        return
    code = """
import os, sys
from tfx_registry import ModelRegistry
uri, model = sys.argv[1:]
with ModelRegistry.open(uri) as registry:
    registry.register("penguin", model)
    child = os.fork()
    for _ in range(5):
        registry.register("penguin", model)
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    print(registry.head("penguin").latest)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, uri, str(plain_model)],
        capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
    assert done.stdout == "11\n", done.stderr


def test_a_closed_registry_says_so(uri: str) -> None:
    if uri == "memory://":
        return
    registry = ModelRegistry.open(uri)
    registry.close()
    with pytest.raises(StoreUnavailableError, match="is closed"):
        registry.list_models()


def test_a_name_keeps_the_database_busy_no_longer_than_the_race(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Errors that look like a race of first starts end, too."""
    monkeypatch.setattr(session, "_RACE_SECONDS", 0.2)

    def fail(*_: object) -> None:
        raise RuntimeError("table already exists")

    monkeypatch.setattr(session.metadata_store, "MetadataStore", fail)
    assert "already exists" in refusal(f"sqlite:///{tmp_path}/r.sqlite").why
