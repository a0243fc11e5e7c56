"""One connection to ML Metadata that is made again when it died.

ML Metadata's own object does not come back by itself: on PostgreSQL it stays dead after a lost
connection, on MySQL it crashes the process at the third call. So it is thrown away at the first
sign, and the next call makes a new one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("GLOG_minloglevel", "3")  # before the C++ library reads it

from ml_metadata import errors as mlmd_errors
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb

from tfx_registry.errors import StoreUnavailableError
from tfx_registry.registry import sqlite_file, sqlite_log, sqlite_turn
from tfx_registry.registry.connections import connection_config, read_password
from tfx_registry.registry.forks import Forkable
from tfx_registry.registry.probe import (
    Database,
    Problem,
    explain_missing_tables,
    judge_tables,
    probe,
)
from tfx_registry.registry.session_errors import (
    cannot_open,
    missing_database,
    open_problem,
    several_names,
    unavailable,
)
from tfx_registry.registry.signs import Sign, looks_like_a_race, read_sign
from tfx_registry.registry.store import AppendConflict
from tfx_registry.registry.uri import RegistryUri

__all__ = ["NothingFoundError", "Session"]

T = TypeVar("T")

#: How long a server that was there before may be gone.
_DOWN_SECONDS = 20.0
#: How long processes that start together on an empty database may be in each other's way.
_RACE_SECONDS = 30.0
#: How long a server may refuse ML Metadata after it let the probe in.
_LOST_SECONDS = 5.0
#: So many writes in a row that lost their connection, and it is the write.
_MAX_LOST_WRITES = 6

_ERRORS = (mlmd_errors.StatusError, RuntimeError)


class NothingFoundError(Exception):
    """MLMD's answer to a look-up by external id that finds nothing."""


class _Noise(logging.Filter):
    """Drops MLMD's line for each error: what matters is raised, in words."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = str(record.msg)
        return "failed after retrying" not in text and not text.startswith("mlmd client ")


logging.getLogger("absl").addFilter(_Noise())


class Session(Forkable):
    """A connection to ML Metadata; may be shared by threads, and notices a fork."""

    def __init__(self, uri: RegistryUri, *, create: bool) -> None:
        """Connects.

        Args:
            uri: Any but a "memory" URI.
            create: Whether a missing database is made.

        Raises:
            StoreUnavailableError: It cannot be reached or opened; the message says why.
            InvalidInputError: The password cannot be read.
        """
        super().__init__(release=uri.scheme == "sqlite")
        self.uri = uri
        self._store: Any = None
        self._pid = os.getpid()
        self._closed = False
        self._lost_writes = 0
        self._create = create
        self._file = Path(os.path.realpath(uri.path)) if uri.scheme == "sqlite" else None
        #: How the file stood, where it is read as one that nobody changes.
        self._fixed: sqlite_file.Stamp | None = None
        self._opened = sqlite_turn.Opened(None, None)
        self._store = self._connect(down_seconds=0.0)
        # Later there is a database. If it is gone then, somebody wanted that.
        self._create = False

    @property
    def file(self) -> Path | None:
        """The SQLite file, without symbolic links; None for a server."""
        return self._file

    def read(self, function: Callable[[Any], T]) -> T:
        """Calls ML Metadata to read; waits for a server that restarts.

        Args:
            function: Gets the `MetadataStore`.

        Raises:
            NothingFoundError: MLMD answers "not found".
            StoreUnavailableError: Anything else.
        """
        with self._in_use():
            return self._read(function)

    def _read(self, function: Callable[[Any], T]) -> T:
        deadline = time.monotonic() + _RACE_SECONDS
        delay = 0.002
        while True:
            store = self._current()
            try:
                result = function(store)
                if not self._changed_meanwhile(store):
                    return result
            except mlmd_errors.NotFoundError as error:
                raise NothingFoundError from error
            except _ERRORS as error:
                sign = self._judge(store, error)
                changed = self._changed_meanwhile(store)
                if (sign is Sign.OTHER and not changed) or time.monotonic() > deadline:
                    self._drop(store)
                    raise unavailable(self.uri, error) from error
            time.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(delay * 2, 0.5)

    def write(self, function: Callable[[Any], T]) -> T:
        """Calls ML Metadata once to write.

        Args:
            function: Gets the `MetadataStore`.

        Raises:
            AppendConflict: Another writer was faster, or the connection was lost: then the write
                may or may not have happened.
            StoreUnavailableError: Anything else; nothing was written.
        """
        with self._in_use():
            return self._write(function)

    def _write(self, function: Callable[[Any], T]) -> T:
        store = self._current()
        try:
            with self._turn():
                result = function(store)
            if self._file is not None and self._opened.log is None:
                self._opened = sqlite_turn.opened(self._file)  # somebody gave it a log meanwhile
        except sqlite_turn.Busy as busy:
            raise AppendConflict(
                str(busy), why=str(busy),
                todo=f"see which one with 'fuser -v {self._file}-writers': one that is stopped or "
                "hangs must go on or end; nothing was written",
            ) from busy  # fmt: skip
        except sqlite_turn.NamesError as error:
            raise several_names(self.uri, error) from error
        except sqlite_turn.GoneError as error:
            self._drop(store)
            raise unavailable(
                self.uri, RuntimeError(f"{error} was deleted or replaced while it was open")
            ) from error
        except OSError as error:
            raise unavailable(self.uri, error) from error
        except _ERRORS as error:
            sign = self._judge(store, error)
            self._lost_writes = self._lost_writes + 1 if sign is Sign.LOST else 0
            if sign is Sign.OTHER or self._lost_writes >= _MAX_LOST_WRITES:
                # On SQLite, for one, a full disk leaves it in a transaction that never ends.
                self._drop(store)
                raise unavailable(self.uri, error) from error
            raise AppendConflict(str(error)) from error
        self._lost_writes = 0
        return result

    def close(self) -> None:
        """Lets go of the connection."""
        with self._lock:
            self._drop(self._store)
            self._closed = True

    def _current(self) -> Any:
        with self._lock:
            if self._closed:
                raise StoreUnavailableError(
                    f"the registry at {self.uri} is closed", "close() was called", "open it again"
                )
            if self._pid != os.getpid():
                # The parent goes on using the connection: it must not be closed here.
                _inherited.append(self._store)
                self._store, self._pid = None, os.getpid()
            if self._store is None:
                self._store = self._connect(down_seconds=_DOWN_SECONDS)
            return self._store

    def _release(self) -> None:
        self._store = None

    def _turn(self) -> contextlib.AbstractContextManager[None]:
        if self._file is None:
            return contextlib.nullcontext()
        return sqlite_turn.turn(self._file, self._opened)

    def _drop(self, store: Any) -> None:
        with self._lock:
            if store is not None and self._store is store:
                self._store = None

    def _changed_meanwhile(self, store: Any) -> bool:
        """Tells whether a file changed that nobody should change; then it is opened again."""
        if self._fixed is None or self._file is None:
            return False
        if sqlite_file.stamp(self._file) == self._fixed:
            return False
        self._drop(store)
        return True

    def _judge(self, store: Any, error: Exception) -> Sign:
        """Says what an error means, and throws a dead object away."""
        sign = read_sign(error)
        if sign is Sign.LOST:
            self._drop(store)
        return sign

    # Connecting

    def _connect(self, down_seconds: float) -> Any:
        started = time.monotonic()
        delay = 0.02
        while True:
            password = "" if self.uri.scheme in ("sqlite", "grpc") else read_password()
            found = self._look(password)
            waited = time.monotonic() - started
            if isinstance(found, Problem):
                if not found.passes or waited > down_seconds:
                    raise cannot_open(self.uri, found)
            else:
                try:
                    return self._open(password, found)
                except _ERRORS as error:
                    limit = _open_limit(error, down_seconds)
                    if waited > limit:
                        problem = explain_missing_tables(self.uri, password, str(error))
                        problem = problem or open_problem(self.uri, found, error)
                        raise cannot_open(self.uri, problem) from error
            time.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(delay * 1.6, 0.5)

    def _open(self, password: str, found: Database) -> Any:
        if self._file is not None:
            store = self._open_file(self._file, found)
            self._opened = sqlite_turn.opened(self._file)
            return store
        create = self._create and found is not Database.READY
        store = metadata_store.MetadataStore(connection_config(self.uri, password, create=create))
        if self.uri.scheme == "grpc":
            # The channel connects at its first call.
            store.get_artifacts_by_id([1])
        return store

    def _look(self, password: str) -> Database | Problem:
        file = self._file
        found = probe(self.uri, password) if file is None else self._look_at_file(file)
        if self._create or found not in (Database.MISSING, Database.EMPTY):
            return found
        return missing_database(self.uri, found)

    def _look_at_file(self, path: Path) -> Database | Problem:
        self._fixed = None
        if not path.exists():
            if not path.parent.is_dir():
                return Problem(
                    f"the directory {str(path.parent)!r} does not exist", "create it first"
                )
            return sqlite_log.orphan_problem(path) or Database.MISSING
        if not path.is_file():
            return Problem("the path is not that of a file", "name a file")
        if path.stat().st_size == 0:
            return sqlite_log.orphan_problem(path) or Database.EMPTY
        if problem := sqlite_log.log_problem(path):
            return problem
        # To open it for reading costs 2 ms, and changes nothing whatever it is.
        config = connection_config(self.uri, "", create=False)
        config.sqlite.filename_uri = str(path)
        config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READONLY
        if sqlite_file.leaves_no_log(path):
            with contextlib.suppress(*_ERRORS):
                metadata_store.MetadataStore(config)
                return Database.READY
        before = sqlite_file.stamp(path)
        look = sqlite_file.look_inside(path)
        if isinstance(look, Problem):
            return look
        self._fixed = before if look.is_fixed else None
        return judge_tables(look.tables)

    def _open_file(self, path: Path, found: Database) -> Any:
        """Opens an SQLite file; makes it, and sets its journal, as the URI says."""
        journal = self.uri.option("journal")
        if found is Database.MISSING and self._create:
            sqlite_file.make_file(path, journal)
        create = self._create and found is not Database.READY
        config = connection_config(self.uri, "", create=create)
        config.sqlite.filename_uri = str(path)
        if self._fixed is not None:
            config.sqlite.filename_uri = sqlite_file.immutable_uri(path)
            config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READONLY
            return metadata_store.MetadataStore(config)
        store = metadata_store.MetadataStore(config)
        if not self._create:
            return store
        if found is Database.EMPTY and not journal and sqlite_file.takes_wal(path.parent):
            journal = "wal"
        if journal and (journal == "wal") is not sqlite_turn.is_wal(path):
            del store  # it holds a lock on the file
            problem = sqlite_file.set_journal(path, journal)
            if problem is not None and self.uri.option("journal"):
                raise cannot_open(self.uri, problem)
            store = metadata_store.MetadataStore(config)
        return store


#: Connections of a parent process, kept so that nothing closes them.
_inherited: list[Any] = []


def _open_limit(error: Exception, down_seconds: float) -> float:
    """Says for how many seconds it makes sense to open again after an error."""
    sign = read_sign(error)
    if sign is Sign.LOST:
        # Looking at the server has just worked. But gRPC remembers that nobody listened before.
        return max(down_seconds, _LOST_SECONDS)
    return _RACE_SECONDS if looks_like_a_race(error) else -1.0
