"""What lies beside an SQLite file or behind it: further names, and logs that are none of it.

Python's own SQLite is not used here, and files are copied only while no registry of this process
has them open.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tfx_registry import ModelRegistry
from tfx_registry.errors import StoreUnavailableError
from tfx_registry.registry import sqlite_log


def register(path: Path, model: Path) -> int:
    with ModelRegistry.open(f"sqlite:///{path}") as registry:
        return registry.register("penguin", model).number


def latest(path: Path) -> int:
    with ModelRegistry.open(f"sqlite:///{path}", create=False) as registry:
        return registry.head("penguin").latest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    return tmp_path / "here" / "r.sqlite"


@pytest.fixture
def left(path: Path, plain_model: Path) -> Path:
    """A database as a killed process leaves it: its last change stands in its log only."""
    uri = f"sqlite:///{path.with_name('open.sqlite')}?journal=wal"
    with ModelRegistry.open(uri) as registry:
        registry.register("penguin", plain_model)
        for end in ("", "-wal"):
            shutil.copy(path.with_name(f"open.sqlite{end}"), f"{path}{end}")
    return path


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_file_with_two_names_is_read_and_not_written(
    path: Path, plain_model: Path, journal: str
) -> None:
    other = path.with_name("other.sqlite")
    with ModelRegistry.open(f"sqlite:///{path}?journal={journal}") as registry:
        registry.register("penguin", plain_model)
    os.link(path, other)
    for name in (path, other):
        with pytest.raises(StoreUnavailableError, match=r"has 2 names \(hard links\)") as raised:
            register(name, plain_model)
        assert f"-samefile {name}" in raised.value.todo
        assert latest(name) == 1
    other.unlink()
    assert register(path, plain_model) == 2


def test_a_name_that_comes_while_it_is_open_is_seen(path: Path, plain_model: Path) -> None:
    with ModelRegistry.open(f"sqlite:///{path}") as registry:
        registry.register("penguin", plain_model)
        os.link(path, path.with_name("other.sqlite"))
        with pytest.raises(StoreUnavailableError, match="hard links"):
            registry.register("penguin", plain_model)
        path.with_name("other.sqlite").unlink()
        assert registry.register("penguin", plain_model).number == 2


def test_what_a_killed_maker_left_is_taken_away(path: Path, plain_model: Path) -> None:
    register(path, plain_model)
    draft, another = (path.with_name(f".r.sqlite.{secrets.token_hex(8)}") for _ in range(2))
    os.link(path, draft)
    another.write_bytes(b"of a process that is at it")
    assert register(path, plain_model) == 2
    assert not draft.exists()
    assert another.exists()


def test_a_name_that_somebody_gave_it_is_not_taken_away(path: Path, plain_model: Path) -> None:
    register(path, plain_model)
    kept = path.with_name(".r.sqlite.before-upgrade")
    os.link(path, kept)
    with pytest.raises(StoreUnavailableError, match="hard links"):
        register(path, plain_model)
    assert kept.samefile(path)


def test_a_log_that_a_killed_process_left_is_read(left: Path, plain_model: Path) -> None:
    assert latest(left) == 1
    assert register(left, plain_model) == 2


DAMAGE: dict[str, Callable[[bytearray], bytes]] = {
    "garbage": lambda data: bytes(range(256)) * 200,
    "zeros": lambda data: bytes(len(data)),
    "one bit of the magic number": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "one bit of the salt": lambda data: data[:17] + bytes([data[17] ^ 4]) + data[18:],
    "one bit of the checksum": lambda data: data[:31] + bytes([data[31] ^ 1]) + data[32:],
    "another file": lambda data: b"SQLite format 3\0" * 100,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_log_is_named_and_nothing_is_changed(
    left: Path, plain_model: Path, damage: Callable[[bytearray], bytes]
) -> None:
    log = left.with_name("r.sqlite-wal")
    good = log.read_bytes()
    log.write_bytes(damage(bytearray(good)))
    before = {file.name: file.read_bytes() for file in left.parent.iterdir()}
    for look in (lambda: latest(left), lambda: register(left, plain_model)):
        with pytest.raises(StoreUnavailableError, match=r"r\.sqlite-wal beside it is damaged"):
            look()
    assert {file.name: file.read_bytes() for file in left.parent.iterdir()} == before
    log.write_bytes(good)
    assert latest(left) == 1


def test_a_log_in_which_nothing_can_stand_is_none(path: Path, plain_model: Path) -> None:
    for text in (b"", b"hello", bytes(32), b"x" * 32):
        (path.parent / "r.sqlite-wal").unlink(missing_ok=True)
        before = register(path, plain_model)
        path.with_name("r.sqlite-wal").write_bytes(text)
        assert latest(path) == before
        assert register(path, plain_model) == before + 1


def test_a_directory_in_place_of_the_log_is_named(path: Path, plain_model: Path) -> None:
    register(path, plain_model)
    path.with_name("r.sqlite-wal").mkdir()
    with pytest.raises(StoreUnavailableError, match=r"r\.sqlite-wal beside it is a directory"):
        latest(path)


def test_a_header_that_is_just_being_written_is_read_again(
    left: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = left.with_name("r.sqlite-wal")
    good, waits = log.read_bytes(), list[float]()
    log.write_bytes(b"\xff" * 40)

    def wait(seconds: float) -> None:
        waits.append(seconds)
        log.write_bytes(good)

    monkeypatch.setattr(sqlite_log.time, "sleep", wait)
    assert sqlite_log.log_problem(left) is None
    assert len(waits) == 1


@pytest.mark.parametrize("name", ["r.sqlite", "none.sqlite"])
def test_without_a_log_there_is_nothing_wrong(path: Path, plain_model: Path, name: str) -> None:
    register(path, plain_model)
    assert sqlite_log.log_problem(path.with_name(name)) is None
