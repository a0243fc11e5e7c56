"""Registries whose write-ahead log is damaged, or is that of another one, are not opened.

Files are copied only while no registry of this process has the copies open.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_registry import ModelRegistry
from tfx_registry.errors import StoreUnavailableError
from tfx_registry.registry import sqlite_file, sqlite_frames, sqlite_log, sqlite_rows

FRAME = 24 + 8192
ENDS = ("", "-wal", "-shm")


@dataclass(frozen=True)
class Left:
    """A database as killed processes leave it.

    Attributes:
        path: The file; what it says of itself is not changed.
        frames: Where each of its transactions ends, in frames.
    """

    path: Path
    frames: list[int]

    def copy(self, folder: Path, ends: tuple[str, ...] = ENDS) -> Path:
        folder.mkdir(exist_ok=True)
        for end in ends:
            shutil.copyfile(f"{self.path}{end}", folder / f"r.sqlite{end}")
        return folder / "r.sqlite"


def leave(folder: Path, before: int, after: int, *, of_a_pipeline: bool = False) -> Left:
    """Registers some versions, closes the registry, registers some more, and is killed."""
    folder.mkdir()
    model = folder / "model.txt"
    model.write_text("bytes")
    path, left = folder / "open.sqlite", folder / "r.sqlite"
    if of_a_pipeline:
        config = pb.ConnectionConfig()
        config.sqlite.filename_uri = str(path)
        metadata_store.MetadataStore(config).put_artifact_type(pb.ArtifactType(name="Examples"))
    frames = []
    with ModelRegistry.open(f"sqlite:///{path}?journal=wal") as registry:
        for _ in range(before):
            registry.register("penguin", model)
    with ModelRegistry.open(f"sqlite:///{path}") as registry:
        for _ in range(after):
            registry.register("penguin", model)
            frames.append(committed(Path(f"{path}-wal")))
        for end in ENDS:
            shutil.copyfile(f"{path}{end}", f"{left}{end}")
    return Left(left, frames)


def committed(log: Path) -> int:
    data = log.read_bytes()
    header = sqlite_frames.read_header(data)
    assert header is not None
    return sqlite_frames.scan(header, lambda length, at: data[at : at + length]).committed


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    return leave(tmp_path_factory.mktemp("left") / "one", 2, 4)


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Left:
    return leave(tmp_path_factory.mktemp("left") / "another", 2, 3)


def latest(path: Path) -> int:
    with ModelRegistry.open(f"sqlite:///{path}", create=False) as registry:
        assert registry.fsck().findings == ()
        return registry.head("penguin").latest


def register(path: Path) -> int:
    with ModelRegistry.open(f"sqlite:///{path}") as registry:
        return registry.register("penguin", Path(__file__)).number


def is_refused(path: Path, why: str) -> str:
    """Expects that nobody can open it, and that nothing is changed; returns what to do."""
    todo = ""
    before = {end: Path(f"{path}{end}").read_bytes() for end in ("", "-wal")}
    for look in (lambda: latest(path), lambda: register(path)):
        with pytest.raises(StoreUnavailableError, match=why) as raised:
            look()
        todo = raised.value.todo
    assert {end: Path(f"{path}{end}").read_bytes() for end in before} == before
    return todo


def flip(log: Path, place: int) -> None:
    data = bytearray(log.read_bytes())
    data[place] ^= 1 << place % 8
    log.write_bytes(data)


def test_what_a_killed_process_left_is_opened(left: Left, tmp_path: Path) -> None:
    for ends in (ENDS, ("", "-wal")):
        path = left.copy(tmp_path / str(len(ends)), ends)
        assert latest(path) == 6
        assert register(path) == 7


@pytest.mark.parametrize("with_index", [True, False])
@pytest.mark.parametrize("transaction", [0, 1, 2])
def test_damage_in_any_transaction_but_the_last_is_refused(
    left: Left, tmp_path: Path, transaction: int, with_index: bool
) -> None:
    path = left.copy(tmp_path, ENDS if with_index else ENDS[:2])
    log = Path(f"{path}-wal")
    flip(log, 32 + (left.frames[transaction] - 2) * FRAME + 24 + 4711)
    todo = is_refused(path, r"r\.sqlite-wal beside it is damaged: .* nothing was changed")
    # The way to go on without what is lost:
    (cut,) = re.findall(r"'(truncate -s \d+ [^']*)'", todo)
    Path(f"{path}-shm").unlink(missing_ok=True)
    subprocess.run(cut.split(), check=True)
    assert latest(path) == 2 + transaction
    assert register(path) == 3 + transaction


def test_damage_in_the_last_transaction_is_seen_while_there_is_its_index(
    left: Left, tmp_path: Path
) -> None:
    path = left.copy(tmp_path)
    flip(Path(f"{path}-wal"), 32 + (left.frames[-1] - 2) * FRAME + 24 + 4711)
    is_refused(path, "is damaged")
    Path(f"{path}-shm").unlink()
    assert latest(path) == 5  # as after a power cut


def test_a_log_that_was_cut_off_is_seen_while_there_is_its_index(
    left: Left, tmp_path: Path
) -> None:
    path = left.copy(tmp_path)
    os.truncate(f"{path}-wal", 32 + left.frames[1] * FRAME)
    is_refused(path, "is damaged")
    Path(f"{path}-shm").unlink()
    assert latest(path) == 4


@pytest.mark.parametrize("harm", ["garbage", "of another log", "edited"])
def test_an_index_that_is_none_tells_nothing(
    left: Left, another: Left, tmp_path: Path, harm: str
) -> None:
    path = left.copy(tmp_path)
    os.truncate(f"{path}-wal", 32 + left.frames[1] * FRAME)
    index = Path(f"{path}-shm")
    data = bytearray(index.read_bytes())
    if harm == "garbage":
        data[:] = os.urandom(len(data))
    elif harm == "edited":
        data[17] ^= 1
        data[17 + 48] ^= 1
    else:
        data[:] = Path(f"{another.path}-shm").read_bytes()
    index.write_bytes(data)
    assert latest(path) == 4


def test_zeroed_sectors_are_refused(left: Left, tmp_path: Path) -> None:
    whole = Path(f"{left.path}-wal").read_bytes()
    end = 32 + left.frames[-2] * FRAME
    blocks = range(4096, end - 4096, 20 * 4096)
    path = left.copy(tmp_path, ENDS[:2])
    for place in blocks:
        if any(whole[place : place + 4096]):
            Path(f"{path}-wal").write_bytes(whole[:place] + bytes(4096) + whole[place + 4096 :])
            assert sqlite_log.log_problem(path) is not None, place


def test_the_log_of_another_registry_is_refused(left: Left, another: Left, tmp_path: Path) -> None:
    path = left.copy(tmp_path, ("",))
    for ends in (("-wal",), ("-wal", "-shm")):
        for end in ends:
            shutil.copyfile(f"{another.path}{end}", f"{path}{end}")
        todo = is_refused(path, r"r\.sqlite-wal beside it is not its log: .* nothing was changed")
        assert f"{path.name}-wal" in todo
    for end in ("-wal", "-shm"):
        path.with_name(f"r.sqlite{end}").unlink()
    assert latest(path) == 2


PAIRS = [(2, 3, 2, 3), (1, 1, 1, 1), (2, 1, 9, 1), (12, 2, 1, 5)]


@pytest.mark.parametrize("of_a_pipeline", [False, True])
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_the_log_of_another_database_is_refused_whatever_both_hold(
    tmp_path: Path, pair: tuple[int, int, int, int], of_a_pipeline: bool
) -> None:
    one = leave(tmp_path / "one", *pair[:2], of_a_pipeline=of_a_pipeline)
    two = leave(tmp_path / "two", *pair[2:], of_a_pipeline=of_a_pipeline)
    for mine, other in ((one, two), (two, one)):
        assert sqlite_log.log_problem(mine.copy(tmp_path / "right", ENDS[:2])) is None
        path = mine.copy(tmp_path / "wrong", ("",))
        shutil.copyfile(f"{other.path}-wal", f"{path}-wal")
        problem = sqlite_log.log_problem(path)
        assert problem is not None
        assert "is not its log" in problem.why


def test_an_older_copy_of_the_file_under_its_log_is_refused(tmp_path: Path) -> None:
    """Someone restores a backup of the file, and leaves the log that belongs to the newer one."""
    old = leave(tmp_path / "old", 1, 1)
    path = tmp_path / "r.sqlite"
    shutil.copyfile(old.path, path)
    for _ in range(14):
        register(path)
    newer = tmp_path / "newer.sqlite"
    with ModelRegistry.open(f"sqlite:///{path}") as registry:
        for _ in range(14):
            registry.register("penguin", Path(__file__))
        shutil.copyfile(f"{path}-wal", f"{newer}-wal")
    shutil.copyfile(old.path, newer)
    is_refused(newer, "is not its log: it holds the changes")


@pytest.mark.parametrize("is_there", [True, False])
def test_a_log_whose_database_is_gone_is_not_swallowed(
    left: Left, tmp_path: Path, is_there: bool
) -> None:
    path = left.copy(tmp_path, ("-wal",))
    if is_there:
        path.touch()
    log = path.with_name("r.sqlite-wal").read_bytes()
    for create in (True, False):
        with pytest.raises(StoreUnavailableError, match="nothing was changed"):
            ModelRegistry.open(f"sqlite:///{path}", create=create)
    assert path.exists() is is_there
    assert path.with_name("r.sqlite-wal").read_bytes() == log
    shutil.copyfile(left.path, path)
    assert latest(path) == 6


def test_a_log_in_use_is_not_read_at_each_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/proc/locks").exists():
        return  # it is read there, which is only slower
    path = tmp_path / "r.sqlite"
    read = list[str]()
    monkeypatch.setattr(sqlite_log, "_content_problem", lambda path, *_: read.append(path.name))
    with ModelRegistry.open(f"sqlite:///{path}?journal=wal") as registry:
        registry.register("penguin", Path(__file__))
        assert sqlite_log.is_open(path)
        assert register(path) == 2
        assert read == []
        sqlite_log.log_problem(path, even_if_open=True)
        assert read == ["r.sqlite"]
    assert not sqlite_log.is_open(path)


def test_a_look_takes_no_lock_from_this_process(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    if not Path("/proc/locks").exists():
        return
    with ModelRegistry.open(f"sqlite:///{path}?journal=wal") as registry:
        registry.register("penguin", Path(__file__))
        locks = own_locks()
        assert len(locks) >= 2
        assert sqlite_log.log_problem(path, even_if_open=True) is None
        assert own_locks() == locks


def own_locks() -> list[str]:
    lines = Path("/proc/locks").read_text().splitlines()
    return sorted(line.partition(" ")[2] for line in lines if f" {os.getpid()} " in line)


_WRITER = """
import sqlite3, sys, time
path, seed = sys.argv[1], int(sys.argv[2])
connection = sqlite3.connect(path, isolation_level=None, timeout=60)
connection.execute("PRAGMA synchronous=OFF")
connection.execute("PRAGMA wal_autocheckpoint=30")
connection.execute("PRAGMA cache_size=5")
number = 0
while True:
    number += 1
    connection.execute("BEGIN IMMEDIATE")
    for row in range(number * seed % 17 + 1):
        connection.execute("INSERT INTO t (x) VALUES (randomblob(900))")
    if number % 3 == 0:
        connection.execute("DELETE FROM t WHERE id % 7 = ?", (number % 7,))
    connection.execute("ROLLBACK" if number % 5 == 0 else "COMMIT")
"""


@pytest.mark.parametrize("rows", [False, True])
def test_a_log_that_others_write_to_is_never_taken_for_a_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: bool
) -> None:
    """As where it cannot be told that they have it open: in another container."""
    path = tmp_path / "r.sqlite"
    sqlite_file.make_file(path, "wal")
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)")
    connection.commit()
    connection.close()
    monkeypatch.setattr(sqlite_log, "is_open", lambda path: False)
    if not rows:
        monkeypatch.setattr(sqlite_rows, "strange_rows", lambda path: "")
    times = 20 if rows else 300
    writers = [
        subprocess.Popen([sys.executable, "-I", "-S", "-c", _WRITER, str(path), str(seed)])
        for seed in (3, 5)
    ]
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not Path(f"{path}-wal").exists():
            time.sleep(0.01)
        logs = set[bytes]()
        for _ in range(times):
            assert sqlite_log.log_problem(path) is None
            assert all(writer.poll() is None for writer in writers)
            logs.add(Path(f"{path}-wal").read_bytes()[16:24])
        while len(logs) < 3 and time.monotonic() < deadline:  # until it has begun anew
            assert sqlite_log.log_problem(path) is None
            logs.add(Path(f"{path}-wal").read_bytes()[16:24])
        assert len(logs) >= 3
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    assert sqlite_log.log_problem(path) is None


def test_sizes_of_frames_are_as_the_tests_take_them(left: Left) -> None:
    with Path(f"{left.path}-wal").open("rb") as file:
        assert struct.unpack(">8xI", file.read(12)) == (FRAME - 24,)
