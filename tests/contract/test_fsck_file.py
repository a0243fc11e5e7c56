"""What is below the records of an SQLite registry: pages, indexes, rules, and its log."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.errors import RegistryError, StoreUnavailableError
from tfx_registry.registry import sqlite_check
from tfx_registry.registry.verify import UNREADABLE_ROW


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "r.sqlite"
    with ModelRegistry.open(f"sqlite:///{path}") as registry:
        for number in range(4):
            registry.register("penguin", Path(__file__), description="long " * 900 * number)
    return path


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(template, tmp_path / "r.sqlite"))


def change(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)
        connection.commit()


def found(path: Path) -> list[str]:
    return [str(finding) for finding in sqlite_check.check_file(path)]


def test_a_whole_file_is_clean_also_while_it_is_in_use(path: Path) -> None:
    assert found(path) == []
    with ModelRegistry.open(f"sqlite:///{path}") as registry:
        registry.register("penguin", Path(__file__))
        assert found(path) == []
        assert registry.fsck().findings == ()


@pytest.mark.parametrize("table", ["Artifact", "Context", "Execution", "Event"])
def test_a_table_without_its_rules_is_named(path: Path, table: str) -> None:
    change(
        path,
        f"CREATE TABLE copied AS SELECT * FROM {table}; DROP TABLE {table};"
        f"ALTER TABLE copied RENAME TO {table};",
    )
    (first, *_) = found(path)
    assert first.startswith("SQLite file: nothing keeps ")
    assert f"of the table {table} unique any more" in first
    assert first.endswith("[file.index]")


@pytest.mark.parametrize(
    "name", ["artifact_uri", "event_execution_id", "eventpath_event_id", "type_name"]
)
def test_an_index_that_is_gone_is_named_with_what_makes_it(path: Path, name: str) -> None:
    change(path, f"DROP INDEX idx_{name}")
    (finding,) = found(path)
    assert "has no index by" in finding
    change(path, finding.split("'")[1])
    assert found(path) == []


def test_an_index_that_lost_entries_is_named(path: Path) -> None:
    change(
        path,
        "PRAGMA writable_schema=1;"
        "UPDATE sqlite_master SET sql = sql || ' WHERE 0' WHERE name = 'idx_event_execution_id';"
        "PRAGMA writable_schema=RESET; REINDEX idx_event_execution_id;"
        "PRAGMA writable_schema=1; UPDATE sqlite_master SET"
        " sql = replace(sql, ' WHERE 0', '') WHERE name = 'idx_event_execution_id';",
    )
    assert all(text.endswith("[file.index]") for text in found(path))
    with ModelRegistry.open(f"sqlite:///{path}") as registry:
        codes = {finding.code for finding in registry.fsck().findings}
    assert "file.index" in codes


def test_a_page_that_became_zeros_is_named_or_refused(path: Path) -> None:
    """Each page in which anything stands."""
    whole = path.read_bytes()
    page_bytes = int.from_bytes(whole[16:18], "big")
    for place in range(0, len(whole), page_bytes):
        if not any(whole[place : place + page_bytes]):
            continue
        path.write_bytes(whole[:place] + bytes(page_bytes) + whole[place + page_bytes :])
        assert found(path), place // page_bytes + 1


@pytest.mark.parametrize("page", [1, 3])
def test_fsck_names_a_damaged_page_or_says_that_it_cannot_read(path: Path, page: int) -> None:
    data = bytearray(path.read_bytes())
    page_bytes = int.from_bytes(data[16:18], "big")
    data[(page - 1) * page_bytes : page * page_bytes] = bytes(page_bytes)
    path.write_bytes(data)
    try:
        with ModelRegistry.open(f"sqlite:///{path}", create=False) as registry:
            assert {"file.page", "file.index"} & {f.code for f in registry.fsck().findings}
    except RegistryError as error:
        assert error.todo  # noqa: PT017 - one of both
    assert path.read_bytes() == data


def test_a_log_that_is_damaged_under_its_users_is_named(path: Path) -> None:
    with ModelRegistry.open(f"sqlite:///{path}?journal=wal") as registry:
        for _ in range(3):
            registry.register("penguin", Path(__file__))
        with Path(f"{path}-wal").open("r+b") as file:
            file.seek(32 + 2 * (24 + 8192) + 3000)
            file.write(b"damage")
        (finding,) = found(path)
        assert "beside it is damaged" in finding
        assert finding.endswith("[file.log]")


def test_what_cannot_be_read_is_said_in_one_clear_error(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        page = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_Execution_1'"
        ).fetchone()[0]
        page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * page_bytes)
        file.write(bytes(page_bytes))
    with (
        pytest.raises(StoreUnavailableError, match=r"its file is damaged \(database disk image"),
        ModelRegistry.open(f"sqlite:///{path}", create=False) as registry,
    ):
        registry.fsck()


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        (
            "UPDATE EventPath SET step_index = NULL WHERE event_id = 1",
            "a row of EventPath, of event 1, has no step_index",
        ),
        (
            "UPDATE ExecutionProperty SET string_value = NULL WHERE execution_id = 2"
            " AND name = 'record'",
            "the row of ExecutionProperty for 'record' of execution 2 is empty",
        ),
    ],
)
def test_a_row_that_would_end_the_process_is_named_before_it_is_read(
    path: Path, sql: str, what: str
) -> None:
    change(path, sql)
    with ModelRegistry.open(f"sqlite:///{path}", create=False) as registry:
        (finding,) = registry.fsck().findings
        assert registry.fsck("penguin").findings == (finding,)
    assert finding.code == UNREADABLE_ROW
    assert finding.problem.startswith(f"{what}, on which ML Metadata fails")


def test_a_file_that_could_not_be_checked_is_not_passed_over_in_silence(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed = subprocess.CompletedProcess((), 1, "", "Traceback\nOperationalError: disk I/O error\n")
    monkeypatch.setattr(sqlite_check, "run_python", lambda *_, **__: failed)
    assert found(path) == []
    assert "were not checked: OperationalError: disk I/O error" in caplog.text
    caplog.clear()

    def refused(*_: str, **__: float) -> None:
        raise OSError("no Python")

    monkeypatch.setattr(sqlite_check, "run_python", refused)
    assert found(path) == []
    assert "were not checked: no Python" in caplog.text
