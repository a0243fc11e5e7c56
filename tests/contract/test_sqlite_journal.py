"""SQLite files: how they are made, what their journal is, and what that may not cost.

See docs/design/0008-sqlite-journal.md. Python's own SQLite looks into the files only when no
registry of this process has them open.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_registry import ModelRegistry, syscalls
from tfx_registry.errors import ConflictError, InvalidUriError, StoreUnavailableError
from tfx_registry.registry import sqlite_file, sqlite_turn
from tfx_registry.registry.uri import RegistryUri


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder / "r.sqlite"


def asked(path: Path, pragma: str) -> Any:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"PRAGMA {pragma}").fetchone()[0]


def beside(path: Path) -> set[str]:
    return {other.name.removeprefix(path.name) for other in path.parent.iterdir()} - {""}


def register(uri: str, model: Path, times: int = 1) -> int:
    with ModelRegistry.open(uri) as registry:
        return [registry.register("penguin", model).number for _ in range(times)][-1]


def open_mlmd(path: Path) -> metadata_store.MetadataStore:
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    return metadata_store.MetadataStore(config)


def put_types(store: metadata_store.MetadataStore, name: str) -> None:
    store.put_artifact_type(pb.ArtifactType(name=name))


# How files are made


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_database_is_made_complete_and_in_one_step(path: Path, journal: str) -> None:
    assert sqlite_file.make_file(path, journal)
    assert beside(path) == set()
    assert asked(path, "journal_mode") == journal
    assert (asked(path, "page_size"), asked(path, "integrity_check")) == (8192, "ok")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x TEXT)")
        connection.execute("INSERT INTO t VALUES ('\u00e9')")
        connection.commit()
    assert (asked(path, "encoding"), asked(path, "integrity_check")) == ("UTF-8", "ok")


def test_a_file_that_is_there_is_left_alone(path: Path) -> None:
    path.write_text("mine")
    assert sqlite_file.make_file(path, "wal")
    assert path.read_text() == "mine"
    assert beside(path) == set()


def test_a_folder_that_cannot_be_written(path: Path) -> None:
    assert not sqlite_file.make_file(path.parent / "none" / "r.sqlite", "wal")


def test_a_new_registry_has_a_log_where_that_is_safe(path: Path, plain_model: Path) -> None:
    uri = f"sqlite:///{path}"
    with ModelRegistry.open(uri) as registry:
        registry.register("penguin", plain_model)
        during = beside(path)
    safe = sqlite_file.takes_wal(path.parent)
    assert (asked(path, "journal_mode") == "wal") is safe
    assert ("-wal" in during) is safe
    # Closed, it is one file again; the lock may stay.
    assert beside(path) <= {"-writers"}
    assert asked(path, "page_size") == 8192


@pytest.mark.parametrize("number", [0x6969, 0xFF534D42, 0x65735546, 0x01021997, 0])
def test_on_a_file_system_that_others_may_share_there_is_none(
    path: Path, plain_model: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS, CIFS, FUSE, 9P, and what has no number."""
    monkeypatch.setattr(syscalls, "file_system_type", lambda descriptor: number)
    register(f"sqlite:///{path}", plain_model)
    assert asked(path, "journal_mode") == "delete"
    register(f"sqlite:///{path}?journal=wal", plain_model)  # who asks for it gets it
    assert asked(path, "journal_mode") == "wal"


def test_an_empty_file_is_as_good_as_none(path: Path, plain_model: Path) -> None:
    path.touch()
    register(f"sqlite:///{path}", plain_model)
    assert (asked(path, "journal_mode") == "wal") is sqlite_file.takes_wal(path.parent)


def test_a_file_of_a_pipeline_is_left_as_it_is(path: Path, plain_model: Path) -> None:
    put_types(open_mlmd(path), "Examples")
    assert register(f"sqlite:///{path}", plain_model) == 1
    assert (asked(path, "journal_mode"), asked(path, "page_size")) == ("delete", 4096)


def test_a_pipeline_writes_into_a_file_of_the_registry(path: Path, plain_model: Path) -> None:
    uri = f"sqlite:///{path}?journal=wal"
    with ModelRegistry.open(uri) as registry:
        pipeline = open_mlmd(path)
        for index in range(10):
            registry.register("penguin", plain_model)
            put_types(pipeline, f"Type{index}")
        assert len(pipeline.get_artifact_types()) > 10
        assert registry.fsck().findings == ()
    assert {t.name for t in open_mlmd(path).get_artifact_types()} >= {"Type0", "Type9"}


# The option of the URI


def test_the_option_is_part_of_the_uri() -> None:
    for text in ("sqlite:///a.sqlite?journal=wal", "sqlite:////a?b/c?journal=delete"):
        uri = RegistryUri.parse(text)
        assert str(uri) == text
        assert uri.option("journal") in ("wal", "delete")
        assert "journal" not in uri.path
    assert RegistryUri.parse("sqlite:///what?.sqlite").path == "what?.sqlite"


@pytest.mark.parametrize(
    "query", ["journal=off", "journal=", "journl=wal", "journal=wal&journal=wal"]
)
def test_a_wrong_option_is_refused(query: str) -> None:
    with pytest.raises(InvalidUriError, match="option"):
        RegistryUri.parse(f"sqlite:///r.sqlite?{query}")


def test_a_database_gets_the_journal_that_is_asked_for(path: Path, plain_model: Path) -> None:
    for number, journal in enumerate(["delete", "wal", "wal", "delete"], 1):
        assert register(f"sqlite:///{path}?journal={journal}", plain_model) == number
        assert asked(path, "journal_mode") == journal
    with ModelRegistry.open(f"sqlite:///{path}?journal=wal", create=False) as registry:
        assert registry.latest("penguin").number == 4
        assert registry.fsck().findings == ()
    assert asked(path, "journal_mode") == "delete"  # who only reads changes nothing


def test_a_journal_is_not_changed_under_others(path: Path, plain_model: Path) -> None:
    uri = f"sqlite:///{path}?journal=wal"
    with ModelRegistry.open(uri) as registry:
        registry.register("penguin", plain_model)
        with pytest.raises(StoreUnavailableError, match=r"cannot be changed to 'delete'.*locked"):
            ModelRegistry.open(f"sqlite:///{path}?journal=delete")
        assert registry.register("penguin", plain_model).number == 2
    assert asked(path, "journal_mode") == "wal"


# Where nothing can be written

READ = """
import sys
from tfx_registry import ModelRegistry
from tfx_registry.errors import StoreUnavailableError
try:
    with ModelRegistry.open(sys.argv[1]) as registry:
        print(len(registry.history("penguin")))
        print(registry.fsck().findings)
        registry.register("penguin", sys.argv[2])
except StoreUnavailableError as error:
    print(error)
"""


def read_only(path: Path, model: Path) -> list[str]:
    """Reads in a process for which the folder is mounted read-only."""
    own = ["unshare", "--mount", *(["--user", "--map-root-user"] if os.geteuid() else [])]
    if subprocess.run([*own, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        own += ["--propagation", "unchanged"]  # in a chroot, where "/" is no mount
    folder = path.parent
    script = (
        f"trap 'umount \"{folder}\"' EXIT; "
        f'mount --bind "{folder}" "{folder}" && mount -o remount,bind,ro "{folder}" && "$@"'
    )
    done = subprocess.run(
        [*own, "sh", "-c", script, "sh", sys.executable, "-c", READ, f"sqlite:///{path}", model],
        capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", ["r.sqlite", "100% ?#\u00e9.sqlite"])
def test_a_log_is_read_on_a_read_only_file_system(path: Path, plain_model: Path, name: str) -> None:
    path = path.with_name(name)
    register(f"sqlite:///{path}?journal=wal", plain_model, 3)
    assert "-shm" not in beside(path)
    events, findings, error = read_only(path, plain_model)
    assert (events, findings) == ("3", "()")
    assert "it cannot be written" in error


def test_what_only_the_log_holds_is_not_passed_over(path: Path, plain_model: Path) -> None:
    """A killed writer left it, and then the folder became read-only: better no answer than half."""
    kill_a_writer(path, plain_model)
    (path.parent / f"{path.name}-shm").unlink()
    (error,) = read_only(path, plain_model)
    assert "write-ahead log" in error
    assert "let this user write to the folder" in error
    with ModelRegistry.open(f"sqlite:///{path}", create=False) as registry:
        assert len(registry.history("penguin")) == 3


def test_whoever_may_only_read_leaves_no_log_that_its_owner_cannot_write(
    path: Path, plain_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder where both may write, SQLite would make one for a reader, too, and leave it."""
    register(f"sqlite:///{path}?journal=wal", plain_model)
    access = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: Path(p) != path and access(p, mode))
    with ModelRegistry.open(f"sqlite:///{path}", create=False) as reader:
        assert reader.latest("penguin").number == 1
        assert not beside(path) & {"-wal", "-shm"}
        code = "import sys; from tfx_registry import ModelRegistry as R\n"
        code += "R.open(sys.argv[1]).register('penguin', sys.argv[2])"
        command = [sys.executable, "-c", code, f"sqlite:///{path}", str(plain_model)]
        subprocess.run(command, check=True, timeout=250)
        assert reader.latest("penguin").number == 2


@pytest.mark.parametrize("error", [OSError, subprocess.TimeoutExpired("python", 60)])
def test_without_a_python_to_start_the_file_is_opened_at_once(
    path: Path, plain_model: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Python may be part of another program."""

    def fail(*_: object, **__: object) -> None:
        raise error

    register(f"sqlite:///{path}?journal=delete", plain_model)
    monkeypatch.setattr(sqlite_file, "run_python", fail)
    monkeypatch.setattr(sqlite_file, "leaves_no_log", lambda _: False)
    assert register(f"sqlite:///{path}", plain_model) == 2
    with pytest.raises(StoreUnavailableError, match="journal cannot be changed"):
        register(f"sqlite:///{path}?journal=wal", plain_model)


def test_a_file_that_changes_though_nobody_could_is_read_anew(
    path: Path, plain_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{path}?journal=wal"
    register(uri, plain_model)
    with monkeypatch.context() as patch:
        # As it is where this user may not write to the folder.
        look = sqlite_file.look_inside(path)
        assert isinstance(look, sqlite_file.Look)
        fixed = sqlite_file.Look(look.tables, True)
        patch.setattr(sqlite_file, "look_inside", lambda path: fixed)
        real = metadata_store.MetadataStore

        def refuse(config: Any) -> Any:
            if "immutable" not in config.sqlite.filename_uri:
                raise RuntimeError("unable to open database file")
            return real(config)

        patch.setattr(metadata_store, "MetadataStore", refuse)
        with ModelRegistry.open(f"sqlite:///{path}", create=False) as registry:
            assert registry.latest("penguin").number == 1
            code = "import sys; from tfx_registry import ModelRegistry as R;"
            code += "R.open(sys.argv[1]).register('penguin', sys.argv[2])"
            subprocess.run([sys.executable, "-c", code, uri, plain_model], check=True, timeout=250)
            assert registry.latest("penguin").number == 2


# Where SQLite itself would not notice


@pytest.mark.parametrize("journal", ["wal", "delete"])
@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_nothing_is_written_into_a_file_that_is_gone(
    path: Path, plain_model: Path, journal: str, how: str
) -> None:
    uri = f"sqlite:///{path}?journal={journal}"
    register(uri, plain_model)
    copy = shutil.copy(path, path.with_name("copy"))
    with ModelRegistry.open(uri) as registry:
        registry.register("penguin", plain_model)
        if how == "deleted":
            path.unlink()
        else:
            Path(copy).replace(path)
            for end in beside(path) & {"-wal", "-shm"}:
                path.with_name(path.name + end).unlink()
        with pytest.raises(StoreUnavailableError, match="deleted or replaced"):
            registry.register("penguin", plain_model)
        if how == "replaced":  # a restored backup: from now on that
            assert registry.latest("penguin").number == 1
            assert registry.register("penguin", plain_model).number == 2
            assert registry.fsck().findings == ()


# Turns of writers


def test_writers_of_a_log_take_turns(path: Path, plain_model: Path) -> None:
    register(f"sqlite:///{path}?journal=wal", plain_model)
    with ModelRegistry.open(f"sqlite:///{path}") as registry:
        opened = sqlite_turn.opened(path)
        inside, seen = threading.Event(), []

        def other() -> None:
            inside.wait()
            registry.register("penguin", plain_model)
            seen.append("other")

        thread = threading.Thread(target=other)
        thread.start()
        with sqlite_turn.turn(path, opened):
            inside.set()
            thread.join(timeout=0.3)
            assert thread.is_alive()
            seen.append("first")
        thread.join()
    assert seen == ["first", "other"]


def test_a_writer_that_keeps_its_turn_is_a_conflict(
    path: Path, plain_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_turn, "_TURN_SECONDS", 0.01)
    register(f"sqlite:///{path}?journal=wal", plain_model)
    with ModelRegistry.open(f"sqlite:///{path}") as registry:
        registry._retry_seconds = 0.05
        with (
            sqlite_turn.turn(path, sqlite_turn.opened(path)),
            pytest.raises(ConflictError, match="another process has kept its turn") as raised,
        ):
            registry.register("penguin", plain_model)
        assert f"fuser -v {path}-writers" in raised.value.todo
        assert registry.register("penguin", plain_model).number == 2


FORK = """
import os, sys, threading
from tfx_registry import ModelRegistry
uri, model, path = sys.argv[1:]
registry, other = (ModelRegistry.open(uri) for _ in range(2))
registry.register("penguin", model)
stop = threading.Event()
def look():
    while not stop.is_set():
        other.latest("penguin")
thread = threading.Thread(target=look)
thread.start()
(go, gone), (begin, begun) = os.pipe(), os.pipe()
child = os.fork()
if not child:
    registry.latest("penguin")
    os.write(begun, b"1")
    os.read(go, 1)
    for _ in range(3):
        registry.register("penguin", model)
    assert os.path.exists(path + "-wal")
    os._exit(0)
stop.set()
thread.join()
os.read(begin, 1)
registry.close()
other.close()
os.write(gone, b"1")
assert os.waitpid(child, 0)[1] == 0
with ModelRegistry.open(uri) as registry:
    print(registry.latest("penguin").number, registry.fsck().findings)
"""


def test_what_a_forked_process_writes_is_not_lost_when_its_parent_closes(
    path: Path, plain_model: Path
) -> None:
    """SQLite thinks that a child has the locks of its parent, and the parent deletes the log."""
    done = subprocess.run(
        [sys.executable, "-c", FORK, f"sqlite:///{path}?journal=wal", str(plain_model), str(path)],
        capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
    assert done.stdout == "4 ()\n", done.stderr


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_nothing_is_written_into_a_log_that_is_gone(
    path: Path, plain_model: Path, how: str
) -> None:
    log = path.with_name(f"{path.name}-wal")
    with ModelRegistry.open(f"sqlite:///{path}?journal=wal") as registry:
        registry.register("penguin", plain_model)
        log.rename(path.with_name("moved"))
        if how == "replaced":
            log.write_bytes(b"")
        with pytest.raises(StoreUnavailableError, match="sqlite-wal was deleted or replaced"):
            registry.register("penguin", plain_model)


def test_the_lock_is_for_whom_the_database_is(path: Path, plain_model: Path) -> None:
    register(f"sqlite:///{path}?journal=wal", plain_model)
    lock = path.with_name(f"{path.name}-writers")
    lock.unlink()
    path.chmod(0o664)
    register(f"sqlite:///{path}", plain_model)
    assert stat.S_IMODE(lock.stat().st_mode) == 0o664
    assert lock.stat().st_uid == path.stat().st_uid
    assert lock.stat().st_size == 0


def test_a_root_that_may_not_give_files_away_can_write(
    path: Path, plain_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container whose users are not all users of the host."""

    def fchown(*_: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fchown", fchown)
    assert register(f"sqlite:///{path}?journal=wal", plain_model) == 1
    lock = path.with_name(f"{path.name}-writers")
    assert stat.S_IMODE(lock.stat().st_mode) == stat.S_IMODE(path.stat().st_mode)


# Crashes, and others at the same time

WRITER = """
import sys, os
from tfx_registry import ModelRegistry
with ModelRegistry.open(sys.argv[1]) as registry:
    for index in range(int(sys.argv[3])):
        print(registry.register("penguin", sys.argv[2]).number, flush=True)
    sys.stdin.readline()
"""


def kill_a_writer(path: Path, model: Path) -> None:
    """Leaves three versions behind, in a log that nobody moved into the file."""
    code = [sys.executable, "-c", WRITER, f"sqlite:///{path}?journal=wal", str(model), "3"]
    with subprocess.Popen(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert [writer.stdout.readline() for _ in range(3)] == ["1\n", "2\n", "3\n"]
        writer.send_signal(signal.SIGKILL)
    assert {"-wal", "-shm"} <= beside(path)


def test_a_killed_writer_leaves_a_log_that_is_read(path: Path, plain_model: Path) -> None:
    kill_a_writer(path, plain_model)
    with ModelRegistry.open(f"sqlite:///{path}", create=False) as registry:
        assert registry.latest("penguin").number == 3
        assert registry.register("penguin", plain_model).number == 4
        assert registry.fsck().findings == ()
    assert not {"-wal", "-shm"} & beside(path)
    assert asked(path, "integrity_check") == "ok"


def test_a_log_without_its_shared_memory_is_read(path: Path, plain_model: Path) -> None:
    """What a copy of the file and its log, or a restart of the machine, leaves."""
    kill_a_writer(path, plain_model)
    (path.parent / f"{path.name}-shm").unlink()
    with ModelRegistry.open(f"sqlite:///{path}", create=False) as registry:
        assert registry.latest("penguin").number == 3


@pytest.mark.parametrize("journal", ["", "?journal=wal", "?journal=delete"])
def test_first_starts_at_once(path: Path, plain_model: Path, journal: str) -> None:
    code = [sys.executable, "-c", WRITER, f"sqlite:///{path}{journal}", str(plain_model), "2"]
    workers = [
        subprocess.Popen(code, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    numbers = [int(n) for worker in workers for n in worker.communicate(timeout=250)[0].split()]
    assert [worker.returncode for worker in workers] == [0] * 8
    assert sorted(numbers) == list(range(1, 17))
    with ModelRegistry.open(f"sqlite:///{path}", create=False) as registry:
        assert registry.fsck().findings == ()
    assert beside(path) <= {"-writers"}
    assert asked(path, "integrity_check") == "ok"
    if journal:
        assert asked(path, "journal_mode") == journal.partition("=")[2]


@pytest.mark.slow
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_eight_processes_register_fifty_versions_each(
    path: Path, plain_model: Path, journal: str
) -> None:
    """A reader that becomes a writer too late fails at once in a log, and is tried again."""
    uri = f"sqlite:///{path}?journal={journal}"
    register(uri, plain_model)
    code = [sys.executable, "-c", WRITER, uri, str(plain_model), "50"]
    workers = [
        subprocess.Popen(code, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    numbers = [int(n) for worker in workers for n in worker.communicate(timeout=280)[0].split()]
    assert [worker.returncode for worker in workers] == [0] * 8
    assert sorted(numbers) == list(range(2, 402))
    with ModelRegistry.open(f"sqlite:///{path}", create=False) as registry:
        assert registry.fsck().findings == ()
        assert registry.head("penguin").seq == 401
    assert asked(path, "integrity_check") == "ok"
    assert asked(path, "journal_mode") == journal


def test_a_history_goes_from_one_journal_to_the_other(
    path: Path, tmp_path: Path, plain_model: Path
) -> None:
    register(f"sqlite:///{path}?journal=wal", plain_model, 3)
    copy = f"sqlite:///{tmp_path}/copy.sqlite?journal=delete"
    file = tmp_path / "all.jsonl"
    with ModelRegistry.open(f"sqlite:///{path}", create=False) as registry:
        with file.open("w", encoding="utf-8") as stream:
            registry.export_history(stream.write)
        versions = registry.list_versions("penguin")
    with ModelRegistry.open(copy) as other:
        with file.open("rb") as stream:
            other.import_history(stream)
        assert other.list_versions("penguin") == versions
        assert other.fsck().findings == ()


def test_a_backup_by_sqlite_holds_what_the_log_holds(path: Path, plain_model: Path) -> None:
    with ModelRegistry.open(f"sqlite:///{path}?journal=wal") as registry:
        registry.register("penguin", plain_model)
        backup = path.with_name("backup.sqlite")
        code = "import sqlite3, sys; a, b = map(sqlite3.connect, sys.argv[1:]); a.backup(b)"
        subprocess.run([sys.executable, "-c", code, path, backup], check=True, timeout=250)
        with ModelRegistry.open(f"sqlite:///{backup}", create=False) as copy:
            assert copy.get("penguin", 1) == registry.get("penguin", 1)
