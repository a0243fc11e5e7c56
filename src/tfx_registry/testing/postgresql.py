"""A private PostgreSQL server for tests, from Debian's package `postgresql`."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

from tfx_registry.testing.process import LOOPBACK, DatabaseServer, find_program

__all__ = ["PostgreSqlServer"]


class PostgreSqlServer(DatabaseServer):
    """A PostgreSQL server; see `process.DatabaseServer`."""

    scheme = "postgresql"
    # At SIGTERM it would wait until everybody has gone.
    stop_signal = signal.SIGINT
    # As quick as a kill, but its shared memory goes with it.
    close_signal = signal.SIGQUIT
    ending = "pre-existing shared memory block"

    def sql(self, statements: str, database: str = "postgres") -> str:
        """Runs SQL as the administrator and returns the rows, separated by `|`."""
        command = [_find("psql"), "--no-psqlrc", "--quiet", "--tuples-only", "--no-align",
                   "--set=ON_ERROR_STOP=1", f"--host={self.folder}", f"--port={self.port}",
                   "--username=admin", f"--dbname={database}"]  # fmt: skip
        return self._run(command, statements)

    def create_database(self, name: str) -> str:
        """Makes an empty database and returns its registry URI."""
        self.sql(f'CREATE DATABASE "{name}" OWNER "{self.user}"')
        return self.uri(name)

    def drop_database(self, *names: str) -> None:
        """Removes databases, and ends the connections to them."""
        self.sql("".join(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE);\n' for name in names))

    # How it runs

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _initialize(self) -> None:
        self._run([_find("initdb"), f"--pgdata={self._data}", "--username=admin",
                   "--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8",
                   "--locale=C.UTF-8", "--no-sync", "--wal-segsize=1"])  # fmt: skip

    def _command(self) -> Sequence[str]:
        settings = {
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": self.folder,
            # What was acknowledged survives a kill, but not a power cut: fast, and enough here.
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": 60,
            # In the data folder, with which it is removed even after a kill.
            "dynamic_shared_memory_type": "mmap",
            "shared_buffers": "32MB",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return [_find("postgres"), "-D", str(self._data), "-p", str(self.port), *options]

    def _is_ready(self) -> bool:
        try:
            return self.sql("SELECT 1").strip() == "1"
        except RuntimeError:
            return False

    def _prepare(self) -> None:
        self.sql(f"CREATE ROLE \"{self.user}\" LOGIN CREATEDB PASSWORD '{self.password}'")


def _find(name: str) -> str:
    # Debian keeps the server out of PATH, in a folder for each release; the newest sorts last.
    folders = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    return find_program([name], folders, "postgresql")
