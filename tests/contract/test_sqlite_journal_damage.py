"""A damaged write-ahead log is named before SQLite drops what it holds; what a crash leaves is not.

The logs are real ones, of SQLite itself: recorded while a connection is open, transaction by
transaction. Python's own SQLite is used on files that no registry of this process has open.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tfx_registry.registry import sqlite_frames, sqlite_log

SECTOR = 512
ENDS = ("", "-wal", "-shm")


@dataclass(frozen=True)
class Recorded:
    """A log as it was after each transaction.

    Attributes:
        states: Its bytes, with what an earlier log left behind its end.
        ends: Where each transaction ends, in bytes; the first is the end of the header.
    """

    states: list[bytes]
    ends: list[int]

    @property
    def data(self) -> bytes:
        return self.states[-1]


def open_database(path: Path, page_bytes: int = 512) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size={page_bytes}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("PRAGMA synchronous=OFF")  # the tests themselves cut the power
    return connection


def write(connection: sqlite3.Connection, seed: int, rows: int) -> None:
    """Changes one row in many, and adds some: each in a page of its own."""
    chance = random.Random(seed)
    with connection:
        connection.execute("BEGIN")
        connection.execute("UPDATE t SET x = ? WHERE id = 1", (chance.randbytes(60),))
        for _ in range(rows):
            connection.execute("INSERT INTO t (x) VALUES (?)", (chance.randbytes(300),))


def scanned(data: bytes) -> sqlite_frames.Scan:
    header = sqlite_frames.read_header(data)
    assert header is not None
    return sqlite_frames.scan(header, lambda length, offset: data[offset : offset + length])


def record(path: Path, sizes: list[int], *, again: bool) -> Recorded:
    """Records a log; `again` after a longer one of which it leaves the rest."""
    with closing(open_database(path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)")
        connection.execute("INSERT INTO t (x) VALUES ('first')")
        log = Path(f"{path}-wal")
        if again:
            for seed, size in enumerate([*sizes, *sizes]):
                write(connection, 1000 + seed, size)
        connection.execute("PRAGMA wal_checkpoint(RESTART)")
        states = []
        for seed, size in enumerate(sizes):
            write(connection, seed, size)
            states.append(log.read_bytes())
    step = 512 + 24
    ends = [32] + [32 + scanned(data).committed * step for data in states]
    return Recorded(states, ends)


SIZES = [3, 1, 6, 2, 1, 30, 0, 4, 14, 1, 3]


@pytest.fixture(scope="module", params=[False, True], ids=["new log", "log begun anew"])
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    path = tmp_path_factory.mktemp("recorded") / "r.sqlite"
    return record(path, SIZES, again=request.param)


def test_the_record_is_what_the_tests_take_it_for(recorded: Recorded) -> None:
    assert len(recorded.ends) == len(SIZES) + 1
    assert recorded.ends == sorted(set(recorded.ends))
    assert (recorded.ends[-1] - 32) // 536 > 62  # there are heads of frames that lie in two sectors
    assert all(scanned(state).proof == 0 for state in recorded.states)


def flipped(data: bytes, place: int, bits: int) -> bytes:
    return data[:place] + bytes([data[place] ^ bits]) + data[place + 1 :]


def cannot_tell(recorded: Recorded, place: int, bits: int) -> bool:
    """Of the commit frame before the last transaction, two things look like those of a crash.

    Its size of the database made zero, and its page if its head lies in two sectors.
    """
    frame = recorded.ends[-2] - 536
    is_torn_here = frame % SECTOR + 24 > SECTOR
    zeroed = flipped(recorded.data, place, bits)[frame + 4 : frame + 8] == bytes(4)
    return place >= frame and (zeroed or (is_torn_here and place >= frame + 24))


def test_any_byte_of_any_transaction_but_the_last_is_missed(recorded: Recorded) -> None:
    """Each byte of the heads of frames, and a part of those of the pages."""
    chance = random.Random(1)
    for place in range(32, recorded.ends[-2]):
        in_head = (place - 32) % 536 < 24
        if chance.random() > (0.25 if in_head else 0.005):
            continue
        bits = chance.randrange(1, 256)
        if cannot_tell(recorded, place, bits):
            continue
        found = scanned(flipped(recorded.data, place, bits))
        assert found.proof, (place, bits)
        assert 32 + found.committed * 536 <= place


def test_the_last_transaction_may_be_cut_off_or_torn(recorded: Recorded) -> None:
    """What a crash leaves: whole transactions, and of the next one some sectors, in any order."""
    chance = random.Random(2)
    old = recorded.states[0]
    for number, state in enumerate(recorded.states):
        begin, end = recorded.ends[number], recorded.ends[number + 1]
        before = recorded.states[number - 1] if number else old[:32] + bytes(len(old) - 32)
        cuts = {*range(begin, end, 536), *(chance.randrange(begin, end) for _ in range(20)), end}
        for cut in sorted(cuts):
            found = scanned(state[:cut])
            assert (found.proof, 32 + found.committed * 536) == (0, end if cut == end else begin)
        for _ in range(15):
            torn = bytearray(before[: len(state)].ljust(end, b"\0"))
            for sector in range(begin - begin % SECTOR, end, SECTOR):
                if chance.random() < 0.7:
                    span = slice(max(sector, begin), min(sector + SECTOR, end))
                    torn[span] = state[span]
            assert scanned(bytes(torn)).proof == 0


def test_what_is_written_after_a_crash_is_no_damage(tmp_path: Path) -> None:
    """Over a transaction in pieces, shorter ones are written; again and again."""
    path = tmp_path / "r.sqlite"
    chance = random.Random(3)
    with closing(open_database(path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)")
        connection.execute("INSERT INTO t (x) VALUES ('first')")
        copy(path, path.with_name("0"))
    behind = 0
    for number in range(40):
        crashed, now = path.with_name(str(number)), path.with_name(str(number + 1))
        log = Path(f"{crashed}-wal")
        whole = log.read_bytes()
        with closing(open_database(crashed)) as connection:
            write(connection, number, chance.randrange(1, 12))
            copy(crashed, now)
        written = Path(f"{now}-wal").read_bytes()
        if number % 3:
            begin = 32 + scanned(whole).committed * 536
            torn = bytearray(written)
            for sector in range(begin - begin % SECTOR, len(torn), SECTOR):
                if chance.random() < 0.2:
                    span = slice(max(sector, begin), sector + SECTOR)
                    torn[span] = whole[span].ljust(len(torn[span]), b"\0")
            Path(f"{now}-wal").write_bytes(torn)
            behind += scanned(bytes(torn)).committed * 536 + 32 < len(torn)
        Path(f"{now}-shm").unlink()
        assert sqlite_log.log_problem(now) is None, number
    assert behind > 10


def test_a_large_transaction_that_writes_its_pages_anew_is_no_damage(tmp_path: Path) -> None:
    """SQLite leaves wrong checksums in its own frames then, until it commits."""
    path = tmp_path / "r.sqlite"
    with closing(open_database(path)) as connection:
        connection.execute("PRAGMA cache_size=5")
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)")
        connection.executemany("INSERT INTO t (x) VALUES (?)", [(bytes(90),)] * 300)
        broken = 0
        for number in range(4):
            connection.execute("BEGIN")
            for row in range(40):
                # One byte, at the end of a word, again and again in the same few pages.
                text = bytes(89) + bytes([row + 1])
                connection.execute("UPDATE t SET x = ? WHERE id = ?", (text, row * 37 % 300 + 1))
                data = Path(f"{path}-wal").read_bytes()
                found = scanned(data)
                assert found.proof == 0
                broken += 32 + 536 * found.committed < len(data)
            connection.execute("COMMIT" if number % 2 else "ROLLBACK")
            copy(path, tmp_path / "copy")
            assert sqlite_log.log_problem(tmp_path / "copy") is None
    assert broken > 50


def copy(path: Path, to: Path) -> None:
    for end in ENDS:
        shutil.copyfile(f"{path}{end}", f"{to}{end}")
